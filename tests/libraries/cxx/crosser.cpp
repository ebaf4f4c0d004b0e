#include "shared.h"

// Exceptions that cross a function of the host: qsort, dlopen, and what Python answers.
extern "C" {
typedef __SIZE_TYPE__ size_t;
void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
void *dlopen(const char *, int);
int host_calls(int (*function)(int), int argument);

int guards;

static int compare(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    if (left == 13 || right == 13) throw Problem(13);
    return left - right;
}

int sorts(int unlucky)
{
    volatile int kept[4] = {101, 102, 103, 104};
    int values[] = {5, 4, 9, unlucky, 7, 1};
    try {
        Guard guard(&guards);
        qsort(values, 6, sizeof *values, compare);
    } catch (const Problem &problem) {
        return kept[0] + kept[1] + kept[2] + kept[3] + problem.code;
    }
    return values[0];
}

int opens(const char *path)
{
    try {
        Guard guard(&guards);
        return dlopen(path, 2) != 0;
    } catch (int number) {
        return 1000 + number;
    }
}

static int throws_below(int what)
{
    Guard guard(&guards);
    return throws(what);
}

// Guest, host, guest, host, guest: the innermost throws.
static int deeper(int what) { return host_calls(throws_below, what) + 10; }

int across_two(int what)
{
    try {
        return host_calls(deeper, what);
    } catch (int number) {
        return number + 1;
    } catch (const std::exception &) {
        return 2;
    }
}

// Caught between the two: the outer host function never hears of it.
static int catches_between(int what)
{
    try {
        return host_calls(throws_below, what);
    } catch (int number) {
        return number + 2;
    }
}

int across_one(int what) { return host_calls(catches_between, what); }

// What is thrown on from a handler crosses too.
static int throws_on(int what)
{
    try {
        return throws_below(what);
    } catch (int) {
        throw;
    }
}

int across_rethrown(int what)
{
    try {
        return host_calls(throws_on, what);
    } catch (int number) {
        return number + 3;
    }
}
}
