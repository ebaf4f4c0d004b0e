/* Parsing POSIX basic and extended regular expressions, with glibc's extensions: \+ \? \| in basic ones, \w \W \s
   \S \b \B \< \> \` \' and back references in both. Bytes are characters, as in the C locale. What is left open by
   POSIX is as in glibc (regcomp.c, RE_SYNTAX_POSIX_BASIC and RE_SYNTAX_POSIX_EXTENDED). */
#include "regex.h"

enum { MOST_REPEATS = 0x7fff, MOST_TREES = 1 << 16, DEEPEST = 250 };

typedef struct parser {
    program *out;
    const u8 *at, *start;
    int error, depth, closed; /* `closed`: groups 1 to 9 whose end was seen, as bits */
} parser;

static int alternatives(parser *, int group);

int __relink_regex_word(int c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int fail(parser *p, int error) {
    if (!p->error)
        p->error = error;
    return 0;
}

static int add(parser *p, enum kind kind, int left, int right) {
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
    if (p->out->flags & ICASE) {
        set[upper(c) >> 3] |= 1 << (upper(c) & 7);
        set[lower(c) >> 3] |= 1 << (lower(c) & 7);
    }
}

static int literal(parser *p, int c) {
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

static int class_set(parser *p, int which, int negated, int extra) {
    int made = add(p, SET, 0, 0);
    for (int c = 0; c < 256 && !p->error; c++)
        if ((in_class(which, c) || c == extra) != negated)
            p->out->trees[made].set[c >> 3] |= 1 << (c & 7);
    return made;
}

/* An element of a bracket expression, or -1 for a class, which is included. */
static int element(parser *p, u8 *set, int first) {
    static const char *const names[] = {"alpha", "digit", "alnum", "upper", "lower", "space",
                                        "blank", "punct", "print", "graph", "cntrl", "xdigit"};
    int c = *p->at, kind = p->at[1];
    if (!c)
        return fail(p, EBRACK), -1;
    if (c != '[' || (kind != ':' && kind != '.' && kind != '=')) {
        if (c == '-' && !first && p->at[1] != ']' && p->at[1] != '-')
            return fail(p, ERANGE), -1; /* glibc: a hyphen is first, last, or an end of a range */
        p->at++;
        return c;
    }
    const u8 *begin = p->at + 2, *end = begin;
    while (*end && !(*end == kind && end[1] == ']'))
        end++;
    if (!*end)
        return fail(p, EBRACK), -1;
    p->at = end + 2;
    if (kind != ':')
        return end - begin == 1 ? *begin : (fail(p, ECOLLATE), -1);
    for (int which = 0; which < 12; which++) {
        const char *name = names[which];
        if (strlen(name) == (size)(end - begin)) {
            int same = 1;
            for (int i = 0; name[i]; i++)
                same &= name[i] == (char)begin[i];
            if (same) {
                if (p->out->flags & ICASE && (which == 3 || which == 4))
                    which = 0;
                for (c = 0; c < 256; c++)
                    if (in_class(which, c))
                        include(p, set, c);
                return -1;
            }
        }
    }
    return fail(p, ECTYPE), -1;
}

static int bracket(parser *p) {
    int negated = *p->at == '^', first = 1, made = add(p, SET, 0, 0);
    u8 set[32] = {0};
    p->at += negated;
    if (!*p->at)
        return fail(p, BADPAT);
    for (; !p->error && (first || *p->at != ']'); first = 0) {
        const u8 *before = p->at;
        int low = element(p, set, first);
        if (p->error)
            break;
        if (*p->at == '-' && p->at[1] != ']') {
            if (low < 0)
                return fail(p, ERANGE);
            p->at++;
            if (!*p->at)
                return fail(p, EBRACK);
            int high = element(p, set, 1);
            if (p->error || high < low)
                return fail(p, ERANGE);
            for (; low <= high; low++)
                include(p, set, low);
        } else if (low >= 0)
            include(p, set, low);
        if (p->at == before)
            break;
    }
    if (p->error)
        return 0;
    p->at++;
    for (int i = 0; i < 32; i++)
        p->out->trees[made].set[i] = negated ? (u8)~set[i] : set[i];
    if (negated && p->out->flags & NEWLINE)
        p->out->trees[made].set[1] &= ~(1 << 2);
    return made;
}

static int any(parser *p) {
    int made = add(p, SET, 0, 0);
    for (int i = 0; i < 32 && !p->error; i++)
        p->out->trees[made].set[i] = 0xff;
    if (!p->error && p->out->flags & NEWLINE)
        p->out->trees[made].set[1] &= ~(1 << 2);
    return made;
}

static int number(parser *p) {
    int value = -1;
    while (*p->at >= '0' && *p->at <= '9') {
        value = (value < 0 ? 0 : value) * 10 + *p->at++ - '0';
        if (value > MOST_REPEATS)
            value = MOST_REPEATS + 1;
    }
    return value;
}

static int repeated(parser *p, int what, int least, int most) {
    if (most == 0)
        return add(p, EMPTY, 0, 0);
    int made = add(p, REPEAT, what, 0);
    if (!p->error)
        p->out->trees[made].least = least, p->out->trees[made].most = most;
    return made;
}

static int bad_interval(parser *p) {
    while (*p->at && *p->at != '}' && *p->at != ',')
        p->at++;
    return fail(p, *p->at ? BADBR : EBRACE);
}

/* {m}, {m,}, {,n} or {m,n}, after the brace. */
static int interval(parser *p, int what) {
    int extended = p->out->flags & EXTENDED, least = number(p), most = least;
    if (*p->at == ',') {
        p->at++;
        most = number(p);
        least = least < 0 ? 0 : least;
        if (most < 0)
            most = INFINITE;
    } else if (least < 0)
        return bad_interval(p);
    if (!extended && *p->at == '\\')
        p->at++;
    else if (!extended)
        return bad_interval(p);
    if (*p->at != '}')
        return bad_interval(p);
    p->at++;
    if (most != INFINITE && least > most)
        return fail(p, BADBR);
    if (least > MOST_REPEATS || most > MOST_REPEATS)
        return fail(p, ESIZE);
    return repeated(p, what, least, most);
}

/* The operator at `p->at`: '*', '+', '?', '{', '|', '(' or ')', which is passed if `take`; else 0. */
static int operator(parser *p, int take) {
    int extended = p->out->flags & EXTENDED, c = *p->at;
    if (c == '\\' && !extended) {
        c = p->at[1];
        if (c == '+' || c == '?' || c == '{' || c == '|' || c == '(' || c == ')')
            return p->at += take ? 2 : 0, c;
        return 0;
    }
    if (c == '*' || (extended && (c == '+' || c == '?' || c == '{' || c == '|' || c == '(' || c == ')')))
        return p->at += take, c;
    return 0;
}

static int group(parser *p) {
    int number = ++p->out->groups;
    if (++p->depth > DEEPEST)
        return fail(p, ESPACE);
    int inside = alternatives(p, 1);
    p->depth--;
    if (p->error || operator(p, 1) != ')')
        return fail(p, EPAREN);
    if (number <= 9)
        p->closed |= 1 << number;
    return add(p, GROUP, inside, number);
}

static int escaped(parser *p) {
    int c = *p->at++;
    switch (c) {
    case 0: return fail(p, EESCAPE);
    case 'w': return class_set(p, 2, 0, '_');
    case 'W': return class_set(p, 2, 1, '_');
    case 's': return class_set(p, 5, 0, ' ');
    case 'S': return class_set(p, 5, 1, ' ');
    case 'b': return add(p, WORD_EDGE, 0, 0);
    case 'B': return add(p, NOT_WORD_EDGE, 0, 0);
    case '<': return add(p, WORD_START, 0, 0);
    case '>': return add(p, WORD_END, 0, 0);
    case '`': return add(p, BUFFER_START, 0, 0);
    case '\'': return add(p, BUFFER_END, 0, 0);
    }
    if (c >= '1' && c <= '9') {
        if (!(p->closed >> (c - '0') & 1))
            return fail(p, ESUBREG);
        p->out->backrefs = 1;
        return add(p, BACKREF, 0, c - '0');
    }
    return literal(p, c);
}

/* Whether a basic expression's ^ or $ at `p->at` is an anchor. */
static int anchors_start(parser *p) {
    const u8 *at = p->at;
    return at == p->start || (at - p->start >= 2 && at[-2] == '\\' && (at[-1] == '(' || at[-1] == '|'));
}

static int anchors_end(parser *p) {
    const u8 *next = p->at + 1;
    return !*next || (*next == '\\' && (next[1] == ')' || next[1] == '|'));
}

/* One expression with its repetitions. `first`: nothing stands before it that * could repeat. */
static int expression(parser *p, int first) {
    int extended = p->out->flags & EXTENDED, c = *p->at, made, kind = operator(p, 0);
    if (kind && kind != '(' && (first || kind == ')')) {
        if ((extended && kind != ')') || kind == '{')
            return fail(p, BADRPT);
        if (kind != '*' && kind != ')' && !extended)
            p->at++; /* glibc: \+ and \? with nothing before are the characters */
        made = literal(p, *p->at++);
    } else if (kind == '(') {
        operator(p, 1);
        made = group(p);
    } else {
        p->at++;
        if ((c == '^' && (extended || (p->at--, first = anchors_start(p), p->at++, first))) ||
            (c == '$' && (extended || (p->at--, first = anchors_end(p), p->at++, first))))
            return add(p, c == '^' ? BOL : EOL, 0, 0);
        made = c == '\\' ? escaped(p) : c == '[' ? bracket(p) : c == '.' ? any(p) : literal(p, c);
        if (!p->error && p->out->trees[made].kind >= BOL)
            return made;
    }
    while (!p->error && ((kind = operator(p, 0)) == '*' || kind == '+' || kind == '?' || kind == '{')) {
        operator(p, 1);
        made = kind == '{' ? interval(p, made) : repeated(p, made, kind == '+', kind == '?' ? 1 : INFINITE);
    }
    return made;
}

static int ends(parser *p, int inside) {
    int kind = operator(p, 0);
    return !*p->at || kind == '|' || (kind == ')' && (inside || !(p->out->flags & EXTENDED)));
}

/* A sequence is a tree to the left, as glibc's: what stands before its last part is made long first. */
static int sequence(parser *p, int inside) {
    int made = -1;
    if (ends(p, inside))
        return add(p, EMPTY, 0, 0);
    for (int anchored = 1; !p->error && !ends(p, inside);) {
        int one = expression(p, anchored);
        if (p->error)
            return 0;
        anchored = p->out->trees[one].kind >= BOL;
        made = made < 0 ? one : add(p, CAT, made, one);
    }
    return made;
}

static int alternatives(parser *p, int inside) {
    int made = sequence(p, inside);
    while (!p->error && operator(p, 0) == '|') {
        operator(p, 1);
        int other = sequence(p, inside);
        made = add(p, ALT, made, other);
    }
    return made;
}

int __relink_regex_parse(program *out, const char *text) {
    parser p = {.out = out, .at = (const u8 *)text, .start = (const u8 *)text};
    out->root = alternatives(&p, 0);
    if (!p.error && *p.at)
        fail(&p, EPAREN); /* as glibc: POSIX does not distinguish them */
    return p.error;
}
