/* An executable: entry point, DT_PREINIT_ARRAY (which only executables may have), imports from a library,
   and, compiled without -fPIC, COPY relocations of its data. */
#include "fixture.h"
extern int leaf_value;
extern int leaf(int value);
int startup_log[8];
int startup_logged;
static volatile int one = 1;
static void note(int number) { startup_log[startup_logged++ & 7] = number; }
static void before(int argc, char **argv, char **envp) { note(1 * one); }
__attribute__((section(".preinit_array"), used)) static void (*const preinit[])(int, char **, char **) = {before};
__attribute__((constructor)) static void start(void) { note(2 * one); }
__attribute__((destructor)) static void stop(void) { note(3 * one); }
int copied_value(void) { return leaf_value; }
void set_copied_value(int value) { leaf_value = value; }
int call_leaf(int value) { return leaf(value); }
int main_like(int argc, char **argv) { return argc + leaf(1); }
void _start(void) { for (;;) note(4 * one); }
