"""Time zones: what TZ names, by its rules or by a zoneinfo file among the guest's files; without either, UTC.

Sources: POSIX.1-2024, XBD 8.3 (TZ); RFC 9636 (zoneinfo files); glibc, time/tzset.c and time/tzfile.c (strings that
are neither), time/mktime.c (local times that exist twice, or not at all).
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from emu.libc.calendar import days_from_civil, year_of

if TYPE_CHECKING:
    from emu.libc.library import Libc

_DAY: Final = 86400
_UTC_NAMES: Final = frozenset({"", "UTC", "UCT", "Universal", "Zulu", "GMT", "GMT0", "Greenwich"})
_NAME: Final = re.compile(r"([A-Za-z]{3,})|<([A-Za-z0-9+-]{3,})>")
_CLOCK: Final = re.compile(r"(\d+)(?::(\d+)(?::(\d+))?)?")
_DATE: Final = re.compile(r"(J?)(\d+)|M(\d+)\.(\d+)\.(\d+)")
_LARGEST_FILE: Final = 1 << 18  #: bytes; those of IANA have less than 4,000


class Period(NamedTuple):
    """What local time is: seconds east of UTC, whether that is summer time, and its name."""

    offset: int
    summer: bool
    name: str


_UTC: Final = Period(0, False, "UTC")


class Zone(Protocol):
    """A time zone."""

    @property
    def usual(self) -> tuple[Period, Period]:
        """What the variables `tzname`, `timezone` and `daylight` are made of: standard and summer time."""

    def at(self, seconds: int) -> Period:
        """The period that a time since the epoch is in."""


class _Change(NamedTuple):
    """The day of a year, by one of the three kinds of rule, and the seconds after its midnight."""

    month: int = 0  #: 0: `day` is a day of the year, from 0
    week: int = 0
    day: int = 0
    counts_leap_day: bool = True
    seconds: int = 0

    def in_year(self, year: int) -> int:
        """Seconds since the epoch, were local time UTC."""
        first = days_from_civil(year, self.month or 1, 1)
        if self.month:
            first += (self.day - (first + 4)) % 7
            following = days_from_civil(year, self.month + 1, 1)
            days = first + 7 * (self.week - 1)
            days -= 7 * (days >= following)
        else:
            leap = days_from_civil(year + 1, 1, 1) - first == 366
            days = first + self.day + (not self.counts_leap_day and leap and self.day >= 59)
        return days * _DAY + self.seconds


class Rules(NamedTuple):
    """A zone by a rule for every year."""

    standard: Period
    summer: Period
    start: _Change = _Change()
    end: _Change = _Change()

    @property
    def usual(self) -> tuple[Period, Period]:
        return self.standard, self.summer

    def at(self, seconds: int) -> Period:
        year = max(year_of(seconds // _DAY), 1970)  # glibc's rules do not go further back
        start = self.start.in_year(year) - self.standard.offset
        end = self.end.in_year(year) - self.summer.offset
        summer = start <= seconds < end if start <= end else not end <= seconds < start
        return self.summer if summer else self.standard


def rules(text: str) -> Rules:
    """The zone of a string as TZ has it. What does not begin like one is a time without name, which is UTC."""
    nameless = Rules(Period(0, False, ""), Period(0, True, ""))
    if not (name := _NAME.match(text)):
        return nameless
    standard = Period(0, False, name[1] or name[2])
    offset, rest = _offset(text[name.end() :])
    if offset is None:
        return nameless._replace(standard=standard)
    standard = standard._replace(offset=offset)
    if not rest:
        return Rules(standard, standard)
    summer = Period(0, True, "")
    if name := _NAME.match(rest):
        given, rest = _offset(rest[name.end() :])
        summer = Period(offset + 3600 if given is None else given, True, name[1] or name[2])
    start, rest = _change(rest, _Change(3, 2, 0, seconds=7200))
    end = _change(rest, _Change(11, 1, 0, seconds=7200))[0] if start else None
    return Rules(standard, summer, start or _Change(), end or _Change())


def _offset(text: str) -> tuple[int | None, str]:
    """Seconds east of UTC, or None, and what follows. In the string they are to the west."""
    signed = text[:1] in ("+", "-")
    found = _CLOCK.match(text, int(signed))
    if not found:
        return None, text
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    west = min(hours, 24) * 3600 + min(minutes, 59) * 60 + min(seconds, 59)
    return (west if text[0] == "-" else -west), text[found.end() :]


def _change(text: str, default: _Change) -> tuple[_Change | None, str]:
    text = text[1:] if text.startswith(",") else text
    if not text:
        return default, ""
    if not (found := _DATE.match(text)):
        return None, text
    julian, day, *weekday = found.groups()
    if day is not None:
        change = _Change(day=int(day) - (julian == "J"), counts_leap_day=not julian, seconds=7200)
        valid = int(day) <= 365 and change.day >= 0
    else:
        month, week, at = map(int, weekday)
        change = _Change(month, week, at, seconds=7200)
        valid = 1 <= month <= 12 and 1 <= week <= 5 and at <= 6
    rest = text[found.end() :]
    if rest.startswith("/"):
        negative = rest.startswith("/-")
        if clock := _CLOCK.match(rest, 1 + negative):
            hours, minutes, seconds = (int(part or 0) for part in clock.groups())
            after = hours * 3600 + minutes * 60 + seconds
            change = change._replace(seconds=-after if negative else after)
        rest = rest[clock.end() if clock else 1 + negative :]
    elif rest[:1] not in ("", ","):
        valid = False
    return (change if valid else None), rest


class Table(NamedTuple):
    """A zone by a table: `periods[i]` begins at `changes[i]`; `first` is before all, `after` from the last."""

    changes: list[int]
    periods: list[Period]
    first: Period
    after: Rules | None

    @property
    def usual(self) -> tuple[Period, Period]:
        backwards = [*reversed(self.periods), self.first]
        standard = next((period for period in backwards if not period.summer), self.first)
        return standard, next((period for period in backwards if period.summer), standard)

    def at(self, seconds: int) -> Period:
        index = bisect_right(self.changes, seconds)
        if index == len(self.changes) and self.after:
            return self.after.at(seconds)
        return self.periods[index - 1] if index else self.first


def table(data: bytes) -> Table | None:
    """The zone of a zoneinfo file; None if it is none."""
    try:
        version, counts, body = _header(data, 0)
        if version >= b"2":  # the same again, with times of 64 bits
            version, counts, body = _header(data, body + _length(counts, 4))
        return _table(data, 8 if version >= b"2" else 4, counts, body)
    except (struct.error, ValueError, IndexError):
        return None


def _header(data: bytes, at: int) -> tuple[bytes, tuple[int, ...], int]:
    magic, version, *counts = struct.unpack_from(">4sc15x6I", data, at)
    if magic != b"TZif":
        raise ValueError("no zoneinfo file")
    return version, tuple(counts), at + 44


def _length(counts: tuple[int, ...], size: int) -> int:
    universal, standard, leap, times, types, names = counts
    return times * (size + 1) + types * 6 + names + leap * (size + 4) + standard + universal


def _table(data: bytes, size: int, counts: tuple[int, ...], body: int) -> Table:
    *_, times, types, names = counts
    end = body + _length(counts, size)
    if end > len(data):
        raise ValueError("a zoneinfo file that is cut off")
    changes = list(struct.unpack_from(f">{times}{'q' if size == 8 else 'i'}", data, body))
    kinds = data[body + times * size : body + times * (size + 1)]
    at = body + times * (size + 1)
    texts = data[at + types * 6 : at + types * 6 + names]
    local = [
        Period(offset, bool(summer), texts[name : texts.index(0, name)].decode("latin-1"))
        for offset, summer, name in struct.iter_unpack(">iBB", data[at : at + types * 6])
    ]
    footer = data[end:].split(b"\n")[1].decode("latin-1") if size == 8 and data[end : end + 1] == b"\n" else ""
    first = next((period for period in local if not period.summer), local[0])
    return Table(changes, [local[kind] for kind in kinds], first, rules(footer) if footer else None)


class Zones:
    """The zone that the guest's environment names, its names in guest memory, and the offset found last."""

    def __init__(self, libc: Libc) -> None:
        self.text: str | None = None
        self.zone: Zone = Rules(_UTC, _UTC)
        self.names: dict[str, int] = {}
        self.last = 0


