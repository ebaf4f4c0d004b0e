#include "fixture.h"
int shared_value = 2;
int shared_name(void) { return 2; }
int kept_name(void) { return 20; }
