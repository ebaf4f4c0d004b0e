/* Symbols C cannot define: absolute ones and a unique one. In a file of their own, for an assembler that
   knows an absolute symbol's value folds it and leaves no relocation. */
__asm__(".globl abs_symbol\n.set abs_symbol, 0x1234\n"
        ".globl abs_high\n.set abs_high, 0x7ffffff0\n"
        ".data\n.balign 8\n.globl unique_data\n.type unique_data, %gnu_unique_object\n"
        ".size unique_data, 4\nunique_data: .long 4242\n.long 0\n.text\n");
