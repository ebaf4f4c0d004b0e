#include "fixture.h"
extern int mid(int value), side(int value), who(void);
extern int leaf_value;
int *leaf_value_pointer = &leaf_value;
int top(int value) { return mid(value) + side(value); }
int ask_who(void) { return who(); }
int *top_sees_leaf_value(void) { return leaf_value_pointer; }
