"""<fenv.h>: the rounding mode and exception flags in the CPU's registers (`Isa.libc.float_environment`)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from emu.libc.ieee import Rounding
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.isa.spec import FloatEnvironment
    from emu.libc.library import Libc


def _facts(libc: Libc) -> FloatEnvironment:
    return libc.isa.libc.float_environment


def _is_default(libc: Libc, environment: int) -> bool:
    """FE_DFL_ENV, which is -1 in glibc and musl."""
    return environment == libc.arch.address_mask


@export("int fegetround(void)")
def fegetround(libc: Libc) -> int:
    facts = _facts(libc)
    register, shift = facts.rounding[-1]
    return libc.registers.read_register(register) >> shift & facts.rounding_mask


def rounding(libc: Libc) -> Rounding:
    """The current rounding direction."""
    facts = _facts(libc)
    mode = fegetround(libc)
    return Rounding(facts.modes.index(mode)) if mode in facts.modes else Rounding.NEAREST


@export("int fesetround(int mode)")
def fesetround(libc: Libc, mode: int) -> int:
    """Returns 0, or 1 for an invalid rounding mode."""
    facts = _facts(libc)
    if mode & ~facts.rounding_mask or mode not in facts.modes:
        return 1
    for register, shift in facts.rounding:
        value = libc.registers.read_register(register) & ~(facts.rounding_mask << shift)
        libc.registers.write_register(register, value | mode << shift)
    return 0


def _raised(libc: Libc) -> int:
    return _together(libc) & _facts(libc).flags_mask


def _together(libc: Libc) -> int:
    flags = 0
    for register in _facts(libc).flags:
        flags |= libc.registers.read_register(register)
    return flags


def _set(libc: Libc, mask: int, wanted: int) -> None:
    """Set the flags in `mask` to their values in `wanted`."""
    facts = _facts(libc)
    mask &= facts.flags_mask
    for register in facts.flags:
        value = libc.registers.read_register(register) & ~mask
        libc.registers.write_register(register, value | wanted & mask)


@export("int feclearexcept(int mask)")
def feclearexcept(libc: Libc, mask: int) -> int:
    _set(libc, mask, 0)
    return 0


@export("int fetestexcept(int mask)")
def fetestexcept(libc: Libc, mask: int) -> int:
    return _raised(libc) & mask


@export("int feraiseexcept(int mask)")
def feraiseexcept(libc: Libc, mask: int) -> int:
    """Sets flags only: exceptions never trap."""
    _set(libc, mask, mask)
    return 0


class Raised(enum.IntFlag):
    """Floating-point exceptions, in the order of `FloatEnvironment.flag_bits`."""

    INVALID = 1
    DIVISION_BY_ZERO = 2
    OVERFLOW = 4
    UNDERFLOW = 8
    INEXACT = 16


def raise_flags(libc: Libc, raised: Raised) -> None:
    """Set the flags of exceptions raised by a library function."""
    facts = _facts(libc)
    bits = sum(bit for number, bit in enumerate(facts.flag_bits) if raised >> number & 1)
    register = facts.flags[-1]
    value = libc.registers.read_register(register)
    if bits & ~value:
        libc.registers.write_register(register, value | bits)


@export("int fegetexceptflag(uint32_t *flags, int mask)")
def fegetexceptflag(libc: Libc, flags: int, mask: int) -> int:
    """fexcept_t is an integer of 16 bits on x86, of 32 elsewhere, with the flags where FE_* are."""
    libc.memory.write_uint(flags, _exceptions_size(libc), _raised(libc) & mask)
    return 0


@export("int fesetexceptflag(const uint32_t *flags, int mask)")
def fesetexceptflag(libc: Libc, flags: int, mask: int) -> int:
    _set(libc, mask, libc.memory.read_uint(flags, _exceptions_size(libc)))
    return 0


@export("int fetestexceptflag(const uint32_t *flags, int mask)")
def fetestexceptflag(libc: Libc, flags: int, mask: int) -> int:
    return libc.memory.read_uint(flags, _exceptions_size(libc)) & mask & _facts(libc).flags_mask


@export("int fesetexcept(int mask)")
def fesetexcept(libc: Libc, mask: int) -> int:
    _set(libc, mask, mask)
    return 0


def _exceptions_size(libc: Libc) -> int:
    return 2 if "fpsw" in _facts(libc).flags else 4


@export("int feenableexcept(int mask)", alias=("fedisableexcept",))
def feenableexcept(libc: Libc, mask: int) -> int:
    """Traps are not supported: fails for any exception; the previous mask is 0."""
    return -1 if mask & _facts(libc).flags_mask else 0


@export("int fegetexcept(void)")
def fegetexcept(libc: Libc) -> int:
    return 0


@export("int fegetmode(void *modes)")
def fegetmode(libc: Libc, modes: int) -> int:
    libc.memory.write_uint(modes, 4, fegetround(libc))
    return 0


@export("int fesetmode(const void *modes)")
def fesetmode(libc: Libc, modes: int) -> int:
    wanted = _facts(libc).modes[0] if _is_default(libc, modes) else libc.memory.read_uint(modes, 4)
    return fesetround(libc, wanted)


@export("int fegetenv(void *environment)")
def fegetenv(libc: Libc, environment: int) -> int:
    """Stores each register of the environment as a 32-bit word; every C library's fenv_t is large enough."""
    for index, register in enumerate(_facts(libc).registers):
        libc.memory.write_uint(environment + 4 * index, 4, libc.registers.read_register(register) & 0xFFFF_FFFF)
    return 0


@export("int fesetenv(const void *environment)")
def fesetenv(libc: Libc, environment: int) -> int:
    if _is_default(libc, environment):
        fesetround(libc, _facts(libc).modes[0])
        feclearexcept(libc, _facts(libc).flags_mask)
        return 0
    for index, register in enumerate(_facts(libc).registers):
        libc.registers.write_register(register, libc.memory.read_uint(environment + 4 * index, 4))
    return 0


@export("int feholdexcept(void *environment)")
def feholdexcept(libc: Libc, environment: int) -> int:
    fegetenv(libc, environment)
    return feclearexcept(libc, _facts(libc).flags_mask)


@export("int feupdateenv(const void *environment)")
def feupdateenv(libc: Libc, environment: int) -> int:
    raised = _raised(libc)
    fesetenv(libc, environment)
    return feraiseexcept(libc, raised)
