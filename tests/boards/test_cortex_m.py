"""Cortex-M beyond what the programs compared with QEMU show."""

from __future__ import annotations

import pytest

from emu.boards import Board, BoardError, CortexM, Deadlock, Ended, FirmwareError, Lockup, NotModelled, Ram
from emu.errors import GuestFault
from tests.boards.guests import CODE, CPSID, HERE, NOP, RAM, SEV, WFE, WFI, board, ldr, load, store

MAINLINE = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")
SCB = 0xE000_ED00
DIVIDE = [0xFBB0, 0xF0F1]  # udiv r0, r0, r1
ADD_FLOATS = [0xEE30, 0x0A00]  # vadd.f32 s0, s0, s0


def raising(guest: Board) -> Board:
    guest.profile.faults_to = "raise"  # type: ignore[attr-defined]
    return guest


def profile(guest: Board) -> CortexM:
    assert isinstance(guest.profile, CortexM)
    return guest.profile


@pytest.mark.parametrize("cpu", MAINLINE)
def test_a_division_by_zero_faults_where_it_is_asked_to(cpu: str) -> None:
    divide = [*load(2, SCB), 0x2000, 0x2100, *DIVIDE, 0x2310, 0x6153, *DIVIDE, HERE]  # CCR = DIV_0_TRP between
    guest = board(divide, cpu=cpu, handlers={3: [HERE]})
    guest.run(max_instructions=40)
    assert profile(guest).faults.configurable == 1 << 25
    assert guest.machine.cpu.read_register("r0") == 0
    assert guest.machine.memory.read_uint(guest.machine.cpu.read_register("msp") + 24, 4) == CODE + 20


def test_fixed_point_is_converted_to_nearest_in_every_rounding_mode() -> None:
    enable = [*load(2, SCB), *load(0, 0xF << 20), *load(3, 0x88), 0x50D0]  # CPACR
    convert = [
        0xEEE1,
        0x1A10,
        0xEE00,
        0x0A10,
        0xEEBA,
        0x0ACE,
        0xEE10,
        0x0A10,
    ]  # vcvt.f32.s32 s0, s0, #4
    for mode in range(4):
        guest = board([*enable, *load(0, 0x0100_0001), *load(1, mode << 22), *convert, HERE], cpu="cortex-m4")
        guest.run(max_instructions=40)
        assert guest.machine.cpu.read_register("r0") == 0x4980_0000, mode


def test_floating_point_faults_until_it_is_enabled() -> None:
    enable = [*load(2, SCB), *load(0, 0xF << 20), *load(3, 0x88), 0x50D0]  # str r0, [r2, r3]: CPACR
    guest = raising(board([NOP, *ADD_FLOATS, *enable, *ADD_FLOATS, HERE], cpu="cortex-m4"))
    with pytest.raises(GuestFault):
        guest.run(max_instructions=40)
    assert guest.pc & ~1 == CODE + 2
    guest = raising(board([*enable, *ADD_FLOATS, *ADD_FLOATS, HERE], cpu="cortex-m4"))
    guest.run(max_instructions=40)
    guest = raising(board([*enable, *ADD_FLOATS, HERE], cpu="cortex-m3"))
    with pytest.raises(GuestFault):  # which has none
        guest.run(max_instructions=40)


def test_v8m_baseline_divides_but_has_no_mainline_instructions() -> None:
    guest = raising(board([*load(0, 84), 0x2102, *DIVIDE, HERE], cpu="cortex-m23"))
    guest.run(max_instructions=20)
    assert guest.machine.cpu.read_register("r0") == 42
    for code in ([0xBF08, 0x2001], [0xF04F, 0x0001], [0xE910, 0x0006]):  # it eq; mov.w r0, #1; ldmdb r0, {r1, r2}
        guest = raising(board([NOP, *code, HERE], cpu="cortex-m23"))
        with pytest.raises(GuestFault, match="invalid instruction"):
            guest.run(max_instructions=20)


def test_an_event_is_remembered_for_one_wfe() -> None:
    guest = board([SEV, WFE, NOP, WFE, NOP, HERE])
    with pytest.raises(Deadlock):
        guest.run(max_instructions=100)
    assert guest.pc & ~1 == CODE + 6
    guest = board([CPSID, WFE, HERE])
    with pytest.raises(Deadlock):
        guest.run(max_instructions=100)


