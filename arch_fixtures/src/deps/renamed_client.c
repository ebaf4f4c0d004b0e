#include "fixture.h"
extern int renamed(void);
int call_renamed(void) { return renamed() + 1; }
