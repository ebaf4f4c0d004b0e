/* Many relative words, dense and sparse, odd strides and far gaps: what RELR and Android's packing exist
   for. `packed_check` tells whether every word is what it should be. */
#include "fixture.h"

extern int packed_import(int value);

static int target[8] = {0, 1, 2, 3, 4, 5, 6, 7};
#define P1 &target[1],
#define P4 P1 &target[2], &target[3], &target[4],
#define P16 P4 P4 P4 P4
#define P64 P16 P16 P16 P16

int *dense[80] = {P64 P16};
struct sparse { int *pointer; uintptr_t plain[3]; } sparse[24] = {
#define S(n) {&target[(n) & 7], {n, ~(uintptr_t)n, n * 3}},
#define S8(n) S(n) S(n + 1) S(n + 2) S(n + 3) S(n + 4) S(n + 5) S(n + 6) S(n + 7)
    S8(0) S8(8) S8(16)};
char gap[700] = {1};
int *lonely = &target[7];
#ifndef NO_UNALIGNED
/* RELR can say only even addresses: this one stays an ordinary relative relocation. */
struct __attribute__((packed)) unaligned { char byte; int *pointer; } unaligned = {9, &target[5]};
#endif
int (*imported)(int) = packed_import;

int packed_check(void) {
    for (int index = 0; index < 80; index++)
        if (dense[index] != &target[(index & 3) + 1]) return 1000 + index;
    for (int index = 0; index < 24; index++) {
        if (sparse[index].pointer != &target[index & 7]) return 2000 + index;
        if (sparse[index].plain[0] != (uintptr_t)index) return 3000 + index;
    }
    if (lonely != &target[7]) return 4000;
    if (gap[0] != 1) return 5000;
    return 0;
}

int packed_call(int value) { return imported(value); }
#ifndef NO_UNALIGNED
/* Byte by byte: not every target may read an unaligned word. */
int packed_unaligned(void) {
    uintptr_t word = 0;
    const unsigned char *byte = (const unsigned char *)&unaligned + 1;
    for (unsigned index = 0; index < sizeof word; index++) word |= (uintptr_t)byte[index] << (8 * index);
    return word == (uintptr_t)&target[5];
}
#endif
