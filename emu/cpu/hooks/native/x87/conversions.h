/* x87's conversions from and to other formats. */
/* The integer of `bits`, or the smallest one. */
static u64 integer(struct cpu *cpu, int bits, int rounding)
{
    struct number *x = reg(cpu, 0);
    u64 smallest = -1ul << (bits - 1);
    int power = exponent(x);
    if (!unsupported(x) && power < BIAS + 64) {
        u128 value = shifted((u128)x->fraction << 64, BIAS + 63 - power - !power);
        u64 high = value >> 64;
        int up = rounds_up(rounding, sign(x), high, value, 1);
        high += up;
        if ((high || !up) && high <= ~smallest + sign(x)) {
            tell(cpu, (u64)value ? INEXACT | (up ? C1 : 0) : 0);
            return sign(x) ? -high : high;
        }
    }
    tell(cpu, INVALID);
    return smallest;
}

/* The number of another format: `bits` of its fraction, and its largest exponent. */
static u64 narrowed(struct cpu *cpu, int bits, int largest)
{
    struct number *x = reg(cpu, 0);
    u64 negative = (u64)sign(x) * (largest + 1ul) << (bits - 1), infinity = (u64)largest << (bits - 1);
    int flags = 0, rounding = mode(cpu), power;
    u64 unit = 1ul << (64 - bits), fraction;
    if (unsupported(x)) {
        tell(cpu, INVALID);
        return (largest + 1ul) << (bits - 1) | infinity | 1ul << (bits - 2);
    }
    if (infinite(x)) {
        tell(cpu, is_nan(x) && !(x->fraction & QUIET) ? INVALID : 0);
        return negative | infinity | (is_nan(x) ? (x->fraction | QUIET) << 1 >> (65 - bits) : 0);
    }
    if (zero(x)) {
        tell(cpu, 0);
        return negative;
    }
    power = normalized(x, &fraction) - BIAS + (largest >> 1);
    u128 value = (u128)fraction << 64;
    int up = rounds_up(rounding, sign(x), fraction, 0, unit);
    if (power < 1) {
        if (!(power == 0 && up && !(u64)((fraction | (unit - 1)) + 1)))
            flags = UNDERFLOW;
        value = shifted(value, 1 - power);
        up = rounds_up(rounding, sign(x), value >> 64, value, unit);
        power = 0;
    }
    u64 high = value >> 64;
    if (high & (unit - 1) || (u64)value)
        flags |= INEXACT | (up ? C1 : 0);
    else
        flags = 0;
    /* the highest bit adds one to the exponent of a normal number */
    u64 result = (high >> (64 - bits)) + up + (power ? (u64)(power - 1) << (bits - 1) : 0);
    if (power >= largest || result >= infinity) {
        up = rounding == NEAREST || rounding == (sign(x) ? DOWN : UP);
        flags = OVERFLOW | INEXACT | (up ? C1 : 0);
        result = infinity - !up;
    }
    tell(cpu, flags);
    return negative | result;
}

/* A number of another format, signalling if it is a NaN that does. */
static void widened(struct number *x, u64 value, int bits, int largest)
{
    int negative = value >> (bits - 1) > (u64)largest, power = value >> (bits - 1) & largest;
    u64 fraction = value << (65 - bits) >> 1;
    x->was_denormal = 0;
    if (power == largest)
        set(x, negative, LARGEST, fraction | HIGH);
    else if (power)
        set(x, negative, power + BIAS - (largest >> 1), fraction | HIGH);
    else if (!fraction)
        set(x, negative, 0, 0);
    else {
        int shift = __builtin_clzl(fraction);
        set(x, negative, 1 + BIAS - (largest >> 1) - shift, fraction << shift);
        x->was_denormal = 1;
    }
}

static void from_integer(struct number *x, long value)
{
    u64 size = value < 0 ? -(u64)value : (u64)value;
    x->was_denormal = 0;
    if (!size)
        set(x, 0, 0, 0);
    else {
        int shift = __builtin_clzl(size);
        set(x, value < 0, BIAS + 63 - shift, size << shift);
    }
}
