"""Looking ahead in lazy binding: what the next first calls of an image will be bound to.

A program calls functions in about the order of its jump slots, since linkers number them by first use. So when a
slot is bound, the following ones are looked up as well (`LazySlots.look_up`), two at first, and four times as many
each time that this was of use. A first call whose answer is known is bound inside the engine
(`emu.cpu.hooks.first_call_hook`), or, where there is no such hook, without looking it up.

The result is the same as without: a slot is bound at its first call, to the definition that the scope has then.
`LookAhead` drops answers when the scope, the sources or the observers have changed, which it checks before each
run of the engine; guest code by itself changes none of them. Calls that the engine has bound are recorded, with
the time of the call, when somebody asks for bindings (`LazySlots.bound`) or first calls, or the next trap is
reached. In runs with an instruction limit, an instruction count, a trace, a
breakpoint or coverage, and while an observer of the linker receives `SymbolBound`, the trap of each slot stops
the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from emu.cpu.protocol import Protection
from emu.run.traps import TrapTable
from relink.arrays import I64, U64, Bools
from relink.image import Image, image_of
from relink.memory.address_space import PAGE
from relink.resolve.sources import are_settled

if TYPE_CHECKING:
    from emu.cpu.hooks.first_call_hook import FirstCalls
    from emu.cpu.protocol import Cpu, Stop
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from relink.linker import Linker
    from relink.relocate.lazy import LazySlots, SlotBinding
    from relink.resolve.resolver import AnySource, Resolver
    from relink.resolve.scopes import LookupScope

_FEW_AHEAD = 8  #: slots looked up at once; more are `_MOST_AHEAD`, which cost little more as a batch
_MOST_AHEAD = 1024
_MOST_BOUND = 1024  #: calls that were bound at traps and wait to be recorded
_MOST_PREPARED = 64  #: images
_MOST_ARMED = 4  #: of them, whose calls the engine binds: each is checked before each run
_MOST_IDLE = 64  #: runs without a first call, after which the engine binds none until the next trap


#: A first call: as `FirstCall` has it, with the address to which it returns instead of the caller.
UnnamedCall: TypeAlias = "tuple[float, str, int, str, str | None, str | None, int]"


class _Prepared:
    """The answers for the slots of one image, and what they follow from. `start` is the address of the first of
    their traps; None: they have none of their own.
    """

    def __init__(self, slots: LazySlots, start: int | None, scope: LookupScope, before: list[AnySource]) -> None:
        self.slots, self.start, self.scope, self.before = slots, start, scope, before
        self.image, self.sources = image_of(slots.image), (*scope.before, *before)
        self.images = image_of(slots.image), *scope.images
        self.changes = -1  #: of memory, when slots were last known to be writable
        self.addresses: U64 = np.zeros(len(slots), np.uint64)  #: what slots are bound to next; 0: not known
        self.providers: I64 = np.zeros(len(slots), np.int64)  #: of these, the indices in `images`
        self.asked: Bools = np.zeros(len(slots), np.bool_)  #: the slots that have been looked up
        self.asked[list(slots.recorded)] = True
        self.ahead = 0  #: slots looked up last
        self.used = True  #: whether any answer found then has been of use

    def take(self, slot: int, address: int) -> SlotBinding:
        """The answer for a slot, which is bound to it."""
        self.addresses[slot] = 0
        self.used = True
        return self.slots.answer(slot, address, self.images[self.providers.item(slot)])

    def look_up(self, after: int, resolver: Resolver) -> None:
        """Find answers for slots after one, which has been bound."""
        self.ahead = max(4 * self.ahead if self.used else self.ahead // 2, 2)
        if self.ahead > _FEW_AHEAD:
            self.ahead = _MOST_AHEAD
        self.used, self.asked[after] = False, True
        following = self.asked[after + 1 : after + 1 + self.ahead]
        left = np.flatnonzero(~following) + (after + 1)
        found = self.slots.look_up(left, resolver, self.scope)
        self.addresses[left], self.providers[left] = found
        self.asked[left] = True


class LookAhead:
    """The answers of one machine. For each call that the engine has bound a row is added to `rows`, which `row`
    makes of the image's slots, the slot's binding, the return address, and the time as of `time.perf_counter`.
    """

    def __init__(
        self,
        linker: Linker,
        memory: GuestMemory,
        cpu: Cpu,
        runner: Runner,
        row: Callable[[LazySlots, SlotBinding, int, float], UnnamedCall],
        rows: list[UnnamedCall],
    ) -> None:
        self._linker, self._memory, self._cpu, self._runner = linker, memory, cpu, runner
        self._row, self._rows = row, rows
        self.changes = 0  #: a number that increases with each row
        self._prepared: dict[Image, _Prepared] = {}
        self._armed: dict[int, _Prepared] = {}  #: by `start`; the last one used comes last
        self._calls: FirstCalls | None = None  #: those of the CPU, once they have been asked for
        #: Calls that were bound at traps and are not recorded yet: before those that the engine has bound.
        self._bound: deque[tuple[_Prepared, int, int, int, float]] = deque()
        self._idle = self._count = 0  #: runs without a first call; the calls bound before the last run

    def known(self, slots: LazySlots, slot: int) -> int:
        """The address that a slot, whose trap has been reached, is to be bound to, if it was looked up; else 0."""
        prepared = self._prepared.get(image_of(slots.image))
        address = 0 if prepared is None else prepared.addresses.item(slot)
        if prepared is None or not address or not self._holds(prepared):
            return 0
        self._arm(prepared)
        return address

    def keep(self, slots: LazySlots, slot: int, address: int, caller: int, seconds: float) -> None:
        """Record later that a slot has been bound to the address that is `known`."""
        if len(self._bound) >= _MOST_BOUND or (self._calls is not None and self._calls.waiting):
            self.settle()
        prepared = self._prepared[image_of(slots.image)]
        prepared.addresses[slot] = 0
        self._bound.append((prepared, slot, address, caller, seconds))

    def bind(self, slots: LazySlots, slot: int, start: int | None) -> SlotBinding:
        """Bind a slot, whose trap has been reached, and look further slots up. `start` is as for `_Prepared`.
        Raises UnresolvedSymbol.
        """
        self.settle()
        linker, image = self._linker, image_of(slots.image)
        prepared = self._prepared.get(image)
        if prepared is not None and not self._holds(prepared):
            self.forget(image)
            prepared = None
        answer = linker.bind_slot(image, slot)
        if prepared is None:
            before = list(linker.resolver.before)
            prepared = _Prepared(slots, start, linker.call_scope(image), before)
            if not self._holds(prepared):
                return answer
            while len(self._prepared) >= _MOST_PREPARED:
                self.forget(next(iter(self._prepared)))
            self._prepared[image] = prepared
        prepared.look_up(slot, linker.resolver)
        self._arm(prepared)
        return answer

    def forget(self, image: Image) -> None:
        """Drop the answers for an image."""
        if self._bound:
            self.settle()
        prepared = self._prepared.pop(image, None)
        if prepared is not None and prepared.start is not None:
            self._disarm(prepared.start)

    def forget_all(self) -> None:
        """Drop all answers: the machine has returned to another state."""
        self._bound.clear()
        if self._calls is not None:
            self._calls.clear()
        for image in list(self._prepared):
            self.forget(image)

    def _holds(self, prepared: _Prepared) -> bool:
        """Whether the answers for an image are what look-ups would answer now."""
        linker = self._linker
        return (
            not linker.observers
            and linker.resolver.before == prepared.before
            and linker.call_scope(prepared.image) is prepared.scope
            and are_settled(prepared.sources)
        )

    # ------------------------------------------------------------ in the engine

    def _arm(self, prepared: _Prepared) -> None:
        """Have the engine bind calls by these answers."""
        start = prepared.start
        if self._calls is None and start is not None:
            self._calls = self._cpu.first_calls
        calls = self._calls
        if calls is None or start is None:
            return
        self._idle, self._runner.entry = 0, self._run
        if start in self._armed:
            self._armed[start] = self._armed.pop(start)
            return
        while len(self._armed) >= _MOST_ARMED:
            self._disarm(next(iter(self._armed)))
        self._armed[start] = prepared
        calls.prepare(start, prepared.addresses, prepared.slots.place)

    def _disarm(self, start: int) -> None:
        self.settle()
        if self._armed.pop(start, None) is not None and self._calls is not None:
            self._calls.forget(start)

    def _run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """`Cpu.run`, binding first calls inside the engine."""
        run, calls, memory = self._runner.execution.run, self._calls, self._memory
        for start, prepared in tuple(self._armed.items()):
            if not self._holds(prepared):
                self.forget(prepared.image)
            elif prepared.changes != memory.changes and not self._can_write(prepared):
                self._disarm(start)
        if calls is None or not self._armed or self._is_idle(calls):
            self._runner.entry = None
            return run(pc, max_instructions=max_instructions, timeout=timeout)
        if max_instructions:
            return run(pc, max_instructions=max_instructions, timeout=timeout)
        calls.open()
        try:
            return run(pc, timeout=timeout)
        finally:
            calls.close()

    def _is_idle(self, calls: FirstCalls) -> bool:
        """Whether so many runs, of which the next is one, had no first call that it is not worth more checks."""
        self._idle = self._idle + 1 if calls.count == self._count else 0
        self._count = calls.count
        return self._idle > _MOST_IDLE

    def settle(self) -> None:
        """Record the calls that the engine has bound since the last time. Where a signal handler raises, the next
        time the others are.
        """
        bound = self._bound
        while (first := bound[0] if bound else None) is not None:
            self._keep(*first)
            if bound and bound[0] is first:  # else a signal handler has come here
                bound.popleft()
        if self._calls is not None:
            for noted in self._calls.noted():
                self._note(*noted)

    def _can_write(self, prepared: _Prepared) -> bool:
        """Whether the guest may write to the slots: snapshots notice stores of the engine to such pages only."""
        pages = np.unique(prepared.slots.place & np.uint64(-PAGE & (1 << 64) - 1)).tolist()
        if not all(self._cpu.extent(page, Protection.W) for page in pages):
            return False
        prepared.changes = self._memory.changes
        return True

    def _note(self, trap: int, caller: int, address: int, seconds: float) -> None:
        for start, prepared in self._armed.items():
            slot = (trap - start) // TrapTable.spacing
            if 0 <= slot < len(prepared.slots):
                self._keep(prepared, slot, address, caller, seconds)
                return

    def _keep(self, prepared: _Prepared, slot: int, address: int, caller: int, seconds: float) -> None:
        slots, recorded = prepared.slots, prepared.slots.recorded
        if slot in recorded:
            return  # it was noted before a signal handler raised
        answer = prepared.take(slot, address)
        row = self._row(slots, answer, caller, seconds)
        if slot not in recorded:  # else a signal handler has noted it; without a call from here on
            recorded[slot] = answer
            self._rows += [row]
            self.changes += 1
