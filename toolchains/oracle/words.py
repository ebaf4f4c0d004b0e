"""Descriptions of loaded memory that do not depend on addresses or on the loader.

The work of a dynamic linker is the words it changed: of each segment every word is compared with the file (zero
beyond the file), and those that differ are described: `libleaf+0x3010`, `@malloc` (a function or variable of the C
library), `tls libtls_other+0x4`, `module tls`, or a plain number. Words that are not listed are those of the file.
The purpose of a word (a thread-pointer offset, a descriptor) comes from its relocation, read with pyelftools.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerSymSection
from elftools.elf.relocation import RelocationTable, RelrRelocationTable
from elftools.elf.sections import SymbolTableSection

from toolchains.targets import RELOCATIONS, Role

_I386_TPOFF32 = 37
#: Reserved words at DT_PLTGOT, which the dynamic linker uses as it likes (each psABI, "Global Offset Table").
_RESERVED = {"riscv64": 2, "riscv32": 2, "loongarch64": 2}


@dataclass(frozen=True)
class Place:
    """One dynamic relocation: its role and its symbol ("" without one)."""

    role: Role | None
    symbol: str
    reverse: bool = False  #: the word is subtracted from the thread pointer


@dataclass(frozen=True)
class Elf:
    """The contents of a file, read with pyelftools. Addresses are link-time addresses."""

    bits: int
    segments: tuple[tuple[int, int, bytes], ...]  #: PT_LOAD: address, size in memory, content
    dynamic: tuple[int, int]  #: PT_DYNAMIC: address, size
    pltgot: int | None
    places: Mapping[int, Place]
    undefined: Mapping[str, bool]  #: symbol → whether it is weak; without thread-local ones
    defined: Mapping[str, tuple[int, int]]  #: symbol → (address, size)
    versions: Mapping[str, frozenset[str]]  #: defined symbol → the versions there are of it
    executable: bool

    @property
    def low(self) -> int:
        return min(address for address, _, _ in self.segments)

    @property
    def high(self) -> int:
        return max(address + size for address, size, _ in self.segments)


@lru_cache(maxsize=512)
def read_elf(path: Path, arch: str) -> Elf:
    """The facts of the file at `path`."""
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    loads = [segment for segment in elf.iter_segments() if segment["p_type"] == "PT_LOAD" and segment["p_memsz"]]
    segments = tuple((int(s["p_vaddr"]), int(s["p_memsz"]), bytes(s.data())) for s in loads)
    dynamic = next(segment for segment in elf.iter_segments() if isinstance(segment, DynamicSegment))
    pltgot = next((int(tag.entry.d_ptr) for tag in dynamic.iter_tags("DT_PLTGOT")), None)
    undefined: dict[str, bool] = {}
    defined: dict[str, tuple[int, int]] = {}
    versions: dict[str, set[str]] = {}
    # An empty .gnu.hash does not tell how many symbols there are; a section header does.
    table = elf.get_section_by_name(".dynsym")
    symbols = list((table if isinstance(table, SymbolTableSection) else dynamic).iter_symbols())
    told = _versions(elf)
    for index, symbol in enumerate(symbols):
        entry = symbol.entry
        if entry.st_shndx != "SHN_UNDEF":
            defined[symbol.name] = (int(entry.st_value), int(entry.st_size))
            versions.setdefault(symbol.name, set()).update([told[index]] if index in told else [])
        elif symbol.name and entry.st_info.type != "STT_TLS":
            undefined[symbol.name] = entry.st_info.bind == "STB_WEAK"
    return Elf(
        elf.elfclass,
        segments,
        (int(dynamic["p_vaddr"]), int(dynamic["p_memsz"])),
        pltgot,
        _places(dynamic, arch, [symbol.name for symbol in symbols]),
        undefined,
        defined,
        {name: frozenset(found) for name, found in versions.items()},
        elf["e_type"] == "ET_EXEC",
    )


def _versions(elf: ELFFile) -> dict[int, str]:
    """Symbol index → the version it is defined with, where section headers tell."""
    definitions, symbols = elf.get_section_by_name(".gnu.version_d"), elf.get_section_by_name(".gnu.version")
    if not isinstance(definitions, GNUVerDefSection) or not isinstance(symbols, GNUVerSymSection):
        return {}
    names = {int(one["vd_ndx"]): str(next(each).name) for one, each in definitions.iter_versions()}
    numbers = np.frombuffer(symbols.data(), "<u2").tolist()
    # 0 and 1 are VER_NDX_LOCAL and VER_NDX_GLOBAL.
    return {
        index: names[number & 0x7FFF]
        for index, number in enumerate(numbers)
        if number > 1 and number & 0x7FFF in names
    }


def _places(dynamic: DynamicSegment, arch: str, names: list[str]) -> dict[int, Place]:
    roles = {kind.number: role for role, kind in RELOCATIONS[arch].items() if kind.number > 0}
    places: dict[int, Place] = {}
    for table in dynamic.get_relocation_tables().values():
        if isinstance(table, RelrRelocationTable):
            places |= {int(one["r_offset"]): Place(Role.RELR, "") for one in table.iter_relocations()}
            continue
        assert isinstance(table, RelocationTable)
        for one in table.iter_relocations():
            number, index = int(one["r_info_type"]), int(one["r_info_sym"])
            reverse = arch == "i386" and number == _I386_TPOFF32
            role = Role.TLS_STATIC if reverse else roles.get(number)
            name = names[index] if 0 < index < len(names) else ""
            places[int(one["r_offset"])] = Place(role, name, reverse)
    return places


@dataclass(frozen=True)
class Module:
    """A loaded image: `name` is its name in golden files; `bias` is added to link-time addresses."""

    name: str
    path: Path
    bias: int
    low: int  #: guest addresses, the end excluded
    high: int
    tls_id: int = 0
    tls_block: int = 0
    tls_size: int = 0


@dataclass(frozen=True)
class Loaded:
    """The state after a load, by the oracle or by this project.

    read         (module, link-time address, size) → bytes
    names        addresses outside the modules → the symbols that are there
    descriptors  (module's name, address of a TLS descriptor) → {module id, offset} of one that is not static
    """

    thread: int
    modules: tuple[Module, ...]
    read: Callable[[Module, int, int], bytes]
    names: Mapping[int, frozenset[str]]
    descriptors: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)


class Describer:
    """Describes the memory of `loaded`."""

    def __init__(self, loaded: Loaded, arch: str) -> None:
        self.loaded = loaded
        self.arch = arch
        self.bits = 0

    def relocated_of(self, path: Path) -> dict[int, str]:
        """`relocated` of the module whose file is `path`."""
        return self.relocated(next(one for one in self.loaded.modules if one.path == path))

    def relocated(self, module: Module) -> dict[int, str]:
        """Every relocated place, whether it differs from the file's or not: link-time address → description. What
        IRELATIVE writes is left out: it is the processor's choice."""
        elf = read_elf(module.path, self.arch)
        self.bits, size = elf.bits, elf.bits // 8
        words: dict[int, str] = {}
        for start, length, _ in elf.segments:
            memory = self.loaded.read(module, start, length)
            for address, place in elf.places.items():
                offset = address - start
                if not 0 <= offset < length or place.role is Role.IRELATIVE:
                    continue
                if place.role is Role.TLS_DESC:
                    words[address] = self._descriptor(module, address, memory[offset : offset + 2 * size])
                else:
                    value = int.from_bytes(memory[offset : offset + size], "little")
                    words[address] = self._word(module, address, value, place)
        return dict(sorted(words.items()))

    def module(self, module: Module, ignored: Collection[str] = ()) -> tuple[dict[int, str], int]:
        """The words that differ from the file's: link-time address → description; and how many were compared.

        The words of the variables `ignored`, and those relocated against symbols so named, are left out, as are
        .dynamic and the reserved words of the GOT.
        """
        elf = read_elf(module.path, self.arch)
        self.bits = elf.bits
        size = elf.bits // 8
        unseen = [elf.dynamic, *(elf.defined[name] for name in ignored if name in elf.defined)]
        unseen += [(address, size) for address, place in elf.places.items() if place.symbol in ignored]
        if elf.pltgot is not None:
            unseen.append((elf.pltgot, size * _RESERVED.get(self.arch, 3)))
        words: dict[int, str] = {}
        compared = 0
        for start, length, content in elf.segments:
            memory = bytearray(self.loaded.read(module, start, length))
            file = bytearray(content.ljust(length, b"\0"))
            for address, extent in unseen:
                _blank(memory, file, address - start, extent)
            compared += self._odd(module, elf, start, memory, file, words)
            compared += self._even(module, elf, start, memory, file, words)
        return dict(sorted(words.items())), compared

    def _odd(
        self, module: Module, elf: Elf, start: int, memory: bytearray, file: bytearray, words: dict[int, str]
    ) -> int:
        """Relocated words that are not aligned; descriptors, which are two words; and thread-pointer offsets,
        which are told even where they happen to be what the file has: a different layout may make them so."""
        size, count = elf.bits // 8, 0
        for address, place in elf.places.items():
            offset = address - start
            pair, static = (place.role is role for role in (Role.TLS_DESC, Role.TLS_STATIC))
            if not 0 <= offset < len(memory) or (address % size == 0 and not pair and not static):
                continue
            length = size * (2 if pair else 1)
            raw = bytes(memory[offset : offset + length])
            if pair:
                words[address] = self._descriptor(module, address, raw)
            elif static or raw != file[offset : offset + length]:
                words[address] = self._word(module, address, int.from_bytes(raw, "little"), place)
            _blank(memory, file, offset, length)
            count += length // size
        return count

    def _even(
        self, module: Module, elf: Elf, start: int, memory: bytearray, file: bytearray, words: dict[int, str]
    ) -> int:
        size = elf.bits // 8
        lead, tail = -start % size, (start + len(memory)) % size
        pad = b"\0" * (size - lead if lead else 0), b"\0" * (-(start + len(memory)) % size if tail else 0)
        kind = f"<u{size}"
        here, there = (np.frombuffer(pad[0] + bytes(data) + pad[1], kind) for data in (memory, file))
        first = start - len(pad[0])
        for index in np.flatnonzero(here != there).tolist():
            address = first + index * size
            place = elf.places.get(address, Place(None, ""))
            words[address] = self._word(module, address, int(here[index]), place)
        return len(here)

    def _word(self, module: Module, address: int, value: int, place: Place) -> str:
        mask = (1 << self.bits) - 1
        if place.role is Role.TLS_STATIC:
            told = self.thread_local(self.loaded.thread + (-value if place.reverse else value))
            # An address with a name outside all blocks belongs to the C library (errno).
            return told or (f"tls @{place.symbol}" if place.symbol else hex(value))
        if place.role is Role.TLS_MODULE:
            owner = next((one.name for one in self.loaded.modules if one.tls_id == value), None)
            return f"module {owner}" if owner else hex(value)
        if place.role is Role.TLS_OFFSET:
            return hex(value)
        if place.role is Role.PC_RELATIVE:
            return "pc " + self.address(value + module.bias + address & mask, place.symbol)
        return self.address(value, place.symbol)

    def _descriptor(self, module: Module, address: int, raw: bytes) -> str:
        """The thread-local variable that a descriptor stands for. Arm's has the argument first."""
        size = len(raw) // 2
        argument = int.from_bytes(raw[:size] if self.arch == "arm" else raw[size:], "little")
        if (pair := self.loaded.descriptors.get((module.name, address))) is not None:
            owner = next((one.name for one in self.loaded.modules if one.tls_id == pair[0]), None)
            return f"tls {owner}+{pair[1]:#x}" if owner else "unknown descriptor"
        return self.thread_local(self.loaded.thread + argument) or "unknown descriptor"

    def thread_local(self, address: int) -> str | None:
        """`tls module+offset` for an address in a module's block."""
        address &= (1 << self.bits) - 1
        for one in self.loaded.modules:
            if one.tls_id and one.tls_block <= address < one.tls_block + one.tls_size:
                return f"tls {one.name}+{address - one.tls_block:#x}"
        return None

    def address(self, value: int, symbol: str = "") -> str:
        """`module+offset`, `@symbol`, or the number. Of several names for an address, `symbol` if it is one."""
        modules = self.loaded.modules
        inside = (one for one in modules if one.low <= value < one.high)
        # An address just past an array may be one just past its module too.
        if (owner := next(inside, None) or next((one for one in modules if value == one.high), None)) is not None:
            return f"{owner.name}+{(value - owner.bias) & ((1 << self.bits) - 1):#x}"
        if names := self.loaded.names.get(value):
            return f"@{symbol if symbol in names else min(names)}"
        return hex(value)

    def result(self, value: int) -> str:
        """A called function's result: an address where it is one, else its low 32 bits."""
        if (found := self.thread_local(value)) is not None:
            return found
        told = self.address(value & ((1 << self.bits) - 1))
        return told if not told.startswith("0x") else hex(value & 0xFFFF_FFFF)


def _blank(memory: bytearray, file: bytearray, offset: int, length: int) -> None:
    """Make both say the same from `offset` on, as far as they reach."""
    first, end = max(offset, 0), min(offset + length, len(memory))
    if first < end:
        memory[first:end] = file[first:end] = bytes(end - first)


def tls_size(path: Path) -> int:
    """Bytes of a file's thread-local block; 0 without one."""
    elf = ELFFile(io.BytesIO(path.read_bytes()))
    return next((int(segment["p_memsz"]) for segment in elf.iter_segments() if segment["p_type"] == "PT_TLS"), 0)
