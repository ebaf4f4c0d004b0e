/* <glob.h>: pathnames that match a pattern, with glibc's GLOB_PERIOD, GLOB_BRACE, GLOB_TILDE, GLOB_NOMAGIC,
   GLOB_ONLYDIR and GLOB_MAGCHAR. GLOB_ALTDIRFUNC is refused by GLOB_ABORTED. */
#include "types.h"

enum {
    ERR = 1, MARK = 2, NOSORT = 4, DOOFFS = 8, NOCHECK = 16, APPEND = 32, NOESCAPE = 64, PERIOD = 128, MAGCHAR = 256,
    ALTDIRFUNC = 512, BRACE = 1024, NOMAGIC = 2048, TILDE = 4096, ONLYDIR = 8192, TILDE_CHECK = 16384
};
enum { NOSPACE = 1, ABORTED = 2, NOMATCH = 3, LONGEST = 4096, DEEPEST = 128 };
enum { FNM_NOESCAPE = 2, FNM_PERIOD = 4 };

typedef struct { size count; char **paths; size offset; int flags; void *close, *read, *open, *stat, *lstat; } result;
typedef struct { result *to; int flags, error; int (*report)(const char *, int); char path[LONGEST]; } search;

extern void *malloc(size), *realloc(void *, size);
extern void free(void *);
extern size strlen(const char *);
extern int strcmp(const char *, const char *), fnmatch(const char *, const char *, int), access(const char *, int);
extern void *memcpy(void *, const void *, size), *opendir(const char *), *readdir64(void *);
extern int closedir(void *), *__errno_location(void);
extern char *getenv(const char *);

static int is_directory(const char *path) {
    void *opened = opendir(path);
    if (opened)
        closedir(opened);
    return opened != 0;
}

static void add(search *s, const char *path, int exists) {
    result *to = s->to;
    size length = strlen(path), first = to->flags & DOOFFS ? to->offset : 0;
    char **more = s->error ? 0 : realloc(to->paths, (first + to->count + 2) * sizeof *more);
    char *copy = more ? malloc(length + 2) : 0;
    if (more)
        to->paths = more;
    if (!copy) {
        s->error = s->error ? s->error : NOSPACE;
        return;
    }
    for (size i = 0; i < first && !to->count; i++)
        more[i] = 0;
    memcpy(copy, path, length + 1);
    if (exists && s->flags & MARK && length && path[length - 1] != '/' && is_directory(path))
        copy[length] = '/', copy[length + 1] = 0;
    more[first + to->count++] = copy, more[first + to->count] = 0;
}

static int magic(const char *text, const char *end, int escapes) {
    int bracket = 0;
    for (; text < end; text++) {
        if (*text == '*' || *text == '?' || (*text == ']' && bracket))
            return 1;
        bracket |= *text == '[';
        if (*text == '\\' && escapes && text + 1 < end)
            text++;
    }
    return 0;
}

/* Matches of `pattern` below the first `length` characters of s->path. */
static void walk(search *s, size length, const char *pattern) {
    int escapes = !(s->flags & NOESCAPE);
    while (!s->error) {
        while (*pattern == '/' && length < LONGEST - 2)
            s->path[length++] = *pattern++;
        s->path[length] = 0;
        const char *end = pattern;
        while (*end && *end != '/')
            end += escapes && *end == '\\' && end[1] ? 2 : 1;
        if (!*pattern) {
            if (length && !access(s->path, 0))
                add(s, s->path, 1);
            return;
        }
        if (magic(pattern, end, escapes))
            break;
        for (; pattern < end; pattern++) {
            pattern += escapes && *pattern == '\\' && pattern + 1 < end;
            if (length == LONGEST - 2)
                return;
            s->path[length++] = *pattern;
        }
    }
    const char *end = pattern;
    while (*end && *end != '/')
        end += escapes && *end == '\\' && end[1] ? 2 : 1;
    size part = end - pattern;
    char *one = s->error ? 0 : malloc(part + 1);
    if (!one)
        return;
    memcpy(one, pattern, part), one[part] = 0;
    void *opened = opendir(length ? s->path : ".");
    if (!opened) {
        int number = *__errno_location();
        if (number != 2 && number != 20 && /* ENOENT, ENOTDIR */
            ((s->report && s->report(length ? s->path : ".", number)) || s->flags & ERR))
            s->error = ABORTED;
    }
    for (char *entry; opened && !s->error && (entry = readdir64(opened));) {
        const char *name = entry + 19; /* struct dirent64: two numbers of 8 bytes, one of 2, one of 1 */
        int flags = (escapes ? 0 : FNM_NOESCAPE) | (s->flags & PERIOD && !*end ? 0 : FNM_PERIOD);
        size extent = strlen(name);
        if (fnmatch(one, name, flags) || length + extent >= LONGEST - 2)
            continue;
        memcpy(s->path + length, name, extent + 1);
        if (*end)
            walk(s, length + extent, end);
        else if (!(s->flags & ONLYDIR && !is_directory(s->path)))
            add(s, s->path, 1);
        s->path[length] = 0;
    }
    if (opened)
        closedir(opened);
    free(one);
}

