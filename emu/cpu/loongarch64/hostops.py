"""The instructions that the SLEIGH specification leaves to the host.

The engine stops at such an instruction; `HostOperations.execute` executes it on the engine's registers. There are
three kinds:

- instructions that p-code cannot express (exponents, timers, cpucfg, break);
- floating-point instructions outside the specification's fast common case; see float.sinc, which also explains the
  postponed Cause that `settle_cause` computes;
- vector instructions, which `lsx` computes.

Source: LoongArch Reference Manual volume 1, chapters 2.2.8 and 3.2, table 3 (CPUCFG).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

from emu.cpu.loongarch64 import lsx
from emu.cpu.loongarch64.registers import FLOAT_REGISTERS, INTEGER_REGISTERS
from emu.cpu.loongarch64.softfloat import DOUBLE, INEXACT, SINGLE, Format, Result, Rounding
from emu.cpu.protocol import StopReason
from relink.records import dataclass

_WORD = (1 << 64) - 1
_ROUNDINGS = tuple(Rounding)


class Engine(Protocol):
    """The part of the engine that host operations use: registers by name, and memory."""

    def reg_read(self, name: str) -> int: ...
    def reg_write(self, name: str, value: int) -> None: ...
    def mem_read(self, address: int, size: int) -> bytes: ...


# ---------------------------------------------------------------- floating point: opcode -> operation


@dataclass(frozen=True, slots=True)
class Operation:
    """A floating-point instruction: `compute` maps operands (j, k, a) and a rounding mode to a result.

    `source` and `result` are widths in bits, of the operands (32: the low word of the register) and of the
    result. A result of width 1 goes to a condition flag.
    """

    compute: Callable[[int, int, int, Rounding], Result]
    source: int
    result: int
    #: Exceptions that the instruction does not report.
    masked: int = 0


def _three_registers(form: Format, opcode: int) -> dict[int, Operation]:
    """fadd … fscaleb of one format, keyed by bits 31..15; `opcode` is fadd's."""

    def choice(*, greatest: bool, by_magnitude: bool) -> Callable[[int, int, int, Rounding], Result]:
        return lambda j, k, a, mode: form.choose(j, k, greatest=greatest, by_magnitude=by_magnitude)

    def scaled(j: int, k: int, a: int, mode: Rounding) -> Result:
        power = k - (k >> form.width - 1 << form.width)
        # Beyond the largest exponent the result is the same; the bound keeps the mantissa's shift small.
        return form.scale(j, max(-0x1000, min(power, 0x1000)), mode)

    computations: tuple[Callable[[int, int, int, Rounding], Result], ...] = (
        lambda j, k, a, mode: form.add(j, k, mode),
        lambda j, k, a, mode: form.subtract(j, k, mode),
        lambda j, k, a, mode: form.multiply(j, k, mode),
        lambda j, k, a, mode: form.divide(j, k, mode),
        choice(greatest=True, by_magnitude=False),
        choice(greatest=False, by_magnitude=False),
        choice(greatest=True, by_magnitude=True),
        choice(greatest=False, by_magnitude=True),
        scaled,
    )
    return {
        opcode + 4 * number: Operation(compute, form.width, form.width)
        for number, compute in enumerate(computations)
    }


def _two_registers(form: Format, suffix: int) -> dict[int, Operation]:
    """The one-operand instructions of one format (`suffix`: 1 single, 2 double), keyed by bits 31..10."""

    def inverse_root(j: int, k: int, a: int, mode: Rounding) -> Result:
        # Two roundings, as QEMU has it; the manual asks for the precision of one.
        root, first = form.square_root(j, mode)
        bits, second = form.divide(form.one, root, mode)
        return bits, first | second

    def to_integer(width: int, fixed: Rounding | None) -> Callable[[int, int, int, Rounding], Result]:
        return lambda j, k, a, mode: form.to_integer(j, width, mode if fixed is None else fixed)

    width = form.width
    operations = {
        0x4508 + suffix: Operation(lambda j, k, a, mode: form.log_b(j), width, width, INEXACT),
        0x4510 + suffix: Operation(lambda j, k, a, mode: form.square_root(j, mode), width, width),
        0x4514 + suffix: Operation(lambda j, k, a, mode: form.divide(form.one, j, mode), width, width),
        0x4518 + suffix: Operation(inverse_root, width, width),
        0x4790 + suffix: Operation(lambda j, k, a, mode: form.to_integral(j, mode), width, width),
    }
    modes = (Rounding.DOWN, Rounding.UP, Rounding.TO_ZERO, Rounding.NEAREST_EVEN, None)
    for number, fixed in enumerate(modes):
        for bits, opcode in ((32, 0x4680), (64, 0x4688)):
            key = opcode + 0x10 * number + suffix
            operations[key] = Operation(to_integer(bits, fixed), width, bits)
    return operations


