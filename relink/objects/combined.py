"""`CombinedObjects`: relocatable objects laid out as one image, made by `relink.objects.combine`.

It is a `Decoded`: the other phases treat it as a shared object with static relocations, one symbol table, and room
for GOT slots and stubs. `origin` maps an entry of the combined relocation table back to object, section and
offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from relink.arch import Architecture, FloatAbi
from relink.arch.spec import Slot
from relink.arrays import I64, U32, U64, Bools, indices_where, one_of
from relink.elf import Decoded, Names, RelocationTable, SymbolTable, Versions
from relink.elf.constants import SectionFlag, SectionType, SymbolBind, SymbolType, Visibility
from relink.elf.contents import frozen
from relink.elf.debug_sections import DebugSections
from relink.elf.headers import Section
from relink.elf.object_batch import ObjectBatch
from relink.elf.objects import Group, ObjectFile
from relink.objects.input_sections import InputSection, InputSections
from relink.records import cached_property, dataclass, field

if TYPE_CHECKING:
    from relink.objects.placed import PlacedImage

FIRST = 64  #: no symbol is at offset 0: the value 0 would mean undefined
#: Sections that form one function of the whole link, to which every object adds instructions.
CODE_FRAGMENTS = (".init", ".fini")
LINK_ONCE = ".gnu.linkonce."
CONSTRUCTORS = (".preinit_array", ".init_array", ".ctors")
DESTRUCTORS = (".fini_array", ".dtors")
_GROUP, _LOCAL, _OBJECT = int(SectionType.GROUP), int(SymbolBind.LOCAL), int(SymbolType.OBJECT)
_UNSEEN = int(Visibility.INTERNAL), int(Visibility.HIDDEN)
LAST_GROUP = 3  #: sort key of writable sections: after constructors and destructors


@dataclass(frozen=True, eq=False)
class Offered:
    """A hash table of the symbols that other images may bind to: one per name, no local symbols."""

    symbols: I64
    lost_bits = 0

    def hash_of(self, names: Names) -> U32:
        return names.gnu_hash

    def entries(self, names: Names) -> tuple[U32, I64]:
        return names.take(self.symbols).gnu_hash, self.symbols

    def reaches(self, hashes: U32, symbols: I64) -> Bools:
        return np.ones(len(symbols), np.bool_)


@dataclass(frozen=True)
class StubTable:
    """The location of stubs. `islands` are the image offsets of copies of the stub table, ascending."""

    symbols: I64  #: symbol indices, in stub order
    islands: tuple[int, ...]
    size: int  #: size of one stub in bytes
    address_at: int  #: offset of the target address in a stub
    number: I64  #: symbol index -> index in the table, -1 for none

    def offset(self, symbol: I64, near: I64) -> I64:
        """The image offset of each symbol's stub in the island nearest to `near` (image offsets); -1 for none."""
        number = self.number[symbol]
        if not self.islands:
            return np.full(len(symbol), -1, np.int64)
        islands = np.array(self.islands)
        after = np.minimum(np.searchsorted(islands, near), len(islands) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.abs(islands[after] - near) < np.abs(islands[before] - near), after, before)
        return np.where(number < 0, -1, islands[nearest] + number * self.size)


@dataclass(frozen=True)
class CombinedTable(RelocationTable):
    """All static relocations of an image: offsets are image offsets, symbols are indices in its symbol table."""

    #: first entry of each input table in this one
    starts: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    #: (object and section, image offset of the section) of an input table, by its number
    origin_of: Callable[[int], tuple[str, int]] = field(default=lambda number: ("", 0), repr=False)
    #: image offset of the section's end, for each input table
    ends: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    def origin(self, index: int) -> tuple[str, int]:
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        name, base = self.origin_of(number)
        return name, int(self.offset[index]) - base

    def room(self, entries: I64) -> U64:
        """Bytes from each place to the end of its section."""
        numbers = np.searchsorted(self.starts, entries, side="right") - 1
        return self.ends[numbers].astype(np.uint64) - self.offset[entries]


#: Relocates an image's debug sections: name -> bytes.
DebugLinker: TypeAlias = "Callable[[CombinedObjects], DebugSections]"


def no_debug_sections(combined: CombinedObjects) -> DebugSections:
    """The `DebugLinker` of an image whose debug sections are not read."""
    return DebugSections()


