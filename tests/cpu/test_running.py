"""Every engine runs, traps, faults and stops at limits alike: the claims of `emu.cpu.Cpu` about `run`."""

from __future__ import annotations

import time
from itertools import permutations

import pytest

from emu.cpu.protocol import Stop, StopReason
from tests.alarms import alarms, interrupt
from tests.grouping import each

from .guests import CLOSED, CODE, DATA, GUESTS, HOLE, PAGE, TRAPS, Bench


def where_there_is(program: str) -> pytest.MarkDecorator:
    """Run the test on the ISAs that have the program."""
    names = [guest.name for guest in GUESTS.values() if guest.has(program)]
    return pytest.mark.parametrize("bench", names, indirect=True)


# ---------------------------------------------------------------- traps


def test_a_return_to_the_trap_range_stops_there(bench: Bench) -> None:
    entry = bench.load("add 1")
    bench.prepare(value=41, returns_to=TRAPS + 0x40)
    assert bench.cpu.run(entry) == (StopReason.TRAP, TRAPS + 0x40, None)
    assert bench.value == 42


def test_a_call_of_a_trap_leaves_the_return_address_and_resumes(bench: Bench) -> None:
    entry = bench.load("call")
    bench.prepare(value=1, address=TRAPS + 8)
    assert bench.cpu.run(entry).pc == TRAPS + 8
    assert bench.cpu.read_register("pc") == TRAPS + 8
    back = return_address(bench)
    assert CODE < back < CODE + 16
    assert bench.cpu.run(back) == (StopReason.TRAP, TRAPS, None)
    assert bench.value == 101


def return_address(bench: Bench) -> int:
    """Where the guest's call returns to; pops it where it was pushed."""
    guest, cpu = bench.guest, bench.cpu
    if guest.link is not None:
        back = cpu.read_register(guest.link)
        assert back & 1 == guest.entry_bit
        return back
    sp = cpu.read_register("sp")
    cpu.write_register("sp", sp + guest.word)
    return int.from_bytes(cpu.read(sp, guest.word), "little")


def test_a_tail_jump_to_a_trap_keeps_the_callers_return_address(bench: Bench) -> None:
    entry = bench.load("jump")
    bench.prepare(address=TRAPS + 0x10, returns_to=TRAPS + 0x20)
    assert bench.cpu.run(entry) == (StopReason.TRAP, TRAPS + 0x10, None)
    if bench.guest.link is not None:
        assert bench.cpu.read_register(bench.guest.link) == TRAPS + 0x20
    else:
        assert return_address(bench) == TRAPS + 0x20


@where_there_is("flags")
def test_flags_survive_a_trap(bench: Bench) -> None:
    register, mask = bench.guest.flags
    entry = bench.load("flags")
    bench.prepare(value=7, address=TRAPS + 8)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.cpu.read_register(register) & mask
    bench.cpu.run(return_address(bench))
    assert bench.value == 1


def test_thousands_of_traps_at_different_addresses_stay_precise(bench: Bench) -> None:
    entry = bench.load("call")
    for turn in range(3000):
        trap = TRAPS + 4 * (1 + turn % 1000)
        bench.prepare(value=turn, address=trap)
        assert bench.cpu.run(entry) == (StopReason.TRAP, trap, None)
        assert bench.value == turn
        bench.cpu.run(return_address(bench))
        assert bench.value == turn + 100


def test_a_trap_may_run_the_guest_again_before_it_returns(bench: Bench) -> None:
    outer = bench.load("call")
    inner = bench.load("add 2", CODE + 0x100)
    bench.prepare(value=1, address=TRAPS + 8)
    bench.cpu.run(outer)
    back = return_address(bench)
    context = bench.cpu.save()
    bench.prepare(value=1000)
    assert bench.cpu.run(inner) == (StopReason.TRAP, TRAPS, None)
    assert bench.value == 1002
    bench.cpu.restore(context)
    # prepare put the inner call's stack where the outer one's was
    bench.prepare(value=bench.value)
    bench.cpu.run(back)
    assert bench.value == 101


def test_a_trap_address_may_be_run_directly(bench: Bench) -> None:
    bench.prepare()
    assert bench.cpu.run(TRAPS + 0x80) == (StopReason.TRAP, TRAPS + 0x80, None)


# ---------------------------------------------------------------- faults


@each(
    ("program", "address", "reason"),
    [
        ("load", HOLE, StopReason.READ_UNMAPPED),
        ("load", CLOSED, StopReason.READ_PROTECTED),
        ("load", 0, StopReason.READ_UNMAPPED),
        ("store", HOLE + 8, StopReason.WRITE_UNMAPPED),
        ("store", CODE + 0x800, StopReason.WRITE_PROTECTED),
        ("store", CLOSED, StopReason.WRITE_PROTECTED),
    ],
)
def test_a_bad_access_mid_block_names_pc_and_address(
    bench: Bench, program: str, address: int, reason: StopReason
) -> None:
    entry = bench.load(program)
    bench.prepare(value=0x55, address=address)
    stop = bench.cpu.run(entry)
    assert stop == Stop(reason, CODE + bench.guest.nop, address)
    assert bench.cpu.read_register("pc") == stop.pc | bench.guest.entry_bit
    assert bench.value == 0x55


