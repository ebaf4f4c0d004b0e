/* A weak thread-local nobody defines: its address must not be formed, and binding it must not fail. */
#include "fixture.h"
extern __thread int nobody_defines WEAK;
int present = 1;
int weak_tls_value(int wanted) { return wanted ? nobody_defines : present; }
