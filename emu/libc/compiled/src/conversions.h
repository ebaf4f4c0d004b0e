/* Conversions of one format (see binary.h) to and from one integer type. Included once a pair, with these defined:
 *     C(name)      the name of a function of this pair
 *     sint, uint   the integer type, signed and unsigned; INTEGER its bits
 * What is out of range gives the nearest value there is; a NaN gives what the ISA's own instructions give. */

INTERNAL uint C(to_integer)(rep a, int is_signed) {
    rep sign = a & SIGN, magnitude = a & ~SIGN;
    uint highest = is_signed ? (uint)-1 >> 1 : (uint)-1;
    int exponent = (int)(magnitude >> FRACTION) - BIAS;
    if (F(is_nan)(a)) {
        raise_flags(INVALID);
#if defined(__riscv)
        return highest;
#elif defined(__x86_64__) || defined(__i386__)
        return is_signed ? highest + 1 : highest;
#else
        return 0;
#endif
    }
    if (exponent < 0) {
        if (magnitude)
            raise_flags(INEXACT);
        return 0;
    }
    int limit = is_signed ? INTEGER - 1 : INTEGER;
    if (exponent >= limit) {
        rep fraction = magnitude & (HIDDEN_BIT - 1);
        int integral = INTEGER - 1 < FRACTION ? INTEGER - 1 : FRACTION; /* bits of the fraction before the point */
        if (is_signed && sign && exponent == limit && !(fraction >> (FRACTION - integral))) {
            if (fraction)
                raise_flags(INEXACT);
            return highest + 1;
        }
        raise_flags(INVALID);
        return sign ? (is_signed ? highest + 1 : 0) : highest;
    }
    rep significand = (magnitude & (HIDDEN_BIT - 1)) | HIDDEN_BIT;
    uint result;
    if (exponent <= FRACTION) {
        int drop = FRACTION - exponent;
        result = (uint)(significand >> drop);
        if (drop && (rep)(significand << (BITS - drop)))
            raise_flags(INEXACT);
    } else
        result = (uint)significand << (exponent - FRACTION);
    if (!sign)
        return result;
    if (!is_signed) {
        raise_flags(INVALID);
        return 0;
    }
    return -result;
}

INTERNAL rep C(of_integer)(uint value, rep sign) {
    if (!value)
        return 0;
    int leading = INTEGER - 1;
    while (!(value >> leading))
        leading--;
    rep significand;
    int place = FRACTION + 3;
    if (leading <= place)
        significand = (rep)value << (place - leading);
    else {
        int drop = leading - place;
        significand = (rep)(value >> drop) | ((uint)(value << (INTEGER - drop)) != 0);
    }
    return F(pack)(sign, leading + BIAS, significand);
}
