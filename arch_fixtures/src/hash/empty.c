/* Exports nothing: an empty .gnu.hash, and imports before it in the symbol table. */
#include "fixture.h"
extern int hash_import(int value);
HIDDEN int (*nobody_sees)(int) = hash_import;
