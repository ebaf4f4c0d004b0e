"""Local time by TZ: the times that glibc gives, rules and zoneinfo files, and the variables."""

from __future__ import annotations

import struct

import pytest

from emu import Machine
from emu.libc.errno import Errno
from emu.libc.time_zones import rules, table
from tests.fixtures import arch_of
from tests.grouping import each
from tests.libc.fake import Harness
from tests.objects.build import compiled, linked

EASTERN = "EST5EDT,M3.2.0,M11.1.0"
#: TZ, time -> its text, tm_isdst, `timezone`, `daylight`.
TIMES: list[tuple[str, int, str, int, int, int]] = [
    (EASTERN, 1710054000, "2024-03-10 03:00:00 -0400 EDT", 1, 18000, 1),
    (EASTERN, 1710053999, "2024-03-10 01:59:59 -0500 EST", 0, 18000, 1),
    ("CET-1CEST,M3.5.0,M10.5.0/3", 1729990799, "2024-10-27 02:59:59 +0200 CEST", 1, -3600, 1),
    ("CET-1CEST,M3.5.0,M10.5.0/3", 1729990800, "2024-10-27 02:00:00 +0100 CET", 0, -3600, 1),
    ("<+0330>-3:30", 0, "1970-01-01 03:30:00 +0330 +0330", 0, -12600, 0),
    ("NZST-12NZDT,M9.5.0,M4.1.0/3", 1704067200, "2024-01-01 13:00:00 +1300 NZDT", 1, -43200, 1),
    ("XYZ", 5, "1970-01-01 00:00:05 +0000 XYZ", 0, 0, 0),
    ("A", 5, "1970-01-01 00:00:05 +0000 ", 0, 0, 0),
    ("", 5, "1970-01-01 00:00:05 +0000 UTC", 0, 0, 0),
    ("UTC", 5, "1970-01-01 00:00:05 +0000 UTC", 0, 0, 0),
    ("<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", 1711846800, "2024-03-30 23:00:00 -0200 -02", 1, 10800, 1),
    ("GST-1GDT,J60/1,J300/26", 1709250000, "2024-03-01 00:40:00 +0100 GST", 0, -3600, 1),
    ("GST-1GDT,59,299", 1709164800, "2024-02-29 01:00:00 +0100 GST", 0, -3600, 1),
    ("IST-1GMT0,M10.5.0,M3.5.0/1", 1704067200, "2024-01-01 00:00:00 +0000 GMT", 1, -3600, 1),
    ("AAA3BBB", 1720000000, "2024-07-03 07:46:40 -0200 BBB", 1, 10800, 1),
    ("EST+5:30:15", 86400, "1970-01-01 18:29:45 -0530 EST", 0, 19815, 0),
    ("CET-24", 0, "1970-01-02 00:00:00 +2400 CET", 0, -86400, 0),
]
#: sec, min, hour, mday, mon, year and isdst, in an order that glibc's answers depend on -> time, hour, isdst.
LOCAL: list[tuple[int, tuple[int, ...], int, int, int, int]] = [
    (0, (0, 30, 2, 10, 2, 124), -1, 1710055800, 3, 1),
    (1, (0, 30, 2, 10, 2, 124), 0, 1710055800, 3, 1),
    (0, (0, 30, 2, 10, 2, 124), 1, 1710052200, 1, 0),
    (1, (0, 30, 1, 3, 10, 124), -1, 1730611800, 1, 1),
    (0, (0, 30, 1, 3, 10, 124), 0, 1730615400, 1, 0),
    (1, (0, 30, 1, 3, 10, 124), 1, 1730611800, 1, 1),
    (0, (0, 0, 0, 1, 6, 124), 0, 1719810000, 1, 1),
    (1, (0, 0, 0, 1, 0, 124), 1, 1704081600, 23, 0),
    (0, (60, 59, 1, 10, 2, 124), -1, 1710054000, 3, 1),
    (1, (7200, 0, 1, 10, 2, 124), 0, 1710057600, 4, 1),
    (0, (-90, 70, 25, -3, 13, 124), -1, 1738134510, 2, 0),
]


def _at(host: Harness, zone: str, time: int) -> int:
    host.call("setenv", b"TZ", zone.encode(), 1)
    return int(host.call("localtime", host.place(struct.pack("<q", time))))


@each(("zone", "time", "text", "summer", "west", "daylight"), TIMES)
def test_local_time_is_that_of_tz(zone: str, time: int, text: str, summer: int, west: int, daylight: int) -> None:
    host = Harness()
    fields = _at(host, zone, time)
    room = host.buffer(100)
    host.call("strftime", room, 100, b"%F %T %z %Z", fields)
    assert host.string(room).decode() == text
    assert host.memory.read_uint(fields + 32, 4) == summer
    assert struct.unpack("<q", host.memory.read(host.libc.data_symbol("timezone") or 0, 8)) == (west,)
    assert host.memory.read_uint(host.libc.data_symbol("daylight") or 0, 4) == daylight
    host.call("strftime", room, 100, b"%s", fields)
    assert host.string(room) == b"%d" % time


