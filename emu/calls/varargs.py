"""Reading variadic arguments: `...` of a host function, and the guest's `va_list`s."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from emu.calls.assign import Assigner, Location, Reference, promoted
from emu.calls.classify import Shape, classify
from emu.calls.marshal import decoder
from emu.calls.passing import is_aggregate
from emu.calls.prototypes import parse_type
from emu.calls.records import unpacker
from emu.calls.scalars import Bank, Part
from emu.calls.store import Store, View
from emu.calls.types import CType, Floating, sized
from emu.isa.convention import CallingConvention, PairAlignment, SaveArea, VariadicRule

if TYPE_CHECKING:
    from emu.ports import Guest


def gather(location: Location, registers: Mapping[str, int], stacked: Callable[[int, int], int]) -> int:
    """The pattern at a location, from register values and `stacked(offset, size)`, which reads an int from the
    stack.
    """
    pattern = 0
    for piece in location:
        if piece.register is None:
            bits = stacked(piece.offset, piece.size)
        else:
            bits = registers[piece.register] & (1 << 8 * piece.size) - 1
        # Where pieces overlap (a bit-field whose type extends into the float after it), the last one is used.
        shift = 8 * piece.start
        pattern = pattern & ~((1 << 8 * piece.size) - 1 << shift) | bits << shift
    return pattern


class VarArgs(ABC):
    """Arguments read one by one with the expected type, as by C's `va_arg`."""

    _rules: CallingConvention
    _guest: Guest

    def take(self, ctype: str | CType | type[View]) -> Any:
        """The next argument, read as `ctype`: text such as "unsigned long", "double", "char *", or a record's
        class.

        Types that the default argument promotions change (char, short, float) are read as the promoted type.
        Integers are signed by their type, pointers unsigned. Raises CallError for a type that cannot be passed,
        AddressSpaceError if the list runs off the stack.
        """
        kind: CType = parse_type(ctype, self._rules.arch) if isinstance(ctype, str) else _type_of(ctype)
        passed = promoted(kind)
        pattern = self._fetch(passed)
        if is_aggregate(kind):
            size = sized(kind).size
            data = (pattern & (1 << 8 * size) - 1).to_bytes(size, "little")
            return unpacker(self._rules, kind)(Store(bytearray(data), self._guest.memory), 0)
        return decoder(passed if isinstance(passed, Floating) else kind)(pattern)

    @abstractmethod
    def _fetch(self, ctype: CType) -> int:
        """The next argument's pattern."""

    def _read(self, address: int, size: int) -> int:
        return int.from_bytes(self._guest.memory.read(address, size), "little")


def _type_of(ctype: CType | type[View]) -> CType:
    return ctype._ctype_ if isinstance(ctype, type) else ctype


class RegisterArguments(VarArgs):
    """`...` of the function just entered: from registers, then the stack."""

    def __init__(self, guest: Guest, assigner: Assigner, registers: Mapping[str, int], stack: int) -> None:
        self._guest = guest
        self._rules = assigner.convention
        self._assigner = assigner
        self._registers = registers
        self._stack = stack

    def _fetch(self, ctype: CType) -> int:
        location = self._assigner.assign(ctype, extra=True)
        pattern = gather(location, self._registers, self._stacked)
        return self._read(pattern, sized(ctype).size) if isinstance(location, Reference) else pattern

    def _stacked(self, offset: int, size: int) -> int:
        return self._read(self._stack + offset, size)


class VaList(VarArgs):
    """A `va_list` of the guest, from the word that is passed for it.

    Guest memory is only read: the guest's copy does not advance, as C leaves it indeterminate after use by the
    callee.
    """

    def __init__(self, guest: Guest, rules: CallingConvention, pointer: int) -> None:
        self._guest = guest
        self._rules = rules
        self.pointer = pointer  #: the word: the address of the list (on some ABIs, of its next argument)
        layout = rules.va_list
        self._next = pointer if layout is None else self._word(pointer + layout.overflow_at)
        self._offsets: dict[SaveArea, int] = {}

    def _fetch(self, ctype: CType) -> int:
        rules = self._rules
        shape = classify(rules, ctype, rules.variadic is VariadicRule.SAME)
        own = bool(shape.parts) and not rules.floats_spill_to_integers
        if rules.passes_by_reference(shape.size) and not own:
            word = rules.word_size
            address = self._fetch_shape(Shape((), True, word, word))
            return self._read(address, shape.size)
        return self._fetch_shape(shape)

    def _fetch_shape(self, shape: Shape) -> int:
        if not shape.size:
            return 0
        if self._rules.va_list is not None and (saved := self._saved(shape)) is not None:
            return sum(self._read(address, part.size) << 8 * part.start for part, address in saved)
        return self._read(self._stacked(shape), shape.size)

    def _saved(self, shape: Shape) -> list[tuple[Part, int]] | None:
        """The parts of the next argument with their addresses in the register save areas; None when too few
        registers are left."""
        layout, rules = self._rules.va_list, self._rules
        assert layout is not None
        parts = shape.parts
        if not parts and shape.words:
            word = rules.word_size
            parts = tuple(Part(Bank.INTEGER, at, min(word, shape.size - at)) for at in range(0, shape.size, word))
        if not parts or any(part.bank is Bank.X87 for part in parts):
            return None
        ends: dict[SaveArea, int] = {}
        found = []
        for part in parts:
            area = layout.integers if part.bank is Bank.INTEGER else layout.floats
            offset = ends[area] if area in ends else self._offset(area)
            pairs = rules.pair_alignment is PairAlignment.ALWAYS and shape.alignment > rules.word_size
            if area not in ends and pairs and part.bank is Bank.INTEGER:
                offset += offset & area.step  # the count ends at a multiple of two, so it gives the parity
            ends[area] = offset + area.step
            found.append((part, offset))
        if any(end > area.limit for area, end in ends.items()):
            if not rules.registers_reopen:
                self._offsets |= {area: area.limit for area in ends}
            return None
        self._offsets |= ends
        return [
            (part, self._word(self.pointer + area.base_at) + offset)
            for part, offset in found
            for area in (layout.integers if part.bank is Bank.INTEGER else layout.floats,)
        ]

    def _offset(self, area: SaveArea) -> int:
        """The offset of the next saved register from the area's base."""
        if area not in self._offsets:
            raw = self._guest.memory.read(self.pointer + area.offset_at, 4)
            self._offsets[area] = int.from_bytes(raw, "little", signed=True)
        return self._offsets[area]

    def _stacked(self, shape: Shape) -> int:
        """The address of the next argument on the stack; advances past it."""
        word = self._rules.word_size
        alignment = max(shape.alignment, word)
        address = -(-self._next // alignment) * alignment
        self._next = address + -(-shape.size // word) * word
        return address

    def _word(self, address: int) -> int:
        return self._read(address, self._rules.word_size)
