"""The LoongArch64 CPU as the machine sees it: memory, traps, faults, budgets, code that changes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.cpu.create import create_cpu
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Protection, Stop, StopReason
from relink.errors import AddressSpaceError
from tests.alarms import alarms, interrupt
from tests.loongarch64.assembler import A0, A1, A2, RA, T0, T1, ZERO, code, insn, jirl, load_immediate, syscall

PAGE = 4096
CODE, DATA = 0x10000, 0x40000
TRAPS, TRAPS_SIZE = 0x7FFF_0000_0000, 0x10000
RX, RW, RWX = Protection.R | Protection.X, Protection.R | Protection.W, Protection(7)

RETURN = jirl(ZERO, RA)
LOOP = 0x50000000  # b to itself


def pages(data: bytes = b"", size: int = PAGE) -> NDArray[np.uint8]:
    buffer = np.zeros(size, np.uint8)
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    return buffer


def returning(value: int) -> bytes:
    return code(insn("ori", A0, ZERO, value), RETURN)


@pytest.fixture
def cpu() -> Iterator[IcicleCpu]:
    cpu = IcicleCpu("loongarch64")
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.write_register("ra", TRAPS + 0x40)
    yield cpu
    cpu.close()


def at_code(cpu: IcicleCpu, *words: int, protection: Protection = RX) -> IcicleCpu:
    cpu.map(CODE, PAGE, protection, pages(code(*words)))
    return cpu


# ---------------------------------------------------------------- traps


def test_reaching_the_trap_range_changes_nothing_but_pc(cpu: IcicleCpu) -> None:
    at_code(cpu, RETURN)
    values = {name: 0x1111_0000_0000 + number for number, name in enumerate(cpu.registers) if name != "pc"}
    values |= {"ra": TRAPS + 8, "zero": 0}
    cpu.write_registers(values)
    assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS + 8)
    assert cpu.read_registers(list(values)) == list(values.values())
    assert cpu.read_register("pc") == TRAPS + 8


def test_a_trap_is_resumed_from_anywhere(cpu: IcicleCpu) -> None:
    at_code(cpu, jirl(RA, T0), insn("addi.d", A0, A0, 1), jirl(ZERO, T1))
    cpu.write_registers({"t0": TRAPS, "t1": TRAPS + 4})
    assert cpu.run(CODE).pc == TRAPS
    assert cpu.read_register("ra") == CODE + 4
    cpu.write_register("a0", 41)
    assert cpu.run(cpu.read_register("ra")) == Stop(StopReason.TRAP, TRAPS + 4)
    assert cpu.read_register("a0") == 42


def test_the_ends_of_the_trap_range_are_exact(cpu: IcicleCpu) -> None:
    at_code(cpu, RETURN)
    for target, reason in (
        (TRAPS - 4, StopReason.FETCH_UNMAPPED),
        (TRAPS, StopReason.TRAP),
        (TRAPS + TRAPS_SIZE - 4, StopReason.TRAP),
        (TRAPS + TRAPS_SIZE, StopReason.FETCH_UNMAPPED),
    ):
        cpu.write_register("ra", target)
        assert cpu.run(CODE)[:2] == (reason, target)


def test_nothing_can_be_mapped_in_the_trap_range(cpu: IcicleCpu) -> None:
    with pytest.raises(AddressSpaceError):
        cpu.map(TRAPS + PAGE, PAGE, RW, pages())


# ---------------------------------------------------------------- stops


def test_a_system_call_stops_at_the_instruction(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("ori", A0, ZERO, 7), syscall(3))
    assert cpu.run(CODE) == Stop(StopReason.SYSCALL, CODE + 4)
    assert cpu.read_register("a0") == 7


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (0x002A0005, StopReason.BREAKPOINT),
        (0x00000000, StopReason.INVALID_INSTRUCTION),
        (0xFFFFFFFF, StopReason.INVALID_INSTRUCTION),
        (0x06483800, StopReason.INVALID_INSTRUCTION),  # ertn: privileged
        (0x0C108000 | 9 << 16, StopReason.INVALID_INSTRUCTION),  # fcmp with a condition that does not exist
        (0x00010000 | T1 << 10 | T0 << 5, StopReason.EXCEPTION),  # asrtle.d t0, t1: 2 <= 1
        (0x00018000 | T0 << 10 | T1 << 5, StopReason.EXCEPTION),  # asrtgt.d t1, t0: 1 > 2
        (0x387A0000 | T1 << 10 | T0 << 5, StopReason.EXCEPTION),  # ldle.b zero, t0, t1
    ],
)
def test_what_cannot_be_executed_stops_at_the_instruction(cpu: IcicleCpu, word: int, reason: StopReason) -> None:
    at_code(cpu, insn("ori", T0, ZERO, 2), insn("ori", T1, ZERO, 1), word)
    assert cpu.run(CODE) == Stop(reason, CODE + 8)


@pytest.mark.parametrize(
    ("protection", "name", "reason"),
    [
        (None, "ld.d", StopReason.READ_UNMAPPED),
        (None, "st.d", StopReason.WRITE_UNMAPPED),
        (Protection.NONE, "ld.d", StopReason.READ_PROTECTED),
        (Protection.X, "ld.d", StopReason.READ_PROTECTED),
        (Protection.R, "st.d", StopReason.WRITE_PROTECTED),
        (RX, "st.d", StopReason.WRITE_PROTECTED),
    ],
)
def test_a_data_fault_names_pc_and_address_and_disturbs_no_register(
    cpu: IcicleCpu, protection: Protection | None, name: str, reason: StopReason
) -> None:
    at_code(cpu, insn(name, A0, T0, 8), RETURN)
    if protection is not None:
        cpu.map(DATA, PAGE, protection, pages())
    cpu.write_registers({"a0": 77, "t0": DATA})
    assert cpu.run(CODE) == Stop(reason, CODE, DATA + 8)
    assert cpu.read_register("a0") == 77
    # made good, the instruction can be executed again
    if protection is None:
        cpu.map(DATA, PAGE, RW, pages())
    else:
        cpu.protect(DATA, PAGE, RW)
    assert cpu.run(CODE).reason is StopReason.TRAP


def test_a_fetch_fault_tells_unmapped_from_not_executable_and_unaligned(cpu: IcicleCpu) -> None:
    at_code(cpu, RETURN)
    cpu.map(DATA, PAGE, RW, pages(returning(1)))
    for target, reason in (
        (0x900000, StopReason.FETCH_UNMAPPED),
        (0, StopReason.FETCH_UNMAPPED),
        (DATA, StopReason.FETCH_PROTECTED),
        (CODE + 2, StopReason.UNALIGNED),
    ):
        cpu.write_register("ra", target)
        assert cpu.run(CODE) == Stop(reason, target, target)


def test_unaligned_and_page_crossing_accesses_work(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("ld.d", A0, T0, 0), insn("st.d", A0, T0, 9), RETURN)
    cpu.map(DATA, 2 * PAGE, RW, pages(bytes(PAGE - 3) + b"abcdefgh", 2 * PAGE))
    cpu.write_register("t0", DATA + PAGE - 3)
    assert cpu.run(CODE).reason is StopReason.TRAP
    assert cpu.read_register("a0").to_bytes(8, "little") == b"abcdefgh"
    assert cpu.read(DATA + PAGE + 6, 8) == b"abcdefgh"


# ---------------------------------------------------------------- budgets


@pytest.mark.parametrize("limit", [1, 2, 7, 8, 9, 1000])
def test_max_instructions_is_exact(cpu: IcicleCpu, limit: int) -> None:
    at_code(cpu, *[insn("addi.d", A0, A0, 1)] * 7, 0x50000000 | (-7 & 0xFFFF) << 10 | 0x3FF)
    assert cpu.run(CODE, max_instructions=limit).reason is StopReason.INSTRUCTION_LIMIT
    assert cpu.read_register("a0") == limit - limit // 8
    assert cpu.read_register("pc") == CODE + 4 * (limit % 8)


def test_instructions_done_by_the_host_count_as_one(cpu: IcicleCpu) -> None:
    at_code(cpu, *[insn("flogb.d", 0, 1)] * 5, *[insn("addi.d", A0, A0, 1)] * 5)
    assert cpu.run(CODE, max_instructions=7) == Stop(StopReason.INSTRUCTION_LIMIT, CODE + 28)
    assert cpu.read_register("a0") == 2


def test_a_run_cut_short_goes_on_where_it_stopped(cpu: IcicleCpu) -> None:
    at_code(cpu, *[insn("addi.d", A0, A0, 1)] * 20, RETURN)
    stop = cpu.run(CODE, max_instructions=3)
    while stop.reason is StopReason.INSTRUCTION_LIMIT:
        stop = cpu.run(stop.pc, max_instructions=3)
    assert stop == Stop(StopReason.TRAP, TRAPS + 0x40)
    assert cpu.read_register("a0") == 20


def test_a_limit_longer_than_a_slice_is_kept(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("addi.d", A0, A0, 1), 0x50000000 | (-1 & 0xFFFF) << 10 | 0x3FF)
    limit = (1 << 21) + 1000
    assert cpu.run(CODE, max_instructions=limit).reason is StopReason.INSTRUCTION_LIMIT
    assert cpu.read_register("a0") == limit // 2


def test_timeout_stops_a_runaway_loop(cpu: IcicleCpu) -> None:
    at_code(cpu, LOOP)
    started = time.monotonic()
    assert cpu.run(CODE, timeout=0.05) == Stop(StopReason.TIMEOUT, CODE)
    assert time.monotonic() - started >= 0.05


def test_a_signal_handler_interrupts_a_run_without_limits(cpu: IcicleCpu) -> None:
    at_code(cpu, LOOP, RETURN)
    with alarms(interrupt, 0.05), pytest.raises(KeyboardInterrupt):
        cpu.run(CODE)
    assert cpu.run(CODE + 4).reason is StopReason.TRAP


# ---------------------------------------------------------------- registers


def test_every_name_of_a_register_reaches_it(cpu: IcicleCpu) -> None:
    cpu.write_registers([("r4", 4), ("f9", 9), ("f24", 24), ("r22", 22), ("fcc3", 0xFF)])
    assert cpu.read_registers(["a0", "ft1", "fs0", "fp", "s9", "fcc3"]) == [4, 9, 24, 22, 22, 1]
    assert create_cpu("loongarch64").registers[:4] == ("zero", "ra", "tp", "sp")
    with pytest.raises(KeyError):
        cpu.read_register("rax")


def test_values_are_cut_to_the_register_and_zero_stays_zero(cpu: IcicleCpu) -> None:
    cpu.write_registers({"a0": -1, "zero": 5, "fcsr": 0xFFFFFFFF})
    assert cpu.read_registers(["a0", "zero", "r0", "fcsr"]) == [(1 << 64) - 1, 0, 0, 0x1F1F031F]
    at_code(cpu, insn("ori", ZERO, ZERO, 9), insn("or", A0, ZERO, ZERO), RETURN)
    cpu.run(CODE)
    assert cpu.read_registers(["a0", "zero"]) == [0, 0]


def test_the_thread_pointer_is_tp(cpu: IcicleCpu) -> None:
    cpu.set_thread_pointer(0x7000_1234)
    assert cpu.read_registers(["tp", "r2"]) == [0x7000_1234] * 2


def test_save_and_restore_bring_every_register_back(cpu: IcicleCpu) -> None:
    names = [*cpu.registers[1:], *(f"f{n}" for n in range(32)), *(f"fcc{n}" for n in range(8)), "fcsr"]
    cpu.write_registers({name: number & 1 if name[:3] == "fcc" else number for number, name in enumerate(names)})
    cpu.write_register("fcsr", 0x01010000)
    before, context = cpu.read_registers(names), cpu.save()
    cpu.write_registers(dict.fromkeys(names, 0))
    cpu.restore(context)
    assert cpu.read_registers(names) == before


# ---------------------------------------------------------------- memory


def test_read_and_write_ignore_permissions(cpu: IcicleCpu) -> None:
    for number, protection in enumerate((Protection.NONE, Protection.R, Protection.X, RX)):
        address = DATA + number * PAGE
        cpu.map(address, PAGE, protection, pages(b"before"))
        cpu.write(address + 2, b"sid")
        assert cpu.read(address, 6) == b"beside"


def test_accesses_outside_mapped_memory_are_errors_and_change_nothing(cpu: IcicleCpu) -> None:
    cpu.map(DATA, PAGE, RW, pages(b"\xff" * PAGE))
    with pytest.raises(AddressSpaceError):
        cpu.read(DATA + PAGE - 1, 2)
    with pytest.raises(AddressSpaceError):
        cpu.write(DATA + PAGE - 1, b"ab")
    with pytest.raises(AddressSpaceError):
        cpu.read(-1, 2)
    assert cpu.read(DATA + PAGE - 1, 1) == b"\xff"
    assert cpu.read(0, 0) == b""


@pytest.mark.parametrize(("address", "size"), [(DATA, PAGE), (DATA - PAGE, 2 * PAGE), (DATA + PAGE, PAGE)])
def test_an_overlapping_map_is_refused(cpu: IcicleCpu, address: int, size: int) -> None:
    cpu.map(DATA, 2 * PAGE, RW, pages(size=2 * PAGE))
    with pytest.raises(AddressSpaceError):
        cpu.map(address, size, RW, pages(size=size))


def test_pages_are_protected_and_unmapped_singly(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("st.d", A0, T0, 0), RETURN)
    cpu.map(DATA, 3 * PAGE, RW, pages(size=3 * PAGE))
    cpu.protect(DATA + PAGE, PAGE, Protection.R)
    cpu.unmap(DATA + 2 * PAGE, PAGE)
    for page, reason in enumerate((StopReason.TRAP, StopReason.WRITE_PROTECTED, StopReason.WRITE_UNMAPPED)):
        cpu.write_register("t0", DATA + page * PAGE)
        assert cpu.run(CODE).reason is reason
    for operation in (cpu.unmap, lambda address, size: cpu.protect(address, size, RW)):
        with pytest.raises(AddressSpaceError):
            operation(DATA + PAGE, 2 * PAGE)


def test_map_copies_the_buffer_once(cpu: IcicleCpu) -> None:
    buffer = pages(b"first")
    cpu.map(DATA, PAGE, RW, buffer)
    buffer[:] = 0
    assert cpu.read(DATA, 5) == b"first"
    assert not cpu.shares_memory


# ---------------------------------------------------------------- code that changes


def test_written_code_runs_as_written(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("ori", A0, ZERO, 1), RETURN)
    for value in (1, 2, 3):
        cpu.write(CODE, returning(value))
        cpu.run(CODE)
        assert cpu.read_register("a0") == value


def test_code_mapped_where_other_code_ran_runs_fresh(cpu: IcicleCpu) -> None:
    for value in (1, 2, 3):
        cpu.map(CODE, PAGE, RX, pages(returning(value)))
        cpu.run(CODE)
        assert cpu.read_register("a0") == value
        cpu.unmap(CODE, PAGE)
        assert cpu.run(CODE) == Stop(StopReason.FETCH_UNMAPPED, CODE, CODE)


def test_code_that_lost_its_permission_does_not_run(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("ori", A0, ZERO, 1), RETURN)
    cpu.run(CODE)
    cpu.protect(CODE, PAGE, Protection.R)
    assert cpu.run(CODE) == Stop(StopReason.FETCH_PROTECTED, CODE, CODE)


def test_code_that_ran_off_its_page_runs_on_when_the_next_is_mapped(cpu: IcicleCpu) -> None:
    cpu.map(CODE, PAGE, RX, pages(code(*[insn("addi.d", A0, A0, 1)] * (PAGE // 4))))
    assert cpu.run(CODE + PAGE - 8) == Stop(StopReason.FETCH_UNMAPPED, CODE + PAGE, CODE + PAGE)
    cpu.map(CODE + PAGE, PAGE, RX, pages(returning(9)))
    assert cpu.run(CODE + PAGE - 8).reason is StopReason.TRAP


def test_a_guest_store_over_code_takes_effect_at_once(cpu: IcicleCpu) -> None:
    patched = insn("ori", A0, ZERO, 2)
    store = [*load_immediate(T0, CODE + 4 * 10), *load_immediate(T1, patched), insn("st.w", T1, T0, 0)]
    words = [*store, insn("ori", A1, ZERO, 5), insn("ori", A0, ZERO, 1), RETURN]
    at_code(cpu, *words, protection=RWX)
    for _ in range(2):
        assert cpu.run(CODE).reason is StopReason.TRAP
        assert cpu.read_registers(["a0", "a1"]) == [2, 5]
        cpu.write(CODE + 40, code(insn("ori", A0, ZERO, 1)))


def test_a_store_that_reaches_from_code_into_a_protected_page_faults(cpu: IcicleCpu) -> None:
    at_code(cpu, insn("st.d", A0, T0, 0), RETURN, protection=RWX)
    cpu.map(CODE + PAGE, PAGE, RWX, pages())
    cpu.map(CODE + 2 * PAGE, PAGE, Protection.R, pages())
    last = CODE + 2 * PAGE - 4
    cpu.write(last, code(RETURN))
    cpu.run(last)
    cpu.write_registers({"a0": 1, "t0": last})
    stop = cpu.run(CODE)
    assert (stop.reason, stop.pc) == (StopReason.WRITE_PROTECTED, CODE)


def test_code_and_the_data_it_changes_may_share_a_page(cpu: IcicleCpu) -> None:
    at_code(
        cpu, insn("ld.d", A1, T0, 0), insn("addi.d", A1, A1, 1), insn("st.d", A1, T0, 0), RETURN, protection=RWX
    )
    cpu.write_register("t0", CODE + 256)
    for _ in range(3):
        assert cpu.run(CODE).reason is StopReason.TRAP
    assert cpu.read(CODE + 256, 1) == b"\x03"


def test_changing_code_loses_no_memory_register_or_permission(cpu: IcicleCpu) -> None:
    at_code(cpu, RETURN)
    cpu.map(DATA, 64 * PAGE, RW, pages(b"start", 64 * PAGE))
    cpu.map(0x900000, PAGE, Protection.R, pages(b"constant"))
    cpu.write(DATA + 63 * PAGE, b"end")
    cpu.run(CODE)
    cpu.write_registers({"s3": 33, "f7": 77, "fcc7": 1, "fcsr": 0x300})
    cpu.write(CODE, code(insn("ori", A2, ZERO, 3), RETURN))
    assert cpu.run(CODE).reason is StopReason.TRAP
    assert cpu.read_registers(["s3", "f7", "fcc7", "fcsr", "a2"]) == [33, 77, 1, 0x300, 3]
    assert cpu.read(DATA, 5) + cpu.read(DATA + 63 * PAGE, 3) + cpu.read(0x900000, 8) == b"startendconstant"
    cpu.write(CODE, code(insn("st.d", A0, T0, 0)))
    cpu.write_register("t0", 0x900000)
    assert cpu.run(CODE) == Stop(StopReason.WRITE_PROTECTED, CODE, 0x900000)
