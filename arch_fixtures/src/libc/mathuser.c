/* What small libraries import of libm. */
#include "fixture.h"
extern double sin(double), cos(double), tan(double), atan2(double, double), exp(double), log(double), log10(double);
extern double pow(double, double), sqrt(double), floor(double), ceil(double), fmod(double, double), fabs(double);
extern double round(double), trunc(double), ldexp(double, int), frexp(double, int *), modf(double, double *);
extern double cbrt(double), hypot(double, double);
extern float sinf(float), sqrtf(float), powf(float, float), floorf(float);
double use_trigonometry(double x) { return sin(x) * sin(x) + cos(x) * cos(x) + tan(x) - sin(x) / cos(x); }
double use_exponentials(double x) { return exp(log(x)) + pow(x, 2) + sqrt(x) * sqrt(x) + log10(1000); }
double use_rounding(double x) { return floor(x) * 1000 + ceil(x) * 100 + round(x) * 10 + trunc(x) + fabs(-x); }
double use_parts(double x) {
    int exponent;
    double whole, fraction = frexp(x, &exponent);
    return ldexp(fraction, exponent) + modf(x, &whole) + whole + fmod(x, 1.5) + exponent;
}
double use_angles(double y, double x) { return atan2(y, x) + hypot(x, y) + cbrt(27); }
float use_floats(float x) { return sinf(x) * sinf(x) + sqrtf(x) + powf(x, 3) + floorf(x); }
