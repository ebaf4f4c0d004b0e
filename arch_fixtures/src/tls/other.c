#include "fixture.h"
__thread int other_gd = 41;
__thread int other_ie = 51;
int *other_gd_address(void) { return &other_gd; }
int *other_ie_address(void) { return &other_ie; }
