"""rand_r, the drand48 family (POSIX's 48-bit linear congruential generator) and random bytes.

`random` and `rand` are compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc.errno import Errno
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_MASK = 0xFFFF_FFFF
_FACTORS = 0x5DEECE66D, 0xB  #: of the 48-bit generator, but for lcong48


class Generators:
    """The state of the 48-bit generator."""

    def __init__(self, libc: Libc) -> None:
        self.lcg = 0  # as in glibc and musl until srand48
        self.factors = _FACTORS
        self.before = libc.allocate(8)  #: what seed48 returns

    def next48(self) -> int:
        self.lcg = self.after(self.lcg)
        return self.lcg

    def after(self, value: int) -> int:
        """The next of the 48-bit generator."""
        return (value * self.factors[0] + self.factors[1]) & ((1 << 48) - 1)


@export("int rand_r(unsigned *seed)")
def rand_r(libc: Libc, seed: int) -> int:
    state = libc.memory.read_uint(seed, 4)
    result = 0
    for bits, mask in ((0, 2047), (10, 1023), (10, 1023)):
        state = (state * 1103515245 + 12345) & _MASK
        result = result << bits ^ (state >> 16) & mask
    libc.memory.write_uint(seed, 4, state)
    return result


@export("void srand48(long seed)")
def srand48(libc: Libc, seed: int) -> None:
    generators = libc.state(Generators)
    generators.lcg, generators.factors = (seed & _MASK) << 16 | 0x330E, _FACTORS


@export("unsigned short *seed48(const unsigned short *seed)")
def seed48(libc: Libc, seed: int) -> int:
    generators = libc.state(Generators)
    new = libc.memory.read_uint(seed, 6)
    libc.memory.write_uint(generators.before, 6, generators.lcg)
    generators.lcg, generators.factors = new, _FACTORS
    return generators.before


@export("void lcong48(const unsigned short *parameters)")
def lcong48(libc: Libc, parameters: int) -> None:
    """Value, multiplier and addend."""
    generators = libc.state(Generators)
    generators.lcg = libc.memory.read_uint(parameters, 6)
    generators.factors = libc.memory.read_uint(parameters + 6, 6), libc.memory.read_uint(parameters + 12, 2)


def _own(libc: Libc, state: int) -> int:
    """The next of a generator whose state the guest has."""
    value = libc.state(Generators).after(libc.memory.read_uint(state, 6))
    libc.memory.write_uint(state, 6, value)
    return value


@export("double erand48(unsigned short *state)")
def erand48(libc: Libc, state: int) -> float:
    return _own(libc, state) / float(1 << 48)


@export("long nrand48(unsigned short *state)")
def nrand48(libc: Libc, state: int) -> int:
    return _own(libc, state) >> 17


@export("long jrand48(unsigned short *state)")
def jrand48(libc: Libc, state: int) -> int:
    value = _own(libc, state) >> 16
    return value - ((value >> 31) << 32)


@export("double drand48(void)")
def drand48(libc: Libc) -> float:
    return libc.state(Generators).next48() / float(1 << 48)


@export("long lrand48(void)")
def lrand48(libc: Libc) -> int:
    return libc.state(Generators).next48() >> 17


@export("long mrand48(void)")
def mrand48(libc: Libc) -> int:
    value = libc.state(Generators).next48() >> 16
    return value - ((value >> 31) << 32)


@export("ssize_t getrandom(void *buffer, size_t size, unsigned flags)")
def getrandom(libc: Libc, buffer: int, size: int, flags: int) -> int:
    """Reproducible bytes from the 48-bit generator; not secret. As in a kernel, EFAULT for a bad buffer, and fewer
    bytes when the buffer ends early.
    """
    room = libc.memory.available(buffer, min(size, _MOST), Protection.W)
    if size and not room:
        return libc.fail(Errno.EFAULT)
    _fill(libc, buffer, room)
    return room


_MOST = 0x1FF_FFFF  #: maximum number of bytes of one getrandom (random(4))
_STEP = 1 << 16


def _fill(libc: Libc, buffer: int, size: int) -> None:
    libc.memory.require(buffer, size, Protection.W)
    generators = libc.state(Generators)
    for offset in range(0, size, _STEP):
        libc.check_budget()
        wanted = min(_STEP, size - offset)
        libc.memory.write(buffer + offset, bytes(generators.next48() >> 40 for _ in range(wanted)))


@export("int getentropy(void *buffer, size_t size)")
def getentropy(libc: Libc, buffer: int, size: int) -> int:
    if size > 256:
        return libc.fail(Errno.EIO)
    return 0 if getrandom(libc, buffer, size, 0) == size else libc.fail(Errno.EFAULT)


@export("void arc4random_buf(void *buffer, size_t size)")
def arc4random_buf(libc: Libc, buffer: int, size: int) -> None:
    _fill(libc, buffer, size)


@export("uint32_t arc4random_uniform(uint32_t limit)")
def arc4random_uniform(libc: Libc, limit: int) -> int:
    """Below `limit`, each value as likely as another: numbers of the last incomplete round are drawn again."""
    if not limit:
        return 0
    while (drawn := arc4random(libc)) >= (1 << 32) - (1 << 32) % limit:
        pass
    return drawn % limit


@export("uint32_t arc4random(void)")
def arc4random(libc: Libc) -> int:
    return libc.state(Generators).next48() >> 16
