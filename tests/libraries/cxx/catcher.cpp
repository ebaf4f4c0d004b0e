#include "shared.h"

extern "C" {
int rethrows(int what);
int forbids(int what);
int last_length;

static int caught(int (*function)(int), int what)
{
    try {
        return through(function, what);
    } catch (int number) {
        return number;
    } catch (const std::exception &error) {
        const char *text = error.what();
        for (last_length = 0; text[last_length]; ++last_length) {}
        return 2000;
    } catch (const Problem &problem) {
        return 3000 + 100 * problem.kind() + problem.code;
    } catch (const Inline &value) {
        return 4000 + value.twice();
    } catch (...) {
        return 5000;
    }
}

int catches(int what) { return caught(throws, what); }
int catches_rethrown(int what) { return caught(rethrows, what); }
int terminates(int what) { return forbids(what); }

const char *what_of(int what)
{
    static char copy[64];
    try {
        throws(what);
    } catch (const std::runtime_error &error) {
        const char *text = error.what();
        int at = 0;
        do copy[at] = text[at]; while (text[at++]);
        return copy;
    }
    return 0;
}

// dynamic_cast, down, across and in vain; typeid of what another image made.
int casts(void)
{
    Inline *value = made(7), plain(1);
    Worse *down = dynamic_cast<Worse *>(value);
    Problem *across = dynamic_cast<Problem *>(value);
    int found = (down != 0) | (across != 0) << 1 | (dynamic_cast<Worse *>(&plain) == 0) << 2;
    found |= (typeid(*value) == typeid(Worse)) << 3 | (typeid(plain) == typeid(Inline)) << 4;
    found |= (across->kind() == 2 && down->code == 7 && value->twice() == 16) << 5;
    delete value;
    return found;
}

// Nested: an exception thrown and caught while another is on its way.
struct Noisy {
    int *sum;
    ~Noisy()
    {
        try {
            throws(1);
        } catch (int number) {
            *sum += number;
        }
    }
};

int nested(void)
{
    int sum = 0;
    try {
        Noisy noisy{&sum};
        throws(3);
    } catch (const Problem &problem) {
        sum += problem.code;
    }
    return sum;
}
}
