"""Time functions, from `libc.clock` (nanoseconds since the epoch); local time is that of TZ.

Where time_t has 32 bits (i386, Arm), a second set of functions with names ending in 64 uses a 64-bit time_t; the
table below makes both from one implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.libc.calendar import broken_down, seconds_of
from emu.libc.environment import variable
from emu.libc.errno import Errno
from emu.libc.table import export, export_data, register
from emu.libc.time_zones import Period, Zone, Zones, name_of, since_epoch, zone

if TYPE_CHECKING:
    from emu.libc.library import Libc

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_SECOND = 1_000_000_000
#: The zone of struct tm after gmtime and timegm.
_GMT = Period(0, False, "GMT")
_ASCTIME_ROOM = 26  #: bytes of the caller's buffer, by POSIX
_STATIC_ROOM = 128  #: bytes; the longest text has 114 (glibc, time/asctime.c)


class ClockState:
    """The start time of the process, and the static buffers of functions that return one."""

    def __init__(self, libc: Libc) -> None:
        self.start = libc.clock() - libc.slept
        self.broken_down = libc.allocate(64)
        self.text = libc.allocate(_STATIC_ROOM)


# ---------------------------------------------------------------- struct tm


def read_tm(libc: Libc, address: int) -> list[int]:
    data = libc.memory.read(address, 36)
    return [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, 36, 4)]


def zone_at(libc: Libc, address: int) -> str:
    """The name of the time zone in a struct tm: tm_zone, behind nine ints and tm_gmtoff."""
    name = libc.pointer(address + (36 + libc.word - 1 & -libc.word) + libc.word)
    return libc.bounded_string(name, 64).decode("latin-1") if name else ""


def offset_at(libc: Libc, address: int) -> int:
    """tm_gmtoff, seconds east of UTC, of a struct tm."""
    data = libc.memory.read(address + (36 + libc.word - 1 & -libc.word), libc.word)
    return int.from_bytes(data, "little", signed=True)


def _write_tm(libc: Libc, address: int, seconds: int, period: Period) -> int:
    """struct tm of a time since the epoch; 0 with EOVERFLOW for a year that does not fit."""
    fields = broken_down(seconds + period.offset)
    if not -(1 << 31) <= fields[5] < 1 << 31:
        return libc.fail(Errno.EOVERFLOW, 0)
    fields[8] = period.summer
    data = b"".join(value.to_bytes(4, "little", signed=True) for value in fields)
    data += bytes(-len(data) % libc.word) + period.offset.to_bytes(libc.word, "little", signed=True)
    libc.memory.write(address, data)
    libc.set_pointer(address + len(data), name_of(libc, period.name))
    return address


def local_zone(libc: Libc) -> Zone:
    """The time zone that the guest's variable TZ names."""
    return zone(libc, variable(libc, b"TZ"))


def from_local(libc: Libc, fields: list[int]) -> int | None:
    """Seconds since the epoch of a local struct tm, whose fields may be out of range; None where there is none."""
    zones, at = libc.state(Zones), local_zone(libc).at
    beyond = fields[0] - min(max(fields[0], 0), 59)  # seconds that are added behind the choice of summer time
    found = since_epoch(seconds_of(fields) - beyond, fields[8], at, zones.last)
    if found is not None:
        zones.last = at(found).offset
        found += beyond
    return found


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


_CPU_CLOCKS = (2, 3)  #: CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID


def cpu_time(libc: Libc) -> int:
    """The nanoseconds that the process has run for, without those in which it slept."""
    start = libc.state(ClockState).start  # before the clock is read: the first call sets it
    return libc.clock() - libc.slept - start


def _clock_gettime(libc: Libc, size: int, clock: int, result: int) -> int:
    if not 0 <= clock <= 11:
        return libc.fail(Errno.EINVAL)
    now = cpu_time(libc) if clock in _CPU_CLOCKS else libc.clock()
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
    return _write_tm(libc, result, _read_time(libc, size, time), _GMT)


