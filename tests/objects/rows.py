"""A relocation row worked by hand: its formula, its special function and its field on single values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relink.arch import Architecture
from relink.arch.fields import Field
from relink.arch.spec import Reloc

PAGE = np.uint64(0xFFFF_FFFF_FFFF_F000)


@dataclass(frozen=True)
class Site:
    """One place, as the engine would hand it to a row's special function."""

    buffer: NDArray[np.uint8]
    where: NDArray[np.int64]
    letters: Mapping[str, NDArray[np.uint64]]
    function: NDArray[np.bool_]


def one(value: int) -> NDArray[np.uint64]:
    return np.array([value & (1 << 64) - 1], np.uint64)


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def value_of(row: Reloc, code: bytes, at: int, *, function: int = True, **letters: int) -> int:
    """X of the psABI: what is to be stored at index `at` of `code`, as a signed number."""
    assert row.formula is not None
    arrays = {name: one(value) for name, value in letters.items()}
    names = {"__builtins__": {}, "Page": lambda x: x & PAGE}
    value = eval(row.formula.code, names, arrays)
    if row.special is not None:
        own = {name: arrays[name] for name in row.formula.letters - {"GOT", "DTV"}}
        value = row.special(Site(np.frombuffer(code, np.uint8), np.array([at]), own, np.array([function])), value)
    return signed(int(value[0]))


def narrowed(page: Architecture, value: int) -> int:
    """Addresses of a 32-bit ISA wrap."""
    return value if page.bits == 64 else ((value + (1 << 31)) & 0xFFFF_FFFF) - (1 << 31)


def fits(field: Field, value: int) -> bool:
    """Whether the field takes the value."""
    return bool(np.all(field.fits(one(value))))


def assert_bounds(field: Field, low: int, high: int, step: int, *, bounded: bool = True) -> None:
    """The field takes `low` and the last of its steps up to `high`; if bounded, nothing beyond them."""
    highest = high - (high - low) % step
    assert fits(field, low)
    assert fits(field, highest)
    if bounded:
        assert not fits(field, low - step)
        assert not fits(field, highest + step)


def written(field: Field, raw: int, value: int) -> int:
    """The word after storing."""
    return int(field.write(one(raw), one(value))[0])


def read(field: Field, raw: int) -> int:
    """The value the word holds, signed."""
    return signed(int(field.read(one(raw))[0]))


def field_of(page: Architecture, name: str) -> Field:
    """The field of the row called `name`."""
    word = row_of(page, name).word
    assert word is not None
    return word


def row_of(page: Architecture, name: str) -> Reloc:
    """The row called `name`."""
    return next(row for row in page.relocations.values() if row.name == name)


def implemented(page: Architecture) -> set[str]:
    """Names of the rows that only objects have and that write something."""
    return {row.name for row in page.relocations.values() if row.static and row.word is not None}
