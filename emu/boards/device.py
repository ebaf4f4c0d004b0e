"""Devices: what the guest reaches through loads and stores at a device's addresses.

A device is a class with registers (`emu.boards.registers`), or with `read` and `write` of its own:

    class Led(Device):
        size = 4
        state = Register(0)

        @state.on_write
        def _state(self, value: int) -> None:
            print("led", value & 1)

    board = Board("cortex-m3", memory=..., devices={0x4001_0000: Led()})

`read` and `write` may raise: the exception leaves the call that runs the guest, with the guest stopped before the
instruction. `self.clock` is the board's time, `self.interrupt(True)` raises the device's interrupt line. A device
whose methods call the guest sets `calls_guest`; its accesses are slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

from emu.boards.errors import BoardError, DeviceError
from emu.boards.registers import Register

if TYPE_CHECKING:
    from emu.boards.clock import Clock, Event


class BusPort(Protocol):
    """See `emu.boards.bus.SystemBus`."""

    def read(self, address: int, size: int) -> int: ...
    def write(self, address: int, size: int, value: int) -> None: ...
    def device_at(self, address: int) -> Device | None: ...


class Device:
    """A device of `size` bytes. `irq` is the number of its interrupt line, if it has one."""

    size: int = 0x1000
    widths: tuple[int, ...] = (1, 2, 4)  #: sizes of accesses in bytes that are allowed
    aligned: bool = True  #: whether accesses must be aligned
    calls_guest: bool = False  #: whether `read` and `write` run guest code
    #: What accesses to offsets without a register do: "refuse" raises DeviceError, "zero" reads 0 and ignores
    #: writes.
    reserved: str = "refuse"
    registers: ClassVar[Mapping[int, Register]] = {}  #: by offset; made from the class's attributes
    clock: Clock  #: the board's
    bus: BusPort  #: memory and other devices
    base: int = 0  #: its address on the board

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = {r.offset: r for c in reversed(cls.__mro__) for r in vars(c).values() if isinstance(r, Register)}
        cls.registers = dict(sorted(found.items()))

    def __init__(self, *, irq: int | None = None, name: str = "") -> None:
        self.irq = irq
        self.name = name or type(self).__name__.lower()
        self.values: dict[str, int] = {}  #: the registers
        self._events: list[Event] = []
        self._line: Callable[[bool], None] = nowhere
        self._load_reset_values()

    def connect(self, clock: Clock, base: int, line: Callable[[bool], None], bus: BusPort) -> None:
        """Called once by the board."""
        self.clock, self.base, self._line, self.bus = clock, base, line, bus

    def interrupt(self, level: bool) -> None:
        """Set the device's interrupt line. The guest sees it after the current instruction."""
        self._line(level)

    def after(self, instructions: int, action: Callable[[], object]) -> Event:
        """Call `action` after this number of instructions, unless the device is reset before."""
        return self.schedule(self.clock.now + instructions, action)

    def schedule(self, when: int, action: Callable[[], object]) -> Event:
        """Do it at a time of the clock."""
        event = self.clock.at(when, action)
        if self._events:
            self._events = [event for event in self._events if event.is_pending]
        self._events.append(event)
        return event

    def cancel(self) -> None:
        """Cancel the events made with `after` and `schedule`."""
        for event in self._events:
            event.cancel()
        self._events.clear()

    def reset(self) -> None:
        """The board was switched on or reset."""
        self.cancel()
        self._load_reset_values()

    def _load_reset_values(self) -> None:
        for register in self.registers.values():
            self.values[register.name] = register.reset

    # ------------------------------------------------------------ accesses

    def read(self, offset: int, size: int) -> int:
        """The guest reads `size` bytes at `offset`."""
        found = self._find(offset, size)
        if found is None:
            return self._refuse_reserved("read", offset, size)
        register, shift = found
        return register.read(self) >> shift & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """The guest writes `value`, `size` bytes, at `offset`."""
        found = self._find(offset, size)
        if found is None:
            self._refuse_reserved("write", offset, size)
            return
        register, shift = found
        if size < register.size:  # the other bytes keep their value; ones there would clear bits
            part = (1 << 8 * size) - 1
            old: int = self.values[register.name] & ~register.clears
            value = old & ~(part << shift) | (value & part) << shift
        register.write(self, value)

    def _find(self, offset: int, size: int) -> tuple[Register, int] | None:
        """The register at an offset, and the number of bits before it."""
        register = self.registers.get(offset)
        if register is not None and size <= register.size:
            return register, 0
        for start in range(offset - 1, offset - 8, -1):
            register = self.registers.get(start)
            if register is not None and offset + size <= start + register.size:
                return register, 8 * (offset - start)
        return None

    def _refuse_reserved(self, kind: str, offset: int, size: int) -> int:
        if self.reserved == "zero":
            return 0
        raise DeviceError(f"{kind} of {size} bytes at {self.name}+{offset:#x}: there is no such register")

    def check(self, kind: str, offset: int, size: int) -> None:
        """Raise DeviceError for an access that the device does not allow."""
        where = f"{kind} of {size} bytes at {self.name}+{offset:#x} ({self.base + offset:#x})"
        if size not in self.widths:
            raise DeviceError(f"{where}: only accesses of {' or '.join(map(str, self.widths))} bytes are allowed")
        if self.aligned and offset % size:
            raise DeviceError(f"{where}: it is not aligned")


def check_connected(devices: Iterable[object], bus: str, methods: Sequence[str]) -> None:
    """Raise BoardError for what cannot be connected to a bus: it lacks a method."""
    for device in devices:
        missing = [method for method in methods if not callable(getattr(device, method, None))]
        if missing:
            raise BoardError(f"{device!r} is no device of {bus}: it has no {', '.join(missing)}")


def nowhere(level: bool) -> None:
    """The line of a device that has none."""
