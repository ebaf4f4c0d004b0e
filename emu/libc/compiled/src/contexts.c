/* <ucontext.h>: getcontext, setcontext, swapcontext and makecontext.

   A context keeps the registers that a callee must preserve, and those of arguments, in its own layout where
   ucontext_t has the machine's registers: programs only look at uc_link, uc_stack and uc_sigmask. The first words
   there are: where it continues, the stack pointer, what the argument registers are. */
#include "types.h"

typedef struct { void *start; int flags; size length; } stack;
typedef struct context { unsigned long flags; struct context *link; stack stack; word rest[]; } context;

/* Offsets of the registers and of uc_sigmask in ucontext_t (glibc: sysdeps/unix/sysv/linux/ISA/sys/ucontext.h). */
#if defined(__x86_64__)
#define REGISTERS 40
#define MASK 296
#define ARGUMENTS 6
#elif defined(__i386__)
#define REGISTERS 20
#define MASK 108
#define ARGUMENTS 0
#elif defined(__aarch64__) || (defined(__riscv) && __riscv_xlen == 64) || defined(__loongarch__)
#define REGISTERS 176
#define MASK 40
#define ARGUMENTS 8
#elif defined(__arm__)
#define REGISTERS 232
#define MASK 104
#define ARGUMENTS 4
#else
#define REGISTERS 160
#define MASK 20
#define ARGUMENTS 8
#endif
enum { PLACE, STACK, FIRST_ARGUMENT, RETURN = FIRST_ARGUMENT + ARGUMENTS, KEPT };

#define HIDDEN __attribute__((visibility("hidden"), used))
extern int sigprocmask(int, const void *, void *);
extern _Noreturn void exit(int);

/* The signal mask, when a context is left: the result of getcontext. */
HIDDEN int relink_keep_mask(context *from) {
    return sigprocmask(0, 0, (char *)from + MASK);
}
HIDDEN context *relink_use_mask(context *to) {
    sigprocmask(2, (char *)to + MASK, 0);
    return to;
}
extern int setcontext(const context *);
HIDDEN _Noreturn void relink_end_context(context *next) {
    if (next)
        setcontext(next);
    exit(0);
}
extern void relink_after_context(void) __attribute__((visibility("hidden")));

#define TEXT(...) __asm__(__VA_ARGS__)
#define BEGIN(name) ".globl " #name "\n.type " #name ", %function\n" #name ":\n"
#define WITHIN(name) ".hidden " #name "\n" BEGIN(name)

#if defined(__x86_64__)
/* Behind them: rbx, rbp, r12 to r15, MXCSR and x87's control word. */
#define SAVE \
    "mov %rbx, 112(%rdi)\n mov %rbp, 120(%rdi)\n mov %r12, 128(%rdi)\n mov %r13, 136(%rdi)\n" \
    "mov %r14, 144(%rdi)\n mov %r15, 152(%rdi)\n stmxcsr 160(%rdi)\n fnstcw 164(%rdi)\n" \
    "mov (%rsp), %rax\n mov %rax, 40(%rdi)\n lea 8(%rsp), %rax\n mov %rax, 48(%rdi)\n"
TEXT(BEGIN(getcontext) SAVE "jmp relink_keep_mask\n"
     BEGIN(swapcontext) SAVE "sub $8, %rsp\n mov %rsi, %rbx\n call relink_keep_mask\n mov %rbx, %rdi\n"
     "jmp 1f\n"
     BEGIN(setcontext) "sub $8, %rsp\n"
     "1: call relink_use_mask\n"
     "mov 112(%rax), %rbx\n mov 120(%rax), %rbp\n mov 128(%rax), %r12\n mov 136(%rax), %r13\n"
     "mov 144(%rax), %r14\n mov 152(%rax), %r15\n ldmxcsr 160(%rax)\n fldcw 164(%rax)\n"
     "mov 48(%rax), %rsp\n mov 56(%rax), %rdi\n mov 64(%rax), %rsi\n mov 72(%rax), %rdx\n"
     "mov 80(%rax), %rcx\n mov 88(%rax), %r8\n mov 96(%rax), %r9\n mov 40(%rax), %r11\n"
     "xor %eax, %eax\n jmp *%r11\n"
     WITHIN(relink_after_context) "mov %rbx, %rdi\n and $-16, %rsp\n call relink_end_context\n");
