/* random and its kin, with glibc's numbers: additive feedback on a table that the caller may provide (five sizes), and
   the 48-bit generator on the caller's state. Layouts: glibc, stdlib/stdlib.h. */
#include "types.h"

typedef struct { i32 *front, *rear, *table; int kind, degree, separation; i32 *end; } random_data;
typedef struct { u16 x[3], old[3], c, ready; u64 a; } drand48_data;

extern int *__errno_location(void);
#define EINVAL 22
#define MULTIPLIER 0x5deece66du /* of the 48-bit generator */

static const struct { size bytes; int degree, separation; } kinds[] = {{8, 0, 0}, {32, 7, 3}, {64, 15, 1}, {128, 31, 3}, {256, 63, 1}};

static int invalid(void) {
    *__errno_location() = EINVAL;
    return -1;
}

int random_r(random_data *data, i32 *result) {
    if (!data || !result)
        return invalid();
    if (!data->kind) {
        *result = data->table[0] = (i32)((u32)data->table[0] * 1103515245u + 12345u & 0x7fffffff);
        return 0;
    }
    u32 value = (u32)*data->front + (u32)*data->rear;
    *data->front = (i32)value;
    *result = (i32)(value >> 1);
    data->front = data->front + 1 < data->end ? data->front + 1 : data->table;
    data->rear = data->rear + 1 < data->end ? data->rear + 1 : data->table;
    return 0;
}

int srandom_r(unsigned seed, random_data *data) {
    if (!data || (unsigned)data->kind > 4)
        return -1;
    i32 word = (i32)(seed ? seed : 1), discarded;
    data->table[0] = word;
    if (!data->kind)
        return 0;
    for (int i = 1; i < data->degree; i++) {
        word = (i32)(16807 * (u32)(word % 127773) - 2836 * (u32)(word / 127773));
        data->table[i] = word = word < 0 ? word + 2147483647 : word;
    }
    data->front = data->table + data->separation;
    data->rear = data->table;
    for (int i = 0; i < 10 * data->degree; i++)
        random_r(data, &discarded);
    return 0;
}

/* The word before the table has its kind and the place in it, for setstate. */
static void note(random_data *data) {
    data->table[-1] = data->kind ? 5 * (i32)(data->rear - data->table) + data->kind : 0;
}

int initstate_r(unsigned seed, char *state, size bytes, random_data *data) {
    if (!data || !state)
        return invalid();
    if (data->table)
        note(data);
    if (bytes < kinds[0].bytes)
        return invalid();
    int kind = 4;
    while (bytes < kinds[kind].bytes)
        kind--;
    i32 *table = (i32 *)(void *)state + 1;
    *data = (random_data){table, table, table, kind, kinds[kind].degree, kinds[kind].separation, table + kinds[kind].degree};
    srandom_r(seed, data);
    note(data);
    return 0;
}

int setstate_r(char *state, random_data *data) {
    if (!data || !state)
        return invalid();
    i32 *table = (i32 *)(void *)state + 1;
    if (data->table)
        note(data);
    int kind = table[-1] % 5, place = table[-1] / 5;
    if (table[-1] < 0 || place > kinds[kind].degree)
        return invalid();
    *data = (random_data){table, table, table, kind, kinds[kind].degree, kinds[kind].separation, table + kinds[kind].degree};
    if (kind) {
        data->rear = table + place;
        data->front = table + (place + data->separation) % data->degree;
    }
    return 0;
}

static i32 first[32];
static random_data own;

static random_data *process(void) {
    if (!own.table)
        initstate_r(1, (char *)first, sizeof first, &own);
    return &own;
}

long random(void) {
    i32 result = 0;
    random_r(process(), &result);
    return result;
}

int rand(void) { return (int)random(); }
void srandom(unsigned seed) { srandom_r(seed, process()); }
void srand(unsigned) ALIAS("srandom");

char *initstate(unsigned seed, char *state, size bytes) {
    char *before = (char *)(process()->table - 1);
    return initstate_r(seed, state, bytes, &own) ? 0 : before;
}

char *setstate(char *state) {
    char *before = (char *)(process()->table - 1);
    return setstate_r(state, &own) ? 0 : before;
}

static u64 step(u16 x[3], drand48_data *data) {
    if (!data->ready)
        data->a = MULTIPLIER, data->c = 11, data->ready = 1;
    u64 value = (x[0] | (u64)x[1] << 16 | (u64)x[2] << 32) * data->a + data->c;
    x[0] = (u16)value, x[1] = (u16)(value >> 16), x[2] = (u16)(value >> 32);
    return value & 0xffffffffffffu;
}

int erand48_r(u16 x[3], drand48_data *data, double *result) {
    *result = (double)(i64)step(x, data) / 281474976710656.0;
    return 0;
}

int nrand48_r(u16 x[3], drand48_data *data, long *result) {
    *result = (long)(step(x, data) >> 17);
    return 0;
}

int jrand48_r(u16 x[3], drand48_data *data, long *result) {
    *result = (i32)(step(x, data) >> 16);
    return 0;
}

int drand48_r(drand48_data *data, double *result) { return erand48_r(data->x, data, result); }
int lrand48_r(drand48_data *data, long *result) { return nrand48_r(data->x, data, result); }
int mrand48_r(drand48_data *data, long *result) { return jrand48_r(data->x, data, result); }

static void choose(drand48_data *data, u64 a, u16 c) { data->a = a, data->c = c, data->ready = 1; }

int srand48_r(long seed, drand48_data *data) {
    data->x[0] = 0x330e, data->x[1] = (u16)seed, data->x[2] = (u16)(seed >> 16);
    choose(data, MULTIPLIER, 11);
    return 0;
}

int seed48_r(u16 seed[3], drand48_data *data) {
    for (int i = 0; i < 3; i++)
        data->old[i] = data->x[i], data->x[i] = seed[i];
    choose(data, MULTIPLIER, 11);
    return 0;
}

int lcong48_r(u16 parameters[7], drand48_data *data) {
    for (int i = 0; i < 3; i++)
        data->x[i] = parameters[i];
    choose(data, parameters[3] | (u64)parameters[4] << 16 | (u64)parameters[5] << 32, parameters[6]);
    return 0;
}
