/* One library, several ages: V1 had versioned(), V2 replaced it and kept the old one for old clients. */
#include "fixture.h"
#if defined(UNVERSIONED)
int versioned(void) { return 100; }
int same_everywhere(void) { return 7; }
int versioned_data = 1000;
#else
int versioned_v1(void) { return 1; }
__asm__(".symver versioned_v1, versioned" V1_MARK "V1");
int same_everywhere(void) { return 7; }
int versioned_data = 1001;
#if AGE >= 2
int versioned_v2(void) { return 2; }
__asm__(".symver versioned_v2, versioned" V2_MARK "V2");
int added_in_v2(void) { return 22; }
#endif
#if AGE >= 3
int added_in_v3(void) { return 33; }
#endif
#endif
