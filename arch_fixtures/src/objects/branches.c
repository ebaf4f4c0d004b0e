/* Every branch instruction to another object's `near_*`, and the ways of building an address by hand.
   `branch_*(value)` ends in `near_zero` or `near_other`: functions of one int in reach of the shortest branch. */
#include "fixture.h"
#define FUNCTION(name) ".globl " name "\n.type " name ", %function\n" name ":\n"
__asm__(".section .text.branches,\"ax\",%progbits\n.balign 16\n"
#if defined(__x86_64__)
        FUNCTION("branch_conditional") "testl %edi, %edi\njz near_zero\njmp near_other\n"
        FUNCTION("branch_call") "subq $8, %rsp\ncall near_other\naddq $8, %rsp\nret\n"
        FUNCTION("branch_got") "jmp *near_other@GOTPCREL(%rip)\n"
        FUNCTION("address_lea") "leaq near_other(%rip), %rax\nret\n"
        FUNCTION("address_got") "movq near_other@GOTPCREL(%rip), %rax\nret\n"
        FUNCTION("address_got_sum") "xorl %eax, %eax\naddq near_other@GOTPCREL(%rip), %rax\nret\n"
        FUNCTION("address_movabs") "movabsq $near_other, %rax\nret\n"
        FUNCTION("data_narrow") "movzbl near_data(%rip), %eax\ncmpb $1, near_data + 1(%rip)\nret\n"
#elif defined(__i386__)
        FUNCTION("branch_conditional") "cmpl $0, 4(%esp)\nje near_zero\njmp near_other\n"
        FUNCTION("branch_call") "pushl 4(%esp)\ncall near_other\naddl $4, %esp\nret\n"
        FUNCTION("address_absolute") "movl $near_other, %eax\nret\n"
        FUNCTION("address_got")
        "pushl %ebx\ncall 1f\n1: popl %ebx\naddl $_GLOBAL_OFFSET_TABLE_ + (. - 1b), %ebx\n"
        "movl near_other@GOT(%ebx), %eax\npopl %ebx\nret\n"
        FUNCTION("address_gotoff")
        "pushl %ebx\ncall 1f\n1: popl %ebx\naddl $_GLOBAL_OFFSET_TABLE_ + (. - 1b), %ebx\n"
        "leal near_other@GOTOFF(%ebx), %eax\npopl %ebx\nret\n"
#elif defined(__aarch64__)
        FUNCTION("branch_conditional") "cmp w0, #0\nb.eq near_zero\nb near_other\n"
        FUNCTION("branch_compare") "cbz w0, near_zero\nb near_other\n"
        FUNCTION("branch_test") "tbz w0, #0, near_zero\nb near_other\n"
        FUNCTION("branch_call") "str x30, [sp, #-16]!\nbl near_other\nldr x30, [sp], #16\nret\n"
        FUNCTION("address_adr") "adr x0, near_other\nret\n"
        FUNCTION("address_page") "adrp x0, near_other\nadd x0, x0, :lo12:near_other\nret\n"
        FUNCTION("address_page_unchecked") "adrp x0, :pg_hi21_nc:near_other\nadd x0, x0, :lo12:near_other\nret\n"
        FUNCTION("address_got") "adrp x0, :got:near_other\nldr x0, [x0, :got_lo12:near_other]\nret\n"
        FUNCTION("address_moves")
        "movz x0, #:abs_g3:near_other\nmovk x0, #:abs_g2_nc:near_other\n"
        "movk x0, #:abs_g1_nc:near_other\nmovk x0, #:abs_g0_nc:near_other\nret\n"
        FUNCTION("small_moves")
        "movz x0, #:abs_g2:word_small\nmovk x0, #:abs_g1_nc:word_small\nmovz x1, #:abs_g1:word_small\n"
        "movk x1, #:abs_g0:word_small\nadd x0, x0, x1\nret\n"
        FUNCTION("signed_moves")
        "movz x0, #:abs_g2_s:word_small\nmovz x1, #:abs_g1_s:word_small\nmovz x2, #:abs_g0_s:word_small\n"
        "add x0, x0, x1\nadd x0, x0, x2\nret\n"
        FUNCTION("distance_moves")
        "movz x0, #:prel_g3:near_other\nmovk x0, #:prel_g2_nc:near_other + 4\n"
        "movk x0, #:prel_g1_nc:near_other + 8\nmovk x0, #:prel_g0_nc:near_other + 12\nret\n"
        FUNCTION("distance_moves_checked")
        "movz x0, #:prel_g0:near_other\nmovz x1, #:prel_g1:near_other + 4\n"
        "movz x2, #:prel_g2:near_other + 8\nret\n"
        FUNCTION("load_literal") "ldr x0, near_data\nret\n"
        FUNCTION("load_widths")
        "adrp x1, near_data\nldrb w0, [x1, :lo12:near_data]\nldrh w2, [x1, :lo12:near_data]\n"
        "ldr w3, [x1, :lo12:near_data]\nldr x4, [x1, :lo12:near_data]\nldr q0, [x1, :lo12:near_data]\n"
        "add x0, x0, x2\nadd x0, x0, x3\nadd x0, x0, x4\nfmov x2, d0\nadd x0, x0, x2\nret\n"
#elif defined(__thumb__)
        ".syntax unified\n"
        ".thumb_func\n" FUNCTION("branch_conditional") "cmp r0, #0\nbeq.w near_zero\nb.w near_other\n"
        ".thumb_func\n" FUNCTION("branch_narrow") "cmp r0, #0\nbeq.n near_zero\nb.n near_other\n"
        ".thumb_func\n" FUNCTION("branch_call") "push {r3, lr}\nbl near_other\npop {r3, pc}\n"
        ".thumb_func\n" FUNCTION("branch_exchange") "push {r3, lr}\nblx near_a32\npop {r3, pc}\n"
        ".thumb_func\n" FUNCTION("address_moves")
        "movw r0, #:lower16:near_other\nmovt r0, #:upper16:near_other\nbx lr\n"
        ".thumb_func\n" FUNCTION("distance_moves")
        "movw r0, #:lower16:(near_other - .)\nmovt r0, #:upper16:(near_other - .)\nbx lr\n"
#elif defined(__arm__)
        FUNCTION("branch_conditional") "cmp r0, #0\nbeq near_zero\nb near_other\n"
        FUNCTION("branch_call") "push {r3, lr}\nbl near_other\npop {r3, pc}\n"
        FUNCTION("branch_call_conditional") "push {r3, lr}\ncmp r0, #0\nblne near_other\npop {r3, pc}\n"
        FUNCTION("branch_exchange") "push {r3, lr}\nblx near_t32\npop {r3, pc}\n"
        FUNCTION("address_moves") "movw r0, #:lower16:near_other\nmovt r0, #:upper16:near_other\nbx lr\n"
        FUNCTION("distance_moves")
        "movw r0, #:lower16:(near_other - .)\nmovt r0, #:upper16:(near_other - .)\nbx lr\n"
#elif defined(__riscv)
        ".option push\n.option norelax\n"
        FUNCTION("branch_conditional") "beqz a0, near_zero\nj near_other\n"
        FUNCTION("branch_conditional_short") "mv a5, a0\n.option rvc\nc.beqz a5, near_zero\nc.j near_other\n"
        FUNCTION("branch_call") "addi sp, sp, -16\n" 
#if __riscv_xlen == 64
        "sd ra, 8(sp)\ncall near_other\nld ra, 8(sp)\n"
#else
        "sw ra, 8(sp)\ncall near_other\nlw ra, 8(sp)\n"
#endif
        "addi sp, sp, 16\nret\n"
        FUNCTION("branch_call_old") ".reloc ., R_RISCV_CALL, near_other\nauipc t1, 0\njalr zero, 0(t1)\n"
        FUNCTION("address_pcrel") "1: auipc a0, %pcrel_hi(near_other)\naddi a0, a0, %pcrel_lo(1b)\nret\n"
        FUNCTION("address_got") "la a0, near_data\nlga a0, near_other\nret\n"
        FUNCTION("load_pcrel") "1: auipc a5, %pcrel_hi(near_data)\nlw a0, %pcrel_lo(1b)(a5)\n"
        "2: auipc a5, %pcrel_hi(near_data)\nsw a0, %pcrel_lo(2b)(a5)\nret\n"
        FUNCTION("load_absolute") "lui a5, %hi(word_small)\naddi a0, a5, %lo(word_small)\n"
        "lui a5, %hi(word_small_data)\nsw a0, %lo(word_small_data)(a5)\nret\n"
        ".option pop\n"
        FUNCTION("branch_call_relaxed") "tail near_other\n.balign 16\n"
#elif defined(__loongarch__)
        FUNCTION("branch_conditional") "bge $a0, $zero, near_zero\nb near_other\n"
        FUNCTION("branch_compare") "beqz $a0, near_zero\nb near_other\n"
        FUNCTION("branch_call") "addi.d $sp, $sp, -16\nst.d $ra, $sp, 8\nbl near_other\nld.d $ra, $sp, 8\n"
        "addi.d $sp, $sp, 16\nret\n"
        FUNCTION("branch_call36") "addi.d $sp, $sp, -16\nst.d $ra, $sp, 8\n"
        "pcaddu18i $ra, %call36(near_other)\njirl $ra, $ra, 0\nld.d $ra, $sp, 8\n"
        "addi.d $sp, $sp, 16\nret\n"
        FUNCTION("address_pcala") "pcalau12i $a0, %pc_hi20(near_other)\naddi.d $a0, $a0, %pc_lo12(near_other)\nret\n"
        FUNCTION("address_got") "pcalau12i $a0, %got_pc_hi20(near_other)\nld.d $a0, $a0, %got_pc_lo12(near_other)\nret\n"
        FUNCTION("address_absolute") "lu12i.w $a0, %abs_hi20(near_other)\nori $a0, $a0, %abs_lo12(near_other)\n"
        "lu32i.d $a0, %abs64_lo20(near_other)\nlu52i.d $a0, $a0, %abs64_hi12(near_other)\nret\n"
        FUNCTION("address_got_absolute") "lu12i.w $a0, %got_hi20(near_other)\nori $a0, $a0, %got_lo12(near_other)\n"
        "lu32i.d $a0, %got64_lo20(near_other)\nlu52i.d $a0, $a0, %got64_hi12(near_other)\nld.d $a0, $a0, 0\nret\n"
        FUNCTION("address_pcaddi") "pcaddi $a0, %pcrel_20(near_other)\nret\n"
#endif
        ".text\n");
int branches_are_here(void) { return 1; }
