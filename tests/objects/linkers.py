"""Other people's linkers: one object linked by lld or GNU ld, and what they wrote at every relocated place.

The source uses `.reloc` to put any type anywhere, so nothing depends on what an assembler would choose.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from relink.arch import Architecture
from relink.arch.spec import Reloc, Role, Slot, TlsVariant
from tests.objects.build import zig
from tests.objects.rows import narrowed, read, value_of, written
from tests.sections import relocation_section, section, symbol_table
from tests.toolcache import OUTPUT, made, text_file


@dataclass(frozen=True)
class Target:
    """What one ISA's tools are called, and which dynamic type fills each kind of slot."""

    page: Architecture
    triple: str
    gnu: tuple[str, ...]  #: the GNU linker's command, if the host has it
    slots: dict[Slot, str]
    got: tuple[str, str]  #: the section lld and GNU ld count GOT offsets from


@dataclass(frozen=True)
class _Entry:
    row: Reloc
    symbol: str
    at: int
    addend: int | None


@dataclass(frozen=True)
class Place:
    """One relocated place: what another linker wrote, and what the row would."""

    name: str
    symbol: str
    theirs: int
    ours: int


def places(target: Target, linker: str, source: str, *flags: str) -> list[Place]:
    """Assemble `source`, link it with `linker` ("lld" or "gnu") and compare every place of .text."""
    text = text_file(source, ".s")
    assembled = made([zig(), "clang", "-target", target.triple, "-c", text, "-o", OUTPUT], [text])
    command = [zig(), "ld.lld"] if linker == "lld" else [_gnu(target), *target.gnu[1:]]
    linked = made([*command, assembled, "-o", OUTPUT, *flags], [assembled], "{}")
    with assembled.open("rb") as before, linked.open("rb") as after:
        return _Comparison(target, linker, ELFFile(before), ELFFile(after)).places()


def _gnu(target: Target) -> str:
    if not (found := shutil.which(target.gnu[0])):
        pytest.skip(f"no {target.gnu[0]} on this host")
    return found


def _number(code: bytes | bytearray) -> int:
    return int.from_bytes(code, "little")