enum { LINK = KEPT, CONTROL = KEPT + 6 };
#elif defined(__i386__)
/* ebx, esi, edi, ebp, x87's control word. */
#define SAVE \
    "mov 4(%esp), %eax\n mov %ebx, 32(%eax)\n mov %esi, 36(%eax)\n mov %edi, 40(%eax)\n mov %ebp, 44(%eax)\n" \
    "fnstcw 48(%eax)\n mov (%esp), %ecx\n mov %ecx, 20(%eax)\n lea 4(%esp), %ecx\n mov %ecx, 24(%eax)\n"
TEXT(BEGIN(getcontext) SAVE "sub $24, %esp\n mov %eax, (%esp)\n call relink_keep_mask\n add $24, %esp\n ret\n"
     BEGIN(swapcontext) SAVE "mov 8(%esp), %ebx\n sub $28, %esp\n mov %eax, (%esp)\n call relink_keep_mask\n"
     "mov %ebx, %eax\n jmp 1f\n"
     BEGIN(setcontext) "mov 4(%esp), %eax\n sub $28, %esp\n"
     "1: mov %eax, (%esp)\n call relink_use_mask\n"
     "mov 32(%eax), %ebx\n mov 36(%eax), %esi\n mov 40(%eax), %edi\n mov 44(%eax), %ebp\n fldcw 48(%eax)\n"
     "mov 24(%eax), %esp\n mov 20(%eax), %ecx\n xor %eax, %eax\n jmp *%ecx\n"
     WITHIN(relink_after_context) "and $-16, %esp\n sub $16, %esp\n mov %ebx, (%esp)\n call relink_end_context\n");
enum { LINK = KEPT, CONTROL = KEPT + 4 };
#elif defined(__aarch64__)
/* x19 to x29, d8 to d15. */
#define SAVE \
    "add x9, x0, #176\n mov x10, sp\n stp x30, x10, [x9]\n str x30, [x9, #80]\n" \
    "stp x19, x20, [x9, #88]\n stp x21, x22, [x9, #104]\n stp x23, x24, [x9, #120]\n stp x25, x26, [x9, #136]\n" \
    "stp x27, x28, [x9, #152]\n str x29, [x9, #168]\n" \
    "stp d8, d9, [x9, #176]\n stp d10, d11, [x9, #192]\n stp d12, d13, [x9, #208]\n stp d14, d15, [x9, #224]\n"
TEXT(BEGIN(getcontext) SAVE "b relink_keep_mask\n"
     BEGIN(swapcontext) SAVE "mov x19, x1\n bl relink_keep_mask\n mov x0, x19\n"
     BEGIN(setcontext) "bl relink_use_mask\n add x9, x0, #176\n"
     "ldp x19, x20, [x9, #88]\n ldp x21, x22, [x9, #104]\n ldp x23, x24, [x9, #120]\n ldp x25, x26, [x9, #136]\n"
     "ldp x27, x28, [x9, #152]\n ldr x29, [x9, #168]\n"
     "ldp d8, d9, [x9, #176]\n ldp d10, d11, [x9, #192]\n ldp d12, d13, [x9, #208]\n ldp d14, d15, [x9, #224]\n"
     "ldp x16, x10, [x9]\n mov sp, x10\n ldr x30, [x9, #80]\n"
     "ldp x0, x1, [x9, #16]\n ldp x2, x3, [x9, #32]\n ldp x4, x5, [x9, #48]\n ldp x6, x7, [x9, #64]\n br x16\n"
     WITHIN(relink_after_context) "mov x0, x19\n bl relink_end_context\n");
