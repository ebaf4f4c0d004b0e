"""The system control space at 0xE000E000: SysTick, NVIC, SCB (ARMv7-M ARM, B3.2 to B3.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.boards.cortex_m import nvic as n
from emu.boards.cortex_m.faults import STATUS
from emu.boards.cortex_m.systick import SysTick
from emu.boards.device import BusPort, Device
from emu.boards.errors import NotModelled
from emu.cpu.protocol import NoDevice

if TYPE_CHECKING:
    from emu.boards.clock import Clock
    from emu.boards.cortex_m.core import Core

_KEY = 0x05FA
_ICTR, _SYSTICK = 0x004, 0x010
_ISER, _ICER, _ISPR, _ICPR, _IABR, _IPR = 0x100, 0x180, 0x200, 0x280, 0x300, 0x400
_CPUID, _ICSR, _VTOR, _AIRCR, _SCR, _CCR, _SHPR, _SHCSR = 0xD00, 0xD04, 0xD08, 0xD0C, 0xD10, 0xD14, 0xD18, 0xD24
_CFSR, _HFSR, _DFSR, _MMFAR, _BFAR, _AFSR = 0xD28, 0xD2C, 0xD30, 0xD34, 0xD38, 0xD3C
_CPACR, _MPU_CTRL, _STIR, _FPCCR, _FPCAR, _FPDSCR = 0xD88, 0xD94, 0xF00, 0xF34, 0xF38, 0xF3C
_ID_PFR0, _DEMCR = 0xD40, 0xDFC
#: SHCSR: (bit, exception) of what is active, pending and enabled.
_ACTIVE = (
    (0, n.MEM_MANAGE),
    (1, n.BUS_FAULT),
    (3, n.USAGE_FAULT),
    (7, n.SVCALL),
    (8, n.DEBUG_MONITOR),
    (10, n.PENDSV),
    (11, n.SYSTICK),
)
_PENDED = ((12, n.USAGE_FAULT), (13, n.MEM_MANAGE), (14, n.BUS_FAULT), (15, n.SVCALL))
_ENABLED = ((16, n.MEM_MANAGE), (17, n.BUS_FAULT), (18, n.USAGE_FAULT))
_ASPEN, _LSPEN = 1 << 31, 1 << 30
_SLEEP_ON_EXIT, _SEV_ON_PEND = 1 << 1, 1 << 4
_CCR_UNALIGNED, _CCR_DIVIDE, _CCR_STKALIGN = 1 << 3, 1 << 4, 1 << 9
_CCR_REFUSED = {_CCR_UNALIGNED: "CCR.UNALIGN_TRP", 1 << 8: "CCR.BFHFNMIGN"}
#: Registers that only keep what is written: ACTLR, DFSR, AFSR, CPACR, debug control, FPCCR and others.
_PLAIN = frozenset({0x008, _DFSR, _AFSR, _CPACR, _DEMCR, _FPCCR, _FPCAR, _FPDSCR})
#: The feature registers of a Cortex-M4 (ID_PFR0 to ID_ISAR4), of which software reads little.
_FEATURES = (
    0x30,
    0x200,
    0x0010_0000,
    0,
    0x0010_0030,
    0,
    0x0100_0000,
    0,
    0x0114_1110,
    0x0211_2000,
    0x2123_2231,
    0x0111_1131,
    0x0131_0132,
)


class SystemControl(Device):
    """The registers of one CPU."""

    size = 0x1000

    def __init__(self, cpu: Core, reference: int) -> None:
        super().__init__(name="system control")
        self._cpu = cpu
        self.systick = SysTick(cpu, reference)
        self._plain: dict[int, int] = {}
        self._load_defaults()

    def _load_defaults(self) -> None:
        self.vector_table = self._cpu.vectors
        self._set_sleep(0)
        self._ccr = _CCR_STKALIGN
        self._plain.clear()
        if self._cpu.cortex.has_fpu:
            self._plain[_FPCCR] = _ASPEN | _LSPEN

    def connect(self, clock: Clock, base: int, line: Callable[[bool], None], bus: BusPort) -> None:
        super().connect(clock, base, line, bus)
        self.systick.clock = clock

    def reset(self) -> None:
        self._load_defaults()
        self._cpu.watch_instructions(divide_traps=False, floats=False)
        self.systick.reset()

    @property
    def non_base_thread(self) -> bool:
        """CCR.NONBASETHRDENA."""
        return bool(self._ccr & 1)

    # ------------------------------------------------------------ accesses

    def _check_privilege(self, offset: int) -> None:
        """Unprivileged code may only write STIR, where CCR.USERSETMPEND says so."""
        cpu = self._cpu.cpu
        if cpu.in_access and self._cpu.frames.is_unprivileged() and not (offset == _STIR and self._ccr & 2):
            raise NoDevice

    def read(self, offset: int, size: int) -> int:
        self._check_privilege(0)
        if _IPR <= offset < _IPR + 0x1F0 or _SHPR <= offset < _SHCSR:
            return sum(self._priority(offset + at) << 8 * at for at in range(size))
        word = self._read_word(offset & ~3)
        return word >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        self._check_privilege(offset)
        if _IPR <= offset < _IPR + 0x1F0 or _SHPR <= offset < _SHCSR:
            for at in range(size):
                self._set_priority(offset + at, value >> 8 * at & 0xFF)
            self._cpu.attend()
            return
        if size < 4:  # only registers whose bits are cleared by ones are written in parts
            value <<= 8 * (offset & 3)
        self._write_word(offset & ~3, value)

    def _exception_of(self, offset: int) -> int:
        return offset - _IPR + n.FIRST_IRQ if offset < _CPUID else offset - _SHPR + 4

    def _priority(self, offset: int) -> int:
        priority = self._cpu.nvic.priority_of(self._exception_of(offset))
        return max(priority, 0)

    def _set_priority(self, offset: int, value: int) -> None:
        exception = self._exception_of(offset)
        if not self._cpu.cortex.is_mainline and exception in (n.MEM_MANAGE, n.BUS_FAULT, n.USAGE_FAULT):
            return
        if exception < n.FIRST_IRQ + self._cpu.nvic.lines:
            self._cpu.nvic.set_priority(exception, value)

    def _read_word(self, offset: int) -> int:
        if _SYSTICK <= offset < _SYSTICK + 0x10:
            return self.systick.read(offset)
        if _ISER <= offset < _IABR + 0x40:
            return self._interrupts(offset)
        if _ID_PFR0 <= offset < _ID_PFR0 + 4 * len(_FEATURES):
            return _FEATURES[(offset - _ID_PFR0) // 4] if self._cpu.cortex.is_mainline else 0
        read = _READERS.get(offset)
        return self._plain.get(offset, 0) if read is None else read(self)

    def _interrupts(self, offset: int) -> int:
        """A word of NVIC_ISER, ICER, ISPR, ICPR or IABR: a bit for each interrupt."""
        nvic, kind = self._cpu.nvic, offset & ~0x7F
        if offset & 0x40 or (kind == _IABR and self._cpu.cortex.architecture == "v6-M"):
            return 0
        found = nvic.enabled if kind in (_ISER, _ICER) else nvic.pending if kind in (_ISPR, _ICPR) else nvic.active
        first = n.FIRST_IRQ + 8 * (offset - kind)
        return sum(1 << bit for bit in range(32) if first + bit in found)

    def _write_word(self, offset: int, value: int) -> None:
        if _SYSTICK <= offset < _SYSTICK + 0x10:
            self.systick.write(offset, value)
        elif _ISER <= offset < _IABR:
            self._write_interrupts(offset, value)
        elif offset == _ICSR:
            self._control_interrupts(value)
        elif offset == _VTOR:
            if self._cpu.cortex.has_vtor:
                self.vector_table = value & 0xFFFF_FF80
        elif offset == _AIRCR:
            self._control_reset(value)
        elif offset == _SCR:
            self._set_sleep(value & 0x1E)
        elif offset == _CCR:
            self._configure(value)
        elif offset in (_SHCSR, _CFSR, _HFSR, _MMFAR, _BFAR):
            self._write_faults(offset, value)
        elif offset == _MPU_CTRL and value & 1:
            raise NotModelled("the MPU is not modelled (MPU_TYPE says that there is none): MPU_CTRL.ENABLE")
        elif offset == _STIR and self._cpu.cortex.is_mainline:
            self._write_interrupts(_ISPR + (value >> 5 & 15) * 4, 1 << (value & 31))
        elif offset in _PLAIN:
            self._plain[offset] = value
            if offset == _FPCCR:
                self._cpu.frames.saves_floats = bool(value & _ASPEN)
            if offset == _CPACR:
                self._cpu.watch_instructions(floats=value >> 20 & 3 != 0)

    # ------------------------------------------------------------ NVIC

    def _write_interrupts(self, offset: int, value: int) -> None:
        nvic = self._cpu.nvic
        kind, first = offset & ~0x7F, n.FIRST_IRQ + 8 * (offset & 0x3C)
        chosen = {first + bit for bit in range(32) if value >> bit & 1 and first + bit < n.FIRST_IRQ + nvic.lines}
        if kind == _ISER:
            nvic.enabled |= chosen
        elif kind == _ICER:
            nvic.enabled -= chosen
        elif kind == _ISPR:
            nvic.pending |= chosen
        else:
            nvic.pending -= chosen - nvic.levels
        self._cpu.attend()

    def _interrupt_state(self) -> int:
        """ICSR."""
        nvic = self._cpu.nvic
        vectactive = self._cpu.frames.exception_number()
        pending = nvic.most_urgent() or 0
        value = vectactive | pending << 12
        value |= 1 << 11 if nvic.active <= {vectactive} else 0
        value |= 1 << 22 if any(each >= n.FIRST_IRQ for each in nvic.pending & nvic.enabled) else 0
        for bit, exception in ((26, n.SYSTICK), (28, n.PENDSV), (31, n.NMI)):
            value |= (exception in nvic.pending) << bit
        return value

    def _control_interrupts(self, value: int) -> None:
        pending = self._cpu.nvic.pending
        for set_bit, clear_bit, exception in ((28, 27, n.PENDSV), (26, 25, n.SYSTICK), (31, None, n.NMI)):
            if clear_bit is not None and value >> clear_bit & 1:
                pending.discard(exception)
            if value >> set_bit & 1:
                pending.add(exception)
        self._cpu.attend()

    # ------------------------------------------------------------ SCB

    def _control_reset(self, value: int) -> None:
        """AIRCR."""
        if value >> 16 != _KEY:
            return
        if value & 4:  # SYSRESETREQ
            self._cpu.resetting = True
            if self._cpu.cpu.in_access:
                self._cpu.cpu.pause()
        if self._cpu.cortex.is_mainline:
            self._cpu.nvic.set_grouping(value >> 8 & 7)
            self._cpu.attend()

    def _set_sleep(self, value: int) -> None:
        """SCR."""
        self._scr = value
        self.sleeps_on_exit, self.send_event_on_pend = bool(value & _SLEEP_ON_EXIT), bool(value & _SEV_ON_PEND)

    def _configure(self, value: int) -> None:
        """CCR."""
        if not self._cpu.cortex.is_mainline:
            return
        for bit, name in _CCR_REFUSED.items():
            if value & bit:
                raise NotModelled(f"{name} is not modelled")
        self._ccr = value & 0x7_011B | _CCR_STKALIGN
        self._cpu.watch_instructions(divide_traps=bool(value & _CCR_DIVIDE))

    def _handler_state(self) -> int:
        """SHCSR."""
        nvic = self._cpu.nvic
        value = 0
        for rows, found in ((_ACTIVE, nvic.active), (_PENDED, nvic.pending), (_ENABLED, nvic.enabled)):
            value |= sum(1 << bit for bit, exception in rows if exception in found)
        return value

    def _write_faults(self, offset: int, value: int) -> None:
        faults, nvic = self._cpu.faults, self._cpu.nvic
        if not self._cpu.cortex.is_mainline:
            return
        if offset == _SHCSR:
            for rows, found in ((_PENDED, nvic.pending), (_ENABLED, nvic.enabled)):
                for bit, exception in rows:
                    (found.add if value >> bit & 1 else found.discard)(exception)
            self._cpu.attend()
        elif offset == _CFSR:
            faults.configurable &= ~value
        elif offset == _HFSR:
            faults.hard &= ~value
        elif offset == _MMFAR:
            faults.memory_address = value
        else:
            faults.bus_address = value


__all__ = ["STATUS", "SystemControl"]


#: Registers that are read from the model.
_READERS: dict[int, Callable[[SystemControl], int]] = {
    _ICTR: lambda control: (control._cpu.nvic.lines - 1) // 32,
    _CPUID: lambda control: control._cpu.cortex.cpuid,
    _ICSR: SystemControl._interrupt_state,
    _VTOR: lambda control: control.vector_table,
    _AIRCR: lambda control: 0xFA05 << 16 | control._cpu.nvic.group_shift << 8,
    _SCR: lambda control: control._scr,
    _CCR: lambda control: control._ccr,
    _SHCSR: SystemControl._handler_state,
    _CFSR: lambda control: control._cpu.faults.configurable,
    _HFSR: lambda control: control._cpu.faults.hard,
    _MMFAR: lambda control: control._cpu.faults.memory_address,
    _BFAR: lambda control: control._cpu.faults.bus_address,
}
