"""Linker scripts where a library is named, as glibc's libm.a and libc.so are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from relink import HostMemory, LibraryNotFound, Linker, LoadOptions, NotElf, SearchPath, UnsupportedElf
from relink.objects.archive_members import header_of
from tests.fixtures import TARGETS, arch_of, fixture
from tests.grouping import each

TARGET = "riscv64-gcc"
TOP = LoadOptions(undefined=["archive_top"])  # not all of the archive: a member refers to what nobody defines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive and a shared object of one target, for scripts to name."""
    shutil.copy(fixture(TARGET, "objects/libchain"), tmp_path / "libchain.a")
    shutil.copy(fixture(TARGET, "deps/libleaf"), tmp_path / "libleaf.so")
    return tmp_path


def script(folder: Path, text: str, name: str = "libs.a") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def linker(**search: object) -> Linker:
    return Linker(HostMemory("riscv64"), search=SearchPath(**search))  # type: ignore[arg-type]


SPELLINGS = [
    "/* GNU ld script */\nOUTPUT_FORMAT(elf64-littleriscv)\nGROUP ( libchain.a )\n",
    "INPUT(-lchain)",
    "INPUT(libchain.a, )",
    'GROUP("libchain.a");',
    "SEARCH_DIR(=/usr/lib) /* a\nlong */ INPUT ( AS_NEEDED ( libabsent.so ) libchain.a )",
    "GROUP ( {folder}/libchain.a )",
    "INPUT(inner.a)",
]


@pytest.mark.parametrize("target", TARGETS)
def test_a_script_stands_for_the_archive_it_names(target: str, tmp_path: Path) -> None:
    shutil.copy(fixture(target, "objects/libchain"), tmp_path / "libchain.a")
    path = script(tmp_path, "/* GNU ld script */ GROUP ( libchain.a )")
    image = Linker(HostMemory(arch_of(target))).load(path, options=TOP)
    assert image.name == str(path)
    assert image.symbol("archive_middle").address
    assert header_of(path).machine == image.decoded.header.machine


def test_scripts_are_spelled_in_several_ways(folder: Path) -> None:
    script(folder, "GROUP(libchain.a)", "inner.a")
    for text in SPELLINGS:
        image = linker().load(script(folder, text.replace("{folder}", str(folder))), options=TOP)
        assert image.symbol("archive_top").address, text


def test_a_shared_object_among_archives_is_what_is_loaded(folder: Path) -> None:
    path = script(folder, "GROUP ( libleaf.so libchain.a AS_NEEDED ( /lib64/ld.so ) )", "libleaf-script.so")
    image = linker().load(path)
    assert image.name.endswith("/libleaf.so")
    assert image.symbol("leaf").address


def test_a_script_among_objects_gives_its_files_to_the_link(folder: Path) -> None:
    words = fixture(TARGET, "objects/words")
    path = script(folder, "INPUT(libchain.a libleaf.so)")
    loaded = linker()
    image = loaded.load([words, path], options=LoadOptions(unresolved=lambda image, symbol: 0))
    assert image.decoded.header.type == 1
    assert [other.short_name for other in loaded.images if other is not image] == ["libleaf.so"]


REFUSED = [
    ("GROUP ( libabsent.a )", LibraryNotFound, "libabsent.a"),
    ("INPUT(-labsent)", LibraryNotFound, "absent"),
    ("INPUT(/etc/passwd)", LibraryNotFound, "outside the script's own folder"),
    ("INPUT(../escape.a)", LibraryNotFound, "outside the script's own folder"),
    ("INPUT(loop.a libchain.a)", LibraryNotFound, "loop.a"),
    ("GROUP ( libchain.a", UnsupportedElf, "no closing parenthesis"),
    ("GROUP ( )", UnsupportedElf, "names no file"),
    ("OUTPUT_FORMAT(elf64-littleriscv)", UnsupportedElf, "names no file"),
    ("INPUT(libchain.a)\nSECTIONS { .text : { *(.text) } }", UnsupportedElf, "SECTIONS"),
    ("INPUT(libs.a)", UnsupportedElf, "deep"),
    ("INPUT(--foo)", UnsupportedElf, "--foo"),
]


@each(("text", "kind", "words"), REFUSED)
def test_a_script_that_cannot_be_followed_is_an_error_that_names_it(
    text: str, kind: type[Exception], words: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copy(fixture(TARGET, "objects/libchain"), folder / "libchain.a")
    (folder / "loop.a").symlink_to("loop.a")
    shutil.copyfile(fixture(TARGET, "objects/libchain"), folder.parent / "escape.a")  # again for each member
    with pytest.raises(kind, match=words) as caught:
        linker().load(script(folder, text))
    assert "libs.a" in str(caught.value)


def test_paths_of_a_script_in_a_sysroot_stay_inside_it(folder: Path) -> None:
    root = folder / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").mkdir()
    shutil.move(folder / "libchain.a", root / "lib/libchain.a")
    for text in ("GROUP(/lib/libchain.a)", "GROUP(=/lib/libchain.a)", "GROUP(../../../../lib/libchain.a)"):
        path = script(root / "usr/lib", text)
        assert linker(sysroot=root).load(path, options=TOP).symbol("archive_top").address, text
    outside = os.path.relpath(fixture(TARGET, "objects/libchain"), root / "usr/lib")
    with pytest.raises(LibraryNotFound):
        linker(sysroot=root).load(script(root / "usr/lib", f"INPUT({outside})"))


def test_a_script_that_is_needed_is_passed_over_by_name(folder: Path) -> None:
    """ld.so does not read scripts either."""
    data = b"/* GNU ld script */ INPUT ( libleaf.so.1 )"
    with pytest.raises(NotElf, match="is a linker script"):
        linker().load(data)
