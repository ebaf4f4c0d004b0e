"""The interface of a privileged CPU that boards use beyond registers by name: system registers by their encodings.

Arm's system registers are named as instructions encode them: (op0, op1, CRn, CRm, op2) on AArch64, (coprocessor,
opc1, CRn, CRm, opc2) on Arm.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeAlias

from emu.cpu.unicorn import api
from emu.cpu.unicorn.gdt import DescriptorTable, load_table, read_table
from emu.cpu.unicorn.isas import GDT_PAGE
from emu.cpu.unicorn.pieces import UnicornPieces
from relink.records import cached_property

if TYPE_CHECKING:
    from emu.cpu.unicorn.x86_context import X86State

_MARKED, _UNMARKED = 0x91, 0x90  #: of an access byte: present, of code or data, accessed
_TABLES = ("GDTR", "IDTR", "LDTR", "TR")
Encoding: TypeAlias = tuple[int, int, int, int, int]


class _Arm64Register(ctypes.Structure):
    """uc_arm64_cp_reg."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("crn", "crm", "op0", "op1", "op2")),
        ("value", ctypes.c_uint64),
    )
    value: int


class _ArmRegister(ctypes.Structure):
    """uc_arm_cp_reg."""

    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("cp", "is64", "sec", "crn", "crm", "opc1", "opc2")),
        ("value", ctypes.c_uint64),
    )
    value: int


class UnicornSystem(UnicornPieces):
    """The part of a `UnicornCpu` for the protocols `SystemCpu` and `X86Cpu`."""

    exception = 0

    @cached_property
    def _x86(self) -> X86State:
        from emu.cpu.unicorn.x86_context import X86State

        return X86State(self._handle)

    def begin_protected(self) -> None:
        """See `X86Cpu.begin_protected`."""
        assert self._gdt is not None
        self._at_stop = None
        self._x86.set_privilege(0)
        self._gdt.begin_privileged()

    def read_table(self, name: str) -> tuple[int, int, int]:
        """See `X86Cpu.read_table`."""
        table = read_table(self._handle, name.upper())
        return table.selector, table.base, table.limit

    def register_values(self) -> list[int]:
        """See `Cpu.register_values`; of a privileged i386 with its tables and its privilege level."""
        values = super().register_values()
        if "cr0" not in self._isa.names:
            return values
        for register in _TABLES:
            table = read_table(self._handle, register)
            values += (table.selector, table.base, table.limit, table.flags)
        return [*values, self.read_register("cs") & 3]

    def set_register_values(self, values: Sequence[int]) -> None:
        """See `Cpu.set_register_values`."""
        if "cr0" not in self._isa.names:
            super().set_register_values(values)
            return
        *others, level = values
        first = len(others) - 4 * len(_TABLES)
        self._x86.set_privilege(0)
        for number, register in enumerate(_TABLES):
            load_table(self._handle, register, DescriptorTable(*others[first + 4 * number :][:4]))
        self._x86.set_privilege(level)
        super().set_register_values(others[:first])

    def descriptor(self, selector: int) -> bytes | None:
        """See `X86Cpu.descriptor`."""
        _, base, limit = self.read_table("ldtr" if selector & 4 else "gdtr")
        offset = selector & ~7
        if offset + 7 > limit:
            return None
        if base == GDT_PAGE and self._gdt is not None:
            return self._gdt.content[offset : offset + 8]
        return self.read(base + offset & 0xFFFF_FFFF, 8)

    def load_segment(self, register: str, selector: int) -> None:
        """See `X86Cpu.load_segment`. Outside of a run the engine crashes at an access that memory refuses: the bit
        is set before, and pages that are closed to the guest are open meanwhile.
        """
        descriptor = self.descriptor(selector) if selector & ~3 else None
        _, base, _ = self.read_table("ldtr" if selector & 4 else "gdtr")
        place = base + (selector & ~7) & 0xFFFF_FFFF
        if base == GDT_PAGE or descriptor is None:
            self._put_segment(register, selector)
            return
        if marks := descriptor[5] & _MARKED == _UNMARKED:
            self.store(place + 5, bytes((descriptor[5] | 1,)))
        with nullcontext() if self._observed is None else self._observed.opened((place, place + 7)):
            self._put_segment(register, selector)
        if marks and self._plain(register) != selector:
            self.store(place + 5, descriptor[5:6])

    def _put_segment(self, register: str, selector: int) -> None:
        self._at_stop = None
        identifier, buffer, reference = self._slots[register]
        buffer.value = selector
        api.reg_write(self._handle, identifier, reference)

    def last_exception(self) -> tuple[int, bool]:
        """See `X86Cpu.last_exception`."""
        return self._x86.last_exception()

    def forget_exception(self) -> None:
        self._x86.forget_exception()

    def set_privilege(self, level: int) -> None:
        """See `X86Cpu.set_privilege`."""
        self._x86.set_privilege(level)

    def _system_register(self, encoding: Encoding, value: int) -> tuple[int, _Arm64Register | _ArmRegister]:
        first, op1, crn, crm, op2 = encoding
        number = api.register_number(self._isa.constants, "CP_REG")
        if self._isa.constants == "arm64":
            return number, _Arm64Register(crn, crm, first, op1, op2, value)
        return number, _ArmRegister(first, 0, 0, crn, crm, op1, op2, value)

    def read_system(self, encoding: Encoding) -> int:
        """See `SystemCpu.read_system`."""
        number, register = self._system_register(encoding, 0)
        api.check(api.uclib.uc_reg_read(self._handle, number, ctypes.byref(register)), "read a system register")
        return register.value

    def write_system(self, encoding: Encoding, value: int) -> None:
        """See `SystemCpu.write_system`."""
        self._at_stop = None
        number, register = self._system_register(encoding, value)
        api.check(api.uclib.uc_reg_write(self._handle, number, ctypes.byref(register)), "write a system register")
