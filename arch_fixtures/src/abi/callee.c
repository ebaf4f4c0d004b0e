/* The callee side of each calling convention. Every function mixes its arguments with weights of its own
   (1, 2, 3, …), so that two arguments swapped or one misread change the result. */
#include "fixture.h"

int8_t i8(int8_t v) { return (int8_t)(v + 1); }
uint8_t u8(uint8_t v) { return (uint8_t)(v + 1); }
int16_t i16(int16_t v) { return (int16_t)(v + 1); }
uint16_t u16(uint16_t v) { return (uint16_t)(v + 1); }
int32_t i32(int32_t v) { return (int32_t)((uint32_t)v + 1); }
uint32_t u32(uint32_t v) { return v + 1; }
int64_t i64(int64_t v) { return (int64_t)((uint64_t)v + 1); }
uint64_t u64(uint64_t v) { return v + 1; }
long native_long(long v) { return v - 1; }
_Bool boolean(int v) { return v > 0; }
float f32(float v) { return v * 2; }
double f64(double v) { return v * 2; }
void *pointer(void *v) { return (char *)v + 1; }

/* Is a narrow argument extended as the ABI says? Compared at full width on purpose. */
int32_t widen_i8(int8_t v) { return v; }
uint32_t widen_u8(uint8_t v) { return v; }
int32_t widen_i16(int16_t v) { return v; }
uint32_t widen_u16(uint16_t v) { return v; }
int64_t widen_i32(int32_t v) { return v; }
uint64_t widen_u32(uint32_t v) { return v; }

int ints10(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
int64_t longs10(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f, int64_t g, int64_t h,
                int64_t i, int64_t j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
float floats10(float a, float b, float c, float d, float e, float f, float g, float h, float i, float j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
double doubles10(double a, double b, double c, double d, double e, double f, double g, double h, double i,
                 double j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
int64_t bytes10(int8_t a, uint8_t b, int8_t c, uint8_t d, int8_t e, uint8_t f, int8_t g, uint8_t h, int8_t i,
                uint8_t j) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
double mixed(int a, double b, float c, int64_t d, float e, int f, double g) {
    return a + 2 * b + 3 * c + 4 * (double)d + 5 * e + 6 * f + 7 * g;
}
double mixed18(int a, double b, int c, double d, int e, double f, int g, double h, int i, double j, int k,
               double l, int m, double n, int o, double p, int q, double r) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l +
           13 * m + 14 * n + 15 * o + 16 * p + 17 * q + 18 * r;
}
/* AAPCS-VFP back-fills: c goes into the gap the double left. More singles than registers end on the stack. */
float backfill(float a, double b, float c, double d, float e) {
    return a + 2 * (float)b + 3 * c + 4 * (float)d + 5 * e;
}
double floats_then_doubles(float a, float b, float c, float d, float e, float f, float g, float h, float i,
                           double j, double k, double l, double m, float n) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k + 12 * l +
           13 * m + 14 * n;
}

/* 64-bit values at odd positions, and split between registers and stack, on the 32-bit ABIs. */
int64_t pair_first(int64_t a, int b) { return a + 2 * b; }
int64_t pair_second(int a, int64_t b) { return a + 2 * b; }
int64_t pair_third(int a, int b, int64_t c) { return a + 2 * b + 3 * c; }
int64_t pair_fourth(int a, int b, int c, int64_t d) { return a + 2 * b + 3 * c + 4 * d; }
int64_t pair_after(int a, int64_t b, int c) { return a + 2 * b + 3 * c; }
int64_t pair_eighth(int a, int b, int c, int d, int e, int f, int g, int64_t h, int i) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i;
}
int64_t pair_on_stack(int a, int b, int c, int d, int e, int f, int g, int h, int i, int64_t j, int k) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k;
}
uint64_t high_half(uint64_t v) { return v >> 32; }
double int64_to_double(int64_t v) { return (double)v; }

int64_t sum_bytes(const uint8_t *bytes, size_t length) {
    int64_t sum = 0;
    for (size_t index = 0; index < length; index++) sum += bytes[index];
    return sum;
}
void reverse_bytes(uint8_t *bytes, size_t length) {
    for (size_t low = 0, high = length; low + 1 < high; low++) {
        uint8_t kept = bytes[low];
        bytes[low] = bytes[--high];
        bytes[high] = kept;
    }
}
size_t text_length(const char *text) {
    size_t length = 0;
    while (text[length]) length++;
    return length;
}
static char shout_buffer[64];
const char *shout(const char *text) {
    size_t index = 0;
    for (; text[index] && index < sizeof shout_buffer - 1; index++)
        shout_buffer[index] = text[index] >= 'a' && text[index] <= 'z' ? (char)(text[index] - 32) : text[index];
    shout_buffer[index] = 0;
    return shout_buffer;
}

int sum_ints(int count, ...) {
    va_list list;
    va_start(list, count);
    int sum = 0;
    for (int index = 0; index < count; index++) sum += (index + 1) * va_arg(list, int);
    va_end(list);
    return sum;
}
int64_t sum_longs(int count, ...) {
    va_list list;
    va_start(list, count);
    int64_t sum = 0;
    for (int index = 0; index < count; index++) sum += (index + 1) * va_arg(list, int64_t);
    va_end(list);
    return sum;
}
double sum_doubles(int count, ...) {
    va_list list;
    va_start(list, count);
    double sum = 0;
    for (int index = 0; index < count; index++) sum += (index + 1) * va_arg(list, double);
    va_end(list);
    return sum;
}
/* Kinds as letters: i int, l int64_t, d double, s string (its length). Weighted by position. */
double sum_mixed(const char *kinds, ...) {
    va_list list;
    va_start(list, kinds);
    double sum = 0;
    for (int weight = 1; *kinds; kinds++, weight++) {
        if (*kinds == 'i') sum += weight * va_arg(list, int);
        if (*kinds == 'l') sum += weight * (double)va_arg(list, int64_t);
        if (*kinds == 'd') sum += weight * va_arg(list, double);
        if (*kinds == 's') sum += weight * (double)text_length(va_arg(list, const char *));
    }
    va_end(list);
    return sum;
}
/* Named floating arguments before the dots: they use up registers the variadic ones do not get. */
double after_named_double(double named, int count, ...) {
    va_list list;
    va_start(list, count);
    for (int index = 0; index < count; index++) named += (index + 1) * va_arg(list, double);
    va_end(list);
    return named;
}

extern int host_vsum(int count, va_list list);
int forward_vsum(int count, ...) {
    va_list list;
    va_start(list, count);
    int sum = host_vsum(count, list);
    va_end(list);
    return sum;
}
/* The list is begun here and finished by the host. */
int forward_rest(int count, ...) {
    va_list list;
    va_start(list, count);
    int first = va_arg(list, int);
    int sum = first * 1000 + host_vsum(count - 1, list);
    va_end(list);
    return sum;
}
extern double host_vmixed(const char *kinds, va_list list);
double forward_vmixed(const char *kinds, ...) {
    va_list list;
    va_start(list, kinds);
    double sum = host_vmixed(kinds, list);
    va_end(list);
    return sum;
}
