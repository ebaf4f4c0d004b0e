/* The caller side: the guest calls imported host functions of every shape, and callbacks it is given. */
#include "fixture.h"

extern int8_t host_i8(int8_t);
extern uint8_t host_u8(uint8_t);
extern int16_t host_i16(int16_t);
extern uint16_t host_u16(uint16_t);
extern int32_t host_i32(int32_t);
extern uint32_t host_u32(uint32_t);
extern int64_t host_i64(int64_t);
extern uint64_t host_u64(uint64_t);
extern float host_f32(float);
extern double host_f64(double);
extern void *host_pointer(void *);
extern void host_nothing(void);
extern int host_ints10(int, int, int, int, int, int, int, int, int, int);
extern double host_doubles10(double, double, double, double, double, double, double, double, double, double);
extern float host_floats10(float, float, float, float, float, float, float, float, float, float);
extern double host_mixed(int, double, float, int64_t, float, int, double);
extern int64_t host_pair_second(int, int64_t);
extern int64_t host_pair_fourth(int, int, int, int64_t);
extern int64_t host_pair_eighth(int, int, int, int, int, int, int, int64_t, int);
extern float host_backfill(float, double, float, double, float);
extern int host_text(const char *);
extern int host_variadic(const char *format, ...);
extern void qsort(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));

/* The results are widened here: a host result that is not extended as the ABI wants is seen. */
int64_t call_i8(int8_t v) { return host_i8(v); }
uint64_t call_u8(uint8_t v) { return host_u8(v); }
int64_t call_i16(int16_t v) { return host_i16(v); }
uint64_t call_u16(uint16_t v) { return host_u16(v); }
int64_t call_i32(int32_t v) { return host_i32(v); }
uint64_t call_u32(uint32_t v) { return host_u32(v); }
int64_t call_i64(int64_t v) { return host_i64(v); }
uint64_t call_u64(uint64_t v) { return host_u64(v); }
float call_f32(float v) { return host_f32(v) + 1; }
double call_f64(double v) { return host_f64(v) + 1; }
void *call_pointer(void *v) { return host_pointer(v); }
int call_nothing(int v) { host_nothing(); return v + 1; }
int call_ints10(void) { return host_ints10(1, 2, 3, 4, 5, 6, 7, 8, 9, 10); }
double call_doubles10(void) { return host_doubles10(1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10); }
float call_floats10(void) { return host_floats10(1.5f, 2, 3, 4, 5, 6, 7, 8, 9, 10); }
double call_mixed(void) { return host_mixed(1, 2.5, 3.5f, -4, 5.25f, 6, 7.75); }
int64_t call_pair_second(void) { return host_pair_second(1, 0x123456789abcdef0); }
int64_t call_pair_fourth(void) { return host_pair_fourth(1, 2, 3, 0x123456789abcdef0); }
int64_t call_pair_eighth(void) { return host_pair_eighth(1, 2, 3, 4, 5, 6, 7, 0x123456789abcdef0, 9); }
float call_backfill(void) { return host_backfill(1.5f, 2.5, 3.5f, 4.5, 5.5f); }
int call_text(void) { return host_text("from the guest"); }
int call_variadic(void) { return host_variadic("ildsd", 1, (int64_t)0x200000003, 4.5, "five", 6.5); }

int call_me_back(int (*function)(int), int value) { return function(value) + 1; }
double call_me_back_double(double (*function)(double, int), double value) { return function(value, 3) + 1; }
int64_t call_me_back_long(int64_t (*function)(int, int64_t), int64_t value) { return function(7, value) + 1; }
int call_me_often(int (*function)(int), int times) {
    int sum = 0;
    for (int index = 0; index < times; index++) sum += function(index);
    return sum;
}

/* Ping-pong: the host may call `bounce` again, to any depth. */
extern int host_bounce(int depth);
int bounce(int depth) { return depth <= 0 ? 0 : host_bounce(depth - 1) + 1; }

NOINLINE int deep_recursion(int depth) {
    volatile int here = depth;
    return depth == 0 ? 0 : deep_recursion(depth - 1) + (here == depth);
}

static int compare_ints(const void *left, const void *right) {
    int l = *(const int *)left, r = *(const int *)right;
    return l < r ? -1 : l > r;
}
void sort_ints(int *values, size_t count) { qsort(values, count, sizeof *values, compare_ints); }

/* Registers the convention preserves must survive a host call: many values live across it. */
double live_across(int a, int b, int c, int d, double e, double f, double g) {
    int s = a * 3, t = b * 5, u = c * 7, w = d * 11;
    double x = e * 1.5, y = f * 2.5, z = g * 3.5;
    host_nothing();
    s += b; t += c; u += d; w += a;
    x += f; y += g; z += e;
    host_nothing();
    return s + t * 2 + u * 3 + w * 4 + x + y * 2 + z * 3;
}
