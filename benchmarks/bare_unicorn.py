"""Unicorn by its Python binding alone, as a peer: engines, and functions of loaded libraries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from unicorn import arm64_const, arm_const, riscv_const, unicorn_const, x86_const
from unicorn.unicorn_py3.unicorn import Uc

from benchmarks.measure import Absent
from emu import Library, Machine
from emu.cpu.unicorn.isas import ISAS
from tests.fixtures import arch_of

_STACK, _SIZE, _PAGE = 0x6000_0000, 0x10_0000, 4096
#: Target → the register of the first argument, and that of the result.
_REGISTERS = {"x86_64": ("rdi", "rax"), "i386": ("", "eax"), "aarch64": ("x0", "x0"), "arm": ("r0", "r0"),
              "thumb": ("r0", "r0"), "riscv64": ("a0", "a0"), "riscv32": ("a0", "a0")}  # fmt: skip
_LINK = {"aarch64": "lr", "arm": "lr", "thumb": "lr", "riscv64": "ra", "riscv32": "ra"}

#: UC_ARCH, UC_MODE, UC_CPU, the module of register constants and its prefix.
BARE: dict[str, tuple[int, int, int | None, Any, str]] = {
    "x86_64": (unicorn_const.UC_ARCH_X86, unicorn_const.UC_MODE_64, None, x86_const, "X86"),
    "i386": (unicorn_const.UC_ARCH_X86, unicorn_const.UC_MODE_32, None, x86_const, "X86"),
    "aarch64": (
        unicorn_const.UC_ARCH_ARM64,
        unicorn_const.UC_MODE_ARM,
        arm64_const.UC_CPU_ARM64_MAX,
        arm64_const,
        "ARM64",
    ),
    "arm": (unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_ARM, arm_const.UC_CPU_ARM_MAX, arm_const, "ARM"),
    "thumb": (unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_THUMB, arm_const.UC_CPU_ARM_MAX, arm_const, "ARM"),
    "riscv64": (unicorn_const.UC_ARCH_RISCV, unicorn_const.UC_MODE_RISCV64, None, riscv_const, "RISCV"),
    "riscv32": (unicorn_const.UC_ARCH_RISCV, unicorn_const.UC_MODE_RISCV32, None, riscv_const, "RISCV"),
}
NO_LOONGARCH = Absent("it has no LoongArch")


def engine(target: str) -> Uc:
    """An engine with the CPU model of a target."""
    arch, mode, model, *_ = BARE[target]
    made = Uc(arch, mode)
    if model is not None:
        made.ctl_set_cpu_model(model)
    return made


def register_number(target: str, name: str) -> int:
    """The number of a register in the binding."""
    *_, constants, prefix = BARE[target]
    return int(getattr(constants, f"UC_{prefix}_REG_{name.upper()}"))


class BareLibraries:
    """Loaded libraries whose functions take and return an unsigned int, and need nothing of the machine.

    They are run by copied bytes, registers and `emu_start` with `until`.
    """

    def __init__(self, target: str, machine: Machine, *libraries: Library) -> None:
        number_of = partial(register_number, target)
        self.uc = uc = engine(target)
        end = 0
        for library in libraries:
            region = library.image.region
            start, end = region.address & -_PAGE, region.address + region.size + _PAGE - 1 & -_PAGE
            uc.mem_map(start, end - start)
            uc.mem_write(region.address, bytes(machine.memory.read(region.address, region.size)))
        self._until = end
        uc.mem_map(end, _PAGE)  # RISC-V's translator reads where it is to stop
        uc.mem_map(_STACK, _SIZE)
        isa = ISAS[arch_of(target)]
        for register, bits in isa.setup.items():  # turns the floating-point unit on
            number = number_of(isa.names[register][0] if register in isa.names else register)
            uc.reg_write(number, uc.reg_read(number) | bits)
        self._word = isa.word
        self._sp = number_of({"x86_64": "rsp", "i386": "esp"}.get(target, "sp"))
        link, (given, result) = _LINK.get(target), _REGISTERS[target]
        self._link = number_of(link) if link else None
        self._given = number_of(given) if given else None
        self._result = number_of(result)

    def function(self, library: Library, name: str) -> Callable[[int], int]:
        """A function of one of the libraries."""
        return partial(self._call, library.symbols[name].address)

    def _call(self, entry: int, argument: int) -> int:
        uc, top = self.uc, _STACK + _SIZE - 64
        if self._link is not None:
            uc.reg_write(self._link, self._until | (entry & 1))
        else:
            top -= self._word
            uc.mem_write(top, b"".join(value.to_bytes(self._word, "little") for value in (self._until, argument)))
        if self._given is not None:
            uc.reg_write(self._given, argument)
        uc.reg_write(self._sp, top)
        uc.emu_start(entry, self._until)
        return int(uc.reg_read(self._result)) & 0xFFFF_FFFF
