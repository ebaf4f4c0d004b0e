"""Bare-metal test programs: how they are built, and what QEMU prints for them.

    python -m tests.boards.programs        # builds all and writes the golden files anew

Built programs and QEMU's output are in the repository, so that tests need neither arm-none-eabi-gcc nor QEMU.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER, QEMU, VIRT_COMPILER = "arm-none-eabi-gcc", "qemu-system-arm", "riscv64-unknown-elf-gcc"
AARCH64_COMPILER, PC_COMPILER = "aarch64-linux-gnu-gcc", "x86_64-linux-gnu-gcc"
_FLAGS = (
    "-mthumb -masm-syntax-unified -O1 -s -ffreestanding -fno-builtin -nostdlib -Wall -Wextra -Wno-unused-function "
    "-Wl,--build-id=none,-z,max-page-size=16"
).split()


@dataclass(frozen=True)
class Program:
    """One source for one CPU; `machine` is QEMU's."""

    source: str
    cpu: str
    machine: str
    flags: tuple[str, ...] = ()
    code: int = 0

    @property
    def name(self) -> str:
        return f"{self.source}-{self.cpu.removeprefix('cortex-')}"

    @property
    def path(self) -> Path:
        return HERE / "built" / f"{self.name}.elf"

    @property
    def golden(self) -> Path:
        return HERE / "golden" / f"{self.name}.txt"

    @property
    def qemu(self) -> str:
        return QEMU

    def build(self, to: Path) -> None:
        """Compile it with arm-none-eabi-gcc."""
        places = [f"-Wl,--defsym=CODE={self.code:#x}", "-Wl,--defsym=RAM=0x20000000", "-T", "board.ld"]
        words = [
            COMPILER,
            f"-mcpu={self.cpu}",
            *self.flags,
            *_FLAGS,
            *places,
            f"{self.source}.c",
            "-o",
            str(to),
            "-lgcc",
        ]
        subprocess.run(words, cwd=HERE / "sources", check=True)

    def run_in_qemu(self) -> str:
        """QEMU's output."""
        loading = ["-kernel", str(self.path)]
        if self.machine == "microbit":
            loading = ["-device", f"loader,file={self.path}"]
        console = "enable=on,target=native,userspace=on"
        # Time by instructions: with the host's, one run in 200 of the scheduler stalls where it stops SysTick.
        words = [QEMU, "-M", self.machine, "-icount", "shift=0,sleep=off", "-nographic"]
        words += ["-semihosting-config", console, *loading]
        return subprocess.run(
            words,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout


@dataclass(frozen=True)
class VirtProgram(Program):
    """A program for QEMU's RISC-V board "virt"; `cpu` is a -march."""

    @property
    def name(self) -> str:
        return f"{self.source}-{self.cpu}"

    def build(self, to: Path) -> None:
        abi = "lp64" if self.cpu.startswith("rv64") else "ilp32"
        march = f"-march={self.cpu}_zicsr -mabi={abi} -mcmodel=medany -T virt.ld".split()
        flags = [flag for flag in _FLAGS if flag not in ("-mthumb", "-masm-syntax-unified")]
        words = [VIRT_COMPILER, *march, *flags, f"{self.source}.c", "-o", str(to)]
        subprocess.run(words, cwd=HERE / "sources", check=True)

    @property
    def qemu(self) -> str:
        return f"qemu-system-{self.machine}"

    def run_in_qemu(self) -> str:
        words = [self.qemu, "-M", "virt", "-bios", "none", "-nographic", "-kernel", str(self.path)]
        return subprocess.run(
            words, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        ).stdout


@dataclass(frozen=True)
class ArmBoard:
    """One of QEMU's boards with a GICv2 (or v1): its addresses."""

    name: str
    ram: int
    console: int
    gic: tuple[int, int]  #: distributor, CPU interface
    macros: tuple[str, ...] = ()

    @property
    def definitions(self) -> list[str]:
        """For compiler and linker."""
        places = {"CONSOLE": self.console, "GICD": self.gic[0], "GICC": self.gic[1]}
        return [
            *(f"-D{name}={place:#x}" for name, place in places.items()),
            *(f"-D{name}" for name in self.macros),
            f"-Wl,--defsym=RAM={self.ram + (1 << 20):#x}",
        ]


VIRT = ArmBoard("virt,gic-version=2", 0x4000_0000, 0x0900_0000, (0x0800_0000, 0x0801_0000))
VEXPRESS = ArmBoard("vexpress-a9", 0x6000_0000, 0x1000_9000, (0x1E00_1000, 0x1E00_0100))
REALVIEW = ArmBoard("realview-pb-a8", 0, 0x1000_9000, (0x1E00_1000, 0x1E00_0000))
#: The same with a CPU of the R profile, which QEMU's own board for it has without an interrupt controller.
REALVIEW_R = replace(REALVIEW, macros=("LOW_VECTORS",))


@dataclass(frozen=True)
class ArmProgram(Program):
    """A program for one of QEMU's Arm boards, in A64, A32 or Thumb code."""

    board: ArmBoard = VIRT

    @property
    def in_a64(self) -> bool:
        return not self.flags

    @property
    def qemu(self) -> str:
        return f"qemu-system-{self.machine}"

    @property
    def name(self) -> str:
        return "-".join((super().name, *(flag.removeprefix("-m") for flag in self.flags)))

    def build(self, to: Path) -> None:
        sixty_four = self.in_a64
        unknown = ("-mthumb", "-masm-syntax-unified") if sixty_four else ("-mthumb",)
        flags = [flag for flag in _FLAGS if flag not in unknown]
        own = ["-mgeneral-regs-only", "-static"] if sixty_four else list(self.flags)
        own += self.board.definitions if self.board is not VIRT else []
        compiler = AARCH64_COMPILER if sixty_four else COMPILER
        words = [
            compiler,
            f"-mcpu={self.cpu.removesuffix('f')}",
            *own,
            *flags,
            "-T",
            "arm_virt.ld",
            f"{self.source}.c",
            "-o",
            str(to),
        ]
        subprocess.run(words, cwd=HERE / "sources", check=True)

    def run_in_qemu(self) -> str:
        console = "enable=on,target=native,userspace=on"
        machine = ["-M", self.board.name, "-cpu", self.cpu, "-nographic", "-semihosting-config", console]
        return subprocess.run(
            [self.qemu, *machine, "-kernel", str(self.path)],
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


@dataclass(frozen=True)
class PcProgram(Program):
    """A program for QEMU's PC, started by the Multiboot protocol; `code` is where it begins."""

    @property
    def qemu(self) -> str:
        return f"qemu-system-{self.machine}"

    def build(self, to: Path) -> None:
        unknown = ("-mthumb", "-masm-syntax-unified")
        flags = [flag for flag in _FLAGS if flag not in unknown]
        own = (
            "-m32 -march=i386 -fno-pic -fno-pie -no-pie -static -fno-stack-protector -fcf-protection=none "
            "-fno-asynchronous-unwind-tables -T pc.ld"
        ).split()
        words = [PC_COMPILER, *own, *flags, f"{self.source}.c", "-o", str(to)]
        subprocess.run(words, cwd=HERE / "sources", check=True)

    def run_in_qemu(self) -> str:
        machine = (
            "-M pc -nodefaults -display none -no-reboot -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=1"
        )
        done = subprocess.run(
            [self.qemu, *machine.split(), "-kernel", str(self.path)],
            timeout=60,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout


_CPUS = (
    ("cortex-m0", "microbit"),
    ("cortex-m3", "mps2-an385"),
    ("cortex-m4", "mps2-an386"),
    ("cortex-m7", "mps2-an500"),
)
_FLOATS = ("-mfloat-abi=softfp",)


def _programs() -> Iterator[Program]:
    for source in ("exceptions", "faults", "scheduler", "corners"):
        for cpu, machine in _CPUS:
            yield Program(source, cpu, machine)
    for cpu, machine in _CPUS[2:]:
        yield Program("floats", cpu, machine, _FLOATS)
    for source in ("exceptions", "scheduler", "faults", "corners"):
        yield Program(source, "cortex-m33", "mps2-an505", code=0x1000_0000)
    yield Program("floats", "cortex-m33", "mps2-an505", _FLOATS, code=0x1000_0000)
    for source in ("exceptions", "scheduler"):  # QEMU has no M23: code for it, on an M33
        yield Program(source, "cortex-m23", "mps2-an505", code=0x1000_0000)


PROGRAMS = tuple(_programs())
#: The programs for Cortex-M3 on QEMU's other board with one. Others need bus errors, which it does not have.
ON_STELLARIS = tuple(Program(source, "cortex-m3", "lm3s6965evb") for source in ("exceptions", "scheduler"))
VIRT_PROGRAMS = tuple(
    VirtProgram(source, cpu, machine)
    for source in ("machine_mode", "switching", "user_mode", "traps")
    for cpu, machine in (("rv32imac", "riscv32"), ("rv64imac", "riscv64"))
)
ARM_PROGRAMS = (
    *(ArmProgram("el1", cpu, "aarch64") for cpu in ("cortex-a53", "cortex-a72")),
    ArmProgram("modes", "cortex-a7", "arm", ("-mthumb",)),
    ArmProgram("modes", "cortex-a8", "arm", ("-mthumb",), board=REALVIEW),
    ArmProgram("modes", "cortex-a9", "arm", ("-marm",), board=VEXPRESS),
    ArmProgram("modes", "cortex-a15", "arm", ("-marm",)),
    *(ArmProgram("modes", "cortex-r5f", "arm", (state,), board=REALVIEW_R) for state in ("-marm", "-mthumb")),
)
PC_PROGRAMS = (PcProgram("protected", "i386", "i386"),)
ALL_PROGRAMS: tuple[Program, ...] = (*PROGRAMS, *VIRT_PROGRAMS, *ARM_PROGRAMS, *PC_PROGRAMS)


def each_program(programs: Iterable[Program]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("program", [pytest.param(each, id=each.name) for each in programs])


def main() -> None:
    for tool in (COMPILER, QEMU, VIRT_COMPILER, AARCH64_COMPILER, PC_COMPILER):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed")
    for program in ALL_PROGRAMS:
        program.path.parent.mkdir(exist_ok=True)
        program.golden.parent.mkdir(exist_ok=True)
        program.build(program.path)
        program.golden.write_text(program.run_in_qemu())
        print(program.name, program.path.stat().st_size, len(program.golden.read_text().splitlines()))


if __name__ == "__main__":
    main()
