/* Arithmetic of one IEEE 754 binary format on the bits of its values. Included once a format, with these defined:
 *     F(name)      the name of a function of this format
 *     rep          unsigned integer of the format's width; srep the signed one
 *     BITS, FRACTION, EXPONENT     widths of the whole, of the stored fraction, of the exponent field
 *     mul_wide(a, b, &low)         the upper half of a product, and its lower half
 * A value is taken apart into its sign, an exponent and a significand whose leading bit is at FRACTION + 3: the
 * three bits below are guard, round and sticky. IEEE 754-2019, 4.3 (rounding), 5.4 (operations), 6 (specials), 7. */

#define TOP (((rep)1 << EXPONENT) - 1)
#define BIAS ((int)(TOP >> 1))
#define SIGN ((rep)1 << (BITS - 1))
#define HIDDEN_BIT ((rep)1 << FRACTION)
#define INF (TOP << FRACTION)
#define QUIET (HIDDEN_BIT >> 1)
#define LEADING (HIDDEN_BIT << 3)
#if defined(__x86_64__) || defined(__i386__)
#define DEFAULT_NAN (SIGN | INF | QUIET)
#else
#define DEFAULT_NAN (INF | QUIET)
#endif

INTERNAL int F(is_nan)(rep a) { return (rep)(a << 1) > (rep)(INF << 1); }
INTERNAL int F(is_signalling)(rep a) { return F(is_nan)(a) && !(a & QUIET); }

INTERNAL rep F(nan_of)(rep a, rep b) { /* at least one is a NaN; the first of them, quiet */
    if (F(is_signalling)(a) || F(is_signalling)(b))
        raise_flags(INVALID);
#if defined(__riscv)
    return DEFAULT_NAN;
#else
    if (F(is_signalling)(a) || (F(is_nan)(a) && !F(is_signalling)(b)))
        return a | QUIET;
    return b | QUIET;
#endif
}

INTERNAL rep F(invalid)(void) {
    raise_flags(INVALID);
    return DEFAULT_NAN;
}

INTERNAL int F(zeros_above)(rep a) { /* leading zeros of a value that is not 0 */
    int n = 0;
    for (int step = BITS / 2; step; step /= 2)
        if (!(a >> (BITS - step)))
            n += step, a <<= step;
    return n;
}

INTERNAL rep F(shifted)(rep a, int n) { /* right by n >= 0; what is lost stays as bit 0 */
    if (n == 0)
        return a;
    if (n >= BITS)
        return a != 0;
    return a >> n | ((rep)(a << (BITS - n)) != 0);
}

/* Take a finite value that is not 0 apart: *significand has its leading bit at FRACTION + 3. */
INTERNAL int F(unpack)(rep a, rep *significand) {
    int exponent = (int)(a >> FRACTION & TOP);
    rep fraction = a & (HIDDEN_BIT - 1);
    if (exponent) {
        *significand = (fraction | HIDDEN_BIT) << 3;
        return exponent;
    }
    int shift = F(zeros_above)(fraction) - (BITS - 1 - FRACTION);
    *significand = fraction << shift << 3;
    return 1 - shift;
}

/* The value (-1)^sign 2^(exponent - BIAS) significand, rounded; the leading bit is at FRACTION + 3. */
INTERNAL rep F(pack)(rep sign, int exponent, rep significand) {
    enum rounding mode = rounding_mode();
    unsigned flags = 0;
    int tiny = exponent <= 0;
    if (tiny) {
        significand = F(shifted)(significand, 1 - exponent);
        exponent = 0;
    }
    unsigned rest = (unsigned)significand & 7;
    int up = mode == TO_NEAREST ? rest > 4 || (rest == 4 && (significand & 8))
           : mode == UPWARD     ? rest && !sign
           : mode == DOWNWARD   ? rest && sign
                                : 0;
    significand >>= 3;
    if (rest)
        flags |= INEXACT | (tiny ? UNDERFLOWS : 0);
    significand += (rep)up;
    rep result = exponent ? ((rep)(exponent - 1) << FRACTION) + significand : significand;
    if (exponent >= (int)TOP || result >= INF) {
        flags |= OVERFLOWS | INEXACT;
        int infinite = mode == TO_NEAREST || (mode == UPWARD && !sign) || (mode == DOWNWARD && sign);
        result = infinite ? INF : INF - 1;
    }
    raise_flags(flags);
    return sign | result;
}

