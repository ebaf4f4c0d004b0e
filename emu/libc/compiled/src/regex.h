/* The tree of a POSIX regular expression, made by regex_parse.c and matched by regex.c. */
#ifndef REGEX_H
#define REGEX_H
#include "types.h"

enum { EXTENDED = 1, ICASE = 2, NEWLINE = 4, NOSUB = 8 };
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
    int count, room, root, groups, flags, backrefs;
} program;

#define HAS(set, byte) ((set)[(byte) >> 3] >> ((byte) & 7) & 1)

extern void *malloc(size), *calloc(size, size), *realloc(void *, size);
extern void free(void *);
extern size strlen(const char *);
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN int __relink_regex_parse(program *, const char *);
HIDDEN int __relink_regex_word(int byte);
#endif
