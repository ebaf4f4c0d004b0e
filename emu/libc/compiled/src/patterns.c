/* fnmatch: shell patterns (POSIX.1-2024, XCU 2.14), in the C locale; getsubopt and rpmatch. */
#include "types.h"

enum { NOESCAPE = 2, PATHNAME = 1, PERIOD = 4, LEADING_DIR = 8, CASEFOLD = 16, EXTMATCH = 32 };
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

/* Whether the pattern's first part, which is no star, matches the character at `s`; *next is behind that part. */
static int one(const char *p, const char *s, const char *string, int flags, const char **next) {
    int c = folded((u8)*s, flags);
    *next = p + 1;
    if (*p == '?')
        return !(c == '/' && flags & PATHNAME) && !hidden(s, string, flags);
    if (*p == '[') {
        int member = bracket(p + 1, c, flags, next);
        if (*next)
            return member && !(c == '/' && flags & PATHNAME) && !hidden(s, string, flags);
        *next = p + 1;
        return c == '[';
    }
    *next += *p == '\\' && !(flags & NOESCAPE); /* behind a backslash at the end is NUL, which nothing matches */
    return folded((u8)(*next)[-1], flags) == c;
}

/* GNU's extended patterns: ?(a|b) and the like. A pattern is from p to `end`, what it has to match from s to `stop`. */
typedef struct { const char *string; int flags; } context;

static int opens(const char *p, const char *end) {
    return p + 1 < end && p[1] == '(' && (*p == '?' || *p == '*' || *p == '+' || *p == '@' || *p == '!');
}

/* The next `a` or `b` that is not in a bracket expression, an inner group or behind a backslash; or 0. */
static const char *next_of(const char *p, const char *end, char a, char b, int flags) {
    for (int depth = 0; p < end; p++) {
        if (!depth && (*p == a || *p == b))
            return p;
        if (*p == '\\' && !(flags & NOESCAPE) && p + 1 < end)
            p++;
        else if (*p == '[') {
            const char *behind;
            bracket(p + 1, 0, flags, &behind);
            p = behind && behind <= end ? behind - 1 : p;
        } else if (opens(p, end))
            depth++, p++;
        else if (*p == ')' && depth)
            depth--;
    }
    return 0;
}

static const char *group(const char *p, const char *end, int flags) {
    return opens(p, end) ? next_of(p + 2, end, ')', ')', flags) : 0;
}

static int extended(const char *p, const char *end, const char *s, const char *stop, const context *of);

static int any(const char *p, const char *close, const char *s, const char *stop, const context *of) {
    context inner = {of->string, of->flags & ~LEADING_DIR};
    for (;;) {
        const char *bar = next_of(p, close, '|', '|', of->flags);
        if (extended(p, bar ? bar : close, s, stop, &inner))
            return 1;
        if (!bar)
            return 0;
        p = bar + 1;
    }
}

/* A group with the operator `kind`: its alternatives from p to `close`, then the rest of the pattern. */
static int repeated(int kind, const char *p, const char *close, const char *end, const char *s, const char *stop, const context *of) {
    if ((kind == '?' || kind == '*') && extended(close + 1, end, s, stop, of))
        return 1;
    if (kind == '!' && hidden(s, of->string, of->flags))
        return 0;
    for (const char *e = s; e <= stop; e++)
        if (any(p, close, s, e, of) == (kind != '!') &&
            (extended(close + 1, end, e, stop, of) ||
             ((kind == '*' || kind == '+') && e > s && repeated('*', p, close, end, e, stop, of))))
            return 1;
    return 0;
}

static int extended(const char *p, const char *end, const char *s, const char *stop, const context *of) {
    for (;;) {
        const char *close, *next;
        if (p == end)
            return s == stop || (of->flags & LEADING_DIR && *s == '/');
        if ((close = group(p, end, of->flags)))
            return repeated(*p, p + 2, close, end, s, stop, of);
        if (*p == '*') {
            if (hidden(s, of->string, of->flags))
                return 0;
            for (;; s++) {
                if (extended(p + 1, end, s, stop, of))
                    return 1;
                if (s == stop || (*s == '/' && of->flags & PATHNAME))
                    return 0;
            }
        }
        if (s == stop || !one(p, s, of->string, of->flags, &next) || next > end)
            return 0;
        p = next, s++;
    }
}

/* Without recursion: of several stars only the last needs to be tried again, within one part of a path. */
int fnmatch(const char *pattern, const char *string, int flags) {
    const char *p = pattern, *s = string, *star = 0, *retry = 0;
    if (flags & EXTMATCH)
        return !extended(p, p + strlen(p), s, s + strlen(s), &(context){string, flags});
    for (;;) {
        const char *next;
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
        if (*s && *p && one(p, s, string, flags, &next)) {
            if (*s == '/' && flags & PATHNAME)
                star = 0; /* a star does not reach past a slash */
            p = next, s++;
            continue;
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
