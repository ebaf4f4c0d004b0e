"""What the A64 and A32 profiles share: the engine stops at exceptions and leaves vectors to the board.

A profile's file says what is its own: `_masked`, how an interrupt and an exception are entered, and which
exceptions go to the firmware. Interrupts come from one GICv2, whose output is `line`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

from emu.boards.arm.generic_timer import GenericTimer
from emu.boards.arm.gic import Distributor
from emu.boards.entry_point import EntryPoint
from emu.boards.errors import BoardError, Lockup
from emu.boards.profile import BaseProfile, Interrupts, check_options
from emu.cpu.protocol import Protection, Stop, StopReason
from emu.ports import Layout

if TYPE_CHECKING:
    from emu.boards.clock import Clock
    from emu.boards.device import Device
    from emu.cpu.misrun import Finder
    from emu.cpu.protocol import DeviceCpu, SystemCpu
    from emu.ports import Memory


class ArmProfile(EntryPoint, BaseProfile):
    """The common part of a profile (`emu.boards.profile.Profile`).

    `entry` is where the CPU starts; None: at the firmware's entry point. `gic` has the addresses of distributor
    and CPU interface, None without one; it has `lines` interrupts, and `irq=` numbers of devices are its INTIDs,
    from 32. The generic timer counts once in `divider` instructions and says that it counts at `frequency` Hz.
    `faults` is "firmware", which then gets faults as exceptions, or "raise".
    """

    arch: str
    float_abi: str | None = None
    address_mask = 0xFFFF_FFFF
    layout = Layout(window=(0xC000_0000, 0x3000_0000))

    def __init__(
        self,
        name: str,
        *,
        entry: int | None = None,
        gic: tuple[int, int] | None = (0x0800_0000, 0x0801_0000),
        lines: int = 288,
        divider: int = 1,
        frequency: int = 62_500_000,
        faults: str = "firmware",
    ) -> None:
        self.name, self.entry, self.faults_to = name, entry, faults
        if gic is not None and not (isinstance(gic, tuple) and len(gic) == 2):
            raise BoardError(f"{name}: gic={gic!r} is no pair of addresses, of distributor and CPU interface")
        distributor, interface = gic or (None, None)
        check_options(
            name,
            faults,
            entry=(entry, 0, self.address_mask),
            distributor=(distributor, 0, self.address_mask),
            interface=(interface, 0, self.address_mask),
            lines=(lines, 32, 1020),
            divider=(divider, 1, 1 << 32),
            frequency=(frequency, 0, 0xFFFF_FFFF),
        )
        self.model: str | None = name
        self.gic, self._gic_at = Distributor(lines, self.set_output), gic
        if gic is not None and 0 < gic[0] - gic[1] < self.gic.interface.size:  # as in an MPCore's private region
            self.gic.interface.size = gic[0] - gic[1]
        self.timer = GenericTimer(divider, frequency, self.gic.set_line)
        self.free_ram, self.in_run = (0, 0), False
        self.changed = self.resetting = self.started = False
        self.line = False  #: whether the interrupt controller asks for an interrupt
        self.firmware_entry = None

    def devices(self) -> Mapping[int, Device]:
        if self._gic_at is None:
            return {}
        return {self._gic_at[0]: self.gic, self._gic_at[1]: self.gic.interface}

    def set_line(self, number: int, level: bool) -> None:
        """A device's interrupt, by its INTID."""
        self.gic.set_line(number, level)

    def connect(self, cpu: DeviceCpu, memory: Memory, clock: Clock, stop: Callable[[], None]) -> None:
        self.timer.connect(clock)
        self.cpu, self.memory, self.clock = cast("SystemCpu", cpu), memory, clock
        cpu.inspect(self._finder())

    @abstractmethod
    def _finder(self) -> Finder:
        """The finder of instructions that need more than the engine."""

    # ------------------------------------------------------------ reset

    def reset(self) -> int:
        return self._begin(self.first_instruction(), 0, floats=False)

    def start(self, entry: int, stack: int) -> int:
        """A reset with floating point enabled, as a debugger does for programs without start-up code."""
        return self._begin(entry, stack, floats=True)

    def _begin(self, entry: int, stack: int, *, floats: bool) -> int:
        self._clear(stack, floats=floats)
        self.timer.clear()
        self.resetting, self.started, self.changed = False, True, True
        return entry

    @abstractmethod
    def _clear(self, stack: int, *, floats: bool) -> None:
        """Set the registers as a reset does, but with floating point enabled or not."""

    # ------------------------------------------------------------ interrupts

    def set_output(self, level: bool) -> None:
        """The interrupt controller's output."""
        if level and not self.line:
            self.changed = True
            if self.started and self.cpu.in_access and not self.cpu.stops_at_blocks:
                self.cpu.pause()
        elif self.line and not level and self.cpu.stops_at_blocks and self.cpu.in_access:
            self.cpu.run_on()
        self.line = level

    def interrupts(self) -> Interrupts:
        if not self.line or not self.started:
            return Interrupts.NONE
        return Interrupts.MASKED if self._masked() else Interrupts.READY

    @abstractmethod
    def _masked(self) -> bool:
        """Whether the CPU does not take interrupts."""

    def wakes(self) -> bool:
        return self.line

    # ------------------------------------------------------------ exceptions

    def stopped(self, stop: Stop) -> int | None:
        if not self.started:
            return None
        to_firmware = stop.reason is StopReason.SYSCALL or (self.faults_to != "raise" and self.in_run)
        return self._exception(stop) if to_firmware else None

    @abstractmethod
    def _exception(self, stop: Stop) -> int | None:
        """Take the exception of an instruction: where the guest continues; None for what is none."""

    def _vector(self, address: int, pc: int) -> int:
        """The address of a handler. Raises Lockup where the CPU would fault for ever."""
        if not self.cpu.extent(address & -2, Protection.X):
            raise Lockup(pc, f"an exception, and there is no code at its vector {address:#x}")
        return address

    # ------------------------------------------------------------ places

    def after_wait(self, stop: Stop) -> int:
        return stop.pc + 4

    def code_address(self, pc: int) -> int:
        return pc
