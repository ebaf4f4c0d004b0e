"""Files that have not changed are decoded once in a process; files that have are read again."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from relink import Decoded, HostMemory, Linker
from relink.elf import source as files
from relink.search import decoded_cache
from relink.search.decoded_cache import CACHE, DecodedCache
from tests.linker.craft import DATA, Library, Sym

ARCH = "x86_64"


def write(path: Path, value: int) -> Path:
    path.write_bytes(Library(ARCH, "liba.so", symbols=[Sym("it", DATA + value)]).image())
    return path


def loaded(path: Path) -> Decoded:
    """What a new linker makes of a file."""
    return Linker(HostMemory(ARCH)).load(path).decoded


def value_of(decoded: Decoded) -> int:
    (symbol,) = decoded.symbols.find("it").tolist()
    return int(decoded.symbols.value[symbol]) - DATA


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CACHE, "_files", type(CACHE._files)())
    monkeypatch.setattr(CACHE, "enabled", True)
    monkeypatch.setattr(decoded_cache, "_SETTLED", 0)


def test_a_file_that_has_not_changed_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "liba.so", 1)
    first = loaded(path)
    monkeypatch.setattr(files, "map_file", None)  # not even opened
    assert loaded(path) is first


@pytest.mark.parametrize("how", ["in place", "by another", "with its old time", "and another size"])
def test_a_file_that_has_changed_is_read_again(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "liba.so", 1)
    assert value_of(loaded(path)) == 1
    before = path.stat()
    time.sleep(0.02)  # the clock of the file system
    if how == "by another":
        write(tmp_path / "new.so", 2).rename(path)
    else:
        write(path, 2)
    if how == "with its old time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if how == "and another size":
        path.write_bytes(path.read_bytes() + bytes(8))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert value_of(loaded(path)) == 2


def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It might change again within the granularity of its time."""
    monkeypatch.setattr(decoded_cache, "_SETTLED", 10**12)
    path = write(tmp_path / "liba.so", 1)
    assert loaded(path) is not loaded(path)
    assert len(CACHE) == 0


def test_a_file_by_another_name_is_named_so_in_errors(tmp_path: Path) -> None:
    path = write(tmp_path / "liba.so", 1)
    (tmp_path / "link.so").symlink_to(path)
    assert loaded(path).name != loaded(tmp_path / "link.so").name


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "liba.so", 1)
    monkeypatch.setenv("RELINK_EMU_NO_CACHE", "1")
    assert not DecodedCache().enabled
    monkeypatch.setattr(CACHE, "enabled", False)
    assert loaded(path) is not loaded(path)


def test_it_is_bounded_and_forgets_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_cache, "MOST", 3)
    paths = [write(tmp_path / f"lib{number}.so", number) for number in range(5)]
    kept = [loaded(path) for path in paths]
    assert len(CACHE) == 3
    assert loaded(paths[4]) is kept[4]
    assert loaded(paths[0]) is not kept[0]
    monkeypatch.setattr(decoded_cache, "COPIED", 0)
    monkeypatch.setattr(decoded_cache, "MOST_MAPPED", 1)
    loaded(paths[1])
    assert len(CACHE) == 1


def test_several_threads_load_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "liba.so", 7)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(value_of(loaded(path)) for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [7] * 80
