"""The part of a machine that observes the guest as it runs: breakpoints, watchpoints, counting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from relink.image import Image

if TYPE_CHECKING:
    from emu.calls.types import Prototype
    from emu.debug.coverage.collect import Coverage, Which
    from emu.debug.observation import Action, Breakpoint, Condition, Watchpoint
    from emu.debug.places import Place
    from emu.debug.trace import Trace
    from emu.parts import Parts


class WithImage(Protocol):
    """A `Library`."""

    @property
    def image(self) -> Image: ...


#: An image, a library, or the path, file name or SONAME of one.
Chosen: TypeAlias = str | Image | WithImage


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
    """The methods of `emu.machine.Machine` that observe the guest: see docs/events.md."""

    parts: Parts

    def breakpoint(
        self, place: Place, *, condition: Condition | None = None, action: Action | None = None
    ) -> Breakpoint:
        """Run `action(hit)` before the instruction at `place`, each time that `condition(hit)` is true.

        `place` is an address, a function, a symbol, or a name: "add", or "libm.so.6:add". `hit` is an
        `emu.debug.observation.Hit`: the guest is stopped, may be inspected and changed, and then continues. Both
        may raise, which ends the call. Without an action, hits are counted. Remove it with `remove()` or as a
        context manager; it is removed with its image too.

        Raises UnresolvedSymbol, UseAfterUnload, AddressSpaceError for an unmapped address, MachineError;
        MachineInUse in another thread than the one that runs the guest, and in signal handlers.
        """
        self.parts.owner.check(place)
        with self.parts.runner.used():
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
        with self.parts.runner.used():
            return self.parts.observation.watchpoint(place, size, on, condition, action)

    def _chosen(self, images: Chosen | Iterable[Chosen] | None) -> list[Which] | None:
        if images is None:
            return None
        each = [images] if isinstance(images, (str, Image)) or hasattr(images, "image") else list(images)
        self.parts.owner.check(*each)
        return [one if isinstance(one, (str, Image)) else one.image for one in each]

    def coverage(self, images: Chosen | Iterable[Chosen] | None = None, *, branches: bool = False) -> Coverage:
        """Which code runs in a `with` block, as blocks, lines, functions, and files:

            with machine.coverage() as coverage:
                library.run()
            coverage.save("run.info")                       # lcov; "run.drcov" for drcov

        `images` are those wanted, by path, file name, SONAME or as images; the default is all code. `branches`
        adds the outcomes of conditional branches, which costs more. See `emu.debug.coverage.collect.Coverage`.
        """
        from emu.debug.coverage.collect import Coverage

        parts, wanted = self.parts, self._chosen(images)
        return Coverage(parts.observation, parts.linker, wanted, branches=branches)

    def trace(
        self,
        images: Chosen | Iterable[Chosen] | None = None,
        *,
        functions: str | Iterable[str] = "*",
        prototypes: Mapping[str, str | Prototype] | None = None,
        most: int = 100_000,
        show: Callable[[str], object] | None = None,
    ) -> Trace:
        """The calls of functions in a `with` block, and of the host functions that these call:

            with machine.trace("libfoo.so") as trace:
                library.run()
            print(trace)                                    # a tree; .json(), .chrome(), .save("run.trace")

        `images` are those wanted: paths, file names, SONAMEs, libraries (default: all); `functions` are patterns
        of names. Prototypes come from `prototypes`, or DWARF. `most` calls are kept. `show` gets a line for each
        call and result as they happen. See `emu.debug.trace.Trace`.
        """
        from emu.debug.trace import Trace

        parts, wanted = self.parts, self._chosen(images)
        return Trace(
            parts.observation,
            parts.linker,
            parts.traps,
            parts.convention,
            wanted,
            functions=[functions] if isinstance(functions, str) else functions,
            prototypes=prototypes,
            most=most,
            show=show,
        )

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
