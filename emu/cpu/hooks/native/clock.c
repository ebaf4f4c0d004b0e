/* A clock whose seconds are ticks of the processor's counter, in the place of clock_gettime
 * (emu.cpu.icicle.joined): between any two calls more than a minute of its seconds passes.
 */
#include "hook.h"

struct time {
    long seconds, nanoseconds;
};

HOOK int fast(int which, struct time *time)
{
    u64 ticks;
    (void)which;
#if defined(__x86_64__)
    ticks = __builtin_ia32_rdtsc();
#else
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
#endif
    time->seconds = (long)(ticks & ~0ul >> 2);
    time->nanoseconds = 0;
    return 0;
}
ENTRY(clock, fast)
