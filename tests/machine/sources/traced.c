/* Calls of all kinds: see test_trace.py. */
#define NOINLINE __attribute__((noinline))

struct pair {
    int first, second;
};

extern int host(int value, const char *text);
extern int setjmp(void *) __attribute__((returns_twice));
extern void longjmp(void *, int) __attribute__((noreturn));

static long jumps[128];
static volatile int sink;

NOINLINE int fibonacci(int n)
{
    sink = n;
    if (n < 2)
        return n;
    int before = fibonacci(n - 2);
    return fibonacci(n - 1) + before;
}

NOINLINE int last(int n)
{
    sink++;
    return n + 1;
}

NOINLINE int tail(int n)
{
    sink++;
    return last(2 * n);
}

NOINLINE int through_tail(int n)
{
    int found = tail(n);
    sink++;
    return found + 1;
}

NOINLINE static void leap(int value)
{
    sink++;
    longjmp(jumps, value);
}

NOINLINE static void deeper(int value)
{
    sink++;
    leap(value);
    sink++;
}

NOINLINE int jump(int value)
{
    int found = setjmp(jumps);
    if (!found)
        deeper(value);
    last(found);
    return found;
}

NOINLINE int ask(const char *name)
{
    int found = host(3, name);
    sink++;
    return found + host(4, "a string of more than forty characters, which is cut");
}

NOINLINE struct pair swap(struct pair value)
{
    sink++;
    return (struct pair){value.second, value.first};
}

NOINLINE double half(double value)
{
    sink++;
    return value / 2;
}

NOINLINE void nothing(void)
{
    sink++;
}

NOINLINE int apply(int (*function)(int), int n)
{
    int found = function(n);
    sink++;
    return found;
}

NOINLINE int fail(int *where)
{
    sink++;
    return *where;
}

int begin(int n)
{
    struct pair value = swap((struct pair){n, n + 1});
    nothing();
    return through_tail(value.first) + (int)half(9.0);
}
