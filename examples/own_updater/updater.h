#include <stdint.h>

#ifndef SECTOR_SIZE
#define SECTOR_SIZE 256
#define PAGE_SIZE 64
#endif
enum { SECTOR = SECTOR_SIZE, SLOT = 2 * SECTOR, JOURNAL = 2 * SLOT, PAGE = PAGE_SIZE, MAGIC = 0x55504454 };

/* Mistakes, of the updater and of the device (device.c). */
enum {
    SOUND, COMMIT_FIRST, LATE_FLUSH, NO_CHECKSUM, TRUSTS_ERASE, FORGETS_JOURNAL, ENDLESS, TIDIES_UP,
    STARVES_WATCHDOG, CONFIRMS_FIRST, TRIES_AGAIN
};
#ifndef FAULT
#define FAULT SOUND
#endif

/* Flash: read as memory, changed by functions of the board. */
extern const uint8_t flash_memory[];
static inline void flash_read(uint32_t at, void *to, uint32_t size)
{
    uint8_t *bytes = to;
    while (size--)
        *bytes++ = flash_memory[at++];
}
void flash_program(uint32_t at, const void *from, uint32_t size);
void flash_erase(uint32_t at, uint32_t size);

/* A version on trial gets one start (TRIED) in which it has to be confirmed. */
enum state { CONFIRMED, TRIAL, TRIED };
struct active { uint32_t slot, state, version; };

struct active active(void);
uint32_t boot(void);
uint32_t image_address(void);
void commit(uint32_t slot, enum state state);
void install_image(uint32_t version, uint32_t size, const uint8_t *image, enum state state);
