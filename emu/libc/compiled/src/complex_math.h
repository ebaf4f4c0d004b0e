/* <complex.h> for one type: T, its F(name) of functions and C(name) of complex ones. The special values are those of
   ISO C, annex G; the formulas those of glibc's s_*_template.c, but for casin, cacos and their hyperbolic kin, which
   are Kahan's (Branch Cuts for Complex Elementary Functions, 1987). */

extern T F(sin)(T), F(cos)(T), F(sinh)(T), F(cosh)(T), F(exp)(T), F(log)(T), F(log1p)(T), F(sqrt)(T), F(asinh)(T);
extern T F(hypot)(T, T), F(atan2)(T, T), F(scalbn)(T, int), F(log10)(T);

#define Z T _Complex
#define MAKE(re, im) __builtin_complex((T)(re), (T)(im))
#define FINITE(x) ((x) - (x) == 0)
#define INFINITE(x) (__builtin_isinf(x) != 0)
#define NAN_ ((T)__builtin_nan(""))
#define INF_ ((T)__builtin_inf())
#define ABS(x) ((T)__builtin_fabs(x))
#define SIGN(x, of) (T)__builtin_copysign((x), (of))
#define PI ((T)3.14159265358979323846)
#define LN2 ((T)0.69314718055994530942)
#define NEGATIVE(x) (__builtin_signbit(x) != 0)

T C(creal)(Z z) { return __real__ z; }
T C(cimag)(Z z) { return __imag__ z; }
T C(cabs)(Z z) { return F(hypot)(__real__ z, __imag__ z); }
T C(carg)(Z z) { return F(atan2)(__imag__ z, __real__ z); }
Z C(conj)(Z z) { return MAKE(__real__ z, -__imag__ z); }

Z C(cproj)(Z z) {
    return INFINITE(__real__ z) || INFINITE(__imag__ z) ? MAKE(INF_, SIGN(0, __imag__ z)) : z;
}

Z C(csqrt)(Z z) {
    T x = __real__ z, y = __imag__ z, r, s;
    if (!FINITE(x) || !FINITE(y)) {
        if (INFINITE(y))
            return MAKE(INF_, y);
        if (INFINITE(x))
            return x < 0 ? MAKE(y != y ? NAN_ : 0, SIGN(INF_, y)) : MAKE(x, y != y ? NAN_ : SIGN(0, y));
        return MAKE(NAN_, NAN_);
    }
    if (y == 0)
        return x < 0 ? MAKE(0, SIGN(F(sqrt)(-x), y)) : MAKE(ABS(F(sqrt)(x)), SIGN(0, y));
    if (x == 0) {
        r = ABS(y) >= 2 * SMALLEST ? F(sqrt)((T)0.5 * ABS(y)) : (T)0.5 * F(sqrt)(2 * ABS(y));
        return MAKE(r, SIGN(r, y));
    }
    int scale = 0;
    if (ABS(x) > LARGEST / 4) {
        scale = 1, x = F(scalbn)(x, -2), y = F(scalbn)(y, -2);
    } else if (ABS(y) > LARGEST / 4) {
        scale = 1, x = ABS(x) >= 4 * SMALLEST ? F(scalbn)(x, -2) : 0, y = F(scalbn)(y, -2);
    } else if (ABS(x) < 2 * SMALLEST && ABS(y) < 2 * SMALLEST) {
        scale = -((DIGITS + 1) / 2), x = F(scalbn)(x, -2 * scale), y = F(scalbn)(y, -2 * scale);
    }
    T d = F(hypot)(x, y), *large = x > 0 ? &r : &s, *small = x > 0 ? &s : &r;
    *large = F(sqrt)((T)0.5 * (d + ABS(x)));
    if (scale == 1 && ABS(y) < 2)
        *small = y / *large, *large = F(scalbn)(*large, scale), scale = 0;
    else
        *small = (T)0.5 * (y / *large);
    *small = x > 0 ? *small : ABS(*small);
    if (scale)
        r = F(scalbn)(r, scale), s = F(scalbn)(s, scale);
    return MAKE(r, SIGN(s, y));
}

