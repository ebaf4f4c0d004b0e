/* x87's arithmetic on numbers of 80 bits. Each function returns the status bits of its result. */
static int add(struct cpu *cpu, struct number *result, const struct number *a, const struct number *b, int minus)
{
    int flags = 0, a_sign = sign(a), b_sign = sign(b) ^ minus;
    u64 a_fraction = a->fraction, b_fraction = b->fraction;
    int a_power = exponent(a), b_power = exponent(b);
    if (!(usual(a) && usual(b) && !a->was_denormal && !b->was_denormal)) {
        if ((flags = not_numbers(result, a, b)))
            return flags;
        if (infinite(a) || infinite(b)) {
            if (infinite(a) && infinite(b) && a_sign != b_sign) {
                indefinite(result);
                return INVALID;
            }
            flags = denormals(a, b);
            set(result, infinite(a) ? a_sign : b_sign, LARGEST, HIGH);
            return flags;
        }
        flags = denormals(a, b);
        if (zero(a) && zero(b)) {
            set(result, a_sign == b_sign ? a_sign : mode(cpu) == DOWN, 0, 0);
            return flags;
        }
        if (zero(a))
            a_power = -0x10000, a_fraction = 0;
        else
            a_power = normalized(a, &a_fraction);
        if (zero(b))
            b_power = -0x10000, b_fraction = 0;
        else
            b_power = normalized(b, &b_fraction);
    }
    if (b_power > a_power || (b_power == a_power && b_fraction > a_fraction)) {
        u64 fraction = a_fraction;
        int other = a_power;
        a_fraction = b_fraction, b_fraction = fraction;
        a_power = b_power, b_power = other;
        other = a_sign, a_sign = b_sign, b_sign = other;
    }
    u128 value = (u128)a_fraction << 64, other = shifted((u128)b_fraction << 64, a_power - b_power);
    if (a_sign == b_sign) {
        value += other;
        if (value < other) {
            value = shifted(value, 1) | (u128)HIGH << 64;
            a_power++;
        }
    } else {
        value -= other;
        if (!value) {
            set(result, mode(cpu) == DOWN, 0, 0);
            return flags;
        }
        int shift = value >> 64 ? __builtin_clzl(value >> 64) : 64 + __builtin_clzl(value);
        value <<= shift;
        a_power -= shift;
    }
    return flags | pack(cpu, result, a_sign, a_power, value);
}

static int multiply(struct cpu *cpu, struct number *result, const struct number *a, const struct number *b)
{
    int flags = 0, negative = sign(a) ^ sign(b), a_power = exponent(a), b_power = exponent(b);
    u64 a_fraction = a->fraction, b_fraction = b->fraction;
    if (!(usual(a) && usual(b) && !b->was_denormal)) {
        if ((flags = not_numbers(result, a, b)))
            return flags;
        if (infinite(a) || infinite(b)) {
            if (zero(a) || zero(b)) {
                indefinite(result);
                return INVALID;
            }
            flags = denormals(a, b);
            set(result, negative, LARGEST, HIGH);
            return flags;
        }
        flags = denormals(a, b);
        if (zero(a) || zero(b)) {
            set(result, negative, 0, 0);
            return flags;
        }
        a_power = normalized(a, &a_fraction);
        b_power = normalized(b, &b_fraction);
    }
    u128 value = (u128)a_fraction * b_fraction;
    int shift = !(value >> 127);
    return flags | pack(cpu, result, negative, a_power + b_power - BIAS + 1 - shift, value << shift);
}

/* The quotient of high.0 by `by`, which is larger than high; what remains in *rest. */
static u64 quotient(u64 high, u64 by, u64 *rest)
{
#ifdef __x86_64__
    u64 result;
    __asm__("divq %4" : "=a"(result), "=d"(*rest) : "a"(0ul), "d"(high), "r"(by) : "cc");
    return result;
#else
    u64 result = 0;
    for (int half = 0; half < 2; half++) {
        u64 digit = high / (by >> 32);
        u128 product = (u128)digit * by, value = (u128)high << 32;
        while (digit >> 32 || product > value) {
            digit--;
            product -= by;
        }
        high = value - product;
        result = result << 32 | digit;
    }
    *rest = high;
    return result;
#endif
}

