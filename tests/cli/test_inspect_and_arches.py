"""`relink-emu inspect` and `relink-emu arches`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from relink.arch import ARCHITECTURES
from tests.fixtures import ARCHES, arch_of, fixture

from .conftest import RunCommand

pytestmark = pytest.mark.one_compiler


def section_named(elf: ELFFile, name: str) -> Any:
    return elf.get_section_by_name(name)


def test_facts_agree_with_pyelftools(relink_emu: RunCommand, target: str) -> None:
    path = fixture(target, "versions/client_v2")
    report = relink_emu("inspect", path, "--json").json
    with path.open("rb") as file:
        elf = ELFFile(file)
        symbols = list(section_named(elf, ".dynsym").iter_symbols())[1:]
        assert report["arch"] == arch_of(target)
        assert report["bits"] == elf.elfclass
        assert [s["name"] for s in report["symbols"]] == [symbol.name for symbol in symbols]
        assert report["imported"] == sum(symbol["st_shndx"] == "SHN_UNDEF" for symbol in symbols)
        assert [int(s["vaddr"], 16) for s in report["segments"]] == [s["p_vaddr"] for s in elf.iter_segments()]
        sections: list[Any] = list(elf.iter_sections())
        tables = {s.name: s.num_relocations() for s in sections if s.name.startswith((".rela.", ".rel."))}
    assert {name: sum(counts.values()) for name, counts in report["relocations"].items()} == tables
    assert {(v["library"], v["version"]) for v in report["versions_needed"]} == {
        ("libversions.so", "V1"),
        ("libversions.so", "V2"),
    }


def test_report_for_people_has_every_part(relink_emu: RunCommand, target: str) -> None:
    out = relink_emu("inspect", fixture(target, "ctors"), "--symbols").out
    parts = (
        "shared object", arch_of(target), "DT_INIT, 3 in init_array", "3 in fini_array, DT_FINI", "Segments",
        "LOAD", "Dynamic section", "Relocations", "RELATIVE", "Symbols", "order_count",
    )  # fmt: skip
    assert [part for part in parts if part not in out] == []


def test_symbols_of_versions_are_shown_with_them(relink_emu: RunCommand) -> None:
    out = relink_emu("inspect", fixture("riscv64", "versions/v2/libversions"), "--symbols").out
    assert "versioned@@V2" in out
    assert "versioned@V1" in out


def test_packed_relative_relocations_are_counted(relink_emu: RunCommand, target: str) -> None:
    relocations = relink_emu("inspect", fixture(target, "relr"), "--json").json["relocations"]
    assert relocations[".relr.dyn"]["RELR"] > 0


def test_tls_and_hash_kinds(relink_emu: RunCommand) -> None:
    assert relink_emu("inspect", fixture("arm", "tls_static"), "--json").json["tls"]["size"] > 0
    assert relink_emu("inspect", fixture("arm", "basic"), "--json").json["tls"] is None
    for kind in ("sysv", "gnu"):
        assert relink_emu("inspect", fixture("arm", f"hash_{kind}"), "--json").json["hash_tables"] == [kind]


def test_executables_are_told_apart(relink_emu: RunCommand) -> None:
    pie = relink_emu("inspect", fixture("aarch64", "exe/pie"), "--json").json
    assert pie["kind"] == "position-independent executable"


def test_named_architecture_must_be_the_files(relink_emu: RunCommand) -> None:
    path = fixture("riscv64", "basic")
    assert relink_emu("inspect", path, "--arch", "rv64").status == 0
    result = relink_emu("inspect", path, "--arch", "rv32")
    assert result.status == 1
    assert "is for riscv64, not riscv32" in result.err


def test_machine_that_is_not_emulated_can_still_be_looked_at(relink_emu: RunCommand, tmp_path: Path) -> None:
    data = bytearray(fixture("x86_64", "basic").read_bytes())
    data[18:20] = (21).to_bytes(2, "little")  # e_machine: PowerPC 64
    path = tmp_path / "ppc64.so"
    path.write_bytes(data)
    report = relink_emu("inspect", path, "--json").json
    assert (report["arch"], report["machine"]) == (None, 21)
    assert "unsupported: PowerPC64, 64 bit" in relink_emu("inspect", path).out
    result = relink_emu("load", path)
    assert result.status == 1
    assert "is for PowerPC64" in result.err


def test_terminal_controls_in_names_are_escaped(relink_emu: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "evil.so"
    path.write_bytes(fixture("x86_64", "basic").read_bytes().replace(b"awesome_func", b"a\x1b[2J\x07e_func"))
    out = relink_emu("inspect", path, "--symbols").out
    assert "\x1b" not in out
    assert r"a\x1b[2J\x07e_func" in out


def test_arches_lists_all_seven_with_their_engines(relink_emu: RunCommand) -> None:
    entries = {entry["name"]: entry for entry in relink_emu("arches", "--json").json["architectures"]}
    assert set(entries) == set(ARCHES) == set(ARCHITECTURES)
    assert entries["loongarch64"]["engine"] == "icicle"
    assert {entry["engine"] for name, entry in entries.items() if name != "loongarch64"} == {"unicorn"}
    assert all(entry["relocations"] == len(ARCHITECTURES[name].relocations) for name, entry in entries.items())
    out = relink_emu("arches").out
    assert all(name in out for name in ARCHITECTURES)


@pytest.mark.parametrize("alias", ["x86", "i686", "arm64", "armhf", "thumb", "rv64", "loong64", "AMD64", "x86-64"])
def test_every_alias_people_type_is_taken(relink_emu: RunCommand, alias: str) -> None:
    from relink.arch import architecture

    target = architecture(alias).name
    assert relink_emu("inspect", fixture(target, "basic"), "--arch", alias).status == 0
