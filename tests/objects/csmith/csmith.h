/* What programs of csmith ask of its header, written for this project: arithmetic without undefined behaviour, and a
   checksum. Overflow wraps, a division that has no result gives its dividend, shifts take their count modulo. */
typedef __INT8_TYPE__ int8_t;
typedef __UINT8_TYPE__ uint8_t;
typedef __INT16_TYPE__ int16_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;
int printf(const char *format, ...);
int strcmp(const char *one, const char *other);

#define TWO(name, type, x, expression) \
    static type safe_##name##_func_##type##_##x##_##x(type a, type b) { return (type)(expression); }
#define SHIFT(name, type, x, y, count, expression) \
    static type safe_##name##_func_##type##_##x##_##y(type a, count b) { return (type)(expression); }
#define FAMILY(type, x, bits) \
    TWO(add, type, x, (uint64_t)a + (uint64_t)b) \
    TWO(sub, type, x, (uint64_t)a - (uint64_t)b) \
    TWO(mul, type, x, (uint64_t)a * (uint64_t)b) \
    TWO(div, type, x, b == 0 || ((type)-1 < 0 && b == (type)-1) ? a : a / b) \
    TWO(mod, type, x, b == 0 || ((type)-1 < 0 && b == (type)-1) ? a : a % b) \
    static type safe_unary_minus_func_##type##_##x(type a) { return (type)(0 - (uint64_t)a); } \
    SHIFT(lshift, type, x, s, int, (uint64_t)a << ((unsigned)b % bits)) \
    SHIFT(lshift, type, x, u, unsigned, (uint64_t)a << (b % bits)) \
    SHIFT(rshift, type, x, s, int, a >> ((unsigned)b % bits)) \
    SHIFT(rshift, type, x, u, unsigned, a >> (b % bits))

FAMILY(int8_t, s, 8) FAMILY(int16_t, s, 16) FAMILY(int32_t, s, 32) FAMILY(int64_t, s, 64)
FAMILY(uint8_t, u, 8) FAMILY(uint16_t, u, 16) FAMILY(uint32_t, u, 32) FAMILY(uint64_t, u, 64)

static uint32_t crc32_context = 0xFFFFFFFFu;

static void transparent_crc(uint64_t value, const char *name, int print)
{
    (void)name, (void)print;
    for (int at = 0; at < 64; at++) {
        uint32_t bit = (crc32_context ^ (uint32_t)(value >> at)) & 1;
        crc32_context = crc32_context >> 1 ^ (bit ? 0xEDB88320u : 0);
    }
}

static void transparent_crc_bytes(void *bytes, int size, const char *name, int print)
{
    for (int at = 0; at < size; at++)
        transparent_crc(((uint8_t *)bytes)[at], name, print);
}

static void platform_main_begin(void) {}
static void crc32_gentab(void) {}
static void platform_main_end(uint32_t crc, int print) { (void)print; printf("checksum = %X\n", crc); }
