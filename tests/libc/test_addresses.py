"""getaddrinfo, getnameinfo and gethostbyname answer for numbers as glibc does; no name is found."""

from __future__ import annotations

import struct

import pytest

from tests.libc.fake import Harness

_PASSIVE, _CANONICAL, _NUMERIC_HOST, _MAPPED, _NUMERIC_SERVICE = 1, 2, 4, 8, 0x400
_STREAM, _DATAGRAM, _RAW = 1, 2, 3
#: (host, service, (flags, family, type, protocol)) -> an error, or "type/protocol address port" of each result; as
#: glibc 2.36 has them.
QUERIES = {
    ("127.0.0.1", "80", (0, 0, _STREAM, 0)): "1/6 127.0.0.1 80",
    ("1.2", "65536", (_NUMERIC_HOST, 0, _STREAM, 0)): "1/6 1.0.0.2 0",
    ("0x7f000001", "", (0, 0, _STREAM, 0)): "1/6 127.0.0.1 0",
    ("::1", "5", (0, 10, _DATAGRAM, 0)): "2/17 ::1 5",
    ("1.2.3.4", None, (0, 0, 0, 0)): "1/6 1.2.3.4 0, 2/17 1.2.3.4 0, 3/0 1.2.3.4 0",
    ("1.2.3.4", "5", (_MAPPED, 10, _STREAM, 0)): "1/6 ::ffff:1.2.3.4 5",
    ("::ffff:1.2.3.4", "5", (0, 2, _STREAM, 0)): "1/6 1.2.3.4 5",
    ("1.2.3.4", "5", (0, 0, 0, 132)): "1/132 1.2.3.4 5",
    ("1.2.3.4", None, (0, 0, 0, 99)): "3/99 1.2.3.4 0",
    ("1.2.3.4", "5", (0, 0, 0, 99)): -8,
    ("1.2.3.4", "99999999999999999999", (0, 0, _STREAM, 0)): -8,
    (None, "7", (0, 0, 0, 17)): "2/17 ::1 7, 2/17 127.0.0.1 7",
    (None, "7", (_PASSIVE, 0, _STREAM, 0)): "1/6 0.0.0.0 7, 1/6 :: 7",
    (None, "7", (_PASSIVE, 2, _STREAM, 0)): "1/6 0.0.0.0 7",
    (None, None, (0, 0, 0, 0)): -2,
    ("no.host", "80", (0, 0, _STREAM, 0)): -2,
    ("300.1.1.1", "80", (0, 0, _STREAM, 0)): -2,
    ("1.2.3.4 ", "80", (0, 0, _STREAM, 0)): -2,
    ("", "80", (0, 0, _STREAM, 0)): -2,
    ("1.2.3.4", "http", (0, 0, _STREAM, 0)): -8,
    ("1.2.3.4", "http", (_NUMERIC_SERVICE, 0, _STREAM, 0)): -2,
    ("1.2.3.4", "-1", (0, 0, _STREAM, 0)): -8,
    ("1.2.3.4", "5", (0, 0, _RAW, 0)): -8,
    ("1.2.3.4", "5", (0, 0, 77, 0)): -7,
    ("1.2.3.4", "5", (0, 0, _STREAM, 17)): -7,
    ("1.2.3.4", "5", (0, 99, 0, 0)): -6,
    ("1.2.3.4", "5", (0, 10, 0, 0)): -9,
    ("::1", "5", (0, 2, 0, 0)): -9,
    ("1.2.3.4", "5", (0x4000000, 0, 0, 0)): -1,
    (None, "5", (_CANONICAL, 0, 0, 0)): -1,
}  # fmt: skip


def _text(host: Harness, text: str | None) -> int:
    return 0 if text is None else host.text(text.encode())


