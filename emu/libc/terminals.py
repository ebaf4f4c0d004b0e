"""ioctl, and settings of terminals as data: struct termios (glibc, bits/termios-struct.h). None is a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.descriptors import O_NONBLOCK
from emu.libc.errno import Errno, FileError
from emu.libc.files import attempt
from emu.libc.filesystem import F_SETFD, F_SETFL, file_system
from emu.libc.table import export, register
from emu.libc.texts import constant_text

if TYPE_CHECKING:
    from emu.libc.guest import Arguments
    from emu.libc.library import Libc

_IFLAG, _OFLAG, _CFLAG, _LFLAG = 0, 4, 8, 12
_CC = 17  #: behind c_line
_ISPEED, _OSPEED = 52, 56  #: behind 32 characters, aligned
_VTIME, _VMIN = 5, 6
_SPEED_BITS = 0o010017  #: CBAUD
#: What cfmakeraw clears: IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON; OPOST; CSIZE PARENB; ECHO ECHONL
#: ICANON ISIG IEXTEN.
_COOKED = {_IFLAG: 0o2753, _OFLAG: 0o1, _CFLAG: 0o460, _LFLAG: 0o100113}
_CS8 = 0o60


@export("void cfmakeraw(void *settings)")
def cfmakeraw(libc: Libc, settings: int) -> None:
    for offset, bits in _COOKED.items():
        value = libc.memory.read_uint(settings + offset, 4) & ~bits
        libc.memory.write_uint(settings + offset, 4, value | (_CS8 if offset == _CFLAG else 0))
    libc.memory.write(settings + _CC + _VTIME, b"\0")
    libc.memory.write(settings + _CC + _VMIN, b"\1")


def _set_speed(libc: Libc, settings: int, speed: int, *places: int) -> int:
    if speed & ~_SPEED_BITS:
        return libc.fail(Errno.EINVAL)
    flags = libc.memory.read_uint(settings + _CFLAG, 4) & ~_SPEED_BITS
    libc.memory.write_uint(settings + _CFLAG, 4, flags | speed)
    for place in places:
        libc.memory.write_uint(settings + place, 4, speed)
    return 0


for _name, _places in (
    ("cfsetispeed", (_ISPEED,)), ("cfsetospeed", (_OSPEED,)), ("cfsetspeed", (_ISPEED, _OSPEED)),
):  # fmt: skip
    register(
        _name,
        f"int {_name}(void *settings, unsigned speed)",
        lambda libc, settings, speed, places=_places: _set_speed(libc, settings, speed, *places),
    )
for _name in ("cfgetispeed", "cfgetospeed"):
    register(
        _name,
        f"unsigned {_name}(const void *settings)",
        lambda libc, settings: libc.memory.read_uint(settings + _CFLAG, 4) & _SPEED_BITS,
    )


#: On all seven ISAs (Linux, asm-generic/ioctls.h).
_FIONREAD, _FIONBIO, _FIONCLEX, _FIOCLEX = 0x541B, 0x5421, 0x5450, 0x5451


def control(libc: Libc, number: int, request: int, argument: int) -> int:
    """ioctl: how many bytes can be read, and two flags; no descriptor is a terminal or another device. Raises
    FileError.
    """
    files, request = file_system(libc), request & 0xFFFF_FFFF
    descriptor = files.get(number)
    if request in (_FIONCLEX, _FIOCLEX):
        return files.control(number, F_SETFD, request == _FIOCLEX)
    if request == _FIONBIO:
        nonblocking = O_NONBLOCK if libc.memory.read_uint(argument, 4) else 0
        return files.control(number, F_SETFL, descriptor.flags & ~O_NONBLOCK | nonblocking)
    if request != _FIONREAD:
        raise FileError(Errno.ENOTTY)
    libc.memory.write_uint(argument, 4, descriptor.waiting & 0x7FFF_FFFF)
    return 0


@export("int ioctl(int number, unsigned long request, ...)", alias=("__ioctl_time64",))
def ioctl(libc: Libc, number: int, request: int, arguments: Arguments) -> int:
    return attempt(libc, lambda: control(libc, number, request, int(arguments.take("unsigned long"))))


@export("int isatty(int number)")
def isatty(libc: Libc, number: int) -> int:
    """0 with EBADF or ENOTTY."""
    return attempt(libc, lambda: control(libc, number, 0, 0)) + 1


@export("char *ctermid(char *name)")
def ctermid(libc: Libc, name: int) -> int:
    """The name of a process's terminal, whether it has one or not."""
    if not name:
        return constant_text(libc, _TERMINAL)
    libc.put_string(name, _TERMINAL)
    return name


_TERMINAL = b"/dev/tty"


@export("int ttyname_r(int number, char *name, size_t size)")
def ttyname_r(libc: Libc, number: int, name: int, size: int) -> int:
    return Errno.ENOTTY
