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

enum { LONGEST_OPERATION = 14 };

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
