"""Options of boards and CPUs that none can have: refused when it is made, and not noticed by a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from emu import Eeprom, NandFlash, NorFlash
from emu.boards import I386, Board, BoardError, CortexM, FirmwareError, Ram
from emu.boards.arm.aarch64 import AArch64
from emu.boards.arm.arm32 import Arm32
from emu.boards.flash_types import FlashGeometryError
from emu.boards.profile import Profile
from emu.boards.riscv import MachineMode
from tests.boards.guests import CODE, HERE, RAM, board, load, store

PROFILES: list[tuple[Callable[..., Profile], str, dict[str, tuple[object, ...]]]] = [
    (
        CortexM,
        "cortex-m3",
        {"irqs": (-1, 497), "priority_bits": (0, 9), "reference": (0,), "vectors": (-4, 1 << 32)},
    ),
    (MachineMode, "rv32imac", {"irqs": (0, 1 << 70), "divider": (0, -1), "entry": (1 << 32,), "clint": (-1, "x")}),
    (AArch64, "cortex-a53", {"lines": (31, 1021), "divider": (0,), "frequency": (-1,), "entry": (1 << 48,)}),
    (Arm32, "cortex-a7", {"gic": ((1,), 4, (0, -1), ("x", 0)), "divider": (1.5,)}),
    (I386, "i386", {"entry": (1 << 32, "main"), "divider": (0,)}),
]


@pytest.mark.parametrize(("make", "name", "options"), PROFILES, ids=[each[1] for each in PROFILES])
def test_options_that_no_cpu_has_are_refused_by_name(
    make: Callable[..., Profile], name: str, options: dict[str, tuple[object, ...]]
) -> None:
    wrong = {**options, "faults": ("", "firmwares", None)}
    for option, values in wrong.items():
        for value in values:
            with pytest.raises(BoardError, match=name):
                make(name, **{option: value})
    assert make(name, faults="raise").name == name


@pytest.mark.parametrize("option", ["window", "stack", "traps"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (4, "no pair"),
        ((4,), "no pair"),
        (("x", 4), "no pair"),
        ((0, 0), "no size"),
        ((1 << 32, 4096), "outside the address space"),
    ],
)
def test_places_of_the_machines_memory_are_checked(option: str, value: object, words: str) -> None:
    with pytest.raises(BoardError, match=rf"{option}.*{words}"):
        Board("cortex-m3", memory=[Ram(RAM, 0x1000)], **{option: value})  # type: ignore[arg-type]


def test_times_and_limits_are_whole_numbers() -> None:
    guest = board([HERE])
    with pytest.raises(BoardError, match=r"whole number of instructions, not 2\.5"):
        guest.clock.after(2.5, guest.stop)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a whole number: max_instructions=1000000\.0"):
        guest.run(max_instructions=1e6)  # type: ignore[arg-type]
    guest.run(max_instructions=3)
    assert guest.clock.time == 3


@pytest.mark.parametrize("fill", [-1, 256, "x", 1.0])
def test_ram_is_filled_with_a_byte_or_not_lost(fill: object) -> None:
    guest = board([*load(1, RAM), store(1, 1), HERE])
    guest.run(max_instructions=5)
    with pytest.raises(BoardError, match="a number from 0 to 255"):
        guest.power_cycle(fill)  # type: ignore[arg-type]
    assert guest.machine.memory.read_uint(RAM, 4) == RAM
    guest.run(max_instructions=5)
    guest.power_cycle(0xA5)
    assert guest.machine.memory.read_uint(RAM, 4) == 0xA5A5_A5A5


def _nor() -> NorFlash:
    return NorFlash([(4, 4096)], write_size=4)


def _nand() -> NandFlash:
    return NandFlash(blocks=4)


def _eeprom() -> Eeprom:
    return Eeprom(1024)


WRONG_OPERANDS: dict[str, Callable[[Any], object]] = {
    "address='x' is no whole number": lambda flash: flash.read("x", 4),
    "size=None is no whole number": lambda flash: flash.read(0, None),
    "address=1.5 is no whole number": lambda flash: flash.program(1.5, b"1234"),
    "data is bytes or an array of them, not 'abcd'": lambda flash: flash.program(0, "abcd"),
    "data is bytes or an array of them, not 5": lambda flash: flash.preset(0, 5),
    "size='y' is no whole number": lambda flash: flash.erase(0, "y"),
    "number=None is no whole number": lambda flash: flash.erase_sector(None),
    "number='z' is no whole number": lambda flash: flash.lock("z"),
    "bit='b' is no whole number": lambda flash: flash.flip(0, "b"),
    "a byte has no bit 8": lambda flash: flash.flip(0, 8),
    "number='u' is no whole number": lambda flash: flash.unlock("u"),
    "there is no sector 99 to unlock": lambda flash: flash.unlock(99),
}
OF_NAND: dict[str, Callable[[Any], object]] = {
    "page='x' is no whole number": lambda flash: flash.read_page("x"),
    "column=None is no whole number": lambda flash: flash.program_page(0, b"1", b"", None),
    r"data is bytes or an array of them, not \[1\]": lambda flash: flash.program_page(0, [1]),
    "block='x' is no whole number": lambda flash: flash.mark_bad("x"),
}
OF_EEPROM: dict[str, Callable[[Any], object]] = {
    "address='x' is no whole number": lambda flash: flash.write("x", b"1234"),
    "data is bytes or an array of them, not None": lambda flash: flash.write(0, None),
}


@pytest.mark.parametrize(
    ("make", "operations"),
    [(_nor, WRONG_OPERANDS), (_nand, WRONG_OPERANDS | OF_NAND), (_eeprom, WRONG_OPERANDS | OF_EEPROM)],
)
def test_operands_of_other_types_are_refused_by_name(
    make: Callable[[], Any], operations: dict[str, Callable[[Any], object]]
) -> None:
    flash = make()
    before = flash.digest()
    for words, operation in operations.items():
        with pytest.raises(FlashGeometryError, match=words):
            operation(flash)
    assert flash.digest() == before


def test_times_actions_and_stacks_of_other_types_are_refused_by_name() -> None:
    guest = board([HERE])
    with pytest.raises(BoardError, match="a whole number of instructions, not 'x'"):
        guest.clock.after("x", print)  # type: ignore[arg-type]
    with pytest.raises(BoardError, match="the action of an event is a function, not None"):
        guest.clock.at(5, None)  # type: ignore[arg-type]
    for stack, shown in (("x", "'x'"), (-4, "-0x4"), (1 << 40, "0x10000000000")):
        with pytest.raises(FirmwareError, match=f"the stack pointer is an address of the CPU, not {shown}"):
            guest.reset(entry=CODE, stack=stack)  # type: ignore[arg-type]
    with pytest.raises(FirmwareError, match="the entry is an address of the CPU, not -0x2"):
        guest.reset(entry=-2)
    with pytest.raises(FirmwareError, match="`stack` needs an `entry`"):
        guest.reset(stack=RAM)
