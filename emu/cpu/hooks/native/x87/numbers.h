/* x87's numbers as Unicorn keeps them, and their rounding. Source: Intel SDM volume 1, 4.8, 4.9 and 8.5. */
/* A number of 80 bits as Unicorn keeps it. The bytes behind it are not used otherwise. */
struct number {
    u64 fraction;
    u16 top, was_denormal;
    u32 unused;
};

/* The part of Unicorn's CPU state that matters here. */
struct cpu {
    u8 general[0x98];
    u64 flags; /* of comparisons, as the bits of eflags */
    u8 other[0x25c - 0xa0];
    u32 stack_top;
    u16 status, control;
    u8 empty[8];
    u32 unused;
    struct number registers[8];
    u8 pointers[0x310 - 0x2f0];
    struct number operand;
};

enum { INVALID = 1, DENORMAL = 2, ZERO_DIVISION = 4, OVERFLOW = 8, UNDERFLOW = 16, INEXACT = 32 };
enum { C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000, CONDITIONS = 0x4700 };
enum { NEAREST, DOWN, UP, CHOP };
enum { BIAS = 0x3fff, LARGEST = 0x7fff };
#define HIGH (1ul << 63)
#define QUIET (1ul << 62)
#define ILLEGAL_INSTRUCTION 6

static struct number *reg(struct cpu *cpu, u32 number)
{
    return cpu->registers + ((cpu->stack_top + number) & 7);
}

static int exponent(const struct number *x) { return x->top & LARGEST; }
static int sign(const struct number *x) { return x->top >> 15; }
static int mode(struct cpu *cpu) { return cpu->control >> 10 & 3; }

/* Classes of numbers. Zeros, infinities and unsupported ones are not normal. */
static int unsupported(const struct number *x) { return exponent(x) && !(x->fraction >> 63); }
static int is_nan(const struct number *x) { return exponent(x) == LARGEST && x->fraction << 1; }
static int infinite(const struct number *x) { return exponent(x) == LARGEST; }
static int zero(const struct number *x) { return !exponent(x) && !x->fraction; }
static int usual(const struct number *x) { return x->fraction >> 63 && (u32)(exponent(x) - 1) < LARGEST - 1; }
static int denormal(const struct number *x) { return !exponent(x) && x->fraction; }

static void set(struct number *x, int sign, int exponent, u64 fraction)
{
    x->fraction = fraction;
    x->top = sign << 15 | exponent;
}

static void indefinite(struct number *x) { set(x, 1, LARGEST, HIGH | QUIET); }

/* The new status: C1, and exceptions that add up. */
static void tell(struct cpu *cpu, int flags)
{
    cpu->status = (cpu->status & ~C1) | flags;
}

/* Whether high.low is rounded up in magnitude, where `unit` is the weight of the last place of high. */
static int rounds_up(int mode, int sign, u64 high, u64 low, u64 unit)
{
    u64 rest = high & (unit - 1);
    if (mode == NEAREST) {
        u64 half = unit >> 1;
        if (!half)
            return low > HIGH || (low == HIGH && high & 1);
        return rest > half || (rest == half && (low || high & unit));
    }
    return (rest || low) && mode == (sign ? DOWN : UP);
}

/* Shift right; what is lost shows in the last bit. */
static u128 shifted(u128 value, int by)
{
    if (!by)
        return value;
    if (by > 127)
        return value != 0;
    return value >> by | (value << (128 - by) != 0);
}

/* The number whose fraction is `value`, of 128 bits, whose highest bit is set; returns flags. */
static int pack(struct cpu *cpu, struct number *result, int sign, int power, u128 value)
{
    static const u8 lost[] = {40, 0, 11, 0};
    u64 unit = 1ul << lost[cpu->control >> 8 & 3], high = value >> 64;
    int rounding = mode(cpu), flags = 0, up;
    up = rounds_up(rounding, sign, high, value, unit);
    if (__builtin_expect(power < 1, 0)) {
        if (!(power == 0 && up && !(u64)((high | (unit - 1)) + 1)))
            flags = UNDERFLOW;
        value = shifted(value, 1 - power);
        high = value >> 64;
        up = rounds_up(rounding, sign, high, value, unit);
        power = 0;
    }
    if (high & (unit - 1) || (u64)value)
        flags |= INEXACT | (up ? C1 : 0);
    else
        flags = 0;
    high &= -unit;
    if (up) {
        high += unit;
        if (!high) {
            high = HIGH;
            power++;
        }
    }
    if (!power)
        power = high >> 63;
    if (__builtin_expect(power >= LARGEST, 0)) {
        flags = OVERFLOW | INEXACT;
        if (rounding == NEAREST || rounding == (sign ? DOWN : UP)) {
            flags |= C1;
            power = LARGEST;
            high = HIGH;
        } else {
            power = LARGEST - 1;
            high = -unit;
        }
    }
    set(result, sign, power, high);
    return flags;
}

/* A finite number that is not zero as one with its highest bit set; returns its exponent. */
static int normalized(const struct number *x, u64 *fraction)
{
    int shift = __builtin_clzl(x->fraction);
    *fraction = x->fraction << shift;
    return exponent(x) + !exponent(x) - shift;
}

/* The result and flags where an operand is a NaN or unsupported; 0 where none is. */
static int not_numbers(struct number *result, const struct number *a, const struct number *b)
{
    if (unsupported(a) || unsupported(b)) {
        indefinite(result);
        return INVALID;
    }
    if (!is_nan(a) && !is_nan(b))
        return 0;
    int flags = (is_nan(a) && !(a->fraction & QUIET)) || (is_nan(b) && !(b->fraction & QUIET)) ? INVALID : 0;
    const struct number *chosen = a;
    if (!is_nan(a) || (is_nan(b) && (b->fraction > a->fraction || (b->fraction == a->fraction && b->top < a->top))))
        chosen = b;
    result->top = chosen->top;
    result->fraction = chosen->fraction | QUIET;
    return flags | 0x10000;
}

static int denormals(const struct number *a, const struct number *b)
{
    return denormal(a) || denormal(b) || a->was_denormal || b->was_denormal ? DENORMAL : 0;
}
