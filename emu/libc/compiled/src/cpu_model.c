/* What __builtin_cpu_supports and __builtin_cpu_is read (GCC, "x86 Built-in Functions"), from CPUID (Intel SDM volume
 * 2, CPUID; AMD APM volume 3, appendix E). Bits are those of GCC's and Clang's enumerations, which are the ABI. */
#include "types.h"

#if defined(__x86_64__) || defined(__i386__)
struct { u32 vendor, type, subtype, features; } __cpu_model = {0, 0, 0, 0};
u32 __cpu_features2[4] = {0, 0, 0, 0};

static void cpuid(u32 leaf, u32 sub, u32 r[4]) {
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

/* leaf, index of the register (1 EBX, 2 ECX, 3 EDX), bit, the feature's number, and whether AVX or AVX-512 state is
 * needed (XCR0). Leaf 7 is its subleaf 0. */
static const struct { u32 leaf; u8 reg, bit, feature, state; } rows[] = {
    {1, 3, 15, 0, 0}, {1, 3, 23, 1, 0}, {1, 2, 23, 2, 0}, {1, 3, 25, 3, 0}, {1, 3, 26, 4, 0}, {1, 2, 0, 5, 0},
    {1, 2, 9, 6, 0}, {1, 2, 19, 7, 0}, {1, 2, 20, 8, 0}, {1, 2, 28, 9, 1}, {7, 1, 5, 10, 1},
    {0x80000001, 2, 6, 11, 0}, {0x80000001, 2, 16, 12, 1}, {0x80000001, 2, 11, 13, 1}, {1, 2, 12, 14, 1},
    {7, 1, 16, 15, 2}, {7, 1, 3, 16, 0}, {7, 1, 8, 17, 0}, {1, 2, 25, 18, 0}, {1, 2, 1, 19, 0}, {7, 1, 31, 20, 2},
    {7, 1, 30, 21, 2}, {7, 1, 17, 22, 2}, {7, 1, 28, 23, 2}, {7, 1, 27, 24, 2}, {7, 1, 26, 25, 2}, {7, 2, 1, 26, 2},
    {7, 1, 21, 27, 2}, {7, 3, 2, 28, 2}, {7, 3, 3, 29, 2}, {7, 2, 14, 30, 2}, {7, 2, 6, 31, 2}, {7, 2, 8, 32, 0},
    {7, 2, 10, 33, 1}, {7, 2, 11, 34, 2}, {7, 2, 12, 35, 2}, {7, 3, 8, 37, 2}, {0x80000001, 3, 31, 38, 0},
    {0x80000001, 3, 30, 39, 0}, {7, 1, 19, 40, 0}, {0x80000001, 2, 5, 41, 0}, {7, 2, 25, 42, 0}, {7, 1, 23, 43, 0},
    {7, 1, 24, 44, 0}, {1, 2, 13, 46, 0}, {1, 3, 8, 47, 0}, {1, 2, 29, 49, 1}, {7, 1, 0, 50, 0}, {1, 3, 24, 51, 0},
    {0x80000001, 2, 0, 54, 0}, {0x80000001, 3, 29, 55, 0}, {0x80000001, 2, 5, 57, 0}, {1, 2, 22, 58, 0},
    {7, 3, 14, 73, 0}, {7, 1, 29, 75, 0}, {7, 2, 9, 79, 1}, {1, 2, 26, 82, 0}, {1, 2, 27, 63, 0},
    {0x80000001, 2, 8, 67, 0}, {1, 2, 30, 70, 0}, {7, 1, 18, 71, 0}, {7, 2, 22, 69, 0},
};

static int has(int feature) {
    return feature < 32 ? __cpu_model.features >> feature & 1 : __cpu_features2[feature / 32 - 1] >> (feature & 31) & 1;
}

static void set(int feature) {
    if (feature < 32)
        __cpu_model.features |= 1u << feature;
    else
        __cpu_features2[feature / 32 - 1] |= 1u << (feature & 31);
}

static int has_all(const u8 *features) {
    for (; *features != 255; features++)
        if (!has(*features))
            return 0;
    return 1;
}

int __cpu_indicator_init(void) {
    u32 zero[4], one[4], r[4], highest_extended, state = 0;
    if (__cpu_model.vendor)
        return 0;
    cpuid(0, 0, zero);
    cpuid(1, 0, one);
    cpuid(0x80000000, 0, r);
    highest_extended = r[0];
    if (one[2] >> 27 & 1) { /* OSXSAVE: XCR0 says which registers the system keeps */
        u32 low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        state = (low & 6) == 6 ? (low & 0xe6) == 0xe6 ? 2 : 1 : 0;
    }
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].state > state || rows[i].leaf > (rows[i].leaf >> 31 ? highest_extended : zero[0]))
            continue;
        cpuid(rows[i].leaf, 0, r);
        if (r[rows[i].reg] >> rows[i].bit & 1)
            set(rows[i].feature);
    }
    static const u8 baseline[] = {55, 0, 47, 51, 1, 3, 4, 255}; /* x86-64 psABI, 3.1.1: the micro-architecture levels */
    static const u8 v2[] = {46, 54, 2, 5, 7, 8, 6, 255}, v3[] = {9, 10, 16, 17, 49, 14, 57, 58, 255};
    static const u8 v4[] = {15, 21, 23, 22, 20, 255};
    static const u8 *const levels[] = {baseline, v2, v3, v4};
    for (int level = 0; level < 4 && has_all(levels[level]); level++)
        set(95 + level);
    __cpu_model.vendor = zero[1] == 0x756e6547 ? 1 : zero[1] == 0x68747541 ? 2 : 3; /* "Genu", "Auth" */
    return 0;
}
#endif
