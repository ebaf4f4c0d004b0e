/* What all functions for Unicorn have in common. Their data are structures that Python fills; each is described
 * beside the ctypes.Structure of the same fields (emu/cpu/hooks/NAME.py).
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long u64;
typedef unsigned __int128 u128;

/* The tables at the beginning of the code say where what is: an offset, and a name, FILE.NAME. */
#define NAMED(symbol, text)                                                 \
    __asm__(".pushsection .entries, \"a\"\n.long " #symbol "\n.popsection\n" \
            ".pushsection .names, \"a\"\n.asciz \"" text "\"\n.popsection");

/* A function that is called from outside, and its name there. */
#define HOOK static __attribute__((used))
#define ENTRY(file, name) NAMED(name, #file "." #name)
/* A function that takes the place of Unicorn's of the same name. */
#define REPLACES(file, name) NAMED(name, #file ".replaces." #name)

/* What Python writes before a file's functions are called (emu.cpu.unicorn.replaced): numbers; and addresses of
 * functions of Unicorn, `original_NAME`, and of the C library.
 */
#define STATE static __attribute__((used, section(".bss.state")))
#define NUMBER(file, name) NAMED(name, #file ".number." #name)
#define ORIGINAL(file, result, name, ...)               \
    STATE result (*original_##name)(__VA_ARGS__);       \
    NAMED(original_##name, #file ".original." #name)
#define LIBRARY(file, result, name, ...)                \
    STATE result (*name)(__VA_ARGS__);                  \
    NAMED(name, #file ".library." #name)

#define RARELY(condition) if (__builtin_expect(condition, 0))

/* emu.cpu.hooks.stop_hook.StopRequest. `left` is written by other threads too. */
struct request {
    volatile long left;
    int stopped, again;
    void (*stop)(void *engine);
    u64 budget;
    u8 *table;
    u64 mask, multiplier, block;
    u32 block_size, block_count, size;
    struct watch *watch;
    void (*next)(void *engine, u64 address, u32 size, struct request *request);
    u8 *cuts;
    struct request *armed;
    u64 beyond;
};
