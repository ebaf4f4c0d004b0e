/* Coroutines by <ucontext.h>: two that take turns, one that ends in uc_link, arguments in registers and on the
   stack, a floating-point value across a switch, and getcontext that returns twice. */
typedef __SIZE_TYPE__ size;
typedef struct context { unsigned long flags; struct context *link; struct { void *start; int flags; size length; } stack;
    char rest[4600]; } context __attribute__((aligned(16)));
extern int getcontext(context *), setcontext(const context *), swapcontext(context *, const context *);
extern void makecontext(context *, void (*)(void), int, ...);
extern int sprintf(char *, const char *, ...), sigprocmask(int, const void *, void *);
extern size strlen(const char *);

static context home, one, two;
static char stacks[2][1 << 16] __attribute__((aligned(16)));
static char text[512];

static void first(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j) {
    volatile double kept = a * 1.5;
    for (int n = 0; n < 3; n++) {
        sprintf(text + strlen(text), "1:%d ", n);
        swapcontext(&one, &two);
    }
    sprintf(text + strlen(text), "%d%d%d%d%d%d%d%d%d%d %d;", a, b, c, d, e, f, g, h, i, j, (int)(kept * 2));
}
static void second(int a) {
    for (int n = 0;; n++) {
        double kept = n + a * 0.5;
        swapcontext(&two, &one);
        sprintf(text + strlen(text), "2:%d ", (int)(kept * 2));
    }
}
const char *take_turns(void) {
    text[0] = 0;
    getcontext(&one), getcontext(&two);
    one.stack.start = stacks[0], two.stack.start = stacks[1];
    one.stack.length = two.stack.length = sizeof stacks[0];
    one.link = &home, two.link = 0;
    makecontext(&one, (void (*)(void))first, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0);
    makecontext(&two, (void (*)(void))second, 1, 7);
    swapcontext(&home, &one);
    sprintf(text + strlen(text), "home");
    return text;
}
int twice(int n) {
    volatile int times = 0;
    if (getcontext(&home))
        return -1;
    if (times++ < n)
        setcontext(&home);
    return times;
}
unsigned long mask(void) {
    unsigned long set[32] = {1 << 9}, none[32] = {0};
    volatile int again = 0;
    sigprocmask(2, set, 0);
    getcontext(&home);
    if (again++) {
        sigprocmask(0, 0, set);
        return set[0];
    }
    sigprocmask(2, none, 0);
    setcontext(&home);
    return 0;
}
static void nothing(void) {}
void last(void) {
    getcontext(&one);
    one.stack.start = stacks[0], one.stack.length = sizeof stacks[0], one.link = 0;
    makecontext(&one, nothing, 0);
    setcontext(&one);
}
