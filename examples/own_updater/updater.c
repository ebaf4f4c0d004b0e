/* An updater for two slots of flash: the new image goes to the slot that is not in use, and a record in the journal
 * makes it the active one. -DFAULT=n builds it with one of the mistakes that such updaters have. */

#include <stdint.h>

#ifndef SECTOR_SIZE
#define SECTOR_SIZE 256
#define PAGE_SIZE 64
#endif
enum { SECTOR = SECTOR_SIZE, SLOT = 2 * SECTOR, JOURNAL = 2 * SLOT, PAGE = PAGE_SIZE, MAGIC = 0x55504454 };
enum { SOUND, COMMIT_FIRST, LATE_FLUSH, NO_CHECKSUM, TRUSTS_ERASE, FORGETS_JOURNAL, ENDLESS };
#ifndef FAULT
#define FAULT SOUND
#endif

extern void flash_read(uint32_t at, void *to, uint32_t size);
extern void flash_program(uint32_t at, const void *from, uint32_t size);
extern void flash_erase(uint32_t at, uint32_t size);

struct header { uint32_t magic, version, size, checksum; };
struct record { uint32_t sequence, slot, checksum, end; };

static uint32_t checksum(uint32_t sum, const void *data, uint32_t size)
{
    const uint8_t *bytes = data;
    while (size--) {
        sum ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (0xEDB88320u & -(sum & 1));
    }
    return sum;
}

/* The newest valid record, and where the next one goes. Two sectors take turns: the one that is full stays as it is
 * until the other has a record. */
static struct record newest(uint32_t *next, int *full)
{
    struct record found = { 0, 0, 0, 0 }, each;
    uint32_t sector = 0, used[2] = { 0, 0 };
    for (uint32_t at = 0; at < 2 * SECTOR; at += sizeof each) {
        flash_read(JOURNAL + at, &each, sizeof each);
        if ((each.sequence & each.slot & each.checksum & each.end) == 0xFFFFFFFF)
            continue;                                /* erased */
        used[at / SECTOR] = at % SECTOR + sizeof each;
        int valid = FAULT == NO_CHECKSUM || each.checksum == checksum(1, &each, 8);
        if (valid && each.sequence >= found.sequence) {
            found = each;
            sector = at / SECTOR;
        }
    }
    *full = used[sector] == SECTOR;
    *next = JOURNAL + (*full ? !sector * SECTOR : sector * SECTOR + used[sector]);
    return found;
}

static void commit(uint32_t slot)
{
    uint32_t next;
    int full;
    struct record record = newest(&next, &full);
    if (full) {
        if (FAULT == FORGETS_JOURNAL)
            flash_erase(JOURNAL, 2 * SECTOR);        /* the old records go before the new one is there */
        else
            flash_erase(next, SECTOR);
    }
    record.sequence++;
    record.slot = slot;
    record.checksum = checksum(1, &record, 8);
    record.end = 0;
    flash_program(next, &record, sizeof record);
}

/* The version in a slot; 0 for an image that is not whole. */
static uint32_t version_in(uint32_t slot)
{
    struct header header;
    uint8_t page[PAGE];
    uint32_t sum = 1;
    flash_read(slot * SLOT, &header, sizeof header);
    if (header.magic != MAGIC || header.size > SLOT - PAGE)
        return 0;
    for (uint32_t at = 0; at < header.size; at += PAGE) {
        flash_read(slot * SLOT + PAGE + at, page, PAGE);
        sum = checksum(sum, page, PAGE);
    }
    return sum == header.checksum ? header.version : 0;
}

/* What a bootloader does: the version that runs, or 0 for a device that does not start. */
uint32_t boot(void)
{
    uint32_t next;
    int full;
    struct record record = newest(&next, &full);
    return record.sequence && record.slot < 2 ? version_in(record.slot) : 0;
}

/* Where the image of the active slot begins; 0 if the device does not start. */
uint32_t image_address(void)
{
    uint32_t next;
    int full;
    return boot() ? newest(&next, &full).slot * SLOT + PAGE : 0;
}

/* A page of an image; without one, of an image that this makes for its version. */
static void make(uint8_t *page, const uint8_t *image, uint32_t version, uint32_t at)
{
    for (uint32_t i = 0; i < PAGE; i++)
        page[i] = image ? image[at + i] : (uint8_t)(version * 37 + (at + i) * 11);
}

static int is_erased(uint32_t at, uint32_t size)
{
    uint32_t word;
    for (uint32_t i = 0; i < size; i += 4) {
        flash_read(at + i, &word, 4);
        if (word != 0xFFFFFFFF)
            return 0;
        if (FAULT == TRUSTS_ERASE)
            return 1;                                /* the first word speaks for all */
    }
    return 1;
}

/* Install an image of `size` bytes, a multiple of PAGE, in the slot that is not active. */
void install_image(uint32_t version, uint32_t size, const uint8_t *image)
{
    uint32_t next, sum = 1;
    uint8_t page[PAGE], last[PAGE];
    int full;
    struct record active = newest(&next, &full);
    uint32_t slot = active.sequence ? !active.slot : 0, base = slot * SLOT;
    if (FAULT == COMMIT_FIRST)
        commit(slot);
    while (FAULT == ENDLESS && is_erased(base, 4) && !is_erased(base, SECTOR))
        flash_erase(base + SECTOR, SECTOR);          /* a torn erase is repeated, on the wrong sector */
    for (uint32_t at = 0; at < SLOT; at += SECTOR)
        if (FAULT != TRUSTS_ERASE || !is_erased(base + at, SECTOR))
            flash_erase(base + at, SECTOR);
    for (uint32_t at = 0; at < size; at += PAGE) {
        make(page, image, version, at);
        sum = checksum(sum, page, PAGE);
        if (FAULT == LATE_FLUSH && at + PAGE == size)
            make(last, image, version, at);                 /* kept back in a buffer */
        else
            flash_program(base + PAGE + at, page, PAGE);
    }
    struct header header = { MAGIC, version, size, sum };
    flash_program(base, &header, sizeof header);
    if (FAULT != COMMIT_FIRST)
        commit(slot);
    if (FAULT == LATE_FLUSH)
        flash_program(base + PAGE + size - PAGE, last, PAGE);
}

/* Install an image that is made for its version. */
void install(uint32_t version, uint32_t size) { install_image(version, size, 0); }