def test_local_times_that_exist_twice_or_not_at_all_are_glibcs() -> None:
    host = Harness()
    for before, fields, summer, time, hour, is_summer in LOCAL:
        _at(host, EASTERN, 0)
        recent = _at(host, EASTERN, 1704100000 + before * 15552000)
        host.call("mktime", recent)
        place = host.place(struct.pack("<9i28x", *fields, 0, 0, summer))
        assert host.call("mktime", place) == time, (fields, summer)
        assert host.memory.read_uint(place + 8, 4) == hour
        assert host.memory.read_uint(place + 32, 4) == is_summer
    place = host.place(struct.pack("<9i28x", 0, 0, 0, 1, 0, 100, 0, 0, 1))
    host.call("setenv", b"TZ", b"UTC0", 1)
    assert host.call("mktime", place) == 946681200  # no summer time anywhere: an hour is assumed


def _zoneinfo(version: bytes = b"2") -> bytes:
    """LMT until 1000, summer time until 2000, then the rules of the footer from 3000 on."""
    types = struct.pack(">iBBiBBiBB", 600, 0, 0, 3600, 0, 4, 7200, 1, 8)
    names = b"LMT\0CET\0CEST\0"
    short = struct.pack(">4sc15x6I", b"TZif", version, 0, 0, 0, 0, 1, 4) + struct.pack(">iBB", 0, 0, 0) + b"UTC\0"
    counts = struct.pack(">4sc15x6I", b"TZif", version, 0, 0, 0, 3, 3, len(names))
    long = counts + struct.pack(">3q", 1000, 2000, 3000) + bytes([2, 1, 1]) + types + names
    return short + long + b"\nCET-1CEST,M3.5.0,M10.5.0/3\n" if version >= b"2" else short


def test_a_zoneinfo_file_is_read() -> None:
    files = {"/usr/share/zoneinfo/Test/City": _zoneinfo(), "/etc/localtime": _zoneinfo()}
    host = Harness(files=files)
    for zone in ("Test/City", ":Test/City", "/etc/localtime"):
        for time, text in (
            (999, "00:26:39 +0010 LMT"),
            (1000, "02:16:40 +0200 CEST"),
            (2000, "01:33:20 +0100 CET"),
            (1720000000, "11:46:40 +0200 CEST"),
        ):
            room = host.buffer(100)
            host.call("strftime", room, 100, b"%T %z %Z", _at(host, zone, time))
            assert host.string(room).decode() == text, (zone, time)
    host.call("unsetenv", b"TZ")
    fields = host.call("localtime", host.place(struct.pack("<q", 1000)))
    assert host.memory.read_uint(fields + 8, 4) == 2
    assert table(_zoneinfo(b"\0")) is not None


def test_damaged_zoneinfo_files_are_no_zones() -> None:
    data = _zoneinfo()
    whole = table(data)
    assert whole
    assert whole.usual[1].name == "CEST"
    for size in range(len(data) - 28):
        assert table(data[:size]) is None, size
    for at in range(len(data)):  # none raises anything else
        table(data[:at] + b"\xff" + data[at + 1 :])


def test_strings_of_every_kind_are_zones() -> None:
    for text in (
        ",",
        "AAA",
        "AAA1BBB,",
        "AAA1BBB,J",
        "AAA1BBB,M",
        "AAA1BBB,M1.1.1/",
        "AAA1BBB,1/2,",
        "<A>1",
        "é" * 9,
    ):
        assert rules(text).at(0).offset in (0, -3600, 3600), text


def test_texts_of_years_that_do_not_fit_are_refused() -> None:
    host = Harness()
    fields = host.place(struct.pack("<9i28x", 0, 0, 0, 1, 0, 20000, 0, 0, 0))
    room = host.buffer(64)
    assert host.call("asctime_r", fields, room) == 0
    assert host.libc.errno == Errno.EOVERFLOW
    assert host.string(host.call("asctime", fields)) == b"Sun Jan  1 00:00:00 21900\n"
    host.memory.write(fields + 20, struct.pack("<i", (1 << 31) - 1))
    assert host.call("asctime", fields) == 0


_SOURCE = """
typedef struct { int fields[9]; long offset; const char *zone; } tm;
extern char *tzname[2];
extern long timezone;
char *strptime(const char *, const char *, tm *);
void tzset(void);
int setenv(const char *, const char *, int);
int hours(void)
{
    tm t = {{0}, 0, 0};
    setenv("TZ", "EST5EDT", 1);
    tzset();
    if (tzname[0][1] != 'S' || tzname[1][1] != 'D' || timezone != 18000 || !strptime("1720000000", "%s", &t))
        return -1;
    return t.fields[2] * 100 + t.fields[8];
}
"""


@pytest.mark.parametrize("target", ["i386", "arm", "riscv64", "loongarch64"])
def test_code_sees_the_zone(target: str) -> None:
    made = linked(target, [compiled(target, _SOURCE, "-fPIC")])
    with Machine(arch_of(target)) as machine:
        assert machine.load(made).function("hours", "int hours(void)")() == 501
