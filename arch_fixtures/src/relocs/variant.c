/* A function whose calling convention is not the ABI's (vector registers live across it): the symbol says so
   (STO_AARCH64_VARIANT_PCS, STO_RISCV_VARIANT_CC), the dynamic section says there is one, and a lazy resolver
   that saves only the ABI's argument registers may not stand in its way: its slot is bound at load. */
#include "fixture.h"
#if defined(__aarch64__)
__asm__(".variant_pcs import_function");
#else
__asm__(".variant_cc import_function");
#endif
extern int import_function(int value);
extern int weak_function(int value);
int call_variant(int value) { return import_function(value) + 1; }
int call_ordinary(int value) { return weak_function(value) + 1; }
