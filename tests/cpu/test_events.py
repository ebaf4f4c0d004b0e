"""Events of a CPU without a machine: every small program, whatever ends it, stopped before each instruction."""

from __future__ import annotations

import numpy as np
import pytest

from emu.cpu.events import Recorded, Rows, Watch
from emu.cpu.protocol import EVENTS, Protection, Stop, StopReason
from relink.errors import AddressSpaceError, MachineError
from tests.assembler import assembled

from .guests import CODE, DATA, GUESTS, HOLE, PAGE, RW, RX, TRAPS, Bench, page_buffer, words

MANY = 1 << 40
_ENDLESS = ("spin", "call forever")


class Runs:
    """One program of a bench, run again and again from the same state."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench, self.cpu, guest = bench, bench.cpu, bench.guest
        self.name = name
        self.mask = (1 << 64) - 2 if guest.arch == "arm" else (1 << 64) - 1

    def prepare(self) -> int:
        bench, guest = self.bench, self.bench.guest
        entry = bench.load(self.name)
        bench.load("add 1", CODE + 0x200)
        calls = self.name in ("call", "jump", "flags")
        bench.cpu.write(DATA, bytes(range(64)))
        bench.prepare(address=(CODE + 0x200 if calls else DATA) | guest.entry_bit * calls)
        return entry

    def state(self) -> list[int]:
        registers = self.cpu.read_registers(self.cpu.registers)
        return [*registers, int.from_bytes(self.cpu.read(DATA, 64), "little")]

    def whole(self) -> tuple[Stop, list[int], int]:
        """How it ends, with which state, after how many instructions."""
        stop = self.cpu.run(self.prepare(), max_instructions=MANY)
        return stop, self.state(), self.cpu.executed

    def steps(self) -> tuple[list[int], Stop]:
        """Where each instruction is that runs, and how the last ends."""
        pc, places = self.prepare(), list[int]()
        while True:
            stop = self.cpu.step(pc)
            if stop.reason is not StopReason.INSTRUCTION_LIMIT and self.cpu.executed == 0:
                return places, stop
            places.append(pc & self.mask)
            if stop.reason is not StopReason.INSTRUCTION_LIMIT:
                return places, stop
            pc = self.cpu.read_register("pc")


def programs(bench: Bench) -> list[str]:
    left_out = (*_ENDLESS, "short invalid")  # Unicorn runs past a limit before an invalid half-word
    return [name for name in (*bench.guest.programs, *bench.guest.extra) if name not in left_out]


def test_steps_and_breakpoints_change_nothing_whatever_ends_a_run(bench: Bench) -> None:
    for name in programs(bench):
        runs = Runs(bench, name)
        whole = runs.whole()
        places, last = runs.steps()
        assert (last, runs.state(), len(places)) == whole, name
        fetched = whole[0].reason not in (StopReason.FETCH_UNMAPPED, StopReason.FETCH_PROTECTED)
        at_fault = [whole[0].pc] if whole[0].reason.is_fault and fetched else []
        for place in {*places, *at_fault}:
            bench.cpu.events.add_breakpoint(place)
        pc, met, executed = runs.prepare(), [], 0
        while True:
            stop = bench.cpu.run(pc, max_instructions=MANY)
            executed += bench.cpu.executed
            if stop.reason is not StopReason.BREAK:
                break
            met.append(stop.pc)
            pc = bench.cpu.read_register("pc")
            assert pc & runs.mask == stop.pc
            bench.cpu.events.pass_over(pc)
        assert (stop, runs.state(), executed) == whole, name
        assert met == [*places, *(at_fault if at_fault and at_fault[0] not in places[-1:] else [])], name
        for place in {*places, *at_fault}:
            bench.cpu.events.remove_breakpoint(place)


def test_records_are_what_steps_show_whatever_ends_a_run(bench: Bench) -> None:
    for name in programs(bench):
        runs = Runs(bench, name)
        whole, (places, _) = runs.whole(), runs.steps()
        rows: dict[Recorded, list[Rows]] = {what: [] for what in Recorded}
        recordings = [bench.cpu.events.record(what, found.append) for what, found in rows.items()]
        assert runs.whole() == whole, name
        for recording in recordings:
            recording.close()
        found = {what: np.concatenate(each).tolist() if each else [] for what, each in rows.items()}
        listed = [address for address, _ in found[Recorded.INSTRUCTIONS]]
        if bench.guest.name == "thumb":  # those whose condition is false are left out
            assert set(listed) <= set(places), name
        else:
            assert listed == places, name
        ran = {at for start, size in found[Recorded.BLOCKS] for at in range(start, start + size)}
        assert set(places) <= ran, name
        new = {
            at for start, size in found[Recorded.NEW_BLOCKS] for at in range(start, start + (size & 0xFFFF_FFFF))
        }
        began = {start for start, size in found[Recorded.NEW_BLOCKS] if size >> 32}
        assert ran - new <= ran if began else ran <= new, name


def test_the_engine_stops_before_what_it_was_to_watch_and_after_it_has_run(bench: Bench) -> None:
    runs, guest = Runs(bench, "store"), bench.guest
    whole = runs.whole()
    word = guest.word
    for watch, told in (
        (Watch(DATA, word, read=False, write=True), True),
        (Watch(DATA + word - 1, 1, read=True, write=True), True),
        (Watch(DATA, word, read=True, write=False), False),
        (Watch(DATA + word, 8, read=True, write=True), False),
    ):
        bench.cpu.events.watch(watch)
        stop = bench.cpu.run(runs.prepare(), max_instructions=MANY)
        executed = bench.cpu.executed
        if told:
            assert stop.reason is StopReason.WATCH
            (access,) = bench.cpu.events.accesses
            assert (access.address, access.size, access.value, access.write) == (DATA, word, 0, True)
            assert access.before == int.from_bytes(bytes(range(word)), "little")
            assert access.pc < stop.pc
            stop = bench.cpu.run(bench.cpu.read_register("pc"), max_instructions=MANY)
            executed += bench.cpu.executed
        assert (stop, runs.state(), executed) == whole
        bench.cpu.events.unwatch(watch)
    with pytest.raises(KeyError):
        bench.cpu.events.unwatch(Watch(DATA, 4, read=True, write=True))


@pytest.mark.parametrize("name", ["load", "store"])
def test_an_instruction_that_meets_a_closed_page_is_recorded_once(bench: Bench, name: str) -> None:
    runs = Runs(bench, name)
    places, _ = runs.steps()
    events = runs.cpu.events
    events.watch(Watch(DATA + 512, 4, True, True))
    found: dict[Recorded, list[Rows]] = {Recorded.INSTRUCTIONS: [], Recorded.BLOCKS: [], Recorded.NEW_BLOCKS: []}
    for what, arrays in found.items():
        log = events.record(what, arrays.append)
        assert runs.cpu.run(runs.prepare()).reason is StopReason.TRAP
        log.close()
    instructions, blocks, new = (np.concatenate(each).tolist() for each in found.values())
    assert [address for address, _ in instructions] == places
    for rows in (instructions, blocks):
        assert [address for address, _ in rows[1:]] == [address + size for address, size in rows[:-1]]
    assert set(places) <= {at for address, size in new for at in range(address, address + (size & 0xFFFF_FFFF))}


def test_a_watched_access_across_pages_is_seen_from_either(bench: Bench) -> None:
    entry, word = bench.load("load"), bench.guest.word
    bench.cpu.write(DATA + PAGE - 2, bytes(range(1, 9)))
    for watch in (
        Watch(DATA + PAGE - 1, 1, read=True, write=False),
        Watch(DATA + PAGE, 1, read=True, write=False),
    ):
        bench.cpu.events.watch(watch)
        bench.prepare(address=DATA + PAGE - 2)
        stop = bench.cpu.run(entry)
        assert stop.reason is StopReason.WATCH
        parts = sorted((one.address, one.size) for one in bench.cpu.events.accesses)
        assert any(at <= watch.address < at + size for at, size in parts)
        value = int.from_bytes(bytes(range(1, word + 1)), "little")
        assert bench.value == value
        if len(parts) == 1:
            assert bench.cpu.events.accesses[0].value == value
        bench.cpu.events.unwatch(watch)


def test_watched_pages_fault_as_they_would_and_may_be_changed_meanwhile(bench: Bench) -> None:
    cpu, entry = bench.cpu, bench.load("store")
    watch = Watch(DATA, 8, read=True, write=True)
    cpu.events.watch(watch)
    cpu.protect(DATA, PAGE, Protection.R)
    assert cpu.extent(DATA, Protection.R) >= PAGE
    bench.prepare(address=DATA)
    stop = cpu.run(entry)
    assert (stop.reason, stop.address) == (StopReason.WRITE_PROTECTED, DATA)
    cpu.unmap(DATA, PAGE)
    bench.prepare(address=DATA)
    assert cpu.run(entry).reason is StopReason.WRITE_UNMAPPED
    cpu.map(DATA, PAGE, RW, page_buffer())
    bench.prepare(value=5, address=DATA)
    assert cpu.run(entry).reason is StopReason.WATCH
    assert [access.value for access in cpu.events.accesses if access.write] == [5]
    cpu.events.unwatch(watch)
    bench.prepare(address=DATA)
    assert cpu.run(entry).reason is StopReason.TRAP
    with pytest.raises(AddressSpaceError):
        cpu.events.watch(Watch(0x3_0000, 4, read=True, write=True))
    assert not cpu.events.active


def test_limits_and_breakpoints_meet_exactly(bench: Bench) -> None:
    entry, step = bench.load("nops"), bench.guest.nop
    place = (entry & ~bench.guest.entry_bit) + 4 * step
    bench.cpu.events.add_breakpoint(place)
    for limit, reason, at in ((3, StopReason.INSTRUCTION_LIMIT, 3), (4, None, 4), (5, StopReason.BREAK, 4)):
        bench.prepare()
        stop = bench.cpu.run(entry, max_instructions=limit)
        assert stop.pc == place + (at - 4) * step
        assert bench.cpu.executed == at
        assert stop.reason is reason or (
            reason is None and stop.reason in (StopReason.BREAK, StopReason.INSTRUCTION_LIMIT)
        )
    bench.cpu.events.remove_breakpoint(place)


def test_stepping_goes_on_behind_a_trap(bench: Bench) -> None:
    entry = bench.load("return")
    bench.cpu.events.stepping = True
    bench.prepare(returns_to=TRAPS + 0x10)
    stop = bench.cpu.run(entry)
    assert stop == Stop(StopReason.TRAP, TRAPS + 0x10)
    after = bench.load("nops", CODE + 0x300)
    assert bench.cpu.run(after) == Stop(StopReason.STEP, CODE + 0x300)
    assert bench.cpu.run(after) == Stop(StopReason.STEP, CODE + 0x300 + bench.guest.nop)
    bench.cpu.events.stepping = False
    assert bench.cpu.run(after).reason not in EVENTS


@pytest.mark.parametrize("what", list(Recorded))
def test_a_time_limit_ends_a_run_that_is_recorded(bench: Bench, what: Recorded) -> None:
    for name in _ENDLESS:
        entry = bench.load(name)
        bench.load("return", CODE + 0x200)
        bench.prepare(address=CODE + 0x200 | bench.guest.entry_bit)
        events = bench.cpu.events
        log = events.record(what, lambda rows: None)
        in_steps = events.single_steps and (what is not Recorded.NEW_BLOCKS or name == "call forever")
        limit = 1 << 14 if in_steps else MANY  # which takes longer than the time
        assert bench.cpu.run(entry, max_instructions=limit, timeout=0.01).reason is StopReason.TIMEOUT
        log.close()


def test_many_breakpoints_are_as_exact_as_one(bench: Bench) -> None:
    entry, step = bench.load("nops"), bench.guest.nop
    start = entry & ~bench.guest.entry_bit
    places = [start + 3 * step, *(CODE + 0x400 + 8 * number for number in range(300))]
    for place in places:
        bench.cpu.events.add_breakpoint(place)
    bench.prepare()
    assert bench.cpu.run(entry) == Stop(StopReason.BREAK, places[0])
    bench.cpu.events.pass_over(places[0])
    assert bench.cpu.run(places[0] | bench.guest.entry_bit).reason is StopReason.TRAP
    for place in places:
        bench.cpu.events.remove_breakpoint(place)
    with pytest.raises(KeyError):
        bench.cpu.events.remove_breakpoint(places[0])


def test_code_on_a_watched_page_runs(bench: Bench) -> None:
    code = 0x6_0000
    bench.cpu.map(code, PAGE, RX, page_buffer())
    entry = bench.load("nops", code)
    watch = Watch(code, PAGE, read=True, write=True)
    bench.cpu.events.watch(watch)
    bench.prepare()
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    bench.cpu.events.unwatch(watch)


def test_a_closed_cpu_has_no_events_and_ends_recordings_quietly(bench: Bench) -> None:
    rows: list[Rows] = []
    recording = bench.cpu.events.record(Recorded.NEW_BLOCKS, rows.append)
    bench.cpu.events.add_breakpoint(CODE)
    entry = bench.load("nops")
    bench.prepare()
    bench.cpu.events.pass_over(entry)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    bench.cpu.close()
    recording.close()
    assert rows
    bench.cpu.events.remove_breakpoint(CODE)
    with pytest.raises((MachineError, AttributeError)):
        bench.cpu.run(entry)


#: Instructions that are computed on the host, each between two others.
_COMPUTED = {
    "x86_64": bytes.fromhex("d9ee d9fe 90 c3"),  # fldz; fsin; nop; ret
    "i386": bytes.fromhex("d9ee d9fe 90 c3"),
    "aarch64": words(0xD503201F, 0xB8E04022, 0xD503201F, 0xD65F03C0),  # nop; ldsmaxal w0, w2, [x1]; nop; ret
    "riscv64": words(0x00000013, 0xC0102573, 0x00000013, 0x00008067),  # nop; rdtime a0; nop; ret
    "riscv32": words(0x00000013, 0xC0102573, 0x00000013, 0x00008067),
}


@pytest.mark.parametrize("arch", list(_COMPUTED))
@pytest.mark.parametrize("more", [0, 100])
def test_breakpoints_of_new_code_are_met_once_where_instructions_are_computed(arch: str, more: int) -> None:
    bench = Bench(GUESTS[arch])
    guest = bench.guest
    bench.cpu.write(CODE, _COMPUTED[arch])
    places = [CODE, CODE + 2, CODE + 4] if guest.link is None else [CODE, CODE + 4, CODE + 8]
    for address in [*places, *range(CODE + 0x100, CODE + 0x100 + 8 * more, 8)]:
        bench.cpu.events.add_breakpoint(address)
    for _ in range(2):
        bench.prepare(address=DATA)
        met, stop = list[int](), bench.cpu.run(CODE, max_instructions=MANY)
        while stop.reason is StopReason.BREAK and len(met) < 10:
            met.append(stop.pc)
            bench.cpu.events.pass_over(stop.pc)
            stop = bench.cpu.run(stop.pc, max_instructions=MANY)
        assert (met, stop.reason) == (places, StopReason.TRAP)


@pytest.mark.parametrize("name", ["x86_64", "i386"])
@pytest.mark.parametrize("access", ["mov eax, [{}]", "add [{}], eax", "movq mm0, [{}]", "fld qword ptr [{}]"])
def test_flags_are_those_before_an_instruction_that_faults_behind_a_hook(name: str, access: str) -> None:
    bench = Bench(GUESTS[name])
    cpu, guest = bench.cpu, bench.guest
    before = assembled(name, "add eax, ecx", CODE)  # sets ZF and PF
    cpu.write(CODE, before + assembled(name, access.format(guest.address), CODE))
    place, flags = CODE + len(before), "eflags" if name == "i386" else "rflags"

    def flags_at_fault() -> int:
        bench.prepare(value=0, address=HOLE)
        cpu.write_register("ecx" if name == "i386" else "rcx", 0)
        stop = cpu.run(CODE)
        while stop.reason is StopReason.BREAK:
            assert cpu.read_register(flags) & 0x8D5 == 0x44
            cpu.events.pass_over(place)
            stop = cpu.run(place)
        assert (stop.reason.is_fault, stop.pc) == (True, place)
        return cpu.read_register(flags) & 0x8D5

    assert flags_at_fault() == 0x44
    cpu.events.add_breakpoint(place)
    assert flags_at_fault() == 0x44
    cpu.events.remove_breakpoint(place)
    recording = cpu.events.record(Recorded.INSTRUCTIONS, lambda rows: None)
    assert flags_at_fault() == 0x44
    recording.close()
    assert flags_at_fault() == 0x44