static int divide(struct cpu *cpu, struct number *result, const struct number *a, const struct number *b)
{
    int flags = 0, negative = sign(a) ^ sign(b), a_power = exponent(a), b_power = exponent(b);
    u64 a_fraction = a->fraction, b_fraction = b->fraction, rest;
    if (!(usual(a) && usual(b) && !a->was_denormal && !b->was_denormal)) {
        if ((flags = not_numbers(result, a, b)))
            return flags;
        if ((infinite(a) && infinite(b)) || (zero(a) && zero(b))) {
            indefinite(result);
            return INVALID;
        }
        flags = denormals(a, b);
        if (infinite(a) || zero(b)) {
            flags = infinite(a) ? flags : ZERO_DIVISION;
            set(result, negative, LARGEST, HIGH);
            return flags;
        }
        if (infinite(b) || zero(a)) {
            set(result, negative, 0, 0);
            return flags;
        }
        a_power = normalized(a, &a_fraction);
        b_power = normalized(b, &b_fraction);
    }
    int less = a_fraction < b_fraction, power = a_power - b_power + BIAS - less;
    u64 high;
    if (less)
        high = quotient(a_fraction, b_fraction, &rest);
    else {
        high = quotient(a_fraction - b_fraction, b_fraction, &rest);
        u64 low = high & 1;
        high = high >> 1 | HIGH;
        /* the quotient has 65 bits: its last one, then the rest */
        return flags | pack(cpu, result, negative, power, (u128)high << 64 | low << 63 | (rest != 0));
    }
    u64 half = b_fraction - rest;
    u64 low = !rest ? 0 : rest < half ? 1 : rest == half ? HIGH : HIGH | 1;
    return flags | pack(cpu, result, negative, power, (u128)high << 64 | low);
}

static int root(struct cpu *cpu, struct number *x)
{
    int flags;
    u64 fraction;
    struct number none = {0, 0, 0, 0};
    if (!usual(x) || sign(x)) {
        if ((flags = not_numbers(x, x, &none)))
            return flags;
        if (zero(x))
            return 0;
        if (sign(x)) {
            indefinite(x);
            return INVALID;
        }
        if (infinite(x))
            return 0;
    }
    flags = denormal(x) ? DENORMAL : 0;
    int power = normalized(x, &fraction) - BIAS, odd = power & 1;
    u128 value = (u128)fraction << (63 + odd), rest;
    /* 48 bits from the host, then a step of Newton's method; both are too small. */
    u64 result = __builtin_sqrt((double)(u64)(value >> 64)) * (4294967296.0 - 0x1p-18);
    rest = value - (u128)result * result;
    u64 more = (u64)(rest >> 16) / ((result >> 15) + 1);
    rest -= more * (2 * (u128)result + more);
    result += more;
    while (rest > 2 * (u128)result) {
        rest -= 2 * (u128)result + 1;
        result++;
    }
    u64 low = !rest ? 0 : rest > result ? HIGH | 1 : 1;
    return flags | pack(cpu, x, 0, ((power - odd) >> 1) + BIAS, (u128)result << 64 | low);
}

static int to_integer(struct cpu *cpu, struct number *x)
{
    int flags;
    struct number none = {0, 0, 0, 0};
    if ((flags = not_numbers(x, x, &none)))
        return flags;
    flags = denormal(x) ? DENORMAL : 0;
    int power = exponent(x);
    if (power >= BIAS + 63 || zero(x))
        return flags;
    u128 value = shifted((u128)x->fraction << 64, BIAS + 63 - power - !power);
    u64 high = value >> 64;
    int up = rounds_up(mode(cpu), sign(x), high, value, 1);
    if ((u64)value)
        flags |= INEXACT | (up ? C1 : 0);
    high += up;
    if (!high) {
        set(x, sign(x), 0, 0);
        return flags;
    }
    int shift = __builtin_clzl(high);
    set(x, sign(x), BIAS + 63 - shift, high << shift);
    return flags;
}
