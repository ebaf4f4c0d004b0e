/* Handlers that look at, and change, what the kernel has saved; built with the offsets that Linux's headers give. */
typedef unsigned long word;
typedef struct {
    void (*handler)(int, void *, void *);
    word flags;
#ifdef HAS_RESTORER
    void *restorer;
#endif
    unsigned char mask[8];
} action;
extern long syscall(long, ...);
extern int getpid(void), __sigsetjmp(void *, int), sigprocmask(int, const void *, void *);
extern void *memcpy(void *, const void *, word);
extern char *strcpy(char *, const char *);
extern void *mmap(void *, unsigned long, int, int, int, long);
extern int mprotect(void *, unsigned long, int);
extern void siglongjmp(void *, int);

static volatile int seen, one = 1;
static long buffer[64];
static volatile word address, context_mask;

static void set(int number, void (*handler)(int, void *, void *), word flags) {
    action act = {handler, flags};
    syscall(SIGACTION, (long)number, &act, 0L, 8L);
}
__attribute__((noinline)) static int landed(void) { return one * 1234; }
/* The program goes on in another function, as emulators and collectors of garbage have it. */
static void move(int number, void *info, void *context) {
    address = *(word *)((char *)info + (sizeof(word) == 8 ? 16 : 12));
    *(word *)((char *)context + PC_AT) = (word)landed & ~(word)THUMB_BIT;
    seen++;
}
__attribute__((noinline)) static int faults(volatile int *at) {
    *at = 1;
    return one;
}
int moved(void) {
    seen = 0;
    set(11, move, 4);
    int result = faults((volatile int *)0x50);
    return result == 1234 && seen == 1 && address == 0x50;
}
/* The mask in the frame is what holds after the handler. */
static void mask(int number, void *info, void *context) {
    context_mask = *(word *)((char *)context + MASK_AT);
    *(word *)((char *)context + MASK_AT) |= 1 << 11; /* signal 12 */
    seen++;
}
int masked(void) {
    unsigned char before[128] = {0}, after[128];
    seen = 0;
    before[1] = 1; /* signal 9 cannot be blocked, 15 can */
    before[1] |= 1 << 6;
    sigprocmask(2, before, 0);
    set(10, mask, 4);
    syscall(TGKILL, (long)getpid(), (long)getpid(), 10L);
    sigprocmask(0, 0, after);
    before[1] = 0;
    sigprocmask(2, before, 0);
    return seen == 1 && context_mask == 1 << 14 && after[1] == (1 << 6 | 1 << 3);
}
/* The hosted library's own accesses are the program's. */
static void leave(int number, void *info, void *context) {
    address = *(word *)((char *)info + (sizeof(word) == 8 ? 16 : 12));
    siglongjmp(buffer, 2);
}
static char *page;
static void open_page(int number, void *info, void *context) {
    seen++;
    mprotect(page, 4096, 3);
}
int within(void) {
    set(11, leave, 4);
    if (!__sigsetjmp(buffer, 1)) {
        memcpy((void *)0x60, "abc", 3);
        return -1;
    }
    if (address != 0x60)
        return -2;
    page = mmap(0, 4096, 0, 0x22, -1, 0);
    set(11, open_page, 4);
    seen = 0;
    strcpy(page, "done");
    return page[3] == 'e' && seen == 1;
}
/* A signal without a handler's SA_SIGINFO has another frame on some ISAs. */
static void plain(int number) { seen += number; }
double kept(double value) {
    volatile double twice = value * 2;
    seen = 0;
    set(10, (void (*)(int, void *, void *))plain, 0);
    syscall(TGKILL, (long)getpid(), (long)getpid(), 10L);
    return twice + seen;
}
