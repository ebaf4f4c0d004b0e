"""LoongArch64 code that is compiled does what it does interpreted, and when it is compiled."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from emu.cpu import hot_code
from emu.cpu.hot_code import INTERVAL, HotCode
from emu.cpu.icicle import IcicleCpu
from emu.cpu.icicle_compiled import CHUNK
from emu.cpu.protocol import Protection, Stop, StopReason
from relink.errors import MachineInUse
from tests.loongarch64.assembler import A0, A1, A2, A3, RA, T0, T1, T2, ZERO, code, insn, jirl, syscall
from tests.loongarch64.opcodes import FLOATING, NON_FLOATING
from tests.loongarch64.reference import mapped
from tests.loongarch64.test_against_qemu import build, make_case
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RW, RWX, RX, TRAPS, TRAPS_SIZE, pages

DATA, SIZE = 0x4000_0000, 4 * CHUNK
RETURN = jirl(ZERO, RA)


def branch(opcode: int, words: int, register: int = 0) -> int:
    """beqz, bnez (16, 17), b, bl (20, 21) over `words` instructions."""
    return opcode << 26 | (words & 0xFFFF) << 10 | register << 5 | words >> 16 & (0x3FF if opcode >= 20 else 0x1F)


#: Walks over `DATA` in strides of t3, T1 times; calls a function in each round.
WALK = code(
    insn("or", T2, RA, ZERO),
    insn("ld.d", A1, T0, 0),
    insn("add.d", A1, A1, A2),
    insn("st.d", A1, T0, 0),
    insn("xor", A2, A2, A1),
    branch(21, 6),
    insn("add.d", T0, T0, 15),
    insn("addi.d", T1, T1, -1),
    branch(17, -7, T1),
    insn("or", RA, T2, ZERO),
    RETURN,
    insn("mul.d", A3, A3, A2),
    insn("fadd.d", 0, 0, 1),
    insn("addi.d", A3, A3, 5),
    RETURN,
)


def walking(jit: bool | None, rounds: int = 1 << 20, stride: int = 8) -> IcicleCpu:
    """A CPU about to run WALK at CODE."""
    cpu = IcicleCpu()
    cpu.jit = jit
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, PAGE, RX, pages(WALK))
    cpu.map(DATA, SIZE, RW, pages(bytes(range(256)) * (SIZE >> 8), SIZE))
    cpu.write_registers(
        {"ra": TRAPS, "t0": DATA, "t1": rounds, "t3": stride, "a2": 3, "a3": 7, "fa1": 0x3FB999999999999A}
    )
    return cpu


@pytest.fixture
def both() -> Iterator[tuple[IcicleCpu, IcicleCpu]]:
    """The same guest compiled and interpreted."""
    cpus = walking(True, stride=1016), walking(False, stride=1016)
    yield cpus
    for cpu in cpus:
        cpu.close()


def same(compiled: IcicleCpu, interpreted: IcicleCpu, memory: bool = False) -> None:
    assert compiled.save() == interpreted.save()
    if memory:
        assert compiled.read(DATA, SIZE) == interpreted.read(DATA, SIZE)


# ---------------------------------------------------------------- the same results


@pytest.mark.parametrize("opcodes", [NON_FLOATING, FLOATING], ids=["others", "floating"])
def test_every_instruction_compiled_leaves_what_it_leaves_interpreted(opcodes: list) -> None:  # type: ignore[type-arg]
    rng = random.Random(5)
    program = build([make_case(opcode, rng) for opcode in opcodes if opcode.name != "preldx"])
    results = []
    for jit in (True, False):
        cpu = mapped(program)
        cpu.jit = jit
        assert cpu.run(program.entry).reason is StopReason.SYSCALL
        assert cpu.compiled == jit
        results.append((cpu.read(program.results.address, len(program.results.data)), cpu.executed, cpu.save()))
        cpu.close()
    assert results[0] == results[1]


def test_any_limit_stops_where_the_interpreter_stops(both: tuple[IcicleCpu, IcicleCpu]) -> None:
    rng = random.Random(7)
    pc = CODE
    for _ in range(60):
        limit = rng.choice((1, 2, 3, rng.randrange(1, 40), rng.randrange(1, 2000)))
        for cpu in both:
            cpu.write_register("t0", DATA + limit)
        stops = [cpu.run(pc, max_instructions=limit) for cpu in both]
        assert stops[0] == stops[1]
        assert [cpu.executed for cpu in both] == [limit, limit]
        same(*both)
        pc = stops[0].pc
    assert [cpu.compiled for cpu in both] == [True, False]
    same(*both, memory=True)


@pytest.mark.parametrize("change", ["unmapped", "unreadable", "read-only", "crosses"])
def test_faults_are_where_the_interpreter_has_them(both: tuple[IcicleCpu, IcicleCpu], change: str) -> None:
    """After some rounds of compiled code, in memory that it has not used yet."""
    for cpu in both:
        page = DATA + 2 * CHUNK + 3 * PAGE
        cpu.run(CODE, max_instructions=200)
        if change == "unreadable":
            cpu.protect(page, PAGE, Protection.NONE)
        elif change == "read-only":
            cpu.protect(page, PAGE, Protection.R)
        else:
            cpu.unmap(page, PAGE)
        cpu.write_register("t3", 1009 if change == "crosses" else 1016)
    stops = [cpu.run(cpu.read_register("pc")) for cpu in both]
    assert stops[0] == stops[1]
    assert stops[0].reason.is_fault
    assert both[0].executed == both[1].executed > 1000
    assert both[0].compiled
    same(*both)


# ---------------------------------------------------------------- memory that has not been moved yet


def test_the_host_sees_and_changes_memory_wherever_it_is(both: tuple[IcicleCpu, IcicleCpu]) -> None:
    for cpu in both:
        cpu.run(CODE, max_instructions=1000)
        assert cpu.load(DATA + CHUNK - 8, 16) == bytes([*range(248, 256), *range(8)])
        cpu.write(DATA + 2 * CHUNK - 3, b"abcdef")
        cpu.store(DATA + 3 * CHUNK, b"stored")
        cpu.protect(DATA + 2 * CHUNK, PAGE, Protection.R)
        cpu.protect(DATA, SIZE, RW)
        cpu.unmap(DATA + SIZE - PAGE, PAGE)
        cpu.map(DATA + SIZE - PAGE, PAGE, RW, pages(b"new"))
        cpu.run(cpu.read_register("pc"), max_instructions=3000)
    assert both[0].compiled
    same(*both, memory=True)


def test_code_and_protections_come_with_it() -> None:
    cpu = walking(True)
    cpu.map(DATA + SIZE, PAGE, RX, pages(code(insn("ori", A0, ZERO, 9), RETURN)))
    cpu.map(DATA + SIZE + PAGE, PAGE, Protection.R, pages(code(insn("ori", A0, ZERO, 8), RETURN)))
    assert cpu.run(CODE, max_instructions=100).reason is StopReason.INSTRUCTION_LIMIT
    cpu.write_register("ra", TRAPS)
    assert cpu.run(DATA + SIZE).reason is StopReason.TRAP
    assert cpu.read_register("a0") == 9
    assert cpu.run(DATA + SIZE + PAGE) == Stop(StopReason.FETCH_PROTECTED, DATA + SIZE + PAGE, DATA + SIZE + PAGE)
    cpu.protect(DATA + SIZE + PAGE, PAGE, RX)
    assert cpu.run(DATA + SIZE + PAGE).reason is StopReason.TRAP
    assert cpu.read_register("a0") == 8


# ---------------------------------------------------------------- what needs the interpreter


def test_changed_code_runs_as_changed(both: tuple[IcicleCpu, IcicleCpu]) -> None:
    for cpu in both:
        cpu.run(CODE, max_instructions=1000)
        cpu.write(CODE + 13 * 4, code(insn("addi.d", A3, A3, 6)))
        cpu.run(cpu.read_register("pc"), max_instructions=1000)
    same(*both, memory=True)


def test_code_that_changes_itself_runs_as_changed() -> None:
    states = []
    for jit in (True, False):
        cpu = IcicleCpu()
        cpu.jit = jit
        cpu.set_trap_range(TRAPS, TRAPS_SIZE)
        word = insn("addi.d", A0, A0, 1)
        words = [
            insn("st.w", A1, A2, 0),
            insn("addi.d", A0, A0, 0),
            insn("add.d", A1, A1, A3),
            insn("addi.d", T1, T1, -1),
        ]
        cpu.map(CODE, PAGE, RWX, pages(code(*words, branch(17, -4, T1), RETURN)))
        cpu.write_registers({"ra": TRAPS, "a1": word, "a2": CODE + 4, "a3": 1 << 10, "t1": 20})
        assert cpu.run(CODE).reason is StopReason.TRAP
        states.append((cpu.save(), cpu.executed))
        cpu.close()
    assert states[0] == states[1]
    assert states[0][0].values[4] == sum(range(1, 21))


def test_breakpoints_and_watched_memory_stop_compiled_code(both: tuple[IcicleCpu, IcicleCpu]) -> None:
    cpu, _ = both
    for each in both:
        each.run(CODE, max_instructions=1000)
    assert cpu.compiled
    for each in both:
        each.events.add_breakpoint(CODE + 12 * 4)
    for _ in range(3):
        stops = [each.run(each.read_register("pc")) for each in both]
        assert stops[0] == stops[1] == Stop(StopReason.BREAK, CODE + 12 * 4)
        same(*both)
        for each in both:
            each.events.pass_over(CODE + 12 * 4)
    assert not cpu.compiled
    for each in both:
        each.events.remove_breakpoint(CODE + 12 * 4)
        each.write_register("t3", 0)
        each.run(each.read_register("pc"), max_instructions=2 * INTERVAL)
    assert cpu.compiled
    same(*both, memory=True)


def test_snapshots_before_and_while_code_is_compiled(both: tuple[IcicleCpu, IcicleCpu]) -> None:
    for cpu in both:
        cpu.jit, wanted = False, cpu.jit
        cpu.settle([])
        cpu.run(CODE, max_instructions=700)
        cpu.jit = wanted
        start = cpu.save_state()
        cpu.run(cpu.read_register("pc"), max_instructions=2900)
    assert both[0].compiled
    first = dict(both[0].written())
    assert first == dict(both[1].written())
    assert len(first) > 8
    for cpu in both:
        cpu.settle([*first.items()])
        cpu.restore_state(start)
        assert cpu.written() == {}
        assert cpu.read(DATA, SIZE) == bytes(range(256)) * (SIZE >> 8)
        cpu.run(CODE, max_instructions=900)
    assert dict(both[0].written()) == dict(both[1].written()) != {}
    same(*both, memory=True)


def test_the_engines_own_handle_ends_compilation() -> None:
    cpu = walking(True)
    cpu.run(CODE, max_instructions=100)
    assert cpu.compiled
    native = cpu.native
    cpu.run(cpu.read_register("pc"), max_instructions=100)
    assert cpu.native is native
    assert native.reg_read("a3") == cpu.read_register("a3")
    cpu.close()
    assert IcicleCpu()._engine.raw is not native


# ---------------------------------------------------------------- limits of time, signals, threads


def test_compiled_code_keeps_time_limits_and_handles_signals() -> None:
    cpu = walking(True, rounds=1 << 62, stride=0)
    started = time.monotonic()
    assert cpu.run(CODE, timeout=0.1).reason is StopReason.TIMEOUT
    assert 0.1 <= time.monotonic() - started < 2

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            cpu.run(cpu.read_register("pc"))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert cpu.compiled
    cpu.write_register("t1", 1)
    assert cpu.run(cpu.read_register("pc")).reason is StopReason.TRAP
    cpu.close()


def test_engines_are_used_again_by_their_own_thread_as_new_ones() -> None:
    def use(out: list[object]) -> None:
        first = walking(True)
        first.events.add_breakpoint(CODE + 4)
        first.events.remove_breakpoint(CODE + 4)
        first.run(CODE, max_instructions=1000)
        engines = {id(first._engine.raw), id(first._engine.source.raw)}  # type: ignore[attr-defined]
        first.close()
        second = walking(None)
        out += [id(second._engine.raw) in engines, second.read_registers(["a0", "a1", "s0"])]
        second.jit = True
        second.unmap(DATA, SIZE)
        out.append(second.run(CODE))
        out.append(id(second._engine.raw) in engines)
        second.close()

    for _ in range(2):
        seen: list[object] = []
        thread = threading.Thread(target=use, args=(seen,))
        thread.start()
        thread.join()
        assert seen == [True, [0, 0, 0], Stop(StopReason.READ_UNMAPPED, CODE + 4, DATA), True]


def test_another_thread_may_close_but_not_use_a_cpu() -> None:
    cpu = walking(True)
    cpu.run(CODE, max_instructions=10)
    refused: list[BaseException] = []

    def use() -> None:
        try:
            cpu.run(CODE)
        except MachineInUse as error:
            refused.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(refused) == 1
    cpu.close()


# ---------------------------------------------------------------- when


def samples(places: list[int], each: float = 33e-9, start: float = 0.7e-3) -> int | None:
    """After how many samples at these places code is compiled; None: it is not."""
    hot = HotCode(None)
    for count, place in enumerate(places):
        hot.interpreted(INTERVAL, INTERVAL * each)
        assert hot.left == 0
        if hot.sampled(place, start):
            return count + 1
    return None


def test_a_loop_is_compiled_as_soon_as_that_could_have_been_done_meanwhile() -> None:
    loop = [0x1000 + 4 * (number % 7) for number in range(100)]
    assert samples(loop) == 2
    assert samples(loop, start=13e-3) in range(24, 33)
    assert samples(loop, each=150e-9, start=13e-3) in range(5, 9)


def test_code_that_runs_once_is_never_compiled_and_much_code_later_than_little() -> None:
    rng = random.Random(3)
    assert samples([64 * number for number in range(3000)]) is None
    assert samples([64 * rng.randrange(1 << 20) for _ in range(3000)]) is None
    little, much = ([64 * rng.randrange(lines) for _ in range(3000)] for lines in (20, 2000))
    assert 2 <= (samples(little) or 0) <= 40
    assert 200 <= (samples(much) or 0) <= 1024
    assert samples([64 * number for number in range(1000)] + [64] * 64) in range(1002, 1010)


def test_compilation_that_loses_is_given_up_and_begun_later() -> None:
    hot = HotCode(None)
    loop = [0x1000] * 3000
    for _ in range(3):
        hot.interpreted(INTERVAL, INTERVAL * 33e-9)
    hot.begin_compiled(0.0)
    hot.ran(1000, 5e-3)
    assert hot.is_worth_it()
    hot.ran(1000, 60e-3)
    assert not hot.is_worth_it()
    hot.give_up()
    hot.begin()
    assert next(count for count, place in enumerate(loop, 1) if hot.sampled(place, 0.0)) >= 2
    for _ in range(9):
        hot.give_up()
    hot.begin()
    assert next((count for count, place in enumerate(loop, 1) if hot.sampled(place, 0.7e-3)), None) is None


def test_more_code_than_an_engine_may_hold_is_compiled_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Engines never free code."""
    monkeypatch.setattr(hot_code, "MOST_COMPILATION", 0.0)
    cpu, other = walking(True, stride=0), walking(False, stride=0)
    first = None
    for _ in range(4):
        for each in (cpu, other):
            each.run(each.read_register("pc") or CODE, max_instructions=hot_code.COMPILED_INTERVAL)
        same(cpu, other)
        first = first or cpu._engine
    assert cpu.compiled
    assert cpu._engine is not first
    cpu.close()
    other.close()


