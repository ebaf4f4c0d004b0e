"""icicle draws no random numbers, on which its compiled code would depend: that is always the same."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from emu import Machine
from emu.cpu.hooks.host_code import HOST, host_function
from emu.cpu.hooks.linkage import Linkage
from emu.cpu.icicle import engine as engines
from emu.cpu.icicle import fixed_order
from emu.cpu.icicle.engine import Engine
from tests.cpu.host_hooks import HOSTS, mapped_hooks
from tests.loongarch64.assembler import code, insn
from tests.loongarch64.test_icicle_cpu import CODE, PAGE

_BREAK = 0x002A_0000

#: Notes who asks for random numbers, in a process of its own: it asks once in a thread.
_ASKED = """
import ctypes, threading
from emu.cpu.icicle import engine, fixed_order
asked = []
@ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_uint)
def drawn(buffer, size, flags):
    asked.append(size)
    ctypes.memset(buffer, 1, size)
    return size
fixed_order.host_function = lambda name: ctypes.cast(drawn, ctypes.c_void_p).value
engine.Engine()
print(asked)
thread = threading.Thread(target=engine.Engine)
thread.start()
thread.join()
print(asked)
"""


def _function() -> int:
    function = host_function("random.fixed")
    if function is None:
        pytest.skip("there is no machine code for this host")
    return function


@pytest.mark.parametrize("host", HOSTS)
def test_its_numbers_are_always_the_same(host: str) -> None:
    drawn = set[bytes]()
    with Machine(host) as machine:
        draw, buffer = mapped_hooks(machine, host)["random.fixed"], machine.heap.malloc(40)
        for size in (16, 16, 9, 1, 0):
            machine.memory.write(buffer, b"-" * 40)
            assert machine.call(draw, "long(void *, size_t, unsigned)", buffer, size, 0) == size
            content = machine.memory.read(buffer, 40)
            assert content[size:] == b"-" * (40 - size)
            drawn.add(content[:size])
    assert sorted(map(len, drawn)) == [0, 1, 9, 16]
    assert len(set(next(each for each in drawn if len(each) == 16))) > 8


def test_they_are_in_the_place_of_random_numbers() -> None:
    function, spec = _function(), find_spec("icicle")
    Engine()
    assert spec is not None
    assert spec.origin is not None
    for library in Path(spec.origin).parent.glob("icicle*.so"):
        places = list(Linkage(ctypes.CDLL(str(library))).of_name("getrandom"))
        assert places
        assert {ctypes.c_uint64.from_address(place).value for place in places} == {function}


def test_they_are_there_before_icicle_draws_any() -> None:
    _function()
    ran = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.split("\n")[:2] == ["[16, 16]", "[16, 16, 16]"], "once by `begin_again`"


def _compiled(raw: Any) -> bytes:
    """What an engine compiles for instructions that write many registers and then access memory, up to the first
    address of the host in it: in a `movabs`, or in 32 bits, as of the heap of a Python at a fixed place.
    """
    written = [insn("add.d", 4 + number % 20, 5 + number % 19, 6 + number % 17) for number in range(20)]
    before = _executable()
    _run(raw, code(*written, insn("ld.d", 12, 3, 0), _BREAK))
    (made,) = (content for place, content in _executable().items() if before.get(place) != content)
    wide = re.finditer(rb"(?=[\x48\x49][\xb8-\xbf].{6}\0\0)", made, re.DOTALL)
    narrow = re.finditer(rb"(?=[\xb8-\xbf](.{4}))", made, re.DOTALL)
    heap = _heap()
    places = [*wide, *(found for found in narrow if int.from_bytes(found[1], "little") in heap)]
    return made[: min(found.start() for found in places)]


def _heap() -> range:
    """The addresses of this process's heap."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    parts = [line.split()[0].split("-") for line in lines if line.endswith("[heap]")]
    return range(int(parts[0][0], 16), int(parts[-1][1], 16)) if parts else range(0)


def _run(raw: Any, content: bytes) -> None:
    raw.mem_map(CODE, PAGE, engines._words().protections[5])
    raw.mem_write(CODE, content)
    raw.pc, raw.icount, raw.icount_limit = CODE, 0, 1
    raw.run()


def _executable() -> dict[int, bytes]:
    """The executable memory of this process that is of no file."""
    content = dict[int, bytes]()
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if fields[1] == "r-xp" and fields[5:] in ([], ["[heap]"]):
            start, end = (int(field, 16) for field in fields[0].split("-"))
            content[start] = ctypes.string_at(start, end - start)
    return content


def test_all_engines_compile_the_same_code() -> None:
    _function()
    if HOST != "x86_64":
        pytest.skip("other instructions have addresses of the host")
    first, second, third = (engines._create(jit=True) for _ in range(3))
    wide = [0x7127_0000 | n | (n + 1) % 32 << 5 | (n + 2) % 32 << 10 for n in range(0, 32, 3)]
    _run(third, code(*wide, _BREAK))  # more registers than any other block
    third.reset()
    expected = _compiled(first)
    assert len(expected) > 400
    assert _compiled(second) == expected
    assert _compiled(third) == expected


def test_the_numbers_are_set_again_in_each_thread() -> None:
    _function()
    library, numbers = engines._words().library, list[int]()

    def create() -> None:
        fixed_order.begin_again(library)  # icicle has drawn none in a new thread
        for _ in range(2):
            engines._create(jit=False)
            words = Linkage(ctypes.CDLL(library)).thread_words()
            place = fixed_order._first_number(words)
            assert place is not None
            numbers.append(words[place])

    thread = threading.Thread(target=create)
    thread.start()
    thread.join()
    assert len(numbers) == 2
    create()
    assert len(numbers) == 4
    assert len(set(numbers)) == 1


def test_a_library_without_variables_of_threads_has_none() -> None:
    spec = find_spec("_ctypes")
    assert spec is not None
    assert spec.origin is not None
    assert len(Linkage(ctypes.CDLL(spec.origin)).thread_words()) == 0
