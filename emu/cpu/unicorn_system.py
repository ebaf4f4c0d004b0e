"""What boards use of a privileged CPU beyond registers by name: system registers by their encodings.

Arm's system registers are named as instructions encode them: (op0, op1, CRn, CRm, op2) on AArch64, (coprocessor,
opc1, CRn, CRm, opc2) on Arm.
"""

from __future__ import annotations

import ctypes
from typing import TypeAlias

from emu.cpu import unicorn_api as api
from emu.cpu.unicorn_pieces import UnicornPieces

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
    """The part of a `SystemCpu`."""

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
