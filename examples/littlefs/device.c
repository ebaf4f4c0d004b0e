/* A device that keeps its firmware as a file of littlefs. The file system is in the first BLOCKS sectors of flash; in
 * the one after them is a mark, programmed when the update is complete. -DFAULT=n builds the driver of the block
 * device with one of the mistakes that such drivers have. */

#include <stdint.h>
#include <string.h>

#include "lfs.h"

enum { SOUND, REORDERS, IGNORES_SYNC, TRUSTS_ERASE };
#ifndef FAULT
#define FAULT SOUND
#endif
#ifndef BLOCKS
#define BLOCKS 16
#endif
enum { BLOCK = 512, PAGE = 16, CACHE = 256, HELD = 4, MARK = 0x600D600D };

extern const uint8_t flash_memory[];                      /* the flash, mapped for reading */
extern void flash_program(uint32_t at, const void *from, uint32_t size);
extern void flash_erase(uint32_t at, uint32_t size);

/* ---------------------------------------------------------------- the block device */

static struct { uint32_t at, size; uint8_t data[CACHE]; } held[HELD];   /* programs that are not carried out yet */
static int held_count;

static void carry_out(int number)
{
    flash_program(held[number].at, held[number].data, held[number].size);
    held_count--;
    memmove(held + number, held + number + 1, (held_count - number) * sizeof held[0]);
}

static void carry_out_all(void)
{
    while (held_count)
        carry_out(0);
}

static int read_block(const struct lfs_config *c, lfs_block_t block, lfs_off_t at, void *to, lfs_size_t size)
{
    uint32_t from = block * BLOCK + at;
    memcpy(to, flash_memory + from, size);
    for (int i = 0; i < held_count; i++)                  /* what is held is read as if it were in flash */
        for (uint32_t k = 0; k < held[i].size; k++)
            if (held[i].at + k - from < size)
                ((uint8_t *)to)[held[i].at + k - from] = held[i].data[k];
    return 0;
}

static int program_block(const struct lfs_config *c, lfs_block_t block, lfs_off_t at, const void *from, lfs_size_t size)
{
    if (FAULT == IGNORES_SYNC || (FAULT == REORDERS && size == CACHE)) {      /* small ones overtake large ones */
        if (held_count == HELD)
            carry_out(0);
        held[held_count].at = block * BLOCK + at;
        held[held_count].size = size;
        memcpy(held[held_count++].data, from, size);
        return 0;
    }
    flash_program(block * BLOCK + at, from, size);
    return 0;
}

static int erase_block(const struct lfs_config *c, lfs_block_t block)
{
    for (int i = held_count; i--;)
        if (held[i].at / BLOCK == block)
            carry_out(i);
    const uint8_t *now = flash_memory + block * BLOCK;
    if (FAULT == TRUSTS_ERASE && (now[0] & now[1] & now[2] & now[3]) == 0xFF)
        return 0;                                         /* the first word speaks for all */
    flash_erase(block * BLOCK, BLOCK);
    return 0;
}

static int sync_blocks(const struct lfs_config *c) { return 0; }   /* the sound driver holds nothing back */

/* ---------------------------------------------------------------- the file system */

static uint8_t read_buffer[CACHE], program_buffer[CACHE], lookahead[8 * ((BLOCKS + 63) / 64)], file_buffer[CACHE];
static const struct lfs_config config = {
    .read = read_block, .prog = program_block, .erase = erase_block, .sync = sync_blocks,
    .read_size = PAGE, .prog_size = PAGE, .block_size = BLOCK, .block_count = BLOCKS, .block_cycles = 500,
    .cache_size = CACHE, .lookahead_size = sizeof lookahead,
    .read_buffer = read_buffer, .prog_buffer = program_buffer, .lookahead_buffer = lookahead,
};
static const struct lfs_file_config file_config = { .buffer = file_buffer };
static lfs_t fs;

static uint8_t byte_of(uint32_t version, uint32_t at) { return (uint8_t)(version * 37 + at * 11 + (at >> 8)); }

/* Write a version of the firmware beside the old one, and give it the name that is started. */
static int write_version(uint32_t version, uint32_t size)
{
    lfs_file_t file;
    uint8_t chunk[64];
    int error = lfs_file_opencfg(&fs, &file, "new", LFS_O_WRONLY | LFS_O_CREAT | LFS_O_TRUNC, &file_config);
    for (uint32_t at = 0; at < size && error >= 0; at += sizeof chunk) {
        for (uint32_t i = 0; i < sizeof chunk; i++)
            chunk[i] = at + i < 4 ? (uint8_t)(version >> 8 * (at + i)) : byte_of(version, at + i);
        error = lfs_file_write(&fs, &file, chunk, sizeof chunk);
    }
    int closed = lfs_file_close(&fs, &file);
    if (error >= 0)
        error = closed;
    return error < 0 ? error : lfs_rename(&fs, "new", "firmware");
}

/* Make the file system, with a version of `size` bytes, a multiple of 64. Negative: littlefs's error. */
int format(uint32_t version, uint32_t size)
{
    int error = lfs_format(&fs, &config);
    if (!error)
        error = lfs_mount(&fs, &config);
    for (int i = 0; i < 2 * BLOCKS && !error; i++)        /* so that no block is new */
        error = write_version(version, size);
    carry_out_all();
    return error ? error : lfs_unmount(&fs);
}

/* Install a version, and mark the update as complete. Negative: littlefs's error. */
int install(uint32_t version, uint32_t size)
{
    static const uint32_t mark[PAGE / 4] = { MARK, MARK, MARK, MARK };
    int error = lfs_mount(&fs, &config);
    if (error || (error = write_version(version, size)) || (error = lfs_unmount(&fs)))
        return error;
    if (FAULT != IGNORES_SYNC)
        carry_out_all();                                  /* as the device is shut down */
    const uint8_t *now = flash_memory + BLOCKS * BLOCK;
    for (int i = 0; i < PAGE; i++)
        if (now[i] != 0xFF) {                             /* a mark whose programming was cut */
            flash_erase(BLOCKS * BLOCK, BLOCK);
            break;
        }
    flash_program(BLOCKS * BLOCK, mark, sizeof mark);
    return 0;
}

/* Whether an update was marked as complete. */
int is_complete(void)
{
    const uint32_t *mark = (const uint32_t *)(flash_memory + BLOCKS * BLOCK);
    return mark[0] == MARK && mark[1] == MARK && mark[2] == MARK && mark[3] == MARK;
}

/* The version that starts. -1000: its file is not whole; other negative numbers: littlefs's errors. */
int boot(void)
{
    lfs_file_t file;
    uint8_t chunk[64];
    uint32_t version = 0, at = 0;
    int whole = 1, size, error = lfs_mount(&fs, &config);
    if (error || (error = lfs_file_opencfg(&fs, &file, "firmware", LFS_O_RDONLY, &file_config)))
        return error;
    while ((size = lfs_file_read(&fs, &file, chunk, sizeof chunk)) > 0)
        for (int i = 0; i < size; i++, at++)
            if (at < 4)
                version |= (uint32_t)chunk[i] << 8 * at;
            else if (chunk[i] != byte_of(version, at))
                whole = 0;
    lfs_file_close(&fs, &file);
    lfs_unmount(&fs);
    return size < 0 ? size : whole && at ? (int)version : -1000;
}
