"""Firmware under breakpoints, watched memory, records and counts does what it does without, at the same times."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import pytest

from emu import Machine
from emu.boards import I386, Board, Device, Ended, Lockup, Ram, Register, Rom
from emu.cpu.events import Access, Recorded
from emu.debug.observation import Hit
from relink.memory.address_space import Protection
from tests.boards.guests import CODE, HERE, NOP, RAM, board, ldr, load, store
from tests.boards.programs import ALL_PROGRAMS, PcProgram, Program
from tests.boards.test_i386 import pc
from tests.boards.test_snapshots import booted

PORT = 0x4000_0000
#: Where the observed part of each program begins, in instructions: interrupts, timers and output come there.
BEGINS = {
    "exceptions-m3": 4_000,
    "scheduler-m4": 1_000,
    "floats-m7": 0,
    "user_mode-rv32imac": 0,
    "switching-rv64imac": 5_000,
    "modes-a7-thumb": 500,
    "el1-a53": 1_000,
    "protected-i386": 38_000,
}
_INSTRUCTIONS = 1_500
CHOSEN = [program for program in ALL_PROGRAMS if program.name in BEGINS]
each_chosen = pytest.mark.parametrize("program", CHOSEN, ids=[program.name for program in CHOSEN])


def started(program: Program) -> tuple[Board, Callable[[], str]]:
    """A board at the place where the program is observed, and its output."""
    if isinstance(program, PcProgram):
        made, console = pc(I386(open_bus=True))
        made.load(program.path)
        made.reset()
        output = lambda: console.text  # noqa: E731
    else:
        made, output = booted(program)
    if BEGINS[program.name]:
        assert made.run(max_instructions=BEGINS[program.name]) is Ended.LIMIT
    return made, output


def observe(
    program: Program, begin: Callable[[Board], Any] = lambda made: None, piece: int = 0
) -> tuple[Any, Any]:
    """What a part of the program has done under what `begin` asks for, which it returns too.

    It runs whole, or in pieces of so many instructions.
    """
    made, output = started(program)
    asked = begin(made)
    end, ended = made.clock.time + _INSTRUCTIONS, Ended.LIMIT
    made.clock.at(end, made.stop)
    while ended is Ended.LIMIT:
        ended = made.run(max_instructions=piece or 1_000_000)
    cpu = made.machine.cpu
    memory = [cpu.read(region.start, region.size) for region in made.regions if region.protection & Protection.W]
    return (output(), made.clock.time, made.pc, cpu.read_registers(cpu.registers), memory), asked


def collected(program: Program, what: Recorded, piece: int = 0) -> tuple[Any, list[list[int]]]:
    """What the part has done, and the rows of a record."""
    rows: list[list[int]] = []
    done, recording = observe(
        program,
        lambda made: made.machine.cpu.events.record(what, lambda array: rows.extend(array.tolist())),
        piece,
    )
    recording.close()
    return done, rows


@each_chosen
def test_records_and_breakpoints_are_those_of_single_steps(program: Program) -> None:
    plain, _ = observe(program)
    done, steps = collected(program, Recorded.INSTRUCTIONS, piece=1)
    assert done == plain
    assert collected(program, Recorded.INSTRUCTIONS) == (plain, steps)
    done, blocks = collected(program, Recorded.BLOCKS)
    assert done == plain
    if not program.name.endswith(("-m4", "-m7", "-thumb")):  # which have instructions in IT blocks that do not run
        assert sum(size for _, size in blocks) == sum(size for _, size in steps)
    for what in (Recorded.EDGES, Recorded.NEW_BLOCKS):
        assert collected(program, what)[0] == plain
    ran = [address for address, _ in steps]

    def break_everywhere(made: Board) -> list[int]:
        hits: list[int] = []
        for address in sorted({*ran}):
            made.machine.breakpoint(address, action=lambda hit: hits.append(hit.address))
        return hits

    done, hits = observe(program, break_everywhere)
    assert done == plain
    assert hits == ran or program.name == "scheduler-m4"  # they stop at the others of IT blocks too


OBSERVERS: dict[str, Callable[[Machine], AbstractContextManager[object]]] = {
    "counting": lambda machine: machine.counting(),
    "coverage": lambda machine: machine.coverage(),
    "branches": lambda machine: machine.coverage(branches=True),
}


@each_chosen
@pytest.mark.parametrize("observer", OBSERVERS)
def test_firmware_runs_alike_while_counted_and_covered(program: Program, observer: str) -> None:
    plain, _ = observe(program)
    with ExitStack() as stack:
        done, _ = observe(program, lambda made: stack.enter_context(OBSERVERS[observer](made.machine)))
    assert done == plain


@each_chosen
@pytest.mark.parametrize("on", ["write", "access"])
def test_firmware_runs_alike_while_its_ram_is_watched(program: Program, on: str) -> None:
    plain, _ = observe(program)

    def watch(made: Board) -> list[Any]:
        hits: list[Any] = []
        for region in made.regions:
            if region.protection & Protection.W:
                made.machine.watch(region.start, region.size, on=on, action=hits.append)
        return hits

    done, hits = observe(program, watch)
    assert done == plain
    assert hits


def met(hit: Hit) -> Access:
    assert hit.access is not None
    return hit.access


class Fifo(Device):
    """Gives other numbers at each read, notes the times, and sets off an event."""

    size = 4
    data = Register(0)

    def __init__(self, *, fails: int = 0) -> None:
        super().__init__()
        self.reads: list[int] = []
        self.fails = fails
        self.happened: list[int] = []

    @data.on_read
    def _read(self) -> int:
        self.reads.append(self.clock.now)
        if len(self.reads) == self.fails:
            raise ValueError("empty")
        self.after(3, lambda: self.happened.append(self.clock.now))
        return len(self.reads)


READS = [*load(1, PORT), NOP, ldr(2, 1), NOP, ldr(3, 1), NOP, NOP, NOP, HERE]


@pytest.mark.parametrize("place", [CODE + 10, CODE + 12, CODE + 14])
def test_an_access_has_its_time_and_happens_once_beside_breakpoints(place: int) -> None:
    made, hits = board(READS, {PORT: (fifo := Fifo())}), []
    with made.machine.breakpoint(place, action=lambda hit: hits.append(made.clock.time)):
        made.run(max_instructions=20)
    assert (fifo.reads, fifo.happened) == ([3, 5], [6, 8])
    assert len(hits) == 1
    assert made.machine.cpu.read_registers(("r2", "r3")) == [1, 2]


def test_a_count_has_the_instructions_before_a_device_raises() -> None:
    made = board(READS, {PORT: Fifo(fails=2)})
    with made.machine.counting() as count:
        with pytest.raises(ValueError, match="empty"):
            made.run(max_instructions=20)
        assert made.clock.time == 5
        made.run(max_instructions=2)
    assert (count.instructions, made.clock.time) == (7, 7)


def test_time_passes_in_a_run_without_limits_or_events() -> None:
    made = board([*[NOP] * 10, *load(1, PORT), store(0, 1), HERE], {PORT: (led := Fifo())})
    led.write = lambda offset, size, value: made.stop()  # type: ignore[method-assign]
    with made.machine.breakpoint(CODE + 4, action=lambda hit: None):
        assert made.run() is Ended.STOPPED
    assert made.clock.time == 13


def test_the_end_of_a_handler_is_reported_as_a_read_of_its_stack() -> None:
    """It jumps to where nothing can be fetched."""
    made = board([0xDF00, NOP, HERE], handlers={11: [0xB500, NOP, 0xBD00]})  # svc; push {lr}, pop {pc}
    handler, places = made.machine.memory.read_uint(4 * 11, 4) & ~1, []
    with made.machine.watch(RAM, 0x1000, on="read", action=lambda hit: places.append(met(hit).pc)):
        made.run(max_instructions=5)
    assert handler + 4 in places
    assert (made.clock.time, made.pc & ~1) == (5, CODE + 4)


def test_an_instruction_reads_a_device_once_where_its_stack_is_watched() -> None:
    made = Board(I386(), memory=[Ram(0, 0x4000)], devices={0x8000: (fifo := Fifo())})
    made.load(bytes.fromhex("90ff3500800000ebfe"), at=0x1000)  # nop; push [0x8000]; jmp .
    made.reset(entry=0x1000, stack=0x3000)
    writes = []
    with made.machine.watch(0x2FFC, 4, action=lambda hit: writes.append(met(hit).value)):
        made.run(max_instructions=4)
    assert (fifo.reads, writes) == ([1], [1])


def descriptor(access: int) -> bytes:
    return struct.pack("<HHBBBB", 0xFFFF, 0, 0, access, 0xCF, 0)


@pytest.mark.parametrize("access", [0x9B, 0x9A])
@pytest.mark.parametrize("kind", [Ram, Rom])
def test_an_interrupt_marks_its_segment_as_accessed(kind: type, access: int) -> None:
    """In a table in ROM it cannot: a lockup, and no crash of the host."""
    code = bytes.fromhex("0f0115002800000f011d08280000cd20ebfe")  # lgdt, lidt, int 0x20, jmp .
    image = bytearray(0x3000)
    image[0x1000 : 0x1000 + len(code)] = code
    image[0x1100:0x1102] = bytes.fromhex("ebfe")
    table = bytes(8) + descriptor(0x9B) + descriptor(0x93) + descriptor(access)
    image[0x2000 : 0x2000 + len(table)] = table
    image[0x2200:0x2208] = struct.pack("<HHBBH", 0x1100, 0x18, 0, 0x8E, 0)
    image[0x2800:0x2810] = struct.pack("<HIxxHIxx", 31, 0x2000, 0x107, 0x2100)
    made = Board(I386(), memory=[kind(0, 0x3000), Ram(0x10000, 0x4000)])
    made.load(bytes(image), at=0)
    made.reset(entry=0x1000)
    if kind is Rom and access == 0x9A:
        with pytest.raises(Lockup, match="the accessed bit of segment 0x18"):
            made.run(max_instructions=50)
        return
    accesses = []
    if kind is Ram:
        made.machine.watch(0x2000, 64, on="access", action=lambda hit: accesses.append(met(hit)))
    made.run(max_instructions=50)
    assert (made.pc, made.machine.cpu.read_register("cs")) == (0x1100, 0x18)
    assert made.machine.memory.read(0x201D, 1) == b"\x9b"
    assert [each.address for each in accesses if each.write] == ([0x201D] if access == 0x9A else [])


class Dma(Device):
    """Stores what is written to it in RAM and reads it there, at once or after so many instructions."""

    size = 4
    go = Register(0, writable=1)

    def __init__(self, delay: int = 0) -> None:
        super().__init__()
        self.delay, self.times = delay, 0

    @go.on_write
    def _go(self, value: int) -> None:
        self.times += 1
        if self.delay:
            self.after(self.delay, lambda: self._transfer(value))
        else:
            self._transfer(value)

    def _transfer(self, value: int) -> None:
        self.bus.write(RAM + 0x100, 4, value)
        assert self.bus.read(RAM + 0x100, 4) == value


@pytest.mark.parametrize(("on", "writes"), [("write", [True]), ("read", [False]), ("access", [True, False])])
@pytest.mark.parametrize(("delay", "place"), [(0, CODE + 16), (2, CODE + 20)])
def test_accesses_by_a_device_are_reported(on: str, writes: list[bool], delay: int, place: int) -> None:
    code = [*load(1, PORT), *load(2, 7), store(2, 1), NOP, NOP, NOP, HERE]
    made, hits = board(code, {PORT: (dma := Dma(delay))}), []
    made.machine.watch(RAM + 0x100, 4, on=on, action=lambda hit: hits.append(met(hit)))
    made.run(max_instructions=12)
    assert [(hit.write, hit.value, hit.pc) for hit in hits] == [(write, 7, place) for write in writes]
    assert (dma.times, made.clock.time, made.machine.memory.read_uint(RAM + 0x100, 4)) == (1, 12, 7)
