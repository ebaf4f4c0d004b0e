"""Adoption: linking images that are already in guest memory, for example placed by firmware or restored from a
dump.

An adopted image is read from memory, beginning with its ELF header and PT_DYNAMIC, or from its file if given. Its
memory is not released when the image is closed.

- A *relocated* image is not changed: nothing is written, no constructor or destructor runs, and its bindings are
  not tracked. Its symbols can be called and used by other images.
- Any other image is relocated in place: it is linked in a copy, and `publish` writes the changed bytes to memory.
  A rollback restores the old bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from relink.arch import Architecture, Role
from relink.arrays import U8, U64, distinct
from relink.elf import Decoded, decode, decode_memory
from relink.elf.constants import PAGE, FileType, SymbolType
from relink.errors import LinkError, MalformedElf, TlsError, UnsupportedElf
from relink.image import Image
from relink.load.load import Load
from relink.load.options import LoadOptions
from relink.load.state import LinkerState
from relink.memory import placement as place
from relink.memory.address_space import AddressSpace, Region
from relink.memory.buffers import read_words
from relink.memory.rebased import check_relocated, header_vaddr
from relink.memory.rollback import Rollback
from relink.memory.runs import Runs
from relink.memory.sparse import clusters
from relink.module import Adopted, TlsModule
from relink.search import graph
from relink.search.graph import Node
from relink.search.open import check_architecture
from relink.search.search_path import Source
from relink.tls import TlsLayout


class Adoption(Load):
    """A load whose `open` and `map` read memory. See `Linker.begin_adoption` for the arguments."""

    def __init__(
        self,
        state: LinkerState,
        address: int,
        *,
        file: Source | None = None,
        name: str | None = None,
        relocated: bool,
        tls: TlsModule | None = None,
        options: LoadOptions | None = None,
    ) -> None:
        super().__init__(state, f"<image at {address:#x}>", name, options)
        self.address = address
        self.file = file  #: the file of the image, if any
        self.relocated = relocated
        self.tls = tls

    def _find(self) -> tuple[Node, list[Node]]:
        """The node of the image and its closure; for a relocated image only libraries that are already loaded."""
        state = self.state
        decoded = read_image(state.memory, self.address, self.file, self.name)
        bias = (self.address - header_vaddr(decoded)) % (1 << 64)
        region = copy_region(state.memory, decoded, bias)
        self._check_room(decoded.name, region)
        check_relocated(decoded, state.architecture, region, relocated=self.relocated)
        tls = self.tls
        if self.relocated and tls is None:
            tls = module_of(decoded, state.architecture, region)
        root = Node(decoded.name, None, "adopted", decoded=decoded)
        root.adopted = Adopted(region, self.relocated, tls, region.buffer.copy())
        if not self.relocated:
            return root, graph.closure(root, state)
        root.names.add(root.name)
        for needed in decoded.needed:
            if (loaded := state.loaded(needed)) is not None:
                root.needs.append(Node(needed, root, "already loaded", image=loaded))
        return root, [root, *root.needs]

    def _check_closure(self, root: Node) -> None:
        if not self.relocated:
            super()._check_closure(root)

    def _check_room(self, name: str, region: Region) -> None:
        """Raise LinkError when the region overlaps another image."""
        for image in self.state.images:
            if any(_overlap(one, other) for one in _parts(image.region) for other in _parts(region)):
                raise LinkError(name, f"is at {region.address:#x}, which overlaps {image.name}")

    def _check_unchanged(self) -> None:
        super()._check_unchanged()
        if self.root is not None and self.root.adopted is not None:
            self._check_room(self.root.name, self.root.adopted.region)

    def _claim_tls(self) -> None:
        for image in self.plan.images:
            if image.already_initialised and image.decoded.tls is not None:
                assert self._tls is not None
                self._tls.give(image, partial(claim_tls, self.state.tls, image))

    def _publish(self) -> None:
        if not self.relocated:
            write_back(self.state.memory, self.plan.root, self._rollback)
        super()._publish()


def _parts(region: Region) -> tuple[Region, ...]:
    return region.parts or (region,)


def _overlap(one: Region, other: Region) -> bool:
    return one.address < other.end and other.address < one.end


def read_image(memory: AddressSpace, address: int, source: Source | None, name: str | None) -> Decoded:
    """Decode the image from memory, or from its file. Raises ElfError, AddressSpaceError."""
    if source is None:
        decoded = decode_memory(memory.read, address, name=name or f"<image at {address:#x}>")
    else:
        decoded = source if isinstance(source, Decoded) else decode(source, name=name)
    check_architecture(decoded.name, decoded.header, memory.architecture)
    if decoded.header.type not in (FileType.DYN, FileType.EXEC):
        raise UnsupportedElf(decoded.name, "is neither a shared object nor an executable")
    if not decoded.segments:
        raise MalformedElf(decoded.name, "has no segment to load")
    if decoded.header.type == FileType.EXEC and address != header_vaddr(decoded):
        raise LinkError(
            decoded.name, f"is an ET_EXEC with its header at {header_vaddr(decoded):#x}, not at {address:#x}"
        )
    return decoded


_WIDEST_GAPS = 64 << 20  #: bytes between segments of an adopted image, at most


def copy_region(memory: AddressSpace, decoded: Decoded, bias: int) -> Region:
    """A region at the image's address, with a copy of its memory as buffer.

    Raises LinkError when the address is not page-aligned or the segments are far apart, AddressSpaceError when a
    segment is not mapped. A larger p_align is not enforced, because older ld.so did not honour it.
    """
    mask = memory.architecture.address_mask
    if bias % PAGE:
        raise LinkError(
            decoded.name, f"has the load bias {bias & mask:#x}, which is not a multiple of the page size"
        )
    if decoded.is_fixed and len(clusters(decoded)) > 1:
        return _copy_parts(memory, decoded)
    place.check_contiguous(decoded)
    low, size = place.first_vaddr(decoded), place.region_size(decoded)
    held = sum(segment.memsz for segment in decoded.segments)
    # A segment without bytes may be anywhere, and the buffer is compared as a whole.
    if size - held > _WIDEST_GAPS:
        raise LinkError(decoded.name, f"spans {size:#x} bytes of memory, of which its segments have {held:#x}")
    buffer = np.zeros(size, np.uint8)
    for segment in decoded.segments:
        content = memory.read((segment.vaddr + bias) & mask, segment.memsz)
        buffer[segment.vaddr - low : segment.vaddr - low + segment.memsz] = np.frombuffer(content, np.uint8)
    pages = place.pages(decoded)
    return Region((low + bias) & mask, size, buffer, decoded.name, pages, foreign=True)


def _copy_parts(memory: AddressSpace, decoded: Decoded) -> Region:
    """`copy_region` for a program whose segments are far apart: firmware with flash and RAM."""
    runs = Runs(clusters(decoded))
    whole = Region(
        place.first_vaddr(decoded), place.region_size(decoded), np.zeros(runs.size, np.uint8), decoded.name
    )
    for segment in decoded.segments:
        content = memory.read(segment.vaddr, segment.memsz)
        start = runs.index(segment.vaddr)
        whole.buffer[start : start + segment.memsz] = np.frombuffer(content, np.uint8)
    starts = zip(runs.runs, runs.offsets, strict=False)
    views = ((run, whole.buffer[offset : offset + run.size]) for run, offset in starts)
    whole.parts = tuple(Region(run.start, run.size, view, decoded.name, foreign=True) for run, view in views)
    whole.foreign, whole.pages = True, place.pages(decoded, whole)
    return whole


# ---------------------------------------------------------------- thread-local storage


def module_of(decoded: Decoded, arch: Architecture, region: Region) -> TlsModule | None:
    """The TLS module that a relocated image's words refer to; None without one.

    Raises TlsError when they refer to several modules or offsets.
    """
    segment = decoded.tls
    if segment is None:
        return None
    ids, offsets = _own_ids(decoded, arch, region), _own_offsets(decoded, arch, region)
    if not ids and not offsets:
        return None
    if len(ids) > 1 or len(offsets) > 1:
        several = f"several modules {sorted(ids)} or offsets {sorted(offsets)}"
        raise TlsError(decoded.name, f"its words refer to {several}: pass its own as `tls`")
    # An id does not determine the block's offset, nor an offset the id: `claim_tls` assumes what is not told.
    number = next(iter(ids), 0)
    return TlsModule(number, next(iter(offsets), NO_OFFSET), segment.memsz)


NO_OFFSET = 1 << 62  #: offset of a module when its image's words do not tell


def _own_ids(decoded: Decoded, arch: Architecture, region: Region) -> set[int]:
    found: set[int] = set()
    for _, words in _own_entries(decoded, arch, region, "M"):
        found |= set(words.tolist())
    return found - {0}


def _own_offsets(decoded: Decoded, arch: Architecture, region: Region) -> set[int]:
    """Block offsets, from entries with explicit addends or with a symbol (whose addend is 0)."""
    found: set[int] = set()
    for known, words in _own_entries(decoded, arch, region, "S + A + T"):
        differences = (words - known) & np.uint64(arch.address_mask)
        half = 1 << (arch.bits - 1)
        found |= {(value ^ half) - half for value in differences.tolist()}
    return found


def _own_entries(decoded: Decoded, arch: Architecture, region: Region, formula: str) -> Iterator[tuple[U64, U64]]:
    """(S + A, word) of the entries with this formula for the image's own module."""
    symbols = decoded.symbols
    # One more element, for images without any symbols, not even symbol 0.
    defined = np.append((symbols.section != 0) & (symbols.type == SymbolType.TLS), False)
    value = np.append(symbols.value, np.uint64(0))
    for table in decoded.relocations:
        for number in distinct(table.type).tolist():
            row = arch.relocations.get(number)
            if row is None or row.formula is None or row.formula.text != formula or row.role is Role.TLSDESC:
                continue
            chosen = table.type == number
            symbol = table.symbol[chosen].astype(np.int64)
            none = symbol == 0
            own = defined[symbol] | (none if formula == "M" or table.addend is not None else False)
            known = np.where(none, np.uint64(0), value[symbol])
            if table.addend is not None:
                known = known + table.addend[chosen].view(np.uint64)
            where = (table.offset[chosen] - np.uint64(place.first_vaddr(decoded))).astype(np.int64)
            own &= (where >= 0) & (where <= region.size - arch.word_size)
            yield known[own], read_words(region.buffer, where[own], arch.word_size)


