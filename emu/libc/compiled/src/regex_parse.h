/* What the parser of regular expressions shares with the part that makes its sets of bytes. */
#ifndef REGEX_PARSE_H
#define REGEX_PARSE_H
#include "regex.h"

/* Kinds of tokens besides the operators, whose kind is their character. */
enum { CHARACTER = 256, BACK_REFERENCE, ESCAPED_LETTER, LONE_BACKSLASH, END };
typedef struct { int kind, c, length; } token;

typedef struct parser {
    program *out;
    const u8 *at, *start, *end; /* `at` is after `now` */
    token now;
    int error, depth, closed; /* `closed`: groups 1 to 9 whose end was seen, as bits */
} parser;

HIDDEN int fail(parser *, int error);
HIDDEN int add(parser *, enum kind, int left, int right);
HIDDEN int byte(const parser *, const u8 *at);
HIDDEN int literal(parser *, int c);
HIDDEN int any(parser *);
HIDDEN int bracket(parser *);
enum { ALNUM = 2, SPACE = 5 };
HIDDEN int class_set(parser *, int which, int negated, int extra);
#endif
