"""Calls as people write them."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cli.expression import Argument, ExpressionError, SymbolAddress, parse_call
from tests.grouping import each


@each(
    ("text", "value", "ctype"),
    [
        ("42", 42, "int"),
        ("-7", -7, "int"),
        ("+7", 7, "int"),
        ("0x2a", 42, "int"),
        ("052", 42, "int"),
        ("0", 0, "int"),
        ("0o52", 42, "int"),
        ("0b101", 5, "int"),
        ("10U", 10, "unsigned"),
        ("10l", 10, "long"),
        ("10UL", 10, "unsigned long"),
        ("10lu", 10, "unsigned long"),
        ("10LL", 10, "long long"),
        ("10ull", 10, "unsigned long long"),
        ("18446744073709551615", (1 << 64) - 1, "int"),
        ("1.5", 1.5, "double"),
        ("-1.5", -1.5, "double"),
        (".5", 0.5, "double"),
        ("1.", 1.0, "double"),
        ("1e3", 1000.0, "double"),
        ("1.5f", 1.5, "float"),
        ("1.5L", 1.5, "long double"),
        ("0x1p-3", 0.125, "double"),
        ("0x1.8p1f", 3.0, "float"),
        ("-INFINITY", -math.inf, "double"),
        ("'c'", 99, "int"),
        (r"'\n'", 10, "int"),
        (r"'\''", 39, "int"),
        (r"'\x41'", 65, "int"),
        (r"'\0'", 0, "int"),
        ("'é'", 233, "int"),
        ('"text"', "text", "const char *"),
        (r'"a\tb\"c\\"', 'a\tb"c\\', "const char *"),
        (r'"\101\x42\u00e9"', "ABé", "const char *"),
        ('"one" "two"', "onetwo", "const char *"),
        (r'"\xff"', b"\xff", "const char *"),
        ('"a, (b)"', "a, (b)", "const char *"),
        ('""', "", "const char *"),
        ('b"\\x00\\xff"', b"\x00\xff", "const void *"),
        ('L"wide"', "wide", "const wchar_t *"),
        ('u8"é"', "é", "const char *"),
        ("NULL", None, "void *"),
        ("None", None, "void *"),
        ("true", 1, "int"),
        ("false", 0, "int"),
        ("&counter", SymbolAddress("counter"), "void *"),
        ("compare", SymbolAddress("compare"), "void *"),
        ("&f@V1", SymbolAddress("f", "V1"), "void *"),
    ],
)
def test_literal_means_what_it_means_in_c(text: str, value: object, ctype: str) -> None:
    assert parse_call(f"f({text})").arguments == (Argument(value, ctype),)  # type: ignore[arg-type]


def test_nan_is_a_double() -> None:
    (argument,) = parse_call("f(NAN)").arguments
    assert isinstance(argument.value, float)
    assert math.isnan(argument.value)


def test_call_without_a_type_has_name_and_arguments() -> None:
    call = parse_call('crc32(0, "123456789", 9)')
    assert (call.name, call.result, call.prototype) == ("crc32", None, None)
    assert [argument.value for argument in call.arguments] == [0, "123456789", 9]


def test_words_before_the_name_are_the_result_type() -> None:
    call = parse_call("  const char * zlibVersion( )")
    assert (call.name, call.result, call.arguments) == ("zlibVersion", "const char *", ())


def test_prototype_before_the_arguments_is_kept_whole() -> None:
    call = parse_call("void *bsearch(const void *, int (*)(int), ...)(NULL, 3)")
    assert (call.name, call.prototype) == ("bsearch", "void *bsearch(const void *, int (*)(int), ...)")
    assert [argument.value for argument in call.arguments] == [None, 3]


@pytest.mark.parametrize("text", ["f@V1(1)", "f@@V1(1)", "int f@V1(1)"])
def test_function_may_be_named_with_a_version(text: str) -> None:
    assert (parse_call(text).name, parse_call(text).version) == ("f", "V1")


def test_mangled_names_are_names() -> None:
    assert parse_call("_ZN3foo3barEi(1)").name == "_ZN3foo3barEi"


@each(
    ("text", "problem"),
    [
        ("", "ends with its arguments"),
        ("f", "ends with its arguments"),
        ("f(1", "ends with its arguments"),
        ("(1)", "the name of the function is missing"),
        ("f(1))", "has no opening one"),
        ("f(1,)", "argument is missing"),
        ("f(,1)", "argument is missing"),
        ("f(1 2)", "comma or a"),
        ('f("a" 2)', "comma or a"),
        ('f("abc)', "has no end"),
        ("f('a)", "has no end"),
        ("f('ab')", "one character"),
        ("f('')", "one character"),
        ("f(12abc)", "not a C number"),
        ("f(1.2.3)", "not a C number"),
        ("f(09)", "not a C number"),
        ("f(1LUL)", "not a C number"),
        (r'f("\q")', "not a C escape"),
        (r'f("\x123")', "beyond"),
        ("f(%)", "not allowed here"),
        ("f(g(1))", "comma or a parenthesis"),
        ("f(--1)", "comma or a parenthesis"),
        ("f(&1)", "comma or a"),
        ("int 5(1)", "not a function name"),
        ('f(b"a" "b")', "different kinds"),
        ("(int)(1)", "needs the function's name"),
        (r'f("\U99999999")', "beyond"),
    ],
)
def test_what_is_no_call_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ExpressionError, match=problem) as caught:
        parse_call(text)
    assert str(caught.value).rstrip().endswith("^")


@given(st.integers(-(1 << 80), 1 << 80))
def test_any_integer_reads_as_itself_in_decimal_and_hexadecimal(value: int) -> None:
    assert [a.value for a in parse_call(f"f({value}, {value:#x})").arguments] == [value, value]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_reads_as_itself(value: float) -> None:
    assert [a.value for a in parse_call(f"f({value!r}, {value.hex()})").arguments] == [value, value]


@given(st.binary())
def test_any_bytes_can_be_written_in_octal(value: bytes) -> None:
    literal = "".join(f"\\{byte:03o}" for byte in value)
    assert parse_call(f'f(b"{literal}")').arguments[0].value == value


@given(st.text(alphabet=st.characters(exclude_characters='"\\', exclude_categories=["Cs"])))
def test_any_text_without_quotes_reads_as_itself(value: str) -> None:
    assert parse_call(f'f("{value}")').arguments[0].value == value


@given(st.text(alphabet="fx(),&\"'\\ 0123456789.+-eEpLUb*@[]\n\0é"))
def test_any_text_is_a_call_or_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        parse_call(text)
