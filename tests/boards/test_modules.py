"""The linker's modules on a board with a firmware, and the firmware watched, patched and called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emu.boards import Board, Ended, FirmwareError, Ram, Rom
from relink.errors import FloatAbiMismatch
from tests.boards.programs import COMPILER, HERE

SOURCES = HERE / "sources"
_CPU = "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -O1 -ffreestanding -nostdlib".split()
_LINK = "-Wl,--defsym=CODE=0,--defsym=RAM=0x20000000,--defsym=data_load=0,-e,main_loop -T board.ld".split()


def build(to: Path, source: str, *options: str) -> Path:
    if shutil.which(COMPILER) is None:
        pytest.skip(f"{COMPILER} is not installed")
    words = [COMPILER, *_CPU, *options, source, "-o", str(to), "-lgcc"]
    subprocess.run(words, cwd=SOURCES, check=True, capture_output=True)
    return to


def made(folder: Path, abi: str) -> Board:
    board = Board("cortex-m4", memory=[Rom(0, 128 << 10), Ram(0x2000_0000, 64 << 10)])
    board.load(build(folder / "firmware.elf", "counting.c", f"-mfloat-abi={abi}", *_LINK))
    board.reset()
    return board


@pytest.mark.parametrize("abi", ["soft", "hard"])
def test_a_module_uses_the_firmware_which_goes_on_counting(abi: str, tmp_path: Path) -> None:
    board = made(tmp_path, abi)
    board.run(max_instructions=1000)
    module = build(tmp_path / "module.o", "module.c", f"-mfloat-abi={abi}", "-c")
    library = board.machine.load(str(module), symbols={"host": (lambda value: value + 100, "int(int)")})
    assert library.function("twice", "int(int)")(7) == 14 + 107
    count = library.function("peek", "int()")()
    assert count == 83
    assert board.call("add", "int(int, int)", 40, 2) == 42
    board.run(max_instructions=120)
    assert library.function("peek", "int()")() == count + 10
    board.machine.unload(library.image)


def test_firmware_is_watched_and_patched(tmp_path: Path) -> None:
    board = made(tmp_path, "soft")
    hooked, counter = board.address_of("hooked"), board.address_of("counter")
    times = []
    for _ in range(3):
        assert board.run(until="hooked", max_instructions=100) is Ended.UNTIL
        times.append(board.clock.time)
    assert (times[0], times[2] - times[1]) == (4, 12)
    assert board.machine.symbolize(board.pc & ~1).symbol == "hooked"
    patch = board.machine.patch(hooked, (lambda value: value + 1000, "int(int)"), size=16)
    before = board.machine.memory.read_uint(counter, 4)
    for _ in range(30):  # wherever a run ends
        board.run(max_instructions=1)
    patch.undo()
    added = board.machine.memory.read_uint(counter, 4) - before
    assert added % 1000 == 0
    assert added >= 4000


def test_floating_point_conventions_that_differ_are_refused(tmp_path: Path) -> None:
    board = made(tmp_path, "soft")
    board.machine  # noqa: B018
    module = build(tmp_path / "module.o", "module.c", "-mfloat-abi=hard", "-c")
    with pytest.raises(FloatAbiMismatch):
        board.machine.load(str(module), symbols={"host": (lambda value: value, "int(int)")})
    hard = build(tmp_path / "hard.elf", "counting.c", "-mfloat-abi=hard", *_LINK, "-lgcc")
    with pytest.raises(FirmwareError, match="hard-float"):
        board.load(hard)
