"""State that goes over from a library to the version that takes its place.

A variable goes over by its name. Values that the guest has not changed since the load keep the new version's
initial value: this is told for each number, pointer and member. With debug information in both versions, values go
over by their C type: members by their names, elements by their index. Without, variables must have the same size.

Pointers into the old library become pointers to the symbol of the same name in the new one. A word is known to be
a pointer by its C type, or by a relocation at its place; any other word that looks like an address of the old
library is reported, since changing a number that is none would corrupt data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from emu.calls.declared import dwarf_types
from emu.calls.types import Array, CType, Integer, Pointer, Struct, VaListType, same_type, sized
from emu.patch.image_words import ImageWords
from relink.elf.constants import SymbolType
from relink.errors import DebugInfoError
from relink.memory.address_space import Protection
from relink.records import dataclass, field
from relink.resolve.local_symbols import LocalSymbol, all_symbols

if TYPE_CHECKING:
    from emu.memory.guest_memory import GuestMemory
    from relink.arrays import U8
    from relink.image import Image

_ALIASES = 16  #: symbols of one address that are looked at
_CODE = (SymbolType.FUNC, SymbolType.GNU_IFUNC, SymbolType.NOTYPE)


class Doubtful(NamedTuple):
    """A word that may be a pointer into the old library, or can be none of the new one."""

    place: int  #: guest address of the word
    value: int
    where: str  #: what the word is part of
    problem: str

    def __str__(self) -> str:
        return f"{self.where} at {self.place:#x} holds {self.value:#x}: {self.problem}"


class _Symbols:
    """The functions and variables of an image, by name and by address."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._mask = image.architecture.code_address_mask
        symbols = [symbol for symbol in all_symbols(image.decoded) if symbol.name]
        count = Counter(symbol.name for symbol in symbols)
        self.by_name = {symbol.name: symbol for symbol in symbols if count[symbol.name] == 1}
        self.ambiguous = sorted(name for name, number in count.items() if number > 1)
        plain = [symbol for symbol in symbols if symbol.type != SymbolType.TLS]
        self._sorted = sorted(plain, key=lambda symbol: (self._start(symbol), symbol.size))
        self._starts = [self._start(symbol) for symbol in self._sorted]

    def _start(self, symbol: LocalSymbol) -> int:
        return symbol.value & self._mask if symbol.type in _CODE else symbol.value

    def at(self, address: int) -> list[tuple[LocalSymbol, int]]:
        """(symbol, offset) of the things at a guest address; of aliases all."""
        vaddr = (address - self.image.bias) & self.image.architecture.address_mask
        code = vaddr & self._mask
        end = bisect_right(self._starts, vaddr)
        near = self._sorted[max(end - _ALIASES, 0) : end]
        found = [(symbol, (code if symbol.type in _CODE else vaddr) - self._start(symbol)) for symbol in near]
        return [(symbol, offset) for symbol, offset in reversed(found) if offset == 0 or offset < symbol.size]


class Translator:
    """Addresses of the old library as addresses of the new one."""

    def __init__(self, old: Image, new: Image) -> None:
        self.old, self._new = _Symbols(old), _Symbols(new)

    def __call__(self, address: int) -> int | str:
        """The address of the same thing in the new library, or why there is none."""
        problem = "no symbol of the old library is there"
        for symbol, offset in self.old.at(address):
            there = self._new.by_name.get(symbol.name)
            if there is None:
                problem = f"{symbol.name} is not in the new library, or several are"
            elif (there.type in _CODE) != (symbol.type in _CODE):
                problem = f"{symbol.name} is another kind of thing in the new library"
            elif offset and (symbol.type in _CODE or there.size != symbol.size):
                problem = f"it points into {symbol.name}, which may be another in the new library"
            else:
                return self._new.image.address_of(there.value) + offset
        return problem

    def variables(self) -> Iterator[tuple[LocalSymbol, LocalSymbol | None]]:
        """The variables of the old library with those of the same name in the new one."""
        for name, symbol in self.old.by_name.items():
            if symbol.type in (SymbolType.OBJECT, SymbolType.COMMON, SymbolType.TLS) and symbol.size:
                there = self._new.by_name.get(name)
                yield symbol, there if there is not None and there.type not in _CODE else None


class Blocks(Protocol):
    """Where the thread-local storage of an image is: (block of the old one, block of the new one) per thread."""

    def __call__(self) -> Iterable[tuple[int, int]]: ...


