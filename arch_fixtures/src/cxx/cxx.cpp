// C++ without exceptions or RTTI: mangled names, vtables (arrays of relocated words), a static object with a
// constructor and a destructor, templates, operator new.
#include "fixture.h"

extern "C" int my_host_function(int value);
extern "C" int __cxa_atexit(void (*function)(void *), void *argument, void *handle);
// The compiler's start files would define it; it identifies the library to __cxa_finalize.
extern "C" { __attribute__((visibility("hidden"))) void *__dso_handle = &__dso_handle; }
void *operator new(size_t size);
void operator delete(void *pointer) noexcept;
void operator delete(void *pointer, size_t size) noexcept;

namespace shapes {
struct Shape {
    virtual ~Shape() {}
    virtual int area() const = 0;
    virtual int sides() const { return 0; }
};
struct Square : Shape {
    explicit Square(int side) : side(side) {}
    int area() const override { return side * side; }
    int sides() const override { return 4; }
    int side;
};
struct Rectangle final : Square {
    Rectangle(int width, int height) : Square(width), height(height) {}
    int area() const override { return my_host_function(side * height); }
    int height;
};
int area_of(const Shape &shape) { return shape.area(); }
Shape *make(int kind, int size) {
    if (kind == 0) return new Square(size);
    return new Rectangle(size, size + 1);
}
template <typename T> T largest(T left, T right) { return left < right ? right : left; }
template int largest<int>(int, int);
template double largest<double>(double, double);
}  // namespace shapes

static volatile int seed = 5;
int constructed, destructed;
struct Global {
    Global() : value(seed * 2) { constructed++; }
    ~Global() { destructed++; }
    int value;
};
Global global_object;

extern "C" int area_through_vtable(int kind, int size) {
    shapes::Shape *shape = shapes::make(kind, size);
    int area = shape->area() * 10 + shape->sides();
    delete shape;
    return area;
}
extern "C" int global_value() { return global_object.value; }
inline int &inline_counter() { static int counter = 100; return counter; }
extern "C" int next_inline() { return ++inline_counter(); }
