"""What stops an engine on request: the hook in host code, limits, and what signal handlers meet meanwhile."""

from __future__ import annotations

import ctypes
import struct

import pytest

from emu import Machine
from emu.cpu.hooks.limit_hooks import LimitHooks
from emu.cpu.hooks.stop_hook import (
    ASKED,
    CUTS,
    LIMIT,
    MULTIPLIER,
    PLACE_SHIFT,
    UNKNOWN_BLOCK,
    StopRequest,
)
from emu.cpu.protocol import Stop, StopReason
from relink.errors import MachineInUse
from tests.alarms import alarms, assert_nothing_raised_is_lost

from .guests import CODE, Bench
from .host_hooks import ENGINE, HOSTS, EmuStop, mapped_hooks


class HostHook:
    """The hook of a host, run as a guest on the project's own machine: `uc_emu_stop` is a host function here."""

    def __init__(self, machine: Machine, host: str) -> None:
        self.machine, self.stop = machine, EmuStop(machine)
        self.hook = mapped_hooks(machine, host)["stop.before"]
        self.place = machine.heap.malloc(ctypes.sizeof(StopRequest))
        self.request = StopRequest(stop=self.stop.address, multiplier=MULTIPLIER)

    def come_to(self, block: int = CODE, size: int = 4) -> int:
        """Come to a block; 0: it runs, else why not."""
        memory, stops = self.machine.memory, self.stop.count
        self.request.stopped = 0
        memory.write(self.place, bytes(self.request))
        self.machine.call(self.hook, "void(void *, uint64_t, uint32_t, void *)", ENGINE, block, size, self.place)
        self.request = StopRequest.from_buffer_copy(memory.read(self.place, ctypes.sizeof(StopRequest)))
        assert self.stop.count == stops + bool(self.request.stopped)
        return self.request.stopped


