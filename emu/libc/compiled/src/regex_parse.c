/* Parsing regular expressions of every syntax of GNU's <regex.h>, POSIX basic and extended ones among them. Bytes are
   characters, as in the C locale. What is left open by POSIX and by the manual is as in glibc. */
#include "regex_parse.h"

enum { MOST_REPEATS = 0x7fff, DEEPEST = 250 };

static int alternatives(parser *, int inside);

/* The token of a backslash and `c`. */
static token escaped(unsigned long syntax, int c) {
    int kind = CHARACTER;
    switch (c) {
    case '|': kind = syntax & (FEW_OPERATORS | PLAIN_BAR) ? CHARACTER : c; break;
    case '(': case ')': kind = syntax & PLAIN_PARENTHESES ? CHARACTER : c; break;
    case '{': case '}': kind = syntax & INTERVALS && !(syntax & PLAIN_BRACES) ? c : CHARACTER; break;
    case '+': case '?': kind = syntax & ESCAPED_PLUS && !(syntax & FEW_OPERATORS) ? c : CHARACTER; break;
    case 'w': case 'W': case 's': case 'S': case 'b': case 'B': case '<': case '>': case '`': case '\'':
        kind = syntax & NO_GNU ? CHARACTER : ESCAPED_LETTER;
        break;
    default:
        if (c >= '1' && c <= '9' && !(syntax & NO_BACKREFS))
            kind = BACK_REFERENCE;
    }
    return (token){kind, c, 2};
}

/* The token at `at`. `start`: a ^ there is at the start of an expression. */
static token token_at(const parser *p, const u8 *at, int start) {
    unsigned long syntax = p->out->syntax;
    int c = byte(p, at), kind = CHARACTER;
    if (at == p->end)
        return (token){END, 0, 0};
    if (c == '\\')
        return at + 1 == p->end ? (token){LONE_BACKSLASH, c, 1} : escaped(syntax, at[1]);
    switch (c) {
    case '\n': kind = syntax & NEWLINE_ALTERNATES ? '|' : CHARACTER; break;
    case '|': kind = syntax & PLAIN_BAR && !(syntax & FEW_OPERATORS) ? c : CHARACTER; break;
    case '(': case ')': kind = syntax & PLAIN_PARENTHESES ? c : CHARACTER; break;
    case '{': case '}': kind = syntax & INTERVALS && syntax & PLAIN_BRACES ? c : CHARACTER; break;
    case '+': case '?': kind = syntax & (FEW_OPERATORS | ESCAPED_PLUS) ? CHARACTER : c; break;
    case '*': case '[': case '.': kind = c; break;
    case '^':
        if (start || syntax & (ANCHORS_EVERYWHERE | CARET_ANCHORS) || at == p->start ||
            (syntax & NEWLINE_ALTERNATES && byte(p, at - 1) == '\n'))
            kind = c;
        break;
    case '$':
        kind = c;
        if (!(syntax & ANCHORS_EVERYWHERE) && at + 1 != p->end) {
            int after = byte(p, at + 1) == '$' ? CHARACTER : token_at(p, at + 1, 0).kind;
            kind = after == '|' || after == ')' ? c : CHARACTER;
        }
    }
    return (token){kind, c, 1};
}

static int next(parser *p, int start) {
    p->now = token_at(p, p->at, start);
    p->at += p->now.length;
    return p->now.kind;
}

/* A number of an interval, up to a comma or the end: -1 if there is none, -2 if it is wrong. */
static int number(parser *p) {
    for (int value = -1;;) {
        int kind = next(p, 0), c = p->now.c;
        if (kind == END)
            return -2;
        if (kind == '}' || c == ',')
            return value;
        if (kind != CHARACTER || c < '0' || c > '9' || value == -2)
            value = -2;
        else if ((value = (value < 0 ? 0 : value) * 10 + c - '0') > MOST_REPEATS)
            value = MOST_REPEATS + 1;
    }
}

static int repeated(parser *p, int what, int least, int most) {
    if (most == 0)
        return add(p, EMPTY, 0, 0);
    int made = add(p, REPEAT, what, 0);
    if (!p->error)
        p->out->trees[made].least = least, p->out->trees[made].most = most;
    return made;
}

/* {m}, {m,}, {,n} or {m,n}, after the brace. */
static int interval(parser *p, int what) {
    const u8 *begin = p->at;
    token brace = p->now;
    int least = number(p), most = least, comma = p->now.kind == CHARACTER && p->now.c == ',';
    if (least == -1 && !comma)
        return fail(p, BADBR);
    if (least == -1)
        least = 0;
    if (least >= 0 && p->now.kind != '}')
        most = comma ? number(p) : -2;
    if (least == -2 || most == -2) {
        if (!(p->out->syntax & INTERVAL_ORDINARY))
            return fail(p, p->now.kind == END ? EBRACE : BADBR);
        p->at = begin, p->now = brace, p->now.kind = CHARACTER;
        return what;
    }
    if (p->now.kind != '}' || (most != INFINITE && least > most))
        return fail(p, BADBR);
    if (least > MOST_REPEATS || most > MOST_REPEATS)
        return fail(p, ESIZE);
    next(p, 0);
    return repeated(p, what, least, most);
}

