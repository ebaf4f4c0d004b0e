/* POSIX's functions of <regex.h>. */
#include "regex.h"

void __relink_regex_free(program *made) {
    free(made->trees);
    free(made);
}

/* Compile into `to`, whose `translate` is what each byte stands for, or null. */
int __relink_regex_compile(regex *to, const char *text, size length, unsigned long syntax) {
    program *made = calloc(1, sizeof *made);
    int error = made ? OK : ESPACE;
    if (made) {
        made->syntax = syntax, made->translate = to->translate;
        error = __relink_regex_parse(made, (const u8 *)text, length);
        made->translate = 0;
    }
    if (error && made)
        __relink_regex_free(made);
    to->made = error ? 0 : made, to->allocated = error ? 0 : sizeof *made, to->used = 0, to->syntax = syntax;
    to->groups = error ? 0 : made->groups;
    to->can_be_null = to->registers = to->fastmap_accurate = to->not_bol = to->not_eol = 0;
    return error;
}

int regcomp(regex *to, const char *text, int flags) {
    enum { EXTENDED = 1, IGNORE_CASE = 2, NEWLINE = 4, NOSUB = 8 };
    const unsigned long both = CLASSES | DOT_NEWLINE | DOT_NOT_NULL | INTERVALS | NO_EMPTY_RANGES;
    const unsigned long basic = both | ESCAPED_PLUS | INVALID_REPEATS;
    const unsigned long extended = both | ANCHORS_EVERYWHERE | OPERATORS_EVERYWHERE | PLAIN_BRACES | PLAIN_PARENTHESES |
                                   PLAIN_BAR | INVALID_OPERATORS | CLOSING_ORDINARY;
    unsigned long syntax = flags & EXTENDED ? extended : basic;
    *to = (regex){.newline_anchor = (flags & NEWLINE) != 0, .no_groups = (flags & NOSUB) != 0};
    if (flags & IGNORE_CASE)
        syntax |= ICASE;
    if (flags & NEWLINE)
        syntax = (syntax & ~(unsigned long)DOT_NEWLINE) | LISTS_NOT_NEWLINE;
    int error = __relink_regex_compile(to, text, strlen(text), syntax);
    return error == ERPAREN ? EPAREN : error; /* as glibc: POSIX does not distinguish them */
}

int regexec(const regex *compiled, const char *text, size count, range *matches, int flags) {
    const program *program = compiled->made;
    int start = flags & STARTEND ? matches[0].start : 0, room = program->groups + 1;
    int length = flags & STARTEND ? matches[0].end : (int)strlen(text);
    if (flags & ~(NOTBOL | NOTEOL | STARTEND))
        return BADPAT;
    matcher m = {.program = program, .text = (const u8 *)text, .length = length, .start = start, .last = length,
                 .stop = length, .flags = flags, .newline = compiled->newline_anchor};
    range *groups = m.groups = malloc(2 * room * sizeof *groups);
    if (!groups)
        return ESPACE;
    int wanted = !compiled->no_groups && count > 0;
    int status = start > length ? NOMATCH : __relink_regex_search(&m, wanted && count > 1);
    for (size i = 0; status == OK && wanted && i < count; i++)
        matches[i] = i < (size)room ? groups[i] : (range){-1, -1};
    free(groups);
    return status;
}

void regfree(regex *compiled) {
    if (compiled->made)
        __relink_regex_free(compiled->made);
    free(compiled->fastmap);
    free(compiled->translate);
    compiled->made = 0, compiled->allocated = 0, compiled->fastmap = 0, compiled->translate = 0;
}

const char *__relink_regex_message(int error) {
    static const char messages[] =
        "Success\0No match\0Invalid regular expression\0Invalid collation character\0"
        "Invalid character class name\0Trailing backslash\0Invalid back reference\0"
        "Unmatched [, [^, [:, [., or [=\0Unmatched ( or \\(\0Unmatched \\{\0Invalid content of \\{\\}\0"
        "Invalid range end\0Memory exhausted\0Invalid preceding regular expression\0"
        "Premature end of regular expression\0Regular expression too big\0Unmatched ) or \\)";
    const char *message = messages;
    for (int i = 0; i < error && i < ERPAREN; i++)
        message += strlen(message) + 1;
    return message;
}

size regerror(int error, const regex *compiled, char *to, size room) {
    const char *message = __relink_regex_message(error);
    (void)compiled;
    size length = strlen(message) + 1;
    for (size i = 0; i < length && i < room; i++)
        to[i] = i == room - 1 ? 0 : message[i];
    return length;
}
