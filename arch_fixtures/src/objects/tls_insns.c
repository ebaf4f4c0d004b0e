/* AArch64: the TLS instructions no compiler writes by itself. Each `tls_at_*` answers an offset from the thread
   pointer, or what lies there, for `tls_near`, a thread-local within 4 KiB of the block's start. */
#include "fixture.h"
__thread long tls_near[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
long *near_address(void) { return &tls_near[1]; }
#define FUNCTION(name) ".globl " name "\n.type " name ", %function\n" name ":\n"
#define LOADS(kind)                                                                                            \
    "ldrb w0, [x1, :" kind "_lo12:tls_near]\nldrb w2, [x1, :" kind "_lo12_nc:tls_near]\n"                      \
    "ldrh w3, [x1, :" kind "_lo12:tls_near]\nldrh w4, [x1, :" kind "_lo12_nc:tls_near]\n"                      \
    "ldr w5, [x1, :" kind "_lo12:tls_near]\nldr w6, [x1, :" kind "_lo12_nc:tls_near]\n"                        \
    "ldr x7, [x1, :" kind "_lo12:tls_near]\nldr x8, [x1, :" kind "_lo12_nc:tls_near]\n"                        \
    "add x0, x0, x2\nadd x0, x0, x3\nadd x0, x0, x4\nadd x0, x0, x5\nadd x0, x0, x6\nadd x0, x0, x7\n"         \
    "add x0, x0, x8\nret\n"
#define MOVES(kind)                                                                                            \
    "movz x0, #:" kind "_g2:tls_near\nmovk x0, #:" kind "_g1_nc:tls_near\nmovk x0, #:" kind "_g0_nc:tls_near\n" \
    "movz x1, #:" kind "_g1:tls_near\nmovz x2, #:" kind "_g0:tls_near\nret\n"
__asm__(".text\n"
        FUNCTION("tls_at_tprel_moves") MOVES("tprel")
        FUNCTION("tls_at_tprel_adds")
        "mov x0, #0\nadd x0, x0, :tprel_lo12:tls_near\nret\n"
        FUNCTION("tls_at_tprel_loads") "mrs x1, tpidr_el0\nadd x1, x1, :tprel_hi12:tls_near\n" LOADS("tprel")
        FUNCTION("tls_at_dtprel_moves") MOVES("dtprel")
        FUNCTION("tls_at_dtprel_adds")
        "mov x0, #0\nadd x0, x0, :dtprel_hi12:tls_near\nadd x0, x0, :dtprel_lo12_nc:tls_near\n"
        "mov x2, #0\nadd x2, x2, :dtprel_lo12:tls_near\nret\n"
        FUNCTION("tls_at_dtprel_loads") "mrs x1, tpidr_el0\n" LOADS("dtprel")
        FUNCTION("tls_at_gottprel_literal") "ldr x0, :gottprel:tls_near\nret\n"
#ifndef __clang__ /* whose assembler knows neither the local-dynamic index nor an adr with a TLS operator */
        FUNCTION("tls_index_local") "adrp x0, :tlsldm:tls_near\nadd x0, x0, :tlsldm_lo12_nc:tls_near\nret\n"
        FUNCTION("tls_index_local_near") "adr x0, :tlsldm:tls_near\nret\n"
        FUNCTION("tls_index_near") "adr x0, :tlsgd:tls_near\nret\n"
        FUNCTION("tls_descriptor_near") "adr x0, :tlsdesc:tls_near\nldr x1, :tlsdesc:tls_near\nret\n"
#endif
);