def _conversions() -> dict[int, Operation]:
    """fcvt and ffint, keyed by bits 31..10."""

    def from_integer(form: Format, width: int) -> Callable[[int, int, int, Rounding], Result]:
        return lambda j, k, a, mode: form.from_integer(j - (j >> width - 1 << width), mode)

    return {
        0x4646: Operation(lambda j, k, a, mode: SINGLE.convert(j, DOUBLE, mode), 64, 32),
        0x4649: Operation(lambda j, k, a, mode: DOUBLE.convert(j, SINGLE, mode), 32, 64),
        0x4744: Operation(from_integer(SINGLE, 32), 32, 32),
        0x4746: Operation(from_integer(SINGLE, 64), 64, 32),
        0x4748: Operation(from_integer(DOUBLE, 32), 32, 64),
        0x474A: Operation(from_integer(DOUBLE, 64), 64, 64),
    }


def _fused(form: Format, opcode: int) -> dict[int, Operation]:
    """fmadd, fmsub, fnmadd, fnmsub of one format, keyed by bits 31..20; `opcode` is fmadd's."""

    def fused(*, negate_z: bool, negate: bool) -> Callable[[int, int, int, Rounding], Result]:
        return lambda j, k, a, mode: form.multiply_add(j, k, a, mode, negate_z=negate_z, negate=negate)

    return {
        opcode + 4 * number: Operation(
            fused(negate_z=bool(number & 1), negate=bool(number & 2)), form.width, form.width
        )
        for number in range(4)
    }


def _comparisons(form: Format, opcode: int) -> dict[int, Operation]:
    """fcmp, keyed by bits 31..15: the condition is bits 19..16, "signaling" bit 15."""

    def comparison(code: int) -> Callable[[int, int, int, Rounding], Result]:
        return lambda j, k, a, mode: form.compare(j, k, code >> 1, signaling=bool(code & 1))

    return {
        (opcode << 5) + code: Operation(comparison(code), form.width, 1)
        for code in range(32)
        if code >> 1 in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)
    }


_BY_SHIFT: tuple[tuple[int, dict[int, Operation]], ...] = (
    (20, _fused(SINGLE, 0x81) | _fused(DOUBLE, 0x82)),
    (
        15,
        _three_registers(SINGLE, 0x201)
        | _three_registers(DOUBLE, 0x202)
        | _comparisons(SINGLE, 0xC1)
        | _comparisons(DOUBLE, 0xC2),
    ),
    (10, _two_registers(SINGLE, 1) | _two_registers(DOUBLE, 2) | _conversions()),
)


@lru_cache(maxsize=4096)
def _operation(word: int) -> Operation | None:
    """The floating-point operation of an instruction word; None for everything else."""
    for shift, table in _BY_SHIFT:
        found = table.get(word >> shift)
        if found is not None:
            return found
    return None


# ---------------------------------------------------------------- everything else

_BREAK = 0x54
_IBAR = 0x70E5
_MOVFCSR2GR = 0x4532
_FCSR_WINDOWS = (0x1F1F031F, 0x1F, 0x1F1F0000, 0x300)
#: asrtle.d, asrtgt.d, and the ranges of the bound-checked loads and stores; all keyed by bits 31..15.
_BOUND_CHECKS = frozenset({2, 3, *range(0x70E8, 0x7100)})

_RDTIMEL_W, _RDTIMEH_W, _RDTIME_D, _CPUCFG = 0x18, 0x19, 0x1A, 0x1B
#: The stable counter runs at this frequency (Hz).
COUNTER_FREQUENCY = 100_000_000

