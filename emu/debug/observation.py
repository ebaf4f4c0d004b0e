"""Breakpoints and watchpoints of a machine. `emu.cpu.events` says what they are to the CPU.

Conditions and actions run while the guest is stopped between two instructions. They may read and change registers
and memory, call the guest, add and remove breakpoints, and raise; what they raise ends the call that ran the
guest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from emu.calls.plan import plan_call
from emu.cpu.events import Access, Watch
from emu.cpu.protocol import Stop, StopReason
from emu.cpu.watches import WatchIndex
from emu.debug.places import Found, Place, find_place
from relink.errors import AddressSpaceError, MachineError

if TYPE_CHECKING:
    from emu.calls.types import Prototype
    from emu.debug.symbolizer import Symbolizer
    from emu.errors import Frame
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from relink.linker import Linker


class Hit:
    """The guest, stopped at a breakpoint or after an access of watched memory.

    `hit["a0"]` reads a register by its psABI name, `hit["a0"] = 1` writes it; writing "pc" moves the guest.
    """

    def __init__(self, observation: Observation, address: int, access: Access | None = None) -> None:
        self._observation = observation
        self.address = address  #: of the next instruction
        self.access = access  #: what was accessed, for a watchpoint
        self.memory = observation.memory

    def __getitem__(self, register: str) -> int:
        return self._observation.runner.cpu.read_register(register)

    def __setitem__(self, register: str, value: int) -> None:
        self._observation.runner.cpu.write_register(register, value)

    @property
    def frame(self) -> Frame:
        """The code at the place: image, symbol, source line. For a watchpoint the instruction that has
        accessed.
        """
        at = self.address if self.access is None else self.access.pc
        return self._observation.symbolizer.symbolize(at)

    @property
    def registers(self) -> dict[str, int]:
        """The integer registers and pc."""
        cpu = self._observation.runner.cpu
        return dict(zip(cpu.registers, cpu.read_registers(cpu.registers), strict=True))

    def arguments(self, prototype: str | Prototype) -> tuple[Any, ...]:
        """At the first instruction of a function of this prototype: its arguments."""
        runner = self._observation.runner
        return plan_call(runner.convention_name, prototype).arguments(runner)

    def return_now(self, prototype: str | Prototype, value: object = None) -> None:
        """At the first instruction of a function of this prototype: return `value` instead of running it."""
        runner = self._observation.runner
        plan = plan_call(runner.convention_name, prototype)
        self["pc"] = plan.leave(runner, value, at=plan.result_address(runner))

    def __repr__(self) -> str:
        return f"<Hit at {self.frame}>"


Condition = Callable[[Hit], object]
Action = Callable[[Hit], object]


class _Point:
    """The common base of breakpoints and watchpoints."""

    def __init__(self, found: Found, condition: Condition | None, action: Action | None) -> None:
        self.address, self.image, self.name = found.address, found.image, found.name
        self.condition, self.action = condition, action
        self.hits = 0  #: how often its condition held

    def meet(self, hit: Hit) -> None:
        """Run the action if the condition holds."""
        if self.condition is None or self.condition(hit):
            self.hits += 1
            if self.action is not None:
                self.action(hit)

    def remove(self) -> None:
        """Remove it. May be repeated, and done in its own action."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.address:#x}, {self.hits} hits>"


class Breakpoint(_Point):
    """A breakpoint: `action(hit)` runs before the instruction at `address`, whenever `condition(hit)` is true."""

    def __init__(
        self, owner: Observation, found: Found, condition: Condition | None, action: Action | None
    ) -> None:
        super().__init__(found, condition, action)
        self._owner: Observation | None = owner

    def remove(self) -> None:
        if self._owner is not None:
            self._owner.remove_breakpoint(self)
            self._owner = None


class Watchpoint(_Point):
    """Watched memory: `action(hit)` runs after each instruction that accesses it; `hit.access` tells how. The last
    access is `last`.
    """

    def __init__(
        self, owner: Observation, found: Found, watch: Watch, condition: Condition | None, action: Action | None
    ) -> None:
        super().__init__(found, condition, action)
        self._owner: Observation | None = owner
        self.watch = watch
        self.last: Access | None = None

    def meet(self, hit: Hit) -> None:
        self.last = hit.access
        super().meet(hit)

    def remove(self) -> None:
        if self._owner is not None:
            self._owner.remove_watchpoint(self)
            self._owner = None


