"""The registers of an M-profile CPU as exceptions change them: frames on the stack, banked stack pointers.

The engine applies the guest's privileges to accesses from outside too: of an unprivileged thread it shows no mask
registers and does not change CONTROL. Handlers are privileged, so what is needed is done with IPSR set.
CONTROL.SPSEL can be changed in thread mode only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.boards.cortex_m.model import CortexModel
    from emu.cpu.protocol import DeviceCpu

NPRIV, SPSEL, FPCA, SFPA = 1, 2, 4, 8  #: bits of CONTROL
_FLOATS_ACTIVE = FPCA | SFPA
THUMB = 1 << 24
_IT = 0x0600_FC00
_ALIGNED = 1 << 9  #: of a stacked xPSR: 4 bytes of padding are above the frame
_SECURE_FLOATS = 1 << 20  #: the same: SFPA (v8-M)
_FRAME = ("r0", "r1", "r2", "r3", "r12", "lr")
_MASKS = ("primask", "basepri", "faultmask")
_BASIC, _EXTENDED = 0x20, 0x68  #: bytes of a frame without and with floating-point registers
USUAL = frozenset({0xFFFF_FFF9, 0xFFFF_FFFD, 0xFFFF_FFF1})  #: values of EXC_RETURN that all CPUs know
_FLOATS = tuple(f"d{number}" for number in range(8))


#: What exceptions depend on, as the engine shows it.
_STATE = ("xpsr", "control", *_MASKS, *_FRAME, "sp", "msp", "psp")
State: TypeAlias = tuple[int, ...]  #: values of _STATE; the first five are xPSR, CONTROL and the masks
FAULTMASK = 4  #: its place there
#: A frame, and the state that it was pushed from: LR for the handler, whether there was memory, the address of the
#: frame, xPSR, CONTROL.
Pushed: TypeAlias = tuple[int, bool, int, int, int]


class Frames:
    """The registers of one CPU."""

    def __init__(self, cpu: DeviceCpu, has_fpu: bool) -> None:
        self._cpu, self._has_fpu = cpu, has_fpu
        self._general = tuple(f"r{number}" for number in range(13))
        group = cpu.register_group
        self.saves_floats = True  #: FPCCR.ASPEN
        self._privilege = group(("xpsr", "control"))
        self._state = cpu.state_group(_STATE)
        self.ending: Callable[[], State] = self._state.read  #: the registers of a handler, which is privileged
        self._enter, self._switch = group(("sp", "xpsr", "lr")), group(("sp", "control", "xpsr", "lr"))
        #: From an unprivileged thread; its privileges apply to accesses from outside too.
        privileged = ("xpsr", "control", "xpsr", "control")
        self._enter_privileged = group(("sp", *privileged, "xpsr", "lr", "control"))
        self._chain = group(("xpsr", "lr"))
        self._leave = {stack: group((stack, "xpsr", *_FRAME)) for stack in ("msp", "psp")}
        self._leave_to = {stack: group((stack, "control", "xpsr", *_FRAME)) for stack in ("msp", "psp")}
        switch = ("control", "xpsr", "control", "xpsr")
        self._leave_switching = {stack: group((stack, *switch, *_FRAME)) for stack in ("msp", "psp")}

    def reset(self, stack: int) -> None:
        """Thread mode, privileged, on the main stack."""
        cpu = self._cpu
        self.saves_floats = True
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

    def is_unprivileged(self) -> bool:
        xpsr, control = self._privilege.read()
        return bool(control & NPRIV) and not xpsr & 0x1FF

    def read(self) -> State:
        """The registers, with the masks also of an unprivileged thread."""
        state = self._state.read()
        xpsr, control = state[:2]
        if not control & NPRIV or xpsr & 0x1FF:
            return state
        cpu = self._cpu
        cpu.write_register("xpsr", xpsr | 1)
        masks = cpu.read_registers(_MASKS)
        cpu.write_register("xpsr", xpsr)
        return (xpsr, control, *masks, *state[5:])

    def clear_faultmask(self) -> None:
        """At the return of a handler."""
        self._cpu.write_register("faultmask", 0)

    # ------------------------------------------------------------ entry

    def push(self, pc: int, state: State) -> Pushed:
        """Push a frame for the return to `pc`."""
        cpu = self._cpu
        xpsr, control, sp = state[0], state[1], state[11]
        floats = self._has_fpu and control & FPCA and self.saves_floats
        frame = sp - (_EXTENDED if floats else _BASIC) & 0xFFFF_FFFF
        xpsr = xpsr & ~_ALIGNED | (_ALIGNED if frame & 4 else 0) | (_SECURE_FLOATS if control & SFPA else 0)
        frame &= ~7
        words = (*state[5:11], pc, xpsr)
        if floats:
            for double in cpu.read_registers(_FLOATS):
                words += (double & 0xFFFF_FFFF, double >> 32)
            words += (cpu.read_register("fpscr"), 0)
        in_handler = xpsr & 0x1FF
        on_process_stack = not in_handler and control & SPSEL
        link = 0xFFFF_FFE1 | (0 if floats else 16) | (0 if in_handler else 8) | (4 if on_process_stack else 0)
        stored = True
        try:
            cpu.store_words(frame, *words)
        except AddressSpaceError:
            stored = False
        return link, stored, frame, xpsr, control

    def enter_handler(self, exception: int, before: Pushed) -> None:
        """From what was interrupted: handler mode, on the main stack below the frame, IT state cleared."""
        link, _, sp, xpsr, control = before
        kept = xpsr & ~(_IT | _SECURE_FLOATS | 0x3FF) | THUMB
        if not control:
            self._enter.write(sp, kept | exception, link)
        elif xpsr & 0x1FF:  # in a handler already, on the main stack
            self._switch.write(sp, control & ~_FLOATS_ACTIVE, kept | exception, link)
        elif control & NPRIV:
            after = control & ~(SPSEL | _FLOATS_ACTIVE)
            steps = (kept | 1, control & ~NPRIV, kept, after & ~NPRIV)
            self._enter_privileged.write(sp, *steps, kept | exception, link, after)
        else:
            self._switch.write(sp, control & ~(SPSEL | _FLOATS_ACTIVE), kept | exception, link)

    def chain(self, exception: int, link: int) -> None:
        """From the handler that has just ended to another one."""
        xpsr = self._cpu.read_register("xpsr")
        self._chain.write(xpsr & ~(_IT | 0x1FF) | THUMB | exception, link)

    # ------------------------------------------------------------ return

    def is_exc_return(self, value: int, model: CortexModel) -> bool:
        """Whether a value, none of `USUAL`, is one of EXC_RETURN that the CPU knows."""
        if value & 0xFFFF_FF80 != 0xFFFF_FF80 or value & 0xC == 4:
            return False
        if not value & 16 and not self._has_fpu:
            return False
        return model.is_v8 or value & 0xFFFF_FFE0 == 0xFFFF_FFE0

    def pop(self, exc_return: int, ending: State) -> tuple[int, str]:
        """Return to the code of the frame: (its address, with bit 0 as in Thumb state, "") or (0, the problem)."""
        cpu = self._cpu
        to_thread, floats = exc_return & 8, not exc_return & 16
        control, main, process = ending[1], ending[12], ending[13]
        size = _EXTENDED if floats else _BASIC
        stack, frame = ("psp", process) if exc_return & 4 else ("msp", main)
        try:
            words = cpu.load_words(frame, size >> 2)
        except AddressSpaceError:
            return 0, "UNSTKERR"
        general, pc, xpsr = words[:6], words[6], words[7]
        if bool(xpsr & 0x1FF) == bool(to_thread):
            return 0, "INVPC"
        if floats:
            doubles = [words[8 + 2 * index] | words[9 + 2 * index] << 32 for index in range(8)]
            cpu.write_registers([*zip(_FLOATS, doubles, strict=True), ("fpscr", words[24])])
        sp = frame + size & 0xFFFF_FFFF | (4 if xpsr & _ALIGNED else 0)
        wanted = control & ~(SPSEL | _FLOATS_ACTIVE) | (SPSEL if exc_return & 4 else 0) | (FPCA if floats else 0)
        if xpsr & _SECURE_FLOATS:
            wanted |= SFPA
        xpsr &= ~(_ALIGNED | _SECURE_FLOATS)
        if to_thread and (wanted ^ control) & (SPSEL | _FLOATS_ACTIVE):
            steps = (control & ~NPRIV, xpsr & ~_IT, wanted, xpsr)
            self._leave_switching[stack].write(sp, *steps, *general)
        elif (wanted ^ control) & _FLOATS_ACTIVE:
            self._leave_to[stack].write(sp, wanted, xpsr, *general)
        else:
            self._leave[stack].write(sp, xpsr, *general)
        cpu.continue_at(pc)
        return pc & ~1 | xpsr >> 24 & 1, ""
