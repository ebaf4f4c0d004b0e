#include "fixture.h"
extern int leaf(int value);
int mid(int value) { return leaf(value) * 2; }
int who(void) { return 2; }
