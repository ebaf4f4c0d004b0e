// C++ with exceptions: language-specific data areas, a personality routine reached through data, typeinfo. The
// run time (libstdc++, libgcc) is imports: without it nothing can be thrown, and what is not thrown must work.
#include "fixture.h"

extern "C" int my_host_function(int value);

namespace {
struct Guard {
    explicit Guard(int *place) : place(place) { *place += 1; }
    ~Guard() { *place -= 1; }
    int *place;
};
}  // namespace

extern "C" {
int guards;

int guarded(int value) {
    Guard guard(&guards);
    return my_host_function(value) + guards;
}

int caught(int value) {
    try {
        Guard guard(&guards);
        if (value < 0) throw value;
        return my_host_function(value);
    } catch (int thrown) {
        return thrown;
    } catch (...) {
        return -1;
    }
}
}
