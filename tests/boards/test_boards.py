"""Boards as they are described, and what cannot be one; firmware files; calls and modules."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Machine
from emu.boards import (
    Board,
    BoardError,
    Device,
    DeviceError,
    FirmwareError,
    FlashMemory,
    Lockup,
    MemoryMapError,
    Ram,
    Rom,
)  # fmt: skip
from emu.boards.flash import NorFlash
from emu.boards.peripherals import I2cController, I2cEeprom, SpiController, Uart, Watchdog, WatchdogReset
from emu.errors import GuestFault
from relink.errors import MachineError
from tests.boards.guests import CODE, HERE, NOP, RAM, board, halfwords, load, store

PORT = 0x4000_0000
TWICE = Uart()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Board("cortex-m3", memory=[Ram(RAM, 0x3000), Ram(RAM + 0x2000, 0x1000)]), "overlaps"),
        (lambda: Board("cortex-m3", memory=[Ram(RAM + 16, 0x1000)]), "whole pages"),
        (lambda: Board("cortex-m3", memory=[Ram(RAM, 1000)]), "whole pages"),
        (lambda: Board("cortex-m3", memory=[Ram(RAM, 0)]), "no size"),
        (lambda: Board("cortex-m3", memory=[Ram(0xFFFF_F000, 0x2000)]), "outside the address space"),
        (lambda: Board("cortex-m3", memory=[Ram(-0x1000, 0x1000)]), "outside the address space"),
        (lambda: Board("cortex-m3", memory=[Ram(0x9F80_0000, 0x1000)]), "trap range"),
        (lambda: Board("cortex-m3", memory=[], devices={PORT: Uart(), PORT + 8: Uart()}), "overlaps"),
        (lambda: Board("cortex-m3", memory=[Ram(PORT, 0x1000)], devices={PORT + 0x100: Uart()}), "overlaps"),
        (lambda: Board("cortex-m3", memory=[], devices={0xE000_E000: Uart()}), "CPU's own"),
        (lambda: Board("cortex-m3", memory=[], devices={0xE000_E100: Uart()}), "overlaps"),
        (lambda: Board("cortex-x1", memory=[]), "unknown CPU"),
        (lambda: Board(None, memory=[]), "a name or a Profile, not None"),  # type: ignore[arg-type]
        (lambda: Board("cortex-m3", memory=[(RAM, 64)]), "no region of memory"),  # type: ignore[list-item]
        (lambda: Board("cortex-m3", memory=[Ram(RAM, 1e4)]), "must be integers"),  # type: ignore[arg-type]
        (lambda: Board("cortex-m3", memory=[], devices={PORT: object()}), "instances of Device"),  # type: ignore[dict-item]
        (lambda: Board("cortex-m3", memory=[], devices={"1": Uart()}), "instances of Device"),  # type: ignore[dict-item]
        (lambda: Board("cortex-m3", memory=[], devices=dict.fromkeys((PORT, PORT + 64), TWICE)), "the same uart"),
        (lambda: Board("cortex-m3", memory=[], devices={PORT: Uart(irq=64)}), "interrupts 0 to 63, not 64"),
        (lambda: Board("rv32imc", memory=[], devices={PORT: Uart(irq=0)}), "interrupts 1 to 63, not 0"),
        (lambda: Board("cortex-a53", memory=[], devices={PORT: Uart(irq=5)}), "lines 16 to 287, not 5"),
        (lambda: Machine("aarch64", os=Board("cortex-m3", memory=[])), "not aarch64"),
        (lambda: Board("cortex-m3", memory=Ram(RAM, 0x1000)), "a list of regions"),  # type: ignore[arg-type]
        (lambda: Board("cortex-m3", memory=(r for r in [Ram(RAM, 0x1000)])), "a list of regions"),  # type: ignore[arg-type]
        (lambda: Board("cortex-m3", memory=[Ram("x", 4)]), "ram at 'x' of 4 bytes"),  # type: ignore[arg-type]
        (lambda: Board("cortex-m3", memory=[], devices=[Uart()]), "a mapping by address"),  # type: ignore[arg-type]
        (lambda: Board("rv32imc", memory=[], devices={PORT: Uart(irq=1.5)}), "is a number, not 1.5"),  # type: ignore[arg-type]
        (lambda: Board("loongarch64", memory=[]), "no profile for loongarch64: its engine"),
        (lambda: FlashMemory("x"), "no flash model"),  # type: ignore[arg-type]
        (lambda: SpiController(4), "a list of devices, not 4"),  # type: ignore[arg-type]
        (lambda: SpiController([I2cEeprom()]), "no device of spi: it has no select"),  # type: ignore[list-item]
        (lambda: I2cController([I2cEeprom()]), "a mapping of devices by address"),  # type: ignore[arg-type]
    ],
)
def test_maps_that_no_board_can_have(make: Callable[[], object], words: str) -> None:
    with pytest.raises(BoardError, match=words):
        make()


def test_a_board_has_one_machine() -> None:
    made = Board("cortex-m3", memory=[Ram(RAM, 0x1000)])
    machine = Machine("arm", os=made, stack_size=0x4000)
    made.load(b"\x01\x02", at=RAM)
    assert machine.memory.read(RAM, 2) == b"\x01\x02"
    with pytest.raises(BoardError, match="a machine already"):
        Machine("arm", os=made)


def test_a_stray_store_faults_instead_of_changing_the_stack() -> None:
    guest = board([*load(1, PORT), store(0, 1), HERE])
    guest.profile.faults_to = "raise"  # type: ignore[attr-defined]
    with pytest.raises(GuestFault, match="0x40000000"):
        guest.run(max_instructions=10)


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"\0" * 16, {}, "need an address"),
        (b"\0" * 16, {"at": 0x100_0000}, "no memory of the board"),
        (b"\0" * 0x4001, {"at": 0}, "no memory of the board"),
        (b"\x7fELF" + b"\0" * 8, {}, "<bytes>"),
        (b":00000001FF\n", {}, "nothing to load"),
        (b"", {"at": 0}, "nothing to load"),
        (Path("arch_fixtures/built/arm-gcc/deps/libleaf.so"), {}, "ET_DYN|only executables|No such"),
        (Path("/nonexistent.elf"), {}, "No such file"),
    ],
)
def test_firmware_that_cannot_be_loaded_changes_nothing(
    data: bytes | Path, options: dict[str, int], words: str
) -> None:
    guest = board([HERE])
    before = guest.machine.memory.read(0, 0x4000)
    with pytest.raises(FirmwareError, match=words):
        guest.load(data, **options)
    assert guest.machine.memory.read(0, 0x4000) == before


def test_hex_files_are_loaded_at_their_addresses(tmp_path: Path) -> None:
    guest = board([HERE])
    hexes = tmp_path / "firmware.hex"
    hexes.write_text(":0400000001020304F2\n:020000042000DA\n:021000000506E3\n:00000001FF\n")
    guest.load(hexes)
    assert guest.machine.memory.read(0, 4) == b"\1\2\3\4"
    assert guest.machine.memory.read(RAM + 0x1000, 2) == b"\5\6"
    hexes.write_text(":0400000001020304F3\n")
    with pytest.raises(FirmwareError, match=r"firmware\.hex"):
        guest.load(hexes)


@pytest.mark.parametrize(
    ("vectors", "words"), [((RAM, 0x200), "not an address in Thumb code"), (None, "no memory at 0x0")]
)
def test_a_reset_without_a_vector_table_is_refused(vectors: tuple[int, int] | None, words: str) -> None:
    memory = [Ram(RAM, 0x1000)] + ([Rom(0, 0x1000)] if vectors else [])
    made = Board("cortex-m0", memory=memory)
    if vectors:
        made.load(struct.pack("<2I", *vectors), at=0)
    with pytest.raises(FirmwareError, match=words):
        made.reset()


ERASED = [
    ("cortex-m0", 0, "no exception can be taken"),
    ("cortex-m33", 0, "where code must not run"),
    ("rv32imac", 0x8000_0000, "at each exception handler"),
    ("cortex-a15", 0x4000_0000, "no code at its vector 0x4"),
]


@pytest.mark.parametrize(("cpu", "start", "words"), ERASED)
def test_erased_flash_is_a_lockup_or_a_fault_and_ends(cpu: str, start: int, words: str) -> None:
    """Vectors of ones, and handlers in no memory: a CPU takes faults for ever, and runs no instruction."""
    made = Board(cpu, memory=[Rom(start, 0x1000), Ram(RAM, 0x1000)])
    made.load(b"\xff" * 0x1000, at=start)
    if cpu.startswith("rv32"):
        made.load(struct.pack("<3I", 0x4000_02B7, 0x3052_9073, 0xFFFF_FFFF), at=start)  # lui t0; csrw mtvec, t0
    made.reset(**({} if cpu.startswith(("cortex-m", "rv")) else {"entry": start}))
    with pytest.raises(Lockup, match=words):
        made.run(max_instructions=1000)


def test_a_device_without_an_answer_is_named() -> None:
    class Nothing(Device):
        def read(self, offset: int, size: int) -> int:
            return None  # type: ignore[return-value]

    guest = board([*load(1, PORT), 0x6808, HERE], {PORT: Nothing()})  # ldr r0, [r1]
    with pytest.raises(DeviceError, match=r"4 bytes at nothing\+0x0 gave None"):
        guest.run(max_instructions=5)


def test_functions_are_called_between_runs_and_the_firmware_goes_on() -> None:
    """The caller's frame is below the firmware's stack, its registers are as before."""
    count = [0x3001, 0xE7FD]  # again: adds r0, #1; b again
    double = [0xB500, 0x1800, 0xBD00]  # push {lr}; adds r0, r0, r0; pop {pc}
    guest = board([*count, *double])
    machine, sp = guest.machine, guest.machine.cpu.read_register("sp")
    for round_ in range(1, 4):
        guest.run(max_instructions=10)
        assert guest.call(CODE + 5, "int(int)", 21) == 42
        assert machine.cpu.read_registers(("r0", "sp")) == [5 * round_, sp]
    assert guest.clock.time == 30 + 9


def test_faults_of_a_board_without_firmware_are_the_callers() -> None:
    made = Board("cortex-m0", memory=[Ram(RAM, 0x1000)])
    udiv = struct.pack("<3H", 0xFBB0, 0xF0F1, 0x4770)
    made.load(udiv, at=RAM)
    with pytest.raises(GuestFault, match="invalid instruction"):
        made.call(RAM | 1, "unsigned(unsigned, unsigned)", 9, 3)
    made.load(halfwords([0xDF00]), at=RAM)  # svc
    with pytest.raises(MachineError, match="no kernel"):
        made.call(RAM | 1, "void(void)")
    same = Board("cortex-m3", memory=[Ram(RAM, 0x1000)])
    same.load(udiv, at=RAM)
    assert same.call(RAM | 1, "unsigned(unsigned, unsigned)", 9, 3) == 3


def test_a_call_to_an_even_address_is_refused() -> None:
    made = Board("cortex-m3", memory=[Ram(RAM, 0x1000)])
    made.load(halfwords([0x4770]), at=RAM)
    with pytest.raises(GuestFault):
        made.call(RAM, "void(void)")
    made.load(halfwords([0x4700]), at=RAM)  # bx r0
    with pytest.raises(GuestFault):
        made.call(RAM | 1, "void(int)", RAM)


def test_flash_is_executed_in_place_and_changes_where_it_is_programmed() -> None:
    nor = NorFlash([(4, 4096)], base=0x0800_0000)
    made = Board("cortex-m3", memory=[FlashMemory(nor), Ram(RAM, 0x1000)])
    made.machine  # noqa: B018
    nor.program(0x0800_0000, halfwords([0x2001, 0x4770]))  # movs r0, #1; bx lr
    assert made.call(0x0800_0001, "int(void)") == 1
    nor.program(0x0800_0000, halfwords([0x2000]))
    assert made.call(0x0800_0001, "int(void)") == 0


def test_power_goes_and_comes_back() -> None:
    guest = board([*load(1, RAM), store(1, 1), HERE])
    guest.run(max_instructions=5)
    assert guest.machine.memory.read_uint(RAM, 4) == RAM
    guest.power_cycle()
    assert guest.machine.memory.read_uint(RAM, 4) == 0
    guest.run(max_instructions=5)
    assert guest.machine.memory.read_uint(RAM, 4) == RAM


def test_a_watchdog_resets_the_board_or_raises() -> None:
    start = [*load(1, PORT), *load(0, 0xCCCC), *load(2, 50), 0x604A, store(0, 1)]
    guest = board([*start, HERE], {PORT: Watchdog()})
    with pytest.raises(WatchdogReset):
        guest.run(max_instructions=1000)
    assert guest.clock.time == 7 + 50
    dog = Watchdog()
    guest = board([*start, HERE], {PORT: dog})
    dog.on_expiry = guest.request_reset
    guest.run(max_instructions=1000)
    assert guest.resets == 1 + 1000 // 57


def test_a_snapshot_has_devices_events_and_time() -> None:
    uart = Uart(irq=0)
    guest = board([*load(1, PORT), store(1, 1), NOP, HERE], {PORT: uart})
    guest.run(max_instructions=3)
    fired: list[int] = []
    uart.after(5, lambda: fired.append(guest.clock.time))
    snapshot = guest.machine.snapshot()
    for _ in range(3):
        uart.receive("xyz")
        guest.run(max_instructions=10)
        assert (fired.pop(), len(uart.waiting), guest.clock.time) == (8, 3, 13)
        guest.machine.restore(snapshot)
        assert (len(uart.waiting), guest.clock.time, uart.text, guest.pc & ~1) == (0, 3, "\0", CODE + 10)


def test_a_device_declares_registers_and_fields() -> None:
    from emu.boards import Register

    class Port(Device):
        size = 8
        control = Register(0, reset=0x30, writable=0xF0)
        mode = control.field(4, 2)
        flags = Register(4, reset=7, writable=0, clears=5)

    port = Port()
    port.write(0, 4, 0xFF)
    port.write(4, 1, 4)
    assert (port.control, port.mode, port.flags, port.read(0, 4)) == (0xF0, 3, 3, 0xF0)
    port.mode = 1
    port.write(1, 1, 0xFF)
    assert port.read(0, 2) == 0xD0
    assert issubclass(MemoryMapError, BoardError)