enum { LINK = KEPT };
#elif defined(__arm__)
/* r4 to r11, d8 to d15. */
#if defined(__ARM_PCS_VFP)
#define FLOATS(what) what " r3!, {d8-d15}\n"
#else
#define FLOATS(what)
#endif
#if defined(__thumb__)
#define STATE ".thumb_func\n"
#define SAVE \
    "mov r2, r0\n adds r2, #232\n mov r3, lr\n str r3, [r2]\n mov r3, sp\n str r3, [r2, #4]\n mov r3, lr\n" \
    "str r3, [r2, #24]\n mov r3, r2\n adds r3, #28\n stm r3!, {r4-r7}\n mov r2, r8\n str r2, [r3]\n mov r2, r9\n" \
    "str r2, [r3, #4]\n mov r2, r10\n str r2, [r3, #8]\n mov r2, r11\n str r2, [r3, #12]\n"
#define LOAD \
    "mov r2, r0\n adds r2, #232\n mov r3, r2\n adds r3, #44\n ldr r1, [r3]\n mov r8, r1\n ldr r1, [r3, #4]\n" \
    "mov r9, r1\n ldr r1, [r3, #8]\n mov r10, r1\n ldr r1, [r3, #12]\n mov r11, r1\n subs r3, #16\n" \
    "ldm r3!, {r4-r7}\n ldr r1, [r2, #4]\n mov sp, r1\n ldr r1, [r2, #24]\n mov lr, r1\n ldr r1, [r2]\n" \
    "mov r12, r1\n adds r2, #8\n ldm r2, {r0-r3}\n bx r12\n"
#define GO(to) "push {r4, lr}\n bl " to "\n pop {r4, pc}\n"
#else
#define STATE
#define SAVE \
    "add r2, r0, #232\n str lr, [r2]\n str sp, [r2, #4]\n str lr, [r2, #24]\n add r3, r2, #28\n" \
    "stmia r3!, {r4-r11}\n add r3, r3, #4\n" FLOATS("vstmia")
#define LOAD \
    "add r2, r0, #232\n add r3, r2, #28\n ldmia r3!, {r4-r11}\n add r3, r3, #4\n" FLOATS("vldmia") \
    "ldr sp, [r2, #4]\n ldr lr, [r2, #24]\n ldr r12, [r2]\n add r2, r2, #8\n ldmia r2, {r0-r3}\n bx r12\n"
#define GO(to) "b " to "\n"
#endif
TEXT(STATE BEGIN(getcontext) SAVE GO("relink_keep_mask")
     STATE BEGIN(swapcontext) SAVE "mov r4, r1\n bl relink_keep_mask\n mov r0, r4\n b 1f\n"
     STATE BEGIN(setcontext) "1: bl relink_use_mask\n" LOAD
     STATE WITHIN(relink_after_context) "mov r0, r4\n bl relink_end_context\n");
enum { LINK = KEPT };
#elif defined(__riscv) || defined(__loongarch__)
/* s0 to s11, fs0 to fs11; LoongArch's fp and s0 to s8, fs0 to fs7. */
#if defined(__loongarch__)
#define W "8"
#define ST "st.d "
#define LD "ld.d "
#define R(name) "$" name
#define AT(number) ", $t0, " #number "*8\n"
#define SAVED(op) \
    op "$fp" AT(11) op "$s0" AT(12) op "$s1" AT(13) op "$s2" AT(14) op "$s3" AT(15) op "$s4" AT(16) op "$s5" AT(17) \
    op "$s6" AT(18) op "$s7" AT(19) op "$s8" AT(20)
#define FLOAT(op) \
    op "$fs0" AT(21) op "$fs1" AT(22) op "$fs2" AT(23) op "$fs3" AT(24) op "$fs4" AT(25) op "$fs5" AT(26) \
    op "$fs6" AT(27) op "$fs7" AT(28)
#if defined(__loongarch_double_float)
#define FLOATS(op) FLOAT("f" op)
#else
#define FLOATS(op)
#endif
#define AREA "addi.d $t0, $a0, 176\n"
#define COPY(to, from) "move $" to ", $" from "\n"
#define CALL(name) "bl " name "\n"
#define TAIL(name) "b " name "\n"
#define JUMP "jr $t1\n"
#define KEEPER "fp"
#else
#if __riscv_xlen == 64
#define ST "sd "
#define LD "ld "
#define AREA "addi t0, a0, 176\n"
#define AT(number) ", " #number "*8(t0)\n"
#else
#define ST "sw "
#define LD "lw "
#define AREA "addi t0, a0, 160\n"
#define AT(number) ", " #number "*4(t0)\n"
#endif
#define R(name) name
#define SAVED(op) \
    op "s0" AT(11) op "s1" AT(12) op "s2" AT(13) op "s3" AT(14) op "s4" AT(15) op "s5" AT(16) op "s6" AT(17) \
    op "s7" AT(18) op "s8" AT(19) op "s9" AT(20) op "s10" AT(21) op "s11" AT(22)
