"""Inspection of each block of code before it first runs, for instructions that the engine executes wrongly.

Unicorn calls its edge hook when it has translated a new block, and a stop requested there takes effect before that
block runs (verified on all its ISAs, and in its source). So every new block stops the run, is inspected, and the
run continues. In a block with an instruction of `emu.cpu.misrun`, that instruction gets a hook and the translation
is dropped. The hook stops before the instruction each time, which is then computed here or refused. Other code has
no overhead once translated.

The first block of a run has no edge: it is inspected once per address. The engine is stopped before it too, or,
where that is not possible, the code up to the first branch is inspected before the run. Stops are made by
`emu.cpu.hooks.stop_hook`, because exceptions of signal handlers in Python code inside the engine would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from emu.cpu.hooks.stop_hook import StopRequest
from emu.cpu.misrun import (
    ClosedPage,
    Finder,
    Guard,
    Guest,
    Misrun,
    Outcome,
    Spread,
    StackNeeds,
    Then,
    up_to_branch,
)
from relink.errors import AddressSpaceError, GuestAccessError

_PAGE = 4096
_LONGEST = 16  #: bytes that hold any instruction whole
_MOST_PLAIN = 32  #: pages of which the content is kept
_MOST_BLOCKS = 1024  #: blocks of which what was found is kept


class Engine(Protocol):
    """The part of an engine that the inspector uses."""

    edges: StopRequest  #: stops at new edges
    instructions: StopRequest  #: stops before the instructions that are hooked
    inexact: StopRequest  #: the same, for those with `Misrun.inexact`

    def hook_instruction(self, address: int, request: StopRequest, guard: Guard | None = None) -> None:
        """Make a request before the instruction at an address; with a guard, only if it holds."""

    def block_size(self, pc: int) -> int:
        """The size in bytes of the block translated last, which begins at `pc`."""

    def drop(self, low: int, high: int) -> None:
        """Drop translations of [low, high)."""


class StackWatch(Protocol):
    """Stops the engine before blocks that x87's stack is not fit for (`emu.cpu.hooks.stack_watch`)."""

    def add(self, address: int, needs: StackNeeds) -> None: ...
    def remove(self, address: int) -> None: ...


class Verdict(NamedTuple):
    """How a run stopped by the inspector continues: at `pc`, or not at all when `pc` is refused or meets a closed
    page.
    """

    pc: int
    refused: bool = False
    looked: bool = False  #: the block at `pc` has just been inspected
    closed: bool = False  #: the instruction at `pc` has met a closed page, and not run


class _Hooked(NamedTuple):
    """The finding at a hook, in code inspected from `begin` on."""

    code: bytes
    found: Misrun | None  #: None: only corrections are made there
    begin: int


