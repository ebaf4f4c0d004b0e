#include "own.h"

#include <stdarg.h>

struct point origin = {3, 4};
int table[5] = {1, 2, 3, 5, 8};
const struct record records[2] = {
    {0, "last", {5, 6}, "zz"},
    {&records[0], "first", {7, 8}, "aa"},
};
static int calls;

int add(int a, int b)
{
    calls++;
    return a + b;
}

struct point moved(struct point p, int dx, int dy)
{
    p.x += dx;
    p.y += dy;
    return p;
}

long long area(struct segment box)
{
    return (long long)(box.to.x - box.from.x) * (box.to.y - box.from.y);
}

complex_t product(complex_t a, complex_t b)
{
    complex_t result = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    return result;
}

quaternion conjugate(quaternion q)
{
    q.q[1] = -q.q[1];
    q.q[2] = -q.q[2];
    q.q[3] = -q.q[3];
    return q;
}

float _Complex turned(float _Complex z)
{
    float _Complex result;
    __real__ result = -__imag__ z;
    __imag__ result = __real__ z;
    return result;
}

union word as_word(float value)
{
    union word word;
    word.value = value;
    return word;
}

int volume(enum level level)
{
    return level * 10;
}

int ring_put(struct ring *ring, uint8_t byte)
{
    uint16_t next = (ring->head + 1) % OWN_CAPACITY;
    if (next == ring->tail)
        return 0;
    ring->data[ring->head] = byte;
    ring->head = next;
    return 1;
}

int ring_get(struct ring *ring)
{
    int byte;
    if (ring->head == ring->tail)
        return -1;
    byte = ring->data[ring->tail];
    ring->tail = (ring->tail + 1) % OWN_CAPACITY;
    return byte;
}

uint32_t crc32(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = 0xFFFFFFFF;
    while (size--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

float filter_step(struct filter *filter, float input)
{
    filter->state += filter->gain * (input - filter->state);
    if (filter->state > 1.0f) {
        filter->state = 1.0f;
        filter->clipped = 1;
    }
    return filter->state;
}

void scale(double *values, size_t count, double by)
{
    while (count--)
        *values++ *= by;
}

int visit(const struct point *points, size_t count, visitor visitor, void *context)
{
    int total = 0;
    while (count--)
        total += visitor(*points++, context);
    return total;
}

int sum_points(int count, ...)
{
    int total = 0;
    va_list list;
    va_start(list, count);
    while (count--) {
        struct point p = va_arg(list, struct point);
        total += p.x * 10 + p.y;
    }
    va_end(list);
    return total;
}

/* Answered by the host. */
extern struct point ask(struct point from, complex_t z, int n);

struct point asked(int n)
{
    complex_t z = {1.5, -2.0};
    return moved(ask(origin, z, n), 100, 200);
}

/* Kept as it is: compilers change how static functions are called, where they know all callers. */
__attribute__((noinline, used)) static int tripled(int n)
{
    calls++;
    return n * 3;
}

int thrice(int n)
{
    return tripled(n);
}
