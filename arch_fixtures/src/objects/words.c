/* Data directives for every word a psABI has a type for and compilers seldom write. `word_target` is another
   object's, within reach; `word_small` is absolute, small enough for a byte. */
#include "fixture.h"
extern char words[], words_end[];
uintptr_t words_address(void) { return (uintptr_t)words; }
size_t words_size(void) { return (size_t)(words_end - words); }
__asm__(".data\n.balign 16\n.globl words\n.globl words_end\nwords:\n"
#if defined(__x86_64__)
        ".quad word_target + 1\n.quad word_target - .\n.long word_target - . + 4\n"
        ".long word_small\n.short word_small\n.byte word_small\n.byte 0\n"
        ".quad word_target@GOT\n.quad word_target@GOTOFF\n.long word_target@GOTPCREL\n.long 0\n"
        ".quad _GLOBAL_OFFSET_TABLE_ - .\n.long _GLOBAL_OFFSET_TABLE_ - .\n.long word_target@PLT\n"
        ".quad words_end@SIZE\n.long words_end@SIZE\n.long word_target@GOT\n"
        ".reloc ., R_X86_64_PC16, words_near\n.short 0\n.reloc ., R_X86_64_PC8, words_near\n.byte 0\n.byte 0\n"
#elif defined(__i386__)
        ".long word_target + 1\n.long word_target - .\n.short word_small\n.byte word_small\n.byte 0\n"
        ".long word_target@GOT\n.long word_target@GOTOFF\n.long word_target@PLT\n"
        ".reloc ., R_386_PC16, words_near\n.short 0\n.reloc ., R_386_PC8, words_near\n.byte 0\n.byte 0\n"
#ifndef __clang__
        ".long words_end@SIZE\n" /* clang's assembler ends on it */
#endif
#elif defined(__aarch64__)
        ".quad word_target + 1\n.quad word_target - .\n.long word_target - . + 4\n"
        ".long word_small\n.short word_small\n.short word_target_near - .\n"
#elif defined(__arm__)
        ".long word_target + 1\n.long word_target - .\n.short word_small\n.byte word_small\n.byte 0\n"
        ".long word_target(GOT)\n.long word_target(GOTOFF)\n.long word_target(TARGET1)\n"
        ".long word_target(TARGET2)\n.long word_target(GOT_PREL)\n"
#elif defined(__riscv)
        ASM_WORD " word_target + 1\n.long word_target - .\n"
        ".long words_code_end - words_code\n.short words_code_end - words_code\n"
        ".byte words_code_end - words_code\n.byte 0\n.uleb128 words_code_end - words_code\n.balign 8\n"
#ifdef __clang__
        ".reloc ., R_RISCV_PLT32, word_function\n.long 0\n.reloc ., R_RISCV_GOT32_PCREL, word_target\n.long 0\n"
#endif
        ".reloc ., R_RISCV_SET32, words_end\n.reloc ., R_RISCV_SUB32, words\n.long 0\n"
        ".reloc ., R_RISCV_SET16, words_end\n.reloc ., R_RISCV_SUB16, words\n.short 0\n.balign 8\n"
#if __riscv_xlen == 64
        ".long word_small\n.quad words_code_end - words_code\n.quad word_target - .\n"
#endif
#elif defined(__loongarch__)
        ".quad word_target + 1\n.long word_small\n.long word_target - .\n.quad word_target - .\n"
        ".long words_code_end - words_code\n.short words_code_end - words_code\n"
        ".byte words_code_end - words_code\n.byte 0\n.uleb128 words_code_end - words_code\n.balign 8\n"
        ".quad words_code_end - words_code\n"
#endif
        ".globl words_near\nwords_near: .long 0\n"
        "words_end:\n.size words, words_end - words\n.text\n"
#if defined(__riscv)
        /* Relaxation may shorten what lies between, so the assembler cannot know the distance. */
        "words_code: call word_function\nwords_code_end: ret\n"
#elif defined(__loongarch__)
        "words_code: la.pcrel $a0, words\n.balign 16\nwords_code_end: ret\n"
#endif
);
