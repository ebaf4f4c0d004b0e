/* The program the probe is preloaded into: it only has to exist. glibc's dynamic linker runs the constructors of
   libraries before it enters the program; with musl they run from __libc_start_main, which wants the stack the
   kernel left (musl stands in for RISC-V 32 alone). */
#if defined(__riscv) && __riscv_xlen == 32
extern int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void *);
static int nothing(int argc, char **argv, char **envp) { return 2; }
__attribute__((used)) static void start(long *stack) {
    __libc_start_main(nothing, (int)stack[0], (char **)(stack + 1), 0, 0, 0);
}
__asm__(".globl _start\n_start: mv a0, sp\nandi sp, sp, -16\ntail start\n");
#else
void _start(void) {
    for (;;) {
    }
}
#endif
