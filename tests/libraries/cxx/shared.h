// What the libraries of test_cxx_across_images share. No C++ headers: the declarations that the C++ ABI and
// libstdc++'s documented interface need are written out, so that any target's real libstdc++ serves.
#pragma once

namespace std {

class type_info {
public:
    virtual ~type_info();
    const char *name() const noexcept { return __name[0] == '*' ? __name + 1 : __name; }
    bool operator==(const type_info &other) const noexcept { return same(__name, other.__name); }
protected:
    const char *__name;
private:
    // libstdc++'s rule: one address, or one text unless it belongs to a local type.
    static bool same(const char *a, const char *b)
    {
        if (a == b) return true;
        if (*a == '*') return false;
        while (*a && *a == *b) ++a, ++b;
        return *a == *b;
    }
};

class exception {
public:
    exception() noexcept {}
    virtual ~exception() noexcept;
    virtual const char *what() const noexcept;
};

class runtime_error : public exception {
    const char *message;
public:
    explicit runtime_error(const char *);
    runtime_error(const runtime_error &) noexcept;
    ~runtime_error() noexcept override;
    const char *what() const noexcept override;
};

}  // namespace std

// A polymorphic type whose key function, and so vtable and type_info, lie in the thrower.
struct Problem {
    int code;
    explicit Problem(int code) : code(code) {}
    virtual ~Problem();
    virtual int kind() const;
};

// One that every library that uses it brings a copy of: vague linkage.
struct Inline {
    int value;
    explicit Inline(int value) : value(value) {}
    virtual ~Inline() {}
    virtual int twice() const { return 2 * value; }
};

struct Worse : Problem, Inline {
    explicit Worse(int code) : Problem(code), Inline(code + 1) {}
    int kind() const override;
};

// Counts its own destruction.
struct Guard {
    int *count;
    explicit Guard(int *count) : count(count) {}
    ~Guard() { ++*count; }
};

extern "C" {
int throws(int what);                       // thrower
Inline *made(int value);                    // thrower
int through(int (*function)(int), int what); // middle: a frame with something to clean up
extern int cleaned;                         // middle
}
