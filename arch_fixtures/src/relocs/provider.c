/* What datarel and textrel import; interposes two names datarel defines itself. */
#include "fixture.h"
int import_data[16] = {100, 101, 102, 103, 104, 105, 106, 107};
int import_function(int value) { return value * 3; }
int weak_function(int value) { return value + 500; }
int protected_function(int value) { return value + 600; }
