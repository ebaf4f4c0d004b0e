"""Programs linked with Debian's newlib and picolibc run on boards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from emu.boards import Board, Ended, Ram, Rom
from tests.boards import test_riscv
from tests.boards.guests import console
from tests.boards.programs import COMPILER, HERE, VIRT_COMPILER

CPUS = {
    "cortex-m0": (),
    "cortex-m3": (),
    "cortex-m4": ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m33": (),
}
_PICOLIBC = (
    "--specs=picolibc.specs --oslib=semihost --crt0=hosted -Wl,--defsym=__flash=0,--defsym=__ram=0x20000000"
)
_SIZES = "-Wl,--defsym=__flash_size=0x40000,--defsym=__ram_size=0x10000"


_RISCV = (
    "-mcmodel=medany --specs=picolibc.specs --crt0=hosted -Wl,--defsym=__flash=0x80000000,--defsym=__flash_size="
    "0x80000,--defsym=__ram=0x80080000,--defsym=__ram_size=0x10000"
)
_PRINTED = "hello from the heap 1 9 1234567890123 1.414\n"


def built(cpu: str, options: list[str], to: Path) -> Path:
    return linked(COMPILER, [f"-mcpu={cpu}", *CPUS[cpu], "-mthumb", *options], ["hello.c"], to)


def linked(compiler: str, options: list[str], sources: list[str], to: Path) -> Path:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    files = [str(HERE / "sources" / source) for source in sources]
    words = [compiler, "-Os", *options, *files, "-o", str(to), "-lm"]
    done = subprocess.run(words, capture_output=True, text=True)
    if "cannot read spec file" in done.stderr:
        pytest.skip(f"{options[-1]}: the library is not installed")
    assert done.returncode == 0, done.stderr
    return to


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("library", ["picolibc", "newlib"])
def test_a_program_with_a_c_library_prints_sorts_and_allocates(library: str, cpu: str, tmp_path: Path) -> None:
    profile = console(cpu)
    if library == "picolibc":
        program = built(cpu, [*_PICOLIBC.split(), _SIZES], tmp_path / "program.elf")
        made = Board(profile, memory=[Rom(0, 0x40000), Ram(0x2000_0000, 0x10000)])
        made.load(program)
        made.reset()
    else:  # no vector table, and everything in one memory
        program = built(cpu, ["--specs=rdimon.specs"], tmp_path / "program.elf")
        made = Board(profile, memory=[Ram(0, 0x100000)])
        made.reset(entry=made.load(program).entry)
    assert made.run(max_instructions=1_000_000) is Ended.STOPPED
    assert profile.semihosting is not None
    assert profile.semihosting.text == _PRINTED


@pytest.mark.parametrize(("cpu", "abi"), [("rv32imac", "ilp32"), ("rv32imafc", "ilp32f"), ("rv64imac", "lp64")])
def test_a_program_with_picolibc_runs_on_riscv(cpu: str, abi: str, tmp_path: Path) -> None:
    options = [f"-march={cpu}", f"-mabi={abi}", *_RISCV.split()]
    program = linked(VIRT_COMPILER, options, ["hello.c", "virt_console.c"], tmp_path / "program.elf")
    console, boards = test_riscv.Console(), list[Board]()
    devices = {0x1000_0000: console, 0x10_0000: test_riscv.Finisher(boards)}
    boards.append(Board(cpu, memory=[Ram(0x8000_0000, 1 << 20)], devices=devices))
    boards[0].load(program)
    boards[0].reset()
    assert boards[0].run(max_instructions=1_000_000) is Ended.STOPPED
    assert console.output.decode() == _PRINTED