@each("first", ["load", "store", "jump"])
def test_an_unreadable_page_stays_unreadable_after_a_fault(bench: Bench, first: str) -> None:
    bench.prepare(address=CLOSED)
    assert bench.cpu.run(bench.load(first)).reason.is_fault
    entry = bench.load("load", CODE + 0x100)
    for _ in range(2):
        bench.prepare(value=0x55, address=CLOSED)
        assert bench.cpu.run(entry).reason is StopReason.READ_PROTECTED
        assert bench.value == 0x55


def test_the_highest_addresses_are_reported_in_full(bench: Bench) -> None:
    entry = bench.load("load")
    for below_top in (bench.guest.word, 0x1_0000):
        address = (1 << 8 * bench.guest.word) - below_top
        bench.prepare(address=address)
        assert bench.cpu.run(entry) == (StopReason.READ_UNMAPPED, CODE + bench.guest.nop, address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (HOLE, StopReason.FETCH_UNMAPPED),
        (0, StopReason.FETCH_UNMAPPED),
        (DATA + 0x10, StopReason.FETCH_PROTECTED),
        (CLOSED, StopReason.FETCH_PROTECTED),
    ],
)
def test_a_jump_astray_stops_at_its_target(bench: Bench, address: int, reason: StopReason) -> None:
    entry = bench.load("jump")
    bench.prepare(address=address)
    assert bench.cpu.run(entry) == (reason, address, address)


def test_running_off_the_end_of_a_page_faults_at_the_next(bench: Bench) -> None:
    code = bench.guest.code("nops")[: 8 * bench.guest.nop]
    bench.cpu.write(CODE + PAGE - len(code), code)
    bench.prepare()
    stop = bench.cpu.run(CODE + PAGE - len(code) | bench.guest.entry_bit)
    assert stop == (StopReason.FETCH_UNMAPPED, CODE + PAGE, CODE + PAGE)


_EXCEPTIONS = {
    "syscall": StopReason.SYSCALL,
    "syscall instruction": StopReason.SYSCALL,
    "sysenter": StopReason.SYSCALL,
    "breakpoint": StopReason.BREAKPOINT,
    "short breakpoint": StopReason.BREAKPOINT,
    "invalid": StopReason.INVALID_INSTRUCTION,
    "short invalid": StopReason.INVALID_INSTRUCTION,
    "halt": StopReason.WAIT,
}


@pytest.mark.parametrize(
    ("bench", "program"),
    [(guest.name, program) for guest in GUESTS.values() for program in _EXCEPTIONS if guest.has(program)],
    indirect=["bench"],
)
def test_an_exception_stops_at_its_instruction(bench: Bench, program: str) -> None:
    entry = bench.load(program)
    bench.prepare()
    at = CODE + (2 if program.startswith("short") else bench.guest.nop)
    assert bench.cpu.run(entry) == (_EXCEPTIONS[program], at, None)
    assert bench.cpu.read_register("pc") == at | bench.guest.entry_bit


@where_there_is("divide")
def test_division_by_zero_is_an_arithmetic_exception(bench: Bench) -> None:
    entry = bench.load("divide")
    bench.prepare()
    assert bench.cpu.run(entry) == (StopReason.ARITHMETIC, CODE + 5, None)


def test_an_exception_is_the_same_after_any_other(bench: Bench) -> None:
    programs = [name for name in ("divide", "load", "breakpoint", "invalid", "nops") if bench.guest.has(name)]
    first: dict[str, object] = {}
    for name in [*programs, *(name for pair in permutations(programs, 2) for name in (*pair, *pair[::-1]))]:
        entry = bench.load(name)
        bench.prepare(address=HOLE)
        stop = bench.cpu.run(entry)
        assert first.setdefault(name, stop) == stop


@where_there_is("unaligned")
def test_an_unaligned_atomic_is_reported_as_such(bench: Bench) -> None:
    entry = bench.load("unaligned")
    bench.prepare(address=DATA + 2)
    stop = bench.cpu.run(entry)
    assert (stop.reason, stop.pc) == (StopReason.UNALIGNED, CODE + bench.guest.nop)


def test_after_a_system_call_the_guest_goes_on_behind_it(bench: Bench) -> None:
    entry = bench.load("syscall")
    size = len(bench.guest.code("syscall")) - bench.guest.nop
    bench.cpu.write(CODE + size, bench.guest.code("add 1"))
    bench.prepare(value=1)
    assert bench.cpu.run(entry).reason is StopReason.SYSCALL
    assert bench.cpu.run(CODE + size | bench.guest.entry_bit).reason is StopReason.TRAP
    assert bench.value == 2


@pytest.mark.parametrize("program", ["load", "syscall", "breakpoint", "invalid"])
def test_after_any_stop_the_cpu_runs_again(bench: Bench, program: str) -> None:
    entry = bench.load(program)
    good = bench.load("add 1", CODE + 0x200)
    for turn in range(50):
        bench.prepare(address=HOLE)
        assert bench.cpu.run(entry).reason is not StopReason.TRAP
        bench.prepare(value=turn)
        assert bench.cpu.run(good) == (StopReason.TRAP, TRAPS, None)
        assert bench.value == turn + 1


