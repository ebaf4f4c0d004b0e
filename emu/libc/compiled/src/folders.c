/* <dirent.h> scandir with its orders, and <ftw.h>: walks of a tree of files. */
#include "types.h"

#if __SIZEOF_POINTER__ == 4 && !defined(__riscv)
#define SHORT_NAME 11 /* struct dirent with 32-bit inodes and offsets */
#else
#define SHORT_NAME 19
#endif
enum { NAME = 19, LONGEST = 4096, STAT_SIZE = 256, DEEPEST = 64 };
enum { FILE, DIRECTORY, UNREADABLE, NOT_THERE, LINK, AFTER, DANGLING };
enum { PHYSICAL = 1, DEPTH = 8, ACTION = 16, SKIP_SUBTREE = 2, SKIP_SIBLINGS = 3 };

typedef struct { int base, level; } place;
typedef int select_entry(const void *);
typedef int order(const void *, const void *);
typedef int visit(const char *, const void *, int, place *);

extern void *malloc(size), *realloc(void *, size), *memcpy(void *, const void *, size), *opendir(const char *);
extern void *readdir(void *), *readdir64(void *);
extern void free(void *), qsort(void *, size, size, order *);
extern int closedir(void *), strcoll(const char *, const char *), strverscmp(const char *, const char *);
extern int stat(const char *, void *), lstat(const char *, void *), stat64(const char *, void *);
extern int lstat64(const char *, void *);
extern long readlink(const char *, char *, size);
extern size strlen(const char *);

static int scan(const char *path, void ***list, select_entry *wanted, order *by, void *read(void *), int name) {
    void *folder = opendir(path), **found = 0, *entry;
    int count = 0;
    if (!folder)
        return -1;
    while ((entry = read(folder))) {
        if (wanted && !wanted(entry))
            continue;
        size length = name + strlen((char *)entry + name) + 1;
        void *copy = malloc(length + 8), **more = realloc(found, (count + 1) * sizeof *found);
        if (more)
            found = more;
        if (!copy || !more) {
            free(copy);
            while (count)
                free(found[--count]);
            free(found);
            closedir(folder);
            return -1;
        }
        memcpy(copy, entry, length);
        found[count++] = copy;
    }
    closedir(folder);
    if (by && count)
        qsort(found, count, sizeof *found, by);
    *list = found;
    return count;
}
int scandir(const char *path, void ***list, select_entry *wanted, order *by) {
    return scan(path, list, wanted, by, readdir, SHORT_NAME);
}
int scandir64(const char *path, void ***list, select_entry *wanted, order *by) {
    return scan(path, list, wanted, by, readdir64, NAME);
}
int alphasort(const char **a, const char **b) { return strcoll(*a + SHORT_NAME, *b + SHORT_NAME); }
int alphasort64(const char **a, const char **b) { return strcoll(*a + NAME, *b + NAME); }
int versionsort(const char **a, const char **b) { return strverscmp(*a + SHORT_NAME, *b + SHORT_NAME); }
int versionsort64(const char **a, const char **b) { return strverscmp(*a + NAME, *b + NAME); }

typedef struct {
    visit *call;
    int flags, plain;
    int (*follow)(const char *, void *), (*look)(const char *, void *);
    char path[LONGEST];
} walk;

static int enter(walk *w, size length, int base, int level) {
    char status[STAT_SIZE] __attribute__((aligned(16))), target[2];
    place here = {base, level};
    int link = readlink(w->path, target, 1) >= 0, kind = FILE, result;
    if ((link && w->flags & PHYSICAL ? w->look : w->follow)(w->path, status)) {
        if (!link || w->look(w->path, status))
            return level ? w->call(w->path, status, NOT_THERE, &here) : -1;
        return w->call(w->path, status, w->plain ? NOT_THERE : DANGLING, &here);
    }
    void *folder = link && w->flags & PHYSICAL ? 0 : opendir(w->path), *entry;
    kind = link && w->flags & PHYSICAL ? LINK : folder ? DIRECTORY : FILE;
    if (!folder || !(w->flags & DEPTH)) {
        result = w->call(w->path, status, kind, &here);
        if (!folder || result) {
            if (folder)
                closedir(folder);
            return folder && w->flags & ACTION && result == SKIP_SUBTREE ? 0 : result;
        }
    }
    result = level < DEEPEST ? 0 : -1;
    while (!result && (entry = readdir64(folder))) {
        const char *name = (char *)entry + NAME;
        size slash = length && w->path[length - 1] != '/', more = strlen(name);
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
            continue;
        if (length + slash + more + 1 > LONGEST)
            break;
        w->path[length] = '/';
        memcpy(w->path + length + slash, name, more + 1);
        result = enter(w, length + slash + more, length + slash, level + 1);
        w->path[length] = 0;
        if (w->flags & ACTION && result == SKIP_SIBLINGS) {
            result = 0;
            break;
        }
    }
    closedir(folder);
    if (!result && w->flags & DEPTH)
        result = w->call(w->path, status, AFTER, &here);
    return result;
}

static int start(const char *path, visit *call, int flags, int plain, int (*follow)(const char *, void *),
                 int (*look)(const char *, void *)) {
    size length = strlen(path), base;
    walk *w = length < LONGEST ? malloc(sizeof *w) : 0;
    if (!w)
        return -1;
    w->call = call, w->flags = flags, w->plain = plain, w->follow = follow, w->look = look;
    memcpy(w->path, path, length + 1);
    while (length > 1 && w->path[length - 1] == '/')
        w->path[--length] = 0;
    for (base = length; base && w->path[base - 1] != '/'; base--)
        ;
    int result = enter(w, length, base, 0);
    free(w);
    return result;
}
int nftw(const char *path, visit *call, int most, int flags) {
    (void)most;
    return start(path, call, flags, 0, stat, lstat);
}
int nftw64(const char *path, visit *call, int most, int flags) {
    (void)most;
    return start(path, call, flags, 0, stat64, lstat64);
}
int ftw(const char *path, visit *call, int most) {
    (void)most;
    return start(path, call, 0, 1, stat, lstat);
}
int ftw64(const char *path, visit *call, int most) {
    (void)most;
    return start(path, call, 0, 1, stat64, lstat64);
}

#if defined(__i386__) || defined(__arm__) /* glibc's names for programs with 64-bit times */
extern int __stat64_time64(const char *, void *), __lstat64_time64(const char *, void *);
int __nftw64_time64(const char *path, visit *call, int most, int flags) {
    (void)most;
    return start(path, call, flags, 0, __stat64_time64, __lstat64_time64);
}
int __ftw64_time64(const char *path, visit *call, int most) {
    (void)most;
    return start(path, call, 0, 1, __stat64_time64, __lstat64_time64);
}
#endif
