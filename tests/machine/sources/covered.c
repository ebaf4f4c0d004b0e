/* Lines, functions and branches, some of which the tests run: see test_coverage.py. */
typedef __SIZE_TYPE__ size_t;
static inline int clamp(int v, int lo, int hi)
{
    if (v < lo)
        return lo;
    if (v > hi)
        return hi;
    return v;
}

int classify(int n)
{
    switch (n) {
    case 0:
        return 10;
    case 1:
        return 11;
    case 2:
        return 12;
    case 3:
        return 13;
    case 7:
        return 17;
    default:
        break;
    }
    if (n < 0 && n != -5)
        return -1;
    return clamp(n, 5, 100);
}

int sum(const int *v, size_t n)
{
    int total = 0;
    for (size_t i = 0; i < n; i++) {
        if (v[i] == 13)
            continue;
        total += v[i];
    }
    return total;
}

int never(int x)
{
    int y = x * 2;
    return y + 1;
}

int faulty(int *p)
{
    int before = 1;
    *p = before;
    before += 2;
    return before;
}

static int helper(int (*f)(int), int n) { return f(n) + 1; }

int indirect(int n)
{
    int r = helper(classify, n);
    while (r > 1000)
        r /= 2;
    return r;
}
