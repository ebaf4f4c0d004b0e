/* What a program does with signals; each function returns a number that says what happened. */
typedef struct { void (*handler)(int, void *, void *); unsigned char mask[128]; int flags; void *restorer; } action;
extern int raise(int), sigaction(int, const action *, action *), __sigsetjmp(void *, int), kill(int, int);
extern int sigprocmask(int, const void *, void *), getpid(void);
extern void abort(void);
extern void *signal(int, void (*)(int));
extern void siglongjmp(void *, int);
extern int mprotect(void *, unsigned long, int);
extern void *mmap(void *, unsigned long, int, int, int, long);

static volatile int got, count;
static long buffer[64];
static volatile char *page;

static void note(int number) { got = number, count++; }
static void jump(int number) { siglongjmp(buffer, number); }
static void again(int number) {
    if (++count < 3)
        raise(number);
}
static void open_page(int number, void *info, void *context) {
    got = number * 100 + ((int *)info)[2]; /* si_code */
    mprotect((void *)page, 4096, 3);
}

double handled(double value) { /* registers survive the handler */
    volatile double kept = value;
    signal(10, note);
    got = 0;
    raise(10);
    return kept * 2 + got;
}
int ignored(void) {
    signal(10, (void (*)(int))1);
    return raise(10) + raise(17) + kill(getpid(), 28);
}
int blocked(void) {
    unsigned char mask[128] = {0, 2}; /* signal 10 */
    signal(10, note);
    count = 0;
    sigprocmask(0, mask, 0);
    raise(10), raise(10);
    int before = count;
    sigprocmask(1, mask, 0);
    return before * 10 + count; /* sent twice, pending once */
}
int jumped(int times) {
    signal(10, jump);
    signal(11, jump);
    volatile int seen = 0;
    for (volatile int i = 0; i < times; i++) {
        int value = __sigsetjmp(buffer, 1);
        if (!value) {
            if (i % 2)
                raise(10);
            else
                *(volatile int *)16 = 1;
        } else
            seen += value;
    }
    return seen;
}
int repaired(void) {
    action segv = {open_page, {0}, 4, 0};
    page = mmap(0, 4096, 0, 0x22, -1, 0);
    sigaction(11, &segv, 0);
    page[5] = 7; /* runs again once the handler has opened the page */
    return got * 10 + page[5];
}
int repaired_in_the_engine(void) { /* stores that the engine makes in functions of its own */
    action segv = {open_page, {0}, 4, 0};
    page = mmap(0, 4096, 1, 0x22, -1, 0);
    sigaction(11, &segv, 0);
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("fld1; fstpt (%0)" : : "r"(page) : "memory");
    return got * 10 + (page[9] == 0x3f && page[8] == -1);
#elif defined(__aarch64__)
    mprotect((void *)page, 4096, 3);
    for (int i = 0; i < 4096; i++) page[i] = 1;
    mprotect((void *)page, 4096, 1);
    __asm__ volatile("dc zva, %0" : : "r"(page) : "memory");
    return got * 10 + (!page[0] && !page[31]);
#else
    page[5] = 7;
    return got * 10 + (page[5] == 7);
#endif
}
int nested(void) {
    action user = {(void (*)(int, void *, void *))again, {0}, 0x40000000, 0};
    sigaction(12, &user, 0);
    count = 0;
    raise(12);
    return count;
}
int unhandled(void) { return *(volatile int *)16; }

int aborted(int leaves) {
    unsigned char mask[128] = {32}; /* SIGABRT */
    sigprocmask(0, mask, 0);
    signal(6, leaves ? jump : note);
    int number = __sigsetjmp(buffer, 1);
    if (number)
        return number;
    abort();
    return -1;
}

typedef struct { void *start; int flags; unsigned long size; } stack;
extern int sigaltstack(const stack *, stack *);
static char room[2][16384];
static stack was;
static int inside(volatile void *place) {
    for (int i = 0; i < 2; i++)
        if ((char *)place >= room[i] && (char *)place < room[i] + sizeof room[i])
            return i + 1;
    return 0;
}
static void look(int number, void *info, void *context) {
    volatile int here;
    got = got * 10 + inside(&here);
    if (number == 10)
        raise(12); /* stays on this stack */
    sigaltstack(0, &was);
    if (number == 11)
        siglongjmp(buffer, 1);
}
/* The stacks on which handlers run: 0 the interrupted one, 1 and 2 those in `room`. */
int alternate(void) {
    action act = {look, {0}, 0x08000000};
    stack first = {room[0], 0, sizeof room[0]}, second = {room[1], 0, sizeof room[1]}, off = {0, 2, 0}, old;
    stack small = {room[0], 0, 100};
    got = 0;
    if (sigaltstack(&first, &old) || old.flags != 2 || sigaltstack(&small, 0) != -1)
        return -1;
    sigaction(10, &act, 0), sigaction(11, &act, 0);
    act.flags = 0;
    sigaction(12, &act, 0);
    raise(10); /* 1, 1 */
    if (was.start != room[0] || was.flags != 1)
        return -2;
    raise(12); /* 0 */
    for (volatile int i = 0; i < 2; i++) {
        if (!__sigsetjmp(buffer, 1))
            *(volatile int *)16 = 1; /* 1, 2 */
        sigaltstack(&second, &old);
    }
    sigaltstack(&off, 0);
    raise(10); /* 0, 0 */
    return got;
}
