"""Threads whose machines share a decoded file read its debug information as one thread does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu.calls.declared import types_of
from emu.calls.types import Pointer, Struct
from relink import Decoded, decode
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