/* exp(x) (re + i im) for a large x: by parts, so that only what overflows does. */
static Z F(scaled)(T x, T re, T im, int halved) {
    const T t = (int)((EXPONENT - 1) * LN2);
    T factor = F(exp)(t);
    x -= t, re *= halved ? factor / 2 : factor, im *= halved ? factor / 2 : factor;
    if (x > t)
        x -= t, re *= factor, im *= factor;
    if (x > t)
        return MAKE(LARGEST * re, LARGEST * im);
    factor = F(exp)(x);
    return MAKE(factor * re, factor * im);
}

static void F(both)(T x, T *sine, T *cosine) {
    int tiny = ABS(x) <= SMALLEST;
    *sine = tiny ? x : F(sin)(x), *cosine = tiny ? 1 : F(cos)(x);
}

Z C(cexp)(Z z) {
    T x = __real__ z, y = __imag__ z, sine, cosine;
    if (FINITE(x)) {
        if (!FINITE(y))
            return MAKE(NAN_, NAN_);
        F(both)(y, &sine, &cosine);
        if (x > (int)((EXPONENT - 1) * LN2))
            return F(scaled)(x, cosine, sine, 0);
        T factor = F(exp)(x);
        return MAKE(factor * cosine, factor * sine);
    }
    if (x != x)
        return MAKE(NAN_, y == 0 ? y : NAN_);
    if (!FINITE(y))
        return x > 0 ? MAKE(INF_, NAN_) : MAKE(0, SIGN(0, y));
    T value = x > 0 ? INF_ : 0;
    if (y == 0)
        return MAKE(value, y);
    F(both)(y, &sine, &cosine);
    return MAKE(SIGN(value, cosine), SIGN(value, sine));
}

Z C(clog)(Z z) {
    T x = __real__ z, y = __imag__ z, large = ABS(x), small = ABS(y), re;
    if (x != x || y != y)
        return MAKE(INFINITE(x) || INFINITE(y) ? INF_ : NAN_, NAN_);
    T angle = F(atan2)(y, x);
    if (large < small)
        re = large, large = small, small = re;
    if (large == 0)
        return MAKE(-INF_, angle);
    int scale = 0;
    if (large > LARGEST / 2)
        scale = -1, large = F(scalbn)(large, -1), small = small >= 2 * SMALLEST ? F(scalbn)(small, -1) : 0;
    else if (large < SMALLEST && small < SMALLEST)
        scale = DIGITS, large = F(scalbn)(large, scale), small = F(scalbn)(small, scale);
    if (large == 1 && !scale)
        re = F(log1p)(small * small) / 2;
    else if (large > 1 && large < 2 && small < 1 && !scale)
        re = F(log1p)((large - 1) * (large + 1) + (small >= EPSILON ? small * small : 0)) / 2;
    else if (large < 1 && large >= (T)0.5 && small < EPSILON / 2 && !scale)
        re = F(log1p)((large - 1) * (large + 1)) / 2;
    else if (large < 1 && large >= (T)0.5 && !scale && large * large + small * small >= (T)0.5)
        re = F(log1p)(F(squares)(large, small)) / 2;
    else
        re = F(log)(F(hypot)(large, small)) - scale * LN2;
    return MAKE(re, angle);
}

Z C(clog10)(Z z) {
    z = C(clog)(z);
    return MAKE(__real__ z * (T)0.43429448190325182765, __imag__ z * (T)0.43429448190325182765);
}

Z C(cpow)(Z z, Z power) { return C(cexp)(power * C(clog)(z)); }

