/* How Unicorn's translator comes to call the functions here.
 *
 * `call` appends a call of a function to a translation. The translator knows its functions by their addresses, so
 * it is given its own, and then the address in the operation is replaced. `operation` makes operations, and the
 * thread remembers the last one.
 */

/* Functions of Unicorn, and the addresses of those that are replaced, which end with 0. */
extern struct {
    void (*call)(void *context, u64 function, void *result, u64 count, void **arguments);
    u64 *(*operation)(void *context, u64 code);
    u64 (*load1)(struct cpu *, u64 address, void *from);
    u64 (*load2)(struct cpu *, u64 address, void *from);
    u64 (*load8)(struct cpu *, u64 address, void *from);
    void (*store2)(struct cpu *, u64 address, u64 value, void *from);
    void (*store8)(struct cpu *, u64 address, u64 value, void *from);
    void (*raise)(struct cpu *, u64 exception, void *from);
    void (*update)(struct cpu *);
    u64 *(*get)(u64 key);
    int (*set)(u64 key, u64 *value);
    u64 key, first, last;
    struct {
        u64 original, replacement;
    } replaced[];
} state __attribute__((visibility("hidden")));

/* A function's offset and name, in tables at the beginning of the code. */
#define ENTRY(name)                                                        \
    __asm__(".pushsection .entries, \"a\"\n.long " #name "\n.popsection\n" \
            ".pushsection .names, \"a\"\n.asciz \"" #name "\"\n.popsection");

enum { LONGEST_OPERATION = 14 };

u64 *tcg_emit_op(void *context, u64 code)
{
    u64 *made = state.operation(context, code);
    state.set(state.key, made);
    return made;
}
ENTRY(tcg_emit_op)

void tcg_gen_callN(void *context, u64 function, void *result, u64 count, void **arguments)
{
    state.call(context, function, result, count, arguments);
    if (function < state.first || function > state.last)
        return;
    for (int row = 0; state.replaced[row].original; row++)
        if (state.replaced[row].original == function) {
            u64 *made = state.get(state.key);
            for (int word = 1; word < LONGEST_OPERATION; word++)
                if (made[word] == function)
                    made[word] = state.replaced[row].replacement;
            return;
        }
}
ENTRY(tcg_gen_callN)
