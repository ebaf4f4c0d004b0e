"""Addresses of networks as text and bytes, and names in DNS messages. No network access."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.parse import parse_integer
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_FAMILIES = {2: socket.AF_INET, 10: socket.AF_INET6}  #: Linux's values of AF_*
_SIZES = {2: 4, 10: 16}  #: size of an address in bytes


@export("int inet_pton(int family, const char *text, void *address)", alias=("__inet_pton",))
def inet_pton(libc: Libc, family: int, text: int, address: int) -> int:
    """Returns 1, or 0 when the text is not an address of the family."""
    if family not in _FAMILIES:
        return libc.fail(Errno.EAFNOSUPPORT)
    try:
        packed = socket.inet_pton(_FAMILIES[family], libc.string(text).decode("ascii"))
    except (OSError, ValueError):
        return 0
    libc.memory.write(address, packed)
    return 1


@export("const char *inet_ntop(int family, const void *address, char *text, unsigned size)")
def inet_ntop(libc: Libc, family: int, address: int, text: int, size: int) -> int:
    if family not in _FAMILIES:
        return libc.fail(Errno.EAFNOSUPPORT, 0)
    packed = libc.memory.read(address, _SIZES[family])
    shown = socket.inet_ntop(_FAMILIES[family], packed).encode() + b"\0"
    if len(shown) > size:
        return libc.fail(Errno.ENOSPC, 0)
    libc.memory.write(text, shown)
    return text


class _Shown:
    """The static buffers of inet_ntoa and ether_ntoa, and of ether_aton."""

    def __init__(self, libc: Libc) -> None:
        self.buffer = libc.allocate(18)
        self.ethernet = libc.allocate(6)


def _parsed(text: bytes) -> bytes | None:
    """An IPv4 address of one to four numbers, which may be octal or hexadecimal."""
    try:
        return socket.inet_aton(text.decode("ascii"))
    except (OSError, ValueError):
        return None


@export("int inet_aton(const char *text, void *address)")
def inet_aton(libc: Libc, text: int, address: int) -> int:
    packed = _parsed(libc.string(text))
    if packed is None:
        return 0
    if address:
        libc.memory.write(address, packed)
    return 1


@export("uint32_t inet_addr(const char *text)")
def inet_addr(libc: Libc, text: int) -> int:
    packed = _parsed(libc.string(text))
    return 0xFFFF_FFFF if packed is None else int.from_bytes(packed, "little")


@export("char *inet_ntoa(uint32_t address)")
def inet_ntoa(libc: Libc, address: int) -> int:
    buffer = libc.state(_Shown).buffer
    libc.put_string(buffer, socket.inet_ntoa(address.to_bytes(4, "little")).encode())
    return buffer


@export("uint32_t htonl(uint32_t value)", alias=("ntohl",))
def htonl(libc: Libc, value: int) -> int:
    """The order of bytes of a network, on little-endian ISAs."""
    return int.from_bytes(value.to_bytes(4, "little"), "big")


@export("uint16_t htons(uint16_t value)", alias=("ntohs",))
def htons(libc: Libc, value: int) -> int:
    return int.from_bytes(value.to_bytes(2, "little"), "big")


def _classful(address: int) -> int:
    """The number of bits for the host in an address of class A, B or C, in the host's order."""
    return 24 if address < 1 << 31 else 16 if address < 3 << 30 else 8


@export("uint32_t inet_network(const char *text)")
def inet_network(libc: Libc, text: int) -> int:
    """One to four numbers below 256, in the host's order; what is not given is not shifted in."""
    value, parts = 0, libc.string(text).rstrip().split(b".")
    for part in parts:
        number = parse_integer(part, 0)
        if not part[:1].isdigit() or number.consumed != len(part) or number.value > 255 or len(parts) > 4:
            return 0xFFFF_FFFF
        value = value << 8 | number.value
    return value


@export("uint32_t inet_makeaddr(uint32_t network, uint32_t host)")
def inet_makeaddr(libc: Libc, network: int, host: int) -> int:
    shift = 24 if network < 128 else 16 if network < 1 << 16 else 8 if network < 1 << 24 else 0
    return htonl(libc, (network << shift | host & (1 << shift) - 1) & 0xFFFF_FFFF if shift else network | host)


