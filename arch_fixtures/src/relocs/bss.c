/* Segments of awkward shapes: a bss larger than a page, a page-aligned object, read-only data, RELRO. */
#include "fixture.h"
unsigned char big_bss[20000];
unsigned char page_aligned[4096] __attribute__((aligned(4096))) = {0x5a};
const int table[64] = {[0] = 1, [63] = 64};
const int *const relro_pointer = &table[63];
int last_data = 0x600d;
unsigned bss_sum(void) {
    unsigned sum = 0;
    for (unsigned index = 0; index < sizeof big_bss; index++) sum += big_bss[index];
    return sum;
}
void bss_fill(int value) {
    for (unsigned index = 0; index < sizeof big_bss; index++) big_bss[index] = (unsigned char)value;
}
int read_table(int index) { return table[index & 63]; }
void write_relro(int *pointer) { *(const int *volatile *)&relro_pointer = pointer; }
uintptr_t page_misalignment(void) { return (uintptr_t)page_aligned & 4095; }