def test_an_interrupt_inside_an_it_block_returns_into_it() -> None:
    """At each instruction of a loop with IT blocks; the result is that of the loop alone."""
    # again: adds r0, #1; cmp r0, r5; itte lt; addlt r1, #3; addlt r2, #5; movge r4, #1; cmp r4, #0; beq again
    body = [0x3001, 0x42A8, 0xBFBA, 0x3103, 0x3205, 0x2401, 0x2C00, 0xD0F7, HERE]
    code = [*load(5, 60), 0x2000, 0x2100, 0x2200, 0x2400, *body]
    expected = None
    for period in (0, 3, 7, 10, 13):
        guest = board(code, handlers={15: [0x3601, 0x4770]})  # adds r6, #1; bx lr
        if period:
            systick = profile(guest).system.systick
            systick.write(0x14, period - 1)
            systick.write(0x10, 7)
        guest.run(max_instructions=3000)
        values = guest.machine.cpu.read_registers(("r0", "r1", "r2", "r4"))
        expected = expected or values
        assert values == expected == [60, 177, 295, 1]
        assert bool(guest.machine.cpu.read_register("r6")) == bool(period)


def test_systick_takes_load_plus_one_instructions_and_cyccnt_counts_them() -> None:
    code = [*load(1, 0xE000_1000), 0x2001, store(0, 1), *[NOP] * 7, ldr(2, 1, 4), HERE]
    guest = board(code, handlers={15: [0x4770]})
    systick, times = profile(guest).system.systick, []
    profile(guest).observers.append(lambda taken: times.append(taken.time) if taken.enters else None)
    systick.write(0x14, 99)
    systick.write(0x10, 7)
    guest.run(max_instructions=1000)
    assert times == [100 * count for count in range(1, 11)][: len(times)]
    assert len(times) >= 9
    assert guest.machine.cpu.read_register("r2") == 8


@pytest.mark.parametrize(
    ("register", "value", "words"),
    [(0x14, 8, "UNALIGN_TRP"), (0x14, 0x100, "BFHFNMIGN"), (0x94, 1, "MPU")],
)
def test_what_is_not_modelled_is_refused_by_name(register: int, value: int, words: str) -> None:
    guest = board([*load(1, SCB + register), *load(0, value), store(0, 1), HERE])
    with pytest.raises(NotModelled, match=words):
        guest.run(max_instructions=20)


def test_a_fault_in_the_handler_of_hardfault_is_a_lockup() -> None:
    guest = board([0xDE00], handlers={3: [0xDE01]})
    with pytest.raises(Lockup, match="undefined instruction"):
        guest.run(max_instructions=20)
    guest = board([0xDE00])  # no handlers at all: address 0, in Arm state
    with pytest.raises(Lockup):
        guest.run(max_instructions=20)


def test_a_stack_without_memory_is_a_bus_fault_then_a_lockup() -> None:
    guest = board([*load(0, 0x1000_0000), 0x4685, 0xDF01], handlers={11: [HERE], 3: [HERE]})  # mov sp, r0; svc
    guest.run(max_instructions=20)
    faults = profile(guest).faults
    assert (faults.configurable, faults.hard) == (1 << 12, 1 << 30)
    assert profile(guest).nvic.active == {3}


def test_sysresetreq_starts_over_and_keeps_memory() -> None:
    code = [*load(1, RAM), ldr(0, 1), 0x3001, store(0, 1), *load(1, SCB), *load(2, 0x05FA_0004), 0x60CA, HERE]
    guest = board(code)
    guest.machine.memory.write(RAM, bytes(4))
    guest.run(max_instructions=50)
    assert guest.resets == 1 + guest.machine.memory.read_uint(RAM, 4) - (guest.pc & ~1 > CODE + 8)
    assert guest.resets > 4


def test_code_for_another_cpu_is_refused() -> None:
    from emu.boards.firmware import Firmware

    def firmware(arch: int, profile: str = "M") -> Firmware:
        tags = {"TAG_CPU_ARCH": arch, "TAG_CPU_ARCH_PROFILE": ord(profile)}
        return Firmware("fw", ((RAM, b"\0\0"),), arch="arm", attributes=tags)

    m0, m3 = (Board(cpu, memory=[Ram(RAM, 0x1000)]) for cpu in ("cortex-m0", "cortex-m3"))
    m3.load(firmware(10))
    m0.load(firmware(12))
    for made, wrong in ((m0, firmware(10)), (m0, firmware(13)), (m3, firmware(13)), (m3, firmware(10, "A"))):
        with pytest.raises(FirmwareError, match="fw is for"):
            made.load(wrong)
    with pytest.raises(FirmwareError, match="riscv"):
        m3.load(Firmware("fw", (), arch="riscv32"))
    with pytest.raises(BoardError, match="interrupts 0 to 63, not 64"):
        m3.profile.set_line(64, True)
    assert WFI


