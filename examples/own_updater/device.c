/* A device around the updater. Packages come in through a UART, and are installed on trial: a version that passes its
 * self-test is confirmed; one that fails, or hangs until the watchdog resets the device, is rolled back. */

#include "updater.h"

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define UART_DATA REGISTER(0x40000000)
#define UART_READABLE (REGISTER(0x40000004) & 1)
#define WATCHDOG_KEY REGISTER(0x40001000)
#define WATCHDOG_PERIOD REGISTER(0x40001004)
#define FLASH_ADDRESS REGISTER(0x40002000)
#define FLASH_DATA REGISTER(0x40002004)
#define FLASH_COMMAND REGISTER(0x40002008)
#define FLASH_BUSY REGISTER(0x4000200C)
#define VERIFIER_ADDRESS REGISTER(0x40003000)
#define VERIFIER_SIZE REGISTER(0x40003004)
#define VERIFIER_ABOVE REGISTER(0x40003008)
#define VERIFIER_VERSION REGISTER(0x4000300C)
enum { START = 0xCCCC, FEED = 0xAAAA, PROGRAM = 1, ERASE = 2, PERIOD = 300000, PATIENCE = 1000, FIFO = 16 };

/* Link the module in flash, and run its self-test: given by the simulator. */
int self_test(uint32_t image);

static uint8_t package[SLOT - PAGE];

static void feed(void) { WATCHDOG_KEY = FEED; }

static void print(const char *text)
{
    while (*text)
        UART_DATA = (uint8_t)*text++;
}

static void print_number(uint32_t number)
{
    if (number > 9)
        print_number(number / 10);
    UART_DATA = '0' + number % 10;
}

static void finish(uint32_t command)
{
    feed();
    FLASH_COMMAND = command;
    while (FLASH_BUSY) {
        for (volatile int i = 0; i < 500; i++)
            ;
        if (FAULT != STARVES_WATCHDOG)
            feed();
    }
}

void flash_program(uint32_t at, const void *from, uint32_t size)
{
    const uint8_t *bytes = from;
    FLASH_ADDRESS = at;
    for (uint32_t i = 0; i < size; i += 4)
        FLASH_DATA = bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | (uint32_t)bytes[i + 3] << 24;
    finish(PROGRAM);
}

void flash_erase(uint32_t at, uint32_t size)
{
    for (uint32_t sector = at; sector < at + size; sector += SECTOR) {
        FLASH_ADDRESS = sector;
        finish(ERASE);
    }
}

/* Receive the package's bytes from one place to another, asking for as many as the UART can hold with a full stop; 0
 * when none come for too long. */
static int receive(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        if (i % FIFO == 0) {
            print(".");
            feed();
        }
        for (int polls = 0; !UART_READABLE; polls++)
            if (polls == PATIENCE)
                return 0;
        package[i] = (uint8_t)UART_DATA;
    }
    return 1;
}

/* Install the package that is being sent: its size in four bytes, and the package. */
static void update(uint32_t version)
{
    uint32_t size = 0, whole;
    while (UART_READABLE)                            /* what is left of the last one */
        UART_DATA;
    if (!receive(0, 4))
        return;
    for (int i = 0; i < 4; i++)
        size |= (uint32_t)package[i] << 8 * i;
    if (size > sizeof package - 4 || !receive(4, 4 + size)) {
        print("refused\n");
        return;
    }
    for (whole = size + 4; whole % PAGE; whole++)
        package[whole] = 0;
    VERIFIER_ABOVE = version;
    VERIFIER_SIZE = size;
    VERIFIER_ADDRESS = (uint32_t)(uintptr_t)(package + 4);
    if (VERIFIER_VERSION)
        install_image(VERIFIER_VERSION, whole, package, TRIAL);
    else
        print("refused\n");
}

static void roll_back(uint32_t slot)
{
    commit(!slot, CONFIRMED);
    print("rolled back\n");
}

static void try_version(uint32_t slot)
{
    if (FAULT == CONFIRMS_FIRST)
        commit(slot, CONFIRMED);
    else if (FAULT != TRIES_AGAIN)
        commit(slot, TRIED);
    feed();
    if (!self_test(image_address()))
        roll_back(slot);
    else if (FAULT != CONFIRMS_FIRST)
        commit(slot, CONFIRMED);
}

/* Where the device starts after power-on, and after the watchdog. */
void start(void)
{
    WATCHDOG_PERIOD = PERIOD;
    WATCHDOG_KEY = START;
    for (;;) {
        feed();
        struct active now = active();
        if (now.state == TRIED)
            roll_back(now.slot);
        else if (now.state == TRIAL)
            try_version(now.slot);
        feed();
        now = active();
        print("ready ");
        print_number(now.version);
        print("\n");
        update(now.version);
    }
}
