"""A function of a loaded library run by the Unicorn binding alone: a copy of the bytes, registers, `until`."""

from __future__ import annotations

import unicorn

from benchmarks.guest_calls import BARE
from emu import Library, Machine
from emu.cpu.unicorn_isas import ISAS
from tests.fixtures import arch_of

_STACK, _SIZE, _PAGE = 0x6000_0000, 0x10_0000, 4096
#: Target → the register of the first argument, and that of the result.
_REGISTERS = {"x86_64": ("rdi", "rax"), "i386": ("", "eax"), "aarch64": ("x0", "x0"), "arm": ("r0", "r0"),
              "thumb": ("r0", "r0"), "riscv64": ("a0", "a0"), "riscv32": ("a0", "a0")}  # fmt: skip
_LINK = {"aarch64": "lr", "arm": "lr", "thumb": "lr", "riscv64": "ra", "riscv32": "ra"}


class BareFunction:
    """A function that takes and gives an unsigned int. The library must need nothing of the machine."""

    def __init__(self, target: str, machine: Machine, library: Library, name: str) -> None:
        arch, mode, model, self._constants, self._prefix = BARE[target]
        self.uc = unicorn.Uc(arch, mode)
        if model is not None:
            self.uc.ctl_set_cpu_model(model)
        region = library.image.region
        self._until = region.address + region.size + _PAGE & -_PAGE
        start = region.address & -_PAGE
        self.uc.mem_map(start, self._until + _PAGE - start)
        self.uc.mem_write(region.address, bytes(machine.memory.read(region.address, region.size)))
        self.uc.mem_map(_STACK, _SIZE)
        isa = ISAS[arch_of(target)]
        for register, bits in isa.setup.items():  # turns the floating-point unit on
            number = self._register(isa.names[register][0] if register in isa.names else register)
            self.uc.reg_write(number, self.uc.reg_read(number) | bits)
        self._entry = library.symbols[name].address
        self._word = isa.word
        self._sp = self._register({"x86_64": "rsp", "i386": "esp"}.get(target, "sp"))
        link, (given, result) = _LINK.get(target), _REGISTERS[target]
        self._link = self._register(link) if link else None
        self._given = self._register(given) if given else None
        self._result = self._register(result)

    def _register(self, name: str) -> int:
        return int(getattr(self._constants, f"UC_{self._prefix}_REG_{name.upper()}"))

    def __call__(self, argument: int) -> int:
        uc, top = self.uc, _STACK + _SIZE - 64
        if self._link is not None:
            uc.reg_write(self._link, self._until | (self._entry & 1))
        else:
            top -= self._word
            uc.mem_write(top, b"".join(value.to_bytes(self._word, "little") for value in (self._until, argument)))
        if self._given is not None:
            uc.reg_write(self._given, argument)
        uc.reg_write(self._sp, top)
        uc.emu_start(self._entry, self._until)
        return int(uc.reg_read(self._result)) & 0xFFFF_FFFF
