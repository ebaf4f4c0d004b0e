"""Sections of a file as pyelftools reads them, of the kind that they are."""

from __future__ import annotations

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection


def section(elf: ELFFile, name: str) -> Section:
    found = elf.get_section_by_name(name)
    assert found is not None, f"no section {name}"
    return found


def symbol_table(elf: ELFFile, name: str = ".symtab") -> SymbolTableSection:
    found = section(elf, name)
    assert isinstance(found, SymbolTableSection)
    return found


def relocation_section(elf: ELFFile, name: str) -> RelocationSection:
    found = section(elf, name)
    assert isinstance(found, RelocationSection)
    return found
