/* A program's entry and two system calls for every ISA, without any C library: `begin` is given the stack as the
   kernel left it, and what the start register held. A library that only wants the calls defines NO_START. */
#ifdef NO_START
#define START(code)
#else
#define START(code) __asm__(".globl _start\n" code)
#endif
typedef unsigned long word;

#if defined(__x86_64__)
enum { WRITE = 1, EXIT = 60 };
START("_start: xor %ebp, %ebp\nmov %rsp, %rdi\nmov %rdx, %rsi\nand $-16, %rsp\ncall begin\nhlt\n");
static inline long kernel(long number, long a, long b, long c) {
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return number;
}
#elif defined(__i386__)
enum { WRITE = 4, EXIT = 1 };
START("_start: xor %ebp, %ebp\nmov %esp, %eax\nand $-16, %esp\nsub $8, %esp\npush %edx\npush %eax\n"
        "call begin\nhlt\n");
static inline long kernel(long number, long a, long b, long c) {
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c) : "memory");
    return number;
}
#elif defined(__aarch64__)
enum { WRITE = 64, EXIT = 93 };
START("_start: mov x1, x0\nmov x0, sp\nbl begin\nudf #0\n");
static inline long kernel(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#elif defined(__arm__)
enum { WRITE = 4, EXIT = 1 };
#ifdef __thumb__
#define STATE ".thumb_func\n"
#else
#define STATE
#endif
START(STATE ".type _start, %function\n_start: mov r1, r0\nmov r0, sp\nbl begin\nudf #0\n");
static inline long kernel(long number, long a, long b, long c) {
    register long r0 __asm__("r0") = a, r1 __asm__("r1") = b, r2 __asm__("r2") = c, r3 __asm__("r3") = number;
    /* r7 may be the frame pointer. */
    __asm__ volatile("push {r7}\nmov r7, r3\nsvc #0\npop {r7}" : "+r"(r0) : "r"(r1), "r"(r2), "r"(r3) : "memory");
    return r0;
}
#elif defined(__riscv)
enum { WRITE = 64, EXIT = 93 };
START("_start: mv a1, a0\nmv a0, sp\ncall begin\nunimp\n");
static inline long kernel(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}
#elif defined(__loongarch64)
enum { WRITE = 64, EXIT = 93 };
START("_start: move $a1, $a0\nmove $a0, $sp\nbl begin\nbreak 0\n");
static inline long kernel(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    __asm__ volatile("syscall 0" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2)
                     : "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "memory");
    return a0;
}
#endif

static inline void text(const char *s) {
    long length = 0;
    while (s[length]) length++;
    kernel(WRITE, 1, (long)s, length);
}

static inline void hexadecimal(word value) {
    char digits[2 * sizeof value + 1];
    int place = sizeof digits - 1;
    digits[place] = 0;
    do digits[--place] = "0123456789abcdef"[value & 15];
    while (value >>= 4);
    text(digits + place);
}

static inline void line(const char *name, word value) {
    text(name);
    text(" ");
    hexadecimal(value);
    text("\n");
}
