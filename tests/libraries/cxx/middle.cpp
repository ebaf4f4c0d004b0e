#include "shared.h"

extern "C" {
int cleaned;

int through(int (*function)(int), int what)
{
    Guard guard(&cleaned);
    Guard other(&cleaned);
    return function(what) + 1000;
}

// Catches, looks, and throws on.
int rethrows(int what)
{
    try {
        return throws(what);
    } catch (int number) {
        throw;
    } catch (const Problem &problem) {
        throw Problem(problem.code + 1);
    }
}

// What an exception specification forbids ends in std::terminate.
int forbids(int what) noexcept { return throws(what); }
}
