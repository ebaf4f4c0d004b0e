#include "shared.h"

struct Starts {
    Starts() { throws(1); }
};
static Starts starts;
