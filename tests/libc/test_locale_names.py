"""setlocale and locale objects: "C" and "C.UTF-8", which have different encodings."""

from __future__ import annotations

import pytest

from emu.libc.encoding import LC_ALL, LC_CTYPE
from emu.libc.errno import Errno
from tests.libc.fake import Harness, Values

_NUMERIC = 1
_FAILED = (1 << 64) - 1
_OTHERS = (
    "LC_TIME LC_COLLATE LC_MONETARY LC_MESSAGES LC_PAPER LC_NAME LC_ADDRESS LC_TELEPHONE LC_MEASUREMENT "
    "LC_IDENTIFICATION"
).split()


def _set(host: Harness, category: int, name: str | None) -> str | None:
    found = host.call("setlocale", category, 0 if name is None else host.text(name.encode()))
    return host.string(found).decode() if found else None


def test_a_locale_is_known_by_its_name(host: Harness) -> None:
    assert _set(host, LC_ALL, None) == "C"
    assert _set(host, LC_ALL, "POSIX") == "C"
    for name in ("C.UTF-8", "C.utf8"):
        assert _set(host, LC_ALL, name) == _set(host, LC_ALL, None) == name
    for name in ("de_DE.UTF-8", "C.ISO-8859-1", "nothing"):
        assert _set(host, LC_ALL, name) is None
        assert host.libc.errno == Errno.ENOENT
    assert _set(host, LC_ALL, None) == "C.utf8"
    assert _set(host, 99, "C") is None
    assert host.libc.errno == Errno.EINVAL


def test_categories_have_names_of_their_own(host: Harness) -> None:
    assert _set(host, LC_CTYPE, "C.UTF-8") == "C.UTF-8"
    assert _set(host, _NUMERIC, None) == "C"
    all_of_them = ";".join(["LC_CTYPE=C.UTF-8", "LC_NUMERIC=C", *(f"{name}=C" for name in _OTHERS)])
    assert _set(host, LC_ALL, None) == all_of_them
    assert _set(host, LC_ALL, "C") == "C"
    assert _set(host, LC_ALL, all_of_them) == all_of_them
    assert _set(host, LC_ALL, "LC_CTYPE=C.UTF-8;LC_NUMERIC=C") is None  # not all of them


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "C"),
        ({"LANG": "C.UTF-8"}, "C.UTF-8"),
        ({"LANG": "C.UTF-8", "LC_ALL": "C"}, "C"),
        ({"LANG": "C", "LC_ALL": "", "LC_CTYPE": "C.utf8"}, "C.utf8"),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "xx_YY"}, None),
    ],
)
def test_the_empty_name_is_that_of_the_environment(
    host: Harness, variables: dict[str, str], name: str | None
) -> None:
    for variable, value in variables.items():
        host.call("setenv", host.text(variable.encode()), host.text(value.encode()), 1)
    assert _set(host, LC_CTYPE, "") == name


def test_a_name_that_was_returned_stays_as_it_is(host: Harness) -> None:
    """Programs restore a locale by a name that they have not copied."""
    before = host.call("setlocale", LC_ALL, 0)
    assert _set(host, LC_ALL, "C.UTF-8") == "C.UTF-8"
    assert host.call("setlocale", LC_ALL, before) == before
    assert _set(host, LC_ALL, None) == "C"


def test_a_locale_object_has_an_encoding_of_its_own(host: Harness) -> None:
    objects = [host.call("newlocale", 1 << LC_CTYPE, name, 0) for name in (b"C", b"C.UTF-8")]
    for current in ("C", "C.UTF-8"):
        _set(host, LC_ALL, current)
        names = [host.string(host.call("nl_langinfo_l", 14, each)) for each in objects]
        assert names == [b"ANSI_X3.4-1968", b"UTF-8"]


def _encodings(host: Harness) -> tuple[object, ...]:
    """What depends on the encoding: MB_CUR_MAX, its name, and conversions in both directions."""
    wide, narrow, state = host.buffer(64), host.buffer(64), host.buffer(8)
    text = host.text("aé".encode())
    return (
        host.call("__ctype_get_mb_cur_max"),
        host.string(host.call("nl_langinfo", 14)),
        host.call("mbstowcs", wide, text, 10),
        host.call("mbrtowc", wide, text + 1, 2, state),
        host.call("mbtowc", wide, text + 1, 2),
        host.call("wctomb", narrow, 0x20AC),
        host.call("wcstombs", narrow, host.wide("a€"), 10),
        host.call("snprintf", narrow, 64, b"%ls", Values(host.wide("é"))),
        host.call("snprintf", narrow, 64, b"%lc", Values(0xE9)),
        host.call("swprintf", wide, 10, host.wide("%s"), Values(text)),
        host.call("sscanf", text, b"%ls", Values(wide)),
    )


