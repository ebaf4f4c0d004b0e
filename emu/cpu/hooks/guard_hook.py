"""Stopping Unicorn before an instruction if an operand is a signalling NaN, or if an MMX register does not have
ones as its exponent, or if the upper half of a register matters, by machine code (`native/guard.c`).
"""

from __future__ import annotations

import ctypes

from emu.cpu.hooks.host_code import host_function


class GuardData(ctypes.Structure):
    """The data of these hooks: two registers, and what a NaN is in them; or the first alone."""

    _fields_ = (
        ("request", ctypes.c_void_p),  #: the address of a StopRequest: 1 in `left`: look at the operands
        ("read", ctypes.c_void_p),  #: the address of uc_reg_read
        ("registers", ctypes.c_int32 * 2),
        ("shift", ctypes.c_uint64),  #: a NaN, shifted left by this, is more than `limit`
        ("limit", ctypes.c_uint64),
        (
            "quiet",
            ctypes.c_uint64,
        ),  #: the bit that is clear in a signalling NaN; bits that are clear in the second
    )


def formatted(guard: GuardData, double: bool) -> GuardData:
    """Set what a NaN of double or single precision is."""
    guard.shift = 1 if double else 33
    guard.limit = (0x7FF0 << 48 if double else 0x7F80 << 48) << 1
    guard.quiet = 1 << (51 if double else 22)
    return guard


def guard_hook() -> int | None:
    """The address of the hook; None on unsupported hosts."""
    return host_function("guard.signalling_nan")


def exponent_hook() -> int | None:
    """The address of the hook for an exponent; None on unsupported hosts."""
    return host_function("guard.exponent")


def upper_hook() -> int | None:
    """The address of the hook for the upper half of a register; None on unsupported hosts."""
    return host_function("guard.upper")
