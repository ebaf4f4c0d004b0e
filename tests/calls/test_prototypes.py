"""C text becomes types: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import contextlib
import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.calls import prototypes
from emu.calls.prototypes import Array, Floating, Integer, Pointer, _Text, parse_prototype, parse_type
from emu.calls.scope import Scope
from emu.errors import CallError
from emu.isa.registry import ISAS, convention
from tests.grouping import each

ARCHES = tuple(ISAS)


@each(
    ("text", "meaning"),
    [
        ("int add(int a, double b)", "int add(int a, double b)"),
        ("int(int, char *)", "int (int, char *)"),
        ("void f(void)", "void f(void)"),
        ("void f()", "void f(void)"),
        ("void f(void);", "void f(void)"),
        ("unsigned long long x(long long)", "unsigned long long x(long long)"),
        ("size_t(size_t)", "size_t (size_t)"),
        ("int printf(const char *restrict format, ...)", "int printf(const char *format, ...)"),
        ("int main(int argc, char *argv[])", "int main(int argc, char **argv)"),
        ("int m(int m[3][4])", "int m(int (*m)[4])"),
        ("extern int puts(const char *__restrict s) __attribute__((__nonnull__ (1)))", "int puts(const char *s)"),
        ("FILE *fopen(const char *, const char *)", "FILE *fopen(const char *, const char *)"),
        ("struct tm *gmtime(const time_t *)", "struct tm *gmtime(const time_t *)"),
        ("enum colour f(enum colour)", "enum colour f(enum colour)"),
        ("_Bool f(bool)", "_Bool f(bool)"),
        ("int vprintf(const char *, va_list)", "int vprintf(const char *, va_list)"),
        ("void __attribute__((noreturn)) die(int)", "void die(int)"),
        ("static inline int f(register int x)", "int f(int x)"),
    ],
)
def test_prototypes_people_write_are_understood(text: str, meaning: str) -> None:
    assert str(parse_prototype(text, "riscv64")) == meaning


@each(
    "text",
    [
        "int(size_t)", "int f(int)", "int f", "int *f(int)", "int (f)(int)", "int f(int)[3]", "f(int)", "struct s",
        "size_t f(int)", "size_t size_t(int)", "struct s(size_t)", "struct s f(int)", "enum e (*)(int)",
        "int(*)(int f(int))", "char const *(*g)(int)", "unsigned(int)", "const f(int)", "int f(foo)", "double[4]",
        "x * f(int)", "int f(int), g(int)", "void (*signal(int, void (*)(int)))(int)", "int register(int)",
        "int &f(int &)",
    ],
)  # fmt: skip
def test_a_text_with_a_name_means_the_same_as_one_that_may_be_a_type(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that name a function are parsed as declarations first, all others as type names first."""

    def outcome() -> str:
        try:
            return str(_Text(text, convention("riscv64").data, Scope()).parse())
        except CallError as error:
            return str(error)

    monkeypatch.setattr(prototypes, "read", lambda *arguments: None)  # plain text is not parsed
    found = outcome()
    for named in (True, False) if "(size_t)" not in text else (False,):
        monkeypatch.setattr(_Text, "_names_a_function", lambda self, source, named=named: named)
        assert outcome() == found


def test_function_parameters_become_pointers() -> None:
    for text in (
        "void qsort(void *, size_t, size_t, int (*compare)(const void *, const void *))",
        "void qsort(void *, size_t, size_t, int compare(const void *, const void *))",
    ):
        assert isinstance(parse_prototype(text, "arm").parameters[3].type, Pointer)
    signal = parse_prototype("void (*signal(int sig, void (*handler)(int)))(int)", "arm")
    assert isinstance(signal.result, Pointer)


