#include "fixture.h"
extern int versioned(void), same_everywhere(void);
extern int versioned_data;
int (*versioned_pointer)(void) = versioned;
int client_versioned(void) { return versioned(); }
int client_versioned_pointer(void) { return versioned_pointer(); }
int client_same(void) { return same_everywhere(); }
int client_data(void) { return versioned_data; }
#ifdef NEEDS_V3
extern int added_in_v3(void);
int client_added(void) { return added_in_v3(); }
#endif