static int repetition(parser *p, int made) {
    int kind = p->now.kind;
    if (kind == '{')
        made = interval(p, made);
    else {
        next(p, 0);
        made = repeated(p, made, kind == '+', kind == '?' ? 1 : INFINITE);
    }
    if (!p->error && p->out->syntax & INVALID_REPEATS && (p->now.kind == '*' || p->now.kind == '{'))
        return fail(p, BADRPT);
    return made;
}

static int group(parser *p) {
    int number = ++p->out->groups;
    if (++p->depth > DEEPEST)
        return fail(p, ESPACE);
    int inside = next(p, 1) == ')' ? add(p, EMPTY, 0, 0) : alternatives(p, 1);
    p->depth--;
    if (p->error || p->now.kind != ')')
        return fail(p, EPAREN);
    if (number <= 9)
        p->closed |= 1 << number;
    return add(p, GROUP, inside, number);
}

static int letter(parser *p, int c) {
    switch (c) {
    case 'w': return class_set(p, ALNUM, 0, '_');
    case 'W': return class_set(p, ALNUM, 1, '_');
    case 's': return class_set(p, SPACE, 0, ' ');
    case 'S': return class_set(p, SPACE, 1, ' ');
    case 'b': return add(p, WORD_EDGE, 0, 0);
    case 'B': return add(p, NOT_WORD_EDGE, 0, 0);
    case '<': return add(p, WORD_START, 0, 0);
    case '>': return add(p, WORD_END, 0, 0);
    case '`': return add(p, BUFFER_START, 0, 0);
    default: return add(p, BUFFER_END, 0, 0);
    }
}

static int back_reference(parser *p, int number) {
    if (!(p->closed >> number & 1))
        return fail(p, ESUBREG);
    p->out->backrefs = 1;
    return add(p, BACKREF, 0, number);
}

static int repeats(int kind) { return kind == '*' || kind == '+' || kind == '?' || kind == '{'; }

/* One expression with its repetitions. An operator before which nothing stands is wrong, passed, or a character. */
static int expression(parser *p) {
    unsigned long syntax = p->out->syntax;
    while (repeats(p->now.kind)) {
        if (syntax & INVALID_OPERATORS || (syntax & INVALID_REPEATS && p->now.kind == '{'))
            return fail(p, BADRPT);
        if (!(syntax & OPERATORS_EVERYWHERE))
            break;
        next(p, 0);
    }
    int c = p->now.c, made;
    switch (p->now.kind) {
    case END: case '|': return add(p, EMPTY, 0, 0);
    case LONE_BACKSLASH: return fail(p, EESCAPE);
    case BACK_REFERENCE: made = back_reference(p, c - '0'); break;
    case ESCAPED_LETTER: made = letter(p, c); break;
    case '(': made = group(p); break;
    case '[': made = bracket(p); break;
    case '.': made = any(p); break;
    case '^': made = add(p, BOL, 0, 0); break;
    case '$': made = add(p, EOL, 0, 0); break;
    case ')':
        if (!(syntax & CLOSING_ORDINARY))
            return fail(p, ERPAREN);
        /* fall through */
    default: made = literal(p, c);
    }
    if (p->error)
        return 0;
    int anchor = p->out->trees[made].kind >= BOL; /* not repeated: an operator after it has nothing before it */
    next(p, 0);
    while (!anchor && !p->error && repeats(p->now.kind))
        made = repetition(p, made);
    return made;
}

static int ends(const parser *p, int inside) {
    return p->now.kind == END || p->now.kind == '|' || (p->now.kind == ')' && inside);
}

/* A sequence is a tree to the left, as glibc's: what stands before its last part is made long first. */
static int sequence(parser *p, int inside) {
    int made = -1;
    if (ends(p, inside))
        return add(p, EMPTY, 0, 0);
    while (!p->error && !ends(p, inside)) {
        int one = expression(p);
        if (p->error)
            return 0;
        made = made < 0 ? one : add(p, CAT, made, one);
    }
    return made;
}

/* A back reference in one alternative cannot be to a group of another. */
static int alternatives(parser *p, int inside) {
    int before = p->closed, made = sequence(p, inside);
    while (!p->error && p->now.kind == '|') {
        int seen = p->closed;
        next(p, 1);
        p->closed = before;
        int other = sequence(p, inside);
        p->closed |= seen;
        made = add(p, ALT, made, other);
    }
    return made;
}

int __relink_regex_parse(program *out, const u8 *text, size length) {
    parser p = {.out = out, .at = text, .start = text, .end = text + length};
    next(&p, 1);
    out->root = alternatives(&p, 0);
    return p.error;
}
