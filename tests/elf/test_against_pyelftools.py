"""What `relink.elf` reads of every built fixture is what pyelftools reads from its section headers."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection, DynamicTag
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection, GNUVerSymSection
from elftools.elf.relocation import RelocationSection, RelrRelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from relink.elf import Decoded, decode
from tests.elf.helpers import linked_fixtures
from tests.fixtures import TARGETS, fixture
from tests.grouping import each


@cache
def opened(path: Path) -> ELFFile:
    return ELFFile(io.BytesIO(path.read_bytes()))  # kept, but no file stays open


@cache
def sections_of(path: Path) -> list[Section]:
    return list(opened(path).iter_sections())


def section_of(path: Path, kind: type[Section], name: str | None = None) -> Section | None:
    return next((s for s in sections_of(path) if isinstance(s, kind) and (name is None or s.name == name)), None)


def agrees(decoded: Decoded, path: Path) -> None:
    compare_headers(decoded, path)
    compare_dynamic(decoded, path)
    compare_symbols(decoded, path)
    compare_relocations(decoded, path)
    compare_versions(decoded, path)


@each("path", lambda target: linked_fixtures(target), sample=40)
@pytest.mark.parametrize("target", TARGETS)
def test_everything_decoded_of_a_target_agrees(target: str, path: Path) -> None:
    if opened(path).num_sections():
        agrees(decode(path), path)


@pytest.mark.parametrize("target", TARGETS)
def test_a_library_without_section_headers_reads_the_same(target: str) -> None:
    assert decode(fixture(target, "basic-nosections")).sections == ()
    path = fixture(target, "versions/client_v2")
    content = bytearray(path.read_bytes())
    shoff = slice(40, 48) if opened(path).elfclass == 64 else slice(32, 36)
    first_header = int.from_bytes(content[shoff], "little")
    content[shoff] = bytes(shoff.stop - shoff.start)
    content[first_header:] = b"\xa5" * (len(content) - first_header)
    stripped = decode(content)
    assert stripped.sections == ()
    compare_dynamic(stripped, path)
    compare_symbols(stripped, path)
    compare_relocations(stripped, path)
    compare_versions(stripped, path)


def compare_headers(decoded: Decoded, path: Path) -> None:
    elf = opened(path)
    assert decoded.header.bits == elf.elfclass
    assert decoded.header.entry == elf["e_entry"]
    assert decoded.header.flags == elf["e_flags"]
    theirs = [
        (s["p_offset"], s["p_vaddr"], s["p_filesz"], s["p_memsz"], s["p_flags"], s["p_align"])
        for s in elf.iter_segments()
    ]
    assert theirs == [(p.offset, p.vaddr, p.filesz, p.memsz, p.flags, p.align) for p in decoded.program_headers]
    assert [(s.name, s["sh_addr"], s["sh_size"]) for s in sections_of(path)] == [
        (s.name, s.addr, s.size) for s in decoded.sections
    ]


def strings_of(tags: list[DynamicTag], attribute: str) -> list[str]:
    """pyelftools gives a tag its string as an attribute named after it."""
    return [getattr(tag, attribute) for tag in tags if tag.entry.d_tag == f"DT_{attribute.upper()}"]


def compare_dynamic(decoded: Decoded, path: Path) -> None:
    section = section_of(path, DynamicSection)
    if not isinstance(section, DynamicSection):
        assert len(decoded.dynamic) == 0
        return
    tags = list(section.iter_tags())
    theirs = [tag.entry["d_val"] for tag in tags if tag.entry.d_tag != "DT_NULL"]
    assert theirs == list(decoded.dynamic.vals)
    needed = strings_of(tags, "needed")
    assert needed == list(decoded.needed)
    sonames = strings_of(tags, "soname")
    assert sonames == ([decoded.soname] if decoded.soname is not None else [])
    runpaths = strings_of(tags, "runpath")
    assert runpaths == ([decoded.runpath] if decoded.runpath is not None else [])


def compare_symbols(decoded: Decoded, path: Path) -> None:
    section = section_of(path, SymbolTableSection, ".dynsym")
    ours = decoded.symbols
    if not isinstance(section, SymbolTableSection):
        assert len(ours) == 0
        return
    theirs = list(section.iter_symbols())
    # With DT_GNU_HASH alone, undefined and local symbols that no relocation uses cannot be seen at the end.
    assert len(ours) <= len(theirs)
    unseen = theirs[len(ours) :]
    assert all(s["st_shndx"] == "SHN_UNDEF" or s["st_info"]["bind"] == "STB_LOCAL" for s in unseen)
    theirs = theirs[: len(ours)]
    assert ours.names.texts() == [symbol.name for symbol in theirs]
    assert ours.value.tolist() == [symbol["st_value"] for symbol in theirs]
    assert ours.size.tolist() == [symbol["st_size"] for symbol in theirs]
    defined = [i for i, symbol in enumerate(theirs) if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name]
    for index in defined:
        if theirs[index]["st_info"]["bind"] != "STB_LOCAL":
            assert index in ours.find(theirs[index].name).tolist()
    request, symbol = ours.candidates(ours.names)
    assert all(
        ours.names.raw(a) == ours.names.raw(b) for a, b in zip(request.tolist(), symbol.tolist(), strict=True)
    )


def compare_relocations(decoded: Decoded, path: Path) -> None:
    theirs = []
    relr: list[int] = []
    for section in sections_of(path):
        if isinstance(section, RelocationSection) and section["sh_flags"] & 2:
            for entry in section.iter_relocations():
                addend = entry["r_addend"] if section.is_RELA() else None
                theirs.append((entry["r_offset"], entry["r_info_type"], entry["r_info_sym"], addend))
        elif isinstance(section, RelrRelocationSection):
            relr += [entry["r_offset"] for entry in section.iter_relocations()]
    ours = [
        (offset, type_, symbol, None if table.addend is None else int(table.addend[i]))
        for table in decoded.relocations
        if not table.section.startswith(".android")
        for i, (offset, type_, symbol) in enumerate(
            zip(table.offset.tolist(), table.type.tolist(), table.symbol.tolist(), strict=True)
        )
    ]
    assert sorted(theirs, key=str) == sorted(ours, key=str)
    if relr or not len(decoded.relr):
        assert relr == decoded.relr.tolist()


def compare_versions(decoded: Decoded, path: Path) -> None:
    versym = section_of(path, GNUVerSymSection)
    assert decoded.symbols.has_versions == (versym is not None)
    if isinstance(versym, GNUVerSymSection):
        raw = [symbol["ndx"] for symbol in versym.iter_symbols()]
        named = {"VER_NDX_LOCAL": 0, "VER_NDX_GLOBAL": 1}
        theirs = [named.get(value, value) for value in raw][: len(decoded.symbols)]
        assert theirs == decoded.symbols.version.tolist()
    verdef = section_of(path, GNUVerDefSection)
    defined = [
        (entry["vd_ndx"], entry["vd_flags"], entry["vd_hash"], [aux.name for aux in names])
        for entry, names in (verdef.iter_versions() if isinstance(verdef, GNUVerDefSection) else ())
    ]
    assert defined == [(d.index, d.flags, d.hash, [d.name, *d.parents]) for d in decoded.versions.defined]
    verneed = section_of(path, GNUVerNeedSection)
    needed = [
        (entry.name, aux["vna_other"], aux["vna_flags"], aux["vna_hash"], aux.name)
        for entry, auxes in (verneed.iter_versions() if isinstance(verneed, GNUVerNeedSection) else ())
        for aux in auxes
    ]
    assert needed == [(n.library, n.index, n.flags, n.hash, n.name) for n in decoded.versions.needed]
