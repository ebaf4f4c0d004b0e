/* A small library of one's own: a ring buffer, a checksum, a filter, callbacks, and what C passes by value. */
#ifndef OWN_H
#define OWN_H

#include <stddef.h>
#include <stdint.h>

#define OWN_CAPACITY 8

struct point { int x, y; };
struct segment { struct point from, to; };
typedef struct { double re, im; } complex_t;
typedef struct { float q[4]; } quaternion;
enum level { QUIET, NORMAL = 5, LOUD = 11 };

struct ring {
    uint16_t head, tail;
    uint8_t data[OWN_CAPACITY];
};

struct filter {
    float gain, state;
    unsigned order : 4, clipped : 1;
};

struct record {
    const struct record *next;
    const char *name;
    struct point place;
    char tag[8];
};

union word { uint32_t bits; float value; uint8_t bytes[4]; };

typedef int (*visitor)(struct point where, void *context);

extern struct point origin;
extern int table[5];
extern const struct record records[2];

int add(int a, int b);
struct point moved(struct point p, int dx, int dy);
long long area(struct segment box);
complex_t product(complex_t a, complex_t b);
quaternion conjugate(quaternion q);
float _Complex turned(float _Complex z);
union word as_word(float value);
int volume(enum level level);

int ring_put(struct ring *ring, uint8_t byte);
int ring_get(struct ring *ring);
uint32_t crc32(const void *data, size_t size);
float filter_step(struct filter *filter, float input);
void scale(double *values, size_t count, double by);
int visit(const struct point *points, size_t count, visitor visitor, void *context);
int sum_points(int count, ...);
struct point asked(int n);

#endif
