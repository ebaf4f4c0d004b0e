"""The part of a machine that observes the guest as it runs: breakpoints, watchpoints, counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.debug.coverage.collect import Coverage, Which
    from emu.debug.observation import Action, Breakpoint, Condition, Watchpoint
    from emu.debug.places import Place
    from emu.parts import Parts


class InstructionCount:
    """The instructions that the guest has run since the count began (see `ObservedGuest.counting`)."""

    def __init__(self, parts: Parts) -> None:
        self._events = parts.cpu.events
        self._start = self._events.retired
        self._end: int | None = None

    @property
    def instructions(self) -> int:
        """Their exact number so far, without host functions."""
        return (self._events.retired if self._end is None else self._end) - self._start

    def stop(self) -> None:
        """Count no more."""
        if self._end is None:
            self._end = self._events.retired


class ObservedGuest:
    """See docs/events.md."""

    parts: Parts

    def breakpoint(
        self, place: Place, *, condition: Condition | None = None, action: Action | None = None
    ) -> Breakpoint:
        """Run `action(hit)` before the instruction at `place`, each time that `condition(hit)` is true.

        `place` is an address, a function, a symbol, or a name: "add", or "libm.so.6:add". `hit` is an
        `emu.debug.observation.Hit`: the guest is stopped, may be inspected and changed, and then continues. Both
        may raise, which ends the call. Without an action, hits are counted. Remove it with `remove()` or as a
        context manager; it is removed with its image too.

        Raises UnresolvedSymbol, UseAfterUnload, AddressSpaceError for an unmapped address, MachineError.
        """
        self.parts.owner.check(place)
        return self.parts.observation.breakpoint(place, condition, action)

    def watch(
        self,
        place: Place,
        size: int | None = None,
        *,
        on: str = "write",
        condition: Condition | None = None,
        action: Action | None = None,
    ) -> Watchpoint:
        """Run `action(hit)` after each instruction that accesses memory: `hit.access` has the instruction,
        address, size, and value. `on` is "write", "read" or "access" (both). The size is that of a variable,
        unless given.

        Accesses by host functions (such as the hosted memcpy) are reported when they return; their pc is that of
        the function's trap. Raises as `breakpoint`, and AddressSpaceError if any of the memory is not mapped.
        """
        self.parts.owner.check(place)
        return self.parts.observation.watchpoint(place, size, on, condition, action)

    def coverage(self, images: Iterable[Which] | None = None, *, branches: bool = False) -> Coverage:
        """Which code runs in a `with` block, as blocks, lines, functions, and files:

            with machine.coverage() as coverage:
                library.run()
            coverage.save("run.info")                       # lcov; "run.drcov" for drcov

        `images` are those wanted, by path, file name, SONAME or as images; the default is all code. `branches`
        adds the outcomes of conditional branches, which costs more. See `emu.debug.coverage.collect.Coverage`.
        """
        from emu.debug.coverage.collect import Coverage

        self.parts.owner.check(*(images or ()))
        return Coverage(self.parts.linker, self.parts.memory, self.parts.runner, images, branches=branches)

    @contextmanager
    def counting(self) -> Iterator[InstructionCount]:
        """Count the instructions that run in the block:

        with machine.counting() as count:
            library.run()
        print(count.instructions)
        """
        events = self.parts.cpu.events
        outermost = not events.counting
        events.counting = True
        count = InstructionCount(self.parts)
        try:
            yield count
        finally:
            count.stop()
            if outermost:
                events.counting = False