static void sort(char **paths, size count) { /* Shell's: in place, and no comparator to call back */
    for (size gap = count / 2; gap; gap /= 2)
        for (size i = gap; i < count; i++) {
            char *moved = paths[i];
            size at = i;
            for (; at >= gap && strcmp(paths[at - gap], moved) > 0; at -= gap)
                paths[at] = paths[at - gap];
            paths[at] = moved;
        }
}

static int plain(const char *text) {
    while (*text && *text != '*' && *text != '?' && *text != '[' && *text != '\\')
        text++;
    return !*text;
}

static void one_pattern(search *s, const char *pattern) {
    size first = s->to->count, offset = s->to->flags & DOOFFS ? s->to->offset : 0, length = 0;
    const char *rest = pattern, *home = getenv("HOME");
    int escapes = !(s->flags & NOESCAPE), wild = magic(pattern, pattern + strlen(pattern), escapes);
    if (s->flags & (TILDE | TILDE_CHECK) && *pattern == '~' && (!pattern[1] || pattern[1] == '/') && home && *home) {
        length = strlen(home);
        if (length >= LONGEST - 2)
            return;
        memcpy(s->path, home, length + 1);
        rest = pattern + 1;
    }
    walk(s, length, rest);
    if (wild && s->to->count > first)
        s->to->flags |= MAGCHAR;
    if (!s->error && s->to->count == first && (s->flags & NOCHECK || (s->flags & NOMAGIC && plain(pattern))))
        add(s, pattern, 0);
    if (!(s->flags & NOSORT))
        sort(s->to->paths + offset + first, s->to->count - first);
}

/* The end of a brace's part: the comma or closing brace that belongs to it; or 0. */
static const char *part_end(const char *at, int escapes) {
    for (int depth = 0; *at; at++) {
        if (*at == '\\' && escapes && at[1])
            at++;
        else if (!depth && (*at == ',' || *at == '}'))
            return at;
        else
            depth += (*at == '{') - (*at == '}');
    }
    return 0;
}

static void with_braces(search *s, const char *pattern, int depth) {
    int escapes = !(s->flags & NOESCAPE);
    const char *open = pattern, *close;
    while (*open && (*open != '{' || open[1] == '}'))
        open += escapes && *open == '\\' && open[1] ? 2 : 1;
    for (close = *open ? part_end(open + 1, escapes) : 0; close && *close == ',';)
        close = part_end(close + 1, escapes);
    if (!close || depth > DEEPEST)
        return one_pattern(s, pattern);
    size before = open - pattern, after = strlen(close + 1);
    for (const char *part = open + 1; part <= close && !s->error;) {
        const char *end = part_end(part, escapes);
        size length = end - part;
        char *one = malloc(before + length + after + 1);
        if (!one) {
            s->error = NOSPACE;
            return;
        }
        memcpy(one, pattern, before);
        memcpy(one + before, part, length);
        memcpy(one + before + length, close + 1, after + 1);
        with_braces(s, one, depth + 1);
        free(one);
        part = end + 1;
    }
}

int glob(const char *pattern, int flags, int (*report)(const char *, int), result *to) {
    search *s = malloc(sizeof *s);
    if (!s)
        return NOSPACE;
    if (flags & ALTDIRFUNC) {
        free(s);
        return ABORTED;
    }
    if (!(flags & APPEND)) {
        to->count = 0, to->paths = 0;
        to->flags = flags;
    } else
        to->flags |= flags & ~MAGCHAR;
    *s = (search){.to = to, .flags = flags, .report = report};
    size before = to->count;
    if (flags & BRACE) {
        int nocheck = flags & NOCHECK;
        s->flags &= ~NOCHECK;
        with_braces(s, pattern, 0);
        if (nocheck && to->count == before && !s->error)
            add(s, pattern, 0);
    } else
        one_pattern(s, pattern);
    int error = s->error ? s->error : to->count == before ? NOMATCH : 0;
    free(s);
    return error;
}

int glob64(const char *pattern, int flags, int (*report)(const char *, int), result *to) ALIAS("glob");

void globfree(result *from) {
    size first = from->flags & DOOFFS ? from->offset : 0;
    for (size i = 0; from->paths && i < from->count; i++)
        free(from->paths[first + i]);
    free(from->paths);
    from->paths = 0, from->count = 0;
}

void globfree64(result *from) ALIAS("globfree");

#if defined(__i386__) || defined(__arm__) /* glibc's names for programs with 64-bit times */
int __glob64_time64(const char *pattern, int flags, int (*report)(const char *, int), result *to) ALIAS("glob");
void __globfree64_time64(result *from) ALIAS("globfree");
#endif
