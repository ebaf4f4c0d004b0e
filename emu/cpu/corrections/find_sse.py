"""SSE and MMX instructions that Unicorn executes wrongly, by opcode, and their replacements (`sse`).

- Approximate reciprocals, rounding without the inexact flag, minimum and maximum of denormals taken as zero,
  cvtpi2ps and cvtpi2pd of memory: computed.
- MMX instructions of SSSE3, and emms, leave TOP and the tags of x87 as they are: set before.
- Prefixes that make movhlps, movlhps, movnti, rcpps and rsqrtps invalid are ignored: refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from emu.cpu.corrections import sse
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.misrun import Guest, Misrun, Outcome

_TOP: Final = 7 << 11  #: the number of the stack's top in x87's status word
_SUPPRESSED: Final = 8  #: the bit of an immediate that suppresses the inexact flag
_BY_MXCSR: Final = 4  #: the bit that takes the rounding mode from MXCSR


def _form(code: X86Code) -> sse.Format:
    return sse.DOUBLE if code.mandatory in (0x66, 0xF2) else sse.SINGLE


def _count(code: X86Code) -> int:
    """Lanes, of arithmetic."""
    return 1 if code.mandatory in (0xF2, 0xF3) else 128 // _form(code).bits


def _raise(guest: Guest, flags: int) -> None:
    mxcsr = guest.read_register("mxcsr")
    if flags & ~mxcsr:
        guest.write_register("mxcsr", mxcsr | flags)


def _put(code: X86Code, guest: Guest, results: list[int], bits: int) -> None:
    """Write the lowest lanes of the destination."""
    name = code.names[0]
    guest.write_register(name, sse.joined(results, bits, guest.read_register(name)))


def _approximate(code: X86Code, guest: Guest) -> Outcome:
    """rcpps, rcpss, rsqrtps, rsqrtss."""
    function = sse.reciprocal if code.opcode[1] == 0x53 else sse.reciprocal_root
    source = code.source(guest, 1, 4 * _count(code))
    results = [function(lane) for lane in sse.lanes(source, 32, _count(code))]
    _put(code, guest, results, 32)
    return Outcome.DONE


def _round(code: X86Code, guest: Guest) -> Outcome:
    """roundps, roundpd, roundss, roundsd that suppress the inexact flag."""
    mxcsr = guest.read_register("mxcsr")
    if mxcsr & sse.INEXACT:
        return Outcome.UNWATCHED
    form = sse.DOUBLE if code.opcode[2] & 1 else sse.SINGLE
    count = 1 if code.opcode[2] & 2 else 128 // form.bits
    mode = mxcsr >> 13 & 3 if code.immediate() & _BY_MXCSR else code.immediate() & 3
    source = code.source(guest, 1, form.bits // 8 * count)
    pairs = [sse.rounded(form, lane, mode, mxcsr) for lane in sse.lanes(source, form.bits, count)]
    _put(code, guest, [result for result, _ in pairs], form.bits)
    _raise(guest, max(flags for _, flags in pairs))
    return Outcome.DONE


def _extreme(code: X86Code, guest: Guest) -> Outcome:
    """minps, maxps and their like, computed only of denormals."""
    if not guest.read_register("mxcsr") & sse.DENORMALS_ARE_ZERO:
        return Outcome.PREPARED
    form, count = _form(code), _count(code)
    first = list(sse.lanes(code.source(guest, 0, 16), form.bits, count))
    second = list(sse.lanes(code.source(guest, 1, form.bits // 8 * count), form.bits, count))
    if all(lane == form.flushed(lane) for lane in first + second):
        return Outcome.PREPARED
    pairs = [
        sse.extreme(form, one, other, maximum=code.opcode[1] == 0x5F)
        for one, other in zip(first, second, strict=True)
    ]
    _put(code, guest, [result for result, _ in pairs], form.bits)
    _raise(guest, max(flags for _, flags in pairs))
    return Outcome.DONE


def _from_integers(code: X86Code, guest: Guest) -> Outcome:
    """cvtpi2ps, cvtpi2pd of memory."""
    source = code.source(guest, 1, 8)
    values = [(lane ^ 1 << 31) - (1 << 31) for lane in sse.lanes(source, 32, 2)]
    if code.mandatory == 0x66:
        results, bits, flags = [sse.DOUBLE.pattern(float(value)) for value in values], 64, 0
    else:
        mode = guest.read_register("mxcsr") >> 13 & 3
        pairs = [sse.single_of(value, mode) for value in values]
        results, bits, flags = [result for result, _ in pairs], 32, max(flags for _, flags in pairs)
    _put(code, guest, results, bits)
    _raise(guest, flags)
    return Outcome.DONE


def _enter_mmx(guest: Guest) -> Outcome:
    """MMX instructions set TOP to 0 and mark all registers as valid."""
    status = guest.read_register("fpsw")
    if status & _TOP:
        guest.write_register("fpsw", status & ~_TOP)
    if guest.read_register("fptag"):
        guest.write_register("fptag", 0)
    return Outcome.PREPARED


def _leave_mmx(guest: Guest) -> Outcome:
    """emms sets TOP to 0 too."""
    status = guest.read_register("fpsw")
    if status & _TOP:
        guest.write_register("fpsw", status & ~_TOP)
    return Outcome.PREPARED


#: Opcodes of MMX in SSSE3's maps.
_SSSE3_MMX: Final = frozenset({*range(0x0C), 0x1C, 0x1D, 0x1E})
_COMPUTED: Final[Mapping[int, Callable[[X86Code, Guest], Outcome]]] = {
    0x52: _approximate,
    0x53: _approximate,
    0x5D: _extreme,
    0x5F: _extreme,
}


def _invalid(code: X86Code) -> bool:
    in_memory = code.opcode[2] < 0xC0
    if code.opcode[1] in (0x52, 0x53):
        return code.mandatory in (0x66, 0xF2)
    if code.opcode[1] in (0x12, 0x16):
        return code.mandatory == 0x66 and not in_memory
    return code.opcode[1] == 0xC3 and code.mandatory != 0 and in_memory


def judge(code: X86Code, *, denormals: bool) -> Misrun | None:
    """The replacement of an instruction, if it needs one; `denormals`: they may be zero."""
    first, second, third, fourth = code.opcode[:4]
    if first != 0x0F or not code.size:
        return None
    if not code.mandatory and ((second == 0x38 and third in _SSSE3_MMX) or (second == 0x3A and third == 0x0F)):
        # With REX.R or REX.B Unicorn uses MMX registers that do not exist.
        return code.refused() if code.rex & (5 if fourth >= 0xC0 else 4) else code.replaced(_enter_mmx)
    if second == 0x3A:
        if 0x08 <= third <= 0x0B and code.mandatory and code.immediate() & _SUPPRESSED:
            return code.replaced(partial(_round, code), inexact=True)
        return None
    if _invalid(code):
        return code.refused()
    if second == 0x77:
        return code.replaced(_leave_mmx)
    if second == 0x2A and third < 0xC0 and code.mandatory in (0, 0x66):
        return code.replaced(partial(_from_integers, code))
    if second in (0x52, 0x53) or (denormals and second in (0x5D, 0x5F)):
        return code.replaced(partial(_COMPUTED[second], code))
    return None


def pattern(*, denormals: bool) -> str:
    """A regular expression for bytes of such instructions."""
    computed = r"\x0f[\x52\x53\x77]|\x0f\x3a[\x08-\x0b\x0f]|\x0f\x38[\x00-\x0b\x1c-\x1e]"
    integers = r"(?<![\xf2\xf3])(?<![\xf2\xf3][\x40-\x4f])\x0f\x2a[\x00-\xbf]"
    invalid = r"[\x66\xf2\xf3][\x40-\x4f]?\x0f(?:[\x12\x16][\xc0-\xff]|\xc3[\x00-\xbf])"
    return "|".join((computed, integers, invalid, *([r"\x0f[\x5d\x5f]"] if denormals else [])))
