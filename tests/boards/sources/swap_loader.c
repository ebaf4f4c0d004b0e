/* A boot loader of our own with MCUboot's interface, to test the example's flash map, sweep and report: it swaps the two
 * slots sector by sector through the scratch area, and notes each step in the last sector of the secondary slot.
 * -DFAULT=1 makes it note that a sector is in the scratch area before it is there; -DBARE is for no C library. */

#include <stdint.h>
#include <string.h>

struct flash_area { uint8_t id, device; uint16_t padding; uint32_t offset, size; };
struct flash_sector { uint32_t offset, size; };

extern int flash_area_open(uint8_t id, const struct flash_area **area);
extern int flash_area_read(const struct flash_area *area, uint32_t at, void *to, uint32_t size);
extern int flash_area_write(const struct flash_area *area, uint32_t at, const void *data, uint32_t size);
extern int flash_area_erase(const struct flash_area *area, uint32_t at, uint32_t size);
extern int flash_area_get_sectors(int id, uint32_t *count, struct flash_sector *sectors);

#ifndef FAULT
#define FAULT 0
#endif
#ifdef BARE
void *memcpy(void *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((volatile uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((const volatile uint8_t *)a)[i] != ((const uint8_t *)b)[i])
            return 1;
    return 0;
}
#endif
enum { STEP = 8, STEPS = 3, MAX = 64, CHUNK = 64 };

static const uint8_t pending[STEP] = { 0x50, 0x45, 0x4E, 0x44, 0x49, 0x4E, 0x47, 0x21 };
static const uint8_t done[STEP];
static const struct flash_area *primary, *secondary, *scratch;
static struct flash_sector sectors[MAX];
static uint32_t count;

static int open_areas(void)
{
    count = MAX;
    return flash_area_open(1, &primary) || flash_area_open(2, &secondary) || flash_area_open(3, &scratch)
        || flash_area_get_sectors(1, &count, sectors);
}

/* Notes are in the trailer: "pending", then one for each step. */
static uint32_t note_at(uint32_t number) { return sectors[count - 1].offset + number * STEP; }

static int noted(uint32_t number, const uint8_t *note)
{
    uint8_t now[STEP];
    return !flash_area_read(secondary, note_at(number), now, STEP) && !memcmp(now, note, STEP);
}

static int is_noted(uint32_t number) { return noted(number, done); }

/* A note is written again when it was torn: 0 can be programmed over anything. */
static int note(uint32_t number) { return flash_area_write(secondary, note_at(number), done, STEP); }

static int copy(const struct flash_area *from, uint32_t at, const struct flash_area *to, uint32_t there, uint32_t size)
{
    uint8_t chunk[CHUNK];
    int error = flash_area_erase(to, there, size);
    for (uint32_t k = 0; k < size && !error; k += CHUNK)
        error = flash_area_read(from, at + k, chunk, CHUNK) || flash_area_write(to, there + k, chunk, CHUNK);
    return error;
}

int boot_set_pending(int permanent)
{
    (void)permanent;
    return open_areas() || flash_area_write(secondary, note_at(0), pending, STEP);
}

int boot_go(void *response)
{
    (void)response;
    if (open_areas())
        return -1;
    if (!noted(0, pending))
        return 0;
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint32_t at = sectors[i].offset, size = sectors[i].size, step = 1 + i * STEPS;
        if (!is_noted(step) && ((FAULT && note(step)) || copy(primary, at, scratch, 0, size) || (!FAULT && note(step))))
            return -1;
        if (!is_noted(step + 1) && (copy(secondary, at, primary, at, size) || note(step + 1)))
            return -1;
        if (!is_noted(step + 2) && (copy(scratch, 0, secondary, at, size) || note(step + 2)))
            return -1;
    }
    return 0;
}
