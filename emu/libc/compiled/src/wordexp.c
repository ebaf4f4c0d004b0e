/* <wordexp.h>: quotes, variables with -, +, = and ?, splitting into fields, tilde of the own user, and patterns. There
   are no processes: command substitution, and arithmetic, end with WRDE_CMDSUB. */
#include "types.h"

enum { DOOFFS = 1, APPEND = 2, REUSE = 8, UNDEF = 32 };
enum { NOSPACE = 1, BADCHAR = 2, BADVAL = 3, CMDSUB = 4, SYNTAX = 5 };
enum { GLOB_NOMATCH = 3, DEEPEST = 32 };

typedef struct { size count; char **words; size offset; } result;
typedef struct { size count; char **paths; size offset; char rest[sizeof(void *) * 8]; } paths;
typedef struct { char *at; size length, room; } text;
typedef struct {
    text literal, pattern; /* one word: as it is, and with quoted characters behind backslashes */
    int begun, magic, flags, error, depth;
    result found;
} state;

extern void *malloc(size), *realloc(void *, size), *memcpy(void *, const void *, size);
extern void free(void *);
extern size strlen(const char *);
extern char *getenv(const char *), *strchr(const char *, int);
extern int setenv(const char *, const char *, int), glob(const char *, int, void *, paths *);
extern void globfree(paths *);

static void put(state *s, text *to, char c) {
    if (to->length + 2 > to->room) {
        size room = 2 * to->room + 32;
        char *more = realloc(to->at, room);
        if (!more) {
            s->error = NOSPACE;
            return;
        }
        to->at = more, to->room = room;
    }
    to->at[to->length++] = c, to->at[to->length] = 0;
}

static void add(state *s, char c, int quoted) {
    int special = c == '*' || c == '?' || c == '[';
    s->begun = 1, s->magic |= special && !quoted;
    put(s, &s->literal, c);
    if (quoted && (special || c == '\\' || c == ']' || c == '-'))
        put(s, &s->pattern, '\\');
    put(s, &s->pattern, c);
}

static void keep(state *s, const char *word) {
    size length = strlen(word) + 1, first = s->flags & DOOFFS ? s->found.offset : 0;
    char *copy = malloc(length), **more = realloc(s->found.words, (first + s->found.count + 2) * sizeof *more);
    if (more)
        s->found.words = more;
    if (!copy || !more) {
        free(copy);
        s->error = NOSPACE;
        return;
    }
    for (size i = 0; i < first && !s->found.count; i++)
        more[i] = 0;
    memcpy(copy, word, length);
    more[first + s->found.count++] = copy, more[first + s->found.count] = 0;
}

static void end_word(state *s) {
    paths matches = {0};
    if (!s->begun)
        return;
    if (s->magic && !glob(s->pattern.at, 0, 0, &matches)) {
        for (size i = 0; i < matches.count; i++)
            keep(s, matches.paths[i]);
        globfree(&matches);
    } else
        keep(s, s->literal.at ? s->literal.at : "");
    s->begun = s->magic = 0;
    s->literal.length = s->pattern.length = 0;
    if (s->literal.at)
        *s->literal.at = *s->pattern.at = 0;
}

static int is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }
static int is_name(char c, int first) {
    return c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (!first && c >= '0' && c <= '9');
}

/* The value of a variable; fields of it are words of their own where it is not quoted. */
static void add_value(state *s, const char *value, int quoted) {
    for (; *value && !s->error; value++)
        if (!quoted && is_space(*value))
            end_word(s);
        else
            add(s, *value, quoted);
}

static const char *expand(state *s, const char *from, const char *end, int quoted);

