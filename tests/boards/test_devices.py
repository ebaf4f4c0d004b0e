"""Devices: what the guest reads and writes, when, and what happens when a device raises, stops or calls back."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from emu.boards import Board, BoardError, Device, DeviceError, Ended, PlaceLost, Register
from emu.boards.peripherals import Timer, Uart
from emu.errors import BudgetExceeded, GuestFault
from tests.alarms import assert_nothing_raised_is_lost
from tests.boards.guests import CODE, HERE, NOP, RAM, WFI, board, halfwords, ldr, load, store

PORT = 0x4000_0000


class Recorder(Device):
    """Notes accesses with their times; does as told at the `at`-th."""

    size = 0x20

    def __init__(self) -> None:
        super().__init__(irq=1)
        self.log: list[tuple[str, int, int, int, int]] = []
        self.at = 0
        self.action: Callable[[], object] = lambda: None

    def read(self, offset: int, size: int) -> int:
        value = 0x8182_8384 + offset
        self._note("r", offset, size, value)
        return value

    def write(self, offset: int, size: int, value: int) -> None:
        self._note("w", offset, size, value)

    def _note(self, kind: str, *access: int) -> None:
        self.log.append((kind, *access, self.clock.now))  # type: ignore[arg-type]
        if len(self.log) == self.at:
            self.action()


LDM, STM = [0xC90D], [0xC10C]  # ldmia r1!, {r0, r2, r3}; stmia r1!, {r2, r3}


def test_an_access_has_its_offset_width_value_and_time() -> None:
    device = Recorder()
    code = [*load(1, PORT), NOP, 0x7008, 0x888A, ldr(3, 1, 8), store(3, 1, 12), HERE]  # strb r0; ldrh r2, [r1, #4]
    guest = board(code, {PORT: device})
    assert guest.run(max_instructions=20) is Ended.LIMIT
    assert device.log == [
        ("w", 0, 1, 0, 3),
        ("r", 4, 2, 0x8182_8388, 4),
        ("r", 8, 4, 0x8182_838C, 5),
        ("w", 12, 4, 0x8182_838C, 6),
    ]
    assert guest.machine.cpu.read_register("r2") == 0x8388


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("how", ["raise", "stop"])
def test_a_device_may_end_the_run_at_any_access_of_an_instruction(at: int, how: str) -> None:
    """The run continues as if nothing had happened, and no access is made twice."""
    device = Recorder()
    guest = board([*load(1, PORT), NOP, *LDM, *STM, NOP, HERE], {PORT: device})
    device.at = at

    class PowerCut(Exception):
        pass

    def cut() -> None:
        raise PowerCut

    if how == "raise":
        device.action = cut
        with pytest.raises(PowerCut):
            guest.run(max_instructions=100)
        place = CODE + (10 if at <= 3 else 12)
        assert guest.pc & ~1 == place
        assert guest.machine.cpu.read_register("r1") == (PORT if at <= 3 else PORT + 12)
        device.action = lambda: None
        device.log.pop()
        assert guest.run(max_instructions=100) is Ended.LIMIT
        return
    device.action = guest.stop
    assert guest.run(max_instructions=100) is Ended.STOPPED
    assert guest.pc & ~1 == CODE + (12 if at <= 3 else 14)
    assert guest.clock.time == (4 if at <= 3 else 5)
    assert guest.run(max_instructions=10) is Ended.LIMIT
    assert [entry[1] for entry in device.log] == [0, 4, 8, 12, 16]
    assert guest.machine.cpu.read_register("r1") == PORT + 20


@pytest.mark.parametrize(
    ("block", "accesses"),
    [
        ([0xBF08, ldr(2, 1)], [0]),  # it eq
        ([0xBF04, ldr(2, 1), store(2, 1, 4)], [0, 4]),  # itt
        ([0xBF0C, ldr(2, 1), ldr(2, 1, 4)], [0]),  # ite
        ([0xBF14, ldr(2, 1), store(2, 1, 4)], [4]),  # ite ne
        ([0xBF01, ldr(2, 1), ldr(4, 1, 4), store(2, 1, 8), ldr(2, 1, 12)], [0, 4, 8, 12]),  # itttt
    ],
)
@pytest.mark.parametrize("stop", [False, True])
def test_code_after_an_it_block_with_accesses_is_not_conditional(
    block: list[int], accesses: list[int], stop: bool
) -> None:
    device = Recorder()
    zero = [0x2000, 0x2800]  # movs r0, #0; cmp r0, #0
    rest = [0x2001, 0xE7FF, 0x2307, 0x3301, HERE]  # movs r0, #1; b .+2; movs r3, #7; adds r3, #1
    guest = board([*load(1, PORT), *zero, *block, *rest], {PORT: device})
    if stop:
        device.at, device.action = 1, guest.stop
        assert guest.run(max_instructions=40) is Ended.STOPPED
    assert guest.run(max_instructions=40) is Ended.LIMIT
    assert [entry[1] for entry in device.log] == accesses
    assert guest.machine.cpu.read_register("r3") == 8


def test_a_device_may_call_the_guest() -> None:
    """Its caller has all registers as before, flags included."""

    class Doubler(Device):
        size = 4
        calls_guest = True

        def read(self, offset: int, size: int) -> int:
            return int(guest.call(CODE + 0x41, "int(int)", 21))

    code = [*load(1, PORT), *load(2, 77), 0x2A4D, ldr(0, 1), 0xD000, 0x2000, HERE]  # cmp r2, #77; ldr; beq .+4
    code += [NOP] * (0x20 - len(code)) + [0x1800, 0x2100, 0x2200, 0x4770]
    guest = board(code, {PORT: Doubler()})
    guest.run(max_instructions=20)
    assert guest.machine.cpu.read_registers(("r0", "r1", "r2")) == [42, PORT, 77]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ([0x7008], "write of 1 bytes at port"),  # strb
        ([0x8808], "read of 2 bytes at port"),  # ldrh
        ([0x3102, ldr(0, 1)], "not aligned"),
        ([0x3102, store(0, 1)], "write of 4 bytes at port.*not aligned"),
        ([ldr(0, 1, 8)], "no such register"),
    ],
    ids=["byte", "halfword", "unaligned", "unaligned-write", "reserved"],
)
def test_accesses_that_a_device_refuses_name_it(code: list[int], words: str) -> None:
    class Port(Device):
        size, widths = 0x20, (4,)
        only = Register(0)

    guest = board([*load(1, PORT), *code, HERE], {PORT: Port()})
    with pytest.raises(DeviceError, match=words):
        guest.run(max_instructions=20)


def test_several_devices_share_a_page_and_what_is_between_faults() -> None:
    first, second = Recorder(), Recorder()
    guest = board(
        [*load(1, PORT), ldr(0, 1), ldr(2, 1, 0x40), ldr(3, 1, 0x24)], {PORT: first, PORT + 0x30: second}
    )
    guest.profile.faults_to = "raise"  # type: ignore[attr-defined]
    with pytest.raises(GuestFault, match="0x40000024"):
        guest.run(max_instructions=20)
    assert (len(first.log), len(second.log)) == (1, 1)
    assert second.log[0][1] == 0x10
    assert guest.pc & ~1 == CODE + 12


@pytest.mark.parametrize("count", [1, 2, 3, 50, 999])
def test_a_timer_interrupt_arrives_at_the_instruction(count: int) -> None:
    """Two runs are equal, and the interrupt is taken after exactly `count` instructions."""
    timer = Timer(irq=0)
    setup = [*load(1, PORT), *load(2, 0xE000_E100), 0x2301, store(3, 2), *load(0, count), store(0, 1, 8), 0x2307]
    code = [*setup, store(3, 1), *[NOP] * 1000, HERE]
    taken = []
    for _ in range(2):
        guest = board(code, {PORT: Timer(irq=0)}, handlers={16: [HERE]})
        guest.profile.observers.append(lambda event: taken.append((event.time, event.pc)))  # type: ignore[attr-defined]
        guest.run(max_instructions=2000)
    instructions = 4 + 1 + 1 + 2 + 1 + 1  # before the store that starts the timer
    place = CODE + 2 * len(setup) + 2 * count
    assert taken == [(instructions + count, place)] * 2
    assert timer.irq == 0


def test_a_limit_is_exact_and_the_run_continues() -> None:
    uart = Uart()
    code = [*load(1, PORT), *load(0, 0x41), store(0, 1), 0x3001, 0xE7FC]  # again: str; add; b again
    guest = board(code, {PORT: uart})
    for _ in range(100):
        assert guest.run(max_instructions=7) is Ended.LIMIT
    assert guest.clock.time == 700
    assert uart.output[:5] == b"ABCDE"
    assert len(uart.output) == (700 - 4 + 2) // 3


def test_until_is_asked_between_pieces_and_timeout_raises() -> None:
    uart = Uart()
    guest = board([*load(1, PORT), store(0, 1), 0xE7FD], {PORT: uart})
    uart.on_byte = lambda byte: guest.stop() if len(uart.output) == 3 else None
    assert guest.run() is Ended.STOPPED
    assert len(uart.output) == 3
    guest.clock.after(1000, lambda: None)
    assert guest.run(until=lambda: guest.clock.time > 900) is Ended.UNTIL
    with pytest.raises(BudgetExceeded):
        guest.run(timeout=0.05)


def test_waiting_skips_to_the_next_event_and_is_refused_without_one() -> None:
    from emu.boards import Deadlock

    guest = board([0xB672, WFI, NOP, WFI, NOP, HERE])
    guest.profile.pend(15)  # type: ignore[attr-defined]
    with pytest.raises(Deadlock):
        guest.profile.nvic.pending.clear() or guest.run()  # type: ignore[attr-defined]
    assert guest.pc & ~1 == CODE + 2
    guest.clock.after(1_000_000, lambda: guest.profile.pend(15))  # type: ignore[attr-defined]
    with pytest.raises(BudgetExceeded):
        guest.machine.runner.run_program(guest.pc, {}, 5, None)
    assert guest.clock.time > 1_000_000


def test_a_board_that_was_not_reset_has_nowhere_to_run() -> None:
    from emu.boards import Ram

    with pytest.raises(BoardError, match="never reset"):
        Board("cortex-m3", memory=[Ram(RAM, 0x1000)]).run()


def test_bits_of_memory_and_of_devices_have_words() -> None:
    from emu.boards.peripherals import Gpio

    gpio = Gpio()
    guest = board(
        [
            *load(1, 0x2200_0000 + 32 * 0x101 + 4 * 3),
            *[0x2001, store(0, 1), ldr(2, 1), ldr(3, 1, 4)],  # bit 3 of the byte at 0x20000101; 4 is clear
            *load(1, 0x4200_0000 + 32 * 5 + 4 * 1),
            *[0x2001, store(0, 1), ldr(4, 1)],  # bit 9 of the output register
            HERE,
        ],
        {PORT: gpio},
    )
    guest.run(max_instructions=30)
    assert guest.machine.memory.read(RAM + 0x100, 4) == b"\0\x08\0\0"
    assert gpio.output == 1 << 9
    assert guest.machine.cpu.read_registers(("r2", "r3", "r4")) == [1, 0, 1]


def test_a_device_that_accesses_memory_itself() -> None:
    class Dma(Device):
        size = 12
        source, target, count = Register(0), Register(4), Register(8)

        @count.on_write
        def _copy(self, value: int) -> None:
            for at in range(value):
                self.bus.write(self.target + at, 1, self.bus.read(self.source + at, 1))

    uart = Uart()
    guest = board(
        [*load(1, PORT), *load(0, RAM), *load(2, RAM + 0x80), 0x6008, 0x604A, 0x2304, 0x608B, HERE],
        {PORT: Dma(), PORT + 0x100: uart},
    )
    guest.machine.memory.write(RAM, b"abcd")
    guest.run(max_instructions=30)
    assert guest.machine.memory.read(RAM + 0x80, 4) == b"abcd"


def test_what_a_signal_handler_raises_during_accesses_is_not_lost() -> None:
    """The guest spends all its time in a device's calls, where handlers run too."""
    guest = board([*load(1, PORT), ldr(0, 1, 4), 0xE7FD], {PORT: Uart()})

    def run() -> None:
        try:
            guest.run(timeout=5)
        except PlaceLost:  # a signal has come outside of the calls
            guest.reset()

    assert_nothing_raised_is_lost(run, 0.003, times=30)
    guest.reset()
    time = guest.clock.time
    guest.run(max_instructions=100)
    assert guest.clock.time == time + 100


