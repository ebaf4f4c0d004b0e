"""Registers as GDB numbers and names them."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from emu.isa.spec import Gdb, GdbRegister
from emu.ports import Registers


def description(gdb: Gdb) -> str:
    """The target description (GDB manual, "Target Description Format")."""
    features = "".join(
        f"<feature name={quoteattr(name)}>"
        + "".join(f'<reg name="{each.name}" bitsize="{each.bits}" type="{each.type}"/>' for each in registers)
        + "</feature>"
        for name, registers in gdb.features.items()
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0">'
        f"<architecture>{gdb.architecture}</architecture><osabi>GNU/Linux</osabi>{features}</target>"
    )


class RegisterFile:
    """Reads and writes registers by GDB's numbers. `code_bits` are low bits of pc that GDB does not see."""

    def __init__(self, gdb: Gdb, cpu: Registers, code_bits: int) -> None:
        self._registers = [each for registers in gdb.features.values() for each in registers]
        self._cpu, self._code_bits = cpu, code_bits

    def __len__(self) -> int:
        return len(self._registers)

    def size(self, number: int) -> int:
        """Bytes of a register."""
        return self._registers[number].bits // 8

    def read(self, number: int) -> bytes:
        """A register's bytes."""
        register = self._registers[number]
        value = self._value(register) & (1 << register.bits) - 1
        return value.to_bytes(register.bits // 8, "little")

    def read_all(self) -> bytes:
        """All registers, as in the answer to `g`."""
        return b"".join(map(self.read, range(len(self))))

    def write(self, number: int, data: bytes) -> None:
        """Store a register; one that the CPU does not have is left at zero."""
        register = self._registers[number]
        value = int.from_bytes(data, "little")
        if register.cpu is None:
            return
        if register.cpu == "pc" and self._code_bits:
            value |= self._cpu.read_register("pc") & self._code_bits
        self._cpu.write_register(register.cpu, value)

    def write_all(self, data: bytes) -> None:
        """Store all registers that `data` has, as in `G`."""
        at = 0
        for number in range(len(self)):
            size = self.size(number)
            if at + size <= len(data):
                self.write(number, data[at : at + size])
            at += size

    def _value(self, register: GdbRegister) -> int:
        if register.cpu is None:
            return 0
        value = self._cpu.read_register(register.cpu)
        return value & ~self._code_bits if register.cpu == "pc" else value
