"""The committed fixtures are what the manifest says, and the manifest is what a build makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_E_MACHINE

from tests.fixtures import ARCHES, TARGETS, FixtureMissing, all_fixtures, arch_of, fixture, targets_of, variant_of
from tests.grouping import each
from toolchains import build as building
from toolchains import manifest
from toolchains.engine import Engine, Gnu, Places, Zig, fill
from toolchains.errors import BuildFailed, CompilerMissing, WrongRelocations
from toolchains.manifest import read_manifest, sha256_of
from toolchains.recipe import Kind, Recipe
from toolchains.recipes import RECIPES
from toolchains.relocations import archive_members, relocation_counts
from toolchains.targets import TARGETS as ROWS
from toolchains.targets import VARIANTS, Role, Target

MANIFEST = read_manifest()
ENGINES: dict[str, Engine] = {"clang": Zig(), "gcc": Gnu()}
_MACHINES = {
    "x86_64": "EM_X86_64",
    "i386": "EM_386",
    "aarch64": "EM_AARCH64",
    "arm": "EM_ARM",
    "riscv64": "EM_RISCV",
    "riscv32": "EM_RISCV",
    "loongarch64": "EM_LOONGARCH",
}


@pytest.fixture(scope="session")
def zig() -> Zig:
    engine = Zig()
    try:
        version = engine.version()
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    built_with = {entry.compiler for name, entry in MANIFEST.items() if "-clang/" in name}
    if built_with != {version}:
        pytest.skip(f"the fixtures were built with {', '.join(built_with)}; this is {version}")
    return engine


def test_every_fixture_of_every_target_is_in_the_manifest() -> None:
    assert set(MANIFEST) == {f"{target}/{RECIPES[name].file}" for target, name in all_fixtures(tuple(Kind))}


def test_built_holds_the_files_of_the_manifest_and_no_others() -> None:
    files = {str(path.relative_to(building.BUILT)) for path in building.BUILT.rglob("*") if path.is_file()}
    assert files == set(MANIFEST)


@pytest.mark.parametrize("target", TARGETS)
def test_committed_bytes_have_the_hash_and_size_in_the_manifest(target: str) -> None:
    for name, entry in MANIFEST.items():
        if name.startswith(f"{target}/"):
            path = building.BUILT / name
            assert (sha256_of(path), path.stat().st_size) == (entry.sha256, entry.size), name


def test_no_source_changed_since_the_fixtures_were_built() -> None:
    """Nor a recipe, a flag or a fixture that others are linked against."""
    for target in TARGETS:
        variant = VARIANTS[target]
        for recipe in (recipe for recipe in RECIPES.values() if target in recipe.variants):
            entry = MANIFEST[f"{target}/{recipe.file}"]
            origin = building.origin_of(recipe, variant, ENGINES[variant.compiler], entry.compiler)
            assert origin == entry.origin, f"{target}/{recipe.file}"


def test_all_fixtures_together_stay_small() -> None:
    assert sum(entry.size for entry in MANIFEST.values()) < 9_000_000


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    manifest.write_manifest(MANIFEST, tmp_path)
    (tmp_path / "vax-gcc.json").write_text("{}")
    manifest.write_manifest(MANIFEST, tmp_path)
    for path in manifest.MANIFEST.iterdir():
        assert (tmp_path / path.name).read_text() == path.read_text()
        assert path.stat().st_size < 40_000
    assert not (tmp_path / "vax-gcc.json").exists()


def test_the_manifest_knows_no_place_on_any_machine() -> None:
    for path in manifest.MANIFEST.iterdir():
        text = path.read_text()
        assert str(Path.home()) + "/" not in text
        assert str(manifest.FIXTURES) not in text


@pytest.mark.parametrize("target", TARGETS)
def test_each_file_holds_the_relocation_types_its_recipe_promises(target: str) -> None:
    for name, entry in MANIFEST.items():
        if name.startswith(f"{target}/"):
            counts = relocation_counts(building.BUILT / name, arch_of(target))
            assert counts == dict(entry.relocations), name
            recipe = RECIPES[name.removeprefix(f"{target}/").rpartition(".")[0]]
            assert set(building.expected_types(recipe, VARIANTS[target])) <= set(counts), name


@pytest.mark.parametrize("target", TARGETS)
def test_each_file_is_for_the_machine_and_class_of_its_target(target: str) -> None:
    row = variant_of(target).target
    for name in MANIFEST:
        if name.startswith(f"{target}/"):
            content = (building.BUILT / name).read_bytes()
            members = archive_members(content) if name.endswith(".a") else [(name, content)]
            for member, image in members:
                machine = int.from_bytes(image[18:20], "little")
                assert (machine, 32 * image[4]) == (ENUM_E_MACHINE[_MACHINES[row.arch]], row.bits), member


@pytest.mark.parametrize("target", TARGETS)
def test_objects_are_relocatable_and_named_so(target: str) -> None:
    objects = [name for of, name in all_fixtures((Kind.OBJECT,)) if of == target]
    assert len(objects) > 20
    for name in objects:
        with fixture(target, name).open("rb") as stream:
            assert ELFFile(stream)["e_type"] == "ET_REL", name


@pytest.mark.parametrize("target", TARGETS)
def test_an_archive_keeps_its_members_in_the_order_given(target: str) -> None:
    members = dict(archive_members(fixture(target, "objects/libchain").read_bytes()))
    assert list(members) == ["unused.o", "bottom_with_a_long_member_name.o", "middle.o", "top.o"]
    assert all(image[:4] == b"\x7fELF" for image in members.values())


@pytest.mark.parametrize("arch", ARCHES)
def test_the_fixtures_together_hold_every_relocation_role_the_target_has(arch: str) -> None:
    entries = (entry for name, entry in MANIFEST.items() if arch_of(name.partition("/")[0]) == arch)
    held = {kind for entry in entries for kind in entry.relocations}
    assert {kind.name for kind in ROWS[arch].relocations.values()} <= held


@pytest.mark.exhaustive
def test_a_rebuild_of_a_whole_target_is_byte_identical(zig: Zig, tmp_path: Path) -> None:
    rebuilt = building.build(zig, ["thumb"], built=tmp_path)
    assert building.differences(MANIFEST, rebuilt, tmp_path) == {}


def test_a_file_edited_by_hand_is_found_out(tmp_path: Path) -> None:
    name = "x86_64-gcc/bare.so"
    (tmp_path / "x86_64-gcc").mkdir()
    rebuilt = {name: MANIFEST[name]}
    assert building.differences(MANIFEST, rebuilt, tmp_path) == {name: "is missing: build it"}
    (tmp_path / name).write_bytes((building.BUILT / name).read_bytes())
    assert building.differences(MANIFEST, rebuilt, tmp_path) == {}
    (tmp_path / name).write_bytes(b"by hand")
    assert "was changed by hand" in building.differences(MANIFEST, rebuilt, tmp_path)[name]


def test_only_what_changed_is_built_again(zig: Zig, tmp_path: Path) -> None:
    recipe, variant = RECIPES["basic"], VARIANTS["x86_64-clang"]
    first, fresh = building.build_one(recipe, variant, zig, tmp_path, None)
    assert fresh
    assert building.build_one(recipe, variant, zig, tmp_path, first) == (first, False)
    (tmp_path / "x86_64-clang/basic.so").write_bytes(b"spoiled")
    assert building.build_one(recipe, variant, zig, tmp_path, first) == (first, True)


def test_a_promised_relocation_that_is_missing_fails_the_build(zig: Zig, tmp_path: Path) -> None:
    recipe = Recipe("bare", ("hash/bare.c",), expects=frozenset({Role.COPY}))
    with pytest.raises(WrongRelocations, match="R_X86_64_COPY"):
        building.build_one(recipe, VARIANTS["x86_64-clang"], zig, tmp_path, None)
    assert not (tmp_path / "x86_64-clang/bare.so").exists()


def test_a_compiler_that_complains_fails_the_build_and_is_quoted(zig: Zig, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"unknown argument.*--no-such-flag"):
        building.build_one(
            Recipe("bare", ("hash/bare.c",), ldflags=("--no-such-flag",)),
            VARIANTS["i386-clang"],
            zig,
            tmp_path,
            None,
        )


def test_a_missing_wheel_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CompilerMissing, match=r"ziglang wheel, which is not installed: pip install"):
        Zig().version()


def test_placeholders_are_filled_within_words_and_as_several_words() -> None:
    places: Places = {"work": "/w", "compile": ("-a", "-b")}
    assert fill(("{compile}", "-o{work}/x", "${ORIGIN}"), places) == ["-a", "-b", "-o/w/x", "${ORIGIN}"]


@each("name", RECIPES)
def test_a_recipe_needs_only_what_stands_above_it_for_the_same_targets(name: str) -> None:
    above = list(RECIPES)[: list(RECIPES).index(name)]
    for need in RECIPES[name].needs:
        assert need in above
        assert set(RECIPES[name].variants) <= set(RECIPES[need].variants)


def test_fixture_names_what_is_wrong_with_a_request() -> None:
    assert fixture("thumb-gcc", "basic").parent.name == "thumb-gcc"
    assert fixture("thumb", "basic").parent.name == "thumb-clang"
    assert arch_of("thumb-gcc") == arch_of("thumb") == "arm"
    assert targets_of("interwork") == ("arm-clang", "arm-gcc", "thumb-clang", "thumb-gcc")
    with pytest.raises(FixtureMissing, match="no target vax"):
        fixture("vax", "basic")
    with pytest.raises(FixtureMissing, match="no fixture sick"):
        fixture("arm", "sick")
    with pytest.raises(FixtureMissing, match="interwork is not built for riscv64, only for arm-clang, arm-gcc"):
        fixture("riscv64", "interwork")
    with pytest.raises(pytest.skip.Exception, match="cannot be built for i386-gcc: GNU ld has no Android packed"):
        fixture("i386-gcc", "android")


def test_a_target_knows_its_relocations_by_role() -> None:
    row: Target = ROWS["loongarch64"]
    assert row.relocations[Role.GLOB_DAT] == row.relocations[Role.SYMBOLIC]