@pytest.mark.parametrize("host", HOSTS)
def test_the_hook_of_every_host_counts_calls_and_stops(host: str) -> None:
    with Machine(host) as machine:
        hook = HostHook(machine, host)
        assert [hook.come_to() for _ in range(2)] == [0, 0]
        hook.request.left = 3
        assert [hook.come_to() for _ in range(4)] == [0, 0, ASKED, ASKED]
        assert hook.request.left == 1
        hook.request.left = 0
        assert [hook.come_to() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("host", HOSTS)
def test_the_hook_of_every_host_counts_instructions_and_stops(host: str) -> None:
    with Machine(host) as machine:
        hook = HostHook(machine, host)
        hook.request.budget = 6 + 1
        assert [hook.come_to(0x40, 8), hook.come_to(0x80, 16), hook.come_to(0xC0, 4)] == [0, 0, LIMIT]
        assert (hook.request.budget, hook.request.block, hook.request.block_size) == (1, 0x80, 16)
        assert (hook.request.block_count, hook.request.size) == (4, 4)
        table = machine.heap.malloc(64)  # four places: the blocks' own, and those behind it
        hook.request.table, hook.request.mask, hook.request.budget = table, 64 - 16, 100
        entries = [(0, 0)] * 4
        for address, size, count in ((0x5000, 9, 7), (0x5000, 5, 3), (0xFFFF_FFFF_FFFF_0000, 300, 50)):
            place = (address * MULTIPLIER & (1 << 64) - 1) >> PLACE_SHIFT >> 4 & 3
            while entries[place][1]:
                place = place + 1 & 3
            entries[place] = address, size | count << 32
        machine.memory.write(table, struct.pack("<8Q", *(word for entry in entries for word in entry)))
        assert [hook.come_to(0x5000, 9), hook.come_to(0x5000, 5)] == [0, 0]
        assert hook.come_to(0x5000, 7) == hook.come_to(0x5001, 9) == UNKNOWN_BLOCK
        assert hook.request.budget == 100 - 7 - 3
        hook.request.left = 1
        assert hook.come_to(0x5000, 9) == ASKED
        hook.request.left = 2
        assert hook.come_to(0xFFFF_FFFF_FFFF_0000, 300) == 0
        assert (hook.request.left, hook.request.budget, hook.request.block_count) == (1, 40, 50)
        hook.request.left = 0
        assert hook.come_to(0xFFFF_FFFF_FFFF_0000, 300) == LIMIT


@pytest.mark.parametrize("host", HOSTS)
def test_the_hook_of_every_host_arms_the_one_inside_a_block(host: str) -> None:
    with Machine(host) as machine:
        hook = HostHook(machine, host)
        inside = [machine.heap.malloc(ctypes.sizeof(StopRequest)) for _ in range(3)]
        for place in inside:
            machine.memory.write(place, bytes(8))
        hooks = LimitHooks(lambda address: StopRequest(), lambda low, high: None, machine.memory.read)
        for block, budget, place in (
            (0x5000, 3, inside[0]),
            (0x5000, 4, inside[1]),
            (0xFFFF_FFFF_0000, 3, inside[2]),
        ):
            hooks.know(block, budget, StopRequest(), place)
        table = machine.heap.malloc(32 * CUTS)
        machine.memory.write(table, ctypes.string_at(hooks.cuts, 32 * CUTS))
        hook.request.cuts = table
        for block, budget, place in ((0x5000, 4, inside[1]), (0xFFFF_FFFF_0000, 3, inside[2])):
            hook.request.budget, hook.request.beyond = budget, 0
            assert hook.come_to(block, 16) == 0
            assert (hook.request.armed, hook.request.beyond, hook.request.budget) == (place, 4, budget)
            assert (hook.request.block, hook.request.block_count) == (block, 4)
        assert [machine.memory.read_uint(place, 8) for place in inside] == [0, 1, 1]
        hook.request.budget = 2
        assert hook.come_to(0x5000, 16) == LIMIT


@pytest.mark.parametrize("host", HOSTS)
def test_the_code_of_every_host_runs_the_engine_and_reads_its_place(host: str) -> None:
    with Machine(host) as machine:
        calls: list[tuple[int, ...]] = []

        def start(engine: int, begin: int, until: int, timeout: int, count: int) -> int:
            calls.append((engine, begin, until, timeout, count))
            return 8

        def read(engine: int, numbers: int, places: int, count: int) -> int:
            calls.append((engine, numbers, places, count))
            return 0

        functions = [
            machine.define("uc_emu_start", (start, "int(void *, uint64_t, uint64_t, uint64_t, size_t)")),
            machine.define("uc_reg_read_batch", (read, "int(void *, void *, void *, int)")),
        ]
        code, data = mapped_hooks(machine, host)["run.run"], machine.heap.malloc(128)
        words = (0x1234, data + 80, data + 88, functions[0], 0x50, 0x60, 7, functions[1], 0, 0, 0x8001, 0x9000)
        machine.memory.write(data, struct.pack("<12Q", *words))
        assert machine.call(code, "int(void *)", data) == 8
        assert calls == [(0x1234, 0x8001, 0x9000, 0, 0), (0x1234, 0x50, 0x60, 7)]


def test_an_instruction_limit_counts_on_behind_a_stop_that_is_none(bench: Bench) -> None:
    """Arm's hints leave the engine's loop, and a watchdog's look does; of the limit nothing is lost or won."""
    entry = bench.load("hints" if bench.guest.has("hints") else "nops")
    bench.prepare()
    needed = next(
        limit for limit in range(1, 30) if bench.cpu.run(entry, max_instructions=limit).reason is StopReason.TRAP
    )
    bench.cpu._every = 2  # type: ignore[attr-defined]  # as under --stop-every 1
    for limit, reason in ((needed, StopReason.TRAP), (needed - 1, StopReason.INSTRUCTION_LIMIT)):
        bench.prepare()
        assert bench.cpu.run(entry, max_instructions=limit).reason is reason


@pytest.mark.parametrize("bench", ["x86_64", "i386"], indirect=True)
def test_a_limit_behind_a_byte_that_looks_like_hlt_is_a_limit(bench: Bench) -> None:
    bench.cpu.write(CODE, bytes.fromhex("b0f490ebfd"))  # mov al, 0xf4; nop; jmp back to the nop
    bench.prepare()
    assert bench.cpu.run(CODE, max_instructions=1) == Stop(StopReason.INSTRUCTION_LIMIT, CODE + 2)
    assert bench.cpu.run(CODE, timeout=0.01).reason is StopReason.TIMEOUT


@pytest.mark.parametrize("bench", ["x86_64", "i386", "riscv64", "loongarch64"], indirect=True)
def test_what_a_signal_handler_raises_is_not_lost_in_the_engine(bench: Bench) -> None:
    """Hooks run as the guest faults and asks the kernel; a handler that ran in one could raise to nobody."""
    entry = bench.load("syscall")

    def run() -> None:
        while True:
            bench.prepare()
            assert bench.cpu.run(entry).reason is StopReason.SYSCALL

    assert_nothing_raised_is_lost(run, 0.0003, times=50)


def test_nothing_of_a_run_that_a_signal_handler_ended_is_left_over(bench: Bench) -> None:
    """Neither a stop that was asked for nor one that has come: the next run ends where it should, and says why."""
    spin, asking = bench.load("spin"), bench.load("syscall", CODE + 0x200)

    def handle() -> None:
        if bench.cpu._running:  # type: ignore[attr-defined]
            raise TimeoutError

    bench.prepare()
    with alarms(handle, 0.02, 0.02), pytest.raises(TimeoutError):
        bench.cpu.run(spin, timeout=5)
    bench.prepare()
    assert bench.cpu.run(asking) == Stop(StopReason.SYSCALL, CODE + 0x200 + bench.guest.nop)


def test_a_cpu_that_runs_cannot_be_run_or_closed_by_a_signal_handler(bench: Bench) -> None:
    entry = bench.load("spin")
    refused: list[str] = []

    def handle() -> None:
        if not bench.cpu._running or refused:  # type: ignore[attr-defined]
            return
        for use in (lambda: bench.cpu.run(entry, max_instructions=1), bench.cpu.close):
            with pytest.raises(MachineInUse) as caught:
                use()
            refused.append(str(caught.value))

    bench.prepare()
    with alarms(handle, 0.01, 0.01):
        assert bench.cpu.run(entry, timeout=0.3) == Stop(StopReason.TIMEOUT, CODE)
    assert len(refused) >= 2
