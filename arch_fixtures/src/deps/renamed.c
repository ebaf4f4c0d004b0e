#include "fixture.h"
int renamed(void) { return 77; }
