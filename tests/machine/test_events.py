"""Events of a running guest, against the guest in single steps: records, breakpoints, watched memory, counts."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from emu import Machine
from emu.cpu.events import Access, Recorded, Rows
from emu.cpu.protocol import StopReason
from emu.cpu.unicorn import api as unicorn_api
from emu.debug.observation import Hit
from emu.errors import BudgetExceeded
from relink.errors import AddressSpaceError, MachineError, MachineInUse, UnresolvedSymbol
from relink.memory.address_space import Protection
from tests.fixtures import each_target
from tests.machine.loops import build_loops, load_loops

target = each_target()


class Guest:
    """The loops, and what they do when they are run in single steps."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self.machine, self.library = machine, load_loops(machine, path)
        self.data = machine.heap.malloc(64)
        machine.memory.write(self.data, bytes(range(64)))
        self.answers = self.run()

    def run(self) -> list[object]:
        function = self.library.function
        return [
            function("adler32", "unsigned(unsigned, const void *, unsigned)")(1, self.data, 40),
            function("call_deeply", "unsigned(unsigned)")(5),
            function("count", "unsigned(unsigned)")(7),
            function("count_atomically", "unsigned(unsigned)")(5),
            function("follow", "unsigned(unsigned)")(9),
            function("wide", "unsigned long long(unsigned)")(9),
        ]

    def steps(self) -> list[int]:
        """Where each instruction is, in order."""
        found: list[int] = []
        events, listeners = self.machine.cpu.events, self.machine.parts.observation.listeners
        listeners.append(lambda stop: found.append(stop.pc))
        events.stepping = True
        assert self.run() == self.answers
        events.stepping = False
        listeners.clear()
        first = self.library.function_symbol("adler32").address & self.machine.arch.code_address_mask
        return [first, *found]  # the first is not reported: it has not been stepped to

    def record(self, what: Recorded, low: int = 0, high: int = (1 << 64) - 1) -> Rows:
        found: list[Rows] = []
        recording = self.machine.cpu.events.record(what, found.append, low, high)
        assert self.run() == self.answers
        recording.close()
        return np.concatenate(found)


@pytest.fixture
def guest(machine: Machine, target: str, tmp_path_factory: pytest.TempPathFactory) -> Guest:
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"loops-{target}.so"
    return Guest(machine, path if path.exists() else build_loops(target, folder))


def _note(hits: list[int], hit: Hit) -> None:
    hits.append(hit.address)