def test_itm_ports_print_once_they_are_enabled() -> None:
    itm = 0xE000_0000
    send = [*load(1, itm), ldr(3, 1), 0x2041, 0x7008]  # wait for the port; movs r0, #'A'; strb r0, [r1]
    enable = [*load(2, itm + 0xE00), 0x2001, 0x6010, *load(2, itm + 0xE80), 0x6010]
    guest = board([*send, *enable, *send, *load(1, 0xE00F_F000), ldr(4, 1), HERE])
    guest.run(max_instructions=40)
    assert guest.devices[itm].output == {0: b"A"}  # type: ignore[attr-defined]
    assert guest.machine.cpu.read_registers(("r3", "r4")) == [1, 0]


@pytest.mark.parametrize(
    ("cpu", "wait"),
    [("cortex-m0", [WFI]), ("cortex-m0", [WFE]), ("cortex-m3", [0xF3AF, 0x8003]), ("cortex-m3", [0xF3AF, 0x8002])],
)
def test_waiting_in_a_loop_wakes_at_each_interrupt(cpu: str, wait: list[int]) -> None:
    back = 0xE7FD if len(wait) == 1 else 0xE7FC
    guest = board([*wait, back], cpu=cpu, handlers={15: [0x3401, 0x4770]})  # adds r4, #1; bx lr
    systick = profile(guest).system.systick
    systick.write(0x14, 99)
    systick.write(0x10, 7)
    guest.run(max_instructions=200)
    woken = guest.machine.cpu.read_register("r4")
    assert woken > 30
    assert abs(woken - guest.clock.time // 100) <= 1


def test_a_cpu_sleeps_on_exit_from_the_last_handler() -> None:
    """Thread code after WFI runs only once a handler has cleared SLEEPONEXIT; a stop does not end the sleep."""
    handler = [0x3401, 0x2C03, 0xD101, 0x2600, store(6, 1, 0x10), 0x4770]  # the third: SCR = 0
    guest = board([*load(1, SCB), 0x2602, store(6, 1, 0x10), WFI, 0x3501, HERE], handlers={15: handler})
    systick, cpu = profile(guest).system.systick, guest.machine.cpu
    systick.write(0x14, 99)
    systick.write(0x10, 7)
    guest.clock.at(250, guest.stop)
    assert guest.run(max_instructions=100) is Ended.STOPPED
    assert (guest.clock.time, cpu.read_registers(("r4", "r5"))) == (250, [2, 0])
    guest.clock.at(299, guest.stop)
    guest.run(max_instructions=100)
    assert cpu.read_registers(("r4", "r5")) == [2, 0]
    guest.clock.at(320, guest.stop)
    guest.run(max_instructions=100)
    assert cpu.read_registers(("r4", "r5")) == [3, 1]
    guest = board([*load(1, SCB), 0x2602, store(6, 1, 0x10), 0xDF00, HERE], handlers={11: [0x4770]})
    with pytest.raises(Deadlock):  # after svc
        guest.run(max_instructions=100)
    with pytest.raises(Deadlock):
        guest.run(max_instructions=100)


@pytest.mark.parametrize("sev", [[SEV], [0xF3AF, 0x8004]])
def test_sev_ends_the_next_wfe_only(sev: list[int]) -> None:
    guest = board([*sev, WFE, 0x3001, WFE, 0x3001, HERE])  # adds r0, #1
    with pytest.raises(Deadlock):
        guest.run(max_instructions=20)
    assert guest.machine.cpu.read_register("r0") == 1


@pytest.mark.parametrize("cpu", ["cortex-m0", "cortex-m0plus", "cortex-m23", "cortex-m3"])
def test_debug_registers_that_startup_code_touches_are_there(cpu: str) -> None:
    """DEMCR, DWT_CTRL, DWT_CYCCNT, the ROM table."""
    code = []
    for address in (0xE000_EDFC, 0xE000_1000, 0xE000_1004, 0xE00F_F000):
        code += [0x4900 | 1, 0x6808, 0x6008, 0xE001, address & 0xFFFF, address >> 16]  # ldr r1; ldr; str; b over
    guest = raising(board([*code, HERE], cpu=cpu))
    guest.run(max_instructions=50)
    assert guest.pc & ~1 == CODE + 2 * len(code)
