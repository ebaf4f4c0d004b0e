"""icicle draws no random numbers, on which the order of its compiled code would depend."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu.hooks.host_code import host_function
from emu.cpu.hooks.linkage import Linkage
from emu.cpu.icicle.engine import Engine
from tests.cpu.host_hooks import HOSTS, mapped_hooks

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
    assert ran.stdout.split("\n")[:2] == ["[16]", "[16, 16]"]
