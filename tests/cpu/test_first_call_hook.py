"""The hook of first calls of every host, run as a guest on the project's own machine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

import pytest

from emu import Machine
from emu.cpu.hooks.first_call_hook import SPACING, FirstCallBlock, FirstCallData, NotedCall
from emu.run.traps import TrapTable

from .host_hooks import HOSTS, mapped_hooks

START, COUNT = 0x3F_0000_1000, 3
PC, LINK, SP = 1, 2, 3  #: numbers of registers
STACK, RETURN = 0x7000, 0x1234
ANSWER = 0x40_0000
PROTOTYPE = "int(void *, int, uint64_t, int, uint64_t, void *)"


class HostHook:
    """The hook of a host on tables of its own; Unicorn's functions are host functions."""

    def __init__(self, machine: Machine, host: str) -> None:
        self.machine, memory = machine, machine.memory
        self.registers = {LINK: RETURN, SP: STACK}
        self.stored: list[tuple[int, int, int]] = []
        self.left: list[tuple[int, int]] = []
        self.mapped = True
        self.code = mapped_hooks(machine, host)["first_calls.bind"]
        room = (machine.heap.malloc(128) for _ in range(5))
        self.answers, self.places, self.blocks, self.calls, self.data = room
        self.put_words(self.answers, ANSWER, ANSWER + 0x11, 0)
        self.put_words(self.places, 0x5000, 0x5008, 0x5010)
        blocks = [(START + 0x1000, 1, 0, 0), (START, COUNT, self.answers, self.places)]
        memory.write(self.blocks, b"".join(bytes(FirstCallBlock(*block)) for block in blocks))
        void = "int(void *, int, void *)", "int(void *, int *, void **, int)"
        block = "int(void *, uint64_t, void *, uint64_t)"
        functions: list[tuple[Callable[..., int], str]] = [
            (self._read, void[0]), (self._write, void[1]), (self._load, block), (self._store, block),
            (self._clock, "int(int, uint64_t *)"), (self._set, "int(uint32_t, void *)"),
        ]  # fmt: skip
        self.functions = [machine.define(str(number), each) for number, each in enumerate(functions)]

    def put_words(self, address: int, *words: int) -> None:
        self.machine.memory.write(address, b"".join(word.to_bytes(8, "little") for word in words))

    def words(self, address: int, count: int) -> list[int]:
        return [self.machine.memory.read_uint(address + 8 * number, 8) for number in range(count)]

    def _read(self, engine: int, register: int, place: int) -> int:
        self.machine.memory.write_uint(place, 8, self.registers[register])
        return 0

    def _write(self, engine: int, registers: int, values: int, count: int) -> int:
        memory = self.machine.memory
        assert (count, self.left[-1]) == (1, (77, 0x9999))
        self.registers[memory.read_uint(registers, 4)] = memory.read_uint(memory.read_uint(values, 8), 8)
        return 0

    def _load(self, engine: int, address: int, place: int, size: int) -> int:
        if self.mapped:
            assert address == STACK
            self.machine.memory.write_uint(place, size, RETURN + 1)
        return 0 if self.mapped else 6

    def _store(self, engine: int, address: int, place: int, size: int) -> int:
        if self.mapped:
            self.stored.append((address, size, self.machine.memory.read_uint(place, size)))
        return 0 if self.mapped else 7

    def _clock(self, clock: int, place: int) -> int:
        self.put_words(place, 12, 345)
        return clock - 1

    def _set(self, key: int, function: int) -> int:
        self.left.append((key, function))
        return 0

    def reach(
        self, trap: int, opened: int = 1, count: int = 0, taken: int = 0, link: int = LINK, word: int = 8
    ) -> FirstCallData:
        """Fetch at a trap; the data afterwards."""
        data = FirstCallData(
            opened, count, taken, 2, 2, self.blocks, self.calls, *self.functions, 0x9999, 77, word, PC, link, SP, 1
        )
        memory = self.machine.memory
        memory.write(self.data, bytes(data))
        assert self.machine.call(self.code, PROTOTYPE, 0xEEEE, 21, trap, 4, 0, self.data) == 0
        return FirstCallData.from_buffer_copy(memory.read(self.data, ctypes.sizeof(FirstCallData)))


@pytest.fixture(params=HOSTS)
def hook(request: pytest.FixtureRequest) -> Iterator[HostHook]:
    with Machine(request.param) as machine:
        yield HostHook(machine, request.param)


def test_it_binds_a_slot_once_and_notes_the_call(hook: HostHook) -> None:
    assert TrapTable.spacing == SPACING
    for word, link, back in ((8, LINK, RETURN), (4, -1, RETURN + 1)):
        slot = 0 if word == 8 else 1
        target, trap = ANSWER + 0x11 * slot, START + slot * SPACING
        assert hook.reach(trap, link=link, word=word).count == 1
        assert hook.stored.pop() == (0x5000 + 8 * slot, word, target)
        assert hook.registers.pop(PC) == target
        call = NotedCall.from_buffer_copy(hook.machine.memory.read(hook.calls, ctypes.sizeof(NotedCall)))
        noted = call.trap, call.back, call.target, call.seconds, call.nanoseconds
        assert noted == (trap, back, target, 12, 345)
        assert hook.words(hook.answers, 3)[slot] == 0
        assert hook.reach(trap).count == 0
    assert not hook.stored


def test_it_leaves_to_python_what_it_does_not_know(hook: HostHook) -> None:
    before = hook.words(hook.answers, 3)
    for trap in (START + 2 * SPACING, START + COUNT * SPACING, START - SPACING, START + 1, START + 0x2000, 0):
        assert hook.reach(trap).count == 0
    assert hook.reach(START, opened=0).count == 0
    assert hook.reach(START, count=2).count == 2
    assert hook.reach(START, count=7, taken=5).count == 7
    hook.mapped = False
    assert hook.reach(START).count == 0
    assert hook.reach(START, link=-1).count == 0
    assert hook.words(hook.answers, 3) == before
    assert not hook.stored
    assert PC not in hook.registers


def test_calls_are_noted_in_a_ring(hook: HostHook) -> None:
    size = ctypes.sizeof(NotedCall)
    for slot, count in ((0, 6), (1, 7)):
        assert hook.reach(START + slot * SPACING, count=count, taken=6).count == count + 1
    calls = hook.machine.memory.read(hook.calls, 2 * size)
    noted = [NotedCall.from_buffer_copy(calls, number * size) for number in range(2)]
    assert [call.trap for call in noted] == [START, START + SPACING]
