"""Signal handlers that raise as the guest's files change: each is there once, and charged once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu import Machine
from emu.libc.filesystem import FileSystem, file_system
from tests.interrupts import interrupted

READ_WRITE_CREATE = 0o102
ONE, OTHER = "/tmp/one", "/tmp/other"


def _made(files: FileSystem) -> None:
    for name in (ONE, OTHER):
        number = files.open(name.encode(), READ_WRITE_CREATE, 0o640)
        files.get(number).write(name.encode())
        files.close(number)


def _unlinked(files: FileSystem) -> None:
    _made(files)
    files.unlink(ONE.encode())


def _renamed(files: FileSystem) -> None:
    _made(files)
    files.rename(ONE.encode(), OTHER.encode())


@pytest.mark.parametrize("operation", [_made, _unlinked, _renamed])
def test_files_are_whole_and_charged_once(operation: Callable[[FileSystem], None]) -> None:
    with Machine("x86_64") as machine:
        files = file_system(machine.libc)
        before = files.limit.used, files.children("/tmp")
        points = interrupted(lambda: operation(files), 0, starts=True)
        for number in range(1, points + 2):
            interrupted(lambda: operation(files), number, starts=True)
            there = [path for path in (ONE, OTHER) if path in files.files]
            assert files.children("/tmp") == [path.rpartition("/")[2] for path in there], number
            for path in there:
                assert files.status(path.encode()).mode & 0o777 == 0o640, number
                files.unlink(path.encode())
            assert (files.limit.used, files.children("/tmp")) == before, number
        assert points > 100


def _folder_emptied(files: FileSystem, path: str) -> None:
    for name in files.children(path):
        below = f"{path}/{name}"
        is_file = below in files.files
        assert files.find_node(below).mode == (0o640 if is_file else 0o700), below
        if is_file:
            files.unlink(below.encode())
        else:
            _folder_emptied(files, below)
            files.remove_directory(below.encode())


_CHANGES: dict[str, Callable[[FileSystem], None]] = {
    "made": lambda files: files.make_directory(b"/tmp/new", 0o700),
    "removed": lambda files: files.remove_directory(b"/tmp/a longer name"),
    "renamed": lambda files: files.rename(b"/tmp/old", b"/tmp/a longer name"),
}


@pytest.mark.parametrize("change", list(_CHANGES))
def test_folders_are_whole_and_charged_once(change: str) -> None:
    with Machine("x86_64") as machine:
        files = file_system(machine.libc)
        before = files.limit.used
        number, points = 0, 1
        while number <= points:
            for path in (b"/tmp/old", b"/tmp/old/below", b"/tmp/a longer name"):
                files.make_directory(path, 0o700)
            files.close(files.open(b"/tmp/old/below/file", READ_WRITE_CREATE, 0o640))
            points = max(points, interrupted(lambda: _CHANGES[change](files), number))
            whole = {len(files.children(path)) for path in ("/tmp/old", "/tmp/a longer name")}
            assert whole == {0, 1}, f"{number}: a part was moved"
            _folder_emptied(files, "/tmp")
            assert files.limit.used == before, number
            number += 1
        assert number > 5


def test_a_file_that_is_renamed_is_never_gone() -> None:
    with Machine("x86_64") as machine:
        files = file_system(machine.libc)
        number, points = 1, 1
        while number <= points:
            _made(files)
            points = max(points, interrupted(lambda: files.rename(ONE.encode(), OTHER.encode()), number) + 1)
            moved = bytes(files.files[OTHER]) == ONE.encode()
            assert (ONE not in files.files) == moved, number
            assert files.status(OTHER.encode()).mode & 0o777 == 0o640
            number += 1
        assert number > 20
