/* Words in data: addresses with and without addends, of every binding, and distances between sections. */
#include "fixture.h"

extern int other_array[8];
extern int other_function(int value);
extern int missing_data WEAK;

int own_data[4] = {1, 2, 3, 4};
static int private_data[4] = {5, 6, 7, 8};
HIDDEN int hidden_data = 9;
int weak_data WEAK = 10;
static int private_function(int value) { return value + 1; }
static const int constants[4] = {11, 12, 13, 14};

int *to_own = own_data;
int *to_own_third = &own_data[2];
int *to_private_third = &private_data[2];
int *to_hidden = &hidden_data;
int *to_weak = &weak_data;
int *to_missing = &missing_data;
int *to_other_third = &other_array[2];
int *to_other_before = (int *)((uintptr_t)other_array - 4);
int (*to_function)(int) = other_function;
int (*to_private_function)(int) = private_function;
const int *const to_constant = &constants[3];

/* How far apart things lie: no address, whatever the image's place. */
extern char distance_words[];
__asm__(".section .rodata.distances,\"a\",%progbits\n.balign 8\n"
        ".globl distance_words\ndistance_words:\n"
        ".long own_data - .\n"
        ".long other_function - .\n"
        ".text\n");
int distance(int index) { return ((int *)distance_words)[index & 1]; }
uintptr_t distance_place(int index) { return (uintptr_t)&((int *)distance_words)[index & 1]; }

int sum(void) {
    return *to_own + *to_own_third + *to_private_third + *to_hidden + *to_weak + *to_constant;
}
int missing_is_null(void) { return to_missing == NULL; }
