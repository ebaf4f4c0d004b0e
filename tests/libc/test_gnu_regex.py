"""GNU's functions of <regex.h>, and div, of the hosted library, called by C code for every target.

What is expected was measured with glibc's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emu import Library, Machine
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked

_SOURCE = """
typedef __SIZE_TYPE__ size_t;
typedef struct {
    void *made; unsigned long allocated, used, syntax; char *fastmap; unsigned char *translate; size_t groups;
    unsigned can_be_null : 1, registers : 2, accurate : 1, no_sub : 1, not_bol : 1, not_eol : 1;
    unsigned newline_anchor : 1;
} pattern;
typedef struct { unsigned count; int *start, *end; } places;
typedef struct { int quotient, remainder; } narrow;
typedef struct { long quotient, remainder; } of_long;
typedef struct { long long quotient, remainder; } wide;
extern unsigned long re_syntax_options;
unsigned long re_set_syntax(unsigned long);
const char *re_compile_pattern(const char *, size_t, pattern *);
int re_compile_fastmap(pattern *), re_search(pattern *, const char *, int, int, int, places *);
int re_match(pattern *, const char *, int, int, places *), snprintf(char *, size_t, const char *, ...);
int re_search_2(pattern *, const char *, int, const char *, int, int, int, places *, int);
int re_match_2(pattern *, const char *, int, const char *, int, int, places *, int);
void re_set_registers(pattern *, places *, unsigned, int *, int *), regfree(pattern *);
void *malloc(size_t), free(void *);
size_t strlen(const char *);
narrow div(int, int);
of_long ldiv(long, long);
wide lldiv(long long, long long);
static char said[400];
static const char *shown(int result, const places *found)
{
    int at = snprintf(said, sizeof said, "%d", result);
    for (unsigned i = 0; i < found->count; i++)
        at += snprintf(said + at, sizeof said - at, " %d-%d", found->start[i], found->end[i]);
    return said;
}
const char *search(const char *text, unsigned long syntax, const char *in, int start, int distance, int changes)
{
    static unsigned char lower[256];
    pattern made = {0};
    places found = {0};
    for (int i = 0; i < 256; i++)
        lower[i] = i >= 'A' && i <= 'Z' ? i + 32 : i;
    made.translate = changes & 1 ? lower : 0;
    re_set_syntax(syntax);
    if (re_syntax_options != syntax)
        return "another syntax";
    re_syntax_options = 0;
    if (re_set_syntax(syntax) != 0)
        return "another syntax";
    const char *error = re_compile_pattern(text, strlen(text), &made);
    if (error)
        return error;
    if (!made.newline_anchor)
        return "lines do not count";
    made.newline_anchor = !(changes & 2), made.not_bol = (changes & 4) != 0;
    int result = changes & 8 ? re_match(&made, in, strlen(in), start, &found)
                             : re_search(&made, in, strlen(in), start, distance, &found);
    made.translate = 0;
    regfree(&made);
    shown(result, &found);
    free(found.start), free(found.end);
    return said;
}
const char *in_parts(int stop, int matched)
{
    pattern made = {0};
    places found = {0};
    re_set_syntax(0);
    re_compile_pattern("b\\\\(c*\\\\)d", 8, &made);
    int result = matched ? re_match_2(&made, "abc", 3, "cde", 3, 1, &found, stop)
                         : re_search_2(&made, "abc", 3, "cde", 3, 0, 6, &found, stop);
    regfree(&made);
    return shown(result, &found);
}
const char *own_registers(int count, int fixed)
{
    static int starts[8], ends[8];
    pattern made = {0};
    places found = {7, ends, starts};
    re_set_syntax(0);
    re_compile_pattern("b\\\\(c\\\\)", 6, &made);
    re_set_registers(&made, &found, count, starts, ends);
    if (fixed)
        made.registers = 2, found.start = starts, found.end = ends;
    return shown(re_search(&made, "abc", 3, 0, 3, &found), &found);
}
const char *first_bytes(const char *text)
{
    pattern made = {0};
    int at = 0;
    re_set_syntax(0);
    re_compile_pattern(text, strlen(text), &made);
    made.fastmap = malloc(256);
    re_compile_fastmap(&made);
    for (int i = 'a'; i <= 'z'; i++)
        if (made.fastmap[i])
            said[at++] = i;
    said[at] = 0;
    regfree(&made);
    return said;
}
const char *divided(int a, int b)
{
    narrow n = div(a, b);
    of_long l = ldiv(a, b);
    wide w = lldiv((long long)a << 32, b);
    snprintf(said, sizeof said, "%d %d %ld %ld %lld %lld", n.quotient, n.remainder, l.quotient, l.remainder,
             w.quotient, w.remainder);
    return said;
}
"""


@pytest.fixture(params=TARGETS)
def loaded(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, Library]]:
    made = linked(request.param, [compiled(request.param, _SOURCE, "-fPIC", "-fno-builtin")])
    with Machine(arch_of(request.param)) as machine:
        yield machine, machine.load(made)


def said(loaded: tuple[Machine, Library], name: str, parameters: str, *args: str | int) -> str:
    machine, library = loaded
    result = library.function(name, f"const char *{name}({parameters})")(*args)
    return machine.memory.read_cstring(result).decode()


EMACS, BASIC, EXTENDED, GREP, EGREP = 0, 0x10102C6, 0x3B2FC, 0x10A46, 0x23BA5C
AWK, POSIX_AWK, NO_GROUPS, ICASE = 0xBE0CD, 0x2BB2FD, 1 << 25, 1 << 22
FOLDED, WHOLE, NOT_BOL, MATCH = 1, 2, 4, 8
SEARCHES = [
    ("a\\(b*\\)", EMACS, "xabb", 0, 4, 0, "1 1-4 2-4 -1--1"),
    ("a+", EMACS, "aa", 0, 2, 0, "0 0-2 -1--1"),
    ("a{2}", EMACS, "aaa{2}", 0, 6, 0, "2 2-6 -1--1"),
    ("a\\{2\\}", BASIC, "aaa", 0, 3, 0, "0 0-2 -1--1"),
    ("x*", BASIC, "abxx", 4, -4, 0, "4 4-4 -1--1"),
    ("ab", BASIC, "ababab", 5, -5, 0, "4 4-6 -1--1"),
    ("ab", BASIC, "ababab", 3, -1, 0, "2 2-4 -1--1"),
    ("ab", BASIC, "ababab", 1, 99, 0, "2 2-4 -1--1"),
    ("ab", BASIC, "ab", 3, 0, 0, "-1"),
    ("b", BASIC, "ab", 0, 0, 0, "-1"),
    ("a*", BASIC, "baa", 1, 0, MATCH, "2 1-3 -1--1"),
    ("^b", BASIC, "a\nb", 0, 3, 0, "2 2-3 -1--1"),
    ("^b", BASIC, "a\nb", 0, 3, WHOLE, "-1"),
    ("^b", BASIC, "b", 0, 1, NOT_BOL, "-1"),
    ("B", BASIC, "xBb", 0, 3, FOLDED, "1 1-2 -1--1"),
    ("B", EXTENDED | ICASE, "xb", 0, 2, 0, "1 1-2 -1--1"),
    ("(b)", EXTENDED | NO_GROUPS, "ab", 0, 2, 0, "1"),
    ("a\nb", GREP, "b", 0, 1, 0, "0 0-1 -1--1"),
    ("(a)\\1", EGREP, "xaa", 0, 3, 0, "1 1-3 1-2 -1--1"),
    ("a{1", EGREP, "a{1", 0, 3, 0, "0 0-3 -1--1"),
    ("a{1", EXTENDED, "a{1", 0, 3, 0, "Unmatched \\{"),
    ("[\\]]", AWK, "\\]", 0, 2, 0, "1 1-2 -1--1"),
    ("\\<a", AWK, "<a", 0, 2, 0, "0 0-2 -1--1"),
    ("a{2}", POSIX_AWK, "aa", 0, 2, 0, "0 0-2 -1--1"),
    ("*", EXTENDED, "*", 0, 1, 0, "Invalid preceding regular expression"),
    ("\\)", BASIC, ")", 0, 1, 0, "Unmatched ) or \\)"),
    ("(a)|\\1", EGREP, "a", 0, 1, 0, "Invalid back reference"),
    ("[b-a]", BASIC, "a", 0, 1, 0, "Invalid range end"),
    ("[b-a]", EMACS, "a", 0, 1, 0, "-1"),
]


def test_re_search_follows_the_syntax_and_its_direction(loaded: tuple[Machine, Library]) -> None:
    parameters = "const char *, unsigned long, const char *, int, int, int"
    for text, syntax, within, start, distance, changes, *expected in SEARCHES:
        args = (text, syntax, within, start, distance, changes)
        assert [said(loaded, "search", parameters, *args)] == expected, args


def test_a_text_in_two_parts_is_searched_up_to_a_stop(loaded: tuple[Machine, Library]) -> None:
    assert said(loaded, "in_parts", "int, int", 6, 0) == "1 1-5 2-4 -1--1"
    assert said(loaded, "in_parts", "int, int", 4, 0) == "-1"
    assert said(loaded, "in_parts", "int, int", 5, 1) == "4 1-5 2-4 -1--1"
    assert said(loaded, "in_parts", "int, int", -1, 1) == "-2"


def test_registers_are_the_callers_or_allocated(loaded: tuple[Machine, Library]) -> None:
    assert said(loaded, "own_registers", "int, int", 0, 0) == "1 1-3 2-3 -1--1"
    assert said(loaded, "own_registers", "int, int", 5, 0) == "1 1-3 2-3 -1--1 -1--1 -1--1"
    assert said(loaded, "own_registers", "int, int", 1, 1) == "1 1-3"
    assert said(loaded, "own_registers", "int, int", 2, 1) == "1 1-3 2-3"


def test_the_fastmap_has_the_bytes_that_begin_a_match(loaded: tuple[Machine, Library]) -> None:
    assert said(loaded, "first_bytes", "const char *", "a\\|[c-e]x") == "acde"
    assert said(loaded, "first_bytes", "const char *", "^b*c") == "bc"
    assert said(loaded, "first_bytes", "const char *", "b*") == "abcdefghijklmnopqrstuvwxyz"


def test_div_gives_the_quotient_towards_zero_and_the_remainder(loaded: tuple[Machine, Library]) -> None:
    assert said(loaded, "divided", "int, int", -7, 2) == "-3 -1 -3 -1 -15032385536 0"
    assert said(loaded, "divided", "int, int", 7, 3) == "2 1 2 1 10021590357 1"
