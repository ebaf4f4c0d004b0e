"""LoongArch64 code that is compiled does what it does interpreted, and when it is compiled."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from emu.cpu.icicle.compiled import CHUNK
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.icicle.hot_code import INTERVAL
from emu.cpu.protocol import Protection, Stop, StopReason
from tests.loongarch64.assembler import A0, A1, A2, A3, RA, T0, T1, T2, ZERO, code, insn, jirl
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
