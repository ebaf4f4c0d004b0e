"""Threads whose machines share a decoded file read its debug information as one thread does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emu.calls.declared import types_of
from emu.calls.types import Pointer, Struct
from relink import Decoded, decode
from relink.elf import dwarf_lines, dwarf_units, dwarf_walk
from relink.elf.dwarf import debug_types
from relink.elf.dwarf_lines import source_line
from tests.objects.build import compiled, linked

_COUNT, _THREADS = 40, 4
_SOURCE = "\n".join(
    f"struct s{n} {{ int a{n}; struct s{(n + 1) % _COUNT} *next; double b[{n + 1}]; }};\n"
    f"int f{n}(struct s{n} *p, int b) {{ return b + {n}; }}\n"
    for n in range(_COUNT)
)


@pytest.fixture(autouse=True)
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def path() -> Path:
    return linked("x86_64", [compiled("x86_64", _SOURCE, "-g", "-fPIC", "-w")])


def members(decoded: Decoded, number: int, address: int) -> object:
    """What a function's structure holds, and the one that it points to."""
    types = types_of(decoded, "x86_64")
    assert types is not None
    prototype = types.prototype(f"f{number}", address)
    assert prototype is not None
    pointer = prototype.parameters[0].type
    assert isinstance(pointer, Pointer)
    assert isinstance(pointer.target, Struct)
    named = pointer.target.fields
    following = named["next"].type
    assert isinstance(following, Pointer)
    assert isinstance(following.target, Struct)
    return pointer.target.size, list(named), following.target.size, list(following.target.fields)


READERS: dict[str, Callable[[Decoded, int, int], object]] = {
    "types": members,
    "prototypes": lambda decoded, number, address: debug_types(decoded).prototype(f"f{number}", address),
    "by name": lambda decoded, number, address: debug_types(decoded).prototype(f"f{number}"),
    "lines": lambda decoded, number, address: source_line(decoded, address),
}


@pytest.mark.parametrize("reader", READERS)
def test_they_find_what_one_finds(path: Path, reader: str) -> None:
    read = READERS[reader]

    def all_of(decoded: Decoded, step: int = 1) -> dict[int, object]:
        numbers = [number * step % _COUNT for number in range(_COUNT)]
        addresses = {n: int(decoded.symbols.value[decoded.symbols.find(f"f{n}")[0]]) for n in numbers}
        return {n: read(decoded, n, addresses[n]) for n in numbers}

    expected = all_of(decode(path))
    assert None not in expected.values()
    shared, found, begin = decode(path), list[object](), threading.Barrier(_THREADS)

    def work(step: int) -> None:
        begin.wait()
        try:
            found.append(all_of(shared, step))
        except BaseException as error:
            found.append(error)

    threads = [threading.Thread(target=work, args=(step,)) for step in (1, 3, 7, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * _THREADS


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("reader", READERS)
def test_a_forked_child_reads_anew_what_another_thread_was_reading(
    path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, decoded = READERS[reader], decode(path)
    address = int(decoded.symbols.value[decoded.symbols.find("f7")[0]])
    expected = read(decode(path), 7, address)
    held, done = threading.Event(), threading.Event()

    def stopped(walk: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def walking(*arguments: object) -> Iterator[Any]:
            for each in walk(*arguments):
                if threading.current_thread() is thread:
                    held.set()
                    done.wait()
                yield each

        return walking

    monkeypatch.setattr(dwarf_units, "members", stopped(dwarf_walk.members))
    monkeypatch.setattr(dwarf_lines.LineTable, "_read", stopped(dwarf_lines.LineTable._read))
    thread = threading.Thread(target=lambda: read(decoded, 7, address))
    thread.start()
    assert held.wait(30)
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(30)  # ends the child
            status = int(read(decoded, 7, address) != expected)
        finally:
            os._exit(status)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
