"""The registers of an M-profile CPU as exceptions change them: frames on the stack, banked stack pointers.

The engine applies the guest's privileges to accesses from outside too: of an unprivileged thread it shows no mask
registers and does not change CONTROL. Handlers are privileged, so what is needed is done with IPSR set.
CONTROL.SPSEL can be changed in thread mode only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.boards.cortex_m.model import CortexModel
    from emu.cpu.protocol import DeviceCpu

NPRIV, SPSEL, FPCA = 1, 2, 4  #: bits of CONTROL
THUMB = 1 << 24
_IT = 0x0600_FC00
_ALIGNED = 1 << 9  #: of a stacked xPSR: 4 bytes of padding are above the frame
_FRAME = ("r0", "r1", "r2", "r3", "r12", "lr")
_STATE = (*_FRAME, "sp", "xpsr", "control")
_MASKS = ("primask", "basepri", "faultmask")
_MASKED_STATE = ("xpsr", "control", *_MASKS)
_BASIC, _EXTENDED = 0x20, 0x68  #: bytes of a frame without and with floating-point registers
_PACK = {count: struct.Struct(f"<{count}I").pack for count in (8, 26)}
_UNPACK = {False: struct.Struct("<8I").unpack, True: struct.Struct("<26I").unpack}
_FLOATS = tuple(f"d{number}" for number in range(8))


class Pushed(NamedTuple):
    """A frame, and the state that it was pushed from."""

    link: int  #: LR for the handler
    stored: bool  #: whether there was memory
    sp: int  #: the address of the frame
    xpsr: int
    control: int


class Frames:
    """The registers of one CPU."""

    def __init__(self, cpu: DeviceCpu, has_fpu: bool) -> None:
        self._cpu, self._has_fpu = cpu, has_fpu
        self._general = tuple(f"r{number}" for number in range(13))

    def reset(self, stack: int) -> None:
        """Thread mode, privileged, on the main stack."""
        cpu = self._cpu
        self._privileged_thread()
        cpu.write_registers([("msp", stack), ("psp", 0), ("primask", 0), ("basepri", 0), ("faultmask", 0)])
        cpu.write_registers(dict.fromkeys(self._general, 0) | {"lr": 0xFFFF_FFFF, "xpsr": THUMB})
        if self._has_fpu:
            cpu.write_register("fpscr", 0)
        cpu.write_register("sp", stack)

    def _privileged_thread(self) -> None:
        """Leave any state for privileged thread mode on the main stack."""
        handler, thread = THUMB | 1, THUMB
        self._cpu.write_registers([("xpsr", handler)])
        self._cpu.write_registers([("control", 0)])
        self._cpu.write_registers([("xpsr", thread)])
        self._cpu.write_registers([("control", 0)])

    def thumb(self) -> int:
        return self._cpu.read_register("xpsr") >> 24 & 1

    def exception_number(self) -> int:
        """IPSR."""
        return self._cpu.read_register("xpsr") & 0x1FF

    def masks(self) -> list[int]:
        """PRIMASK, BASEPRI, FAULTMASK."""
        cpu = self._cpu
        xpsr, control, *masks = cpu.read_registers(_MASKED_STATE)
        if not control & NPRIV or xpsr & 0x1FF:
            return masks
        cpu.write_register("xpsr", xpsr | 1)
        masks = cpu.read_registers(_MASKS)
        cpu.write_register("xpsr", xpsr)
        return masks

    def clear_faultmask(self) -> None:
        """At the return of a handler."""
        self._cpu.write_register("faultmask", 0)

    # ------------------------------------------------------------ entry

    def push(self, pc: int) -> Pushed:
        """Push a frame for the return to `pc`."""
        cpu = self._cpu
        *general, sp, xpsr, control = cpu.read_registers(_STATE)
        floats = self._has_fpu and control & FPCA
        frame = sp - (_EXTENDED if floats else _BASIC) & 0xFFFF_FFFF
        xpsr = xpsr & ~_ALIGNED | (_ALIGNED if frame & 4 else 0)
        frame &= ~7
        words = [*general, pc, xpsr]
        if floats:
            for double in cpu.read_registers(_FLOATS):
                words += (double & 0xFFFF_FFFF, double >> 32)
            words += (cpu.read_register("fpscr"), 0)
        in_handler = xpsr & 0x1FF
        on_process_stack = not in_handler and control & SPSEL
        link = 0xFFFF_FFE1 | (0 if floats else 16) | (0 if in_handler else 8) | (4 if on_process_stack else 0)
        return Pushed(link, self._store(frame, words), frame, xpsr, control)

    def _store(self, address: int, words: list[int]) -> bool:
        try:
            self._cpu.store(address, _PACK[len(words)](*words))
        except AddressSpaceError:
            return False
        return True

    def enter_handler(self, exception: int, before: Pushed) -> None:
        """From what was interrupted: handler mode, on the main stack below the frame, IT state cleared."""
        xpsr, control = before.xpsr, before.control
        kept = xpsr & ~(_IT | 0x3FF) | THUMB
        steps = [("sp", before.sp)]
        if control & (SPSEL | FPCA):
            if xpsr & 0x1FF:  # in a handler already, on the main stack
                steps.append(("control", control & ~FPCA))
            else:
                if control & NPRIV:
                    steps += (("xpsr", kept | 1), ("control", control & ~NPRIV), ("xpsr", kept))
                steps.append(("control", control & ~(SPSEL | FPCA | NPRIV)))
        if len(steps) > 2 or control & NPRIV:  # a batch has each register once
            for name, value in steps:
                self._cpu.write_register(name, value)
            self._cpu.write_registers((("xpsr", kept | exception), ("lr", before.link)))
            if control & NPRIV:
                self._cpu.write_register("control", control & ~(SPSEL | FPCA))
        else:
            self._cpu.write_registers((*steps, ("xpsr", kept | exception), ("lr", before.link)))

    def chain(self, exception: int, link: int) -> None:
        """From the handler that has just ended to another one."""
        xpsr = self._cpu.read_register("xpsr")
        self._cpu.write_registers((("xpsr", xpsr & ~(_IT | 0x1FF) | THUMB | exception), ("lr", link)))

    # ------------------------------------------------------------ return

    def is_exc_return(self, value: int, model: CortexModel) -> bool:
        """Whether a value is one of EXC_RETURN that the CPU knows: to a handler, to a thread on either stack."""
        if value & 0xFFFF_FF80 != 0xFFFF_FF80 or value & 0xC == 4:
            return False
        if not value & 16 and not self._has_fpu:
            return False
        return model.is_v8 or value & 0xFFFF_FFE0 == 0xFFFF_FFE0

    def pop(self, exc_return: int) -> tuple[int, str]:
        """Return to the code of the frame: (its address, with bit 0 as in Thumb state, "") or (0, the problem)."""
        cpu = self._cpu
        to_thread, floats = exc_return & 8, not exc_return & 16
        stack = "psp" if exc_return & 4 else "msp"
        frame, control = cpu.read_registers((stack, "control"))
        try:
            words = _UNPACK[floats](cpu.load(frame, _EXTENDED if floats else _BASIC))
        except AddressSpaceError:
            return 0, "UNSTKERR"
        *general, pc, xpsr = words[:8]
        if bool(xpsr & 0x1FF) == bool(to_thread):
            return 0, "INVPC"
        if floats:
            doubles = [words[8 + 2 * index] | words[9 + 2 * index] << 32 for index in range(8)]
            cpu.write_registers([*zip(_FLOATS, doubles, strict=True), ("fpscr", words[24])])
        sp = frame + (_EXTENDED if floats else _BASIC) & 0xFFFF_FFFF | (4 if xpsr & _ALIGNED else 0)
        wanted = control & ~(SPSEL | FPCA) | (SPSEL if exc_return & 4 else 0) | (FPCA if floats else 0)
        first: tuple[tuple[str, int], ...] = ((stack, sp),)
        xpsr &= ~_ALIGNED
        if to_thread and (wanted ^ control) & (SPSEL | FPCA):
            cpu.write_registers((*first, ("control", control & ~NPRIV)))
            cpu.write_register("xpsr", xpsr & ~_IT)
            first = (("control", wanted),)
        elif (wanted ^ control) & FPCA:
            first = (*first, ("control", wanted))
        cpu.write_registers((*first, ("xpsr", xpsr), *zip(_FRAME, general, strict=True)))
        cpu.continue_at(pc)
        return pc & ~1 | xpsr >> 24 & 1, ""