class _Comparison:
    """The object before and the file after linking."""

    def __init__(self, target: Target, linker: str, before: ELFFile, after: ELFFile) -> None:
        self.target, self.page, self.after = target, target.page, after
        self.before = before
        self.text = section(before, ".text")
        placed = section(after, ".text")
        self.address, self.bytes = placed["sh_addr"], placed.data()
        self.code, self.entries = bytearray(self.text.data()), list[_Entry]()
        self.symbols = {s.name: s for s in symbol_table(after).iter_symbols()}
        got = after.get_section_by_name(target.got[linker != "lld"]) or after.get_section_by_name(".got")
        self.got = got["sh_addr"] if got else 0
        self.tls_offset = self._tls_offset()
        self.slots = self._slots()

    def places(self) -> list[Place]:
        """Every entry is applied in turn, as several may share a place; then the places are compared."""
        name = ".rela.text" if self.before.get_section_by_name(".rela.text") else ".rel.text"
        symbols = symbol_table(self.before)
        self.entries = [
            _Entry(row, symbols.get_symbol(e["r_info_sym"]).name, e["r_offset"], e.entry.get("r_addend"))
            for e in relocation_section(self.before, name).iter_relocations()
            if (row := self.page.relocations[e["r_info_type"]]).word is not None and row.role is not Role.ALIGN
        ]
        sizes = [self._apply(entry) for entry in self.entries]
        return [self._place(entry, size) for entry, size in zip(self.entries, sizes, strict=True)]

    def _place(self, entry: _Entry, size: int) -> Place:
        theirs, ours = (_number(code[entry.at : entry.at + size]) for code in (self.bytes, self.code))
        return Place(entry.row.name, entry.symbol, theirs, ours)

    def _apply(self, entry: _Entry) -> int:
        """Store our value; how many bytes that takes."""
        word, at = entry.row.word, entry.at
        assert word is not None
        size = word.size
        if entry.row.role is Role.ULEB:
            size = next(n for n in range(1, 11) if not self.code[at + n - 1] & 0x80)
            bytes_ = [self._value(entry) >> 7 * n & 0x7F | (0x80 if n < size - 1 else 0) for n in range(size)]
            self.code[at : at + size] = bytes(bytes_)
        else:
            new = written(word, self._raw(entry), narrowed(self.page, self._value(entry)))
            self.code[at : at + size] = new.to_bytes(size, "little")
        return size

    def _raw(self, entry: _Entry) -> int:
        assert entry.row.word is not None
        return _number(self.code[entry.at : entry.at + entry.row.word.size])

    def _value(self, entry: _Entry) -> int:
        row, at = entry.row, entry.at
        assert row.word is not None
        raw = self._raw(entry)
        symbol = self.symbols.get(entry.symbol)
        address = symbol["st_value"] if symbol else 0
        if row.role is Role.LOW:
            high = (e for e in self.entries if e.row.role is Role.HIGH and self.address + e.at == address)
            return self._value(next(high))
        letters = {
            "S": address, "Z": symbol["st_size"] if symbol else 0,
            "A": read(row.word, raw) if entry.addend is None else entry.addend, "P": self.address + at,
            "GOT": self.got, "T": self.tls_offset, "DTV": self.page.tls.dtv_bias, "V": read(row.word, raw),
        }  # fmt: skip
        if row.role is Role.ULEB:
            taken = itertools.takewhile(lambda n: n == 0 or self.code[at + n - 1] & 0x80, itertools.count())
            letters["V"] = sum((self.code[at + n] & 0x7F) << 7 * n for n in taken)
        if row.slot is not None:
            thread_local = symbol is not None and symbol["st_info"]["type"] == "STT_TLS"
            slot = row.tls_slot if thread_local and row.tls_slot else row.slot
            letters["G"] = self._slot(slot, entry.symbol) - self.got
        function = symbol is not None and symbol["st_info"]["type"] == "STT_FUNC"
        return value_of(row, bytes(self.code), at, function=function, **letters)

    def _slot(self, slot: Slot, symbol: str) -> int:
        """Address of a symbol's slot; one whose dynamic entry names no symbol is the only one of its kind."""
        kind = self.page.prefix + self.target.slots[slot]
        return self.slots[kind, symbol if (kind, symbol) in self.slots and slot is not Slot.TLS_LD else ""]

    def _slots(self) -> dict[tuple[str, str], int]:
        """(dynamic type, symbol) → address of the slot, from the dynamic relocations where there are any."""
        found = {}
        for table_name in (".rela.dyn", ".rel.dyn", ".rela.plt", ".rel.plt"):
            if self.after.get_section_by_name(table_name) is None:
                continue
            table = relocation_section(self.after, table_name)
            symbols = self.after.get_section(table["sh_link"])  # none for a static program's
            for entry in table.iter_relocations():
                key = self.page.relocation_name(entry["r_info_type"])
                name = ""
                if index := entry["r_info_sym"]:
                    assert isinstance(symbols, SymbolTableSection)
                    name = symbols.get_symbol(index).name
                found[key, name] = entry["r_offset"]
        return self._static_slots() | found

    def _static_slots(self) -> dict[tuple[str, str], int]:
        """Slots a static link fills itself, found by what they hold."""
        got, size, found = self.after.get_section_by_name(".got"), self.page.word_size, {}
        if got is None:
            return {}
        words = [_number(got.data()[i : i + size]) for i in range(0, got["sh_size"], size)]
        for name, symbol in self.symbols.items():
            held = {Slot.ADDRESS: [symbol["st_value"]]}
            if symbol["st_info"]["type"] == "STT_TLS":
                bias = self.page.tls.dtv_bias
                held = {
                    Slot.TLS_IE: [symbol["st_value"] + self.tls_offset],
                    Slot.TLS_GD: [1, symbol["st_value"] - bias],
                }
            for slot, values in held.items():
                wanted = [value & self.page.address_mask for value in values]
                at = next((i for i in range(len(words)) if words[i : i + len(wanted)] == wanted), None)
                if at is not None and any(wanted) and slot in self.target.slots:
                    found[self.page.prefix + self.target.slots[slot], name] = got["sh_addr"] + size * at
        return found

    def _tls_offset(self) -> int:
        segment = next((s for s in self.after.iter_segments() if s["p_type"] == "PT_TLS"), None)
        if segment is None:
            return 0
        align: int = max(segment["p_align"], 1)
        size: int = segment["p_memsz"]
        if self.page.tls.variant is TlsVariant.II:
            return -(-(-size // align) * align)
        return -(-self.page.tls.tcb_size // align) * align
