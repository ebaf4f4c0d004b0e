/* Executing x87 instructions (emu.cpu.unicorn.x87). */
#include "hook.h"
#include "x87/numbers.h"
#include "x87/arithmetic.h"
#include "x87/conversions.h"
#include "x87/translator.h"

static struct number *pushed(struct cpu *cpu)
{
    cpu->stack_top = (cpu->stack_top - 1) & 7;
    cpu->empty[cpu->stack_top] = 0;
    return reg(cpu, 0);
}

static void push_wider(struct cpu *cpu, u64 value, int bits, int largest)
{
    struct number *x = pushed(cpu);
    int flags = 0;
    widened(x, value, bits, largest);
    if (x->was_denormal)
        flags = DENORMAL;
    x->was_denormal = 0;
    if (is_nan(x) && !(x->fraction & QUIET)) {
        x->fraction |= QUIET;
        flags = INVALID;
    }
    tell(cpu, flags);
}

/* C3, C2 and C0 of a comparison: equal, unordered, less. */
static int compared(struct cpu *cpu, int quiet, int keep)
{
    struct number *a = reg(cpu, 0), *b = &cpu->operand, none;
    int flags = not_numbers(&none, a, b), result;
    if (flags) {
        result = C3 | C2 | C0;
        if (!quiet)
            flags = INVALID;
    } else {
        flags = denormals(a, b);
        u64 a_fraction = a->fraction, b_fraction = b->fraction;
        int a_power = zero(a) ? -0x10000 : infinite(a) ? LARGEST : normalized(a, &a_fraction);
        int b_power = zero(b) ? -0x10000 : infinite(b) ? LARGEST : normalized(b, &b_fraction);
        if (zero(a) && zero(b))
            result = C3;
        else if (sign(a) != sign(b))
            result = sign(a) ? C0 : 0;
        else if (a_power == b_power && a_fraction == b_fraction)
            result = C3;
        else
            result = (a_power < b_power || (a_power == b_power && a_fraction < b_fraction)) != sign(a) ? C0 : 0;
    }
    flags &= 0xffff;
    if (keep)
        cpu->status |= flags;
    else
        tell(cpu, flags);
    return result;
}

static void compare(struct cpu *cpu, int quiet)
{
    int result = compared(cpu, quiet, 0);
    cpu->status = (cpu->status & ~CONDITIONS) | result;
}

/* C3, C2 and C0 become ZF, PF and CF. C1 stays. */
static void compare_to_flags(struct cpu *cpu, int quiet)
{
    int result = compared(cpu, quiet, 1);
    cpu->flags = (result >> 8) & 0x45;
}