@dataclass
class Carried:
    """The state that went over to the new version."""

    changed: list[str] = field(default_factory=list)  #: variables of which something went over
    initial: list[str] = field(default_factory=list)  #: that the guest had not changed
    dropped: list[str] = field(default_factory=list)  #: that the new version does not have
    ambiguous: list[str] = field(default_factory=list)  #: several of a name in one version: they do not go over
    refused: list[str] = field(default_factory=list)  #: a sentence each, why a changed value cannot go over
    doubtful: list[Doubtful] = field(default_factory=list)


class Carrier:
    """Carries the state of one library over. `initial` are the old image's bytes after its relocation."""

    def __init__(self, memory: GuestMemory, old: Image, new: Image, initial: U8, blocks: Blocks) -> None:
        self._memory, self._old, self._new, self._initial, self._blocks = memory, old, new, initial, blocks
        self.translate, self.words = Translator(old, new), ImageWords()
        self.carried = Carried(ambiguous=self.translate.old.ambiguous)
        self._word = old.architecture.word_size

    def carry(self, hooked: Iterable[str] = ()) -> Carried:
        """Carry every variable over but those that hooks take care of."""
        skipped = set(hooked)
        for symbol, there in self.translate.variables():
            if symbol.name in skipped:
                continue
            for at, to, initial in self._places(symbol, there):
                self._variable(symbol, there, at, to, initial)
        return self.carried

    def _places(self, symbol: LocalSymbol, there: LocalSymbol | None) -> Iterator[tuple[int, int, bytes]]:
        """(address in the old library, in the new one, initial bytes) of a variable that the guest can change."""
        value = there.value if there is not None else 0
        if symbol.type == SymbolType.TLS:
            segment = self._old.decoded.tls
            assert segment is not None
            begin = self._old.runs.index(segment.vaddr)
            image = self._initial[begin : begin + segment.filesz].tobytes().ljust(segment.memsz, b"\0")
            for block, new_block in self._blocks():
                yield block + symbol.value, new_block + value, image[symbol.value : symbol.value + symbol.size]
            return
        at = self._old.address_of(symbol.value)
        protection = self._memory.protection(at)
        if protection is not None and protection & Protection.W:
            begin = self._old.runs.index(symbol.value)
            yield at, self._new.address_of(value), self._initial[begin : begin + symbol.size].tobytes()

    def _variable(self, symbol: LocalSymbol, there: LocalSymbol | None, at: int, to: int, initial: bytes) -> None:
        name, carried = symbol.name, self.carried
        now = self._memory.read(at, symbol.size)
        if there is None:
            carried.dropped.append(name)
        elif now == initial:
            carried.initial.append(name)
        else:
            carried.changed.append(name)
            old, new = self._types(symbol, there)
            content = bytearray(self._memory.read(to, there.size))
            if old is not None and new is not None:
                _ByType(self, name, at, now, initial, content, to).carry(old, 0, new, 0)
            elif symbol.size != there.size:
                problem = f"its size was {symbol.size} bytes, is {there.size} bytes, and its type is not known"
                carried.refused.append(f"{name}: {problem}")
            else:
                self._words(name, at, to, now, initial, content)
            self._memory.write(to, bytes(content))

    def _types(self, symbol: LocalSymbol, there: LocalSymbol) -> tuple[CType | None, CType | None]:
        found: list[CType | None] = []
        for image, each in ((self._old, symbol), (self._new, there)):
            try:
                types = dwarf_types(image)
                place = None if each.type == SymbolType.TLS else each.value
                found.append(None if types is None else types.variable(each.name, place))
            except DebugInfoError:
                found.append(None)
        return found[0], found[1]

    def _words(self, name: str, at: int, to: int, now: bytes, initial: bytes, content: bytearray) -> None:
        """Carry a variable of unknown type over, word by word."""
        for offset in range(0, len(now), self._word):
            end = offset + self._word
            if now[offset:end] == initial[offset:end]:
                continue
            content[offset:end] = now[offset:end]
            value = int.from_bytes(now[offset:end], "little")
            if end <= len(now) and self._old.contains(value):
                known = self.words.is_relocated(self._old, at + offset)
                content[offset:end] = self.pointer(value, to + offset, name, known=known)

    def pointer(self, value: int, place: int, where: str, *, known: bool) -> bytes:
        """The bytes for a pointer into the old library at a place of the new one."""
        found = self.translate(value)
        if isinstance(found, str):
            self.carried.doubtful.append(Doubtful(place, value, where, found))
            found = value
        elif not known:
            problem = "nothing tells that it is a pointer"
            self.carried.doubtful.append(Doubtful(place, value, where, problem))
            found = value
        return found.to_bytes(self._word, "little")


