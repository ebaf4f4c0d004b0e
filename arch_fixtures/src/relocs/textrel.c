/* Relocations in the text: words between functions, and code compiled without -fPIC where the linker
   lets it (i386, Arm). */
#include "fixture.h"

extern int import_function(int value);
extern int import_data[16];

int text_own[4] = {1, 2, 3, 4};

__asm__(".text\n.balign 8\n"
        ".globl text_words\n.hidden text_words\ntext_words:\n"
        ASM_WORD " import_data\n"
        ASM_WORD " import_data + 8\n"
        ASM_WORD " import_function\n"
        ASM_WORD " text_words\n"
#if defined(__i386__)
        ".globl text_relative_words\n.hidden text_relative_words\ntext_relative_words:\n"
        ".long import_data - .\n"
        ".long import_function - . + 4\n"
        ".globl text_call_relative\n.type text_call_relative, %function\n"
        "text_call_relative: pushl 4(%esp)\n"
        ".byte 0xe8\n.long import_function - . - 4\n"
        "addl $4, %esp\nret\n"
#elif defined(__x86_64__)
        ".globl text_relative_words\n.hidden text_relative_words\ntext_relative_words:\n"
        ".quad import_data@SIZE\n"
        ".quad text_own@SIZE + 4\n"
#ifndef __clang__
        ".quad import_data - .\n" /* lld refuses it, GNU ld writes R_X86_64_PC64 */
#endif
#endif
        ".balign 8\n");
extern uintptr_t text_words[] HIDDEN;
uintptr_t text_word(int index) { return text_words[index]; }
uintptr_t text_words_address(void) { return (uintptr_t)text_words; }
#if defined(__i386__) || defined(__x86_64__)
/* i386: distances from each word; x86_64: sizes of the symbols meant. */
extern uintptr_t text_relative_words[] HIDDEN;
uintptr_t text_relative_word(int index) { return text_relative_words[index]; }
uintptr_t text_relative_address(void) { return (uintptr_t)text_relative_words; }
#endif

int text_sum(int index) { return import_data[index] + text_own[index & 3]; }
/* Through a pointer: an i386 PLT entry of a shared object wants %ebx, which non-PIC code does not set. */
int text_call(int value) {
    int (*volatile function)(int) = import_function;
    return function(value) + 1;
}
