#include "fixture.h"
extern int deep(void);
int inner(void) { return deep() + 1; }
