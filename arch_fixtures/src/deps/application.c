#include "fixture.h"
extern int inner(void);
int application(void) { return inner(); }
