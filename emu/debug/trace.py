"""`Trace`: the calls of functions of chosen images, with arguments, results, and times in instructions.

A function's call is seen where it begins, by an entry (`emu.cpu.events`) at its first instruction, and where it
ends, by an entry at its return address. Both are met at block starts, so code in between runs at nearly full
speed. Host functions are seen at their traps.

A call has ended when the stack pointer is what it was at the call's start, without a pushed return address. A
call whose frame is gone without that has been unwound (longjmp, an exception). A function that is jumped to with
the return address and stack pointer of the one before is a tail call, and returns with it.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self

from emu.calls.plan import plan_call
from emu.calls.types import Prototype
from emu.cpu.protocol import Stop, StopReason
from emu.debug.places import images_named
from emu.debug.trace_calls import ABANDONED, RETURNED, UNWOUND, Call, as_chrome, as_json, tree
from emu.debug.trace_functions import Prototypes, TracedFunction, host_function, is_named
from emu.debug.trace_text import result_shown, shown
from relink.elf.constants import SymbolType
from relink.errors import MachineError, RelinkError
from relink.events import Event, ImageClosed, ImageLoaded, LoadFailed
from relink.export.whole_file import write_whole
from relink.image import Image, Symbol
from relink.records import dataclass
from relink.resolve.local_symbols import all_symbols

if TYPE_CHECKING:
    from emu.debug.observation import Observation
    from emu.isa.convention import CallingConvention
    from emu.run.traps import TrapTable
    from relink.linker import Linker

#: Calls kept; more are counted only.
MOST_CALLS = 100_000


@dataclass(eq=False)
class _Frame:
    """A call in progress."""

    call: Call
    function: TracedFunction
    sp: int  #: at its first instruction
    returns_to: int
    number: int  #: `Runner.call_number`
    stack: int  #: start of the mapping that its stack is in
    result_at: int


class Trace:
    """The calls of functions whose image and name are wanted, and of the host functions that these call."""

    def __init__(
        self,
        observation: Observation,
        linker: Linker,
        traps: TrapTable,
        convention: CallingConvention,
        images: Iterable[Image | str] | None,
        *,
        functions: Iterable[str] = ("*",),
        prototypes: Mapping[str, str | Prototype] | None = None,
        most: int = MOST_CALLS,
        show: Callable[[str], object] | None = None,
    ) -> None:
        self.calls: list[Call] = []  #: in the order in which they began
        self.dropped = 0  #: number of calls that are not kept, because there were more than `most`
        self._observation, self._linker, self._traps = observation, linker, traps
        self._runner, self._memory, self._cpu = observation.runner, observation.memory, observation.runner.cpu
        self._rules, self._most, self._show = convention, most, show
        self._arch = convention.arch
        self._mask = self._memory.architecture.code_address_mask
        self._pushed = convention.word_size if convention.link_register is None else 0
        self._images = None if images is None else list(images)
        self._patterns = list(functions)
        self._prototypes = Prototypes(convention, prototypes or {})
        self._functions: dict[int, TracedFunction] = {}
        self._of_image: dict[Image, list[int]] = {}
        self._frames: list[_Frame] = []
        self._returns: Counter[int] = Counter()
        self._active = self._counted = self._reporting = False
        self._zero = 0

    # ------------------------------------------------------------ beginning and end

    def start(self) -> Self:
        """Begin. Raises MachineError during a call of the guest, and when it has begun."""
        with self._runner.used():
            return self._start()

    def _start(self) -> Self:
        if self._runner.depth:
            raise MachineError("a trace cannot begin during a call of the guest")
        if self._active:
            raise MachineError("this trace has begun already")
        events = self._cpu.events
        self._counted = events.counting
        try:
            for image in self._linker.images:
                self._add_image(image)
            events.counting = True
            self._zero = events.retired
            self._observation.listeners.append(self._stopped)
            self._linker.observers.append(self._heard)
            self._observation.after_restore.append(self._restored)
            events.report_traps(1)
            self._active = self._reporting = True  # without a call before
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """End. May be repeated. Raises MachineError during a call of the guest."""
        if not self._active:
            return
        with self._runner.used_to_end():
            self._stop()

    def _stop(self) -> None:
        if self._runner.depth:
            raise MachineError("a trace cannot end during a call of the guest")
        try:
            self._leave(self._frames[:], ABANDONED)
        finally:
            self._end()

    def _end(self) -> None:
        """Undo what `start` has done. May be repeated."""
        for told, own in (
            (self._observation.listeners, self._stopped),
            (self._observation.after_restore, self._restored),
            (self._linker.observers, self._heard),
        ):
            if own in told:
                told.remove(own)  # type: ignore[arg-type]
        self._remove_images(list(self._of_image))
        for address in [*self._returns]:
            self._expect(address, -self._returns[address])
        if self._reporting:
            self._cpu.events.report_traps(-1)
            self._reporting = False  # without a call before
        self._cpu.events.counting = self._counted
        self._active = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *raised: object) -> None:
        try:
            self.stop()
        finally:
            if self._active and not self._runner.depth:  # a signal handler has interrupted that
                self._end()

    # ------------------------------------------------------------ functions

    def _restored(self) -> None:
        """The machine has returned to a snapshot: other images may be loaded, with other observers."""
        self._leave(self._frames[:], ABANDONED)
        images = self._linker.images
        self._remove_images([image for image in self._of_image if image not in images])
        for image in images:
            if image not in self._of_image:
                self._add_image(image)
        if self._heard not in self._linker.observers:
            self._linker.observers.append(self._heard)

    def _heard(self, event: Event) -> None:
        if not self._active:  # the machine has returned to a snapshot of the time of the trace
            self._linker.observers.remove(self._heard)
            return
        if isinstance(event, ImageLoaded):
            if event.image not in self._of_image:
                self._add_image(event.image)
        elif isinstance(event, (ImageClosed, LoadFailed)):
            some = (event.image,) if isinstance(event, ImageClosed) else self._of_image
            self._remove_images([image for image in some if image.closed])

    def _add_image(self, image: Image) -> None:
        if not self._wants(image):
            return
        named: dict[int, TracedFunction] = {}
        for symbol in all_symbols(image.decoded):
            if symbol.type != SymbolType.FUNC or not is_named(symbol.name, self._patterns):
                continue
            address = image.address_of(symbol.value) & self._mask
            if address in named and (symbol.row < 0 or not symbol.size):
                continue
            known = Symbol(symbol.name, image, symbol.row, address, symbol.size, symbol.type)
            named[address] = TracedFunction(symbol.name, image.short_name, address, address + symbol.size, known)
        self._functions.update(named)
        entries = self._of_image[image] = []
        for address in named:
            self._cpu.events.add_entry(address)
            entries.append(address)  # without a call before

    def _remove_images(self, images: Iterable[Image]) -> None:
        for image in images:
            entries = self._of_image.get(image, [])
            while entries:
                address = entries[-1]
                self._functions.pop(address, None)
                self._cpu.events.remove_entry(address)
                del entries[-1]  # without a call before
            self._of_image.pop(image, None)

    def _wants(self, image: Image) -> bool:
        if self._images is None:
            return True
        return any(
            image is which if isinstance(which, Image) else bool(images_named([image], which))
            for which in self._images
        )

    # ------------------------------------------------------------ events

    def _stopped(self, stop: Stop) -> None:
        if stop.reason is not StopReason.BREAK:
            return
        sp = self._cpu.read_register("sp")
        self._drop_abandoned()
        if stop.pc in self._returns:
            self._returned(stop.pc, sp)
        if (function := self._functions.get(stop.pc)) is not None:
            self._entered(function, sp)
        elif stop.pc in self._traps and not self._traps.is_return(stop.pc):
            trap, caller = self._traps.get(stop.pc), self._linker.image_at(self._runner.return_address())
            if trap is not None and caller in self._of_image:
                self._entered(host_function(trap, self._arch), sp)

    def _drop_abandoned(self) -> None:
        """End the calls of calls from Python that are over, without having returned."""
        depth = self._runner.depth
        while self._frames and (
            self._frames[-1].number > self._runner.call_number
            or (depth == 1 and self._frames[-1].number < self._runner.call_number)
        ):
            self._leave(self._frames[-1:], ABANDONED)

    def _entered(self, function: TracedFunction, sp: int) -> None:
        returns_to = self._runner.return_address()
        stack = self._stack_of(sp)
        self._unwind(sp, stack, returns_to)
        top = self._frames[-1] if self._frames else None
        tail = top is not None and (top.sp, top.returns_to, top.stack) == (sp, returns_to, stack)
        if tail and top is not None and top.function is function and function.start:
            return  # a loop that begins at its first instruction, or a call of itself made into one
        if len(self.calls) >= self._most:
            self.dropped += 1
            return
        call = Call(function.name, function.image, len(self._frames), None, self._now(), tail=tail)
        image = self._observation.symbolizer.image_at(returns_to)
        if image is not None:
            call.site = image.decoded, (returns_to - image.bias) & image.architecture.address_mask
        result_at = 0
        if (prototype := self._prototypes.of(function)) is not None:
            call.arguments, result_at = self._arguments(prototype)
        if top is not None:
            call.parent = top.call
            top.call.calls.append(call)
        self.calls.append(call)
        number = self._runner.call_number
        self._frames.append(_Frame(call, function, sp, returns_to, number, stack, result_at))
        self._expect(returns_to, 1)
        if self._show is not None:
            self._show(f"{'  ' * call.depth}{call}".removesuffix(f" [{call.outcome}]"))

    def _arguments(self, prototype: Prototype) -> tuple[tuple[str, ...] | None, int]:
        plan = plan_call(self._arch, prototype)
        try:
            values = plan.arguments(self._runner)
            result_at = plan.result_address(self._runner) if plan.result_in_memory else 0
        except RelinkError:
            return None, 0
        texts = [
            shown(value, parameter.type, self._read_string)
            for value, parameter in zip(values, prototype.parameters, strict=False)
        ]
        return (*texts, *(["..."] if prototype.variadic else [])), result_at

    def _returned(self, address: int, sp: int) -> None:
        stack = self._stack_of(sp)
        while self._frames:
            frame = self._frames[-1]
            if frame.stack != stack or frame.number != self._runner.call_number:
                return
            popped = sp - frame.sp - self._pushed
            may_pop = self._rules.word_size if self._rules.pops_result_pointer else 0
            if frame.returns_to == address and popped in (0, may_pop):
                if frame.function.prototype is not None:
                    frame.call.result = self._result(frame.function.prototype, frame.result_at)
                self._leave([frame], RETURNED)
            elif frame.sp < sp:
                self._leave([frame], UNWOUND)
            else:
                return

    def _result(self, prototype: Prototype, result_at: int) -> str | None:
        try:
            plan = plan_call(self._arch, prototype)
            context = self._cpu.save() if self._rules.x87 else None
            value = plan.result(self._runner, result_at)
            if context is not None:  # reading a result of the x87 stack pops it
                self._cpu.restore(context)
            return result_shown(value, prototype, self._read_string)
        except RelinkError:
            return None

    def _unwind(self, sp: int, stack: int, returns_to: int) -> None:
        """End the calls whose frames are gone when a function is called at `sp`."""
        while self._frames:
            frame = self._frames[-1]
            if frame.stack != stack or frame.sp > sp or frame.number != self._runner.call_number:
                return
            same = frame.sp == sp
            inside = frame.function.start < returns_to & self._mask <= frame.function.end
            if same and (frame.returns_to == returns_to or (inside and not self._pushed)):
                return
            self._leave([frame], UNWOUND)

    def _leave(self, frames: list[_Frame], outcome: str) -> None:
        for frame in reversed(frames):
            self._frames.remove(frame)
            frame.call.outcome, frame.call.end = outcome, self._now()
            self._expect(frame.returns_to, -1)
            if self._show is not None and outcome != RETURNED:
                self._show(f"{'  ' * frame.call.depth}[{outcome}]")
            elif self._show is not None and frame.call.result is not None:
                self._show(f"{'  ' * frame.call.depth}= {frame.call.result}")

    def _expect(self, address: int, more: int) -> None:
        """Be told when the guest comes to a return address; traps are reported anyway."""
        address &= self._mask
        before = self._returns.get(address, 0)
        count = max(before + more, 0)
        if address not in self._traps:
            if count and not before:
                self._cpu.events.add_entry(address)
            elif before and not count:
                self._cpu.events.remove_entry(address)
        if count:  # without a call before, as in what those do
            self._returns[address] = count
        elif before:
            del self._returns[address]

    def _stack_of(self, sp: int) -> int:
        region = self._memory.region_at(sp)
        return 0 if region is None else region.address

    def _now(self) -> int:
        return self._cpu.events.retired - self._zero

    def _read_string(self, address: int, most: int) -> bytes:
        """At most `most` bytes of a string, as far as it is mapped."""
        here = min(most, -address % 4096 or 4096)
        data = self._memory.read(address, here)
        if b"\0" not in data and here < most:
            with contextlib.suppress(RelinkError):
                data += self._memory.read(address + here, most - here)
        return data.partition(b"\0")[0]

    # ------------------------------------------------------------ results

    def __str__(self) -> str:
        """The tree of calls."""
        lines = list(tree(self.calls))
        if self.dropped:
            lines.append(f"({self.dropped} more calls are not kept)")
        return "\n".join(lines)

    def json(self) -> str:
        """The calls as JSON: see docs/events.md."""
        return as_json(self.calls, self.dropped)

    def chrome(self) -> str:
        """The calls in Chrome's trace format, for Perfetto (ui.perfetto.dev) or chrome://tracing."""
        return as_chrome(self.calls, self._arch)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file: `.txt` the tree, `.trace` or `.chrome.json` Chrome's format, other names JSON."""
        name = os.fspath(path)
        if name.endswith(".txt"):
            text = f"{self}\n"
        elif name.endswith((".trace", ".chrome.json", ".perfetto.json")):
            text = self.chrome()
        else:
            text = self.json()
        write_whole(path, text.encode("utf-8", "surrogateescape"))
