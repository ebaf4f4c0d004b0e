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
