/* Where a libc's headers put the fields of struct stat that `StructStat` has, in its order; sizeof. */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/stat.h>
#define FIELD(field) offsetof(struct STAT, st_##field), sizeof(((struct STAT *)0)->st_##field)
const unsigned layout[] = {
    FIELD(dev), FIELD(ino), FIELD(mode), FIELD(nlink), FIELD(uid), FIELD(gid), FIELD(rdev), FIELD(size),
    FIELD(blksize), FIELD(blocks), offsetof(struct STAT, st_atim), sizeof(((struct STAT *)0)->st_atim.tv_sec), 0, sizeof(struct STAT),
    /* the other times, and how far each time is from the one before */
    offsetof(struct STAT, st_mtim), offsetof(struct STAT, st_ctim),
};
