"""The registers and the stack contents with which a guest function starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emu.calls.assign import Piece
from emu.calls.buffers import STACK_LIMIT, Buffers
from emu.calls.places import InRegister, OnStack
from emu.isa.convention import CallingConvention


class Entry(NamedTuple):
    """Everything to set before the guest function runs: write `stack` at `sp` (if any), then the registers."""

    names: tuple[str, ...]  #: of registers, including sp and the link register; the same object for each call
    values: list[int]
    stack: bytes  #: contents at `sp` and above: return address, stacked arguments, buffers; often empty
    sp: int
    buffers: Buffers | None
    result_at: int = 0  #: guest address of a result in memory


def registers_of(
    rules: CallingConvention,
    arguments: Sequence[str],
    fixed: Sequence[tuple[str, int]] = (),
    pointer: str | None = None,
) -> tuple[str, ...]:
    """The names of an Entry's registers, in the order of its values."""
    others = (*(name for name, _ in fixed), pointer, "sp", rules.link_register)
    return (*arguments, *(name for name in others if name is not None))


class FrameLayout:
    """Makes the Entry of a call from the patterns of its arguments, by the places of one plan.

    `pointer` is the place of the address for a result in memory, which has `result_size` bytes.
    """

    def __init__(
        self,
        rules: CallingConvention,
        registers: Sequence[InRegister],
        stacked: Sequence[OnStack],
        fixed: tuple[tuple[str, int], ...],
        *,
        stack_size: int,
        stack_alignment: int,
        pointer: Piece | None,
        result_size: int,
        result_alignment: int,
    ) -> None:
        self._registers = tuple(registers)
        self._stacked = tuple(
            (each.argument, each.shift, (1 << 8 * each.size) - 1, 8 * each.start) for each in stacked
        )
        self._fixed = fixed
        self._links = rules.link_register is not None
        self._pushed = rules.word_size if rules.link_register is None else 0  #: bytes of the return address
        self._stack_size, self._stack_mask = stack_size, -stack_alignment
        self._pointer, self._result_size = pointer, result_size
        self._pointer_register = None if pointer is None else pointer.register
        self._result_mask = -max(result_alignment, 16)
        self._names = registers_of(rules, [each.register for each in registers], fixed, self._pointer_register)
        #: Whether the result's memory has to be reserved by a call's Buffers.
        self.large_result = pointer is not None and result_size > STACK_LIMIT

    def entry(self, patterns: Sequence[int], sp: int, return_to: int, buffers: Buffers | None) -> Entry:
        """The entry of a call below `sp` that returns to `return_to`."""
        values: list[int] = []
        for argument, _, shift, mask, fill in self._registers:
            bits = patterns[argument] >> shift & mask
            if fill:
                bits |= fill if fill > 0 else bits & -fill and _UPPER
            values.append(bits)
        for _, value in self._fixed:
            values.append(value)
        top, result_at = sp if buffers is None else buffers.bottom, 0
        if self._pointer is not None:
            if buffers is None:
                result_at = top = top - self._result_size & self._result_mask
            else:
                result_at = buffers.reserve(self._result_size, -self._result_mask)
                top = buffers.bottom
            if self._pointer_register is not None:
                values.append(result_at)
        arguments = top - self._stack_size & self._stack_mask
        pushed = self._pushed
        bottom = arguments - pushed
        values.append(bottom)
        if self._links:
            values.append(return_to)
        size = pushed + self._stack_size
        lent = buffers.blocks if buffers is not None else ()
        if not (size or lent):
            return Entry(self._names, values, b"", bottom, buffers, result_at)
        content = return_to if pushed else 0
        if self._pointer is not None and self._pointer_register is None:
            content |= result_at << 8 * pushed
        for argument, shift, mask, at in self._stacked:
            content |= (patterns[argument] >> shift & mask) << at
        image = content.to_bytes(size, "little")
        if lent:
            whole = bytearray(sp - bottom)
            whole[:size] = image
            for address, data in lent:
                whole[address - bottom : address - bottom + len(data)] = data
            image = bytes(whole)
        return Entry(self._names, values, image, bottom, buffers, result_at)


_UPPER = 0xFFFF_FFFF_0000_0000  #: the upper half of a register
