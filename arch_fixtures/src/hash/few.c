#include "fixture.h"
extern int hash_import(int value);
int hash_first(int value) { return hash_import(value) + 1; }
int hash_second = 2;
int hash_third = 3;
/* The two names have the same SysV hash (the sum of 16 * c1 + c2 is equal), so they share a chain. */
int collide_ab = 4;
int collide_bR = 5;
