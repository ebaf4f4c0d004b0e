"""Character classes of the C locale, as functions and as the tables glibc's inline ctype.h reads."""

from __future__ import annotations

import string
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.table import export, export_data, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_PRINTABLE = bytes(range(0x20, 0x7F))
_ALNUM = (string.ascii_letters + string.digits).encode()

#: Class -> (members, its bit in glibc's table: the order of ctype.h's enumeration).
CLASSES: dict[str, tuple[bytes, int]] = {
    "upper": (string.ascii_uppercase.encode(), 0),
    "lower": (string.ascii_lowercase.encode(), 1),
    "alpha": (string.ascii_letters.encode(), 2),
    "digit": (string.digits.encode(), 3),
    "xdigit": (string.hexdigits.encode(), 4),
    "space": (b" \t\n\v\f\r", 5),
    "print": (_PRINTABLE, 6),
    "graph": (_PRINTABLE[1:], 7),
    "blank": (b" \t", 8),
    "cntrl": (bytes(range(0x20)) + b"\x7f", 9),
    "punct": (string.punctuation.encode(), 10),
    "alnum": (_ALNUM, 11),
}


def _classifier(members: bytes, mask: int) -> Callable[..., int]:
    return lambda libc, c, *locale: mask if 0 <= c < 256 and c in members else 0


def _table_mask(bit: int) -> int:
    # The table is in network order, so on a little-endian machine the first eight bits are the high byte.
    return 1 << (bit + 8 if bit < 8 else bit - 8)


for _name, (_members, _bit) in CLASSES.items():
    register(f"is{_name}", f"int is{_name}(int c)", _classifier(_members, _table_mask(_bit)))
    register(f"isw{_name}", f"int isw{_name}(unsigned c)", _classifier(_members, _table_mask(_bit)))
    for _spelled in (f"is{_name}_l", f"isw{_name}_l", f"__isw{_name}_l"):
        register(_spelled, f"int {_spelled}(unsigned c, void *locale)", _classifier(_members, _table_mask(_bit)))


def _upper(c: int) -> int:
    return c - 32 if ord("a") <= c <= ord("z") else c


def _lower(c: int) -> int:
    return c + 32 if ord("A") <= c <= ord("Z") else c


@export("int toupper(int c)", alias=("_toupper", "towupper"))
def toupper(libc: Libc, c: int) -> int:
    return _upper(c)


@export("int tolower(int c)", alias=("_tolower", "towlower"))
def tolower(libc: Libc, c: int) -> int:
    return _lower(c)


@export("int toascii(int c)")
def toascii(libc: Libc, c: int) -> int:
    return c & 0x7F


@export("int isascii(int c)")
def isascii(libc: Libc, c: int) -> int:
    return int(0 <= c < 128)


def _class_bits(c: int) -> int:
    return sum(_table_mask(bit) for members, bit in CLASSES.values() if c in members)


# Each table is indexed from -128 (signed char) to 255; the variable points at index 0.
_INDICES = range(-128, 256)


def _as_char(index: int) -> int:
    return index & 255 if index != -1 else -1  # EOF is in no class and is mapped to itself


@export_data("__libc_ctype_b_table")
def _b_table(libc: Libc) -> bytes:
    return struct.pack("<384H", *(_class_bits(_as_char(i)) if i != -1 else 0 for i in _INDICES))


@export_data("__libc_ctype_tolower_table")
def _tolower_table(libc: Libc) -> bytes:
    return struct.pack("<384i", *(_lower(_as_char(i)) for i in _INDICES))


@export_data("__libc_ctype_toupper_table")
def _toupper_table(libc: Libc) -> bytes:
    return struct.pack("<384i", *(_upper(_as_char(i)) for i in _INDICES))


def _pointer_to_middle(libc: Libc, table: str, element: int) -> bytes:
    base = libc.data_symbol(table)
    assert base is not None
    return (base + 128 * element).to_bytes(libc.word, "little")


@export_data("__ctype_b")
def _b_pointer(libc: Libc) -> bytes:
    return _pointer_to_middle(libc, "__libc_ctype_b_table", 2)


@export_data("__ctype_tolower")
def _tolower_pointer(libc: Libc) -> bytes:
    return _pointer_to_middle(libc, "__libc_ctype_tolower_table", 4)


@export_data("__ctype_toupper")
def _toupper_pointer(libc: Libc) -> bytes:
    return _pointer_to_middle(libc, "__libc_ctype_toupper_table", 4)


@export("const unsigned short **__ctype_b_loc(void)")
def ctype_b_loc(libc: Libc) -> int:
    return libc.data_symbol("__ctype_b") or 0


@export("const int **__ctype_tolower_loc(void)")
def ctype_tolower_loc(libc: Libc) -> int:
    return libc.data_symbol("__ctype_tolower") or 0


@export("const int **__ctype_toupper_loc(void)")
def ctype_toupper_loc(libc: Libc) -> int:
    return libc.data_symbol("__ctype_toupper") or 0