INTERNAL rep F(add)(rep a, rep b) {
    rep sign = a & SIGN, other = b & SIGN, x, y;
    if (F(is_nan)(a) || F(is_nan)(b))
        return F(nan_of)(a, b);
    a ^= sign, b ^= other;
    if (a == INF)
        return b == INF && sign != other ? F(invalid)() : sign | INF;
    if (b == INF)
        return other | INF;
    if (!a || !b) {
        if (a | b)
            return a ? sign | a : other | b;
        return sign == other ? sign : rounding_mode() == DOWNWARD ? SIGN : 0;
    }
    if (a < b) {
        rep t = a;
        a = b, b = t;
        t = sign, sign = other, other = t;
    }
    int exponent = F(unpack)(a, &x), lower = F(unpack)(b, &y);
    y = F(shifted)(y, exponent - lower);
    if (sign == other) {
        x += y;
        if (x & LEADING << 1)
            x = F(shifted)(x, 1), exponent++;
        return F(pack)(sign, exponent, x);
    }
    x -= y;
    if (!x)
        return rounding_mode() == DOWNWARD ? SIGN : 0;
    int shift = F(zeros_above)(x) - (BITS - 4 - FRACTION);
    return F(pack)(sign, exponent - shift, x << shift);
}

INTERNAL rep F(multiply)(rep a, rep b) {
    rep sign = (a ^ b) & SIGN, x, y, low;
    if (F(is_nan)(a) || F(is_nan)(b))
        return F(nan_of)(a, b);
    a &= ~SIGN, b &= ~SIGN;
    if (a == INF || b == INF)
        return a && b ? sign | INF : F(invalid)();
    if (!a || !b)
        return sign;
    int exponent = F(unpack)(a, &x) + F(unpack)(b, &y) - BIAS;
    /* leading bits at BITS - 1 and FRACTION + 3: that of the product is at FRACTION + 3 of the upper half, or 2 */
    x = mul_wide(x << (BITS - 4 - FRACTION), y, &low);
    if (x & LEADING)
        exponent++;
    else
        x = x << 1 | low >> (BITS - 1), low <<= 1;
    return F(pack)(sign, exponent, x | (low != 0));
}

INTERNAL rep F(divide)(rep a, rep b) {
    rep sign = (a ^ b) & SIGN, x, y, quotient = 0;
    if (F(is_nan)(a) || F(is_nan)(b))
        return F(nan_of)(a, b);
    a &= ~SIGN, b &= ~SIGN;
    if (a == INF)
        return b == INF ? F(invalid)() : sign | INF;
    if (b == INF)
        return sign;
    if (!b) {
        if (!a)
            return F(invalid)();
        raise_flags(DIVISION_BY_ZERO);
        return sign | INF;
    }
    if (!a)
        return sign;
    int exponent = F(unpack)(a, &x) - F(unpack)(b, &y) + BIAS;
    if (x < y)
        x <<= 1, exponent--;
    for (int bit = FRACTION + 3; bit >= 0; bit--) {
        quotient <<= 1;
        if (x >= y)
            x -= y, quotient |= 1;
        x <<= 1;
    }
    return F(pack)(sign, exponent, quotient | (x != 0));
}

/* -1, 0, 1, or 2 where a NaN is among them; `quiet` comparisons raise invalid for signalling NaNs alone. */
INTERNAL int F(compare)(rep a, rep b, int quiet) {
    if (F(is_nan)(a) || F(is_nan)(b)) {
        if (!quiet || F(is_signalling)(a) || F(is_signalling)(b))
            raise_flags(INVALID);
        return 2;
    }
    if (!((a | b) << 1) || a == b)
        return 0;
    if ((a ^ b) & SIGN)
        return a & SIGN ? -1 : 1;
    return (a < b) == !(a & SIGN) ? -1 : 1;
}
