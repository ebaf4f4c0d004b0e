"""Engines and containers: what they say when something is not there, too old, or not theirs to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relink.arch import ARCHITECTURES
from tests.fixtures import ARCHES
from toolchains import build as building
from toolchains.cli import app
from toolchains.engine import Gnu, Llvm, Zig, first_line, require_version
from toolchains.errors import BuildFailed, CompilerMissing, CompilerTooOld, EngineMissing
from toolchains.image import Buildah, Docker, pip_configuration
from toolchains.manifest import read_manifest
from toolchains.matrix import matrix_of
from toolchains.psabi import relocation_names
from toolchains.recipe import Kind, Recipe
from toolchains.recipes import RECIPES
from toolchains.targets import TARGETS, VARIANTS

ROOT = Path(__file__).parents[2]


def toolchains(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "toolchains", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"COLUMNS": "300", **environment},
    )


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("build", "--engine", "zig", "--compiler", "gcc"), "the ziglang wheel has no gcc"),
        (("build", "--engine", "local", "--compiler", "clang"), "the committed clang set is the ziglang wheel's"),
        (("build", "--engine", "turbo"), "turbo"),
        (("check", "--arch", "vax"), "not one of x86_64, i386"),
        (("image", "--engine", "zig"), "zig is no container engine"),
        (("image", "--stage", "roof"), "not one of toolchain, fixtures, test"),
    ],
)
def test_a_wrong_request_is_a_usage_error_that_says_what_is_right(words: tuple[str, ...], answer: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert answer in " ".join(done.output.replace("│", " ").split())


def test_without_a_docker_engine_the_other_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(EngineMissing, match=r"no Docker engine answers here.*--engine buildah.*--engine zig"):
        Docker().build("toolchain")


def test_without_buildah_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(EngineMissing, match="apt-get install buildah debootstrap"):
        Buildah().build("toolchain")


def test_a_missing_cross_compiler_names_its_package_and_the_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(CompilerMissing, match=r"x86_64-linux-gnu-gcc, .*Install gcc-x86-64-linux-gnu .*--engine"):
        Gnu().version(TARGETS["x86_64"])
    with pytest.raises(CompilerMissing, match=r"Install clang-19 lld-19 llvm-19 .*--engine zig"):
        Llvm().version(TARGETS["x86_64"])


def test_an_old_compiler_is_refused_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for tool in ("gcc", "g++", "ld", "ar"):
        fake = tmp_path / f"riscv64-linux-gnu-{tool}"
        fake.write_text("#!/bin/sh\necho 'riscv64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0'\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    first_line.cache_clear()
    with pytest.raises(CompilerTooOld, match=r"riscv64-linux-gnu-gcc is too old .*12\.2\.0.*14\.1 is wanted"):
        Gnu().version(TARGETS["riscv32"])
    first_line.cache_clear()


@pytest.mark.parametrize(
    "line", ["GNU ld (GNU Binutils for Debian) 2.44", "gcc (Debian 14.2.0-19) 14.2.0", "GNU ld 2.43.1"]
)
def test_versions_are_read_from_the_end_of_the_line(line: str) -> None:
    require_version("tool", line, (2, 43))
    with pytest.raises(CompilerTooOld):
        require_version("tool", line, (99, 0))


def test_what_a_linker_merely_warns_of_fails_the_build(tmp_path: Path) -> None:
    """GNU ld says "ignored" and goes on; any word on stderr is taken as a failure."""

    class Warner(Zig):
        def run(self, fixture: str, command: tuple[str, ...], places: object, cwd: Path) -> None:
            warned = ("sh", "-c", "echo warning: -z pack-relative-relocs ignored >&2")
            super().run(fixture, warned, {}, cwd)

    engine = Warner()
    engine.__dict__["path"] = Path("/bin/true")
    engine.version = lambda target=None: "a warner"  # type: ignore[method-assign]
    with pytest.raises(BuildFailed, match="pack-relative-relocs ignored"):
        building.build_one(Recipe("bare", ("hash/bare.c",)), VARIANTS["arm-clang"], engine, tmp_path, None)


def test_every_static_type_promised_is_one_the_psabi_has() -> None:
    for recipe in RECIPES.values():
        for name in recipe.variants:
            variant = VARIANTS[name]
            known = {*relocation_names(variant.target.arch).values(), "RELR", "APS2"}
            assert set(building.expected_types(recipe, variant)) <= known, (recipe.name, name)


def test_objects_of_every_model_promise_types() -> None:
    promising = {recipe.name for recipe in RECIPES.values() if recipe.kind is Kind.OBJECT and recipe.holds_on}
    for model in ("tiny", "medlow", "medany", "kernel", "large", "large_absolute", "medium", "normal", "extreme"):
        assert f"objects/{model}/basic" in promising


@pytest.mark.parametrize("arch", ARCHES)
def test_the_matrix_has_every_type_the_linker_applies(arch: str) -> None:
    rows = {row.name: row for row in matrix_of(arch, read_manifest())}
    names = relocation_names(arch)
    for number in ARCHITECTURES[arch].relocations:
        assert names.get(number, ARCHITECTURES[arch].relocation_name(number)) in rows
    assert sum(bool(row.files) for row in rows.values()) >= 25


def test_pip_configuration_leaves_out_what_names_a_place_on_the_host() -> None:
    listing = (
        "global.index-url='https://index.invalid/simple'\nglobal.find-links='/opt/wheels'\n"
        "global.extra-index-url='file:///opt/simple https://more.invalid/simple'\n:env:.cert='/etc/ssl/x.crt'\n"
    )
    assert pip_configuration(listing) == (
        "[global]\nindex-url = https://index.invalid/simple\nextra-index-url = https://more.invalid/simple\n"
    )


def test_the_image_names_no_mirror_and_no_index() -> None:
    assert "://" not in (ROOT / "Dockerfile").read_text()
