/* div and its relatives where they return a structure in memory or in two registers of 32 bits; the functions of
   64-bit ISAs are in Python. */
#include "types.h"

#if __SIZEOF_POINTER__ == 4
typedef struct { int quotient, remainder; } narrow;
typedef struct { long long quotient, remainder; } wide;

narrow div(int numerator, int denominator) { return (narrow){numerator / denominator, numerator % denominator}; }
narrow ldiv(long numerator, long denominator) ALIAS("div");
wide lldiv(long long numerator, long long denominator) {
    return (wide){numerator / denominator, numerator % denominator};
}
wide imaxdiv(long long numerator, long long denominator) ALIAS("lldiv");
#endif
