/* Arithmetic the compiler turns into calls: 64-bit division on 32-bit targets, 128-bit on 64-bit ones, the
   Arm run-time ABI, quad-precision long double. Linked without compiler-rt: the helpers are imports. */
#include "fixture.h"

int32_t divide32(int32_t a, int32_t b) { return a / b; }
uint32_t divide_u32(uint32_t a, uint32_t b) { return a / b; }
int32_t remainder32(int32_t a, int32_t b) { return a % b; }
uint32_t remainder_u32(uint32_t a, uint32_t b) { return a % b; }
int64_t divide64(int64_t a, int64_t b) { return a / b; }
uint64_t divide_u64(uint64_t a, uint64_t b) { return a / b; }
int64_t remainder64(int64_t a, int64_t b) { return a % b; }
uint64_t remainder_u64(uint64_t a, uint64_t b) { return a % b; }
uint64_t quotient_and_remainder(uint64_t a, uint64_t b) { return a / b * 1000003u + a % b; }
int64_t multiply64(int64_t a, int64_t b) { return (int64_t)((uint64_t)a * (uint64_t)b); }
int64_t shift_left(int64_t a, int by) { return (int64_t)((uint64_t)a << by); }
int64_t shift_right(int64_t a, int by) { return a >> by; }
uint64_t shift_right_u(uint64_t a, int by) { return a >> by; }
double i64_to_double(int64_t v) { return (double)v; }
double u64_to_double(uint64_t v) { return (double)v; }
float i64_to_float(int64_t v) { return (float)v; }
float u64_to_float(uint64_t v) { return (float)v; }
int64_t double_to_i64(double v) { return (int64_t)v; }
uint64_t double_to_u64(double v) { return (uint64_t)v; }
int64_t float_to_i64(float v) { return (int64_t)v; }
int count_bits(uint32_t v) { return __builtin_popcount(v); }
int count_bits64(uint64_t v) { return __builtin_popcountll(v); }
int leading_zeros(uint64_t v) { return __builtin_clzll(v); }
int trailing_zeros(uint64_t v) { return __builtin_ctzll(v); }
struct block { int words[64]; };
void copy_block(struct block *to, const struct block *from) { *to = *from; }
void zero_block(struct block *block) { *block = (struct block){{0}}; }
#ifdef __SIZEOF_INT128__
typedef unsigned __int128 uint128;
uint64_t divide128(uint64_t high, uint64_t low, uint64_t by) { return (uint64_t)((((uint128)high << 64) | low) / by); }
uint64_t remainder128(uint64_t high, uint64_t low, uint64_t by) { return (uint64_t)((((uint128)high << 64) | low) % by); }
#endif
#if __LDBL_MANT_DIG__ == 113
/* Quad precision is software on these targets. Through volatile: LLVM would narrow the arithmetic. */
static volatile long double quad_a, quad_b;
static void quad_set(double a, double b) { quad_a = a; quad_b = b; }
double quad_sum(double a, double b) { quad_set(a, b); return (double)(quad_a + quad_b); }
double quad_difference(double a, double b) { quad_set(a, b); return (double)(quad_a - quad_b); }
double quad_product(double a, double b) { quad_set(a, b); return (double)(quad_a * quad_b); }
double quad_quotient(double a, double b) { quad_set(a, b); return (double)(quad_a / quad_b); }
int quad_less(double a, double b) { quad_set(a, b); return quad_a < quad_b; }
int quad_equal(double a, double b) { quad_set(a, b); return quad_a == quad_b; }
int64_t quad_to_i64(double a) { quad_set(a, 0); return (int64_t)quad_a; }
double quad_from_i64(int64_t a) { quad_a = a; return (double)quad_a; }
/* 1 only where more than a double's 53 bits survive. */
int quad_keeps_bits(void) { quad_set(1e15, 1e-15); return (double)(quad_a + quad_b - quad_a) > 0; }
#endif
