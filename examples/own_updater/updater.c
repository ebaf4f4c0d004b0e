/* An updater for two slots of flash: the new image goes to the slot that is not in use, and a record in the journal
 * makes it the active one, at once or on trial. -DFAULT=n builds it with one of the mistakes that updaters have. */

#include "updater.h"

struct header { uint32_t magic, version, size, checksum; };
struct record { uint32_t sequence, slot, state, checksum; };

/* The journal: the newest valid record, where the next one goes, whether that is a sector that has to be erased, and
 * whether there is a torn record. Two sectors take turns: one that is full stays until the other has a record. */
struct journal { struct record record; uint32_t next; int full, torn; };

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

static struct journal read_journal(void)
{
    struct journal found = { { 0, 0, 0, 0 }, 0, 0, 0 };
    struct record each;
    uint32_t sector = 0, used[2] = { 0, 0 };
    for (uint32_t at = 0; at < 2 * SECTOR; at += sizeof each) {
        flash_read(JOURNAL + at, &each, sizeof each);
        if ((each.sequence & each.slot & each.state & each.checksum) == 0xFFFFFFFF)
            continue;                                /* erased */
        used[at / SECTOR] = at % SECTOR + sizeof each;
        if (FAULT != NO_CHECKSUM && each.checksum != checksum(1, &each, 12)) {
            found.torn = 1;
        } else if (each.sequence >= found.record.sequence) {
            found.record = each;
            sector = at / SECTOR;
        }
    }
    found.full = used[sector] == SECTOR;
    found.next = JOURNAL + (found.full ? !sector * SECTOR : sector * SECTOR + used[sector]);
    return found;
}

void commit(uint32_t slot, enum state state)
{
    struct journal journal = read_journal();
    struct record record = { journal.record.sequence + 1, slot, state, 0 };
    if (FAULT == TIDIES_UP && journal.torn) {        /* a torn record: both sectors are begun anew */
        flash_erase(JOURNAL, 2 * SECTOR);
        journal.next = JOURNAL;
    } else if (journal.full && FAULT == FORGETS_JOURNAL) {
        flash_erase(JOURNAL, 2 * SECTOR);            /* the old records go before the new one is there */
    } else if (journal.full) {
        flash_erase(journal.next, SECTOR);
    }
    record.checksum = checksum(1, &record, 12);
    flash_program(journal.next, &record, sizeof record);
}

/* The version in a slot; 0 for an image that is not whole. */
static uint32_t version_in(uint32_t slot)
{
    struct header header;
    uint8_t page[PAGE];
    uint32_t sum = 1;
    if (slot > 1)
        return 0;
    flash_read(slot * SLOT, &header, sizeof header);
    if (header.magic != MAGIC || header.size > SLOT - PAGE)
        return 0;
    for (uint32_t at = 0; at < header.size; at += PAGE) {
        flash_read(slot * SLOT + PAGE + at, page, PAGE);
        sum = checksum(sum, page, PAGE);
    }
    return sum == header.checksum ? header.version : 0;
}

/* What the journal says: which slot is active, and the version in it; 0 for a device that does not start. */
struct active active(void)
{
    struct record record = read_journal().record;
    struct active found = { record.slot, record.state, record.sequence ? version_in(record.slot) : 0 };
    return found;
}

uint32_t boot(void) { return active().version; }

/* Where the image of the active slot begins; 0 if the device does not start. */
uint32_t image_address(void)
{
    struct active now = active();
    return now.version ? now.slot * SLOT + PAGE : 0;
}

/* A page of an image; without one, of an image that this makes for its version. */
static void make(uint8_t *page, const uint8_t *image, uint32_t version, uint32_t at)
{
    for (uint32_t i = 0; i < PAGE; i++)
        page[i] = image ? image[at + i] : (uint8_t)(version * 37 + (at + i) * 11);
}

static int is_erased(uint32_t at, uint32_t size)
{
    for (uint32_t i = 0; i < (FAULT == TRUSTS_ERASE ? 4 : size); i++)    /* the first word speaks for all */
        if (flash_memory[at + i] != 0xFF)
            return 0;
    return 1;
}

/* Install an image of `size` bytes, a multiple of PAGE, in the slot that is not active. */
void install_image(uint32_t version, uint32_t size, const uint8_t *image, enum state state)
{
    uint32_t sum = 1;
    uint8_t page[PAGE], last[PAGE];
    struct record now = read_journal().record;
    uint32_t slot = now.sequence ? !now.slot : 0, base = slot * SLOT;
    if (FAULT == COMMIT_FIRST)
        commit(slot, state);
    while (FAULT == ENDLESS && is_erased(base, 4) && !is_erased(base, SECTOR))
        flash_erase(base + SECTOR, SECTOR);          /* a torn erase is repeated, on the wrong sector */
    for (uint32_t at = 0; at < SLOT; at += SECTOR)
        if (!is_erased(base + at, SECTOR))
            flash_erase(base + at, SECTOR);
    for (uint32_t at = 0; at < size; at += PAGE) {
        make(page, image, version, at);
        sum = checksum(sum, page, PAGE);
        if (FAULT == LATE_FLUSH && at + PAGE == size)
            make(last, image, version, at);          /* kept back in a buffer */
        else
            flash_program(base + PAGE + at, page, PAGE);
    }
    struct header header = { MAGIC, version, size, sum };
    flash_program(base, &header, sizeof header);
    if (FAULT != COMMIT_FIRST)
        commit(slot, state);
    if (FAULT == LATE_FLUSH)
        flash_program(base + PAGE + size - PAGE, last, PAGE);
}

/* Install an image that is made for its version. */
void install(uint32_t version, uint32_t size) { install_image(version, size, 0, CONFIRMED); }
