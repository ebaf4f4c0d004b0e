"""COPY relocations: a library's variable is copied into the executable.

Code that is not position-independent contains the addresses of variables, so the variables must be in the
executable: the static linker reserves space there and defines the symbol. At load time the initial contents are
copied from the library, after it has been relocated. All other images bind to the executable's definition, which
is first in the scope (gABI, "Relocation"; glibc, `elf_machine_rela`, R_*_COPY, and ELF_RTYPE_CLASS_COPY in
elf/dl-lookup.c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from relink.arch import Reloc
from relink.arrays import I64
from relink.elf import Decoded, RelocationTable
from relink.elf.constants import SegmentType, SymbolType, Visibility
from relink.errors import LinkError, RelocationOutOfImage, TlsError, UnsupportedRelocation
from relink.module import Module
from relink.records import replace
from relink.relocate.result import Copied, IfuncCalls
from relink.relocate.state import Relocation
from relink.resolve.bindings import HOST, NUMBER, UNRESOLVED
from relink.resolve.resolver import Use

#: The Linux gABI extensions, "Program Property": the type of the note, and of the property with the bits of
#: required features.
_NT_GNU_PROPERTY_TYPE_0, _1_NEEDED = 5, 0xB000_8000
#: Visibility of a variable that its library accesses without a symbol lookup.
_PROTECTED = Visibility.PROTECTED


def copy_symbols(
    relocation: Relocation, table: RelocationTable, reloc_type: Reloc, indices: Iterable[int]
) -> None:
    """Apply the COPY entries `indices` of `table`. An error is collected and skips only its entry."""
    for index in indices:
        try:
            copied = _copied(relocation, table, reloc_type, index)
        except LinkError as error:
            relocation.result.errors.append(error)
            continue
        if copied is not None:
            relocation.result.copies.append(copied)


class _Refusal:
    """Makes the errors about one COPY entry."""

    def __init__(self, image: Module, table: RelocationTable, reloc_type: Reloc, index: int) -> None:
        self.image = image
        self.section, self.offset = table.origin(index)
        self.symbol = image.decoded.symbols.names.text(int(table.symbol[index]))
        self.type_name = image.architecture.prefix + reloc_type.name

    def of(self, kind: type[UnsupportedRelocation | RelocationOutOfImage], problem: str) -> LinkError:
        """An error of class `kind` about the entry."""
        return kind(
            self.image.name,
            problem,
            section=self.section,
            offset=self.offset,
            type_name=self.type_name,
            symbol=self.symbol,
        )


def _copied(relocation: Relocation, table: RelocationTable, reloc_type: Reloc, index: int) -> Copied | None:
    """Apply one entry. None when its symbol is unresolved: a strong one is already reported, a weak one
    remains zero.
    """
    image, bound = relocation.image, relocation.bound
    symbol = int(table.symbol[index])
    at = int(relocation.references.binding_of[Use.COPY][symbol])
    number = int(bound.provider[at])
    if number == UNRESOLVED:
        return None
    refusal = _Refusal(image, table, reloc_type, index)
    provider = None if number == HOST else bound.images[number]
    protected = provider is not None and int(provider.decoded.symbols.visibility[bound.symbol[at]]) == _PROTECTED
    if bound.symbol[at] == NUMBER:
        problem = f"the host defines it as the number {int(bound.address[at]):#x}, where there is no data to copy"
        raise refusal.of(UnsupportedRelocation, problem)
    _check_copyable(relocation, refusal, provider, int(bound.type[at]), protected=protected)
    size = int(image.decoded.symbols.size[symbol])
    copied = Copied(
        refusal.symbol,
        None if provider is None else provider.name,
        int(bound.address[at]),
        image.address_of(refusal.offset),
        size,
        int(bound.size[at]) or (size if provider is None else 0),
        protected,
    )
    content = _contents(relocation, provider, copied.source, copied.taken)
    if content is None:
        problem = f"its {copied.taken} bytes in {_name(provider)} lie in no segment"
        raise refusal.of(RelocationOutOfImage, problem)
    low = image.runs.index(refusal.offset)
    if low < 0 or low + len(content) > len(relocation.buffer):
        raise refusal.of(RelocationOutOfImage, "the place lies in no segment")
    relocation.buffer[low : low + len(content)] = np.frombuffer(content, np.uint8)
    return copied


def _check_copyable(
    relocation: Relocation, refusal: _Refusal, provider: Module | None, kind: int, *, protected: bool
) -> None:
    """Raise TlsError or UnsupportedRelocation for a symbol that cannot be copied."""
    where = _name(provider)
    if kind == SymbolType.TLS:
        what = f"{refusal.section}+{refusal.offset:#x}: {refusal.symbol} of {where}"
        raise TlsError(refusal.image.name, f"{what} is thread-local: it cannot be copied")
    if kind in (SymbolType.FUNC, SymbolType.GNU_IFUNC):
        problem = f"{where} defines it as a function, which cannot be copied"
        raise refusal.of(UnsupportedRelocation, problem)
    if provider is None:
        return
    if protected and needs_indirect_access(provider.decoded):
        raise refusal.of(
            UnsupportedRelocation,
            f"it is protected in {where}, which forbids copies (GNU_PROPERTY_1_NEEDED_INDIRECT_EXTERN_ACCESS)",
        )
    if relocation.environment.is_running(provider):
        problem = f"{where} was loaded earlier and uses its own: load the executable first"
        raise refusal.of(UnsupportedRelocation, problem)


def _name(provider: Module | None) -> str:
    return "the host" if provider is None else provider.name


def _contents(relocation: Relocation, provider: Module | None, address: int, size: int) -> bytes | None:
    """The provider's bytes; None when no segment has them."""
    if provider is None:
        return relocation.environment.read(address, size)
    content = provider.region.content(address, size)
    return None if content is None else content.tobytes()


