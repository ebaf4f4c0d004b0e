#include "objects/comdat.hpp"
extern "C" int next_a() { return shared_counter() + 1; }
extern "C" int box_a(int value) {
    Box<int> box(value);
    const Box<int> *volatile pointer = &box;
    return pointer->get() * 100 + Box<int>::count;
}
