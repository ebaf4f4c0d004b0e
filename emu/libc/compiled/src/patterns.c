/* fnmatch: shell patterns (POSIX.1-2024, XCU 2.14), in the C locale; getsubopt and rpmatch. */
#include "types.h"

enum { NOESCAPE = 2, PATHNAME = 1, PERIOD = 4, LEADING_DIR = 8, CASEFOLD = 16 };
enum { NOMATCH = 1, BAD = -1 };

extern size strlen(const char *);
extern int strncmp(const char *, const char *, size);

static int folded(int c, int flags) { return flags & CASEFOLD && c >= 'A' && c <= 'Z' ? c + 32 : c; }

static int in_class(const char *name, size n, int c) {
    int lower = c >= 'a' && c <= 'z', upper = c >= 'A' && c <= 'Z', digit = c >= '0' && c <= '9';
    int hexadecimal = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    int space = c == ' ' || (c >= 9 && c <= 13), print = c >= 32 && c < 127;
    const struct { const char *name; int member; } classes[] = {
        {"alpha", lower || upper}, {"digit", digit}, {"alnum", lower || upper || digit}, {"lower", lower},
        {"upper", upper}, {"space", space}, {"blank", c == ' ' || c == 9}, {"xdigit", hexadecimal},
        {"print", print}, {"graph", print && c != ' '}, {"cntrl", c < 32 || c == 127},
        {"punct", print && c != ' ' && !(lower || upper || digit)},
    };
    for (unsigned i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i].name) == n && !strncmp(classes[i].name, name, n))
            return classes[i].member;
    return BAD;
}

/* A bracket expression at `p`, behind its '['. Whether c is in it; *end is behind its ']', or 0 for no expression. */
static int bracket(const char *p, int c, int flags, const char **end) {
    int inverted = *p == '!' || *p == '^', found = 0;
    p += inverted;
    for (int first = 1; first || *p != ']'; first = 0) {
        int low = (u8)*p;
        if (!low) {
            *end = 0;
            return 0;
        }
        if (low == '[' && p[1] == ':') {
            const char *name = p + 2, *stop = name;
            while (*stop >= 'a' && *stop <= 'z')
                stop++;
            if (*stop == ':' && stop[1] == ']') {
                int member = in_class(name, (size)(stop - name), c);
                if (flags & CASEFOLD && member == 0 && c >= 'a' && c <= 'z')
                    member = in_class(name, (size)(stop - name), c - 32);
                found |= member == 1;
                p = stop + 2;
                continue;
            }
        }
        if (low == '[' && (p[1] == '.' || p[1] == '=') && p[2] && p[3] == p[1] && p[4] == ']')
            low = (u8)p[2], p += 4;
        else if (low == '\\' && !(flags & NOESCAPE) && p[1])
            low = (u8)*++p;
        p++;
        int high = low;
        if (*p == '-' && p[1] && p[1] != ']') {
            p++;
            if (*p == '\\' && !(flags & NOESCAPE) && p[1])
                p++;
            high = (u8)*p++;
        }
        found |= folded(low, flags) <= c && c <= folded(high, flags);
    }
    *end = p + 1;
    return found != inverted;
}

static int hidden(const char *s, const char *start, int flags) {
    return *s == '.' && flags & PERIOD && (s == start || (flags & PATHNAME && s[-1] == '/'));
}

static int finished(const char *s, int flags) { return !*s || (flags & LEADING_DIR && *s == '/'); }

/* Without recursion: of several stars only the last needs to be tried again, within one part of a path. */
int fnmatch(const char *pattern, const char *string, int flags) {
    const char *p = pattern, *s = string, *star = 0, *retry = 0;
    for (;;) {
        const char *next;
        int c = folded((u8)*s, flags), matches = 0;
        if (!*p && finished(s, flags))
            return 0;
        if (*p == '*') {
            while (*p == '*')
                p++;
            if (hidden(s, string, flags))
                return NOMATCH;
            star = p, retry = s;
            continue;
        }
        if (*s && *p) {
            next = p + 1;
            if (*p == '?')
                matches = !(c == '/' && flags & PATHNAME) && !hidden(s, string, flags);
            else if (*p == '[') {
                matches = bracket(p + 1, c, flags, &next);
                if (!next)
                    matches = c == '[', next = p + 1;
                else if ((c == '/' && flags & PATHNAME) || hidden(s, string, flags))
                    matches = 0;
            } else {
                int escaped = *p == '\\' && !(flags & NOESCAPE);
                next = p + 1 + escaped; /* behind a backslash at the end is NUL, which nothing matches */
                matches = folded((u8)next[-1], flags) == c;
            }
            if (matches) {
                if (c == '/' && flags & PATHNAME)
                    star = 0; /* a star does not reach past a slash */
                p = next, s++;
                continue;
            }
        }
        if (!star || !*retry || (*retry == '/' && flags & PATHNAME))
            return NOMATCH;
        p = star, s = ++retry;
    }
}

int getsubopt(char **option, char *const *tokens, char **value) {
    char *start = *option, *end = start, *equals = 0;
    for (; *end && *end != ','; end++)
        if (*end == '=' && !equals)
            equals = end;
    *option = *end ? end + 1 : end;
    *end = 0;
    size n = (size)((equals ? equals : end) - start);
    for (int i = 0; tokens[i]; i++)
        if (strlen(tokens[i]) == n && !strncmp(tokens[i], start, n)) {
            *value = equals ? equals + 1 : 0;
            return i;
        }
    *value = start;
    return -1;
}

int rpmatch(const char *answer) {
    return *answer == 'y' || *answer == 'Y' ? 1 : *answer == 'n' || *answer == 'N' ? 0 : -1;
}
