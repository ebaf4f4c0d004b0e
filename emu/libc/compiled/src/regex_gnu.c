/* GNU's functions of <regex.h>: searches in any direction, in two parts of a text, with the syntax of the moment. */
#include "regex.h"

typedef struct { unsigned count; int *start, *end; } registers;
enum { UNALLOCATED, REALLOCATE, FIXED };
enum { NOT_FOUND = -1, FAILED = -2 };

extern unsigned long __relink_hosted___relink_regex_syntax(void);
extern void *memcpy(void *, const void *, size), *memset(void *, int, size);

const char *re_compile_pattern(const char *text, size length, regex *to) {
    unsigned long syntax = __relink_hosted___relink_regex_syntax();
    if (to->made && to->allocated)
        __relink_regex_free(to->made);
    to->no_groups = (syntax & NO_GROUPS) != 0, to->newline_anchor = 1;
    int error = __relink_regex_compile(to, text, length, syntax);
    return error ? __relink_regex_message(error) : 0;
}

/* Mark the bytes with which a match of a tree may begin. Returns whether it may be empty. */
static int beginnings(const program *program, int node, char *map) {
    const tree *t = program->trees + node;
    switch (t->kind) {
    case SET:
        for (int c = 0; c < 256; c++)
            if (HAS(t->set, c))
                map[c] = 1;
        return 0;
    case CAT: return beginnings(program, t->left, map) && beginnings(program, t->right, map);
    case ALT: return beginnings(program, t->left, map) | beginnings(program, t->right, map);
    case GROUP: return beginnings(program, t->left, map);
    case REPEAT: return beginnings(program, t->left, map) | (t->least == 0);
    default: return 1;
    }
}

int re_compile_fastmap(regex *compiled) {
    char *map = compiled->fastmap;
    memset(map, 0, 256);
    if (beginnings(compiled->made, compiled->made->root, map)) {
        memset(map, 1, 256);
        compiled->can_be_null = 1;
    }
    compiled->fastmap_accurate = 1;
    return 0;
}

/* Copy `count` places, and -1 for every other. Returns 0 if there is no memory. */
static int give(regex *compiled, registers *to, const range *groups, unsigned count) {
    unsigned room = count + 1; /* glibc: the last is always -1 */
    int fresh = compiled->registers == UNALLOCATED;
    if (fresh || (compiled->registers == REALLOCATE && to->count < room)) {
        int *start = realloc(fresh ? 0 : to->start, room * sizeof *start);
        if (start && !fresh)
            to->start = start;
        int *end = start ? realloc(fresh ? 0 : to->end, room * sizeof *end) : 0;
        if (!end) {
            if (fresh)
                free(start);
            return 0;
        }
        to->start = start, to->end = end, to->count = room;
        compiled->registers = REALLOCATE;
    }
    for (unsigned i = 0; i < to->count; i++) {
        to->start[i] = i < count ? groups[i].start : -1;
        to->end[i] = i < count ? groups[i].end : -1;
    }
    return 1;
}

/* Search from `start` to `last`. Returns where the match is, or if `measured` how long it is. */
static int search(regex *compiled, const char *text, int length, int start, int last, int stop, registers *to,
                  int measured) {
    unsigned room = compiled->made->groups + 1, wanted = room;
    if (compiled->no_groups || (to && compiled->registers == FIXED && !to->count))
        to = 0;
    if (!to)
        wanted = 1;
    else if (compiled->registers == FIXED && to->count < room)
        wanted = to->count;
    range *groups = malloc(2 * room * sizeof *groups);
    u8 *changed = compiled->translate ? malloc(length + 1) : 0;
    int result = FAILED;
    if (groups && (changed || !compiled->translate)) {
        for (int i = 0; changed && i < length; i++)
            changed[i] = compiled->translate[(u8)text[i]];
        matcher m = {.program = compiled->made, .text = changed ? changed : (const u8 *)text, .length = length,
                     .start = start, .last = last, .stop = stop < length ? stop : length,
                     .flags = (compiled->not_bol ? NOTBOL : 0) | (compiled->not_eol ? NOTEOL : 0),
                     .newline = compiled->newline_anchor, .groups = groups};
        int status = __relink_regex_search(&m, wanted > 1);
        if (status == NOMATCH)
            result = NOT_FOUND;
        else if (status == OK && (!to || give(compiled, to, groups, wanted)))
            result = measured ? groups[0].end - start : groups[0].start;
    }
    free(changed);
    free(groups);
    return result;
}

static int search_range(regex *compiled, const char *text, int length, int start, int distance, int stop, registers *to,
                        int measured) {
    if (start < 0 || start > length)
        return NOT_FOUND;
    i64 last = (i64)start + distance;
    last = last < 0 ? 0 : last > length ? length : last;
    if (start < last && compiled->fastmap && !compiled->fastmap_accurate)
        re_compile_fastmap(compiled);
    return search(compiled, text, length, start, (int)last, stop, to, measured);
}

/* As `search_range`, of two texts one after the other. */
static int search_both(regex *compiled, const char *first, int first_length, const char *second, int second_length,
                       int start, int distance, registers *to, int stop, int measured) {
    int length;
    if (first_length < 0 || second_length < 0 || stop < 0 || __builtin_add_overflow(first_length, second_length, &length))
        return FAILED;
    if (!first_length || !second_length)
        return search_range(compiled, first_length ? first : second, length, start, distance, stop, to, measured);
    char *joined = malloc(length);
    if (!joined)
        return FAILED;
    memcpy(joined, first, first_length);
    memcpy(joined + first_length, second, second_length);
    int result = search_range(compiled, joined, length, start, distance, stop, to, measured);
    free(joined);
    return result;
}

int re_search(regex *compiled, const char *text, int length, int start, int distance, registers *to) {
    return search_range(compiled, text, length, start, distance, length, to, 0);
}

int re_match(regex *compiled, const char *text, int length, int start, registers *to) {
    return search_range(compiled, text, length, start, 0, length, to, 1);
}

int re_search_2(regex *compiled, const char *first, int first_length, const char *second, int second_length, int start,
                int distance, registers *to, int stop) {
    return search_both(compiled, first, first_length, second, second_length, start, distance, to, stop, 0);
}

int re_match_2(regex *compiled, const char *first, int first_length, const char *second, int second_length, int start,
               registers *to, int stop) {
    return search_both(compiled, first, first_length, second, second_length, start, 0, to, stop, 1);
}

void re_set_registers(regex *compiled, registers *to, unsigned count, int *starts, int *ends) {
    compiled->registers = count ? REALLOCATE : UNALLOCATED;
    to->count = count;
    to->start = count ? starts : 0, to->end = count ? ends : 0;
}
