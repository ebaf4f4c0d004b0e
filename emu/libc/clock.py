"""Time functions, from `libc.clock` (nanoseconds since the epoch); local time is UTC.

Where time_t has 32 bits (i386, Arm), a second set of functions with names ending in 64 uses a 64-bit time_t; the
table below makes both from one implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export, export_data, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)
_SECOND = 1_000_000_000


class ClockState:
    """The start time of the process, and the static buffers of functions that return one."""

    def __init__(self, libc: Libc) -> None:
        self.start = libc.clock()
        self.broken_down = libc.allocate(64)
        self.text = libc.allocate(64)


# ---------------------------------------------------------------- the calendar


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the proleptic Gregorian calendar; month 1..12, any year."""
    year += (month - 1) // 12
    month = (month - 1) % 12
    past = year - 1
    leap = month > 1 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return 365 * past + past // 4 - past // 100 + past // 400 + _DAYS_BEFORE[month] + leap + day - 719163


def broken_down(seconds: int) -> list[int]:
    """The nine ints of struct tm in UTC: sec, min, hour, mday, mon, year - 1900, wday, yday, isdst."""
    days, rest = divmod(seconds, 86400)
    year = 1970 + int(days // 365.2425)
    while days < days_from_civil(year, 1, 1):
        year -= 1
    while days >= days_from_civil(year + 1, 1, 1):
        year += 1
    day_of_year = days - days_from_civil(year, 1, 1)
    month = max(m for m in range(1, 13) if days_from_civil(year, m, 1) <= days)
    day = days - days_from_civil(year, month, 1) + 1
    return [rest % 60, rest // 60 % 60, rest // 3600, day, month - 1, year - 1900, (days + 4) % 7, day_of_year, 0]


def read_tm(libc: Libc, address: int) -> list[int]:
    data = libc.memory.read(address, 36)
    return [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, 36, 4)]


def zone_at(libc: Libc, address: int) -> str:
    """The name of the time zone in a struct tm: tm_zone, behind nine ints and tm_gmtoff."""
    name = libc.pointer(address + (36 + libc.word - 1 & -libc.word) + libc.word)
    return libc.bounded_string(name, 64).decode("latin-1") if name else ""


def _write_tm(libc: Libc, address: int, fields: list[int], zone: str = "__relink_utc") -> int:
    """struct tm with tm_gmtoff 0 and tm_zone from a symbol; 0 with EOVERFLOW for a year that does not fit."""
    if not -(1 << 31) <= fields[5] < 1 << 31:
        return libc.fail(Errno.EOVERFLOW, 0)
    data = b"".join(value.to_bytes(4, "little", signed=True) for value in fields)
    data += bytes(-len(data) % libc.word + libc.word)
    libc.memory.write(address, data)
    libc.set_pointer(address + len(data), libc.data_symbol(zone) or 0)
    return address


@export_data("__relink_utc")
def utc_name(libc: Libc) -> bytes:
    return b"UTC\0"


@export_data("__relink_gmt")
def gmt_name(libc: Libc) -> bytes:
    """The zone's name after gmtime and timegm; after localtime and mktime it is that of TZ, "UTC"."""
    return b"GMT\0"


def seconds_of(fields: list[int]) -> int:
    second, minute, hour, day, month, year = fields[:6]
    return days_from_civil(year + 1900, month + 1, day) * 86400 + hour * 3600 + minute * 60 + second


# ---------------------------------------------------------------- functions with a time_t Each takes the size of
# time_t in bytes (4 or 8) after the Libc.


def _time(libc: Libc, size: int, result: int) -> int:
    now = libc.clock() // _SECOND
    if size == 4 and now >= 1 << 31:
        return libc.fail(Errno.EOVERFLOW)
    if result:
        libc.memory.write_uint(result, size, now)
    return now


def _put_pair(libc: Libc, size: int, address: int, seconds: int, fraction: int) -> None:
    mask = (1 << 8 * size) - 1
    libc.memory.write_uint(address, size, seconds & mask)
    libc.memory.write_uint(address + size, size, fraction)


def _clock_gettime(libc: Libc, size: int, clock: int, result: int) -> int:
    if not 0 <= clock <= 11:
        return libc.fail(Errno.EINVAL)
    now = libc.clock()
    if clock in (2, 3):  # CPU time of the process or thread
        now -= libc.state(ClockState).start
    _put_pair(libc, size, result, *divmod(now, _SECOND))
    return 0


def _clock_getres(libc: Libc, size: int, clock: int, result: int) -> int:
    if result:
        _put_pair(libc, size, result, 0, 1)
    return 0


def _gettimeofday(libc: Libc, size: int, result: int, zone: int) -> int:
    if result:
        seconds, nanoseconds = divmod(libc.clock(), _SECOND)
        _put_pair(libc, size, result, seconds, nanoseconds // 1000)
    return 0


def _read_time(libc: Libc, size: int, address: int) -> int:
    return int.from_bytes(libc.memory.read(address, size), "little", signed=True)


def _gmtime_r(libc: Libc, size: int, time: int, result: int) -> int:
    return _write_tm(libc, result, broken_down(_read_time(libc, size, time)), "__relink_gmt")


def _localtime_r(libc: Libc, size: int, time: int, result: int) -> int:
    return _write_tm(libc, result, broken_down(_read_time(libc, size, time)))


def _gmtime(libc: Libc, size: int, time: int) -> int:
    return _gmtime_r(libc, size, time, libc.state(ClockState).broken_down)


def _localtime(libc: Libc, size: int, time: int) -> int:
    return _localtime_r(libc, size, time, libc.state(ClockState).broken_down)


def _timegm(libc: Libc, size: int, fields: int) -> int:
    return _mktime(libc, size, fields, "__relink_gmt")


def _mktime(libc: Libc, size: int, fields: int, zone: str = "__relink_utc") -> int:
    seconds = seconds_of(read_tm(libc, fields))
    if size == 4 and not -(1 << 31) <= seconds < 1 << 31:
        return libc.fail(Errno.EOVERFLOW)
    return seconds if _write_tm(libc, fields, broken_down(seconds), zone) else -1


def _ctime_r(libc: Libc, size: int, time: int, buffer: int) -> int:
    libc.put_string(buffer, _asctime_text(broken_down(_read_time(libc, size, time))))
    return buffer


def _ctime(libc: Libc, size: int, time: int) -> int:
    return _ctime_r(libc, size, time, libc.state(ClockState).text)


def _difftime(libc: Libc, size: int, end: int, start: int) -> float:
    return float(end - start)


#: name -> (prototype with T for time_t, implementation)
_TIMED: dict[str, tuple[str, Callable[..., int | float]]] = {
    "time": ("T {}(void *result)", _time),
    "clock_gettime": ("int {}(int clock, void *result)", _clock_gettime),
    "clock_getres": ("int {}(int clock, void *result)", _clock_getres),
    "gettimeofday": ("int {}(void *result, void *zone)", _gettimeofday),
    "gmtime_r": ("void *{}(const void *time, void *result)", _gmtime_r),
    "localtime_r": ("void *{}(const void *time, void *result)", _localtime_r),
    "gmtime": ("void *{}(const void *time)", _gmtime),
    "localtime": ("void *{}(const void *time)", _localtime),
    "mktime": ("T {}(void *fields)", _mktime),
    "timegm": ("T {}(void *fields)", _timegm),
    "ctime_r": ("char *{}(const void *time, char *buffer)", _ctime_r),
    "ctime": ("char *{}(const void *time)", _ctime),
    "difftime": ("double {}(T end, T start)", _difftime),
}


def _export_timed() -> None:
    for name, (prototype, implementation) in _TIMED.items():

        def call(libc: Libc, *args: int, run: Callable[..., int | float] = implementation) -> int | float:
            return run(libc, libc.isa.data.time_size, *args)

        def call64(libc: Libc, *args: int, run: Callable[..., int | float] = implementation) -> int | float:
            return run(libc, 8, *args)

        for spelled in (name, "__clock_gettime") if name == "clock_gettime" else (name,):
            register(spelled, prototype.replace("T", "time_t").format(spelled), call)
        stem, reentrant, _ = name.partition("_r") if name.endswith("_r") else (name, "", "")
        wide = f"__{stem}64{reentrant}"
        register(wide, prototype.replace("T", "int64_t").format(wide), call64, lambda isa: isa.data.time_size == 4)


_export_timed()

# ---------------------------------------------------------------- the rest


@export("clock_t clock(void)")
def clock(libc: Libc) -> int:
    value = (libc.clock() - libc.state(ClockState).start) // 1000
    return value & (libc.arch.address_mask >> 1)


@export("clock_t times(void *result)")
def times(libc: Libc, result: int) -> int:
    ticks = clock(libc) // 10_000
    if result:
        libc.memory.write(result, ticks.to_bytes(libc.word, "little") + bytes(3 * libc.word))
    return ticks


@export("int sched_yield(void)")
def sched_yield(libc: Libc) -> int:
    return 0


@export("int timespec_get(void *result, int base)")
def timespec_get(libc: Libc, result: int, base: int) -> int:
    return _timespec_get(libc, libc.isa.data.time_size, result, base)


@export("int __timespec_get64(void *result, int base)", on=lambda isa: isa.data.time_size == 4)
def timespec_get64(libc: Libc, result: int, base: int) -> int:
    return _timespec_get(libc, 8, result, base)


def _timespec_get(libc: Libc, size: int, result: int, base: int) -> int:
    """`base`, or 0 where it is not TIME_UTC (1)."""
    return base if base == 1 and not _clock_gettime(libc, size, 0, result) else 0


@export_data("tzname", "__tzname")
def tzname(libc: Libc) -> bytes:
    return (libc.data_symbol("__relink_utc") or 0).to_bytes(libc.word, "little") * 2


@export_data("timezone", "__timezone")
def timezone(libc: Libc) -> bytes:
    return bytes(libc.word)


@export_data("daylight", "__daylight")
def daylight(libc: Libc) -> bytes:
    return bytes(4)


@export("void tzset(void)")
def tzset(libc: Libc) -> None:
    """Does nothing: the time zone is always UTC."""


def _asctime_text(tm: list[int]) -> bytes:
    weekday = WEEKDAYS[tm[6]][:3] if 0 <= tm[6] < 7 else "???"
    month = MONTHS[tm[4]][:3] if 0 <= tm[4] < 12 else "???"
    return f"{weekday} {month}{tm[3]:3d} {tm[2]:02d}:{tm[1]:02d}:{tm[0]:02d} {1900 + tm[5]}\n".encode()


@export("char *asctime_r(const void *fields, char *buffer)")
def asctime_r(libc: Libc, fields: int, buffer: int) -> int:
    libc.put_string(buffer, _asctime_text(read_tm(libc, fields)))
    return buffer


@export("char *asctime(const void *fields)")
def asctime(libc: Libc, fields: int) -> int:
    return asctime_r(libc, fields, libc.state(ClockState).text)