@each(
    ("text", "message"),
    [
        ("int f(foo_t a)", "unknown type name 'foo_t'"),
        ("foo_t f(int)", "unknown type name 'foo_t'"),
        ("int f(int, foo_t *)", "unknown type name 'foo_t'"),
        ("int f(const foo_t *p)", "unknown type name 'foo_t'"),
        ("int f(foo_t)", "unknown type name 'foo_t'"),
        ("foo_t", "unknown type name 'foo_t'"),
        ("int(foo_t)", "not a function"),
        ("int counter", "declares a value of type int, not a function"),
        ("int", "not a function"),
        ("", "not a C declaration"),
        ("((((", "not a C declaration"),
        ("int f(void, int)", "a parameter cannot have type void"),
        ("int f(void x)", "a parameter cannot have type void"),
        ("int f(int) { return 1; }", "'{' has no place"),
        ("int f(int); int g(int)", "';' has no place"),
        ("int f(int), g(int)", "one declaration"),
        ("unsigned signed f(void)", "is not a C type"),
        ("long long long f(void)", "is not a C type"),
        ("int _Complex f(void)", "is not a C type"),
        ("int f(int)[3]", "C declaration|cannot return"),
        ("x" * 20000, "too long"),
        ("int f(" + "(" * 5000 + ")" * 5000 + ")", "not a C declaration"),
    ],
)
def test_what_is_no_prototype_is_said_plainly(text: str, message: str) -> None:
    with pytest.raises(CallError, match=message):
        parse_prototype(text, "x86_64")


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "int",
                    "char",
                    "*",
                    "(",
                    ")",
                    ",",
                    "...",
                    "void",
                    "f",
                    "struct",
                    "[",
                    "]",
                    "3",
                    "const",
                    "size_t",
                    "foo",
                ]
            ),
            max_size=20,
        ).map(" ".join),
    )
)
def test_any_text_is_a_prototype_or_a_call_error(text: str) -> None:
    with contextlib.suppress(CallError):
        parse_prototype(text, "arm")


@pytest.mark.parametrize("arch", ARCHES)
def test_pointer_sized_types_follow_the_data_model(arch: str) -> None:
    word = convention(arch).word_size
    for name in ("long", "size_t", "ssize_t", "uintptr_t", "ptrdiff_t", "void *", "pthread_t"):
        ctype = parse_type(name, arch)
        assert isinstance(ctype, Integer | Pointer)
        assert ctype.size == word, name
    for name, size in (("int", 4), ("long long", 8), ("short", 2), ("int64_t", 8), ("uint16_t", 2)):
        ctype = parse_type(name, arch)
        assert isinstance(ctype, Integer)
        assert ctype.size == size, name


@pytest.mark.parametrize(
    ("arch", "char_signed", "wchar_signed", "long_double", "off_t"),
    [
        ("x86_64", True, True, 16, 8),
        ("i386", True, True, 12, 4),
        ("aarch64", False, False, 16, 8),
        ("arm", False, False, 8, 4),
        ("riscv64", False, True, 16, 8),
        ("riscv32", False, True, 16, 8),
        ("loongarch64", True, True, 16, 8),
    ],
)
def test_types_that_differ_between_abis(
    arch: str, char_signed: bool, wchar_signed: bool, long_double: int, off_t: int
) -> None:
    assert parse_type("char", arch) == Integer(1, char_signed, "char")
    assert parse_type("wchar_t", arch) == Integer(4, wchar_signed, "wchar_t")
    wide = parse_type("long double", arch)
    assert isinstance(wide, Floating)
    assert wide.size == long_double
    assert parse_type("off_t", arch) == Integer(off_t, True, "off_t")


def test_types_agree_with_ctypes_on_this_host() -> None:
    import platform

    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("the host is neither x86_64 nor aarch64")
    arch = platform.machine()
    for name, known in (
        ("char", ctypes.c_char),
        ("short", ctypes.c_short),
        ("long", ctypes.c_long),
        ("size_t", ctypes.c_size_t),
        ("wchar_t", ctypes.c_wchar),
        ("long double", ctypes.c_longdouble),
        ("float", ctypes.c_float),
    ):
        ctype = parse_type(name, arch)
        assert isinstance(ctype, Integer | Floating)
        assert ctype.size == ctypes.sizeof(known), name


def test_arrays_are_types_of_their_own_outside_parameters() -> None:
    ctype = parse_type("double[4]", "arm")
    assert isinstance(ctype, Array)
    assert (str(ctype.target), ctype.count) == ("double", 4)
    assert parse_type("int []", "arm") == Array(Integer(4, True, "int"), None)


def test_aliases_of_an_architecture_mean_the_same() -> None:
    assert parse_type("long", "arm64") == parse_type("long", "aarch64")


def test_int128_exists_on_64_bit_targets_only() -> None:
    assert parse_type("unsigned __int128", "x86_64") == Integer(16, False, "unsigned __int128")
    with pytest.raises(CallError, match="32-bit"):
        parse_type("__int128", "arm")
