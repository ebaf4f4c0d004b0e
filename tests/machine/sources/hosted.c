/* A program with the C library linked into it: what it prints is the same on every ISA. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

static int constructed;
static __thread int thread_local_value = 9;
static jmp_buf back;

__attribute__((constructor)) static void construct(void) { constructed = 7; }
__attribute__((destructor)) static void destruct(void) { puts("destructor"); }
static void at_exit(void) { puts("atexit"); }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void memory(void) {
    char *big = malloc(1 << 20);
    memset(big, 3, 1 << 20);
    big = realloc(big, 4 << 20);
    printf("realloc %d\n", big[12345]);
    free(big);
    long sum = 0;
    for (int n = 1; n < 2000; n++) {
        char *small = calloc(n, 3);
        sum += small[n] + ((unsigned long)small & 15);
        if (n & 1) free(small);
    }
    printf("calloc %ld\n", sum);
    char *mapped = mmap(0, 3 * 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mapped[65536] = 1;
    printf("munmap %d\n", munmap(mapped + 65536, 65536));
    char *again = mmap(mapped + 65536, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("fixed %d %d mprotect %d\n", again == mapped + 65536, again[0], mprotect(again, 65536, PROT_READ | PROT_WRITE));
    again[0] = 5;
    printf("again %d bad %d\n", again[0], mmap((void *)1, 4096, PROT_READ, MAP_FIXED | MAP_PRIVATE, 77, 0) == MAP_FAILED);
}

static void files(void) {
    FILE *file = fopen("/data.txt", "r");
    char text[64] = "";
    if (file) {
        fgets(text, sizeof text, file);
        fseek(file, -4, SEEK_END);
        printf("read %s", text);
        fgets(text, sizeof text, file);
        printf("end %s", text);
        fclose(file);
    }
    file = fopen("/out.txt", "w");
    fprintf(file, "written %d\n", 42);
    fclose(file);
    struct stat status;
    printf("stat %d", stat("/out.txt", &status));
    printf(" %ld %d\n", (long)status.st_size, S_ISREG(status.st_mode));
    printf("missing %d", open("/nowhere", O_RDONLY));
    printf(" %s\n", strerror(errno));
    char line[64];
    while (fgets(line, sizeof line, stdin)) printf("stdin %s", line);
}

int main(int argc, char **argv, char **envp) {
    if (argc > 1 && !strcmp(argv[1], "abort")) abort();
    if (argc > 1 && !strcmp(argv[1], "fault")) *(volatile int *)16 = 1;
    atexit(at_exit);
    printf("constructed %d thread %d\n", constructed, thread_local_value++);
    for (int n = 0; n < argc; n++) printf("argv %s\n", argv[n]);
    for (; *envp; envp++) printf("env %s\n", *envp);
    printf("auxv %lu %lu %s %d\n", getauxval(AT_PAGESZ), getauxval(AT_SECURE), (char *)getauxval(AT_EXECFN),
           getauxval(AT_RANDOM) != 0);
    printf("double %.3f %g %s\n", 3.25, 1e300 * argc, getenv("HOME"));
    int numbers[] = {5, 3, 9, 1};
    qsort(numbers, 4, sizeof *numbers, compare);
    printf("sorted %d %d %d %d\n", numbers[0], numbers[1], numbers[2], numbers[3]);
    if (!setjmp(back)) longjmp(back, 1);
    memory();
    files();
    struct utsname names;
    struct timespec now;
    struct rlimit limit;
    printf("uname %d %s\n", uname(&names), names.sysname);
    printf("clock %d %lld\n", clock_gettime(CLOCK_REALTIME, &now), (long long)now.tv_sec);
    printf("limit %d %lld\n", getrlimit(RLIMIT_STACK, &limit), (long long)limit.rlim_cur);
    printf("signal %d\n", signal(SIGUSR1, SIG_IGN) == SIG_DFL && raise(SIGUSR1) == 0);
    fprintf(stderr, "to stderr\n");
    return 42;
}
