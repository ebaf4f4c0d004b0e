/* Where a libc's headers put the fields of struct stat: dev, ino, mode, nlink, size, blksize, blocks; sizeof. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/stat.h>
#define FIELD(field) offsetof(struct STAT, st_##field), sizeof(((struct STAT *)0)->st_##field)
const unsigned layout[] = {
    FIELD(dev), FIELD(ino), FIELD(mode), FIELD(nlink), FIELD(size), FIELD(blksize), FIELD(blocks), 0,
    sizeof(struct STAT),
};
