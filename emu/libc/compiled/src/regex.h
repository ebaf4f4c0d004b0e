/* The tree of a regular expression, made by regex_parse.c (with regex_sets.c) and matched by regex.c; the
   functions of regex_posix.c and regex_gnu.c use it. */
#ifndef REGEX_H
#define REGEX_H
#include "types.h"

/* The bits of a syntax (reg_syntax_t); RE_NO_POSIX_BACKTRACKING and RE_DEBUG have no effect, as in glibc. */
enum {
    BACKSLASH_IN_LISTS = 1, ESCAPED_PLUS = 1 << 1, CLASSES = 1 << 2, ANCHORS_EVERYWHERE = 1 << 3,
    OPERATORS_EVERYWHERE = 1 << 4, INVALID_OPERATORS = 1 << 5, DOT_NEWLINE = 1 << 6, DOT_NOT_NULL = 1 << 7,
    LISTS_NOT_NEWLINE = 1 << 8, INTERVALS = 1 << 9, FEW_OPERATORS = 1 << 10, NEWLINE_ALTERNATES = 1 << 11,
    PLAIN_BRACES = 1 << 12, PLAIN_PARENTHESES = 1 << 13, NO_BACKREFS = 1 << 14, PLAIN_BAR = 1 << 15,
    NO_EMPTY_RANGES = 1 << 16, CLOSING_ORDINARY = 1 << 17, NO_GNU = 1 << 19, INTERVAL_ORDINARY = 1 << 21,
    ICASE = 1 << 22, CARET_ANCHORS = 1 << 23, INVALID_REPEATS = 1 << 24, NO_GROUPS = 1 << 25
};
enum { NOTBOL = 1, NOTEOL = 2, STARTEND = 4 };
enum {
    OK, NOMATCH, BADPAT, ECOLLATE, ECTYPE, EESCAPE, ESUBREG, EBRACK, EPAREN, EBRACE, BADBR, ERANGE, ESPACE, BADRPT,
    EEND, ESIZE, ERPAREN
};
enum kind {
    EMPTY, SET, CAT, ALT, REPEAT, GROUP, BACKREF,
    BOL, EOL, BUFFER_START, BUFFER_END, WORD_EDGE, NOT_WORD_EDGE, WORD_START, WORD_END
};
#define INFINITE (-1)

typedef struct tree {
    enum kind kind;
    int left, right; /* subtrees; of a REPEAT and a GROUP only the left; of a GROUP and a BACKREF `right` is its number */
    int least, most; /* of a REPEAT */
    u8 set[32];      /* bytes that a SET matches */
} tree;

typedef struct program {
    tree *trees;
    int count, room, root, groups, backrefs;
    unsigned long syntax;
    const u8 *translate; /* while it is parsed: what each byte stands for, or null */
} program;

/* regex_t, struct re_pattern_buffer */
typedef struct {
    program *made;
    unsigned long allocated, used, syntax;
    char *fastmap;
    u8 *translate;
    size groups;
    unsigned can_be_null : 1, registers : 2, fastmap_accurate : 1, no_groups : 1, not_bol : 1, not_eol : 1, newline_anchor : 1;
} regex;
typedef struct { int start, end; } range;

/* A search. A match begins at one of `start` to `last` (either may be the lower; the first found counts) and ends
   at `stop` at most; `length` bytes are there for what stands around it. `groups` has room for twice the groups. */
typedef struct {
    const program *program;
    const u8 *text;
    int length, start, last, stop, flags, newline;
    range *groups;
    int low, words, failed;
    long steps;
} matcher;

#define HAS(set, byte) ((set)[(byte) >> 3] >> ((byte) & 7) & 1)

extern void *malloc(size), *calloc(size, size), *realloc(void *, size);
extern void free(void *);
extern size strlen(const char *);
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN int __relink_regex_parse(program *, const u8 *text, size length);
HIDDEN int __relink_regex_compile(regex *, const char *text, size length, unsigned long syntax);
HIDDEN void __relink_regex_free(program *);
HIDDEN int __relink_regex_search(matcher *, int with_groups);
HIDDEN const char *__relink_regex_message(int error);
HIDDEN int __relink_regex_word(int byte);
#endif
