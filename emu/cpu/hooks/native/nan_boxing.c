/* Having Unicorn's translator respect RISC-V's NaN boxing (emu.cpu.unicorn.nan_boxing).
 *
 * A single-precision number in a 64-bit register has ones above it; an operand without them is the canonical NaN
 * (RISC-V unprivileged ISA, 21.2). The translator of QEMU 5 does neither. Here are its functions that append
 * operations to a translation: for an instruction of single precision, floating-point registers that an operation
 * reads are first replaced by a conditional move, and what it writes gets its upper half. Translated code has two
 * or three more host instructions per operand; other code is as before.
 */
#include "hook.h"

STATE u64 key;
STATE u64 first, last; /* where the translator keeps f0 and f31, from its context on */
NUMBER(nan_boxing, key)
LIBRARY(nan_boxing, u64, pthread_getspecific, u64 key)
LIBRARY(nan_boxing, int, pthread_setspecific, u64 key, u64 value)
ORIGINAL(nan_boxing, u32, cpu_lduw_code, void *cpu, u64 address)
ORIGINAL(nan_boxing, void, tcg_gen_op2, char *context, u64 code, char *a, char *b)
ORIGINAL(nan_boxing, void, tcg_gen_op3, char *context, u64 code, char *a, char *b, char *c)
ORIGINAL(nan_boxing, void, tcg_gen_deposit_i64, char *context, u64 result, u64 a, u64 b, u64 at, u64 size)
ORIGINAL(nan_boxing, void, tcg_gen_callN, char *context, void *function, char *result, u64 count, char **operands)
ORIGINAL(nan_boxing, char *, tcg_global_mem_new_internal, char *, u64 type, u64 base, u64 at, const u32 *name)
ORIGINAL(nan_boxing, char *, tcg_temp_new_internal, char *context, u64 type, u64 local)
ORIGINAL(nan_boxing, void, tcg_temp_free_internal, char *context, char *temporary)
ORIGINAL(nan_boxing, u64, tcg_const_i64, char *context, u64 value)
ORIGINAL(
    nan_boxing, void, tcg_gen_movcond_i64, char *context, u64 condition, u64 result, u64 a, u64 b, u64 yes, u64 no
)
ORIGINAL(nan_boxing, void, tcg_gen_ori_i64, char *context, u64 result, u64 a, u64 b)

enum { ONES = -1l << 32, NAN = 0x7fc00000, I64 = 1, UNSIGNED_GE = 5, BOX = 1, CHECK = 2 };

/* Notes the instruction, in a value of the thread: the whole word; while only its first half is known, the address
 * of the second, odd, is above it.
 */
HOOK u32 cpu_lduw_code(void *cpu, u64 address)
{
    u32 half = original_cpu_lduw_code(cpu, address);
    u64 before = pthread_getspecific(key), now = half;
    if (before >> 32 == ((u32)address | 1))
        now = (u32)before | half << 16;
    else if ((half & 3) == 3)
        now = half | (address + 2 | 1) << 32;
    pthread_setspecific(key, now);
    return half;
}
REPLACES(nan_boxing, cpu_lduw_code)

/* What is to be done with the instruction's result and operands. */
static int use(u64 word)
{
    u32 kind = (u32)word >> 27, format = word >> 25 & 3, opcode = word & 0x7f;
    if (word >> 32)
        return 0;
    if (opcode == 0x53) {
        if (kind == 8)
            return format == 0 ? BOX : format == 1 ? CHECK : 0;
        if (kind == 28 && !(word & 0x7000))
            return 0;
    } else if ((opcode & 0x73) != 0x43)
        return 0;
    return format ? 0 : BOX | CHECK;
}

static int is_float(char *context, char *temporary)
{
    return (u64)(temporary - context) - first <= last - first;
}

static char *checked(char *context, char *operand, int use)
{
    if (!(use & CHECK) || !is_float(context, operand))
        return operand;
    char *result = original_tcg_temp_new_internal(context, I64, 0);
    u64 ones = original_tcg_const_i64(context, ONES), nan = original_tcg_const_i64(context, NAN);
    u64 value = operand - context;
    original_tcg_gen_movcond_i64(context, UNSIGNED_GE, result - context, value, ones, value, nan);
    original_tcg_temp_free_internal(context, context + ones);
    original_tcg_temp_free_internal(context, context + nan);
    return result;
}

static void boxed(char *context, char *result, int use)
{
    if (use & BOX && is_float(context, result))
        original_tcg_gen_ori_i64(context, result - context, result - context, ONES);
}

typedef void operation(char *context, u64 code, char *a, char *b, char *c);

static __attribute__((noinline))
void emit(char *context, u64 code, char *a, char *b, char *c, operation *original)
{
    u64 word = pthread_getspecific(key);
    int what = use(word);
    if (!what)
        return original(context, code, a, b, c);
    pthread_setspecific(key, 0);
    char *second = checked(context, b, what), *third = checked(context, c, what);
    original(context, code, a, second, third);
    if (second != b)
        original_tcg_temp_free_internal(context, second);
    if (third != c)
        original_tcg_temp_free_internal(context, third);
    boxed(context, a, what);
    pthread_setspecific(key, word);
}

HOOK void tcg_gen_op2(char *context, u64 code, char *a, char *b)
{
    emit(context, code, a, b, 0, (operation *)(void *)original_tcg_gen_op2);
}
REPLACES(nan_boxing, tcg_gen_op2)

HOOK void tcg_gen_op3(char *context, u64 code, char *a, char *b, char *c)
{
    emit(context, code, a, b, c, original_tcg_gen_op3);
}
REPLACES(nan_boxing, tcg_gen_op3)

/* Sign injection: on the host several operations, whose results between are no numbers. */
HOOK void tcg_gen_deposit_i64(char *context, u64 result, u64 a, u64 b, u64 at, u64 size)
{
    u64 word = pthread_getspecific(key);
    int what = use(word);
    pthread_setspecific(key, 0);
    char *first = checked(context, context + a, what), *second = checked(context, context + b, what);
    original_tcg_gen_deposit_i64(context, result, first - context, second - context, at, size);
    if (first != context + a)
        original_tcg_temp_free_internal(context, first);
    if (second != context + b)
        original_tcg_temp_free_internal(context, second);
    boxed(context, context + result, what);
    pthread_setspecific(key, word);
}
REPLACES(nan_boxing, tcg_gen_deposit_i64)

HOOK void tcg_gen_callN(char *context, void *function, char *result, u64 count, char **operands)
{
    u64 word = pthread_getspecific(key), at;
    int what = use(word);
    char *changed[8];
    if (!what)
        return original_tcg_gen_callN(context, function, result, count, operands);
    pthread_setspecific(key, 0);
    for (at = 0; at < count; at++)
        changed[at] = checked(context, operands[at], what);
    original_tcg_gen_callN(context, function, result, count, changed);
    for (at = 0; at < count; at++)
        if (changed[at] != operands[at])
            original_tcg_temp_free_internal(context, changed[at]);
    boxed(context, result, what);
    pthread_setspecific(key, word);
}
REPLACES(nan_boxing, tcg_gen_callN)

/* Notes where the translator keeps floating-point registers. */
HOOK char *tcg_global_mem_new_internal(char *context, u64 type, u64 base, u64 at, const u32 *name)
{
    char *result = original_tcg_global_mem_new_internal(context, type, base, at, name);
    if (*name == 0x662f3066) /* "f0/f" */
        first = result - context;
    if (*name == 0x2f313366) /* "f31/" */
        last = result - context;
    return result;
}
REPLACES(nan_boxing, tcg_global_mem_new_internal)
