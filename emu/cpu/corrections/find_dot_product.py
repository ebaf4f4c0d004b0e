"""SSE4.1's dot products, dppd and dpps: products, and then sums of pairs, are rounded one by one; Unicorn adds
the products up from the first to the last.

Source: Intel SDM volume 2, DPPD, DPPS; volume 1, 4.8.3.5, table 4-7 (NaNs), 4.9.2 and 10.2.3.4 (flags, modes).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.cpu.corrections import sse
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.loongarch64 import softfloat
from emu.cpu.loongarch64.softfloat import Rounding
from emu.cpu.misrun import Guest, Outcome

_DPPD: Final = 0x41
_DENORMAL, _UNDERFLOW, _FLUSH = 2, 0x10, 0x8000
_MODES: Final = (Rounding.NEAREST_EVEN, Rounding.DOWN, Rounding.UP, Rounding.TO_ZERO)  #: by MXCSR's two bits
_FLAGS: Final[Mapping[int, int]] = {
    softfloat.INVALID: sse.INVALID,
    softfloat.OVERFLOW: 8,
    softfloat.UNDERFLOW: _UNDERFLOW,
    softfloat.INEXACT: sse.INEXACT,
}


class _Unit:
    """Arithmetic of one format by MXCSR; collects its flags."""

    def __init__(self, form: sse.Format, mxcsr: int) -> None:
        self._form, self._mxcsr, self.flags = form, mxcsr, 0
        self._exact = softfloat.SINGLE if form.bits == 32 else softfloat.DOUBLE
        self._mode = _MODES[mxcsr >> 13 & 3]

    def multiply(self, one: int, other: int) -> int:
        return self._done(one, other, product=True)

    def add(self, one: int, other: int) -> int:
        return self._done(one, other, product=False)

    def _done(self, one: int, other: int, *, product: bool) -> int:
        form = self._form
        if self._mxcsr & sse.DENORMALS_ARE_ZERO:
            one, other = form.flushed(one), form.flushed(other)
        nans = [each for each in (one, other) if form.is_nan(each)]
        if nans:
            self.flags |= 0 if all(each & form.quiet for each in nans) else sse.INVALID
            return nans[0] | form.quiet
        operate = self._exact.multiply if product else self._exact.add
        result, raised = operate(one, other, self._mode)
        if raised & softfloat.INVALID:
            self.flags |= sse.INVALID
            return form.sign | form.infinity | form.quiet
        self.flags |= sum(flag for bit, flag in _FLAGS.items() if raised & bit)
        self.flags |= 0 if one == form.flushed(one) and other == form.flushed(other) else _DENORMAL
        if self._mxcsr & _FLUSH and result != form.flushed(result):
            self.flags |= _UNDERFLOW | sse.INEXACT
            return form.flushed(result)
        return result


def execute(code: X86Code, guest: Guest) -> Outcome:
    """The product of the lanes of the immediate's upper half, in the lanes of its lower half."""
    form, chosen = sse.DOUBLE if code.opcode[2] == _DPPD else sse.SINGLE, code.immediate()
    mxcsr, count = guest.read_register("mxcsr"), 128 // form.bits
    unit = _Unit(form, mxcsr)
    pairs = zip(*(sse.lanes(code.source(guest, n, 16), form.bits, count) for n in (0, 1)), strict=True)
    terms = [unit.multiply(*pair) if chosen >> 4 + n & 1 else 0 for n, pair in enumerate(pairs)]
    while len(terms) > 1:
        terms = [unit.add(one, other) for one, other in zip(terms[::2], terms[1::2], strict=True)]
    lanes = [terms[0] if chosen >> n & 1 else 0 for n in range(count)]
    guest.write_register(code.names[0], sse.joined(lanes, form.bits, 0))
    if unit.flags & ~mxcsr:
        guest.write_register("mxcsr", mxcsr | unit.flags)
    return Outcome.DONE