#: The words of cpucfg. Word 0: no vendor. 1: LA64, 48-bit addresses, unaligned access, CRC. 2: FP 1.0 single and
#: double, LSX, LL/SC and AM with bytes, halves and compare-and-swap; no LASX. 4, 5: the counter's base frequency,
#: multiplier 1, divisor 1.
CPUCFG_WORDS: dict[int, int] = {
    1: 2 | 1 << 2 | 47 << 4 | 47 << 12 | 1 << 20 | 1 << 25,
    2: 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 14 | 1 << 15 | 1 << 22 | 1 << 27 | 1 << 28 | 1 << 29,
    4: COUNTER_FREQUENCY,
    5: 1 | 1 << 16,
}


def _signed_word(value: int) -> int:
    """The low 32 bits sign-extended to a 64-bit pattern."""
    value &= 0xFFFFFFFF
    return (value ^ 1 << 31) - (1 << 31) & _WORD


class HostOperations:
    """Executes the instructions at which the engine stopped."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.fetches_anew = False  #: whether there was an `ibar`: set here, cleared by the CPU

    def settle_cause(self) -> None:
        """Compute the Cause field of fcsr, if it was postponed."""
        engine = self._engine
        word = engine.reg_read("cause_word")
        if not word:
            return
        operation = _operation(word)
        if operation is None:
            raised = lsx.postponed_exceptions(engine, word)
        else:
            keep = (1 << operation.source) - 1
            # It is only postponed under rounding to nearest, so this mode is used even if the mode has changed.
            j, k, a = (engine.reg_read(name) & keep for name in ("cause_j", "cause_k", "cause_a"))
            _, raised = operation.compute(j, k, a, _ROUNDINGS[0])
        fcsr = engine.reg_read("fcsr") & ~(0x1F << 24)
        engine.reg_write("fcsr", fcsr | raised << 24)
        engine.reg_write("cause_word", 0)

    def execute(self, pc: int) -> StopReason | None:
        """Execute the instruction at `pc`; return None, or the reason for which it stops the guest."""
        word = int.from_bytes(self._engine.mem_read(pc, 4), "little")
        operation = _operation(word)
        if operation is not None:
            return self._float(operation, word)
        if (vector := lsx.action(word)) is not None:
            return vector(self._engine)
        if word >> 10 == _MOVFCSR2GR:
            self.settle_cause()
            self._set(word & 31, _signed_word(self._engine.reg_read("fcsr") & _FCSR_WINDOWS[word >> 5 & 31]))
            return None
        if word >> 15 == _IBAR:
            self.fetches_anew = True
            return None
        if word >> 15 == _BREAK:
            return StopReason.BREAKPOINT
        if word >> 15 in _BOUND_CHECKS:
            return StopReason.EXCEPTION
        return self._identify(word)

    def _set(self, number: int, value: int) -> None:
        if number:
            self._engine.reg_write(INTEGER_REGISTERS[number], value)

    def _float(self, operation: Operation, word: int) -> StopReason | None:
        engine = self._engine
        keep = (1 << operation.source) - 1
        j, k, a = (engine.reg_read(FLOAT_REGISTERS[word >> shift & 31]) & keep for shift in (5, 10, 15))
        bits, raised = operation.compute(j, k, a, _ROUNDINGS[engine.reg_read("fcsr") >> 8 & 3])
        if lsx.report(engine, raised & ~operation.masked):
            return StopReason.ARITHMETIC
        if operation.result == 1:
            engine.reg_write(f"fcc{word & 7}", bits)
        else:
            engine.reg_write(FLOAT_REGISTERS[word & 31] + ("_s" if operation.result == 32 else ""), bits)
        return None

    def _identify(self, word: int) -> StopReason | None:
        """The timers and cpucfg. The counter's number, the second result of a timer, is 0."""
        opcode, source = word >> 10, word >> 5 & 31
        if opcode == _CPUCFG:
            index = self._engine.reg_read(INTEGER_REGISTERS[source]) & 0xFFFFFFFF if source else 0
            self._set(word & 31, _signed_word(CPUCFG_WORDS.get(index, 0)))
            return None
        if opcode not in (_RDTIMEL_W, _RDTIMEH_W, _RDTIME_D):
            return StopReason.INVALID_INSTRUCTION
        counter = time.monotonic_ns() * COUNTER_FREQUENCY // 1_000_000_000 & _WORD
        self._set(source, 0)
        if opcode == _RDTIME_D:
            self._set(word & 31, counter)
        else:
            self._set(word & 31, _signed_word(counter if opcode == _RDTIMEL_W else counter >> 32))
        return None
