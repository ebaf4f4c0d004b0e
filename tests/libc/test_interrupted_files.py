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
                files.unlink(path.encode())
            assert (files.limit.used, files.children("/tmp")) == before, number
        assert points > 100


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
