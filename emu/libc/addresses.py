"""getaddrinfo, getnameinfo and gethostbyname for numbers: addresses as text, and ports.

No name is found, of a host or of a service, as without a network and its files. Rules and results: POSIX, RFC
3493, and glibc (sysdeps/posix/getaddrinfo.c, inet/getnameinfo.c).
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from emu.libc.parse import parse_integer
from emu.libc.resolver import no_host
from emu.libc.table import export
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from emu.libc.library import Libc

_INET, _INET6 = 2, 10
_PASSIVE, _CANONICAL, _MAPPED, _NUMERIC_SERVICE = 1, 2, 8, 0x400
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"  #: of an IPv6 address that stands for one of IPv4
_KNOWN_FLAGS, _DEFAULT_FLAGS = 0x7FF, 0x28  #: AI_V4MAPPED, AI_ADDRCONFIG
_BAD_FLAGS, _NO_NAME, _FAMILY, _SOCKET_TYPE, _SERVICE, _ADDRESS_FAMILY, _MEMORY, _OVERFLOW = (
    -1, -2, -6, -7, -8, -9, -10, -12,
)  # fmt: skip
_ERRORS = {
    -1: b"Bad value for ai_flags", -2: b"Name or service not known", -3: b"Temporary failure in name resolution",
    -4: b"Non-recoverable failure in name resolution", -5: b"No address associated with hostname",
    -6: b"ai_family not supported", -7: b"ai_socktype not supported",
    -8: b"Servname not supported for ai_socktype", -9: b"Address family for hostname not supported",
    -10: b"Memory allocation failure", -11: b"System error", -100: b"Processing request in progress",
    -101: b"Request canceled", -102: b"Request not canceled", -103: b"All requests done",
    -104: b"Interrupted by a signal", -105: b"Parameter string not correctly encoded",
}  # fmt: skip
#: (socket type, protocol), in the order in which they are tried; a raw socket has any protocol.
_STREAM, _DATAGRAM, _RAW = (1, 6), (2, 17), (3, 0)
_KINDS = (_STREAM, _DATAGRAM, (6, 33), (2, 136), (1, 132), (5, 132), _RAW)
_NAME_REQUIRED = 8  #: a flag of getnameinfo
_KNOWN_NAME_FLAGS = 0xFF


class _Refused(Exception):
    """What getaddrinfo returns instead of 0."""

    def __init__(self, error: int) -> None:
        super().__init__(error)
        self.error = error


class _Wanted(NamedTuple):
    """The first members of struct addrinfo."""

    flags: int = _DEFAULT_FLAGS
    family: int = 0
    kind: int = 0
    protocol: int = 0


def packed_address(text: bytes) -> bytes | None:
    """The 4 or 16 bytes of an address as text; None for what is none."""
    if text.split() != [text]:  # inet_aton ends at a space
        return None
    for parse in (socket.inet_aton, lambda each: socket.inet_pton(socket.AF_INET6, each)):
        try:
            return parse(text.decode("ascii"))
        except (OSError, ValueError):
            continue
    return None


def _kinds(wanted: _Wanted) -> list[tuple[int, int]]:
    """The socket types and protocols of the results."""
    if not wanted.kind and not wanted.protocol:
        return [_STREAM, _DATAGRAM, _RAW]
    for kind, protocol in _KINDS:
        if wanted.kind in (0, kind) and (wanted.protocol in (0, protocol) or kind == _RAW[0]):
            return [(kind, wanted.protocol if kind == _RAW[0] else protocol)]
    raise _Refused(_SOCKET_TYPE if wanted.kind else _SERVICE)


def _port(libc: Libc, service: bytes | None, wanted: _Wanted, kinds: list[tuple[int, int]]) -> int:
    if not service:
        return 0
    if kinds[0][0] == _RAW[0]:
        raise _Refused(_SERVICE)
    number = parse_integer(service, 10)
    too_large = abs(number.value) > libc.arch.address_mask  # for strtoul, of whose result the low 32 bits count
    if number.consumed != len(service) or too_large or number.value & 1 << 31:
        raise _Refused(_NO_NAME if wanted.flags & _NUMERIC_SERVICE else _SERVICE)
    return number.value & 0xFFFF


def _addresses(host: bytes | None, wanted: _Wanted) -> list[bytes]:
    if host is None:
        four, six = (bytes(4), bytes(16)) if wanted.flags & _PASSIVE else (b"\x7f\0\0\1", bytes(15) + b"\1")
        found = [four, six] if wanted.flags & _PASSIVE else [six, four]
        return [each for each in found if wanted.family in (0, _family(each))]
    address = packed_address(host)
    if address is None:
        raise _Refused(_NO_NAME)
    if wanted.family == _INET6 and len(address) == 4 and wanted.flags & _MAPPED:
        return [_MAPPED_PREFIX + address]
    if wanted.family == _INET and address.startswith(_MAPPED_PREFIX):
        return [address[len(_MAPPED_PREFIX) :]]
    if wanted.family not in (0, _family(address)):
        raise _Refused(_ADDRESS_FAMILY)
    return [address]


def _family(address: bytes) -> int:
    return _INET if len(address) == 4 else _INET6


def _socket_address(address: bytes, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6."""
    head = struct.pack("<H", _family(address)) + port.to_bytes(2, "big")
    return head + (address + bytes(8) if len(address) == 4 else bytes(4) + address + bytes(4))


