#include "objects/comdat.hpp"
extern "C" int next_b() { return shared_counter() + 2; }
extern "C" int box_b(int value) {
    Box<int> box(value);
    const Box<int> *volatile pointer = &box;
    return pointer->get() * 100 + Box<int>::count;
}
