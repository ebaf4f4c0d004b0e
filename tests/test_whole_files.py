"""Files that are written whole: whatever stops that, what was there stays, and nothing lies beside it."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import pytest

from emu import Machine
from emu.debug.coverage.files import merge_files
from relink import HostMemory, Linker
from relink.export.whole_file import whole_file, write_whole
from tests.fixtures import fixture
from tests.interrupts import interrupted


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupt_anywhere_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, old, new = tmp_path / "file", {"file": b"old"}, {"file": b"new"}
    for number in count(1):
        path.write_bytes(b"old")
        passed = interrupted(lambda: write_whole(path, b"new"), number, starts=True)
        assert _content(tmp_path) in (old, new), number
        if passed < number:
            break
    assert number > 10
    assert _content(tmp_path) == new


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def stop() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    for content in ({}, {"file": b"old"}):
        with pytest.raises(ZeroDivisionError):
            stop()
        assert _content(tmp_path) == content
        path.write_bytes(b"old")


def test_links_permissions_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to("file")
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    write_whole("/dev/null", b"new")
    assert Path("/dev/null").is_char_device()
    reader, writer = os.pipe()
    write_whole(f"/proc/self/fd/{writer}", b"to a pipe")
    assert os.read(reader, 100) == b"to a pipe"
    os.close(reader)
    os.close(writer)
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "none" / "file", b"")
    assert caught.value.filename == str(tmp_path / "none" / "file")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_disk_is_an_error_with_the_files_name(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(link, b"new")
    assert caught.value.filename == str(link)


@pytest.mark.parametrize("what", ["snapshot", "image", "trace", "coverage", "merged coverage"])
def test_what_is_written_for_users_is_whole(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last step fails: each is made by it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(source: object, target: object) -> None:
        raise KeyboardInterrupt

    def write(machine: Machine) -> None:
        with machine.trace() as trace, machine.coverage() as coverage:
            pass
        snapshot = machine.snapshot()
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", refuse)
            match what:
                case "snapshot":
                    snapshot.save(path)
                case "image":
                    image = Linker(HostMemory("x86_64")).load(fixture("x86_64", "ctors"))
                    image.export(path, "bin")
                case "trace":
                    trace.save(path)
                case "coverage":
                    coverage.save(path)
                case _:
                    merge_files([], path)

    with Machine("x86_64") as machine, pytest.raises(KeyboardInterrupt):
        write(machine)
    assert _content(tmp_path) == {"file": b"old"}
