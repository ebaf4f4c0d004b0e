/* How Unicorn's translator comes to call the functions here.
 *
 * `call` appends a call of a function to a translation. The translator knows its functions by their addresses, so
 * it is given its own, and then the address in the operation is replaced. `operation` makes operations, and the
 * thread remembers the last one.
 */

ORIGINAL(x87, void, tcg_gen_callN, void *context, u64 function, void *result, u64 count, void **arguments)
ORIGINAL(x87, u64 *, tcg_emit_op, void *context, u64 code)
ORIGINAL(x87, u64, cpu_ldub_data_ra, struct cpu *, u64 address, void *from)
ORIGINAL(x87, u64, cpu_lduw_data_ra, struct cpu *, u64 address, void *from)
ORIGINAL(x87, u64, cpu_ldq_data_ra, struct cpu *, u64 address, void *from)
ORIGINAL(x87, void, cpu_stw_data_ra, struct cpu *, u64 address, u64 value, void *from)
ORIGINAL(x87, void, cpu_stq_data_ra, struct cpu *, u64 address, u64 value, void *from)
ORIGINAL(x87, void, raise_exception_ra, struct cpu *, u64 exception, void *from)
ORIGINAL(x87, void, update_fp_status, struct cpu *)
ORIGINAL(x87, void, cpu_loop_exit_restore, void *cpu, u64 place)
ORIGINAL(x87, void, restore_state_to_opc, struct cpu *, void *block, u64 *noted)
LIBRARY(x87, u64 *, pthread_getspecific, u64 key)
LIBRARY(x87, int, pthread_setspecific, u64 key, u64 *value)
STATE u64 key, first, last; /* the least and the largest address of a function that is replaced */
NUMBER(x87, key)
NUMBER(x87, first)
NUMBER(x87, last)

/* Functions of Unicorn, and those that take their place; at the end 0. */
STATE struct {
    u64 original, replacement;
} replaced[256];
NUMBER(x87, replaced)

/* Addresses: of the function that calls several hooks of an instruction or block, of the one that checks for requests
 * to stop behind them, and of the library, with its size. A function outside the library is a single hook.
 */
STATE u64 hooks, check, library, library_size;
NUMBER(x87, hooks)
NUMBER(x87, check)
NUMBER(x87, library)
NUMBER(x87, library_size)

/* Of an operation: its code is in the first byte, the list's links are the second and third word, arguments follow. */
enum { LONGEST_OPERATION = 14, BEGIN_INSTRUCTION = 129, ONE_WORD = 1, CHECK_SIZE = 0x100 };

/* A mark beside the number of where the flags are (CC_OP): the instruction has a hook. */
enum { HOOKED = 0x80 };
#define STOPPING ((u64 *)1) /* in place of the last operation */

/* The translator notes for each instruction where the flags are before it. After a hook they are elsewhere, all in
 * one word: a stop at the hook needs the first, a fault of the instruction the second.
 */
static void mark_hooked(u64 *hook)
{
    u64 *operation = hook;
    do {
        operation = (u64 *)operation[2] - 1;
        if (operation[2] == (u64)(hook + 1))
            return; /* the head of the list: the hook is of a block */
    } while ((u8)operation[0] != BEGIN_INSTRUCTION);
    operation[4] |= HOOKED;
}

/* Both leave translated code: a check for requests to stop, which comes after hooks, and what raises exceptions. */
HOOK void cpu_loop_exit_restore(void *cpu, u64 place)
{
    int stops = (u64)__builtin_return_address(0) - check <= CHECK_SIZE;
    pthread_setspecific(key, stops ? STOPPING : 0);
    original_cpu_loop_exit_restore(cpu, place);
}
REPLACES(x87, cpu_loop_exit_restore)

HOOK void restore_state_to_opc(struct cpu *cpu, void *block, u64 *noted)
{
    if (noted[1] & HOOKED)
        noted[1] = pthread_getspecific(key) == STOPPING ? noted[1] & ~(u64)HOOKED : ONE_WORD;
    pthread_setspecific(key, 0);
    original_restore_state_to_opc(cpu, block, noted);
}
REPLACES(x87, restore_state_to_opc)

HOOK u64 *tcg_emit_op(void *context, u64 code)
{
    u64 *made = original_tcg_emit_op(context, code);
    pthread_setspecific(key, made);
    return made;
}
REPLACES(x87, tcg_emit_op)

HOOK void tcg_gen_callN(void *context, u64 function, void *result, u64 count, void **arguments)
{
    original_tcg_gen_callN(context, function, result, count, arguments);
    RARELY (function == hooks || function - library >= library_size)
        return mark_hooked(pthread_getspecific(key));
    if (function < first || function > last)
        return;
    for (int row = 0; replaced[row].original; row++)
        if (replaced[row].original == function) {
            u64 *made = pthread_getspecific(key);
            for (int word = 1; word < LONGEST_OPERATION; word++)
                if (made[word] == function)
                    made[word] = replaced[row].replacement;
            return;
        }
}
REPLACES(x87, tcg_gen_callN)