/* Behind a dollar: returns what is behind the variable. */
static const char *variable(state *s, const char *from, const char *end, int quoted) {
    int braces = from < end && *from == '{', counts = 0, nested = 0;
    if (from < end && *from == '(') {
        s->error = CMDSUB;
        return end;
    }
    from += braces;
    if (braces && from < end && *from == '#')
        counts = 1, from++;
    const char *name = from;
    while (from < end && is_name(*from, from == name))
        from++;
    if (from == name) {
        if (braces)
            s->error = SYNTAX;
        else
            add(s, '$', quoted);
        return from;
    }
    char *copy = malloc(from - name + 1);
    if (!copy) {
        s->error = NOSPACE;
        return end;
    }
    memcpy(copy, name, from - name);
    copy[from - name] = 0;
    const char *value = getenv(copy), *word = from;
    char action = 0;
    if (braces) {
        int colon = from < end && *from == ':';
        from += colon;
        if (from < end && *from != '}')
            action = *from++;
        word = from;
        while (from < end && (nested || *from != '}')) {
            nested += (*from == '{') - (*from == '}');
            from += *from == '\\' && from + 1 < end ? 2 : 1;
        }
        if (from >= end || (action && !strchr("-+=?", action)) || (colon && !action))
            s->error = SYNTAX;
        if (colon && value && !*value)
            value = 0;
    }
    char number[24], *digit = number + sizeof number;
    if (s->error || (action == '?' && !value))
        s->error = s->error ? s->error : BADVAL;
    else if (counts) {
        size length = value ? strlen(value) : 0;
        *--digit = 0;
        do
            *--digit = '0' + length % 10;
        while (length /= 10);
        add_value(s, digit, quoted);
    } else if (action == '+' ? value != 0 : action && !value) {
        if (action == '=') { /* its value is the word, expanded as if quoted */
            state own = {.flags = s->flags, .depth = s->depth + 1};
            expand(&own, word, from, 1);
            s->error = own.error;
            setenv(copy, own.literal.at ? own.literal.at : "", 1);
            add_value(s, own.literal.at ? own.literal.at : "", quoted);
            free(own.literal.at), free(own.pattern.at);
        } else
            expand(s, word, from, quoted);
    } else if (action != '+' && value)
        add_value(s, value, quoted);
    else if (!action && !value && s->flags & UNDEF)
        s->error = BADVAL;
    s->begun |= quoted;
    free(copy);
    return from + braces;
}

static const char *expand(state *s, const char *from, const char *end, int quoted) {
    if (++s->depth > DEEPEST)
        s->error = SYNTAX;
    while (from < end && !s->error) {
        char c = *from++;
        if (c == '\\' && from < end) {
            char next = *from++;
            if (quoted && !strchr("$`\"\\\n", next))
                add(s, '\\', 1);
            if (next != '\n')
                add(s, next, 1);
        } else if (c == '$' && from < end)
            from = variable(s, from, end, quoted);
        else if (c == '`')
            s->error = CMDSUB;
        else if (c == '"' || (c == '\'' && !quoted)) {
            const char *close = from;
            while (close < end && *close != c)
                close += c == '"' && *close == '\\' && close + 1 < end ? 2 : 1;
            if (close >= end) {
                s->error = SYNTAX;
                break;
            }
            s->begun = 1;
            if (c == '"')
                expand(s, from, close, !quoted);
            else
                for (; from < close; from++)
                    add(s, *from, 1);
            from = close + 1;
        } else if (quoted)
            add(s, c, 1);
        else if (strchr("|&;<>(){}\n", c))
            s->error = s->depth > 1 && c != '\n' ? (add(s, c, 0), s->error) : BADCHAR;
        else if (is_space(c))
            end_word(s);
        else if (c == '~' && !s->begun && (from == end || *from == '/' || is_space(*from)) && getenv("HOME"))
            add_value(s, getenv("HOME"), 1);
        else
            add(s, c, 0);
    }
    s->depth--;
    return from;
}

void wordfree(result *words) {
    size first = words->words ? words->offset : 0;
    for (size i = 0; words->words && i < words->count; i++)
        free(words->words[first + i]);
    free(words->words);
    words->words = 0, words->count = 0;
}

int wordexp(const char *words, result *to, int flags) {
    state s = {.flags = flags};
    if (flags & REUSE)
        wordfree(to);
    if (flags & APPEND)
        s.found = *to;
    else
        s.found.offset = flags & DOOFFS ? to->offset : 0;
    size before = s.found.count, first = flags & DOOFFS ? s.found.offset : 0;
    expand(&s, words, words + strlen(words), 0);
    if (!s.error)
        end_word(&s);
    free(s.literal.at), free(s.pattern.at);
    if (!s.error && !s.found.words) {
        s.found.words = malloc((first + 1) * sizeof *s.found.words);
        for (size i = 0; s.found.words && i <= first; i++)
            s.found.words[i] = 0;
        s.error = s.found.words ? 0 : NOSPACE;
    }
    if (s.error && s.error != NOSPACE)
        while (s.found.count > before)
            free(s.found.words[first + --s.found.count]), s.found.words[first + s.found.count] = 0;
    if (s.error && s.error != NOSPACE && !(flags & APPEND)) {
        free(s.found.words);
        s.found.words = 0;
    }
    *to = s.found;
    if (!(flags & DOOFFS))
        to->offset = 0;
    return s.error;
}
