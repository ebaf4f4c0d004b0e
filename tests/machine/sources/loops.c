/* Loops whose results tell whether an instruction ran twice, or not at all. */
typedef unsigned char uint8_t;
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

uint32_t adler32(uint32_t sum, const uint8_t *data, uint32_t size)
{
    uint32_t low = sum & 0xffff, high = sum >> 16;
    while (size) {
        uint32_t part = size < 5552 ? size : 5552;
        size -= part;
        while (part--)
            high += low += *data++;
        low %= 65521;
        high %= 65521;
    }
    return high << 16 | low;
}

static uint32_t table[256];

uint32_t crc32(uint32_t sum, const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        table[i] = c;
    }
    for (sum = ~sum; size--;)
        sum = table[(sum ^ *data++) & 255] ^ sum >> 8;
    return ~sum;
}

#define ROTATED(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* FIPS 180-4, section 6.2.2: `state` after whole blocks of 64 bytes; `k` are the 64 constants. */
void sha256(uint32_t state[8], const uint32_t k[64], const uint8_t *data, uint32_t blocks)
{
    for (; blocks--; data += 64) {
        uint32_t w[64], v[8];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)data[4 * i] << 24 | data[4 * i + 1] << 16 | data[4 * i + 2] << 8 | data[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (ROTATED(a, 7) ^ ROTATED(a, 18) ^ a >> 3)
                 + (ROTATED(b, 17) ^ ROTATED(b, 19) ^ b >> 10);
        }
        for (int i = 0; i < 8; i++)
            v[i] = state[i];
        for (int i = 0; i < 64; i++) {
            uint32_t a = v[0], e = v[4];
            uint32_t t = v[7] + (ROTATED(e, 6) ^ ROTATED(e, 11) ^ ROTATED(e, 25)) + ((e & v[5]) ^ (~e & v[6]))
                       + k[i] + w[i];
            uint32_t u = (ROTATED(a, 2) ^ ROTATED(a, 13) ^ ROTATED(a, 22))
                       + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            for (int j = 7; j > 0; j--)
                v[j] = v[j - 1];
            v[4] += t;
            v[0] = t + u;
        }
        for (int i = 0; i < 8; i++)
            state[i] += v[i];
    }
}

/* Memory that is read, changed and written: by one instruction on x86. */
static volatile uint32_t counter;

uint32_t count(uint32_t rounds)
{
    for (counter = 0; rounds--;)
        counter++;
    return counter;
}

uint32_t count_atomically(uint32_t rounds)
{
    static uint32_t atomic;
    for (atomic = 0; rounds--;)
        __atomic_fetch_add(&atomic, 1, __ATOMIC_SEQ_CST);
    return atomic;
}

/* Loads into the register that holds their own address. */
uint32_t follow(uint32_t rounds)
{
    static struct node {
        struct node *next;
        uint32_t value;
    } nodes[64];
    for (uint32_t i = 0; i < 64; i++)
        nodes[i] = (struct node){&nodes[(37 * i + 11) % 64], i * i + 1};
    uint32_t sum = 0;
    for (struct node *node = nodes; rounds--; node = node->next)
        sum = 31 * sum + node->value;
    return sum;
}

static uint32_t __attribute__((noinline)) fibonacci(uint32_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

uint32_t call_deeply(uint32_t n)
{
    return fibonacci(n);
}

/* Two words with a carry between them; IT blocks on Thumb. */
uint64_t wide(uint32_t rounds)
{
    uint64_t sum = 1;
    while (rounds--)
        sum = (int64_t)sum < 0 ? (sum << 1) + 0x123456789 : sum * 3 + 0xfedcba987;
    return sum;
}

/* Never ends by itself; `*progress` says how far it is. */
void spin(volatile uint32_t *progress)
{
    for (;;)
        ++*progress;
}

/* Ends when the host writes `*stop`. */
uint32_t wait_for(volatile uint32_t *stop)
{
    uint32_t rounds = 0;
    while (!*stop)
        rounds++;
    return rounds;
}

extern int host(int);

/* `rounds` calls of the host, added up. */
int ask(int rounds)
{
    int sum = 0;
    for (int i = 0; i < rounds; i++)
        sum += host(i);
    return sum;
}

/* The host between two sums: what it does must not touch them. */
uint32_t around_host(uint32_t rounds)
{
    uint32_t before = follow(rounds);
    int asked = host(7);
    return 31 * (before + asked) + follow(rounds);
}
