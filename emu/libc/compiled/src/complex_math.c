/* <complex.h> in double and float. */
#pragma clang fp contract(off)

/* x * x + y * y - 1, for 1/2 <= x * x + y * y and x < 1. */
static float squaresf(float x, float y) { return (float)((double)x * x + (double)y * y - 1); }

static double product(double x, double y, double *low) { /* Dekker: x * y without error */
    double a = x * 0x1.000002p+27, b = y * 0x1.000002p+27, xh = a - (a - x), yh = b - (b - y), xl = x - xh, yl = y - yh;
    double high = x * y;
    *low = ((xh * yh - high) + xh * yl + xl * yh) + xl * yl;
    return high;
}

static double squares(double x, double y) {
    double xl, yl, x2 = product(x, x, &xl), y2 = product(y, y, &yl);
    double above = x2 - 1; /* exact, as 1/4 < x2: Sterbenz for x2 >= 1/2 */
    double sum = above + y2, rest = sum - above, error = (above - (sum - rest)) + (y2 - rest);
    if (x2 < 0.5) {
        double s = x2 + y2, r = s - x2, e = (x2 - (s - r)) + (y2 - r);
        return (s - 1) + (e + (xl + yl));
    }
    return sum + (error + (xl + yl));
}

#define T double
#define F(name) name
#define C(name) name
#define SMALLEST 0x1p-1022
#define LARGEST 0x1.fffffffffffffp+1023
#define EPSILON 0x1p-52
#define DIGITS 53
#define EXPONENT 1024
#include "complex_math.h"

#define T float
#define F(name) name##f
#define C(name) name##f
#define SMALLEST 0x1p-126f
#define LARGEST 0x1.fffffep+127f
#define EPSILON 0x1p-23f
#define DIGITS 24
#define EXPONENT 128
#include "complex_math.h"