def test_engines_without_devices_are_refused_by_name() -> None:
    from emu.cpu.create import create_device_cpu
    from relink.errors import UnsupportedElf

    with pytest.raises(UnsupportedElf, match="runs on icicle, which has no memory-mapped devices"):
        create_device_cpu("loongarch64")
    with pytest.raises(UnsupportedElf, match="has no CPU model 'cortex-m9'"):
        create_device_cpu("arm", "cortex-m9")


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7, 11])
@pytest.mark.parametrize("changed_by", ["host", "guest"])
def test_limits_inside_blocks_are_exact_before_and_after_code_has_changed(limit: int, changed_by: str) -> None:
    """The new code has an IT block where the old had none: hooks stop at the end of one only."""
    # again: 8 halfwords; then adds r0, #1; b again
    plain = [NOP, NOP, NOP, NOP, NOP, NOP, NOP, NOP, 0x3001, 0xE7F5]
    conditional = [
        0x42B6,
        NOP,
        0xBF01,
        0x3101,
        0x3101,
        0x3101,
        0x3101,
        NOP,
        0x3001,
        0xE7F5,
    ]  # cmp r6, r6; itttt eq
    place = RAM + 0x100
    guest = board([*load(1, place | 1), 0x4708], {PORT: Uart()})  # bx r1
    guest.machine.memory.write(place, halfwords(plain))
    for _ in range(40):
        before = guest.clock.time
        guest.run(max_instructions=limit)
        assert guest.clock.time == before + limit
    if changed_by == "host":
        guest.machine.memory.write(place, halfwords(conditional))
    else:
        source = RAM + 0x800
        guest.machine.memory.write(source, halfwords(conditional))
        copy = [*load(1, source), *load(2, place), 0xC9F8, 0xC2F8, *load(1, place | 1), 0x4708]  # ldm, stm {r3-r7}
        guest.machine.memory.write(RAM + 0x400, halfwords(copy))
        guest.reset(entry=RAM + 0x400, stack=RAM + 0x1000)
    guest.run(max_instructions=100)
    done = 0
    counts = guest.machine.cpu.read_registers(("r0", "r1"))
    for _ in range(50):
        before = guest.clock.time
        guest.run(max_instructions=limit)
        assert guest.clock.time == before + limit
        done += limit
    after = guest.machine.cpu.read_registers(("r0", "r1"))
    assert abs((after[0] - counts[0]) - done / 10) <= 1
    assert abs((after[1] - counts[1]) - 4 * done / 10) <= 4


