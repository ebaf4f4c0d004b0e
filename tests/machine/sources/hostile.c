/* Guests that misbehave. Each is called with limits on time and memory. */
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef int (*order)(const void *, const void *);
void *malloc(size_t), *calloc(size_t, size_t), *realloc(void *, size_t), free(void *);
void *memset(void *, int, size_t), *memcpy(void *, const void *, size_t), *memmove(void *, const void *, size_t);
void *memchr(const void *, int, size_t), *memmem(const void *, size_t, const void *, size_t);
int memcmp(const void *, const void *, size_t), strncmp(const char *, const char *, size_t);
size_t strlen(const char *), wcslen(const void *);
char *strcpy(char *, const char *), *strncpy(char *, const char *, size_t), *strtok(char *, const char *);
int snprintf(char *, size_t, const char *, ...), sscanf(const char *, const char *, ...);
void qsort(void *, size_t, size_t, order);
long read(int, void *, size_t), write(int, const void *, size_t), getrandom(void *, size_t, unsigned), ftruncate(int, long);
int open(const char *, int, ...), dup2(int, int), getpid(void), atexit(void (*)(void)), setenv(const char *, const char *, int);
unsigned sleep(unsigned);
void *mmap(void *, size_t, int, int, int, long);
int munmap(void *, size_t), mprotect(void *, size_t, int);
void longjmp(void *, int);
void *dlopen(const char *, int);

static char room[1 << 16];
static const char text[] = "constant";
#define NOWHERE ((void *)-1)
#define FAR ((size_t)-1)

/* Ranges that are not there: a fault, and no work or memory of their size. */
int fill_far(void) { memset(room, 0, FAR); return 1; }
int fill_negative(void) { volatile int n = -16; memset(room, 0, n); return 1; }
int copy_far(void) { memmove(room, room + 8, FAR / 2); return 1; }
int fill_constant(void) { memset((void *)text, 0, sizeof text); return 1; }
int pad_far(void) { strncpy(room, "x", FAR - 4096); return 1; }
int sort_far(void) { qsort(room, FAR / 4, 4, 0); return 1; }
int no_end(void) { char *p = mmap(0, 4096, 3, 0x22, -1, 0); memset(p, 'A', 4096); return strlen(p); }
int no_wide_end(void) { char *p = mmap(0, 4096, 3, 0x22, -1, 0); memset(p, 'A', 4096); return wcslen(p); }

/* Long work of one host function, and of many. */
static int same(const void *a, const void *b) { return 0; }
int sort_long(void) { char *p = calloc(1, 1 << 20); qsort(p, 1 << 20, 1, same); return 1; }
int tokens(void)
{
    size_t n = 4 << 20;
    char *a = malloc(n + 1), *p;
    memset(a, ' ', n);
    for (size_t i = 0; i < n; i += 2) a[i] = 'b';
    a[n] = 0;
    for (p = strtok(a, " "); p; p = strtok(0, " "));
    return 1;
}
int numbers(void)
{
    size_t n = 4 << 20;
    char *a = malloc(n + 1);
    double d;
    memset(a, '1', n);
    a[n] = 0;
    for (;;) sscanf(a, "%lf", &d);
}
int compare_long(void)
{
    size_t n = 2 << 20;
    char *a = calloc(1, n), *b = calloc(1, n);
    if (!a || !b) return -1;
    b[n - 1] = 1;
    for (;;) memcmp(a, b, n);
}
int calls(void) { for (;;) getpid(); }
int sleeps(void) { for (;;) sleep(1000000); }
int spin(void) { for (;;) __asm__ volatile("" ::: "memory"); }

/* Too much of everything. */
int flood_output(void) { char *p = malloc(1 << 20); long n; while ((n = write(1, p, 1 << 20)) > 0); return n; }
int flood_file(void)
{
    char *p = malloc(1 << 20);
    int f = open("/big", 0102, 0644);
    long n;
    while ((n = write(f, p, 1 << 20)) > 0);
    return n;
}
int grow_file(void) { int f = open("/sparse", 0102, 0644); return ftruncate(f, 0x3fffffff); }
int flood_files(void) { int i; for (i = 0; open("/f", 0102, 0644) >= 0; i++); return i > 1000; }
int far_descriptor(void) { return dup2(1, 1 << 30); }
int flood_pages(void)
{
    for (int i = 0; i < 1000; i++) {
        char *p = mmap(0, 8 << 20, 3, 0x22, -1, 0);
        if (p == NOWHERE) return i < 100;
        memset(p, 1, 8 << 20);
    }
    return 0;
}
int flood_heap(void) { int i; for (i = 0; malloc(16); i++); return i > 1000; }
int flood_environment(void)
{
    char name[16];
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "N%d", i);
        if (setenv(name, "", 1)) return 1;
    }
    return 0;
}

/* Depth, and what a call needs of the machine. */
static int deeper(const void *a, const void *b) { char t[4] = {3, 1, 2, 0}; qsort(t, 4, 1, deeper); return 0; }
int sort_deep(void) { return deeper(0, 0); }
static void again(void) { atexit(again); }
int never_ends(void) { return atexit(again); }
int unmap_stack(void) { int x; munmap((void *)(((uintptr_t)&x & ~(uintptr_t)4095) - (1 << 20)), (1 << 20) + 4096); return 1; }
int protect_stack(void) { int x; mprotect((void *)((uintptr_t)&x & ~(uintptr_t)4095), 4096, 0); return 1; }
int unmap_heap(void) { char *p = malloc(1 << 20); munmap((void *)((uintptr_t)p & ~(uintptr_t)4095), 1 << 20); p[0] = 1; return 1; }
static uintptr_t jump[512];
int wild_jump(void) { for (int i = 0; i < 512; i++) jump[i] = (uintptr_t)0x4141414141414141; longjmp(jump, 1); return 0; }
static char format[6000];
int long_position(void)
{
    format[0] = '%';
    for (int i = 1; i < 4500; i++) format[i] = '9';
    format[4500] = '$', format[4501] = 'd';
    return snprintf(room, 10, format, 1);
}

/* The host's files. */
int host_files(void)
{
    static const char *const names[] = {
        "/etc/passwd", "../../../../etc/passwd", "/proc/self/exe", "/etc/shadow", ".", "/", "$ORIGIN/../../../../etc/passwd",
        "${ORIGIN}/hostile.so", "libc.so.6/../../x", "",
    };
    int found = 0;
    for (int i = 0; i < 9; i++) found += dlopen(names[i], 2) != 0 || open(names[i], 0) >= 0 && i != 4 && i != 5;
    return found;
}
