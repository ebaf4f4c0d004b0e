#include "fixture.h"
int deep(void) { return 41; }
