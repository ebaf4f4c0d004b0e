/* The other edge of the diamond top -> {mid, side} -> leaf. */
#include "fixture.h"
extern int leaf(int value);
extern int leaf_value;
int *side_sees_leaf_value(void) { return &leaf_value; }
int side(int value) { return leaf(value) * 3; }
