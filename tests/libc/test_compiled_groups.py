"""regcomp, glob, strptime and <complex.h> of the hosted library, called by C code for every target."""

from __future__ import annotations

import cmath
import math
import struct
from collections.abc import Iterator

import pytest

from emu import Library, Machine
from tests import sampling
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked

_SOURCE = """
typedef __SIZE_TYPE__ size_t;
typedef struct { void *made; size_t a, b; unsigned long c; char *d, *e; size_t groups; int bits; } regex_t;
typedef struct { int start, end; } regmatch_t;
typedef struct { size_t count; char **paths; size_t offset; int flags; void *functions[5]; } glob_t;
typedef struct { int fields[9]; long offset; const char *zone; } tm;
int regcomp(regex_t *, const char *, int), regexec(const regex_t *, const char *, size_t, regmatch_t *, int);
size_t regerror(int, const regex_t *, char *, size_t);
void regfree(regex_t *);
int glob(const char *, int, int (*)(const char *, int), glob_t *), snprintf(char *, size_t, const char *, ...);
void globfree(glob_t *);
char *strptime(const char *, const char *, tm *);
static char said[400];
const char *match(const char *pattern, const char *text, int flags)
{
    regex_t compiled;
    regmatch_t found[4];
    int error = regcomp(&compiled, pattern, flags), at = 0;
    if (error) {
        regerror(error, &compiled, said, sizeof said);
        return said;
    }
    error = regexec(&compiled, text, 4, found, 0);
    if (error)
        regerror(error, &compiled, said, sizeof said);
    else
        for (size_t i = 0; i <= compiled.groups; i++)
            at += snprintf(said + at, sizeof said - at, i ? " %d-%d" : "%d-%d", found[i].start, found[i].end);
    regfree(&compiled);
    return said;
}
const char *expand(const char *pattern, int flags)
{
    glob_t found;
    int error = glob(pattern, flags, 0, &found), at = snprintf(said, sizeof said, "%d", error);
    for (size_t i = 0; i < found.count; i++)
        at += snprintf(said + at, sizeof said - at, " %s", found.paths[i]);
    globfree(&found);
    return said;
}
const char *parse(const char *text, const char *format)
{
    tm t = {{0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 0};
    char *end = strptime(text, format, &t);
    int at = snprintf(said, sizeof said, "%d", end ? (int)(end - text) : -1);
    for (int i = 0; i < 8; i++)
        at += snprintf(said + at, sizeof said - at, " %d", t.fields[i]);
    return said;
}
#define EACH(X) X(csqrt) X(cexp) X(clog) X(csin) X(ccos) X(ctan) X(csinh) X(ccosh) X(ctanh) X(casin) X(cacos) \\
    X(catan) X(casinh) X(cacosh) X(catanh) X(cproj) X(conj)
#define DECLARE(name) double _Complex name(double _Complex); float _Complex name##f(float _Complex);
EACH(DECLARE)
double cabs(double _Complex), carg(double _Complex);
double _Complex cpow(double _Complex, double _Complex);
typedef double _Complex of_double(double _Complex);
typedef float _Complex of_float(float _Complex);
#define DOUBLE(name) name,
#define FLOAT(name) name##f,
double from[2], to[2];
void apply(int which, int single)
{
    static of_double *const doubles[] = {EACH(DOUBLE)};
    static of_float *const floats[] = {EACH(FLOAT)};
    double _Complex z = __builtin_complex(from[0], from[1]);
    if (single)
        z = floats[which](__builtin_complex((float)from[0], (float)from[1]));
    else if (which < 17)
        z = doubles[which](z);
    else
        z = which == 17 ? cpow(z, z) : __builtin_complex(cabs(z), carg(z));
    to[0] = __real__ z, to[1] = __imag__ z;
}
"""