def _optional(libc: Libc, text: int) -> bytes | None:
    """The text, None for NULL and for "*", which means the same."""
    found = libc.string(text) if text else b"*"
    return None if found == b"*" else found


@export("int getaddrinfo(const char *node, const char *service, const void *hints, void **result)")
def getaddrinfo(libc: Libc, node: int, service: int, hints: int, result: int) -> int:
    wanted = _Wanted(*struct.unpack("<4i", libc.memory.read(hints, 16))) if hints else _Wanted()
    host, port_text = _optional(libc, node), _optional(libc, service)
    try:
        if host is None and port_text is None:
            raise _Refused(_NO_NAME)
        if wanted.flags & ~_KNOWN_FLAGS or (wanted.flags & _CANONICAL and host is None):
            raise _Refused(_BAD_FLAGS)
        if wanted.family not in (0, _INET, _INET6):
            raise _Refused(_FAMILY)
        kinds = _kinds(wanted)
        port = _port(libc, port_text, wanted, kinds)
        found = [(each, kind) for each in _addresses(host, wanted) for kind in kinds]
    except _Refused as refused:
        return refused.error
    following = 0
    for index, (address, kind) in reversed(list(enumerate(found))):
        name = libc.new_string(host) if host is not None and wanted.flags & _CANONICAL and not index else 0
        place = _entry(libc, wanted.flags, kind, _socket_address(address, port), name, following)
        if not place:
            freeaddrinfo(libc, following)
            return _MEMORY
        following = place
    libc.set_pointer(result, following)
    return 0


def _entry(libc: Libc, flags: int, kind: tuple[int, int], address: bytes, name: int, following: int) -> int:
    """One struct addrinfo, with its address behind it; 0 without memory for it."""
    start = struct.pack("<5i", flags, int.from_bytes(address[:2], "little"), *kind, len(address))
    start += bytes(-len(start) % libc.word)
    size = len(start) + 3 * libc.word
    place = libc.heap.malloc(size + len(address))
    if place:
        pointers = b"".join(each.to_bytes(libc.word, "little") for each in (place + size, name, following))
        libc.memory.write(place, start + pointers + address)
    return place


@export("void freeaddrinfo(void *list)")
def freeaddrinfo(libc: Libc, listed: int) -> None:
    names = (20 + libc.word - 1 & -libc.word) + libc.word
    while listed:
        name, following = libc.pointer(listed + names), libc.pointer(listed + names + libc.word)
        if name:
            libc.heap.free(name)
        libc.heap.free(listed)
        listed = following


@export("int getnameinfo(const void *a, unsigned n, char *host, unsigned h, char *service, unsigned s, int flags)")
def getnameinfo(libc: Libc, a: int, n: int, host: int, h: int, service: int, s: int, flags: int) -> int:
    """The numbers as text, as there are no names; so is the scope of an IPv6 address, behind "%"."""
    if flags & ~_KNOWN_NAME_FLAGS:
        return _BAD_FLAGS
    family = libc.memory.read_uint(a, 2) if n >= 2 else 0
    if (family, n >= 16, n >= 28) not in ((_INET, True, False), (_INET, True, True), (_INET6, True, True)):
        return _FAMILY
    if flags & _NAME_REQUIRED and host and h:
        return _NO_NAME
    at, size = (a + 4, 4) if family == _INET else (a + 8, 16)
    kind = socket.AF_INET if family == _INET else socket.AF_INET6
    scope = libc.memory.read_uint(a + 24, 4) if family == _INET6 else 0
    shown = socket.inet_ntop(kind, libc.memory.read(at, size)) + (f"%{scope}" if scope else "")
    for place, room, text in (
        (host, h, shown.encode()),
        (service, s, b"%d" % int.from_bytes(libc.memory.read(a + 2, 2), "big")),
    ):
        if place and room:
            if len(text) >= room:
                return _OVERFLOW
            libc.put_string(place, text)
    return 0


@export("const char *gai_strerror(int error)")
def gai_strerror(libc: Libc, error: int) -> int:
    return constant_text(libc, _ERRORS.get(error, b"Unknown error"))


# ---------------------------------------------------------------- struct hostent


class _Entry:
    """The struct hostent that gethostbyname returns, with what it refers to."""

    def __init__(self, libc: Libc) -> None:
        self.place = libc.allocate(8 * libc.word + 16 + _LONGEST_NAME)


_LONGEST_NAME = 64  #: bytes; the longest text of an address has 46


@export("void *gethostbyname(const char *name)")
def gethostbyname(libc: Libc, name: int) -> int:
    return gethostbyname2(libc, name, _INET)


@export("void *gethostbyname2(const char *name, int family)")
def gethostbyname2(libc: Libc, name: int, family: int) -> int:
    text = libc.string(name)
    address = packed_address(text)
    if address is None or _family(address) != family or len(text) >= _LONGEST_NAME:
        return no_host(libc)
    place, word = libc.state(_Entry).place, libc.word
    lists = place + 5 * word
    raw, name_place = lists + 3 * word, lists + 3 * word + 16
    libc.set_pointer(place, name_place)
    libc.set_pointer(place + word, lists + 2 * word)
    libc.memory.write(place + 2 * word, struct.pack("<ii", family, len(address)))
    libc.set_pointer(place + 2 * word + 8, lists)
    libc.memory.write(lists, raw.to_bytes(word, "little") + bytes(2 * word))
    libc.memory.write(raw, address)
    libc.put_string(name_place, text)
    return place