_IN_C = (1, b"ANSI_X3.4-1968", _FAILED, _FAILED, -1, -1, _FAILED, -1, -1, -1, 0)
_IN_UTF_8 = (6, b"UTF-8", 2, 2, 2, 3, 4, 2, 2, 2, 1)


def test_characters_beyond_ascii_need_utf_8(host: Harness) -> None:
    assert _encodings(host) == _IN_C
    assert host.libc.errno == Errno.EILSEQ
    _set(host, LC_CTYPE, "C.UTF-8")
    assert _encodings(host) == _IN_UTF_8


def test_a_thread_may_use_another_locale(host: Harness) -> None:
    everything, overall = 0x1FBF, (1 << 64) - 1
    utf_8 = host.call("newlocale", everything, b"C.UTF-8", 0)
    plain = host.call("newlocale", everything, b"C", 0)
    assert host.call("newlocale", everything, b"zz", 0) == 0
    assert host.call("newlocale", 1 << _NUMERIC, b"C", utf_8) == utf_8
    assert host.call("newlocale", 1 << LC_CTYPE, b"C", utf_8) == plain
    assert host.call("uselocale", utf_8) == overall
    assert _encodings(host)[0] == 6
    assert host.call("duplocale", overall) == plain
    assert host.call("uselocale", plain) == utf_8
    _set(host, LC_ALL, "C.UTF-8")
    assert _encodings(host)[0] == 1
    assert host.call("uselocale", overall) == plain
    assert _encodings(host)[0] == 6


def test_wide_text_is_scanned_without_an_encoding(host: Harness) -> None:
    text, wide, narrow = host.wide("éx"), host.buffer(64), host.buffer(64)
    assert host.call("swscanf", text, host.wide("%ls"), Values(wide)) == 1
    assert host.memory.read(wide, 8).decode("utf-32-le") == "éx"
    assert host.call("swscanf", text, host.wide("%s"), Values(narrow)) == 0
    assert host.libc.errno == Errno.EILSEQ
    _set(host, LC_ALL, "C.UTF-8")
    assert host.call("swscanf", text, host.wide("%s"), Values(narrow)) == 1
    assert host.string(narrow) == "éx".encode()


def test_wide_streams_are_in_the_encoding(host: Harness) -> None:
    stream = host.call("fopen", b"/text", b"w+")
    assert host.call("fputws", host.wide("aé"), stream) == 1
    assert host.call("putwc", 0xE9, stream) == 0xE9
    assert host.libc.files["/text"] == b"a??"
    _set(host, LC_ALL, "C.UTF-8")
    assert host.call("fwprintf", stream, host.wide("é"), Values()) == 1
    assert host.libc.files["/text"] == "a??é".encode()
    _set(host, LC_ALL, "C")
    host.call("rewind", stream)
    assert [host.call("getwc", stream) for _ in range(4)] == [ord("a"), ord("?"), ord("?"), (1 << 32) - 1]
    assert host.libc.errno == Errno.EILSEQ
    assert host.call("ferror", stream)


def test_a_wide_memory_stream_has_no_encoding(host: Harness) -> None:
    place, size = host.buffer(8), host.buffer(8)
    stream = host.call("open_wmemstream", place, size)
    assert host.call("putwc", 0x20AC, stream) == 0x20AC
    assert host.call("fputws", host.wide("é"), stream) == 1
    assert host.memory.read(host.libc.pointer(place), 8).decode("utf-32-le") == "€é"


def test_wide_characters_of_the_standard_streams(host: Harness) -> None:
    host.libc.stdin = b"x"
    assert host.call("getwchar") == ord("x")
    assert host.call("putwchar", ord("y")) == ord("y")
    assert host.libc.stdout.getvalue() == b"y"


def test_mappings_of_characters_have_names(host: Harness) -> None:
    upper = host.call("wctrans", host.text(b"toupper"))
    assert host.call("towctrans", ord("a"), upper) == ord("A")
    assert host.call("towctrans", ord("A"), host.call("wctrans", host.text(b"tolower"))) == ord("a")
    assert host.call("wctrans", host.text(b"nothing")) == 0


def test_the_number_of_all_categories_is_the_mask_of_all(host: Harness) -> None:
    everything, overall = 0x1FBF, 1 << LC_ALL  # libstdc++'s std::locale passes the second
    assert host.call("newlocale", overall, b"C.UTF-8", 0) == host.call("newlocale", everything, b"C.UTF-8", 0)
    assert host.call("newlocale", overall, b"de_DE.UTF-8", 0) == 0
    assert host.libc.errno == Errno.ENOENT
    for mask in (overall | 1, 1 << 13):
        assert host.call("newlocale", mask, b"C", 0) == 0
        assert host.libc.errno == Errno.EINVAL
