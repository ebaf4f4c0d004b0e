"""Files that are cut short, overwritten, replaced or removed at any phase of a load: an error or a working image.

Each case runs in a process of its own, which an access behind a file's end would kill (SIGBUS).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from relink import HostMemory, Linker, LoadOptions, Phase, SearchPath
from relink.elf.source import COPIED, FileMode, is_mapped
from relink.errors import ElfError, RelinkError
from relink.load.phases import ORDER
from tests.fixtures import fixture

TARGET = "riscv64"
CHANGES: dict[str, Callable[[Path], None]] = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 4096),
    "overwritten": lambda path: _overwrite(path),
    "replaced": lambda path: _replace(path),
    "removed": lambda path: path.unlink(),
}
HARMLESS = {"replaced", "removed"}


def _overwrite(path: Path) -> None:
    """As `cp` does over a file that is there."""
    size = path.stat().st_size
    with open(path, "wb") as file:
        file.write(b"\xff" * size)
    os.utime(path, (1, 1))  # so that it shows however coarse the file system's clock is


def _replace(path: Path) -> None:
    """As a package manager does."""
    new = path.with_suffix(".new")
    new.write_bytes(b"\x7fELF" + b"\xff" * 3000)
    new.rename(path)


def in_child(action: Callable[[], object]) -> str:
    """Run it in a child: "" or what it raised. A signal fails the test."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            action()
        except BaseException:
            os.write(writing, traceback.format_exc().encode("utf-8", "replace")[-60_000:])
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as result:
        text = result.read().decode("utf-8", "replace")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return text


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of more than a MiB, which is mapped."""
    path = tmp_path / "libleaf.so"
    path.write_bytes(fixture(TARGET, "deps/libleaf").read_bytes().ljust(COPIED + 4097, b"\0"))
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_a_large_file_that_changes_during_a_load_is_refused_or_loads(library: Path, change: str) -> None:
    content = library.read_bytes()
    for phase in ORDER[:-1]:

        def load(phase: Phase = phase) -> None:
            memory = HostMemory(TARGET)
            linker = Linker(memory, search=SearchPath({}, [library.parent]))
            under_way = linker.begin(library)
            under_way.run_to(phase)
            assert is_mapped(under_way.nodes[0].decoded.data)  # type: ignore[union-attr]
            CHANGES[change](library)
            if change in HARMLESS:
                under_way.finish()
                return
            with pytest.raises(ElfError, match=r"cut short|has been changed"):
                under_way.finish()
            assert not memory.regions
            assert not linker.images

        assert in_child(load) == "", phase
        library.write_bytes(content)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_copied_may_change_at_any_time(library: Path, change: str) -> None:
    content = library.read_bytes()

    def load() -> None:
        untouched = Linker(HostMemory(TARGET)).load(content)
        linker = Linker(HostMemory(TARGET))
        under_way = linker.begin(library, options=LoadOptions(mapping=FileMode.COPY))
        under_way.run_to(Phase.OPEN)
        CHANGES[change](library)
        image = under_way.finish()
        assert bytes(image.region.buffer) == bytes(untouched.region.buffer)
        assert image.exports == untouched.exports
        assert image.decoded.sections == untouched.decoded.sections

    assert in_child(load) == ""


def test_a_small_file_is_mapped_on_request(tmp_path: Path) -> None:
    path = tmp_path / "leaf.so"
    path.write_bytes(fixture(TARGET, "deps/libleaf").read_bytes())
    for mode, mapped in ((None, False), (FileMode.COPY, False), (FileMode.FILE, True)):
        linker = Linker(HostMemory(TARGET))
        assert is_mapped(linker.load(path, options=LoadOptions(mapping=mode)).decoded.data) is mapped


@pytest.mark.parametrize("change", ["emptied", "cut"])
def test_later_loads_and_questions_say_that_a_library_was_cut_short(library: Path, change: str) -> None:
    def load() -> None:
        linker = Linker(HostMemory(TARGET), search=SearchPath({}, [library.parent]))
        image = linker.load(library)
        section = image.decoded.sections[1]
        CHANGES[change](library)
        with pytest.raises(ElfError, match=r"cut short while it was in use, from 10\d+ bytes to"):
            image.decoded.section_bytes(section)
        with pytest.raises(RelinkError, match="cut short"):
            linker.load(fixture(TARGET, "basic"), options=LoadOptions(unresolved=lambda image, name: 0))
        linker.unload(image)
        linker.load(fixture(TARGET, "basic"), options=LoadOptions(unresolved=lambda image, name: 0))

    assert in_child(load) == ""


def test_only_files_of_images_that_are_loaded_are_watched(library: Path) -> None:
    linker = Linker(HostMemory(TARGET))
    image = linker.load(library)
    assert [*linker.mapped] == [image], "it is mapped, not copied"
    load = linker.begin(library.read_bytes(), name="other.so")
    load.run_to("join")
    os.truncate(library, 0)
    with pytest.raises(ElfError, match="cut short"):
        load.finish()
    assert [*linker.mapped] == [image]
    linker.unload(image)
    linker.load(fixture(f"{TARGET}-clang", "basic"), options=LoadOptions(unresolved=lambda image, name: 0))
    assert not linker.mapped


def test_the_machine_takes_the_option_by_name(tmp_path: Path) -> None:
    from emu import Machine

    with Machine(TARGET) as machine:
        library = machine.load(fixture(TARGET, "deps/libleaf"), mapping="file")
        assert is_mapped(library.image.decoded.data)
