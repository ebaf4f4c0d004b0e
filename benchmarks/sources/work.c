/* Loops that are timed: `unsigned work(unsigned rounds)`, one kind of work by WORK; a program with PROGRAM defined. */
#include "loops.c"

static uint32_t state[8], constants[64];
static uint8_t data[4096];

static inline uint32_t counting(uint32_t rounds) { return count(rounds); }
static inline uint32_t crc(uint32_t rounds)
{
    uint32_t sum = 0;
    while (rounds--)
        sum = crc32(sum, data, sizeof data);
    return sum;
}
static inline uint32_t sha(uint32_t rounds)
{
    while (rounds--)
        sha256(state, constants, data, sizeof data / 64);
    return state[0];
}
static inline uint32_t calling(uint32_t rounds)
{
    uint32_t sum = 0;
    while (rounds--)
        sum += call_deeply(rounds & 15);
    return sum;
}
static inline uint32_t floats(uint32_t rounds)
{
    volatile double seed = 2.0;
    double sum = 0, x = seed;
    while (rounds--) {
        x = 0.5 * (x + 3.0 / x);
        sum = sum * 0.75 + x;
    }
    return (uint32_t)(1000 * sum);
}
static inline uint32_t nothing(uint32_t rounds) { return rounds; }

uint32_t work(uint32_t rounds) { return WORK(rounds); }

#ifdef PROGRAM
#include "start.h"
int host(int value) { return value; }
void begin(word *stack, word at_exit)
{
    volatile uint32_t rounds = PROGRAM;
    volatile uint32_t result = work(rounds);
    (void)result;
    kernel(EXIT, 0, 0, 0);
}
#endif
