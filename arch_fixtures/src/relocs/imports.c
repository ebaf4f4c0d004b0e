/* Nothing of this is defined anywhere: what a report of unresolved symbols must list, all of it. */
#include "fixture.h"
extern int absent_function(int value), absent_second(int value), absent_weak(int value) WEAK;
extern int absent_data;
int *absent_pointer = &absent_data;
int call_absent(int value) { return absent_function(value); }
int call_absent_second(int value) { return absent_second(value); }
int call_absent_weak(int value) { return absent_weak(value); }
int present(void) { return 5; }