class Observation:
    """The breakpoints and watchpoints of one machine, and others that hear of the CPU's events."""

    def __init__(self, linker: Linker, memory: GuestMemory, runner: Runner, symbolizer: Symbolizer) -> None:
        self.memory, self.runner, self.symbolizer = memory, runner, symbolizer
        self._linker, self._events = linker, runner.cpu.events
        self._mask = memory.architecture.code_address_mask
        self._breakpoints: dict[int, dict[Breakpoint, None]] = {}
        self._watchpoints: dict[Watchpoint, None] = {}
        self._by_address = WatchIndex(self._watchpoints, lambda watchpoint: watchpoint.watch)
        #: Called for every event after the breakpoints and watchpoints, also for those they asked for.
        self.listeners: list[Callable[[Stop], object]] = []
        #: Called when the machine has returned to a snapshot. Observers are no part of a machine's state.
        self.after_restore: list[Callable[[], object]] = []
        runner.on_event = self._event

    def _event(self, stop: Stop) -> None:
        if stop.reason is StopReason.WATCH:
            for access in self._events.accesses:
                for watchpoint in self._by_address.met(access.address, access.size, write=access.write):
                    self._meet(watchpoint, Hit(self, stop.pc, access))
        else:
            for breakpoint in [*self._breakpoints.get(stop.pc, ())]:
                self._meet(breakpoint, Hit(self, stop.pc))
        for listener in list(self.listeners):
            listener(stop)

    @staticmethod
    def _meet(point: _Point, hit: Hit) -> None:
        """Run the action, unless the image of the place has been unloaded."""
        if point.image is not None and point.image.closed:
            point.remove()
        else:
            point.meet(hit)

    def restored(self) -> None:
        """The machine has returned to a snapshot."""
        for listener in list(self.after_restore):
            listener()

    def find(self, place: Place) -> Found:
        """See `emu.debug.places.find_place`."""
        return find_place(self._linker, place, self._mask)

    def breakpoint(self, place: Place, condition: Condition | None, action: Action | None) -> Breakpoint:
        """Add a breakpoint. Raises as `find`, and AddressSpaceError where nothing executable is mapped."""
        found = self.find(place)
        address = found.address & self._mask
        try:
            self.memory.read(address, 1)
        except AddressSpaceError:
            raise AddressSpaceError(
                f"no code is mapped for a breakpoint at {found.name}", address=address
            ) from None
        breakpoint = Breakpoint(self, found._replace(address=address), condition, action)
        self._events.add_breakpoint(address)
        # Without a call from here on, here and below: no signal handler can leave one of both records.
        if address in self._breakpoints:
            self._breakpoints[address][breakpoint] = None
        else:
            self._breakpoints[address] = {breakpoint: None}
        return breakpoint

    def remove_breakpoint(self, breakpoint: Breakpoint) -> None:
        """See `Breakpoint.remove`."""
        address = breakpoint.address
        self._events.remove_breakpoint(address)
        del self._breakpoints[address][breakpoint]
        if not self._breakpoints[address]:
            del self._breakpoints[address]

    def watchpoint(
        self, place: Place, size: int | None, on: str, condition: Condition | None, action: Action | None
    ) -> Watchpoint:
        """Add a watchpoint. Raises as `find` and `emu.cpu.events.Events.watch`, and MachineError for a wrong `on`
        or a size that is not known.
        """
        if on not in ("read", "write", "access"):
            raise MachineError(f'a watchpoint is on "read", "write" or "access", not {on!r}')
        found = self.find(place)
        length = found.size if size is None else size
        if not length and size is None:
            raise MachineError(f"the size of {found.name} is not known: give one")
        watch = Watch(found.address, length, on != "write", on != "read")
        watchpoint = Watchpoint(self, found, watch, condition, action)
        self._events.watch(watch)
        self._watchpoints[watchpoint] = None  # without a call from here on
        self._by_address.changes += 1
        return watchpoint

    def remove_watchpoint(self, watchpoint: Watchpoint) -> None:
        """See `Watchpoint.remove`."""
        self._events.unwatch(watchpoint.watch)
        del self._watchpoints[watchpoint]
        self._by_address.changes += 1
