"""printf agrees with the host's glibc, byte for byte."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.errors import GuestAbort
from emu.libc.encoding import LC_ALL
from emu.libc.errno import Errno
from tests.libc.fake import Harness, Values

_LENGTHS = {
    b"hh": ctypes.c_byte, b"h": ctypes.c_short, b"": ctypes.c_int, b"l": ctypes.c_long, b"ll": ctypes.c_longlong,
    b"j": ctypes.c_longlong, b"z": ctypes.c_ssize_t, b"t": ctypes.c_ssize_t,
}  # fmt: skip
_FLAGS = st.lists(st.sampled_from([b"-", b"+", b" ", b"#", b"0"]), max_size=3).map(b"".join)
_WIDTHS = st.one_of(st.just(b""), st.integers(0, 40).map(lambda n: b"%d" % n))
_PRECISIONS = st.one_of(st.just(b""), st.just(b"."), st.integers(0, 40).map(lambda n: b".%d" % n))


def _host_format(glibc: ctypes.CDLL, template: bytes, *args: object) -> tuple[int, bytes]:
    out = ctypes.create_string_buffer(4096)
    return glibc.snprintf(out, ctypes.c_size_t(4096), template, *args), out.value


def _our_format(template: bytes, *args: int | float) -> tuple[int, bytes]:
    host = Harness()
    out = host.buffer(4096)
    return host.call("snprintf", out, 4096, template, Values(*args)), host.string(out)


@given(
    _FLAGS,
    _WIDTHS,
    _PRECISIONS,
    st.sampled_from(sorted(_LENGTHS)),
    st.sampled_from(b"diouxX"),
    st.one_of(st.integers(-300, 300), st.integers(-(1 << 63), (1 << 63) - 1)),
)
def test_integers_print_as_by_glibc(
    glibc: ctypes.CDLL, flags: bytes, width: bytes, precision: bytes, length: bytes, conversion: int, value: int
) -> None:
    template = b"<%" + flags + width + precision + length + bytes([conversion]) + b">"
    ctype = ctypes.c_int if ctypes.sizeof(_LENGTHS[length]) < 4 else _LENGTHS[length]
    given_value = ctype(value)
    assert _our_format(template, given_value.value) == _host_format(glibc, template, given_value)


@given(_FLAGS, _WIDTHS, _PRECISIONS, st.sampled_from(b"eEfFgGaA"), st.floats())
def test_floats_print_as_by_glibc(
    glibc: ctypes.CDLL, flags: bytes, width: bytes, precision: bytes, conversion: int, value: float
) -> None:
    template = b"<%" + flags + width + precision + bytes([conversion]) + b">"
    ours, theirs = _our_format(template, value), _host_format(glibc, template, ctypes.c_double(value))
    if value != value:  # the sign of a NaN does not survive Python reliably
        ours, theirs = ((n, text.replace(b"-", b"").strip()) for n, text in (ours, theirs))
        assert ours[1].strip(b"<> +").lower() == theirs[1].strip(b"<> +").lower()
    else:
        assert ours == theirs


@given(_WIDTHS, _PRECISIONS, st.binary(max_size=30).map(lambda b: b.replace(b"\0", b"x")), st.booleans())
def test_strings_print_as_by_glibc(
    glibc: ctypes.CDLL, width: bytes, precision: bytes, text: bytes, left: bool
) -> None:
    template = b"<%" + (b"-" if left else b"") + width + precision + b"s>"
    host = Harness()
    out = host.buffer(4096)
    count = host.call("snprintf", out, 4096, template, Values(host.text(text)))
    assert (count, host.string(out)) == _host_format(glibc, template, text)


@pytest.mark.parametrize(
    ("template", "args"),
    [
        (b"%2$d-%1$s-%2$d", ("s", 7)),
        (b"%*d|%-*d|%.*d", (6, 1, 6, 2, 3, 3)),
        (b"%*d", (-5, 3)),
        (b"%.*f", (-1, 2.5)),
        (b"%2$*1$d", (8, 42)),
        (b"%c%%%c", (65, 66)),
        (b"%5c|%-5c|", (65, 66)),
        (b"%#x %#o %#X", (0, 0, 0)),
        (b"%p %p", (0, 0x1234)),
        (b"%10p|%-10p|", (0, 0xABC)),
        (b"%.0d|%.0x", (0, 0)),
        (b"%y %d", (3,)),
        (b"%.3s|%s", ("abcdef", "xyz")),
        (b"%s|%.3s|%.6s", (0, 0, 0)),
        (b"%+d % d %+u", (1, 2, 3)),
        (b"%'d", (1234567,)),
        (b"%.100f", (0.1,)),
        (b"%a", (5e-324,)),
        (b"%.0a %.1a", (1.5, 1.96875)),
        (b"%g %g %g", (1e5, 1e6, 1e-5)),
        (b"%#g %#.0f", (1.0, 3.0)),
        (b"%08.3f|%-8.3f|", (-3.14159, 2.71828)),
    ],
)
def test_rare_conversions_print_as_by_glibc(
    glibc: ctypes.CDLL, template: bytes, args: tuple[int | float | str, ...]
) -> None:
    host = Harness()
    out = host.buffer(4096)
    ours = [host.text(a.encode()) if isinstance(a, str) else a for a in args]
    theirs = [
        a.encode() if isinstance(a, str) else ctypes.c_double(a) if isinstance(a, float) else ctypes.c_long(a)
        for a in args
    ]
    count = host.call("snprintf", out, 4096, template, Values(*ours))
    assert (count, host.string(out)) == _host_format(glibc, template, *theirs)


def test_n_stores_the_count_in_the_size_its_length_says(host: Harness) -> None:
    places = [host.place(b"\xff" * 8) for _ in range(3)]
    host.call("snprintf", 0, 0, b"abc%hhn de%n f%lln", Values(*places))
    assert [host.memory.read(p, 8).hex() for p in places] == [
        "03ffffffffffffff",
        "06000000ffffffff",
        "0800000000000000",
    ]


def test_a_long_has_the_bits_of_the_target() -> None:
    for arch, expected in (("arm", b"4294967295"), ("riscv64", b"18446744073709551615")):
        host = Harness(arch)
        out = host.buffer(64)
        host.call("sprintf", out, b"%lu", Values(-1))
        assert host.string(out) == expected


def test_printed_text_is_captured_and_teed(host: Harness) -> None:
    pieces: list[bytes] = []
    host.libc.stdout.tee = pieces.append
    assert host.call("printf", b"%s %d\n", Values(host.text(b"answer"), 42)) == 10
    host.call("puts", b"line")
    host.call("putchar", 65)
    assert host.libc.stdout.getvalue() == b"".join(pieces) == b"answer 42\nline\nA"


def test_snprintf_cuts_and_answers_the_whole_length(host: Harness) -> None:
    out = host.place(b"\xaa" * 8)
    assert host.call("snprintf", out, 4, b"%s", Values(host.text(b"abcdefgh"))) == 8
    assert host.memory.read(out, 5) == b"abc\0\xaa"


def test_asprintf_allocates(host: Harness) -> None:
    result = host.buffer(8)
    assert host.call("asprintf", result, b"%d!", Values(5)) == 2
    assert host.string(host.memory.read_uint(result, 8)) == b"5!"


def test_a_trailing_percent_and_an_absurd_width_fail_with_errno(host: Harness) -> None:
    assert host.call("printf", b"50%", Values()) == -1
    assert host.libc.errno == 22
    assert host.call("printf", b"%99999999999d", Values(1)) == -1
    assert host.libc.errno == 75


def test_wide_strings_come_out_as_utf_8(host: Harness) -> None:
    host.call("setlocale", LC_ALL, b"C.UTF-8")
    wide = host.place("grün\0".encode("utf-32-le"))
    host.call("printf", b"%ls|%lc|%.3ls", Values(wide, ord("ß"), wide))
    assert host.libc.stdout.getvalue() == "grün|ß|gr".encode()


def test_fortified_printf_aborts_before_it_overflows(host: Harness) -> None:
    out = host.place(b"\xaa" * 16)
    with pytest.raises(GuestAbort, match=r"\*\*\* buffer overflow detected \*\*\*: sprintf needs 9"):
        host.call("__sprintf_chk", out, 1, 8, b"%s", Values(host.text(b"12345678")))
    assert host.memory.read(out, 8) == b"\xaa" * 8
    assert host.call("__sprintf_chk", out, 1, 9, b"%s", Values(host.text(b"12345678"))) == 8
    assert host.call("__printf_chk", 1, b"%d", Values(3)) == 1


@pytest.mark.parametrize(("template", "value", "error"), [
    (b"abc%", 0, Errno.EINVAL), (b"abc%5", 0, Errno.EINVAL), (b"abc%lc", 0xE9, Errno.EILSEQ),
])  # fmt: skip
def test_what_is_before_a_conversion_that_fails_is_written(
    host: Harness, template: bytes, value: int, error: Errno
) -> None:
    buffer = host.buffer(16)
    for name, leading in (("printf", ()), ("snprintf", (buffer, 16)), ("sprintf", (buffer,))):
        host.libc.errno = 0
        assert host.call(name, *leading, host.text(template), Values(value)) == -1
        assert host.libc.errno == error
    assert host.libc.stdout.getvalue() == host.string(buffer) == b"abc"
    assert host.call("asprintf", buffer, host.text(template), Values(value)) == -1
