"""The machine code that notes events, of every host, run as a guest."""

from __future__ import annotations

import ctypes
import random

import numpy as np
import pytest

from emu import Machine
from emu.cpu.hooks.event_hooks import Log, Places

from .host_hooks import ENGINE, HOSTS, EmuStop, mapped_hooks


class Hooks:
    """The machine code of a host, run on the project's own machine; `uc_emu_stop` is a host function here."""

    def __init__(self, machine: Machine, host: str, name: str) -> None:
        self.machine, self.stop = machine, EmuStop(machine)
        self.code = mapped_hooks(machine, host)[f"events.{name}"]
        self.at = machine.heap.malloc(max(map(ctypes.sizeof, (Places, Log))))

    def call(self, data: Places | Log, *arguments: int) -> bool:
        """Whether it stops."""
        before, memory = self.stop.count, self.machine.memory
        memory.write(self.at, bytes(data))
        prototype = f"void(void *, {'uint64_t, ' * len(arguments)}void *)"
        self.machine.call(self.code, prototype, ENGINE, *arguments, self.at)
        ctypes.memmove(ctypes.addressof(data), memory.read(self.at, ctypes.sizeof(data)), ctypes.sizeof(data))
        return self.stop.count > before


@pytest.mark.parametrize("host", HOSTS)
def test_the_hook_of_every_host_stops_at_places(host: str) -> None:
    with Machine(host) as machine:
        hooks, places = Hooks(machine, host, "place"), Places()
        chosen = [0, 0x1000, 0xFFFF_FFFF_FFFF_0000, *range(0x2000, 0x2100, 4)]
        places.fill(chosen)
        table = machine.heap.malloc(places.mask + 8)
        machine.memory.write(table, ctypes.string_at(places.table or 0, places.mask + 8))
        places.table, places.stop = table, hooks.stop.address
        for address in chosen:
            assert hooks.call(places, address, 4)
            assert (places.hit, places.stopped) == (address, 1)
        assert not any(hooks.call(places, address, 4) for address in (4, 0x1001, 0x1FFC, 0x2100))
        places.skip = 0x1000
        assert [hooks.call(places, 0x1000, 4) for _ in range(2)] == [False, True]


def test_a_set_of_places_is_changed_one_by_one() -> None:
    """As if it were filled anew each time; also after many have come and gone."""

    def held(places: Places) -> set[int]:
        words = np.frombuffer(ctypes.string_at(places.table or 0, places.mask + 8), np.uint64)
        return {int(word) ^ (1 << 64) - 1 for word in words if word > 1}

    dice, places, chosen = random.Random(1), Places(), set[int]()
    for _ in range(2000):
        address = 0x1000 + 4 * dice.randrange(90)
        chosen ^= {address}
        places.update(address, chosen)
        places.update(address, chosen)  # again, as after an interruption
        assert held(places) == chosen
    assert places.mask < 1 << 13
    filled = Places()
    filled.fill(chosen)
    assert held(filled) == chosen


@pytest.mark.parametrize("host", HOSTS)
def test_the_hooks_of_every_host_write_rows(host: str) -> None:
    with Machine(host) as machine:
        block = machine.heap.malloc(64)
        machine.memory.write(block, (0x4000).to_bytes(8, "little") + bytes((3, 0, 12, 0)))
        cases: dict[str, tuple[tuple[int, ...], tuple[int, ...], bool]] = {
            "log": ((0xFFFF_FFFF_0000_0000, 1 << 32 | 6), (0xFFFF_FFFF_0000_0000, 6), False),
            "new_block": ((block, block), (0x4000, 12, 0x4000), True),
            "access": ((17, 0x5000, 8, 99), (0x5000, 8, 17), True),
        }
        for name, (arguments, row, stored_when_full) in cases.items():
            hooks, log = Hooks(machine, host, name), Log()
            buffer = machine.heap.malloc(256)
            log.next, log.end, log.stop = buffer, buffer + 16 * len(row), hooks.stop.address
            stops = [hooks.call(log, *arguments) for _ in range(3)]
            assert stops == {"log": [False, False, True], "new_block": [False, True, True]}.get(name, [False] * 3)
            written = np.frombuffer(machine.memory.read(buffer, 16 * len(row)), np.uint64).reshape(2, -1)
            assert written.tolist() == [list(row)] * 2, name
            assert (log.next > log.end) == (stored_when_full and name == "new_block")


@pytest.mark.parametrize("host", HOSTS)
def test_the_edge_hook_of_every_host_writes_each_pair_once(host: str) -> None:
    with Machine(host) as machine:
        hooks, log = Hooks(machine, host, "edge"), Log()
        log.prepare(8, 3, pairs=True)
        table, buffer = machine.heap.malloc(1 << 20), machine.heap.malloc(96)
        machine.memory.write(table, b"\xff" * (1 << 20))
        log.table, log.next, log.end, log.stop = table, buffer, buffer + 96, hooks.stop.address
        for _ in range(3):
            assert not any(hooks.call(log, *block) for block in ((0x1000, 8), (0x2000, 4)))
        rows = np.frombuffer(machine.memory.read(buffer, 72), np.uint64).reshape(3, 3).tolist()
        assert rows == [[0, 0x1000, 8], [0x1008, 0x2000, 4], [0x2004, 0x1000, 8]]
        assert (log.next - buffer, log.before) == (72, 0x2004)
        assert not hooks.call(log, 0x3000, 4)
        assert hooks.call(log, 0x4000, 4)
        assert (log.former, log.start, log.before) == (0x2004, 0x3000, 0x3004)
