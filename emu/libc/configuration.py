"""Which C library this is, strings of the configuration, numbers of devices, and settings of malloc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: The glibc whose symbol versions and behaviour the hosted library has.
_VERSION, _RELEASE = b"2.41", b"stable"
#: confstr's strings on Linux (_CS_*), by number.
_STRINGS = {0: b"/bin:/usr/bin", 2: b"glibc " + _VERSION, 3: b"NPTL " + _VERSION}


@export("const char *gnu_get_libc_version(void)")
def gnu_get_libc_version(libc: Libc) -> int:
    return constant_text(libc, _VERSION)


@export("const char *gnu_get_libc_release(void)")
def gnu_get_libc_release(libc: Libc) -> int:
    return constant_text(libc, _RELEASE)


@export("size_t confstr(int name, char *buffer, size_t size)")
def confstr(libc: Libc, name: int, buffer: int, size: int) -> int:
    """The size of the string with its NUL; as much of it as fits is stored."""
    text = _STRINGS.get(name)
    if text is None:
        return libc.fail(Errno.EINVAL, 0)
    if buffer and size:
        libc.put_string(buffer, text[: size - 1])
    return len(text) + 1


@export("int mallopt(int name, int value)")
def mallopt(libc: Libc, name: int, value: int) -> int:
    """Accepted without effect: the heap has no such settings."""
    return 1


@export("void mtrace(void)", alias=("muntrace",))
def mtrace(libc: Libc) -> None:
    """Nothing is traced, as without MALLOC_TRACE."""


# glibc, bits/sysmacros.h: 32 bits of the major and of the minor number, in two parts each.


@export("unsigned gnu_dev_major(uint64_t device)")
def gnu_dev_major(libc: Libc, device: int) -> int:
    return device >> 8 & 0xFFF | device >> 32 & 0xFFFF_F000


@export("unsigned gnu_dev_minor(uint64_t device)")
def gnu_dev_minor(libc: Libc, device: int) -> int:
    return device & 0xFF | device >> 12 & 0xFFFF_FF00


@export("uint64_t gnu_dev_makedev(unsigned major, unsigned minor)")
def gnu_dev_makedev(libc: Libc, major: int, minor: int) -> int:
    return (major & 0xFFF) << 8 | (major & 0xFFFF_F000) << 32 | minor & 0xFF | (minor & 0xFFFF_FF00) << 12
