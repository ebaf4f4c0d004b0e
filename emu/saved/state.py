"""The whole state of a machine, saved and restored: its objects, its memory's contents, its registers.

`SavedState` keeps what is shared by all snapshots of a machine: which snapshot the machine agrees with except for
what has changed since, so that saving and restoring look only at that.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from operator import ne
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from emu.saved.graph import Nodes, Walk
from emu.saved.memory import CopiedMemory, SharedMemory
from emu.saved.state_hash import UnknownState, described, hash_of
from relink.records import ASSIGNMENTS

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
    assigned: Objects
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
        #: what the objects were at the last `save` or `restore`
        self._watched: Objects | None = None
        self._assigned: Objects | None = None
        self._guarded: Objects | None = None
        self._marks: tuple[int, ...] = ()
        self._assignment: object = None  # the last one when the attributes of `_assigned` were as in it
        self._users = 0  # number of snapshots that have not been freed
        self._busy = False
        weakref.finalize(self, ASSIGNMENTS.end, id(self)).atexit = False

    def used(self, snapshot: object) -> Callable[[], object]:
        """A snapshot has been made. Returns what is to be called when it is closed; it is when it is freed."""
        self._users += 1
        # What the host keeps for this must not keep the machine, whose host functions may refer to the snapshot.
        freed = weakref.finalize(snapshot, _unused, weakref.ref(self))
        freed.atexit = False
        return freed

    def unused(self) -> None:
        """A snapshot has been freed. After the last, nothing of them is kept."""
        self._users -= 1
        if not self._users and not self._busy:
            ASSIGNMENTS.end(id(self))
            self._watched = self._assigned = self._guarded = None
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
            if not self._users:
                ASSIGNMENTS.begin(id(self))
            return self._save()
        except BaseException:
            if not self._users:
                ASSIGNMENTS.end(id(self))
                self._assignment = None
            raise
        finally:
            self._busy = False

    def _save(self) -> State:
        marks, assignment = self.marks(), ASSIGNMENTS.last
        watched, assigned, guarded = self._watched, self._assigned, self._guarded
        if watched is None or assigned is None or guarded is None or self._has_grown():
            watched, assigned, guarded = self._walk_all()
        else:
            found: list[object] = []
            watched = _saved(watched, found)
            if assignment is not self._assignment:
                assigned = _saved(assigned, found)
            if marks != self._marks:
                guarded = _saved(guarded, found)
            if found:
                self._walk.extend(found)
                watched, assigned, guarded = _extended(watched), _extended(assigned), _extended(guarded)
        self._watched, self._assigned, self._guarded = watched, assigned, guarded
        self._marks, self._assignment = marks, assignment
        return State(watched, assigned, guarded, self._memory.save(), self._parts.cpu.save_state())

    def check(self) -> None:
        """Find all objects once; raises whatever that raises for a machine that is none."""
        self.marks()
        self._walk_all()
        self._walk = Walk()

    def _has_grown(self) -> bool:
        return sum(len(some.nodes) for some in self._walk.found) > self._walked * _GROWTH + 64

    def _walk_all(self) -> tuple[Objects, Objects, Objects]:
        self._walk = Walk()
        self._walk.extend(self._roots)
        watched, assigned, guarded = (_extended(Objects(nodes, [])) for nodes in self._walk.found)
        self._walked = len(watched.contents) + len(assigned.contents) + len(guarded.contents)
        return watched, assigned, guarded

    # ------------------------------------------------------------ restoring

    def restore(self, state: State) -> None:
        """Make this the state."""
        self._parts.lazy_calls.forget_answers()
        quick = state.guarded is self._guarded and self.marks() == self._marks
        changed = _changed(state.watched) if state.watched is self._watched else None
        assigned = state.assigned is not self._assigned or ASSIGNMENTS.last is not self._assignment
        same = quick and not assigned and changed == []
        handles = () if same else self._restore_objects(state, changed, quick=quick)
        self._memory.restore(state.memory, quick=quick)
        self._parts.cpu.restore_state(state.registers)
        self._parts.heap.changes += 1
        if not same:
            self._restored(state, handles)
        observation = vars(self._parts).get("observation")
        if observation is not None:
            observation.restored()

    def _restore_objects(self, state: State, changed: list[int] | None, *, quick: bool) -> Sequence[Handle]:
        """Restore all objects, and the map of memory unless that is `quick`; return the handles before. `changed`
        are the watched nodes that perhaps changed, if only those that compare different did.
        """
        before: list[Region] = [] if quick else list(self._parts.memory.regions)
        mapped, handles = _mapped(before), self._handles()
        known = state.assigned is self._assigned
        unchanged = known and ASSIGNMENTS.last is self._assignment
        self._watched = self._assigned = None  # unknown, if this is interrupted
        if changed is None or not known:
            _restore_some(state.watched, range(len(state.watched.contents)))
            _restore_some(state.assigned, range(len(state.assigned.contents)))
        else:
            _restore(changed, (state.watched,) if unchanged else (state.watched, state.assigned))
        if not quick:
            self._guarded, self._marks = None, ()
            _restore_some(state.guarded, range(len(state.guarded.contents)))
            self._map(mapped, _mapped(self._parts.memory.regions))
        return handles

    def _restored(self, state: State, handles: Sequence[Handle]) -> None:
        """All is as in a state. `handles` are those before."""
        left = self._handles()
        if left != handles:
            for handle in handles:
                if handle not in left:
                    handle.outlive()
        self._watched, self._assigned, self._guarded = state.watched, state.assigned, state.guarded
        self._marks, self._assignment = self.marks(), ASSIGNMENTS.last

    # ------------------------------------------------------------ comparing

    def state_hash(self) -> bytes:
        """A hash of what has changed since the last `save` or `restore` (`emu.saved.state_hash`). Raises
        UnknownState.
        """
        if self._watched is None or self._assigned is None or self.marks() != self._marks:
            raise UnknownState("nothing to compare with")
        some = [self._watched, *([] if ASSIGNMENTS.last is self._assignment else [self._assigned])]
        objects = [each for number, one in enumerate(some) for each in self._changed_objects(number, one)]
        return hash_of(self._memory.changed_pages(self._dead_stack()), self._parts.cpu.register_values(), objects)

    def _changed_objects(self, which: int, objects: Objects) -> Iterator[object]:
        nodes, contents = objects
        for number in _changed(objects):
            kind, node = nodes.kinds[number], nodes.nodes[number]
            if kind.same(node, contents[number]):
                continue
            if (digest := getattr(node, "digest", None)) is not None:
                yield which, number, digest()
            else:
                before, now = (kind.plain(content) for content in (contents[number], kind.content(node)))
                yield which, *described(number, before, now, self._walk.seen)

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


def _unused(saved: weakref.ref[SavedState]) -> None:
    if (found := saved()) is not None:
        found.unused()


_Mapped = dict[tuple[int, int], tuple[Any, Any]]


def _mapped(regions: Iterable[Region]) -> _Mapped:
    """(address, size) -> (region, protection) of all page ranges."""
    return {
        (region.address + offset, size): (region, protection)
        for region in regions
        for offset, size, protection in region.pages
    }


def _extended(objects: Objects) -> Objects:
    """The objects, with the contents of the nodes added since they were taken."""
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
    try:
        if nodes.live == contents:
            return []
    except ValueError:  # an array took the place of another, and cannot be compared as a whole
        pass
    found: list[int] = []
    for low in range(0, len(contents), _TOGETHER):
        then = contents[low : low + _TOGETHER]
        now = nodes.live[low : low + len(then)]
        try:
            if now != then:
                found.extend(compress(range(low, low + len(then)), map(ne, now, then)))
        except ValueError:
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


def _restore(changed: list[int], some: Sequence[Objects]) -> None:
    """Restore contents, where they are those of the last `save` or `restore`. `changed` are the nodes of the first
    objects that compare different.
    """
    _restore_some(some[0], changed)
    # An attribute with an equal copy of what it referred to shows when that has its earlier content again.
    done = [set(changed), *(set[int]() for _ in some[1:])]
    left = True
    while left:
        left = False
        for objects, already in zip(some, done, strict=True):
            if new := [number for number in _changed(objects) if number not in already]:
                left = True
                already.update(new)
                _restore_some(objects, new)


def _restore_some(objects: Objects, numbers: Iterable[int]) -> None:
    nodes, contents = objects
    for number in numbers:
        kind, node = nodes.kinds[number], nodes.nodes[number]
        if not kind.same(node, contents[number]):
            kind.restore(node, contents[number])