class _Log(Device):
    """A register whose accesses are noted with their times, and schedule events."""

    size = 4
    state = Register(0)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    @state.on_write
    def _written(self, value: int) -> None:
        self.seen.append(("write", self.clock.now))
        self.after(value % 7, lambda: self.seen.append(("event", self.clock.now)))


@pytest.mark.parametrize("seed", range(6))
def test_interrupts_and_events_are_where_single_steps_have_them(seed: int) -> None:
    random = Random(seed)
    code = random.choices([0x3001, 0x6808, 0x6008, 0x3305, NOP, 0x4058, 0xB401, 0xBC10], k=random.randrange(6, 24))
    code += [0x2800, 0xBF0C, 0x3401, 0x3402]  # cmp r0, #0; ite eq; addeq, addne
    code.append(0xE000 | -len(code) - 2 & 0x7FF)
    found = []
    for piece in (400, 1):
        log = _Log()
        taken: list[str] = []
        guest = board(code, {PORT: log}, handlers={15: [0x3601, 0x4770]})
        guest.machine.cpu.write_register("r1", PORT)
        guest.profile.observers.append(lambda t, to=taken: to.append(str(t)))  # type: ignore[attr-defined]
        guest.bus.write(0xE000_E014, 4, 9 + seed)
        guest.bus.write(0xE000_E010, 4, 7)
        for _ in range(400 // piece):
            guest.run(max_instructions=piece)
        found.append((guest.clock.time, guest.pc, taken, log.seen, guest.machine.cpu.register_values()))
    assert found[0] == found[1]
    assert found[0][2]