def _localtime_r(libc: Libc, size: int, time: int, result: int) -> int:
    seconds = _read_time(libc, size, time)
    return _write_tm(libc, result, seconds, local_zone(libc).at(seconds))


def _gmtime(libc: Libc, size: int, time: int) -> int:
    return _gmtime_r(libc, size, time, libc.state(ClockState).broken_down)


def _localtime(libc: Libc, size: int, time: int) -> int:
    return _localtime_r(libc, size, time, libc.state(ClockState).broken_down)


def _timegm(libc: Libc, size: int, fields: int) -> int:
    return _normalised(libc, size, fields, seconds_of(read_tm(libc, fields)), _GMT)


def _mktime(libc: Libc, size: int, fields: int) -> int:
    seconds = from_local(libc, read_tm(libc, fields))
    if seconds is None:
        return libc.fail(Errno.EOVERFLOW)
    return _normalised(libc, size, fields, seconds, local_zone(libc).at(seconds))


def _normalised(libc: Libc, size: int, fields: int, seconds: int, period: Period) -> int:
    if size == 4 and not -(1 << 31) <= seconds < 1 << 31:
        return libc.fail(Errno.EOVERFLOW)
    return seconds if _write_tm(libc, fields, seconds, period) else -1


def _ctime_r(libc: Libc, size: int, time: int, buffer: int) -> int:
    seconds = _read_time(libc, size, time)
    return _put_text(libc, broken_down(seconds + local_zone(libc).at(seconds).offset), buffer, _ASCTIME_ROOM)


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
    value = cpu_time(libc) // 1000
    return value & (libc.arch.address_mask >> 1)


_TICK = _SECOND // 100  #: sysconf(_SC_CLK_TCK)


@export("clock_t times(void *result)")
def times(libc: Libc, result: int) -> int:
    """The time that has passed, and in `result` that of the processor, in hundredths of a second."""
    if result:
        ticks = cpu_time(libc) // _TICK
        libc.memory.write(result, ticks.to_bytes(libc.word, "little") + bytes(3 * libc.word))
    start = libc.state(ClockState).start
    return (libc.clock() - start) // _TICK & (libc.arch.address_mask >> 1)


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
    return name_of(libc, "UTC").to_bytes(libc.word, "little") * 2


@export_data("timezone", "__timezone")
def timezone(libc: Libc) -> bytes:
    return bytes(libc.word)


@export_data("daylight", "__daylight")
def daylight(libc: Libc) -> bytes:
    return bytes(4)


@export("void tzset(void)")
def tzset(libc: Libc) -> None:
    """Sets `tzname`, `timezone` and `daylight`, as every function that reads TZ does."""
    local_zone(libc)


def _asctime_text(tm: list[int]) -> bytes:
    weekday = WEEKDAYS[tm[6]][:3] if 0 <= tm[6] < 7 else "???"
    month = MONTHS[tm[4]][:3] if 0 <= tm[4] < 12 else "???"
    return f"{weekday} {month}{tm[3]:3d} {tm[2]:02d}:{tm[1]:02d}:{tm[0]:02d} {1900 + tm[5]}\n".encode()


def _put_text(libc: Libc, tm: list[int], buffer: int, room: int) -> int:
    text = _asctime_text(tm)
    if len(text) >= room or not -(1 << 31) <= tm[5] < (1 << 31) - 1900:
        return libc.fail(Errno.EOVERFLOW, 0)
    libc.put_string(buffer, text)
    return buffer


@export("char *asctime_r(const void *fields, char *buffer)")
def asctime_r(libc: Libc, fields: int, buffer: int) -> int:
    return _put_text(libc, read_tm(libc, fields), buffer, _ASCTIME_ROOM)


@export("char *asctime(const void *fields)")
def asctime(libc: Libc, fields: int) -> int:
    return _put_text(libc, read_tm(libc, fields), libc.state(ClockState).text, _STATIC_ROOM)