def needs_indirect_access(decoded: Decoded) -> bool:
    """Whether an image forbids copies of its protected data: GNU_PROPERTY_1_NEEDED_INDIRECT_EXTERN_ACCESS.

    Without this property glibc warns about such copies but makes them (sysdeps/generic/dl-protected.h). Damaged
    notes are ignored.
    """
    word = decoded.header.layout.word_size
    for header in decoded.program_headers:
        if header.type != SegmentType.GNU_PROPERTY:
            continue
        note = decoded.bytes_at(header.vaddr, header.filesz).tobytes()
        name_size, size, kind = struct.unpack_from("<III", note) if len(note) >= 16 else (0, 0, 0)
        if (name_size, kind, note[12:16]) != (4, _NT_GNU_PROPERTY_TYPE_0, b"GNU\0"):
            continue
        content = note[16 : 16 + size]
        while len(content) >= 12:
            property_, length, bits = struct.unpack_from("<III", content)
            if property_ == _1_NEEDED and length == 4:
                return bool(bits & 1)
            content = content[8 + (length + word - 1 & -word) :]  # padded to words
    return False


def copied_ifuncs(copies: Iterable[Copied], pending: Iterable[IfuncCalls]) -> list[IfuncCalls]:
    """The places in copies that need a resolver's answer because their originals do."""
    found = []
    for copy in copies:
        for calls in pending:
            size = calls.reloc_type.word.size if calls.reloc_type.word is not None else 0
            inside = (calls.place >= copy.source) & (calls.place + np.uint64(size) <= copy.source + copy.taken)
            if inside.any():
                found.append(_moved(calls, np.flatnonzero(inside), copy.destination - copy.source))
    return found


def _moved(calls: IfuncCalls, chosen: I64, distance: int) -> IfuncCalls:
    """The chosen places moved by `distance` bytes, to receive the same words as the originals."""
    step = np.uint64(distance % (1 << 64))
    addend = calls.addend[chosen]
    if calls.reloc_type.formula is not None and "P" in calls.reloc_type.formula.letters:
        addend = addend + step
    return replace(calls, place=calls.place[chosen] + step, resolver=calls.resolver[chosen], addend=addend)