Z C(csin)(Z z) {
    T x = ABS(__real__ z), y = __imag__ z, sine, cosine;
    int negative = NEGATIVE(__real__ z);
    if (y != y)
        return MAKE(x == 0 ? __real__ z : NAN_, NAN_);
    if (!FINITE(x))
        return FINITE(y) ? MAKE(NAN_, y == 0 ? y : NAN_) : MAKE(NAN_, INF_);
    F(both)(x, &sine, &cosine);
    sine = negative ? -sine : sine;
    if (!FINITE(y))
        return x == 0 ? MAKE(__real__ z, y) : MAKE(SIGN(INF_, sine), SIGN(INF_, NEGATIVE(y) ? -cosine : cosine));
    if (ABS(y) > (int)((EXPONENT - 1) * LN2))
        return F(scaled)(ABS(y), sine, NEGATIVE(y) ? -cosine : cosine, 1);
    return MAKE(F(cosh)(y) * sine, F(sinh)(y) * cosine);
}

Z C(ccosh)(Z z) {
    T x = __real__ z, y = __imag__ z, sine, cosine;
    if (x != x)
        return MAKE(NAN_, y == 0 ? y : NAN_);
    if (!FINITE(y))
        return FINITE(x) ? MAKE(NAN_, x == 0 ? 0 : NAN_) : MAKE(INF_, NAN_);
    F(both)(y, &sine, &cosine);
    if (!FINITE(x)) {
        T sign = SIGN(1, x);
        return y == 0 ? MAKE(INF_, y * sign) : MAKE(SIGN(INF_, cosine), SIGN(INF_, sine) * sign);
    }
    if (ABS(x) > (int)((EXPONENT - 1) * LN2))
        return F(scaled)(ABS(x), cosine, NEGATIVE(x) ? -sine : sine, 1);
    return MAKE(F(cosh)(x) * cosine, F(sinh)(x) * sine);
}

Z C(ctan)(Z z) {
    T x = __real__ z, y = __imag__ z, sine, cosine, sinh_ = y, cosh_ = 1;
    if (!FINITE(x) || !FINITE(y)) {
        if (!INFINITE(y))
            return x == 0 ? z : MAKE(NAN_, y == 0 ? y : NAN_);
        F(both)(x, &sine, &cosine);
        return MAKE(SIGN(0, FINITE(x) && ABS(x) > 1 ? sine * cosine : x), SIGN(1, y));
    }
    F(both)(x, &sine, &cosine);
    const T t = (int)((EXPONENT - 1) * LN2 / 2);
    if (ABS(y) > t) {
        T re = 4 * sine * cosine / F(exp)(2 * t), left = ABS(y) - t;
        return MAKE(re / F(exp)(2 * (left > t ? t : left)), SIGN(1, y));
    }
    if (ABS(y) > SMALLEST)
        sinh_ = F(sinh)(y), cosh_ = F(cosh)(y);
    T below = cosine * cosine + (ABS(sinh_) > ABS(cosine) * EPSILON ? sinh_ * sinh_ : 0);
    return MAKE(sine * cosine / below, sinh_ * cosh_ / below);
}

/* f(z) = -i g(i z), and g is odd: the parts change places. */
static Z F(swapped)(Z z) { return MAKE(__imag__ z, __real__ z); }
Z C(csinh)(Z z) { return F(swapped)(C(csin)(F(swapped)(z))); }
Z C(ctanh)(Z z) { return F(swapped)(C(ctan)(F(swapped)(z))); }
Z C(ccos)(Z z) { return C(ccosh)(MAKE(-__imag__ z, __real__ z)); }