def _asked(host: Harness, node: str | None, service: str | None, hints: tuple[int, ...]) -> int | str:
    place, libc = host.buffer(8), host.libc
    error = host.call(
        "getaddrinfo", _text(host, node), _text(host, service), host.place(struct.pack("<4i", *hints)), place
    )
    if error:
        return int(error)
    found, listed, name, port = list[str](), libc.pointer(place), host.buffer(64), host.buffer(16)
    at = listed
    while at:
        flags, _, kind, protocol, size = struct.unpack("<5i", libc.memory.read(at, 20))
        assert flags == hints[0]
        pointers = at + (20 + libc.word - 1 & -libc.word)
        assert host.call("getnameinfo", libc.pointer(pointers), size, name, 64, port, 16, 3) == 0
        found.append(f"{kind}/{protocol} {host.string(name).decode()} {host.string(port).decode()}")
        at = libc.pointer(pointers + 2 * libc.word)
    host.call("freeaddrinfo", listed)
    return ", ".join(found)


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
def test_numbers_are_addresses_and_ports(arch: str) -> None:
    host = Harness(arch)
    answers = {query: _asked(host, *query) for query in QUERIES}
    assert answers == QUERIES


def test_hints_may_be_left_out_and_the_canonical_name_is_the_number(host: Harness) -> None:
    place = host.buffer(8)
    assert host.call("getaddrinfo", host.text(b"1.2.3.4"), 0, 0, place) == 0
    hints = host.place(struct.pack("<4i", _CANONICAL, 0, _STREAM, 0))
    assert host.call("getaddrinfo", host.text(b"1.2.3.4"), 0, hints, place) == 0
    assert host.string(host.libc.pointer(host.libc.pointer(place) + 32)) == b"1.2.3.4"
    host.call("freeaddrinfo", host.libc.pointer(place))


def test_getnameinfo_says_what_is_wrong(host: Harness) -> None:
    address = host.place(struct.pack("<H", 2) + (80).to_bytes(2, "big") + bytes([9, 8, 7, 6]) + bytes(8))
    name = host.buffer(64)
    assert host.call("getnameinfo", address, 16, name, 64, 0, 0, 1) == 0
    assert host.string(name) == b"9.8.7.6"
    assert host.call("getnameinfo", address, 16, name, 4, 0, 0, 1) == -12
    assert host.call("getnameinfo", address, 3, name, 64, 0, 0, 1) == -6
    assert host.call("getnameinfo", address, 16, name, 64, 0, 0, 9) == -2
    assert host.call("getnameinfo", address, 16, name, 64, 0, 0, 0x100) == -1
    assert host.string(host.call("gai_strerror", -12)) == b"Unknown error"


def test_the_scope_of_an_address_is_behind_it(host: Harness) -> None:
    address = host.place(struct.pack("<HHI", 10, 0, 0) + bytes(15) + b"\1" + struct.pack("<I", 77))
    name = host.buffer(64)
    assert host.call("getnameinfo", address, 28, name, 64, 0, 0, 1) == 0
    assert host.string(name) == b"::1%77"


def test_a_list_that_memory_does_not_hold_is_freed(host: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    heap, taken, text, place = host.libc.heap, set[int](), host.text(b"1.2.3.4"), host.buffer(8)
    malloc, free = heap.malloc, heap.free

    def counted(size: int) -> int:
        address = malloc(size) if len(taken) < 2 else 0
        taken.update({address} - {0})
        return address

    def freed(address: int) -> None:
        taken.remove(address)
        free(address)

    monkeypatch.setattr(heap, "malloc", counted)
    monkeypatch.setattr(heap, "free", freed)
    assert host.call("getaddrinfo", text, 0, 0, place) == -10
    assert not taken


def test_gethostbyname_reads_numbers_only(host: Harness) -> None:
    libc = host.libc
    entry = host.call("gethostbyname", host.text(b"1.2.3.4"))
    assert host.string(libc.pointer(entry)) == b"1.2.3.4"
    assert struct.unpack("<ii", libc.memory.read(entry + 16, 8)) == (2, 4)
    assert libc.pointer(libc.pointer(entry + 8)) == 0
    assert libc.memory.read(libc.pointer(libc.pointer(entry + 24)), 4) == bytes([1, 2, 3, 4])
    assert host.call("gethostbyname", host.text(b"localhost")) == 0
    assert host.call("gethostbyname", host.text(b"::1")) == 0
    assert host.call("gethostbyname2", host.text(b"::1"), 10) != 0