def claim_tls(layout: TlsLayout, image: Image) -> TlsModule:
    """Assign the TLS module that a relocated image's words refer to. Raises TlsError if it is in use."""
    segment, adopted = image.decoded.tls, image.adopted
    assert segment is not None
    wanted = adopted.tls if adopted is not None else None
    while True:
        seen, taken = layout.changes, layout.modules
        number = (wanted.id if wanted is not None else 0) or layout.assumed_id()
        if number in taken:
            raise TlsError(image.name, f"its words refer to TLS module {number}, which another image has")
        size = segment.memsz
        if wanted is None or wanted.offset == NO_OFFSET:
            offset = layout.offset_for(image.name, size, segment.align, segment.vaddr)
        else:
            offset = wanted.offset
            for other in filter(lambda other: other.static, [*taken.values()]):
                if other.offset < offset + size and offset < other.offset + other.size:
                    problem = f"its words refer to the TLS block at offset {offset}, which module {other.id} has"
                    raise TlsError(image.name, problem)
            if max(-offset, offset + size) > layout.static_size:
                raise TlsError(image.name, f"its TLS block is at offset {offset}, outside the static area")
        if (module := layout.add(seen, offset, size, number)) is not None:
            return module


# ---------------------------------------------------------------- writing back


def write_back(memory: AddressSpace, image: Image, undo: Rollback) -> None:
    """Write the bytes changed by relocation to memory; a rollback restores the old ones."""
    adopted = image.adopted
    assert adopted is not None
    assert adopted.before is not None
    base, buffer, before = image.base, image.region.buffer, adopted.before
    for start, end in _changed(buffer, before):
        memory.write(base + start, buffer[start:end].tobytes())
        undo.callback(memory.write, base + start, before[start:end].tobytes())


def _changed(buffer: U8, before: U8) -> Sequence[tuple[int, int]]:
    """Ranges of bytes that differ; ranges less than a cache line apart are merged."""
    where = np.flatnonzero(buffer != before)
    if not len(where):
        return []
    breaks = np.flatnonzero(np.diff(where) > 64)
    starts = [where[0], *where[breaks + 1]]
    ends = [*where[breaks], where[-1]]
    return [(int(start), int(end) + 1) for start, end in zip(starts, ends, strict=True)]
