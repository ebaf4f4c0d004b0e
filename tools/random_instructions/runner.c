/* Runs single instructions on the states it is given: random_instructions/reference.py makes the files.

   runner code.bin tests.bin results.bin slot thumb

   code.bin is a stub that loads all registers from the data page, has room for an instruction at `slot`, stores
   them back and jumps to where the data page's first word says. A test is 16 bytes of code and the data; a result is
   the number of the signal, or 0, in 16 bytes and the data afterwards. */

#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { CODE = 0x10000000, DATA = 0x20000000, REGION = 0x10000, SLOT = 16, KEPT = 0x2000 };

static sigjmp_buf start;

static void back(void) { siglongjmp(start, 64); }

static void caught(int number) { siglongjmp(start, number); }

static void *region(uintptr_t address, int protection)
{
    return mmap((void *)address, REGION, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

int main(int count, char **arguments)
{
    static char test[SLOT + KEPT], other_stack[1 << 16];
    const int numbers[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGSYS};
    char *code = region(CODE, PROT_READ | PROT_WRITE | PROT_EXEC), *data = region(DATA, PROT_READ | PROT_WRITE);
    FILE *stub = fopen(arguments[1], "rb"), *tests = fopen(arguments[2], "rb"), *results = fopen(arguments[3], "wb");
    const size_t slot = strtoul(arguments[4], 0, 0), entry = CODE + strtoul(arguments[5], 0, 0);
    void (*const again)(void) = back;

    if (count != 6 || code == MAP_FAILED || data == MAP_FAILED || !fread(code, 1, REGION, stub))
        return 1;
    sigaltstack(&(stack_t){.ss_sp = other_stack, .ss_size = sizeof other_stack}, 0);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &(struct sigaction){.sa_handler = caught, .sa_flags = SA_ONSTACK | SA_NODEFER}, 0);
    while (fread(test, sizeof test, 1, tests)) {
        uint32_t result[4] = {0};
        memcpy(code + slot, test, SLOT);
        __builtin___clear_cache(code, code + REGION);
        memcpy(data, test + SLOT, KEPT);
        memcpy(data, &again, sizeof again);
        int number = sigsetjmp(start, 0);
        if (!number)
            ((void (*)(void))entry)();
        fesetenv(FE_DFL_ENV);
        result[0] = number == 64 ? 0 : number;
        fwrite(result, sizeof result, 1, results);
        fwrite(data, KEPT, 1, results);
        fflush(results);
    }
    return fclose(results);
}
