"""Reading arguments that no prototype names: `...` of a host function, and the guest's `va_list`s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.calls.assign import Assigner, Location, passed_size, promoted
from emu.calls.marshal import decoder
from emu.calls.prototypes import CType, Floating, parse_type
from emu.isa.convention import CallingConvention, PairAlignment, SaveArea

if TYPE_CHECKING:
    from emu.ports import Guest


def gather(location: Location, registers: Mapping[str, int], stacked: Callable[[int, int], int]) -> int:
    """The pattern at a location, from register values and `stacked(offset, size)`, an int off the stack."""
    pattern = 0
    for piece in location:
        if piece.register is None:
            bits = stacked(piece.offset, piece.size)
        else:
            bits = registers[piece.register] & (1 << 8 * piece.size) - 1
        pattern |= bits << 8 * piece.start
    return pattern


class VarArgs(ABC):
    """Arguments taken one by one, each with the type the callee expects, as C's `va_arg` does."""

    _rules: CallingConvention

    def take(self, ctype: str | CType) -> int | float:
        """The next argument, read as `ctype` (text such as "unsigned long", "double", "char *").

        Types that the default argument promotions change (char, short, float) are read as what they become.
        Integers are signed as the type is, pointers unsigned. Raises CallError for a type that cannot be
        passed, AddressSpaceError if the list runs off the stack.
        """
        if isinstance(ctype, str):
            ctype = parse_type(ctype, self._rules.arch)
        passed = promoted(ctype)
        pattern = self._fetch(passed)
        return decoder(passed if isinstance(passed, Floating) else ctype)(pattern)

    @abstractmethod
    def _fetch(self, ctype: CType) -> int:
        """The next argument's pattern."""


class RegisterArguments(VarArgs):
    """`...` of the function the guest has just entered: what registers hold, then the stack."""

    def __init__(self, guest: Guest, assigner: Assigner, registers: Mapping[str, int], stack: int) -> None:
        self._guest = guest
        self._rules = assigner.convention
        self._assigner = assigner
        self._registers = registers
        self._stack = stack

    def _fetch(self, ctype: CType) -> int:
        location = self._assigner.assign(ctype, extra=True)
        return gather(location, self._registers, self._stacked)

    def _stacked(self, offset: int, size: int) -> int:
        return int.from_bytes(self._guest.memory.read(self._stack + offset, size), "little")


class VaList(VarArgs):
    """A `va_list` of the guest, from the word it is passed as. Guest memory is only read.

    The guest's own copy does not move: C leaves it indeterminate after the callee has used it.
    """

    def __init__(self, guest: Guest, rules: CallingConvention, pointer: int) -> None:
        self._guest = guest
        self._rules = rules
        self.pointer = pointer  #: the word: where the list (or, on some ABIs, its next argument) is
        layout = rules.va_list
        self._next = pointer if layout is None else self._word(pointer + layout.overflow_at)
        self._offsets: dict[SaveArea, int] = {}

    def _fetch(self, ctype: CType) -> int:
        rules = self._rules
        size = passed_size(ctype, rules.word_size)
        if rules.va_list is not None:
            floating = isinstance(ctype, Floating)
            area = rules.va_list.floats if floating else rules.va_list.integers
            if (saved := self._saved(area, size, floating=floating)) is not None:
                return self._read(saved, size)
        return self._read(self._stacked(size), size)

    def _saved(self, area: SaveArea, size: int, *, floating: bool) -> int | None:
        """Address of the next argument in a register save area, or None when no register is left."""
        rules = self._rules
        if floating and size not in rules.float_arguments:
            return None
        offset = self._offsets.get(area)
        if offset is None:
            raw = self._guest.memory.read(self.pointer + area.offset_at, 4)
            offset = int.from_bytes(raw, "little", signed=True)
        registers = 1 if floating else -(-size // area.step)
        if registers == 2 and rules.pair_alignment is PairAlignment.ALWAYS:
            offset += offset & area.step  # the count ends at a multiple of two, so parity can be computed from it
        end = offset + registers * area.step
        if end > area.limit:
            if not rules.registers_reopen:
                self._offsets[area] = area.limit
            return None
        self._offsets[area] = end
        return self._word(self.pointer + area.base_at) + offset

    def _stacked(self, size: int) -> int:
        """Address of the next argument on the stack, and step over it."""
        word = self._rules.word_size
        alignment = max(min(size, self._rules.data.maximum_alignment), word)
        address = -(-self._next // alignment) * alignment
        self._next = address + -(-size // word) * word
        return address

    def _read(self, address: int, size: int) -> int:
        return int.from_bytes(self._guest.memory.read(address, size), "little")

    def _word(self, address: int) -> int:
        return self._read(address, self._rules.word_size)