def test_a_guest_is_interpreted_first_and_compiled_when_hot() -> None:
    cpu, other = walking(None, stride=0), walking(False, stride=0)
    for each in (cpu, other):
        assert each.run(CODE, max_instructions=INTERVAL - 1).reason is StopReason.INSTRUCTION_LIMIT
    assert not cpu.compiled
    for each in (cpu, other):
        pc = each.read_register("pc")
        assert each.run(pc, max_instructions=1 << 21).reason is StopReason.INSTRUCTION_LIMIT
    assert [cpu.compiled, other.compiled] == [True, False]
    same(cpu, other)
    assert cpu.read_register("pc") == other.read_register("pc")
    for each in (cpu, other):
        each.close()


def test_short_runs_are_counted_together() -> None:
    """Calls of a few instructions, as a machine makes, are compiled after as many of them."""
    cpu = walking(None)
    runs = 0
    while not cpu.compiled and runs < 1 << 14:
        cpu.write_registers({"t0": DATA, "t1": 50})
        assert cpu.run(CODE).reason is StopReason.TRAP
        runs += 1
    assert runs * 50 * 12 < 64 * INTERVAL
    cpu.close()


def test_a_system_call_in_compiled_code_goes_on() -> None:
    cpu = IcicleCpu()
    cpu.jit = True
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, PAGE, RX, pages(code(insn("addi.d", A0, A0, 1), syscall(), insn("addi.d", A0, A0, 2), RETURN)))
    cpu.write_register("ra", TRAPS)
    assert cpu.run(CODE) == Stop(StopReason.SYSCALL, CODE + 4)
    assert cpu.run(CODE + 8).reason is StopReason.TRAP
    assert cpu.read_register("a0") == 3
    assert cpu.executed == 2
    cpu.close()
