#include "fixture.h"
extern int cycle_a(int depth);
int cycle_b(int depth) { return depth <= 0 ? 200 : cycle_a(depth - 1) + 2; }