Z C(casinh)(Z z) {
    T x = __real__ z, y = __imag__ z, ax = ABS(x), ay = ABS(y);
    if (!FINITE(x) || !FINITE(y)) {
        if (INFINITE(y))
            return MAKE(SIGN(INF_, x), x != x ? NAN_ : SIGN(FINITE(x) ? PI / 2 : PI / 4, y));
        if (!FINITE(x))
            return MAKE(x, (INFINITE(x) && FINITE(y)) || y == 0 ? SIGN(0, y) : NAN_);
        return MAKE(NAN_, NAN_);
    }
    if (x == 0 && y == 0)
        return z;
    if (ax > LARGEST / 8 || ay > LARGEST / 8)
        return MAKE(SIGN(F(log)(F(hypot)(x / 2, y / 2)) + 2 * LN2, x), F(atan2)(y, ax));
    if (ax < EPSILON / 8 && ay < EPSILON / 8)
        return z;
    Z one = C(csqrt)(MAKE(1 + y, -x)), other = C(csqrt)(MAKE(1 - y, x)); /* of 1 - i z, 1 + i z */
    T a = __real__ one, b = __imag__ one, c = __real__ other, d = __imag__ other;
    return MAKE(F(asinh)(a * d - b * c), F(atan2)(y, a * c - b * d));
}

Z C(casin)(Z z) { return F(swapped)(C(casinh)(F(swapped)(z))); }

Z C(cacos)(Z z) {
    T x = __real__ z, y = __imag__ z;
    if (!FINITE(x) || !FINITE(y) || (x == 0 && y == 0)) {
        z = C(casin)(z);
        return MAKE(PI / 2 - __real__ z, INFINITE(__imag__ z) || __imag__ z == 0 || y != y ? -__imag__ z : __imag__ z);
    }
    if (ABS(x) > LARGEST / 8 || ABS(y) > LARGEST / 8)
        return MAKE(F(atan2)(ABS(y), x), SIGN(F(log)(F(hypot)(x / 2, y / 2)) + 2 * LN2, -y));
    Z one = C(csqrt)(MAKE(1 - x, -y)), other = C(csqrt)(MAKE(1 + x, y));
    T a = __real__ one, b = __imag__ one, c = __real__ other, d = __imag__ other;
    return MAKE(2 * F(atan2)(a, c), F(asinh)(c * b - d * a));
}

Z C(cacosh)(Z z) {
    T y = __imag__ z;
    z = C(cacos)(z);
    T re = ABS(__imag__ z), im = __real__ z;
    return MAKE(re, SIGN(im, y));
}

Z C(catanh)(Z z) {
    T x = __real__ z, y = __imag__ z, ax = ABS(x), ay = ABS(y), re;
    if (!FINITE(x) || !FINITE(y)) {
        if (INFINITE(y))
            return MAKE(SIGN(0, x), SIGN(PI / 2, y));
        if (INFINITE(x) || x == 0)
            return MAKE(SIGN(0, x), y != y ? NAN_ : SIGN(PI / 2, y));
        return MAKE(NAN_, NAN_);
    }
    if (x == 0 && y == 0)
        return z;
    if (ax >= 16 / EPSILON || ay >= 16 / EPSILON) {
        T h = F(hypot)(x / 2, y / 2);
        return MAKE(ay <= 1 ? 1 / x : ax <= 1 ? x / y / y : x / h / h / 4, SIGN(PI / 2, y));
    }
    if (ax == 1 && ay < EPSILON * EPSILON)
        re = SIGN((T)0.5, x) * (LN2 - F(log)(ay));
    else {
        T square = ay >= EPSILON * EPSILON ? y * y : 0, above = square + (1 + x) * (1 + x);
        T below = square + (1 - x) * (1 - x), quotient = above / below;
        re = quotient < (T)0.5 ? (T)0.25 * F(log)(quotient) : (T)0.25 * F(log1p)(4 * x / below);
    }
    T large = ax < ay ? ay : ax, small = ax < ay ? ax : ay, below = (1 - large) * (1 + large);
    if (small >= EPSILON / 2)
        below = large < 1 && (large >= (T)0.75 || small >= (T)0.5) ? -F(squares)(large, small) : below - small * small;
    return MAKE(re, (T)0.5 * F(atan2)(2 * y, below == 0 ? 0 : below));
}

Z C(catan)(Z z) { return F(swapped)(C(catanh)(F(swapped)(z))); }

#undef Z
#undef T
#undef F
#undef C
#undef SMALLEST
#undef LARGEST
#undef EPSILON
#undef DIGITS
#undef EXPONENT
