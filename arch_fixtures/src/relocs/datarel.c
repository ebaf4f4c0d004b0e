/* Every kind of word the dynamic linker writes into data, each beside a function that reads it. */
#include "fixture.h"

extern int import_function(int value);
extern int import_data[16];
extern int missing_data WEAK;
extern int missing_function(int value) WEAK;

int own_data[8] = {10, 11, 12, 13, 14, 15, 16, 17};
static int private_data[8] = {20, 21, 22, 23, 24, 25, 26, 27};
HIDDEN int hidden_data[4] = {30, 31, 32, 33};
PROTECTED int protected_data[4] = {40, 41, 42, 43};
int common_data[4];

int own_function(int value) { return value + 1; }
static int private_function(int value) { return value + 2; }
HIDDEN int hidden_function(int value) { return value + 3; }
PROTECTED int protected_function(int value) { return value + 4; }
int weak_function(int value) WEAK;
int weak_function(int value) { return value + 5; }

/* Absolute and unique symbols have no spelling in C: special.c makes them in assembly. */
extern char abs_symbol[], abs_high[];
extern int unique_data;

/* symbolic */
int *ref_own = own_data;
int *ref_own_addend = &own_data[3];
int *ref_import = import_data;
int *ref_import_addend = &import_data[5];
int *ref_import_before = (int *)((uintptr_t)import_data - 4);
int (*ref_import_function)(int) = import_function;
int (*ref_own_function)(int) = own_function;
int (*ref_weak_function)(int) = weak_function;
int *ref_unique = &unique_data;
int *ref_common = &common_data[1];
char *ref_abs = abs_symbol;
char *ref_abs_addend = abs_symbol + 2;
char *ref_abs_high = abs_high;
int *ref_missing = &missing_data;
int (*ref_missing_function)(int) = missing_function;

/* relative */
int *ref_private = &private_data[2];
int *ref_private_end = &private_data[8];
int *ref_hidden = &hidden_data[1];
int *ref_protected = &protected_data[1];
int (*ref_private_function)(int) = private_function;
int (*ref_hidden_function)(int) = hidden_function;
int (*ref_protected_function)(int) = protected_function;
const char *const ref_string = "in rodata";

/* Only code asks for these: they come through the GOT. */
int *got_import(void) { return import_data; }
int *got_own(void) { return own_data; }
int *got_missing(void) { return &missing_data; }
char *got_abs(void) { return abs_symbol; }
int *got_unique(void) { return &unique_data; }
int *got_common(void) { return common_data; }
int (*got_import_function(void))(int) { return import_function; }

int call_import(int value) { return import_function(value); }
int call_weak(int value) { return weak_function(value); }
int call_missing_if_there(int value) { return missing_function ? missing_function(value) : -1; }
int call_protected(int value) { return protected_function(value); }
int call_all(int value) {
    return ref_own_function(value) + ref_private_function(value) + ref_hidden_function(value) +
           ref_protected_function(value) + ref_weak_function(value);
}
int *private_address(void) { return private_data; }
int *hidden_address(void) { return hidden_data; }
