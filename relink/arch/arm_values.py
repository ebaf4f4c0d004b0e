"""Values of Arm relocations that depend on the instruction at the place: the target state of a branch, and the
replacement of TLS descriptor sequences.

ELF for the Arm Architecture, "Call and jump relocations" and "Relocations for thread-local storage".
"""

from __future__ import annotations

from functools import partial

import numpy as np

from relink.arch.arm_fields import Rewrite
from relink.arch.spec import Reloc, Sites, static
from relink.arch.special import OneSite, alone
from relink.arrays import U64, Bools

_OUT_OF_REACH = np.uint64(0x8000_0000)
_NEXT = (1 << 64) - 4  #: from the address that a branch of A32 is relative to, to the next instruction


def _instructions(sites: Sites, size: int = 4) -> U64:
    index = sites.where[:, None] + np.arange(size)
    return np.ascontiguousarray(sites.buffer[index]).view(f"<u{size}")[:, 0].astype(np.uint64)


def _undefined(sites: Sites, bias: int) -> Bools:
    """Which branches are to an undefined weak symbol: they go to the next instruction ("Call and jump
    relocations").
    """
    itself = (sites.letters["A"] + np.uint64(bias)) & np.uint64(0xFFFF_FFFF)
    undefined: Bools = (sites.letters["S"] | itself) == 0
    return undefined


def _to_thumb(sites: Sites, own: Bools) -> Bools:
    """Whether the target is Thumb code. A label that is not a function has the branch instruction's state,
    `own`.
    """
    thumb: Bools = ((sites.letters["S"] & np.uint64(1)) != 0) | (~sites.function & own)
    return thumb


def _undefined_one(site: OneSite, bias: int) -> bool:
    return site.S == 0 and site.A + bias & 0xFFFF_FFFF == 0


def _call_one(site: OneSite, value: int) -> int:
    if _undefined_one(site, 8):
        return _NEXT
    exchanges = site.instruction >> 25 == 0b1111101
    if not (site.S & 1 or (exchanges and not site.function)):
        return value
    return value | 1 if exchanges or site.instruction >> 24 == 0b11101011 else int(_OUT_OF_REACH)


def _jump_one(site: OneSite, value: int) -> int:
    return _NEXT if _undefined_one(site, 8) else value


def _thumb_call_one(site: OneSite, value: int) -> int:
    if _undefined_one(site, 4):
        return 1
    thumb = site.S & 1 or (site.instruction >> 28 & 1 and not site.function)
    return value | 1 if thumb else value + (site.P & 2)


def _thumb_jump_one(site: OneSite, value: int) -> int:
    return 1 if _undefined_one(site, 4) else value | (not site.function)


@alone(_call_one)
def call(sites: Sites, value: U64) -> U64:
    """A32's BL and BLX. A conditional BL, or a B, cannot become a BLX."""
    instruction = _instructions(sites)
    exchanges = (instruction >> np.uint64(25)) == 0b1111101
    fixed = ~exchanges & ((instruction >> np.uint64(24)) != 0b11101011)
    undefined, thumb = _undefined(sites, 8), _to_thumb(sites, exchanges)
    value = np.where(thumb & fixed, _OUT_OF_REACH, value | thumb)
    return np.where(undefined, np.uint64((1 << 64) - 4), value)


@alone(_jump_one)
def jump(sites: Sites, value: U64) -> U64:
    """A32's other branches."""
    return np.where(_undefined(sites, 8), np.uint64((1 << 64) - 4), value)


@alone(_thumb_call_one)
def thumb_call(sites: Sites, value: U64) -> U64:
    """T32's BL and BLX. BLX counts from the address of its word."""
    stays = (_instructions(sites) >> np.uint64(28) & np.uint64(1)) != 0
    undefined, thumb = _undefined(sites, 4), _to_thumb(sites, stays)
    value = np.where(thumb, value | np.uint64(1), value + (sites.letters["P"] & np.uint64(2)))
    return np.where(undefined, np.uint64(1), value)


@alone(_thumb_jump_one)
def thumb_jump(sites: Sites, value: U64) -> U64:
    """T32's 32-bit branches that stay in Thumb state."""
    return np.where(_undefined(sites, 4), np.uint64(1), value | ~sites.function)


def short_jump(sites: Sites, value: U64) -> U64:
    """T32's 16-bit branches."""
    return value | ~sites.function


def no_interworking(sites: Sites, value: U64) -> U64:
    """The address of a function without its Thumb bit."""
    return value - (sites.letters["S"] & sites.function)


def known(word: Rewrite, sites: Sites, value: U64) -> U64:
    return word.knows(_instructions(sites, word.size)).astype(np.uint64)


# TLS descriptors: the literal is replaced by the offset from the thread pointer, and the sequence by MOV and NOP
# instructions that leave this offset in r0, as the descriptor's function would.
_A32_NOP, _T16_NOP, _T16_NOPS = 0xE1A0_0000, 0x46C0, 0x46C0_46C0
_ANY = 0
A32_TLS_CALL = Rewrite(
    4,
    (
        (0xFF00_0000, 0xEB00_0000, _ANY, _A32_NOP),  # bl
        (0xFE00_0000, 0xFA00_0000, _ANY, _A32_NOP),  # blx
    ),
)
T32_TLS_CALL = Rewrite(4, ((0xC000_F800, 0xC000_F000, _ANY, _T16_NOPS),))
A32_TLS_SEQUENCE = Rewrite(
    4,
    (
        (0xFFFF_0FF0, 0xE08F_0000, 0xFFFF, _A32_NOP),  # add rx, pc, ry: mov rx, ry
        (0xFFF0_0FFF, 0xE590_0004, _ANY, _A32_NOP),  # ldr rx, [ry, #4]
        (0xFFFF_FFF0, 0xE12F_FF30, _ANY, _A32_NOP),  # blx rx
    ),
)
T16_TLS_SEQUENCE = Rewrite(
    2,
    (
        (0xFF78, 0x4478, _ANY, _T16_NOP),  # add rx, pc
        (0xFFC0, 0x6840, _ANY, _T16_NOP),  # ldr rx, [ry, #4]
        (0xFF87, 0x4780, _ANY, _T16_NOP),  # blx rx
    ),
)
T32_TLS_SEQUENCE = Rewrite(4, ((0x0FFF_FFF0, 0x0004_F8D0, _ANY, _T16_NOPS),))  # ldr.w rx, [ry, #4]


def descriptor(name: str, word: Rewrite) -> Reloc:
    return static(name, "S + T", word, special=partial(known, word))
