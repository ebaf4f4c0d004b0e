"""The whole state of a machine, saved and restored: its objects, its memory's contents, its registers.

`SavedState` keeps what is shared by all snapshots of a machine: which snapshot the machine agrees with except for
what has changed since, so that saving and restoring look only at that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from emu.saved.graph import Nodes, Walk
from emu.saved.memory import CopiedMemory, SharedMemory
from emu.saved.state_hash import UnknownState, described, hash_of

if TYPE_CHECKING:
    from emu.parts import Parts
    from emu.saved.memory import Contents
    from relink.memory.address_space import Region

#: The walk is done again when so many nodes have been added that are perhaps no longer in use.
_GROWTH = 1.25
#: Nodes that are compared at once, to be compared one by one if any is different.
_TOGETHER = 64
#: Bytes below the stack pointer that leaf functions may use (x86-64 psABI 3.2.2; 288 bytes is PowerPC's, the most
#: of any ABI).
_RED_ZONE = 288


class Handle(Protocol):
    """An object that a user may hold."""

    def outlive(self) -> None:
        """Called when the machine returns to a snapshot from before the object was made: make it unusable."""


class Objects(NamedTuple):
    """The contents of the first nodes of a `Nodes`."""

    nodes: Nodes
    contents: Sequence[Any]


class State(NamedTuple):
    """One saved state."""

    watched: Objects
    guarded: Objects
    memory: Contents
    registers: object


class SavedState:
    """Saves and restores the state of one machine.

    `roots` are objects that lead to all others. `handles` returns the objects that a user may hold and that others
    refer to only while they are in use.
    """

    def __init__(self, parts: Parts, roots: Iterable[object], handles: Callable[[], Sequence[Handle]]) -> None:
        self._parts = parts
        self._handles = handles
        self._roots = tuple(roots)
        memory = SharedMemory if parts.cpu.shares_memory else CopiedMemory
        self._memory: SharedMemory | CopiedMemory = memory(parts.memory, parts.cpu)
        self._walk = Walk()
        self._walked = 0  # number of nodes after the last complete walk
        self._watched: Objects | None = None  # what the objects were at the last `save` or `restore`
        self._guarded: Objects | None = None
        self._marks: tuple[int, ...] = ()
        self._users = 0  # number of snapshots that have not been freed
        self._busy = False

    def used(self) -> None:
        """A snapshot has been made."""
        self._users += 1

    def unused(self) -> None:
        """A snapshot has been freed. After the last, nothing of them is kept."""
        self._users -= 1
        if not self._users and not self._busy:
            self._watched = self._guarded = None
            self._walk = Walk()
            self._memory.forget()

    def marks(self) -> tuple[int, ...]:
        """Numbers of which one increases with every change of a guarded object."""
        parts = self._parts
        return parts.traps.changes, parts.memory.changes, parts.linker.changes, parts.lazy_calls.changes

    # ------------------------------------------------------------ saving

    def save(self) -> State:
        """The present state."""
        self._busy = True
        try:
            return self._save()
        finally:
            self._busy = False

    def _save(self) -> State:
        marks = self.marks()
        if self._watched is None or self._guarded is None or self._has_grown():
            watched, guarded = self._walk_all()
        else:
            found: list[object] = []
            watched = _saved(self._watched, found)
            guarded = self._guarded if marks == self._marks else _saved(self._guarded, found)
            if found:
                self._walk.extend(found)
                watched, guarded = _extended(watched), _extended(guarded)
        self._watched, self._guarded, self._marks = watched, guarded, marks
        return State(watched, guarded, self._memory.save(), self._parts.cpu.save_state())

    def check(self) -> None:
        """Find all objects once; raises whatever that raises for a machine that is none."""
        self.marks()
        self._walk_all()
        self._walk = Walk()

    def _has_grown(self) -> bool:
        return len(self._walk.watched.nodes) + len(self._walk.guarded.nodes) > self._walked * _GROWTH + 64

    def _walk_all(self) -> tuple[Objects, Objects]:
        self._walk = Walk()
        self._walk.extend(self._roots)
        watched, guarded = (_extended(Objects(n, [])) for n in (self._walk.watched, self._walk.guarded))
        self._walked = len(watched.contents) + len(guarded.contents)
        return watched, guarded

    # ------------------------------------------------------------ restoring

    def restore(self, state: State) -> None:
        """Make this the state."""
        marks = self.marks()
        quick = marks == self._marks and state.guarded is self._guarded
        before: list[Region] = [] if quick else list(self._parts.memory.regions)
        mapped, handles = _mapped(before), self._handles()
        _restore(state.watched, known=state.watched is self._watched)
        if not quick:
            self._guarded, self._marks = None, ()  # unknown, if this is interrupted
            _restore(state.guarded, known=False)
            self._map(mapped, _mapped(self._parts.memory.regions))
        self._memory.restore(state.memory, quick=quick)
        self._parts.cpu.restore_state(state.registers)
        self._watched, self._guarded, self._marks = state.watched, state.guarded, self.marks()
        left = self._handles()
        if left != handles:
            for handle in handles:
                if handle not in left:
                    handle.outlive()
        observation = vars(self._parts).get("observation")
        if observation is not None:
            observation.restored()

    # ------------------------------------------------------------ comparing

    def state_hash(self) -> bytes:
        """A hash of what has changed since the last `save` or `restore` (`emu.saved.state_hash`). Raises
        UnknownState.
        """
        if self._watched is None or self.marks() != self._marks:
            raise UnknownState("nothing to compare with")
        objects = list(self._changed_objects(self._watched))
        return hash_of(self._memory.changed_pages(self._dead_stack()), self._parts.cpu.register_values(), objects)

    def _changed_objects(self, objects: Objects) -> Iterator[object]:
        nodes, contents = objects
        for number in _changed(objects):
            kind, node = nodes.kinds[number], nodes.nodes[number]
            if kind.same(node, contents[number]):
                continue
            if (digest := getattr(node, "digest", None)) is not None:
                yield number, digest()
            else:
                yield described(number, contents[number], kind.content(node), self._walk.seen)

    def _dead_stack(self) -> range:
        """The addresses below the stack pointer that no code may rely on: a signal handler could run there."""
        stack, pointer = self._parts.stack, self._parts.cpu.read_register("sp")
        return range(stack.bottom, pointer - _RED_ZONE if stack.bottom <= pointer <= stack.top else stack.bottom)

    def _map(self, mapped: _Mapped, wanted: _Mapped) -> None:
        """Map in the CPU what shall be mapped, and nothing else."""
        cpu = self._parts.cpu
        for place, (region, _) in mapped.items():
            if place not in wanted or wanted[place][0] is not region:
                cpu.unmap(place[0], place[1])
        for place, (region, protection) in wanted.items():
            known = mapped.get(place)
            address, size = place
            if known is None or known[0] is not region:
                offset = address - region.address
                cpu.map(address, size, protection, region.buffer[offset : offset + size])
            elif known[1] != protection:
                cpu.protect(address, size, protection)


_Mapped = dict[tuple[int, int], tuple[Any, Any]]


def _mapped(regions: Iterable[Region]) -> _Mapped:
    """(address, size) -> (region, protection) of all page ranges."""
    return {
        (region.address + offset, size): (region, protection)
        for region in regions
        for offset, size, protection in region.pages
    }


def _extended(objects: Objects) -> Objects:
    """The same with the contents of the nodes added since."""
    nodes, contents = objects
    if len(contents) == len(nodes.nodes):
        return objects
    new = slice(len(contents), None)
    return Objects(
        nodes, [*contents, *(k.content(n) for n, k in zip(nodes.nodes[new], nodes.kinds[new], strict=True))]
    )


def _changed(objects: Objects) -> list[int]:
    """The numbers of the nodes that are perhaps not as in `objects`: those that compare different, in C."""
    nodes, contents = objects
    found: list[int] = []
    for low in range(0, len(contents), _TOGETHER):
        then = contents[low : low + _TOGETHER]
        now = nodes.live[low : low + len(then)]
        try:
            if now != then:
                found.extend(compress(range(low, low + len(then)), map(ne, now, then)))
        except ValueError:  # an array took the place of another, and cannot be compared as a whole
            found.extend(range(low, low + len(then)))
    return found


def _saved(objects: Objects, found: list[object]) -> Objects:
    """The present contents, given those saved last; adds what changed nodes refer to now to `found`."""
    nodes, contents = objects
    new: list[Any] | None = None
    for number in _changed(objects):
        kind, node = nodes.kinds[number], nodes.nodes[number]
        if kind.same(node, contents[number]):
            continue
        if new is None:
            new = list(contents)
        new[number] = kind.content(node)
        found.extend(kind.referred(new[number]))
    return objects if new is None else Objects(nodes, new)


def _restore(objects: Objects, *, known: bool) -> None:
    """Restore contents. `known`: they are those of the last `save` or `restore`, so that comparing is quick."""
    if not known:
        _restore_some(objects, range(len(objects.contents)))
        return
    # An attribute with an equal copy of what it referred to shows when that has its earlier content again.
    done: set[int] = set()
    while changed := _changed(objects):
        if done and not (changed := [number for number in changed if number not in done]):
            return
        done.update(changed)
        _restore_some(objects, changed)


def _restore_some(objects: Objects, numbers: Iterable[int]) -> None:
    nodes, contents = objects
    for number in numbers:
        kind, node = nodes.kinds[number], nodes.nodes[number]
        if not kind.same(node, contents[number]):
            kind.restore(node, contents[number])
