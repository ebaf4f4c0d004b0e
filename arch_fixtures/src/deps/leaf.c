#include "fixture.h"
int leaf_value = 10;
int leaf(int value) { return value + leaf_value; }
/* Defined in every layer: whoever comes first in the scope is meant. */
int who(void) { return 1; }