#if defined(__riscv_float_abi_soft)
#define FLOATS(op)
#else
#if defined(__riscv_float_abi_double)
#define FST "fsd "
#define FLD "fld "
#else
#define FST "fsw "
#define FLD "flw "
#endif
#define FAT(number) ", 192+8*" #number "(t0)\n"
#define FLOATS(op) \
    F##op "fs0" FAT(0) F##op "fs1" FAT(1) F##op "fs2" FAT(2) F##op "fs3" FAT(3) F##op "fs4" FAT(4) F##op "fs5" FAT(5) \
    F##op "fs6" FAT(6) F##op "fs7" FAT(7) F##op "fs8" FAT(8) F##op "fs9" FAT(9) F##op "fs10" FAT(10) \
    F##op "fs11" FAT(11)
#endif
#define COPY(to, from) "mv " to ", " from "\n"
#define CALL(name) "call " name "\n"
#define TAIL(name) "tail " name "\n"
#define JUMP "jr t1\n"
#define KEEPER "s0"
#endif
#if defined(__loongarch__)
#define FLOAT_ST FLOATS("st.d ")
#define FLOAT_LD FLOATS("ld.d ")
#else
#define FLOAT_ST FLOATS(ST)
#define FLOAT_LD FLOATS(LD)
#endif
#define SAVE AREA ST R("ra") AT(0) ST R("sp") AT(1) ST R("ra") AT(10) SAVED(ST) FLOAT_ST
TEXT(BEGIN(getcontext) SAVE TAIL("relink_keep_mask")
     BEGIN(swapcontext) SAVE COPY(KEEPER, "a1") CALL("relink_keep_mask") COPY("a0", KEEPER)
     BEGIN(setcontext) CALL("relink_use_mask") AREA SAVED(LD) FLOAT_LD
     LD R("t1") AT(0) LD R("sp") AT(1) LD R("ra") AT(10)
     LD R("a0") AT(2) LD R("a1") AT(3) LD R("a2") AT(4) LD R("a3") AT(5) LD R("a4") AT(6) LD R("a5") AT(7)
     LD R("a6") AT(8) LD R("a7") AT(9) JUMP
     WITHIN(relink_after_context) COPY("a0", KEEPER) CALL("relink_end_context"));
enum { LINK = KEPT };
#endif

/* Behind the last of `function`'s arguments is where it returns to; LINK is a register that it preserves. */
void makecontext(context *made, void (*function)(void), int count, ...) {
    word *registers = (word *)((char *)made + REGISTERS), *top = (word *)((char *)made->stack.start + made->stack.length);
    int on_stack = count > ARGUMENTS ? count - ARGUMENTS : 0;
    top = (word *)(((word)top - on_stack * sizeof(word)) & -16);
    __builtin_va_list arguments;
    __builtin_va_start(arguments, count);
    for (int i = 0; i < count; i++)
        *(i < ARGUMENTS ? registers + FIRST_ARGUMENT + i : top + i - ARGUMENTS) = __builtin_va_arg(arguments, word);
    __builtin_va_end(arguments);
#if defined(__x86_64__) || defined(__i386__)
    *--top = (word)relink_after_context;
    __asm__("fnstcw %0" : "=m"(registers[CONTROL]));
#endif
#if defined(__x86_64__)
    u32 control[2];
    __asm__("stmxcsr %0\n fnstcw %1" : "=m"(control[0]), "=m"(control[1]));
    registers[CONTROL] = control[0] | (word)(u16)control[1] << 32;
#endif
    registers[PLACE] = (word)function;
    registers[STACK] = (word)top;
    registers[RETURN] = (word)relink_after_context;
    registers[LINK] = (word)made->link;
}