@where_there_is("conditional load")
def test_a_fault_in_a_thumb_it_block_does_not_make_the_next_code_conditional(bench: Bench) -> None:
    entry = bench.load("conditional load")
    good = bench.load("add 1", CODE + 0x200)
    bench.prepare(address=HOLE)
    assert bench.cpu.run(entry).reason is StopReason.READ_UNMAPPED
    bench.prepare(value=5)
    bench.cpu.write_register("cpsr", bench.cpu.read_register("cpsr") & ~(1 << 30))  # "eq" is now false
    assert bench.cpu.run(good).reason is StopReason.TRAP
    assert bench.value == 6


@where_there_is("hints")
def test_hints_to_a_hypervisor_are_run_through(bench: Bench) -> None:
    entry = bench.load("hints")
    bench.prepare(value=1)
    assert bench.cpu.run(entry) == (StopReason.TRAP, TRAPS, None)
    assert bench.value == 2


@where_there_is("hints in a loop")
@pytest.mark.parametrize("limit", [0, 100, 5])
def test_a_loop_around_a_hint_goes_on_and_an_invalid_instruction_behind_one_is_none(
    bench: Bench, limit: int
) -> None:
    """The engine reports both alike, where a run begins behind the hint."""
    entry = bench.load("hints in a loop")
    bench.prepare(value=4)
    stop = bench.cpu.run(entry, max_instructions=limit)
    while stop.reason is StopReason.INSTRUCTION_LIMIT:
        stop = bench.cpu.run(bench.cpu.read_register("pc"), max_instructions=limit)
    assert (stop.reason, bench.value) == (StopReason.INVALID_INSTRUCTION, 0)
    assert stop.pc == entry - bench.guest.entry_bit + 4 * bench.guest.nop


# ---------------------------------------------------------------- limits


def test_an_instruction_limit_stops_exactly_there_and_can_be_resumed(bench: Bench) -> None:
    entry = bench.load("nops")
    bench.prepare()
    stop = bench.cpu.run(entry, max_instructions=3)
    assert stop == Stop(StopReason.INSTRUCTION_LIMIT, CODE + 3 * bench.guest.nop)
    stop = bench.cpu.run(stop.pc | bench.guest.entry_bit, max_instructions=100)
    assert stop == (StopReason.TRAP, TRAPS, None)


def test_an_instruction_limit_that_just_suffices_is_not_reached(bench: Bench) -> None:
    entry = bench.load("nops")
    bench.prepare()
    assert bench.cpu.run(entry, max_instructions=9).reason is StopReason.TRAP
    bench.prepare()
    assert bench.cpu.run(entry, max_instructions=8).reason is StopReason.INSTRUCTION_LIMIT


def test_an_instruction_limit_holds_for_code_that_ran_without_one_before(bench: Bench) -> None:
    entry = bench.load("nops")
    for _ in range(3):
        bench.prepare()
        assert bench.cpu.run(entry).reason is StopReason.TRAP
        bench.prepare()
        assert bench.cpu.run(entry, max_instructions=5).reason is StopReason.INSTRUCTION_LIMIT


def test_an_endless_loop_ends_at_the_instruction_limit(bench: Bench) -> None:
    entry = bench.load("spin")
    bench.prepare()
    assert bench.cpu.run(entry, max_instructions=10_000) == (StopReason.INSTRUCTION_LIMIT, CODE, None)


def test_an_endless_loop_ends_at_the_time_limit(bench: Bench) -> None:
    entry = bench.load("spin")
    for _ in range(3):
        bench.prepare()
        before = time.monotonic()
        assert bench.cpu.run(entry, timeout=0.05) == (StopReason.TIMEOUT, CODE, None)
        assert time.monotonic() - before > 0.04


def test_a_time_limit_that_suffices_costs_no_waiting(bench: Bench) -> None:
    entry = bench.load("add 1")
    before = time.monotonic()
    for _ in range(200):
        bench.prepare()
        assert bench.cpu.run(entry, timeout=10).reason is StopReason.TRAP
    assert time.monotonic() - before < 5


def test_a_time_limit_of_the_past_is_not_blamed_later(bench: Bench) -> None:
    entry = bench.load("spin")
    assert bench.cpu.run(entry, timeout=0.01).reason is StopReason.TIMEOUT
    assert bench.cpu.run(entry, max_instructions=100).reason is StopReason.INSTRUCTION_LIMIT


def test_a_signal_is_handled_while_the_guest_loops_for_ever(bench: Bench) -> None:
    entry = bench.load("spin")
    good = bench.load("add 1", CODE + 0x200)
    with alarms(interrupt, 0.05), pytest.raises(KeyboardInterrupt):
        bench.cpu.run(entry)
    bench.prepare(value=1)
    assert bench.cpu.run(good).reason is StopReason.TRAP
    assert bench.value == 2