class _ByType:
    """Carries one variable over by its C types: the old bytes, its initial bytes, the new bytes."""

    def __init__(
        self, carrier: Carrier, name: str, at: int, now: bytes, initial: bytes, content: bytearray, to: int
    ) -> None:
        self._carrier, self._name, self._at, self._to = carrier, name, at, to
        self._now, self._initial, self._content = now, initial, content

    def carry(self, old: CType, at: int, new: CType, to: int, path: str = "") -> None:
        """Carry the value of type `old` at an offset over to the one of type `new` at another."""
        size = old.size if isinstance(old, Struct) else sized(old).size
        if size is None or self._unchanged(at, size):
            return
        if isinstance(old, Struct) and isinstance(new, Struct) and not old.is_union and not new.is_union:
            self._members(old, at, new, to, path)
        elif isinstance(old, Array) and isinstance(new, Array):
            self._elements(old, at, new, to, path)
        elif isinstance(old, Pointer) and isinstance(new, Pointer):
            self._pointer(at, to, size, path)
        elif isinstance(old, Integer) and isinstance(new, Integer):
            self._integer(old, at, new, to, path)
        elif isinstance(old, VaListType) or not same_type(old, new):
            self._refuse(path, f"was {old}, is {new}")
        else:
            self._content[to : to + size] = self._now[at : at + size]

    def _unchanged(self, at: int, size: int) -> bool:
        return self._now[at : at + size] == self._initial[at : at + size]

    def _refuse(self, path: str, problem: str) -> None:
        self._carrier.carried.refused.append(f"{self._name}{path}: {problem}, and its value has been changed")

    def _members(self, old: Struct, at: int, new: Struct, to: int, path: str) -> None:
        theirs = new.fields
        for name, member in old.fields.items():
            other = theirs.get(name)
            if other is None:
                continue  # a member that is gone
            if member.bits is None and other.bits is None:
                self.carry(member.type, at + member.offset, other.type, to + other.offset, f"{path}.{name}")
            elif member.bits is None or other.bits is None or member.bits[1] > other.bits[1]:
                self._refuse(f"{path}.{name}", "became narrower, or a bit-field")
            else:
                self._bits((8 * at + member.bits[0], member.bits[1]), 8 * to + other.bits[0])

    def _bits(self, old: tuple[int, int], to: int) -> None:
        first, width = old
        now, initial = (int.from_bytes(data, "little") >> first for data in (self._now, self._initial))
        mask = (1 << width) - 1
        if now & mask != initial & mask:
            value = int.from_bytes(self._content, "little") & ~(mask << to) | (now & mask) << to
            self._content[:] = value.to_bytes(len(self._content), "little")

    def _elements(self, old: Array, at: int, new: Array, to: int, path: str) -> None:
        size, other = sized(old.target).size, sized(new.target).size
        counts = old.count or 0, new.count or 0
        if same_type(old.target, new.target) and not _has_pointers(old.target):
            shape = (-1, size) if size else (0, 0)
            length = min(counts) * size
            now, initial, content = (
                np.frombuffer(bytes(data[start : start + length]), np.uint8).reshape(shape)
                for data, start in ((self._now, at), (self._initial, at), (self._content, to))
            )
            changed = (now != initial).any(axis=1)[:, None]
            self._content[to : to + length] = np.where(changed, now, content).tobytes()
        else:
            for index in range(min(counts)):
                place = f"{path}[{index}]"
                self.carry(old.target, at + index * size, new.target, to + index * other, place)
        if counts[0] > counts[1] and not self._unchanged(at + counts[1] * size, (counts[0] - counts[1]) * size):
            self._refuse(path, f"had {counts[0]} elements, has {counts[1]}")

    def _integer(self, old: Integer, at: int, new: Integer, to: int, path: str) -> None:
        value = int.from_bytes(self._now[at : at + old.size], "little", signed=old.signed)
        try:
            self._content[to : to + new.size] = value.to_bytes(new.size, "little", signed=new.signed)
        except OverflowError:
            self._refuse(path, f"was {old}, is {new}, which cannot be {value}")

    def _pointer(self, at: int, to: int, size: int, path: str) -> None:
        data = self._now[at : at + size]
        value = int.from_bytes(data, "little")
        carrier = self._carrier
        if carrier.translate.old.image.contains(value):
            data = carrier.pointer(value, self._to + to, self._name + path, known=True)
        self._content[to : to + size] = data


def _has_pointers(ctype: CType) -> bool:
    """Whether a value of the type contains pointers; unions may."""
    match ctype:
        case Pointer() | VaListType():
            return True
        case Array():
            return _has_pointers(ctype.target)
        case Struct():
            return ctype.is_union or any(_has_pointers(member.type) for member in ctype.members or ())
    return False
