/* A small parser with bugs, for fuzzers. */
typedef __SIZE_TYPE__ size_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __UINT32_TYPE__ uint32_t;

int calls;
extern int host(int value);

/* Braces, numbers and strings; a fault behind "BUG!", an endless loop behind "LOOP". */
int parse(const uint8_t *data, size_t size)
{
    int depth = 0, value = 0;
    calls++;
    if (size >= 4 && data[0] == 'B')
        if (data[1] == 'U')
            if (data[2] == 'G')
                if (data[3] == '!')
                    *(volatile int *)16 = 1;
    if (size >= 4 && data[0] == 'L' && data[1] == 'O' && data[2] == 'O' && data[3] == 'P')
        for (;;)
            *(volatile int *)&calls = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t c = data[i];
        if (c == '{') {
            depth++;
        } else if (c == '}') {
            if (--depth < 0)
                return -1;
        } else if (c >= '0' && c <= '9') {
            value = value * 10 + (c - '0');
        } else if (c == '"') {
            while (++i < size && data[i] != '"')
                ;
        } else if (c == '@') {
            value += host(value);
        }
    }
    return depth ? -2 : value;
}

/* Reads one byte too many. */
int overread(const uint8_t *data, size_t size)
{
    return ((const volatile uint8_t *)data)[size];
}

int text(const char *s)
{
    int n = 0;
    while (s[n])
        n++;
    return host(n);
}

int two(int a, int b)
{
    return a + b;
}

unsigned sum(const uint32_t *words, uint32_t count)
{
    unsigned total = 0;
    while (count--)
        total += words[count];
    return total;
}
