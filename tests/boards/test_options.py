"""Options of boards and CPUs that none can have: refused when it is made, and not noticed by a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.boards import I386, Board, BoardError, CortexM, Ram
from emu.boards.arm.aarch64 import AArch64
from emu.boards.arm.arm32 import Arm32
from emu.boards.profile import Profile
from emu.boards.riscv import MachineMode
from tests.boards.guests import HERE, RAM, board, load, store

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
