"""Other people's linkers: one object linked by lld or GNU ld, and what they wrote at every relocated place.

The source uses `.reloc` to put any type anywhere, so nothing depends on what an assembler would choose.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relink.arch import Architecture
from relink.arch.spec import Reloc, Slot, TlsVariant
from tests.objects.rows import narrowed, read, value_of, written
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing


@dataclass(frozen=True)
class Target:
    """What one ISA's tools are called, and which dynamic type fills each kind of slot."""

    page: Architecture
    triple: str
    gnu: tuple[str, ...]  #: the GNU linker's command, if the host has it
    slots: dict[Slot, str]
    got: tuple[str, str]  #: the section lld and GNU ld count GOT offsets from


@dataclass(frozen=True)
class Place:
    """One relocated place: what another linker wrote, and what the row would."""

    name: str
    symbol: str
    theirs: int
    ours: int


def places(target: Target, linker: str, source: str, folder: Path, *flags: str) -> list[Place]:
    """Assemble `source`, link it with `linker` ("lld" or "gnu") and compare every place of .text."""
    text, linked = folder / "t.s", folder / "linked"
    text.write_text(source)
    zig = _zig()
    _run([zig, "clang", "-target", target.triple, "-c", text, "-o", folder / "t.o"])
    command = [zig, "ld.lld"] if linker == "lld" else [_gnu(target), *target.gnu[1:]]
    _run([*command, folder / "t.o", "-o", linked, *flags])
    with (folder / "t.o").open("rb") as before, linked.open("rb") as after:
        return _Comparison(target, linker, ELFFile(before), ELFFile(after)).places()


def _zig() -> str:
    try:
        return str(find_zig())
    except CompilerMissing as missing:
        pytest.skip(str(missing))


def _gnu(target: Target) -> str:
    if not (found := shutil.which(target.gnu[0])):
        pytest.skip(f"no {target.gnu[0]} on this host")
    return found


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class _Comparison:
    """The object before and the file after linking."""

    def __init__(self, target: Target, linker: str, before: ELFFile, after: ELFFile) -> None:
        self.target, self.page, self.after = target, target.page, after
        self.before = before
        self.text = before.get_section_by_name(".text")
        placed = after.get_section_by_name(".text")
        self.address, self.bytes = placed["sh_addr"], placed.data()
        self.symbols = {s.name: s for s in after.get_section_by_name(".symtab").iter_symbols()}
        got = after.get_section_by_name(target.got[linker != "lld"]) or after.get_section_by_name(".got")
        self.got = got["sh_addr"] if got else 0
        self.tls_offset = self._tls_offset()
        self.slots = self._slots()

    def places(self) -> list[Place]:
        section = self.before.get_section_by_name(".rela.text") or self.before.get_section_by_name(".rel.text")
        symbols = self.before.get_section_by_name(".symtab")
        found = []
        for entry in section.iter_relocations():
            row = self.page.relocations[entry["r_info_type"]]
            if row.word is not None:
                name = symbols.get_symbol(entry["r_info_sym"]).name
                found.append(self._place(row, name, entry["r_offset"], entry.entry.get("r_addend")))
        return found

    def _place(self, row: Reloc, symbol: str, at: int, addend: int | None) -> Place:
        assert row.word is not None
        assert row.formula is not None
        code, size = self.text.data(), row.word.size
        raw = int.from_bytes(code[at : at + size], "little")
        entry = self.symbols.get(symbol)
        letters = {
            "S": entry["st_value"] if entry else 0, "Z": entry["st_size"] if entry else 0,
            "A": read(row.word, raw) if addend is None else addend, "P": self.address + at, "GOT": self.got,
            "T": self.tls_offset, "DTV": self.page.tls.dtv_bias,
        }  # fmt: skip
        if row.slot is not None:
            letters["G"] = self._slot(row.slot, symbol) - self.got
        value = narrowed(self.page, value_of(row, code, at, **letters))
        theirs = int.from_bytes(self.bytes[at : at + size], "little")
        return Place(row.name, symbol, theirs, written(row.word, raw, value))

    def _slot(self, slot: Slot, symbol: str) -> int:
        name = "" if slot is Slot.TLS_LD else symbol
        return self.slots[self.page.prefix + self.target.slots[slot], name]

    def _slots(self) -> dict[tuple[str, str], int]:
        """(dynamic type, symbol) → address of the slot, from the dynamic relocations; in a static link, where
        there are none, the words of .got that hold a symbol's address."""
        found = {}
        for name in (".rela.dyn", ".rel.dyn", ".rela.plt", ".rel.plt"):
            section = self.after.get_section_by_name(name)
            if section is None:
                continue
            symbols = self.after.get_section(section["sh_link"])
            for entry in section.iter_relocations():
                key = self.page.relocation_name(entry["r_info_type"])
                index = entry["r_info_sym"]
                found[key, symbols.get_symbol(index).name if index else ""] = entry["r_offset"]
        got, size = self.after.get_section_by_name(".got"), self.page.word_size
        if got is not None and not found:
            words = [got.data()[i : i + size] for i in range(0, got["sh_size"], size)]
            key = self.page.prefix + self.target.slots[Slot.ADDRESS]
            for name, symbol in self.symbols.items():
                word = symbol["st_value"].to_bytes(size, "little")
                if symbol["st_value"] and word in words:
                    found[key, name] = got["sh_addr"] + size * words.index(word)
        return found

    def _tls_offset(self) -> int:
        segment = next((s for s in self.after.iter_segments() if s["p_type"] == "PT_TLS"), None)
        if segment is None:
            return 0
        align = max(segment["p_align"], 1)
        if self.page.tls.variant is TlsVariant.II:
            return -(-(-segment["p_memsz"] // align) * align)
        return -(-self.page.tls.tcb_size // align) * align
