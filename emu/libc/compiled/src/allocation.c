/* malloc and free: the nop at __relink_NAME_place is performed by the host (`emu.cpu.hooks.heap_hook`; on LoongArch
   `emu.cpu.icicle.heap_calls`), which sets the register of the result, 0 before. Where it is 0 after the nop, the
   function in Python is called, with all registers of arguments unchanged. The registers are in the pages of the ISAs
   (`LibcAbi.allocation`). */
#define TEXT(...) __asm__(".text\n" __VA_ARGS__)
#define BEGIN(name) ".p2align 4\n.globl " #name "\n.type " #name ", %function\n" #name ":\n"
#define PLACE(name) ".globl __relink_" #name "_place\n.type __relink_" #name "_place, %function\n" \
    "__relink_" #name "_place: " NOP "\n"

#if defined(__loongarch__)
#define NOP "cpucfg $zero, $zero" /* which stops icicle, as `nop` would not */
#else
#define NOP "nop"
#endif

#if defined(__x86_64__)
#define FUNCTION(name) TEXT(BEGIN(name) "xor %eax, %eax\n" PLACE(name) \
    "test %rax, %rax\n jz 1f\n ret\n1: jmp *__relink_hosted_" #name "@GOTPCREL(%rip)\n")
#elif defined(__i386__)
#define FUNCTION(name) TEXT(BEGIN(name) "mov 4(%esp), %ecx\n xor %eax, %eax\n" PLACE(name) \
    "test %eax, %eax\n jz 1f\n ret\n1: call 2f\n2: pop %eax\n add $_GLOBAL_OFFSET_TABLE_+(.-2b), %eax\n" \
    "jmp *__relink_hosted_" #name "@GOT(%eax)\n")
#elif defined(__aarch64__)
#define FUNCTION(name) TEXT(BEGIN(name) "mov x16, #0\n" PLACE(name) \
    "cbz x16, 1f\n mov x0, x16\n ret\n1: adrp x16, :got:__relink_hosted_" #name "\n" \
    "ldr x16, [x16, :got_lo12:__relink_hosted_" #name "]\n br x16\n")
#elif defined(__arm__)
#define FUNCTION(name) TEXT(".syntax unified\n.thumb\n.thumb_func\n" BEGIN(name) "movs r3, #0\n.thumb_func\n" \
    PLACE(name) "cmp r3, #0\n beq 1f\n movs r0, r3\n bx lr\n" \
    "1: ldr r2, 3f\n2: add r2, pc\n ldr r2, [r2]\n bx r2\n.p2align 2\n" \
    "3: .long __relink_hosted_" #name "(GOT_PREL) + (3b - 2b - 4)\n")
#elif defined(__riscv)
#if __riscv_xlen == 64
#define LOAD "ld"
#else
#define LOAD "lw"
#endif
#define FUNCTION(name) TEXT(BEGIN(name) "li t1, 0\n" PLACE(name) "beqz t1, 1f\n mv a0, t1\n ret\n" \
    "1: auipc t1, %got_pcrel_hi(__relink_hosted_" #name ")\n " LOAD " t1, %pcrel_lo(1b)(t1)\n jr t1\n")
#elif defined(__loongarch__)
#define FUNCTION(name) TEXT(BEGIN(name) "move $t0, $zero\n" PLACE(name) "beqz $t0, 1f\n move $a0, $t0\n ret\n" \
    "1: pcalau12i $t0, %got_pc_hi20(__relink_hosted_" #name ")\n" \
    "ld.d $t0, $t0, %got_pc_lo12(__relink_hosted_" #name ")\n jr $t0\n")
#endif

#ifdef FUNCTION
FUNCTION(malloc);
FUNCTION(free);
#endif
