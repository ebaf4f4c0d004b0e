"""Files that have not changed are decoded once in a process; files that have are read again."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from relink import Decoded, HostMemory, Linker, LoadOptions, decode
from relink.elf import source as files
from relink.elf.debug_lock import READING
from relink.resolve.sources import DefinedSymbols
from relink.search import decoded_cache
from relink.search.decoded_cache import CACHE, DecodedCache
from tests.counting import python_calls
from tests.elf.build_object import Sym as ObjectSym
from tests.elf.build_object import simple_object
from tests.interrupts import interrupted
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
    for name, value in vars(DecodedCache()).items():
        monkeypatch.setattr(CACHE, name, value)
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


def image(value: int) -> bytes:
    return Library(ARCH, "liba.so", symbols=[Sym("it", DATA + value)]).image()


def test_an_image_given_as_bytes_is_decoded_once() -> None:
    first, other = (Linker(HostMemory(ARCH)).load(image(1)) for _ in range(2))
    assert first.decoded is other.decoded
    assert value_of(Linker(HostMemory(ARCH)).load(image(2)).decoded) == 2
    changed = bytearray(image(1))
    linker = Linker(HostMemory(ARCH))
    before = linker.load(changed, name="one").decoded
    changed[:] = image(3)
    assert (value_of(before), value_of(linker.load(changed, name="two").decoded)) == (1, 3)
    assert linker.load(image(1), name="three").name == "three"


def test_one_image_given_as_bytes_is_loaded_twice() -> None:
    linker = Linker(HostMemory(ARCH))
    first, second = (linker.load(image(1)) for _ in range(2))
    assert first is not second
    assert first.base != second.base
    linker.unload(first)
    assert not second.closed


def test_an_object_is_linked_once_for_the_same_options() -> None:
    content = simple_object([ObjectSym("one", bind=1, type=2, section=1)])

    def linked(**options: object) -> Decoded:
        return Linker(HostMemory(ARCH)).load(content, options=LoadOptions(**options)).decoded  # type: ignore[arg-type]

    assert linked() is not linked(), "from the second time on it is kept: it may be one of thousands of fragments"
    first = linked()
    assert linked() is first
    assert linked(undefined=["one"]) is not first
    assert linked(sources=[DefinedSymbols({"one": 0x1000})]) is not first
    assert linked(wrap=["one"]) is not first
    assert linked(undefined=["one"]) is linked(undefined=("one",))
    assert linked() is first


def test_a_hex_file_is_for_the_architecture_of_each_load(tmp_path: Path) -> None:
    path = tmp_path / "firmware.hex"
    path.write_text(":0400000001020304F2\n:00000001FF\n")
    decoded = {arch: Linker(HostMemory(arch)).load(path).decoded for arch in ("arm", "riscv32", "x86_64")}
    assert len({found.header.machine for found in decoded.values()}) == len(decoded)
    assert Linker(HostMemory("arm")).load(path).decoded is decoded["arm"]


def test_what_is_kept_by_its_bytes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(image(0))
    monkeypatch.setattr(decoded_cache, "MOST_BYTES", 3 * size)
    linker = Linker(HostMemory(ARCH))
    kept = [linker.load(image(value)).decoded for value in range(3)]
    assert linker.load(image(0)).decoded is kept[0]
    linker.load(image(3))
    assert len(CACHE) == 3
    assert linker.load(image(0)).decoded is kept[0]
    assert linker.load(image(1)).decoded is not kept[1]
    monkeypatch.setattr(decoded_cache, "COPIED", size - 1)
    assert linker.load(image(4)).decoded is not linker.load(image(4)).decoded


def test_it_is_bounded_and_forgets_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_cache, "MOST", 3)
    paths = [write(tmp_path / f"lib{number}.so", number) for number in range(5)]
    kept = [loaded(path) for path in paths]
    assert len(CACHE) == 3
    assert loaded(paths[4]) is kept[4]
    assert loaded(paths[0]) is not kept[0]
    monkeypatch.setattr(decoded_cache, "COPIED", 0)
    monkeypatch.setattr(decoded_cache, "MOST_MAPPED", 1)
    CACHE.clear()
    kept = [loaded(path) for path in paths[:2]]
    assert len(CACHE) == 1
    assert loaded(paths[1]) is kept[1]


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


def _load_and_unload(linker: Linker, content: bytes) -> None:
    linker.unload(linker.load(content))


def test_keeping_one_more_does_not_look_at_all_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    linker = Linker(HostMemory(ARCH))
    calls = {}
    for value in range(1, 203):
        load = partial(_load_and_unload, linker, image(value))
        if value in (101, 202):
            calls[value] = python_calls(load)
        else:
            load()
    assert len(CACHE) == 202
    assert calls[202] <= calls[101] + 3


def test_an_interrupt_anywhere_leaves_a_cache_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded_cache, "MOST", 3)
    monkeypatch.setattr(decoded_cache, "COPIED", 0)
    monkeypatch.setattr(decoded_cache, "MOST_MAPPED", 2)
    contents = [image(value) for value in range(1, 9)]
    monkeypatch.setattr(decoded_cache, "MOST_BYTES", 2 * len(contents[0]))
    decoded = [decode(content) for content in contents]
    for number in range(100):
        cache = DecodedCache()

        def put(which: int, cache: DecodedCache = cache) -> None:
            cache.put((contents[which], None), decoded[which])

        def use(cache: DecodedCache = cache) -> None:
            for which in (2, 3):
                cache.put((contents[which], None), decoded[which])
                cache.get((contents[which - 1], None))

        put(0)
        put(1)
        passed = interrupted(use, number)
        for which in (4, 5, 6, 7):
            put(which)
            assert cache.get((contents[which], None)) is decoded[which]
        assert len(cache) == len(cache._bytes) == 2
        assert len(cache._mapped) <= 2
        if passed < number:
            break
    assert 10 < number < 99


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_that_it_has_not(tmp_path: Path) -> None:
    path = write(tmp_path / "liba.so", 7)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with CACHE._lock, READING:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(30)  # ends the child
            with READING:
                status = value_of(loaded(path))
        finally:
            os._exit(status)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
