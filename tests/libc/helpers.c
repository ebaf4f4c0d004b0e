/* Every operation that the compiled helpers serve, over arrays: the compiler calls the helper for each element. */
typedef __INT32_TYPE__ i32;
typedef __INT64_TYPE__ i64;
typedef __UINT32_TYPE__ u32;
typedef __UINT64_TYPE__ u64;
typedef _Float16 half;

#define EACH(name, result, left, right, expression)                                 \
    void name(int n, const left *a, const right *b, result *r) {                    \
        for (int i = 0; i < n; i++) {                                               \
            left x = a[i];                                                          \
            right y = b[i];                                                         \
            r[i] = (expression);                                                    \
            (void)y;                                                                \
        }                                                                           \
    }

#if __LDBL_MANT_DIG__ == 113 || defined(__x86_64__)
#if defined(__x86_64__)
typedef __float128 quad;
#else
typedef long double quad;
#endif
EACH(tf_add, quad, quad, quad, x + y)
EACH(tf_subtract, quad, quad, quad, x - y)
EACH(tf_multiply, quad, quad, quad, x *y)
EACH(tf_divide, quad, quad, quad, x / y)
EACH(tf_order, i32, quad, quad, (x < y) | (x <= y) << 1 | (x > y) << 2 | (x >= y) << 3 | (x == y) << 4 | (x != y) << 5)
EACH(tf_to_si, i32, quad, quad, (i32)x)
EACH(tf_to_di, i64, quad, quad, (i64)x)
EACH(tf_to_usi, u32, quad, quad, (u32)x)
EACH(tf_to_udi, u64, quad, quad, (u64)x)
EACH(tf_of_si, quad, i32, i32, x)
EACH(tf_of_di, quad, i64, i64, x)
EACH(tf_of_usi, quad, u32, u32, x)
EACH(tf_of_udi, quad, u64, u64, x)
EACH(tf_to_df, double, quad, quad, (double)x)
EACH(tf_to_sf, float, quad, quad, (float)x)
EACH(tf_of_df, quad, double, double, x)
EACH(tf_of_sf, quad, float, float, x)
#if defined(__SIZEOF_INT128__)
EACH(tf_to_ti, __int128, quad, quad, (__int128)x)
EACH(tf_to_uti, unsigned __int128, quad, quad, (unsigned __int128)x)
EACH(tf_of_ti, quad, __int128, __int128, x)
EACH(tf_of_uti, quad, unsigned __int128, unsigned __int128, x)
#endif
#endif
EACH(hf_to_sf, float, half, half, x)
EACH(hf_of_sf, half, float, float, (half)x)
EACH(hf_of_df, half, double, double, (half)x)
EACH(df_add, double, double, double, x + y)
EACH(df_subtract, double, double, double, x - y)
EACH(df_multiply, double, double, double, x *y)
EACH(df_divide, double, double, double, x / y)
EACH(sf_add, float, float, float, x + y)
EACH(sf_multiply, float, float, float, x *y)
EACH(sf_divide, float, float, float, x / y)
EACH(df_to_di, i64, double, double, (i64)x)
EACH(df_of_di, double, i64, i64, x)
EACH(df_to_sf, float, double, double, (float)x)
EACH(di_divide, i64, i64, i64, y &&y != -1 ? x / y : 0)
EACH(di_modulo, i64, i64, i64, y &&y != -1 ? x % y : 0)
EACH(udi_divide, u64, u64, u64, y ? x / y : 0)
EACH(si_divide, i32, i32, i32, y &&y != -1 ? x / y : 0)
#if defined(__SIZEOF_INT128__)
EACH(ti_divide, __int128, __int128, __int128, y &&y != -1 ? x / y : 0)
EACH(ti_modulo, __int128, __int128, __int128, y &&y != -1 ? x % y : 0)
EACH(uti_divide, unsigned __int128, unsigned __int128, unsigned __int128, y ? x / y : 0)
EACH(ti_multiply, __int128, __int128, __int128, x *y)
#endif

EACH(dc_multiply, double _Complex, double _Complex, double _Complex, x *y)
EACH(dc_divide, double _Complex, double _Complex, double _Complex, x / y)
EACH(sc_multiply, float _Complex, float _Complex, float _Complex, x *y)

/* The bits of a double's square through every wider type that a product needs: a chain of conversions. */
double through_long_double(double a, double b) {
    volatile long double x = a, y = b;
    return (double)((x + y) * (x - y) / (y * y));
}
#if defined(__x86_64__) || defined(__i386__)
int supports_sse2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse2") != 0;
}
#endif
