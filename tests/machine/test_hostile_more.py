"""A hundred further guests that misbehave end in a typed error or an answer, within time and memory."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

import pytest

from emu import Machine
from relink.errors import RelinkError
from tests import sampling
from tests.fixtures import arch_of
from tests.machine.test_hostile import PATIENT, resident
from tests.objects.build import TARGETS, compiled, linked

SOURCE = Path(__file__).parent / "sources" / "hostile_more.c"
SECONDS, LATE, MEMORY = 0.1, 2.0, 64 << 20  # late by a collection of the garbage of a large process
#: One target of each engine; all targets when RELINK_FUZZ_SECONDS is set.
CHOSEN = TARGETS if os.environ.get("RELINK_FUZZ_SECONDS") else ("x86_64", "loongarch64")
_FLAGS = ("-fPIC", "-fno-builtin", "-w", "-Wno-error", "-O1", "-std=gnu89", "-Wno-incompatible-pointer-types")


@pytest.mark.parametrize("target", CHOSEN)
def test_no_guest_outlives_its_limits(target: str) -> None:
    names = re.findall(r"^int (\w+)\(void\)", SOURCE.read_text(), re.M)
    assert len(names) > 100
    flags = (*_FLAGS, *(("-mno-lsx",) if target == "loongarch64" else ()))
    path = linked(target, [compiled(target, SOURCE.read_text(), *flags)])
    before = resident()
    for name in sampling.each_or(names[::4], names):
        machine = Machine(arch_of(target), timeout=SECONDS, memory_limit=MEMORY, files={"/file": b"content"})
        address = machine.load(path).symbols[name].address
        begin = time.process_time()
        with suppress(RelinkError):
            machine.call(address, "int(void)")
        assert time.process_time() - begin < SECONDS + LATE, name
        machine.libc.stdout.clear()
        five = machine.define("five", (lambda: 5, "int(void)"))
        assert machine.call(five, "int(void)", timeout=PATIENT) == 5, name
        begin = time.process_time()
        with suppress(RelinkError):
            machine.close()
        assert time.process_time() - begin < SECONDS + LATE, f"close after {name}"
    assert resident() - before < MEMORY + (160 << 20)
