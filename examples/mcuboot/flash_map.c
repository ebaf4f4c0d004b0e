/* MCUboot's flash map over a flash model that is mapped in the guest's memory: reads stay in the guest, and the host
 * is called for what changes flash (flash_program, flash_erase). */

#include <stdint.h>
#include <string.h>

struct flash_area { uint8_t id, device; uint16_t padding; uint32_t offset, size; };
struct flash_sector { uint32_t offset, size; };

extern const uint8_t flash_memory[];                      /* set by the host */
extern int flash_program(uint32_t at, const void *data, uint32_t size);
extern int flash_erase(uint32_t at, uint32_t size);

struct flash_area flash_areas[8];                         /* filled in by the host */
struct flash_sector flash_sectors[1024];                  /* of the whole device */
uint32_t flash_area_count, flash_sector_count, flash_write_size = 8;

int flash_area_open(uint8_t id, const struct flash_area **area)
{
    for (uint32_t i = 0; i < flash_area_count; i++)
        if (flash_areas[i].id == id) {
            *area = &flash_areas[i];
            return 0;
        }
    return -1;
}

void flash_area_close(const struct flash_area *area) { (void)area; }

static int outside(const struct flash_area *area, uint32_t at, uint32_t size)
{
    return at > area->size || size > area->size - at;
}

int flash_area_read(const struct flash_area *area, uint32_t at, void *to, uint32_t size)
{
    if (outside(area, at, size))
        return -1;
    memcpy(to, flash_memory + area->offset + at, size);
    return 0;
}

int flash_area_write(const struct flash_area *area, uint32_t at, const void *data, uint32_t size)
{
    return outside(area, at, size) ? -1 : flash_program(area->offset + at, data, size);
}

int flash_area_erase(const struct flash_area *area, uint32_t at, uint32_t size)
{
    return outside(area, at, size) ? -1 : flash_erase(area->offset + at, size);
}

uint32_t flash_area_align(const struct flash_area *area) { (void)area; return flash_write_size; }
uint8_t flash_area_erased_val(const struct flash_area *area) { (void)area; return 0xFF; }

/* Sectors count from the start of their area. */
int flash_area_get_sectors(int id, uint32_t *count, struct flash_sector *sectors)
{
    const struct flash_area *area;
    uint32_t found = 0;
    if (flash_area_open((uint8_t)id, &area))
        return -1;
    for (uint32_t i = 0; i < flash_sector_count; i++) {
        uint32_t at = flash_sectors[i].offset - area->offset;
        if (flash_sectors[i].offset < area->offset || at >= area->size)
            continue;
        if (found == *count)
            return -1;
        sectors[found].offset = at;
        sectors[found++].size = flash_sectors[i].size;
    }
    *count = found;
    return 0;
}

int flash_area_get_sector(const struct flash_area *area, uint32_t at, struct flash_sector *sector)
{
    for (uint32_t i = 0; i < flash_sector_count; i++)
        if (area->offset + at - flash_sectors[i].offset < flash_sectors[i].size) {
            sector->offset = flash_sectors[i].offset - area->offset;
            sector->size = flash_sectors[i].size;
            return 0;
        }
    return -1;
}

int flash_area_id_from_multi_image_slot(int image, int slot) { return 1 + 2 * image + slot + (image > 0); }
int flash_area_id_from_image_slot(int slot) { return 1 + slot; }
