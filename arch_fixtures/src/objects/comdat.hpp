// What two translation units both define and a link keeps once.
#include "fixture.h"
extern "C" int my_host_function(int value);
template <typename T> struct Box {
    explicit Box(T value) : value(value) { count++; }
    virtual ~Box() {}
    virtual T get() const { return value + my_host_function(1); }
    T value;
    static int count;
};
template <typename T> int Box<T>::count = 0;
inline int shared_counter() { static int counter = 10; return ++counter; }
void operator delete(void *pointer, size_t size) noexcept;
