/* A program with a main, started by the C library as different start files do: STYLE 1 as glibc's since 2.34, 2 as
   glibc's before, 3 as musl's, 4 as the first but leaving by _exit. */
#include "start.h"
typedef void action(void);
extern int __libc_start_main(int (*)(int, char **, char **), int, char **, action *, action *, action *, void *);
extern int puts(const char *), atexit(action *);
extern char *getenv(const char *), **environ;
extern void _exit(int);
static void bye(void) { puts("atexit"); }
__attribute__((unused)) static void init(void) { puts("init"); }
__attribute__((unused)) static void fini(void) { puts("fini"); }
#if STYLE == 3
void _init(void) { puts("DT_INIT"); }
void _fini(void) { puts("DT_FINI"); }
#endif
__attribute__((constructor)) static void construct(int argc, char **argv, char **envp) { puts(envp[0]); }
__attribute__((destructor)) static void destruct(void) { puts("destructor"); }
static int body(int argc, char **argv, char **envp) {
    puts(argv[1]);
    puts(getenv("A"));
    line("environ", environ == envp);
    atexit(bye);
    if (STYLE == 4) _exit(6);
    return 5;
}
__attribute__((used)) void begin(word *stack, action *finish) {
    char **argv = (char **)(stack + 1);
#if STYLE == 2
    __libc_start_main(body, (int)stack[0], argv, init, fini, finish, stack);
#elif STYLE == 3
    __libc_start_main(body, (int)stack[0], argv, _init, _fini, 0, 0);
#else
    __libc_start_main(body, (int)stack[0], argv, 0, 0, finish, stack);
#endif
}
