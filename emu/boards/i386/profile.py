"""An i386 in flat protected mode, as a boot loader leaves it (Multiboot specification, "Machine state"), with the
PC's interrupt controllers and timer at their ports.

The engine executes everything but the delivery of interrupts and port I/O. Not modelled, and refused by name:
paging, real and virtual-8086 mode, task and 16-bit gates, INS and OUTS. There is no NMI and no APIC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from emu.boards.bus import Bus
from emu.boards.clock import NEVER
from emu.boards.entry_point import EntryPoint
from emu.boards.errors import BoardError, DeviceError
from emu.boards.i386.gates import ERROR_CODES, GENERAL_PROTECTION, Event, Gates
from emu.boards.i386.instructions import SystemX86
from emu.boards.i386.pic import PicPair
from emu.boards.i386.pit import Gate, Pit
from emu.boards.profile import BaseProfile, Interrupts, check_options
from emu.cpu.misrun import Outcome
from emu.cpu.protocol import Stop, StopReason
from emu.ports import Layout

if TYPE_CHECKING:
    from emu.boards.clock import Clock
    from emu.boards.device import Device
    from emu.cpu.protocol import DeviceCpu, X86Cpu
    from emu.ports import Memory

_INTERRUPT = 1 << 9
_GENERAL = ("eax", "ecx", "edx", "ebx", "ebp", "esi", "edi")
_INVALID, _NO_RESUME = 6, frozenset({1, 3, 4, 8})  #: vectors; those of traps and aborts
_BITMAP_PLACE = 0x66  #: of a task state segment: the offset of its map of ports
_ONE_BYTE = (b"\xcc", b"\xce")  #: int3, into
_MULTIBOOT = 0x2BAD_B002  #: what EAX has
#: Vectors of exceptions that the engine reports by other means than their number.
_REASONS = {StopReason.INVALID_INSTRUCTION: _INVALID}
_EXCEPTIONS = frozenset(
    {
        StopReason.ARITHMETIC,
        StopReason.BREAKPOINT,
        StopReason.EXCEPTION,
        StopReason.UNALIGNED,
    }
)


class I386(EntryPoint, BaseProfile):
    """An i386 CPU (`emu.boards.profile.Profile`).

    It starts at `entry`, the firmware's entry point by default. `irq=` numbers of devices are the lines of two
    8259 interrupt controllers, 0 (the 8254's first counter) to 15. The 8254 counts once in `divider` instructions.
    `open_bus` says that ports without a device read as ones and ignore writes, as in a PC; otherwise they are
    refused. `faults` says who gets exceptions of a firmware that runs, as for Cortex-M.
    """

    arch, address_mask = "i386", 0xFFFF_DFFF  # above is the engine's own
    float_abi: str | None = None
    model: str | None = "protected"
    layout = Layout(window=(0xC000_0000, 0x2000_0000))

    def __init__(
        self,
        name: str = "i386",
        *,
        entry: int | None = None,
        divider: int = 1,
        open_bus: bool = False,
        faults: str = "firmware",
    ) -> None:
        self.name, self.entry, self.faults_to, self.open_bus = name, entry, faults, open_bus
        check_options(name, faults, entry=(entry, 0, self.address_mask), divider=(divider, 1, 1 << 32))
        self.free_ram, self.in_run = (0, 0), False
        self.changed = self.resetting = self.started = False
        self.pic = PicPair(self._set_output)
        self.pit = Pit(self.pic.set_line, divider)
        self.own_ports: Mapping[int, Device] | None = {
            0x20: self.pic.first,
            0xA0: self.pic.second,
            0x40: self.pit,
            0x61: Gate(self.pit),
        }
        self._line = False  #: the controllers' output
        self._denied = False  #: whether an access to a port has just been refused
        self._shadow = NEVER  #: STI delays interrupts until this time
        self.firmware_entry = None

    def devices(self) -> Mapping[int, Device]:
        return {}

    def set_ports(self, ports: Mapping[int, Device]) -> None:
        """All devices by port. Called once, before `connect`."""
        self.ports = Bus(ports)

    def connect(self, cpu: DeviceCpu, memory: Memory, clock: Clock, stop: Callable[[], None]) -> None:
        self.cpu, self.memory, self.clock = cast("X86Cpu", cpu), memory, clock
        self._gates = Gates(self.cpu, memory)
        cpu.count_always()
        cpu.inspect(SystemX86(self))

    # ------------------------------------------------------------ reset

    def reset(self) -> int:
        return self.start(self.first_instruction(), 0)

    def start(self, entry: int, stack: int) -> int:
        cpu = self.cpu
        cpu.begin_protected()
        cpu.write_registers(dict.fromkeys(_GENERAL, 0) | {"eax": _MULTIBOOT, "esp": stack, "eflags": 2})
        cpu.write_registers({"cr0": 0x11, "cr2": 0, "cr3": 0, "cr4": 0x600})  # with SSE
        cpu.write_registers({"fpcw": 0x37F, "fpsw": 0, "fptag": 0xFFFF, "mxcsr": 0x1F80})
        self.resetting, self.started, self.changed, self._shadow = False, True, True, NEVER
        return entry

    # ------------------------------------------------------------ ports

    def may_access(self, port: int, size: int) -> bool:
        flags, level = self.cpu.read_register("eflags"), self.cpu.read_register("cs") & 3
        if level <= flags >> 12 & 3:
            return True
        _, base, limit = self.cpu.read_table("tr")
        if limit < _BITMAP_PLACE + 1:
            return False
        at = self.memory.read_uint(base + _BITMAP_PLACE, 2) + port // 8
        return at + 1 <= limit and not self.memory.read_uint(base + at, 2) >> port % 8 & (1 << size) - 1

    def deny(self) -> Outcome:
        self._denied = True
        return Outcome.REFUSED

    def no_device(self, port: int, size: int) -> int:
        if not self.open_bus:
            raise DeviceError(f"there is no device at port {port:#x} (open_bus=True lets reads give ones)")
        return (1 << 8 * size) - 1

    def time(self) -> int:
        return self.clock.now

    def set_line(self, number: int, level: bool) -> None:
        if not 0 <= number < 16 or number == 2:
            raise BoardError(f"{self.name} has the interrupts 0 to 15 without 2, not {number}")
        self.pic.set_line(number, level)

    # ------------------------------------------------------------ interrupts

    def _set_output(self, level: bool) -> None:
        if level and not self._line:
            self.changed = True
            if self.started and self.cpu.in_access and not self.cpu.stops_at_blocks:
                self.cpu.pause()
        self._line = level

    def enable_interrupts(self) -> None:
        """STI: interrupts are taken after the next instruction."""
        self._shadow = self.clock.now + 2
        self.clock.at(self._shadow, self._look)

    def _look(self) -> None:
        self._shadow, self.changed = NEVER, True

    def interrupts(self) -> Interrupts:
        if not self._line or not self.started or self._shadow != NEVER:
            return Interrupts.NONE
        return Interrupts.READY if self.cpu.read_register("eflags") & _INTERRUPT else Interrupts.MASKED

    def take(self, pc: int) -> int:
        handler = self._gates.deliver(Event(self.pic.acknowledge(), external=True), pc)
        self.changed = self._line
        return handler

    def wakes(self) -> bool:
        return self._line and bool(self.cpu.read_register("eflags") & _INTERRUPT)

    # ------------------------------------------------------------ exceptions

    def stopped(self, stop: Stop) -> int | None:
        number = _REASONS.get(stop.reason)
        if number is not None and self._denied:
            number = GENERAL_PROTECTION
        self._denied = False
        if not self.started or (number is None and stop.reason not in _EXCEPTIONS):
            return None
        code, software = (0, False) if number is not None else self.cpu.last_exception()
        vector = self.cpu.exception if number is None else number
        if not software and (self.faults_to == "raise" or not self.in_run):
            return None
        if not self.cpu.read_table("idtr")[2]:
            return None  # no handlers were ever set
        if software:
            event = Event(vector, software=1 if self.memory.read(stop.pc - 1, 1) in _ONE_BYTE else 2)
        else:
            event = Event(vector, code if vector in ERROR_CODES else None, resumes=vector not in _NO_RESUME)
        handler = self._gates.deliver(event, stop.pc)
        self.changed = self._line
        return handler

    # ------------------------------------------------------------ places

    def after_wait(self, stop: Stop) -> int:
        return stop.pc + 1

    def code_address(self, pc: int) -> int:
        return pc