#define HELPER(name, ...) ENTRY(x87, helper_##name) HOOK void helper_##name(struct cpu *cpu, ##__VA_ARGS__)
#define RESULT(name) ENTRY(x87, helper_##name) HOOK u64 helper_##name(struct cpu *cpu)
#define ST0 reg(cpu, 0)
#define ARITHMETIC(name, call)                                                       \
    HELPER(name##_ST0_FT0)                                                           \
    {                                                                                \
        struct number *x = ST0, *a = x, *b = &cpu->operand;                          \
        tell(cpu, (u16)call);                                                        \
    }                                                                                \
    HELPER(name##_STN_ST0, u32 number)                                               \
    {                                                                                \
        struct number *x = reg(cpu, number), *a = x, *b = ST0;                       \
        tell(cpu, (u16)call);                                                        \
    }

ARITHMETIC(fadd, add(cpu, x, a, b, 0))
ARITHMETIC(fsub, add(cpu, x, a, b, 1))
ARITHMETIC(fsubr, add(cpu, x, b, a, 1))
ARITHMETIC(fmul, multiply(cpu, x, a, b))
ARITHMETIC(fdiv, divide(cpu, x, a, b))
ARITHMETIC(fdivr, divide(cpu, x, b, a))

HELPER(fsqrt) { tell(cpu, (u16)root(cpu, ST0)); }
HELPER(frndint) { tell(cpu, (u16)to_integer(cpu, ST0)); }
HELPER(fcom_ST0_FT0) { compare(cpu, 0); }
HELPER(fucom_ST0_FT0) { compare(cpu, 1); }
HELPER(fcomi_ST0_FT0) { compare_to_flags(cpu, 0); }
HELPER(fucomi_ST0_FT0) { compare_to_flags(cpu, 1); }

HELPER(flds_FT0, u32 value) { widened(&cpu->operand, value, 24, 0xff); }
HELPER(fldl_FT0, u64 value) { widened(&cpu->operand, value, 53, 0x7ff); }
HELPER(fildl_FT0, int value) { from_integer(&cpu->operand, value); }
HELPER(fldz_FT0) { from_integer(&cpu->operand, 0); }
HELPER(fmov_FT0_STN, u32 number)
{
    cpu->operand = *reg(cpu, number);
    cpu->operand.was_denormal = 0;
}
HELPER(flds_ST0, u32 value) { push_wider(cpu, value, 24, 0xff); }
HELPER(fldl_ST0, u64 value) { push_wider(cpu, value, 53, 0x7ff); }
HELPER(fildl_ST0, int value)
{
    from_integer(pushed(cpu), value);
    tell(cpu, 0);
}
HELPER(fildll_ST0, long value)
{
    from_integer(pushed(cpu), value);
    tell(cpu, 0);
}
HELPER(fldt_ST0, u64 address)
{
    void *from = __builtin_return_address(0);
    u64 fraction = original_cpu_ldq_data_ra(cpu, address, from);
    u64 top = original_cpu_lduw_data_ra(cpu, address + 8, from);
    set(pushed(cpu), 0, top, fraction);
    tell(cpu, 0);
}
HELPER(fstt_ST0, u64 address)
{
    void *from = __builtin_return_address(0);
    original_cpu_stq_data_ra(cpu, address, ST0->fraction, from);
    original_cpu_stw_data_ra(cpu, address + 8, ST0->top, from);
    tell(cpu, 0);
}
HELPER(fbld_ST0, u64 address)
{
    void *from = __builtin_return_address(0);
    u64 value = 0;
    for (int at = 8; at >= 0; at--) {
        u8 digits = original_cpu_ldub_data_ra(cpu, address + at, from);
        value = value * 100 + (digits >> 4) * 10 + (digits & 15);
    }
    int negative = original_cpu_ldub_data_ra(cpu, address + 9, from) >> 7 & 1;
    struct number *x = pushed(cpu);
    from_integer(x, value);
    x->top |= negative << 15;
    tell(cpu, 0);
}
RESULT(fsts_ST0) { return narrowed(cpu, 24, 0xff); }
RESULT(fstl_ST0) { return narrowed(cpu, 53, 0x7ff); }
RESULT(fist_ST0) { return integer(cpu, 16, mode(cpu)); }
RESULT(fistl_ST0) { return integer(cpu, 32, mode(cpu)); }
RESULT(fistll_ST0) { return integer(cpu, 64, mode(cpu)); }
RESULT(fistt_ST0) { return integer(cpu, 16, CHOP); }
RESULT(fisttl_ST0) { return integer(cpu, 32, CHOP); }
RESULT(fisttll_ST0) { return integer(cpu, 64, CHOP); }

HELPER(fxchg_ST0_STN, u32 number)
{
    struct number kept = *reg(cpu, number);
    *reg(cpu, number) = *ST0;
    *ST0 = kept;
    tell(cpu, 0);
}
HELPER(fmov_STN_ST0, u32 number)
{
    *reg(cpu, number) = *ST0;
    tell(cpu, 0);
}
HELPER(fpush)
{
    pushed(cpu);
    tell(cpu, 0);
}
HELPER(fincstp)
{
    cpu->stack_top = (cpu->stack_top + 1) & 7;
    tell(cpu, 0);
}
HELPER(fdecstp)
{
    cpu->stack_top = (cpu->stack_top - 1) & 7;
    tell(cpu, 0);
}
HELPER(ffree_STN, u32 number)
{
    cpu->empty[(cpu->stack_top + number) & 7] = 1;
    tell(cpu, 0);
}
HELPER(fchs_ST0)
{
    ST0->top ^= 1 << 15;
    tell(cpu, 0);
}
HELPER(fabs_ST0)
{
    ST0->top &= LARGEST;
    tell(cpu, 0);
}
HELPER(fxam_ST0)
{
    struct number *x = ST0;
    int class = is_nan(x) ? C0 : infinite(x) ? C2 | C0 : C2;
    if (cpu->empty[cpu->stack_top & 7])
        class = C3 | C0;
    else if (unsupported(x))
        class = 0;
    else if (!exponent(x))
        class = x->fraction ? C3 | C2 : C3;
    cpu->status = (cpu->status & ~CONDITIONS) | class | (sign(x) ? C1 : 0);
}

#define CONSTANT(name, power, chopped, nearest_is_up)                                \
    HELPER(name##_ST0)                                                               \
    {                                                                                \
        int rounding = mode(cpu);                                                    \
        set(ST0, 0, power, chopped + (rounding == UP || (nearest_is_up && rounding == NEAREST))); \
    }
CONSTANT(fldpi, 0x4000, 0xc90fdaa22168c234, 1)
CONSTANT(fldl2t, 0x4000, 0xd49a784bcd1b8afe, 0)
CONSTANT(fldl2e, 0x3fff, 0xb8aa3b295c17f0bb, 1)
CONSTANT(fldlg2, 0x3ffd, 0x9a209a84fbcff798, 1)
CONSTANT(fldln2, 0x3ffe, 0xb17217f7d1cf79ab, 1)

/* Reserved bits are as processors have them. Unmasked exceptions would not trap: refused. */
HELPER(fldcw, u32 value)
{
    if (~value & 0x3f)
        original_raise_exception_ra(cpu, ILLEGAL_INSTRUCTION, __builtin_return_address(0));
    cpu->control = (value & 0x1f3f) | 0x40;
    original_update_fp_status(cpu);
}