def test_records_are_what_single_steps_show(guest: Guest, target: str) -> None:
    steps = guest.steps()
    instructions = guest.record(Recorded.INSTRUCTIONS)
    sizes = dict(instructions.tolist())
    skipped = target == "thumb"  # instructions whose condition is false are not in the record
    if skipped:
        assert set(instructions[:, 0].tolist()) <= set(steps)
    else:
        assert instructions[:, 0].tolist() == steps
    blocks = guest.record(Recorded.BLOCKS).tolist()
    listed = []
    for start, size in blocks:
        at = start
        while at < start + size:
            listed.append(at)
            at += sizes.get(at, 2)
        assert at == start + size
    assert listed == steps
    starts = {start for start, _ in blocks}
    new = {start: size & 0xFFFF_FFFF for start, size in guest.record(Recorded.NEW_BLOCKS).tolist()}
    assert starts <= new.keys()
    # icicle also finds starts that are only reached from the instruction before
    assert all(any(start < one < start + size for start, size in blocks) for one in new.keys() - starts)
    edges = guest.record(Recorded.EDGES)
    follows = {(a + size, b) for (a, size), (b, _) in itertools.pairwise(blocks)}
    seen = {(int(before), int(after)) for before, after, _ in edges if before}
    entries = {int(after) for before, after, _ in edges if not before}
    assert seen <= follows
    assert {b for _, b in follows - seen} <= entries
    low, high = min(starts), sorted(starts)[len(starts) // 2]
    part = guest.record(Recorded.INSTRUCTIONS, low, high)[:, 0].tolist()
    assert part == [at for at in instructions[:, 0].tolist() if low <= at < high]
    assert guest.run() == guest.answers
    assert not guest.machine.cpu.events.active


def test_breakpoints_stop_before_each_instruction_and_change_nothing(guest: Guest) -> None:
    machine, steps = guest.machine, guest.steps()
    everywhere = sorted(set(steps))
    for places in (everywhere, everywhere[::3], everywhere[5:6]):
        hits: list[int] = []
        points = [machine.breakpoint(at, action=partial(_note, hits)) for at in places]
        with machine.counting() as count:
            assert guest.run() == guest.answers
        assert count.instructions == len(steps)
        assert hits == [at for at in steps if at in set(places)]
        for point in points:
            point.remove()
    assert guest.run() == guest.answers
    assert not machine.cpu.events.active


def test_entries_stop_where_jumps_and_calls_lead(guest: Guest) -> None:
    machine, steps, hits = guest.machine, guest.steps(), []
    entry = guest.library.function_symbol("fibonacci").address & machine.arch.code_address_mask
    events, listeners = machine.cpu.events, machine.parts.observation.listeners
    listeners.append(lambda stop: hits.append((stop.reason, stop.pc)))
    events.add_entry(entry)
    assert guest.run() == guest.answers
    events.remove_entry(entry)
    assert hits == [(StopReason.BREAK, entry)] * steps.count(entry)
    assert len(hits) > 3
    with pytest.raises(KeyError):
        events.remove_entry(entry)


def test_conditions_and_actions_see_and_change_the_guest(guest: Guest) -> None:
    machine, count = guest.machine, guest.library.function("count", "unsigned(unsigned)")
    seen = []
    with machine.breakpoint("count", condition=lambda hit: hit.arguments("unsigned(unsigned)") == (3,)) as point:
        assert [count(n) for n in (2, 3, 4, 3)] == [2, 3, 4, 3]
    assert point.hits == 2
    instead = machine.breakpoint(
        "count",
        action=lambda hit: hit.return_now("unsigned(unsigned)", 10 * hit.arguments("unsigned(unsigned)")[0]),
    )
    assert count(5) == 50
    instead.remove()
    instead.remove()
    nested = machine.breakpoint(
        "call_deeply",
        action=lambda hit: seen.append((hit.frame.symbol, count(4), hit["sp"] in hit.registers.values())),
    )
    assert guest.run() == guest.answers
    assert seen == [("call_deeply", 4, True)]
    nested.remove()
    again = list[int]()

    def call_once(hit: Hit) -> None:
        if not again:
            again.append(1)
            count(1)

    with machine.breakpoint("count", action=call_once):
        assert count(2) == 2  # the call of the action meets the breakpoint as well
    assert again == [1]


def access_of(hit: Hit) -> Access:
    assert hit.access is not None
    return hit.access


def test_what_an_action_raises_ends_the_call(guest: Guest) -> None:
    machine, count = guest.machine, guest.library.function("count", "unsigned(unsigned)")

    def fail(hit: object) -> None:
        raise ZeroDivisionError

    for observe in (
        lambda: machine.breakpoint("count", action=fail),
        lambda: machine.breakpoint("count", condition=fail),
        lambda: machine.watch("counter", 4, action=fail),
    ):
        with observe(), pytest.raises(ZeroDivisionError):
            count(3)
        assert count(3) == 3


def test_a_watchpoint_names_what_was_accessed(guest: Guest) -> None:
    machine, library = guest.machine, guest.library
    count = library.function("count", "unsigned(unsigned)")
    found, symbols, accesses = list[Access](), set[tuple[int, str | None]](), list[Access]()

    def note(hit: Hit) -> None:
        found.append(access_of(hit))
        symbols.add((found[-1].size, hit.frame.symbol))

    with machine.watch("counter", 4, on="access", action=note):
        assert count(3) == 3
    writes = [access.value for access in found if access.write]
    assert writes == [0, 1, 2, 3]
    assert [access.before for access in found if access.write][1:] == [0, 1, 2]
    assert [access.value for access in found if not access.write] == [0, 1, 2, 3]
    assert symbols == {(4, "count")}
    crc = library.function("crc32", "unsigned(unsigned, const void *, unsigned)")
    right = crc(0, guest.data, 10)
    with machine.counting() as plain:
        crc(0, guest.data, 10)
    with machine.watch("table", on="write", action=lambda hit: accesses.append(access_of(hit))) as point:
        with machine.counting() as watched:
            assert crc(0, guest.data, 10) == right
        assert point.hits == 256
        assert point.last == accesses[-1]
        with pytest.raises(BudgetExceeded) as spent:
            library.function("crc32", "unsigned(unsigned, const void *, unsigned)")(
                0, guest.data, 10, max_instructions=plain.instructions // 3
            )
    assert spent.value.executed == plain.instructions // 3
    assert plain.instructions == watched.instructions
    first = accesses[0].address
    assert [access.address for access in accesses[:256]] == [first + 4 * n for n in range(256)]


def test_the_stack_is_watched_while_it_is_used(guest: Guest) -> None:
    machine, writes = guest.machine, dict[int, bytes]()
    top = machine.stack.top

    def note(hit: Hit) -> None:
        access = access_of(hit)
        writes[access.address] = access.value.to_bytes(access.size, "little")

    with machine.watch(top - 4096, 4096, action=note):
        assert guest.library.function("call_deeply", "unsigned(unsigned)")(4) == 3
    assert writes
    assert all(machine.memory.read(at, len(data)) == data for at, data in writes.items())


def test_host_functions_are_watched_too(machine: Machine) -> None:
    """With the guest's permissions, as the hosted C library writes."""
    block, found = machine.heap.malloc(64), list[Access]()
    view = machine.parts.guest_view
    touch = machine.define("touch", (lambda at: view.write(at, b"abcd"), "void(unsigned long)"))
    with machine.watch(block + 2, 4, action=lambda hit: found.append(access_of(hit))):
        machine.call(touch, "void(unsigned long)", block)
        machine.memory.write(block, b"wxyz")  # by the user, not the guest
        machine.call(touch, "void(unsigned long)", block)
    told = [(a.pc, a.address, a.before.to_bytes(4, "little"), a.value.to_bytes(4, "little")) for a in found]
    assert told == [(touch, block, bytes(4), b"abcd"), (touch, block, b"wxyz", b"abcd")]


def test_events_that_cannot_be_are_refused_and_leave_nothing(guest: Guest) -> None:
    machine = guest.machine
    refused: list[tuple[type[Exception], Callable[[], object]]] = [
        (AddressSpaceError, lambda: machine.watch(0x123000, 4)),
        (AddressSpaceError, lambda: machine.watch("counter", 1 << 40)),
        (AddressSpaceError, lambda: machine.watch("counter", 0)),
        (MachineError, lambda: machine.watch("counter", 4, on="execute")),
        (MachineError, lambda: machine.watch(guest.data)),
        (AddressSpaceError, lambda: machine.breakpoint(0x123000)),
        (UnresolvedSymbol, lambda: machine.breakpoint("no_such_function")),
        (MachineError, lambda: machine.breakpoint("libnone.so:count")),
        (MachineError, lambda: machine.breakpoint(3.5)),  # type: ignore[arg-type]
        (MachineError, lambda: machine.cpu.events.record(Recorded.BLOCKS, print, 5, 5)),
    ]
    for error, ask in refused:
        with pytest.raises(error):
            ask()
        assert not machine.cpu.events.active


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"], indirect=True)
def test_events_are_refused_in_other_threads_while_the_guest_runs(guest: Guest) -> None:
    machine, refused = guest.machine, []

    def ask() -> None:
        for each in (lambda: machine.breakpoint("count"), lambda: machine.watch("counter"), machine.trace().start):
            try:
                each()
            except MachineInUse:
                refused.append(each)

    def host(value: int) -> int:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        with machine.breakpoint("count") as point:  # a host function itself may
            guest.library.function("count", "unsigned(unsigned)")(1)
        return value + point.hits

    function = machine.define("host", (host, "int host(int)"))
    assert machine.call(function, "int(int)", 5) == 6
    assert len(refused) == 3
    assert guest.run() == guest.answers
    assert not machine.cpu.events.active


def test_points_go_with_their_image(guest: Guest) -> None:
    machine, hits = guest.machine, list[Hit]()
    point = machine.breakpoint("count", action=hits.append)
    machine.watch("counter", 4, action=hits.append)
    guest.library.close()
    assert "count" in repr(point)
    guest = Guest(machine, Path(guest.library.name))
    assert guest.run() == guest.answers
    assert hits == []
    point.remove()


#: ll.w $t0,$a0,0; addi.w $t0,$t0,1; sc.w $t0,$a0,0; beqz $t0,-12; ret
_LL_SC = "8c000020 8c058002 8c000021 9ff5ff43 2000004c"


@pytest.mark.parametrize("target", ["loongarch64"], indirect=True)
def test_a_watched_page_does_not_break_a_reservation(machine: Machine) -> None:
    code = machine.memory.map_anonymous(4096, Protection.R | Protection.W | Protection.X)
    machine.memory.write(code, bytes.fromhex(_LL_SC))
    data = machine.memory.map_anonymous(4096)
    hits: list[int] = []
    for place in (data, data + 64):  # the word itself, and another on its page
        with machine.watch(place, 4, action=lambda hit: hits.append(hit.access.value if hit.access else 0)):
            machine.call(code, "void(void *)", data, max_instructions=100)
    with machine.snapshot(), machine.counting() as count:  # its pages are closed too
        machine.call(code, "void(void *)", data)
    assert machine.memory.read_uint(data, 4) == 3
    assert hits == [1]
    assert count.instructions == 5


#: Functions of an address that store to it in functions of Unicorn: fldpi, fstp tbyte [rdi], ret; dc zva, x0, ret.
_LOST = {"x86_64": "d9eb db3f c3", "aarch64": "20740bd5 c0035fd6"}


@pytest.mark.parametrize("leaves", [True, False], ids=["left at once", "left late"])
@pytest.mark.parametrize("target", _LOST)
def test_a_watched_store_in_a_function_of_the_engine(
    target: str, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made and reported; where the engine cannot leave it at once, an error."""
    if not leaves:
        monkeypatch.setattr(unicorn_api, "leaving_function", lambda engine, mode: 0)
    with Machine(target) as machine:
        code = machine.memory.map_anonymous(4096, Protection.R | Protection.W | Protection.X)
        machine.memory.write(code, bytes.fromhex(_LOST[target]))
        data, hits = machine.memory.map_anonymous(8192), list[int]()
        machine.memory.write(data, bytes([7]) * 8192)
        store = partial(machine.call, code, "void(void *)")
        with machine.watch(data + 4096 + 8, 2, action=lambda hit: hits.append(hit.address)):
            if leaves:
                store(data + 4096)
            else:
                with pytest.raises(MachineError, match=f"stores to {data + 4096:#x}"[:-2]):
                    store(data + 4096)
            store(data)
        assert bool(hits) is leaves
        assert (machine.memory.read(data, 8) == machine.memory.read(data + 4096, 8)) is leaves
        assert leaves or machine.memory.read(data + 4096, 8) == bytes([7]) * 8


@pytest.mark.parametrize("target", ["x86_64", "i386"], indirect=True)
def test_a_repeated_instruction_stops_once(machine: Machine) -> None:
    code = machine.memory.map_anonymous(4096, Protection.R | Protection.W | Protection.X)
    block = machine.heap.malloc(64)
    argument = "" if machine.arch.name == "x86_64" else "57 8b7c2408 b905000000"  # push edi; mov edi, [esp+8]
    setup = bytes.fromhex(argument or "b905000000")  # mov ecx, 5
    machine.memory.write(code, setup + bytes.fromhex("f3aa") + (b"\x5f" if argument else b"") + b"\xc3")
    hits: list[int] = []
    for place in (code + len(setup), code + len(setup) + 2):
        machine.breakpoint(place, action=lambda hit: hits.append(hit.address - code - len(setup)))
    for _ in range(2):
        machine.call(code, "void(void *)", block)
    assert hits == [0, 2] * 2


@pytest.mark.parametrize("target", ["x86_64", "aarch64"], indirect=True)
def test_what_a_callback_of_a_native_hook_raises_is_raised(guest: Guest) -> None:
    import unicorn

    native = guest.machine.cpu.native
    handle = native.hook_add(unicorn.UC_HOOK_BLOCK, lambda *_: 1 / 0)
    native.ctl_flush_tb()
    with pytest.raises(ZeroDivisionError):
        guest.run()
    native.hook_del(handle)
    assert guest.run() == guest.answers
    assert native.reg_read  # and no engine of its own to close
    guest.machine.close(run_destructors=False)
    with pytest.raises((MachineError, ctypes.ArgumentError), match="closed"):
        native.mem_read(0, 1)
