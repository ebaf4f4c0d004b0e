"""Stores by the engine's TLB alone: memory that changes under them, faults, and code that is written."""

from __future__ import annotations

import ctypes
from itertools import pairwise

import pytest

from emu import Machine
from emu.cpu.hooks.fill_hook import TABLE_BYTES, Fill, fill
from emu.cpu.pages import PageMap
from emu.cpu.protocol import Protection, Stop, StopReason
from emu.cpu.unicorn.isas import CPSR_IT
from emu.cpu.unicorn.quick_stores import around, merged
from relink.memory.address_space import Protection as Pages
from tests.assembler import assembled

from .guests import CODE, DATA, HOLE, PAGE, RW, STACK, Bench, page_buffer
from .host_hooks import HOSTS, mapped_hooks

FAR = 0x10_0000
OTHERS = 260  #: pages, more than the TLB has entries
FETCH, READ, WRITE = 18, 16, 17  #: UC_MEM_FETCH, UC_MEM_READ, UC_MEM_WRITE


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is looked at before every run that follows a change, so that all are tried."""
    monkeypatch.setattr("emu.cpu.unicorn.quick_stores._FEWEST_RUNS", 0)


def stored(bench: Bench, address: int, value: int, program: str = "store") -> Stop:
    entry = bench.load(program)
    bench.prepare(value=value, address=address)
    return bench.cpu.run(entry)


def test_permissions_hold_for_memory_that_has_been_written(bench: Bench) -> None:
    cpu = bench.cpu
    for value in (1, 2, 3):
        assert stored(bench, DATA, value).reason is StopReason.TRAP
    cpu.protect(DATA, PAGE, Protection.R)
    stop = stored(bench, DATA, 4)
    assert (stop.reason, stop.address) == (StopReason.WRITE_PROTECTED, DATA)
    assert stop.pc == CODE + bench.guest.nop
    assert cpu.read(DATA, 1) == b"\3"
    assert stored(bench, DATA + PAGE, 5).reason is StopReason.TRAP
    cpu.protect(DATA, PAGE, Protection.NONE)
    assert stored(bench, DATA, 0, "load").reason is StopReason.READ_PROTECTED
    cpu.protect(DATA, PAGE, RW)
    assert stored(bench, DATA, 6).reason is StopReason.TRAP
    cpu.unmap(DATA, PAGE)
    stop = stored(bench, DATA + 8, 7)
    assert (stop.reason, stop.address) == (StopReason.WRITE_UNMAPPED, DATA + 8)
    cpu.map(DATA, PAGE, RW, page_buffer())
    assert stored(bench, DATA, 8).reason is StopReason.TRAP
    assert cpu.read(DATA, 1) == b"\x08"


def test_all_bits_of_an_address_count(bench: Bench) -> None:
    for bit in (31, 51, 52, 63)[: 1 if bench.guest.word == 4 else 4]:
        assert stored(bench, DATA, 1).reason is StopReason.TRAP
        for program, reason in (("store", StopReason.WRITE_UNMAPPED), ("load", StopReason.READ_UNMAPPED)):
            stop = stored(bench, DATA | 1 << bit, 2, program)
            assert (stop.reason, stop.address) == (reason, DATA | 1 << bit)
    assert bench.cpu.read(DATA, 1) == b"\1"


def test_of_many_mappings_each_faults_when_it_is_protected(bench: Bench) -> None:
    cpu = bench.cpu
    places = [FAR + 2 * number * PAGE for number in range(30)]
    for place in places:
        cpu.map(place, PAGE, RW, page_buffer())
        assert stored(bench, place + 16, 1).reason is StopReason.TRAP
    for place in places:
        stop = stored(bench, place + PAGE, 1)
        assert (stop.reason, stop.address) == (StopReason.WRITE_UNMAPPED, place + PAGE)
        cpu.protect(place, PAGE, Protection.R)
        stop = stored(bench, place + 16, 2)
        assert (stop.reason, stop.address) == (StopReason.WRITE_PROTECTED, place + 16)
    assert {cpu.read(place + 16, 1) for place in places} == {b"\1"}


@pytest.mark.parametrize("evicted", [False, True])
def test_code_that_the_guest_writes_is_what_runs_next(bench: Bench, evicted: bool) -> None:
    """In a page that was data before, and whose entry of the TLB is lost to others in between."""
    cpu, guest = bench.cpu, bench.guest
    cpu.map(HOLE, PAGE, RW | Protection.X, page_buffer())
    others = OTHERS if evicted and cpu.shares_memory else 0
    if others:
        cpu.map(FAR, OTHERS * PAGE, RW, page_buffer(OTHERS * PAGE))
    functions = (HOLE, HOLE + 256)  # a store to the first tells the engine nothing of the second
    for name, expected in (("add 1", 11), ("add 2", 12), ("add 1", 11)):
        code = guest.code(name)
        for number in range(others):
            assert stored(bench, FAR + number * PAGE, 1).reason is StopReason.TRAP
        for function in functions:
            for at in range(0, len(code), guest.word):
                part = int.from_bytes(code[at : at + guest.word], "little")
                assert stored(bench, function + at, part).reason is StopReason.TRAP
        for function in functions:
            bench.prepare(value=10)
            assert cpu.run(function | guest.entry_bit).reason is StopReason.TRAP
            assert bench.value == expected


def test_code_after_a_thumb_it_block_is_not_conditional() -> None:
    """The first access to a page in an IT block fills the TLB."""
    text = (
        "cmp r0, r0; itt eq; ldreq r2, [r1]; streq r2, [r3]; movs r0, #1; b next; next: adds r0, r0, #7;"
        "adds r0, r0, #7; bx lr"
    )
    with Machine("arm") as machine:
        memory = machine.memory
        code = memory.map_anonymous(PAGE, Pages.R | Pages.X)
        memory.write(code, assembled("thumb", text, code))
        places = [memory.map_anonymous(PAGE, Pages.R | Pages.W) for _ in range(4)]
        for first, second in pairwise(places):
            arguments = 0, first, 0, second
            assert machine.call(code | 1, "int(int, unsigned, int, unsigned)", *arguments) == 15


@pytest.mark.parametrize("host", HOSTS)
def test_the_hook_of_every_host_tells_code_from_data(host: str) -> None:
    with Machine(host) as machine:
        memory, cpsr = machine.memory, [0x6000_0030 | CPSR_IT]
        hook = mapped_hooks(machine, host)["fill.fill"]
        table, place = machine.heap.malloc(TABLE_BYTES), machine.heap.malloc(ctypes.sizeof(Fill))
        entry = machine.heap.malloc(16)
        memory.write(table, bytes(TABLE_BYTES))

        def read(engine: int, number: int, to: int) -> int:
            assert (engine, number) == (0x1234, 3)
            memory.write(to, cpsr[0].to_bytes(4, "little"))
            return 0

        def write(engine: int, number: int, at: int) -> int:
            assert (engine, number) == (0x1234, 3)
            cpsr.append(int.from_bytes(memory.read(at, 4), "little"))
            return 0

        kind = "int(void *, int, void *)"
        functions = machine.define("read_it", (read, kind)), machine.define("write_it", (write, kind))

        def filled(page: int, access: int, number: int | None = None) -> int:
            memory.write(place, bytes(fill(table, *functions, number, CPSR_IT)))
            types = "_Bool(void *, uint64_t, int, void *, void *)"
            assert machine.call(hook, types, 0x1234, page, access, entry, place)
            assert int.from_bytes(memory.read(entry, 8), "little") == page
            return int.from_bytes(memory.read(entry + 8, 4), "little")

        pages = [CODE, DATA, 0x7FFF_FFFF_F000, 0xFFFF_FFFF_FFFF_F000]
        assert [filled(page, READ) for page in pages] == [3] * 4
        assert [filled(page, FETCH) for page in pages[::2]] == [7] * 2
        assert [filled(page, WRITE) for page in pages] == [7, 3, 7, 3]
        assert filled(STACK, FETCH, 3) == 7
        assert len(cpsr) == 1  # a fetch is between two blocks: an IT block may go on
        assert filled(FAR, WRITE, 3) == 3
        assert cpsr[1:] == [0x6000_0030]
        cpsr[0] = 0x30
        assert filled(FAR, READ, 3) == 3
        assert len(cpsr) == 2


def test_ranges_are_joined_and_their_complement_covers_the_rest() -> None:
    last = (1 << 64) - 1
    assert around([]) == [(0, last)]
    assert around([(0, 8), (16, 24)]) == [(8, 15), (24, last)]
    assert around([(8, 1 << 64)]) == [(0, 7)]
    pages = PageMap()
    for start in (CODE, CODE + PAGE, DATA):
        pages.add(start, memoryview(bytearray(PAGE)), RW)
    assert list(merged(pages)) == [(CODE, CODE + 2 * PAGE), (DATA, DATA + PAGE)]
