"""Frames for host functions, for Arm's unwinder (Exception Handling ABI for the Arm Architecture).

On Arm a personality routine unwinds its frame itself, with `_Unwind_VRS_Set`. The table with the routine is one
entry of .ARM.exidx (section 6), made for the requested address.
"""

from __future__ import annotations

from emu.debug.host_frames import CONTINUE_UNWIND, INSTALL_CONTEXT, HostFrames
from emu.debug.synthetic_headers import EXIDX_ENTRY, UnwindTable
from emu.errors import GuestUnwinding
from emu.host.functions import HostFunction
from relink.image import Image
from relink.memory.address_space import PAGE, Protection

_STARTING, _RESUME, _ACTION = 1, 2, 3  #: _Unwind_State and its mask (section 8.2)
_CANTUNWIND = 1  #: EXIDX_CANTUNWIND
_SP, _PC = 13, 15
_PERSONALITY = "int host_frame(int state, void *control, void *context)"
_REGISTER = "int(void *, int, unsigned, int, void *)"  #: of _Unwind_VRS_Get and _Unwind_VRS_Set
_JUMP = bytes.fromhex("04f01fe5")  #: ldr pc, [pc, #-4]: the trap is out of range of a table entry


class ArmHostFrames(HostFrames):
    """The frames of one Arm machine's host functions."""

    def _prepare(self) -> None:
        self._outermost = self._inner = UnwindTable(0, 0)
        self._value = 0  #: guest address of a word
        self._resumed = (0, 0)  #: sp of the guest function that continues, and its return address

    def define_personality(self) -> int:
        return self._host_symbols.define("host frame", HostFunction(self._unwind, _PERSONALITY))

    def covers(self, address: int) -> bool:
        # Unwinders look up the address two bytes before the return address.
        return self._traps.is_return(address + 2)

    def table(self, address: int) -> UnwindTable:
        if not self._inner.size:
            self._make_tables()
        return self._outermost if address + 2 == self._traps.return_to(1) else self._inner

    def resume(self, unwinding: GuestUnwinding) -> int:
        registers = self._cpu.read_registers(("sp", "lr"))
        self._resumed = (registers[0], registers[1])
        return super().resume(unwinding)

    def _make_tables(self) -> None:
        """Make two tables of one entry and a personality routine in guest code, on one page: an entry of a table
        reaches 1 GiB, and mappings may be further apart.
        """
        memory = self._memory
        self._value = self._arena.allocate(4)
        code = memory.map_anonymous(PAGE, Protection.R | Protection.X, name="[unwind]")
        jump = _JUMP + self.personality.to_bytes(4, "little")
        outer = code + len(jump)
        inner, entry = outer + EXIDX_ENTRY, outer + 2 * EXIDX_ENTRY
        # The function start of an entry must only be below every trap: the address of the table is used.
        words = (0, _CANTUNWIND, _prel31(inner, inner), _prel31(entry, inner + 4), _prel31(code, entry))
        memory.write(code, jump + b"".join(word.to_bytes(4, "little") for word in words))
        self._outermost, self._inner = UnwindTable(outer, EXIDX_ENTRY), UnwindTable(inner, EXIDX_ENTRY)

    def _unwind(self, state: int, control: int, context: int) -> int:
        """The personality routine: unwinds to the caller; in the cleanup phase it first lands in the host."""
        action = state & _ACTION
        unwinder = self.unwinder()
        if action == _STARTING:
            self.land(unwinder, control)
            self._set(unwinder, context, _PC, self.landing)
            return INSTALL_CONTEXT
        caller = self._resumed if action == _RESUME else self._caller(unwinder, context)
        self._set(unwinder, context, _SP, caller[0])
        self._set(unwinder, context, _PC, caller[1])
        return CONTINUE_UNWIND

    def _caller(self, unwinder: Image, context: int) -> tuple[int, int]:
        """(sp, return address) of the guest function that waits for the frame of `context`."""
        self._runner.call(unwinder.symbol("_Unwind_VRS_Get").address, _REGISTER, context, 0, _PC, 0, self._value)
        here = self._memory.read_uint(self._value, 4) & ~1
        callers = self._runner.host_callers()
        depths = range(2, len(callers) + 2)
        return next(
            caller for depth, caller in zip(depths, callers, strict=True) if self._traps.return_to(depth) == here
        )

    def _set(self, unwinder: Image, context: int, register: int, value: int) -> None:
        self._memory.write_uint(self._value, 4, value)
        address = unwinder.symbol("_Unwind_VRS_Set").address
        self._runner.call(address, _REGISTER, context, 0, register, 0, self._value)


def _prel31(target: int, place: int) -> int:
    """A place-relative 31-bit offset (section 6)."""
    return (target - place) & 0x7FFF_FFFF
