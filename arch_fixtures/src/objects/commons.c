/* Common symbols, small and aligned, shared with another object that may define them. */
#include "fixture.h"
int common_word;
char common_block[100] __attribute__((aligned(64)));
long common_shared;
int get_common(void) { return common_word; }
void set_common(int value) { common_word = value; common_block[99] = (char)value; common_shared = value; }
uintptr_t block_misalignment(void) { return (uintptr_t)common_block & 63; }
char *block_address(void) { return common_block; }
