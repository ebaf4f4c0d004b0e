/* Another library's ifunc: called, and its address taken in code and in data. */
#include "fixture.h"
extern int indirect(int value);
int (*client_pointer)(int) = indirect;
int client_call(int value) { return indirect(value); }
int client_call_pointer(int value) { return client_pointer(value); }
int (*client_address(void))(int) { return indirect; }
