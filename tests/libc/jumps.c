/* setjmp across frames and floating-point registers, and the helpers a compiler calls for 64-bit arithmetic. */
typedef unsigned long long u64;
extern int _setjmp(void *) __attribute__((returns_twice));
extern void longjmp(void *, int) __attribute__((noreturn));
extern void qsort(void *, __SIZE_TYPE__, __SIZE_TYPE__, int (*)(const void *, const void *));

static unsigned long environment[64] __attribute__((aligned(16)));

static __attribute__((noinline)) double deep(int depth, double value) {
    volatile char frame[64];
    frame[depth] = (char)depth;
    if (depth == 0) longjmp(environment, 42);
    return deep(depth - 1, value * 1.5) + frame[depth];
}
int jump(int n, double x) {
    volatile int times = 0;
    double kept = x * 3;
    int a = n * 7, b = n ^ 5, c = n + 11;
    int status = _setjmp(environment);
    times++;
    if (status == 0) {
        deep(n, x);
        return -1;
    }
    return status * 1000 + times * 100 + (int)kept + a + b + c;
}
static int jumping_order(const void *left, const void *right) { longjmp(environment, 7); }
int jump_out_of_qsort(void) {
    int numbers[4] = {3, 1, 2, 0};
    if (_setjmp(environment)) return 1;
    qsort(numbers, 4, sizeof(int), jumping_order);
    return 0;
}
u64 divide(u64 a, u64 b) { return a / b * 1000 + a % b; }
long long divide_signed(long long a, long long b) { return a / b * 1000 + a % b; }
double to_double(long long a) { return (double)a; }
long long from_double(double a) { return (long long)a; }
float to_float(u64 a) { return (float)a; }