def zone(libc: Libc, text: str | None) -> Zone:
    """The zone that `text` names, TZ's value, or the system's for None. Sets `tzname`, `timezone`, `daylight`."""
    zones = libc.state(Zones)
    wanted = "/etc/localtime" if text is None else text.removeprefix(":")
    if wanted != zones.text:
        zones.text, zones.zone = wanted, _find(libc, wanted)
        standard, summer = zones.zone.usual
        pair = b"".join(name_of(libc, name).to_bytes(libc.word, "little") for name in (standard.name, summer.name))
        libc.memory.write(libc.data_symbol("tzname") or 0, pair)
        libc.set_pointer(libc.data_symbol("timezone") or 0, -standard.offset)
        differ = int(standard.offset != summer.offset)
        libc.memory.write_uint(libc.data_symbol("daylight") or 0, 4, differ)
    return zones.zone


def _find(libc: Libc, text: str) -> Zone:
    path = text if text.startswith("/") else f"/usr/share/zoneinfo/{text or 'Universal'}"
    if path in libc.files:
        content = bytes(libc.files[path])
        if len(content) <= _LARGEST_FILE and (found := table(content)):
            return found
    if text == "/etc/localtime" or text.removeprefix("Etc/") in _UTC_NAMES:
        return Rules(_UTC, _UTC)
    return rules(text)


def name_of(libc: Libc, name: str) -> int:
    """The address of a zone's name, which stays valid."""
    names = libc.state(Zones).names
    if name not in names:
        text = name.encode("latin-1")
        names[name] = libc.allocate(len(text) + 1)
        libc.put_string(names[name], text)
    return names[name]


def since_epoch(wanted: int, summer: int, at: Callable[[int], Period], last: int) -> int | None:
    """The time whose local time in seconds is `wanted`; `summer` is tm_isdst. None after too many attempts.

    `last` is the offset found before, which decides about times that exist twice.
    """
    # Where a time is within the hour that is left out in spring, the guesses alternate between two values.
    found = before = older = wanted - last
    was_summer = False
    for _ in range(6):
        period = at(found)
        guess = wanted - period.offset
        if guess == found:
            return _with_summer(found, wanted, summer, at)
        if found == before != older:
            fits = was_summer <= period.summer if summer < 0 else (summer != 0) != period.summer
            if fits:
                return found
        before, older, found, was_summer = older, found, guess, period.summer
    return None


_STEP: Final = 601200  #: seconds; the shortest period of IANA's zones
_FARTHEST: Final = 457243209 // 2 + _STEP  #: half of the longest period without summer time there


def _with_summer(found: int, wanted: int, summer: int, at: Callable[[int], Period]) -> int:
    """`found`, or where summer time is on and `summer` says off (or the reverse), by the nearest such period."""
    is_summer = at(found).summer
    if summer < 0 or is_summer == bool(summer):
        return found
    for distance in range(_STEP, _FARTHEST, _STEP):
        for other in (found - distance, found + distance):
            if (period := at(other)).summer == bool(summer):
                return wanted - period.offset
    return found + 3600 * (is_summer - bool(summer))
