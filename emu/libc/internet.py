"""Internet addresses as text and bytes. No network access."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
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
    """The static buffer of inet_ntoa."""

    def __init__(self, libc: Libc) -> None:
        self.buffer = libc.allocate(16)


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
