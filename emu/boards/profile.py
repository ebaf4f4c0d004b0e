"""Profiles: what a CPU does at interrupts, exceptions and resets, beside executing instructions.

The engine executes instructions. It stops at exceptions (a system call, a fault, an instruction that waits), at
events of the clock, and where a device asks for it; then the profile changes registers and memory as the hardware
would, and says where the guest continues. `emu.boards.cortex_m` is one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from emu.boards.errors import BoardError

if TYPE_CHECKING:
    from emu.boards.bus import Bus
    from emu.boards.clock import Clock
    from emu.boards.device import Device
    from emu.boards.firmware import Firmware
    from emu.cpu.protocol import DeviceCpu, Stop
    from emu.ports import Layout, Memory


def check_options(cpu: str, faults: str, **numbers: tuple[int | None, int, int]) -> None:
    """Raise BoardError for an option of a CPU that is no number from the least to the most (or None), and for an
    unknown receiver of its faults.
    """
    if faults not in ("firmware", "raise"):
        raise BoardError(f"{cpu}: faults={faults!r} is neither 'firmware' nor 'raise'")
    for name, (value, least, most) in numbers.items():
        if value is not None and not (isinstance(value, int) and least <= value <= most):
            raise BoardError(f"{cpu}: {name}={value!r} is no number from {least:#x} to {most:#x}")


class Interrupts(enum.Enum):
    """The part of a profile that is asked between two instructions."""

    NONE = "no interrupt is pending"
    MASKED = "one is pending that an instruction may enable"
    READY = "one is to be taken"


for _state in Interrupts:
    type.__setattr__(Interrupts, _state.name, _state)  # as for `StopReason`


class BaseProfile:
    """The defaults for most CPUs: no I/O ports, and no other waits than instructions."""

    own_ports: Mapping[int, Device] | None = None
    sleeps = False
    ports: Any = None

    def set_ports(self, ports: Mapping[int, Device]) -> None:
        """Not called."""

    def loaded(self, firmware: Firmware) -> None:
        """Nothing to keep."""


class Profile(Protocol):
    """The CPU of a board."""

    name: str  #: of the CPU model
    arch: str  #: canonical architecture name
    address_mask: int  #: the highest address
    model: str | None  #: of the engine (`emu.cpu.create.create_device_cpu`)
    float_abi: str | None  #: the usual floating-point calling convention; None: the architecture's
    layout: Layout  #: where the machine's own memory lies, unless the board says otherwise
    in_run: bool  #: set by the board: whether the firmware runs, which handles its faults, and not a call
    free_ram: tuple[int, int]  #: set by the board: (start, end) of the RAM that no firmware takes
    changed: bool  #: set by whatever may change the result of `interrupts`; cleared by that
    resetting: bool  #: set when the guest has asked for a reset
    #: set when the CPU waits for an interrupt before the next instruction; `changed` is set with it
    sleeps: bool
    ports: Bus | None  #: the devices by I/O port, if the CPU has ports
    own_ports: Mapping[int, Device] | None  #: the CPU's own devices by I/O port; None: it has no ports

    def set_ports(self, ports: Mapping[int, Device]) -> None:
        """All devices by port. Called once by the board of a CPU with ports, before `connect`."""

    def devices(self) -> Mapping[int, Device]:
        """The CPU's own devices, by address."""

    def connect(self, cpu: DeviceCpu, memory: Memory, clock: Clock, stop: Callable[[], None]) -> None:
        """Called once, before everything else. `stop` is `Board.stop`."""

    def check_firmware(self, firmware: Firmware) -> None:
        """Raise FirmwareError for code of another CPU."""

    def loaded(self, firmware: Firmware) -> None:
        """Called with each firmware that is in memory now."""

    def reset(self) -> int:
        """Set all registers as a reset does; return the address at which the guest starts. Raises FirmwareError
        where no firmware could have been meant, such as without a vector table.
        """

    def start(self, entry: int, stack: int) -> int:
        """Start at this entry point with this stack pointer, without a vector table."""

    def initial_stack(self) -> int | None:
        """The top of the stack that a firmware has; None when the CPU does not say."""

    def set_line(self, number: int, level: bool) -> None:
        """An interrupt line of the board. Raises BoardError for a number the CPU does not have."""

    def interrupts(self) -> Interrupts:
        """Whether an interrupt is to be taken before the next instruction."""

    def take(self, pc: int) -> int:
        """Take the most urgent interrupt before the instruction at `pc`; return the address of its handler."""

    def wakes(self) -> bool:
        """Whether the CPU does not wait any more after an instruction that waits."""

    def stopped(self, stop: Stop) -> int | None:
        """After an exception: where the guest continues; None for what the caller of the guest must handle."""

    def code_address(self, pc: int) -> int:
        """The address of the instruction at which the guest continues."""

    def after_wait(self, stop: Stop) -> int:
        """The address of the instruction after one that waits."""