@dataclass(frozen=True, eq=False)
class CombinedObjects(Decoded):
    """Objects laid out as one image, before it has an address. `data` is the image's content."""

    input_sections: InputSections | None = None
    batch: ObjectBatch | None = None  #: the objects in link order; their symbols follow row 0 of `table`
    #: row of `table` -> the row with the definition of its name
    alias: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    direct: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  #: see `InputTables.direct`
    table: SymbolTable | None = None
    static: CombinedTable | None = None
    got: int = 0  #: image offset of the GOT
    slots: Mapping[Slot, tuple[I64, I64]] = field(default_factory=dict)  #: kind -> (symbols, offsets in the GOT)
    stubs: StubTable | None = None
    constructors: tuple[int, int] | None = None
    destructors: tuple[int, int] | None = None
    #: Image offsets of `_init` and `_fini`, the values of DT_INIT and DT_FINI (ld's -init, -fini).
    routines: tuple[int | None, int | None] = (None, None)
    object_versions: Versions = field(default_factory=Versions)  #: the versions in the names of symbols
    placed: PlacedImage | None = None  #: what a link script has placed: image offsets are addresses then
    float_abi: FloatAbi | None = None  #: floating-point calling convention (None: any)
    #: Relocates the debug sections on first access (see `relink.relocate.debug_info`).
    link_debug_sections: DebugLinker = field(default=no_debug_sections, repr=False)

    @property
    def symbols(self) -> SymbolTable:
        assert self.table is not None
        return self.table

    @property
    def known_symbols(self) -> SymbolTable | None:
        return self.table

    @cached_property
    def offered(self) -> I64:
        """Rows of the symbols that others may bind to."""
        return frozen(indices_where((self.symbols.section != 0) & (self.symbols.bind != _LOCAL)))

    @cached_property
    def offers_data(self) -> bool:
        """Whether others may bind to data in it."""
        table, rows = self.symbols, self.offered
        return bool(((table.type[rows] == _OBJECT) & ~one_of(table.visibility[rows], _UNSEEN)).any())

    @property
    def versions(self) -> Versions:
        return self.object_versions

    @property
    def relocations(self) -> tuple[RelocationTable, ...]:
        return (self.static,) if self.static is not None else ()

    @property
    def files(self) -> Sequence[ObjectFile]:
        """The objects in link order."""
        return () if self.batch is None else self.batch.files

    @cached_property
    def inputs(self) -> tuple[InputSection, ...]:
        """The sections of the objects that are part of the image, by their offsets in it."""
        sections = self.input_sections
        return () if sections is None else tuple(map(sections.__getitem__, self._by_offset.tolist()))

    @cached_property
    def _by_offset(self) -> I64:
        assert self.input_sections is not None
        return np.argsort(self.input_sections.offset, kind="stable")

    def input_at(self, offset: int) -> InputSection | None:
        """The first section that contains an image offset, None where there is none."""
        sections = self.input_sections
        if sections is None:
            return None
        start = sections.offset
        found = indices_where((start <= offset) & (offset < start + sections.size))
        return sections[min(found.tolist(), key=lambda number: start[number])] if len(found) else None

    @cached_property
    def stack_executable(self) -> bool:
        """Whether an object needs an executable stack: its `.note.GNU-stack` section has SHF_EXECINSTR."""
        if self.batch is None:
            return False
        texts, group = self.batch.section_groups
        notes = np.array([text == ".note.GNU-stack" for text in texts], np.bool_)[group]
        flags = self.batch.sections["flags"][notes]
        return bool((flags & flags.dtype.type(SectionFlag.EXECINSTR)).any())

    @property
    def init(self) -> int | None:
        return self.routines[0]

    @property
    def fini(self) -> int | None:
        return self.routines[1]

    @property
    def init_array(self) -> tuple[int, int] | None:
        return self.constructors

    @property
    def fini_array(self) -> tuple[int, int] | None:
        return self.destructors

    @property
    def sections(self) -> tuple[Section, ...]:
        """Empty: the sections of the objects are in `inputs` and `files`."""
        return ()

    @property
    def is_fixed(self) -> bool:
        return self.placed is not None

    def float_abi_on(self, arch: Architecture) -> FloatAbi | None:
        return self.float_abi

    @cached_property
    def debug_sections(self) -> DebugSections:
        """The objects' debug sections, combined as in a linked file."""
        return self.link_debug_sections(self)

    def slot(self, kind: Slot, symbols: I64) -> I64:
        """The GOT offset of each symbol's slot of a kind; -1 for none."""
        offsets = self._slot_of.get(kind)
        return np.full(len(symbols), -1, np.int64) if offsets is None else offsets[symbols]

    @cached_property
    def _slot_of(self) -> Mapping[Slot, I64]:
        found = {}
        for kind, (symbols, offsets) in self.slots.items():
            found[kind] = np.full(len(self.symbols), -1, np.int64)
            found[kind][symbols] = offsets
        return found


def combined(decoded: Decoded) -> CombinedObjects | None:
    """`decoded` if it was combined from relocatable objects, else None."""
    return decoded if isinstance(decoded, CombinedObjects) else None


def once_only(section: str) -> str | None:
    """The signature of a .gnu.linkonce section, the predecessor of COMDAT groups; None for any other section."""
    return section.split(".", 4)[-1] if section.startswith(LINK_ONCE) and section.count(".") > 3 else None


def groups_and_copies(batch: ObjectBatch) -> list[int]:
    """The numbers of the objects with groups or .gnu.linkonce sections, ascending."""
    groups = batch.section_file[batch.sections["type"] == _GROUP]
    copies = batch.section_file[batch.sections_prefixed(LINK_ONCE)]
    return sorted({*groups.tolist(), *copies.tolist()})


def discarded_groups(batch: ObjectBatch) -> Iterator[tuple[int, Group, int]]:
    """The COMDAT groups that a link discards, as (file, group, file whose copy is kept) (gABI, "Section Groups").

    A group of one section is a copy of a .gnu.linkonce section of its name, too (GNU ld).
    """
    first: dict[str, int] = {}
    once: dict[str, int] = {}
    copies = batch.sections_prefixed(LINK_ONCE)
    for number in groups_and_copies(batch):
        for group in batch.files[number].groups:
            if group.comdat and group.signature in first:
                yield number, group, first[group.signature]
            elif group.comdat and group.signature in once and len(group.members) == 1:
                yield number, group, once[group.signature]
            elif group.comdat:
                first[group.signature] = number
        for row in copies[batch.section_file[copies] == number].tolist():
            if (name := once_only(batch.section_names.text(row))) is not None and name not in first:
                once.setdefault(name, number)