@export("uint32_t inet_netof(uint32_t address)")
def inet_netof(libc: Libc, address: int) -> int:
    value = htonl(libc, address)
    return value >> _classful(value)


@export("uint32_t inet_lnaof(uint32_t address)")
def inet_lnaof(libc: Libc, address: int) -> int:
    value = htonl(libc, address)
    return value & (1 << _classful(value)) - 1


_ETHERNET = re.compile(rb"[ \t]*" + rb":".join([rb"([0-9a-fA-F]{1,2})"] * 6) + rb"(?=\s|$)")


@export("void *ether_aton_r(const char *text, void *address)")
def ether_aton_r(libc: Libc, text: int, address: int) -> int:
    found = _ETHERNET.match(libc.string(text))
    if not found:
        return 0
    libc.memory.write(address, bytes(int(part, 16) for part in found.groups()))
    return address


@export("void *ether_aton(const char *text)")
def ether_aton(libc: Libc, text: int) -> int:
    return ether_aton_r(libc, text, libc.state(_Shown).ethernet)


@export("char *ether_ntoa_r(const void *address, char *text)")
def ether_ntoa_r(libc: Libc, address: int, text: int) -> int:
    libc.put_string(text, ":".join(f"{byte:x}" for byte in libc.memory.read(address, 6)).encode())
    return text


@export("char *ether_ntoa(const void *address)")
def ether_ntoa(libc: Libc, address: int) -> int:
    return ether_ntoa_r(libc, address, libc.state(_Shown).buffer)


@export("int ether_hostton(const char *name, void *address)", alias=("ether_ntohost",))
def ether_hostton(libc: Libc, name: int, address: int) -> int:
    """There is no /etc/ethers."""
    return -1


_MOST_JUMPS = 128  #: limit for the pointers of a name, of which none can be followed twice in less


def _labels(libc: Libc, start: int, end: int, at: int) -> tuple[list[bytes], int] | None:
    """The labels of the name at `at` in the DNS message from `start` to `end`, and where it ends there.

    Source: RFC 1035, 4.1.4.
    """
    labels: list[bytes] = []
    behind = jumps = 0  # behind the first pointer
    while start <= at < end:
        length = libc.memory.read_uint(at, 1)
        if length >= 0xC0 and at + 1 < end and jumps < _MOST_JUMPS:
            behind = behind or at + 2
            at = start + ((length & 0x3F) << 8 | libc.memory.read_uint(at + 1, 1))
            jumps += 1
        elif length >= 0x40 or at + 1 + length > end:
            return None
        elif not length:
            return labels, behind or at + 1
        else:
            labels.append(libc.memory.read(at + 1, length))
            at += 1 + length
    return None


@export(
    "int dn_expand(const void *message, const void *end, const void *from, char *name, int size)",
    alias=("ns_name_uncompress", "__dn_expand"),
)
def dn_expand(libc: Libc, message: int, end: int, source: int, name: int, size: int) -> int:
    found = _labels(libc, message, end, source)
    text = b"" if found is None else b".".join(_escaped(label) for label in found[0])
    if found is None or len(text) >= size:
        return libc.fail(Errno.EMSGSIZE)
    libc.put_string(name, text)
    return found[1] - source


def _escaped(label: bytes) -> bytes:
    """A label with backslashes before what has a meaning, and numbers for what cannot be printed."""
    return b"".join(
        b"\\" + bytes([byte])
        if byte in b'"$().;@\\'
        else bytes([byte])
        if 0x20 < byte < 0x7F
        else b"\\%03d" % byte
        for byte in label
    )


@export("int dn_skipname(const void *from, const void *end)", alias=("__dn_skipname",))
def dn_skipname(libc: Libc, source: int, end: int) -> int:
    at = source
    while at < end:
        length = libc.memory.read_uint(at, 1)
        if length >= 0x40 or not length:
            size = at + (1 if not length else 2) - source
            return size if not length or (length >= 0xC0 and at + 2 <= end) else libc.fail(Errno.EMSGSIZE)
        at += 1 + length
    return libc.fail(Errno.EMSGSIZE)
