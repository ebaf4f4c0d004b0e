#include "fixture.h"
extern int cycle_b(int depth);
int cycle_a(int depth) { return depth <= 0 ? 100 : cycle_b(depth - 1) + 1; }
