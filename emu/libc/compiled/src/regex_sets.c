/* The leaves of a regular expression: sets of bytes, and the bracket expressions that give them. */
#include "regex_parse.h"

enum { MOST_TREES = 1 << 16 };

int __relink_regex_word(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

int fail(parser *p, int error) {
    if (!p->error)
        p->error = error;
    return 0;
}

int add(parser *p, enum kind kind, int left, int right) {
    program *out = p->out;
    if (p->error)
        return 0;
    if (out->count == MOST_TREES)
        return fail(p, ESIZE);
    if (out->count == out->room) {
        int room = out->room ? 2 * out->room : 16;
        tree *more = realloc(out->trees, room * sizeof *more);
        if (!more)
            return fail(p, ESPACE);
        out->trees = more, out->room = room;
    }
    tree *made = out->trees + out->count;
    *made = (tree){.kind = kind, .left = left, .right = right};
    return out->count++;
}

static int upper(int c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }
static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

static void include(parser *p, u8 *set, int c) {
    set[c >> 3] |= 1 << (c & 7);
    if (p->out->syntax & ICASE) {
        set[upper(c) >> 3] |= 1 << (upper(c) & 7);
        set[lower(c) >> 3] |= 1 << (lower(c) & 7);
    }
}

int literal(parser *p, int c) {
    int made = add(p, SET, 0, 0);
    if (!p->error)
        include(p, p->out->trees[made].set, c);
    return made;
}

static int in_class(int which, int c) {
    int up = c >= 'A' && c <= 'Z', low = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
    switch (which) {
    case 0: return up || low;
    case 1: return digit;
    case 2: return up || low || digit;
    case 3: return up;
    case 4: return low;
    case 5: return c == ' ' || (c >= 9 && c <= 13);
    case 6: return c == ' ' || c == '\t';
    case 7: return c > 32 && c < 127 && !(up || low || digit);
    case 8: return c >= 32 && c < 127;
    case 9: return c > 32 && c < 127;
    case 10: return c < 32 || c == 127;
    default: return digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    }
}

static int translated(const parser *p, int c) { return p->out->translate ? p->out->translate[c] : c; }

static int invert(parser *p, int made) {
    for (int i = 0; i < 32 && !p->error; i++)
        p->out->trees[made].set[i] = ~p->out->trees[made].set[i];
    return made;
}

int class_set(parser *p, int which, int negated, int extra) {
    int made = add(p, SET, 0, 0);
    for (int c = 0; c < 256 && !p->error; c++)
        if (in_class(which, c) || c == extra)
            include(p, p->out->trees[made].set, translated(p, c));
    return negated ? invert(p, made) : made;
}

/* The translated byte at `at`, or 0 at the end. */
int byte(const parser *p, const u8 *at) { return at < p->end ? translated(p, *at) : 0; }

static void include_class(parser *p, u8 *set, const u8 *begin, size length) {
    static const char *const names[] = {"alpha", "digit", "alnum", "upper", "lower", "space",
                                        "blank", "punct", "print", "graph", "cntrl", "xdigit"};
    for (int which = 0; which < 12; which++) {
        const char *name = names[which];
        int same = strlen(name) == length;
        for (size i = 0; same && i < length; i++)
            same = name[i] == (char)begin[i];
        if (same) {
            if (p->out->syntax & ICASE && (which == 3 || which == 4))
                which = 0;
            for (int c = 0; c < 256; c++)
                if (in_class(which, c))
                    include(p, set, translated(p, c));
            return;
        }
    }
    fail(p, ECTYPE);
}

/* An element of a bracket expression, or -1 for a class, which is included. */
static int element(parser *p, u8 *set, int first) {
    int c = byte(p, p->at), kind = byte(p, p->at + 1);
    if (p->at == p->end)
        return fail(p, EBRACK), -1;
    if (c == '\\' && p->out->syntax & BACKSLASH_IN_LISTS && p->at + 1 < p->end)
        return p->at += 2, kind;
    if (c != '[' || (kind != '.' && kind != '=' && !(kind == ':' && p->out->syntax & CLASSES))) {
        if (c == '-' && kind == '-' && p->end - p->at > 2 && byte(p, p->at + 2) == '-')
            p->at += 2; /* glibc: three hyphens are one, which is no range */
        else if (c == '-' && !first && kind != ']')
            return fail(p, ERANGE), -1; /* glibc: a hyphen is first, last, or an end of a range */
        p->at++;
        return c;
    }
    const u8 *begin = p->at + 2, *end = begin;
    while (end < p->end && !(byte(p, end) == kind && byte(p, end + 1) == ']'))
        end++;
    if (end >= p->end)
        return fail(p, EBRACK), -1;
    p->at = end + 2;
    if (kind != ':')
        return end - begin == 1 ? byte(p, begin) : (fail(p, ECOLLATE), -1);
    include_class(p, set, begin, end - begin);
    return -1;
}

static int begins_range(const parser *p) {
    int three = p->end - p->at > 2 && byte(p, p->at + 1) == '-' && byte(p, p->at + 2) == '-';
    return byte(p, p->at) == '-' && byte(p, p->at + 1) != ']' && !three;
}

/* A bracket expression, after its first character. */
int bracket(parser *p) {
    int negated = byte(p, p->at) == '^', first = 1, made = add(p, SET, 0, 0);
    u8 set[32] = {0};
    p->at += negated;
    if (p->at >= p->end)
        return fail(p, BADPAT);
    for (; !p->error && (first || byte(p, p->at) != ']'); first = 0) {
        int low = element(p, set, first);
        if (p->error)
            break;
        if (begins_range(p)) {
            if (low < 0)
                return fail(p, ERANGE);
            p->at++;
            int high = element(p, set, 1);
            if (!p->error && (high < 0 || (high < low && p->out->syntax & NO_EMPTY_RANGES)))
                return fail(p, ERANGE);
            for (; !p->error && low <= high; low++)
                include(p, set, translated(p, low));
        } else if (low >= 0)
            include(p, set, low);
    }
    if (p->error)
        return 0;
    p->at++;
    if (negated && p->out->syntax & LISTS_NOT_NEWLINE)
        include(p, set, '\n');
    for (int i = 0; i < 32; i++)
        p->out->trees[made].set[i] = set[i];
    return negated ? invert(p, made) : made;
}

int any(parser *p) {
    int made = invert(p, add(p, SET, 0, 0));
    if (!p->error && !(p->out->syntax & DOT_NEWLINE))
        p->out->trees[made].set[1] &= ~(1 << 2);
    if (!p->error && p->out->syntax & DOT_NOT_NULL)
        p->out->trees[made].set[0] &= ~1;
    return made;
}
