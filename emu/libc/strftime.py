"""strftime in the C locale, with glibc's flags (_ - 0 ^ #) and widths.

Source: glibc, time/strftime_l.c; what it copies as unknown is copied here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from emu.libc.calendar import days_from_civil
from emu.libc.clock import MONTHS, WEEKDAYS, from_local, offset_at, read_tm, zone_at
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_CONVERSION: Final = re.compile(r"%([-_0^#]*)(\d*)([EO]?)(.?)", re.DOTALL)
_LONGEST_FORMAT: Final = 1 << 16  #: bytes; what follows is as if it were not there
_WIDEST: Final = 1 << 16  #: a larger width is as this one


def _iso_week(tm: list[int]) -> tuple[int, int]:
    """ISO 8601 (year, week): week 1 holds the year's first Thursday."""
    year, weekday, day_of_year = tm[5] + 1900, (tm[6] + 6) % 7, tm[7]
    week = (day_of_year - weekday + 10) // 7
    if week < 1:
        return year - 1, _weeks_in(year - 1)
    if week > _weeks_in(year):
        return year + 1, 1
    return year, week


def _weeks_in(year: int) -> int:
    # 1970-01-01 was a Thursday; a year has 53 weeks if it begins or ends on one.
    first, last = days_from_civil(year, 1, 1) % 7, days_from_civil(year, 12, 31) % 7
    return 53 if first == 0 or last == 0 else 52


#: Conversion -> format it stands for.
_COMPOSED: Final[Mapping[str, str]] = {
    "c": "%a %b %e %H:%M:%S %Y", "D": "%m/%d/%y", "F": "%Y-%m-%d", "r": "%I:%M:%S %p", "R": "%H:%M",
    "T": "%H:%M:%S", "x": "%m/%d/%y", "X": "%H:%M:%S",
}  # fmt: skip
_Text = Callable[[list[int]], str]
_TEXTS: Final[Mapping[str, _Text]] = {
    "a": lambda t: WEEKDAYS[t[6]][:3] if 0 <= t[6] < 7 else "?",
    "A": lambda t: WEEKDAYS[t[6]] if 0 <= t[6] < 7 else "?",
    "b": lambda t: MONTHS[t[4]][:3] if 0 <= t[4] < 12 else "?",
    "B": lambda t: MONTHS[t[4]] if 0 <= t[4] < 12 else "?",
    "n": lambda t: "\n", "t": lambda t: "\t", "%": lambda t: "%",
    "p": lambda t: "AM" if t[2] < 12 else "PM",
}  # fmt: skip
_Number = Callable[[list[int]], int]
#: Conversion -> (digits, value).
_NUMBERS: Final[Mapping[str, tuple[int, _Number]]] = {
    "C": (2, lambda t: (t[5] + 1900) // 100), "d": (2, lambda t: t[3]), "e": (2, lambda t: t[3]),
    "g": (2, lambda t: _iso_week(t)[0] % 100), "G": (1, lambda t: _iso_week(t)[0]),
    "H": (2, lambda t: t[2]), "I": (2, lambda t: (t[2] - 1) % 12 + 1), "j": (3, lambda t: t[7] + 1),
    "k": (2, lambda t: t[2]), "l": (2, lambda t: (t[2] - 1) % 12 + 1), "m": (2, lambda t: t[4] + 1),
    "M": (2, lambda t: t[1]), "S": (2, lambda t: t[0]),
    "u": (1, lambda t: (t[6] + 6) % 7 + 1), "U": (2, lambda t: (t[7] + 7 - t[6]) // 7),
    "V": (2, lambda t: _iso_week(t)[1]), "w": (1, lambda t: t[6]),
    "W": (2, lambda t: (t[7] + 7 - (t[6] + 6) % 7) // 7), "y": (2, lambda t: (t[5] + 1900) % 100),
    "Y": (1, lambda t: t[5] + 1900),
}  # fmt: skip
_SPACED: Final = frozenset("ekl")  #: padded with spaces
#: Conversions that take the modifier.
_MODIFIED: Final[Mapping[str, frozenset[str]]] = {
    "E": frozenset("cCnpPrRstTuxXyYzZ%"),
    "O": frozenset("bBCdegGhHIjklmMnpPrRsStTuUVwWyzZ%"),
}


class Place(NamedTuple):
    """What the conversions that depend on the time zone need."""

    name: Callable[[], str]  #: %Z: tm_zone
    offset: Callable[[], int]  #: %z: tm_gmtoff, seconds east of UTC
    seconds: Callable[[], int]  #: %s: since the epoch


def place_of(libc: Libc, fields: int) -> Place:
    """The place of the struct tm at `fields`."""
    return Place(
        partial(zone_at, libc, fields),
        partial(offset_at, libc, fields),
        lambda: -1 if (found := from_local(libc, read_tm(libc, fields))) is None else found,
    )


def strftime_text(template: str, tm: list[int], place: Place) -> str:
    """strftime in the C locale; the E and O modifiers have no effect there. Unknown conversions are copied."""
    return _CONVERSION.sub(lambda match: _converted(match, tm, place), template)


def _converted(match: re.Match[str], tm: list[int], place: Place) -> str:
    flags, digits, modifier, conversion = match.groups()
    pad = next((flag for flag in reversed(flags) if flag in "_-0"), "")
    width = min(int(digits or 0), _WIDEST)
    upper, swapped, lower = "^" in flags, "#" in flags, False
    conversion = "b" if conversion == "h" else conversion
    if conversion == "P":
        conversion, lower = "p", True
    if modifier and conversion not in _MODIFIED[modifier]:
        text = match[0]
    elif conversion in _COMPOSED:
        text = strftime_text(_COMPOSED[conversion], tm, place)
    elif conversion == "z":
        return _offset(place.offset(), width, pad) if tm[8] >= 0 else ""
    elif conversion == "s":
        return _number(place.seconds(), max(1, width), width, pad)
    elif conversion in _NUMBERS:
        least, value = _NUMBERS[conversion]
        return _number(value(tm), max(least, width), width, pad or "_" * (conversion in _SPACED))
    elif conversion in _TEXTS or conversion == "Z":
        text = place.name() if conversion == "Z" else _TEXTS[conversion](tm)
        if swapped:
            lower, upper = (True, False) if conversion in "pZ" else (lower, upper or conversion in "aAbB")
    else:
        text = match[0]
    text = text.lower() if lower else text.upper() if upper else text
    return _padded(text, width, pad)


def _padded(text: str, width: int, pad: str) -> str:
    return text.rjust(width, "0" if pad == "0" else " ")


def _offset(seconds: int, width: int, pad: str) -> str:
    minutes = abs(seconds) // 60
    sign = _padded("-" if seconds < 0 else "+", width, pad)
    return sign + _number(minutes // 60 * 100 + minutes % 60, max(4, width), width, pad)


def _number(value: int, digits: int, width: int, pad: str) -> str:
    text = str(value)
    if pad == "-":
        return _padded(text, width, pad)
    return text.rjust(digits) if pad == "_" else text.zfill(digits)


@export("size_t strftime(char *dest, size_t size, const char *format, const void *fields)")
def strftime(libc: Libc, dest: int, size: int, template: int, fields: int) -> int:
    given = libc.bounded_string(template, _LONGEST_FORMAT)
    text = strftime_text(given.decode("latin-1"), read_tm(libc, fields), place_of(libc, fields)).encode("latin-1")
    if len(text) >= size:
        return 0
    libc.put_string(dest, text)
    return len(text)
