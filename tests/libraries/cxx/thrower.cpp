#include "shared.h"

Problem::~Problem() {}
int Problem::kind() const { return 1; }
int Worse::kind() const { return 2; }

extern "C" int throws(int what)
{
    switch (what) {
    case 1: throw 42;
    case 2: throw std::runtime_error("the thrower is at fault");
    case 3: throw Problem(30);
    case 4: throw Worse(40);
    case 5: throw Inline(50);
    case 6: throw "a literal";
    }
    return what;
}

extern "C" Inline *made(int value) { return new Worse(value); }