@pytest.fixture(params=TARGETS)
def loaded(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, Library]]:
    made = linked(request.param, [compiled(request.param, _SOURCE, "-fPIC", "-fno-builtin")])
    files: dict[str, bytes | bytearray] = {
        f"/d/{name}": b"" for name in ("one", "two", "o*", ".hidden", "s/x.c", "s/y.c", "t/x.c")
    }
    with Machine(arch_of(request.param), files=files) as machine:
        yield machine, machine.load(made)


EXTENDED, ICASE, NEWLINE = 1, 2, 4
#: Bytes of a text in which all places are tried.
(LONG,) = sampling.each_or([500], [1500])
MATCHES = [
    ("abc", "xabcx", 0, "1-4"),
    ("a|ab|abc", "xabcd", EXTENDED, "1-4"),
    ("(a|ab)(c|bcd)(d*)", "abcd", EXTENDED, "0-4 0-1 1-4 4-4"),
    ("\\(a*\\)b\\1", "aabaa", 0, "0-5 0-2"),
    ("([a-c]+)x?\\1", "abab", EXTENDED, "0-4 0-2"),
    ("^[[:alpha:]_][[:alnum:]_]*$", "name_1", EXTENDED, "0-6"),
    ("a{2,3}", "caaaa", EXTENDED, "1-4"),
    ("a\\{2\\}", "caaaa", 0, "1-3"),
    ("X.Y", "x\ny", EXTENDED | ICASE, "0-3"),
    ("x.y|^b$", "x\ny\nb\n", EXTENDED | NEWLINE, "4-5"),
    ("\\<is\\>", "this is", 0, "5-7"),
    ("[]-a]+", "x]^a", EXTENDED, "1-4"),
    ("*a", "b*a", 0, "1-3"),
    ("(^a|b)c$", "bc", EXTENDED, "0-2 0-1"),
    ("(.*)foo(.*)", "a" * LONG + "foofoo", EXTENDED, f"0-{LONG + 6} 0-{LONG + 3} {LONG + 6}-{LONG + 6}"),
    ("((a*)*)*b", "a" * (LONG // 15), EXTENDED, "No match"),
    ("()", "", EXTENDED, "0-0 0-0"),
    ("a**", "b", EXTENDED, "0-0"),
    ("(", "", EXTENDED, "Unmatched ( or \\("),
    ("[a", "", 0, "Unmatched [, [^, [:, [., or [="),
    ("a{3,1}", "", EXTENDED, "Invalid content of \\{\\}"),
    ("*", "", EXTENDED, "Invalid preceding regular expression"),
    ("[[:what:]]", "", 0, "Invalid character class name"),
    ("\\2", "", 0, "Invalid back reference"),
    ("a\\", "", 0, "Trailing backslash"),
    ("[b-a]", "", 0, "Invalid range end"),
]


def test_regexec_finds_the_leftmost_longest_match_with_its_groups(loaded: tuple[Machine, Library]) -> None:
    library = loaded[1]
    match = library.function("match", "const char *match(const char *, const char *, int)")
    for pattern, text, flags, expected in MATCHES:
        assert text_of(loaded, match(pattern, text, flags)) == expected, pattern


def text_of(loaded: tuple[Machine, Library], result: int) -> str:
    return loaded[0].memory.read_cstring(result).decode()


MARK, NOCHECK, PERIOD, BRACE = 2, 16, 128, 1024


def test_glob_lists_what_matches_in_order(loaded: tuple[Machine, Library]) -> None:
    library = loaded[1]
    expand = library.function("expand", "const char *expand(const char *, int)")
    for pattern, flags, expected in (
        ("/d/*o*", 0, "0 /d/o* /d/one /d/two"),
        ("/d/o\\*", 0, "0 /d/o*"),
        ("/d/[!o]*", MARK, "0 /d/s/ /d/t/ /d/two"),
        ("/d/*/x.?", 0, "0 /d/s/x.c /d/t/x.c"),
        ("/d/{t,s}/*.c", BRACE, "0 /d/t/x.c /d/s/x.c /d/s/y.c"),
        ("/d/.*h*", 0, "0 /d/.hidden"),
        ("/d/*h*", 0, "3"),
        ("/none/*", NOCHECK, "0 /none/*"),
        ("/d/one", 0, "0 /d/one"),
        ("/d/none", 0, "3"),
    ):
        assert text_of(loaded, expand(pattern, flags)) == expected, pattern


def test_strptime_reads_what_strftime_writes(loaded: tuple[Machine, Library]) -> None:
    library = loaded[1]
    parse = library.function("parse", "const char *parse(const char *, const char *)")
    for text, format_, expected in (
        ("2024-02-29 23:59:58", "%Y-%m-%d %H:%M:%S", "19 58 59 23 29 1 124 4 59"),
        ("Thu Feb 29 11:05:06 pm 24x", "%a %b %e %r %y", "25 6 5 23 29 1 124 4 59"),
        ("1999 364", "%Y %j", "8 0 0 0 30 11 99 4 363"),
        ("2024 10 1", "%Y %U %w", "9 0 0 0 11 2 124 1 70"),
        ("12/31/68", "%D", "8 0 0 0 31 11 168 1 365"),
        ("12/31/69", "%D", "8 0 0 0 31 11 69 3 364"),
        ("  7", "%n%d", "3 0 0 0 7 0 0 0 6"),
        ("March", "%b", "5 0 0 0 0 2 0 3 58"),
        ("Mayday", "%B", "3 0 0 0 0 4 0 1 119"),
        ("x", "%d", "-1 0 0 0 0 0 0 0 0"),
        ("x", "%a", "-1 0 0 0 0 0 0 0 0"),  # a name that is none leaves the field alone
    ):
        assert text_of(loaded, parse(text, format_)) == expected, (text, format_)


NAMES = "sqrt exp log sin cos tan sinh cosh tanh asin acos atan asinh acosh atanh".split()
POINTS = [1 + 2j, -3.5 + 0.25j, 0.001 - 0.002j, -0.7 - 0.7j, 20 - 3j, 1e-9 + 0.5j, complex(-2, 0.0), 0.3 + 4j]
INF, NAN = math.inf, math.nan


def test_complex_functions_agree_with_pythons(loaded: tuple[Machine, Library]) -> None:
    machine, library = loaded
    apply = library.function("apply", "void apply(int, int)")
    given, made = library.symbols["from"].address, library.symbols["to"].address

    def call(which: int, single: int, z: complex) -> complex:
        machine.memory.write(given, struct.pack("<2d", z.real, z.imag))
        apply(which, single)
        return complex(*struct.unpack("<2d", machine.memory.read(made, 16)))

    for z in POINTS:
        for which, name in enumerate(NAMES):
            right = getattr(cmath, name)(z)
            for single, allowed in ((0, 4e-15), (1, 2e-6)):
                found = call(which, single, z)
                assert abs(found.real - right.real) <= allowed * abs(right), (name, z, found, right)
                assert abs(found.imag - right.imag) <= allowed * abs(right), (name, z, found, right)
        assert cmath.isclose(call(17, 0, z), z**z, rel_tol=1e-13)
        assert call(18, 0, z) == complex(abs(z), cmath.phase(z))
    for which, z, right in (
        (0, complex(-4, -0.0), complex(0, -2)),
        (0, complex(NAN, INF), complex(INF, INF)),
        (1, complex(-INF, 2), complex(-0.0, 0.0)),
        (1, complex(1e308, 0), complex(INF, 0)),
        (2, complex(-0.0, 0.0), complex(-INF, math.pi)),
        (8, complex(1, INF), complex(NAN, NAN)),
        (8, complex(INF, 1), complex(1, 0)),
        (15, complex(1, -INF), complex(INF, -0.0)),
        (16, 1 + 2j, 1 - 2j),
    ):
        assert str(call(which, 0, z)) == str(right), (which, z)