class Inspector:
    """Inspects the code of one engine with `find`. `read(address, size)` returns guest bytes or raises
    AddressSpaceError. Bits of an address below `align` are not part of it. `anywhere`: the finder looks at each
    place where an instruction may begin, so that whole pages can be searched.
    """

    def __init__(
        self,
        find: Finder,
        engine: Engine,
        read: Callable[[int, int], bytes],
        *,
        align: int = 1,
        anywhere: bool = False,
        stack: StackWatch | None = None,
    ) -> None:
        self._find, self.align, self._stack, self._anywhere = find, align, stack, anywhere
        self._engine, self._read = engine, read
        self._plain: dict[tuple[bytes, int], bool] = {}  #: by content and state: see `_is_plain`
        self._plain_pages: set[int] = set()  #: addresses of such pages plus the state, as long as `known` ones
        #: Addresses at which runs may begin without an inspection; `know` adds to them.
        self.known: set[int] = set()
        self._blocks: dict[tuple[bytes, int], list[Misrun]] = {}  #: see `_found_in`
        self._known_by_page: dict[int, list[int]] = {}
        self._hooked: dict[int, _Hooked] = {}
        self._inexact: set[int] = set()  #: addresses hooked for `inexact`
        self._guarded: dict[int, Guard] = {}  #: addresses hooked with a guard only
        self._always = False  #: one of these has another instruction now: stop at all of them
        #: Due: the address of the instruction, that of the next one, and what it needs.
        self.correction: tuple[int, int, Then] | None = None
        engine.edges.left = engine.instructions.left = engine.inexact.left = 1

    def begin(self, pc: int) -> None:
        """Inspect the first block of a run. Called outside of runs."""
        state = pc % self.align
        pc -= state
        if self.may_begin(pc):
            return
        page = pc - pc % _PAGE
        if self._anywhere and (page | state in self._plain_pages or self._is_plain(page, state)):
            self._plain_pages.add(page | state)
            self.know(pc)
            return
        code = self._fetch(pc, _PAGE - pc % _PAGE + _LONGEST)  # an instruction may go on in the next page
        found, starts = up_to_branch(self._find, code, pc | state)
        self._inspect_first(code, pc, found)
        for start in starts:
            self.know(start)

    def _is_plain(self, page: int, state: int) -> bool:
        """Whether nothing is found in a whole page, which many runs may begin in."""
        key = self._fetch(page, _PAGE + _LONGEST), state
        if key not in self._plain:
            if len(self._plain) >= _MOST_PLAIN:
                self._plain.clear()
            self._plain[key] = not any(True for _ in self._find(key[0], page | state))
        return self._plain[key]

    def may_begin(self, pc: int) -> bool:
        """Whether a run may begin at `pc` without an inspection. Called outside of runs."""
        if self.correction is not None and pc not in self.correction[:2]:
            self.correction = None  # the instruction faulted
        return pc in self.known

    def first_block(self, pc: int, size: int) -> None:
        """Inspect the first block of a run, before which the engine has stopped."""
        code = self._fetch(pc, size)
        self._inspect_first(code, pc, self._found_in(code, pc))

    def _inspect_first(self, code: bytes, pc: int, found: list[Misrun]) -> None:
        self._watch(found, code, pc)
        last = next((each for each in reversed(found) if each.needs is None), None)
        if last is not None:
            self._engine.drop(pc, last.address + last.size + 1)
        self.know(pc)

    def know(self, pc: int) -> None:
        """A run may begin at `pc` without an inspection, until the code there changes."""
        if pc not in self.known:
            self._known_by_page.setdefault(pc // _PAGE, []).append(pc)  # first: a signal handler may raise
            self.known.add(pc)

    def forget(self, low: int, high: int) -> None:
        """Forget inspected code in [low, high), which has changed, and code that reaches it."""
        pages: Iterable[int] = range((low - _PAGE + 1) // _PAGE, -(-high // _PAGE))
        if high - low > len(self._known_by_page) * _PAGE:
            pages = set(self._known_by_page).intersection(pages)
        for page in pages:
            if starts := self._known_by_page.get(page):
                self.known.difference_update([pc for pc in starts if low - _PAGE < pc < high])
                starts[:] = filter(self.known.__contains__, starts)
                if not starts:
                    self._known_by_page.pop(page, None)
        stale = [page for page in self._plain_pages if low - 2 * _PAGE < page < high]  # the search goes beyond it
        self._plain_pages.difference_update(stale)

    def find_by(self, find: Finder) -> bool:
        """Use another finder. Returns whether translations must be dropped for it."""
        if find is self._find:
            return False
        self._find = find
        self.find_again()
        return True

    def find_again(self) -> None:
        """Something else may be found in code now."""
        self.known.clear()
        self._known_by_page.clear()
        self._plain_pages.clear()
        self._blocks.clear()
        self._plain.clear()

    def rounding_matters(self) -> None:
        """Stop at instructions with `Misrun.inexact` again."""
        self._engine.inexact.left = 1

    def verdict(self, guest: Guest, pc: int) -> Verdict:
        """How to continue after one of the engine's two requests has ended a run at `pc`."""
        edges = self._engine.edges
        if edges.stopped:
            edges.stopped = 0
            size = self._engine.block_size(pc)
            code = self._fetch(pc, size)
            found = self._found_in(code, pc | self._state(guest))
            if self._watch(found, code, pc):
                self._engine.drop(pc, pc + size)
            return Verdict(pc, looked=True)
        request = self._engine.inexact if self._engine.inexact.stopped else self._engine.instructions
        request.stopped, request.left = 0, 1
        self.correct(guest, pc)
        found_here = self._found_at(pc, self._state(guest))
        if found_here is None:
            request.left = 2  # the hook lets it by
            return Verdict(pc)
        if found_here.run is None:
            return Verdict(pc, refused=True)
        try:
            outcome = found_here.run(guest)
        except ClosedPage:
            return Verdict(pc, closed=True)
        except GuestAccessError:
            outcome = Outcome.PREPARED  # the engine faults too
        if isinstance(outcome, Then):
            self.correction = pc, pc + found_here.size, outcome
        if outcome is Outcome.UNWATCHED and request is self._engine.inexact and not self._always:
            request.left = 0
        elif isinstance(outcome, Then) or outcome in (Outcome.PREPARED, Outcome.UNWATCHED):
            request.left = 2  # the hook lets it by
        return Verdict(pc + found_here.size if outcome is Outcome.DONE else pc, outcome is Outcome.REFUSED)

    def spread(self, guest: Guest, pc: int) -> None:
        """One of the instructions of the block at `pc` would fault on x87's stack: look at each from now on."""
        assert self._stack is not None
        self._stack.remove(pc)
        code = self._fetch(pc, self._engine.block_size(pc))
        for each in self._found_in(code, pc):
            outcome = each.run(guest) if each.needs is not None and each.run is not None else None
            if isinstance(outcome, Spread) and self._watch(list(outcome.found), code, pc):
                self._engine.drop(pc, pc + len(code))

    def correct(self, guest: Guest, pc: int) -> None:
        """Make the correction that is due at `pc`, if there is one. Also called at the end of runs."""
        due, self.correction = self.correction, None
        if due is not None and due[1] == pc:
            due[2].run(guest)

    def _state(self, guest: Guest) -> int:
        """Arm: the Thumb bit."""
        return guest.read_register("cpsr") >> 5 & 1 if self.align > 1 else 0

    def _found_at(self, pc: int, state: int) -> Misrun | None:
        """The finding at a hook; None if the code there has changed, or for corrections only."""
        known = self._hooked.get(pc)
        if known is not None and known.found is not None and self._fetch(pc, len(known.code)) == known.code:
            return known.found
        found = next(
            (each for each in self._find(self._fetch(pc, _LONGEST), pc | state) if each.needs is None), None
        )
        return found if found is not None and found.address == pc else None

    def _found_in(self, code: bytes, address: int) -> list[Misrun]:
        """The findings in a block. They are kept: with limits inside of blocks these are translated anew often."""
        found = self._blocks.get((code, address))
        if found is None:
            found = list(self._find(code, address))
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[code, address] = found
        return found

    def _watch(self, found: list[Misrun], code: bytes, begin: int) -> bool:
        """Remember what was found. Returns whether any of it must be translated again, with a hook."""
        before = len(self._hooked), len(self._guarded)
        for each in found:
            if each.needs is not None:
                if self._stack is not None:
                    self._stack.add(each.address, each.needs)
                continue
            at = each.address - begin
            self._hook(each.address, _Hooked(code[at : at + each.size], each, begin))
            if each.corrected:
                following = each.address + each.size
                if following not in self._hooked or following in self._guarded:
                    self._hook(following, _Hooked(b"", None, following))
                    self._engine.drop(following, following + 1)
        return (len(self._hooked), len(self._guarded)) != before

    def _hook(self, address: int, new: _Hooked) -> None:
        found, known = new.found, self._hooked.get(address)
        inexact = found is not None and found.inexact
        if known is None:
            if inexact:
                self._inexact.add(address)
            guard = found.guard if found is not None else None
            if guard is not None:
                self._guarded[address] = guard
            request = self._engine.inexact if inexact else self._engine.instructions
            self._engine.hook_instruction(address, request, guard)
        elif address in self._inexact and not inexact:
            # A 2 stays: the hook lets a prepared instruction by.
            self._always, self._engine.inexact.left = True, self._engine.inexact.left or 1
        elif address in self._guarded and (found is None or found.guard != self._guarded[address]):
            del self._guarded[address]
            self._engine.hook_instruction(address, self._engine.instructions)
        # What is found from an earlier beginning takes more of the block into account.
        if known is None or (found is not None and (known.code != new.code or new.begin <= known.begin)):
            self._hooked[address] = new

    def _fetch(self, address: int, size: int) -> bytes:
        """Read code; only up to the end of its page if the next page is not readable."""
        try:
            return self._read(address, size)
        except AddressSpaceError:
            try:
                return self._read(address, min(size, _PAGE - address % _PAGE))
            except AddressSpaceError:
                return b""
