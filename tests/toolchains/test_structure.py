"""Each fixture has the structure it was made for, on every target: read with pyelftools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from tests.fixtures import TARGETS, fixture, targets_of
from tests.grouping import each

DF_SYMBOLIC, DF_TEXTREL, DF_STATIC_TLS = 2, 4, 16
SHN_ABS = "SHN_ABS"
SYSV, GNU = "DT_HASH", "DT_GNU_HASH"


@dataclass(frozen=True)
class View:
    """The dynamic section of an open file."""

    elf: ELFFile
    dynamic: DynamicSegment

    @property
    def tags(self) -> set[str]:
        return {str(tag.entry.d_tag) for tag in self.dynamic.iter_tags()}

    def texts(self, tag: str, attribute: str) -> list[str]:
        return [str(getattr(entry, attribute)) for entry in self.dynamic.iter_tags(tag)]

    def number(self, tag: str) -> int:
        return sum(int(entry.entry.d_val) for entry in self.dynamic.iter_tags(tag))


@contextmanager
def opened(target: str, name: str) -> Iterator[View]:
    with fixture(target, name).open("rb") as stream:
        elf = ELFFile(stream)
        yield View(elf, next(seg for seg in elf.iter_segments() if isinstance(seg, DynamicSegment)))


every_target = pytest.mark.parametrize("target", TARGETS)


@every_target
@each(
    ("name", "present", "absent"),
    [
        ("hash_sysv", {SYSV}, {GNU}),
        ("hash_gnu", {GNU}, {SYSV}),
        ("hash_both", {SYSV, GNU}, set()),
        ("hash_empty_sysv", {SYSV}, {GNU}),
        ("ctors", {"DT_INIT", "DT_FINI", "DT_INIT_ARRAY", "DT_FINI_ARRAY"}, {"DT_PREINIT_ARRAY"}),
        ("exe/pie", {"DT_PREINIT_ARRAY", "DT_INIT_ARRAY"}, {"DT_SONAME"}),
        ("rpath/by_rpath", {"DT_RPATH"}, {"DT_RUNPATH"}),
        ("rpath/by_runpath", {"DT_RUNPATH"}, {"DT_RPATH"}),
        ("relr", {"DT_RELR", "DT_RELRSZ"}, set()),
        ("versions/v2/libversions", {"DT_VERSYM", "DT_VERDEF"}, {"DT_VERNEED"}),
        ("versions/client_v2", {"DT_VERSYM", "DT_VERNEED"}, {"DT_VERDEF"}),
        ("versions/client_unversioned", set(), {"DT_VERNEED"}),
        ("deps/no_soname", set(), {"DT_SONAME"}),
        ("textrel", {"DT_TEXTREL"}, set()),
        ("bare", set(), {"DT_NEEDED", "DT_JMPREL"}),
    ],
)
def test_the_dynamic_section_has_the_tags_the_fixture_is_about(
    target: str, name: str, present: set[str], absent: set[str]
) -> None:
    with opened(target, name) as view:
        assert present <= view.tags
        assert not absent & view.tags


@every_target
@each(
    ("name", "needed"),
    [
        ("deps/libtop", ["libmid.so", "libside.so"]),
        ("deps/libcycle_a", ["libcycle_b.so"]),
        ("deps/libcycle_b", ["libcycle_a.so"]),
        ("deps/renamed_client", ["librenamed.so.1"]),
        ("deps/needs_missing", ["libnowhere.so.3", "libalso_nowhere.so"]),
        ("startup/app", ["libmiddle.so", "liblog.so"]),
    ],
)
def test_needed_libraries_are_named_in_link_order(target: str, name: str, needed: list[str]) -> None:
    with opened(target, name) as view:
        assert view.texts("DT_NEEDED", "needed") == needed


@every_target
def test_a_library_may_have_nothing_to_relocate(target: str) -> None:
    with opened(target, "bare") as view:
        assert view.number("DT_RELASZ") + view.number("DT_RELSZ") == 0


@every_target
def test_a_file_may_be_called_otherwise_than_its_soname(target: str) -> None:
    with opened(target, "deps/renamed_file") as view:
        assert view.texts("DT_SONAME", "soname") == ["librenamed.so.1"]


@every_target
@each(
    ("name", "flag", "is_set"),
    [
        ("tls", DF_STATIC_TLS, True),
        ("tls_dynamic", DF_STATIC_TLS, False),
        ("textrel", DF_TEXTREL, True),
        ("symbolic_list", DF_SYMBOLIC, True),
        ("not_symbolic", DF_SYMBOLIC, False),
    ],
)
def test_dynamic_flags_are_as_the_fixture_wants_them(target: str, name: str, flag: int, is_set: bool) -> None:
    with opened(target, name) as view:
        # GNU ld leaves DF_STATIC_TLS out on AArch64, and says DT_TEXTREL alone on LoongArch.
        if is_set and (target, name) in (("aarch64-gcc", "tls"), ("loongarch64-gcc", "textrel")):
            assert name == "tls" or "DT_TEXTREL" in view.tags
            return
        assert bool(view.number("DT_FLAGS") & flag) is is_set


@every_target
def test_datarel_holds_every_binding_and_an_absolute_symbol(target: str) -> None:
    with opened(target, "datarel") as view:
        symbols = {symbol.name: symbol for symbol in view.dynamic.iter_symbols()}
    assert (symbols["abs_symbol"]["st_shndx"], symbols["abs_symbol"]["st_value"]) == (SHN_ABS, 0x1234)
    assert symbols["unique_data"]["st_info"]["bind"] == "STB_LOOS"
    assert symbols["weak_function"]["st_info"]["bind"] == "STB_WEAK"
    assert symbols["missing_data"]["st_info"]["bind"] == "STB_WEAK"
    assert symbols["missing_data"]["st_shndx"] == "SHN_UNDEF"
    assert symbols["protected_data"]["st_other"]["visibility"] == "STV_PROTECTED"
    assert "hidden_data" not in symbols


@every_target
def test_one_name_is_defined_in_two_versions(target: str) -> None:
    with opened(target, "versions/v2/libversions") as view:
        named = [symbol for symbol in view.dynamic.iter_symbols() if symbol.name == "versioned"]
        assert len({symbol["st_value"] for symbol in named}) == 2


@every_target
def test_hash_many_exports_256_symbols(target: str) -> None:
    with opened(target, "hash_many") as view:
        names = [symbol.name for symbol in view.dynamic.iter_symbols()]
    assert {f"symbol_{number:02x}" for number in range(256)} <= set(names)


@every_target
def test_an_image_may_have_no_section_headers(target: str) -> None:
    with opened(target, "basic-nosections") as view:
        assert (view.elf["e_shnum"], view.elf["e_shoff"]) == (0, 0)


@every_target
def test_segments_may_be_laid_out_for_large_pages(target: str) -> None:
    with opened(target, "basic-64k") as view:
        assert {seg["p_align"] for seg in view.elf.iter_segments() if seg["p_type"] == "PT_LOAD"} == {0x10000}


@every_target
def test_dwarf_is_there_to_read_prototypes_from(target: str) -> None:
    for name, version in (("basic-dwarf", 4), ("basic-dwarf5", 5)):
        with opened(target, name) as view:
            units = list(view.elf.get_dwarf_info().iter_CUs())
            assert {unit["version"] for unit in units} == {version}


@pytest.mark.parametrize("target", targets_of("interwork"))
def test_interwork_exports_functions_of_both_instruction_sets(target: str) -> None:
    with opened(target, "interwork") as view:
        values = {symbol.name: symbol["st_value"] for symbol in view.dynamic.iter_symbols()}
    assert (values["from_a32"] & 1, values["from_t32"] & 1) == (0, 1)


@pytest.mark.parametrize("target", targets_of("interwork"))
def test_functions_of_a_target_are_in_its_own_instruction_set(target: str) -> None:
    with opened(target, "basic") as view:
        values = {symbol.name: symbol["st_value"] for symbol in view.dynamic.iter_symbols()}
    assert values["add"] & 1 == target.startswith("thumb")
