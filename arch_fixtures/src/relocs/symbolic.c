/* Linked with -Bsymbolic: its own `shared_name` is meant, whatever stands before it in the scope. */
#include "fixture.h"
int shared_value = 1;
int shared_name(void) { return 1; }
int kept_name(void) { return 10; }
int (*shared_pointer)(void) = shared_name;
int (*kept_pointer)(void) = kept_name;
int *shared_value_pointer = &shared_value;
int call_shared(void) { return shared_name(); }
int call_shared_pointer(void) { return shared_pointer(); }
int call_kept(void) { return kept_name(); }
int call_kept_pointer(void) { return kept_pointer(); }
int read_shared_value(void) { return *shared_value_pointer; }
