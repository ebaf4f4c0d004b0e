"""Snapshots: the state of a machine, to which it can return.

    snapshot = machine.snapshot()
    library.function("parse", "int(const char *)")(b"...")
    machine.restore(snapshot)                       # as if the call had never been

See docs/snapshots.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Self

from emu.errors import CallAbandoned, SnapshotError, SnapshotFileError
from emu.run.exclusive import exclusive
from relink.records import cached_property
from relink.records.unpicklable import Unpicklable

if TYPE_CHECKING:
    from emu.host.symbols import SymbolValue
    from emu.parts import Parts
    from emu.personality import Personality
    from emu.run.runner import Runner
    from emu.saved.state import Handle, SavedState, State

CONTENT_LIMIT = 1 << 31  #: default limit of the contents of a file in bytes


class Snapshot(Unpicklable):
    """The state of a machine at one time. Its memory is freed by `close`, or with the object."""

    _instead = "write it to a file with `save`, and read that with `Machine.from_snapshot`"

    def __init__(self, machine: SnapshotGuest, state: State, inside: tuple[object, ...]) -> None:
        self._machine = machine
        self._inside = inside  # the threads that `use_thread` blocks will return to
        self._state: State | None = state
        self._free = machine._saved.used(self)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._state is None

    def close(self) -> None:
        """Free it. Restoring it raises SnapshotError after this."""
        self._state = None
        self._free()

    def save(self, path: str | PathLike[str]) -> None:
        """Write the snapshot to a file, which `Machine.from_snapshot` reads in any process.

        Raises SnapshotError during a call, for a closed snapshot, and SnapshotFileError when the machine refers to
        an object that no file can hold. Host functions are not saved: they are given again.
        """
        self._machine._save(self, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


class SnapshotGuest:
    """The methods of `emu.machine.Machine` for snapshots: see docs/snapshots.md."""

    runner: Runner
    parts: Parts
    os: Personality

    @cached_property
    def _saved(self) -> SavedState:
        from emu.saved.state import SavedState

        roots = *vars(self.parts).values(), self.parts, self.os, vars(self)
        return SavedState(self.parts, roots, self._handles)

    def _handles(self) -> Sequence[Handle]:
        patcher = vars(self).get("patcher")
        patches = () if patcher is None else patcher.patches
        return [*self.parts.linker.images, *self.parts.threads.alive, *patches]

    @exclusive
    def snapshot(self) -> Snapshot:
        """The present state, for `restore`: memory, registers, images and all else that a guest or a user of the
        machine can observe. Snapshots are independent of each other, and may be restored in any order.

        Raises SnapshotError during a call or a load.
        """
        self._check_idle("a snapshot cannot be taken")
        saved = self._saved
        return Snapshot(self, saved.save(), self._inside())

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot of this machine.

        Handles that were made since (images, patches, threads, programs) are dead: their use raises UseAfterUnload
        or HandleOutlived. Handles that were closed since are alive again. In a host function, all calls of the
        guest are ended by raising CallAbandoned, and the state is restored after them.

        Raises SnapshotError for a snapshot of another machine, for a closed one, during a load, and inside a
        `use_thread` block unless the snapshot was taken in the same one.
        """
        state = self._check_restorable(snapshot)
        with self.runner.used():
            if self.runner.depth:
                self.runner.at_end = partial(self._restore_at_end, state)
                raise CallAbandoned
            self.runner.unfinished = None
            self._saved.restore(state)

    def state_hash(self) -> bytes | None:
        """A hash (16 bytes) of the present state, also in a host function or device: equal hashes since the same
        `snapshot` or `restore` mean equal memory, registers and objects, so that the guest goes on in the same
        way. The stack below the stack pointer does not count, nor what host functions keep outside the machine.
        None when it cannot be told: without a snapshot, in a nested call, and when memory was mapped, images
        loaded or objects made since.
        """
        from emu.saved.state_hash import UnknownState

        if self.runner.depth > 1:
            return None
        try:
            return self._saved.state_hash()
        except UnknownState:
            return None

    @classmethod
    def from_snapshot(
        cls,
        path: str | PathLike[str],
        *,
        symbols: Mapping[str, SymbolValue] | None = None,
        memory_limit: int = CONTENT_LIMIT,
    ) -> Self:
        """The machine of a snapshot in a file, as it was.

        `symbols` are the host functions by the names under which the guest imported them, `memory_limit` the bytes
        that the contents of the file may take. Raises OSError, and SnapshotFileError for a damaged file, one of
        another version or engine, one with larger contents, and for missing host functions.
        """
        from emu.saved.file import read
        from emu.saved.guarded import guard_all

        machine = cls.__new__(cls)
        vars(machine).update(read(cls, path, symbols or {}, memory_limit))
        try:
            machine._saved.check()
        except Exception as error:  # a forged file, in which something is of another kind
            machine.parts.cpu.close()
            raise SnapshotFileError(f"{fspath(path)}: does not describe a machine: {error}") from error
        machine.runner.file = fspath(path)
        guard_all(machine)
        return machine

    @exclusive
    def _save(self, snapshot: Snapshot, path: str | PathLike[str]) -> None:
        from emu.saved.file import write

        self._check_idle("a snapshot cannot be saved")
        state = self._check_restorable(snapshot)
        if not self.os.in_files:
            problem = "only those of machines with Linux: not the model and system registers of a CPU, nor devices"
            raise SnapshotFileError(
                f"{fspath(path)}: a file cannot hold a snapshot of a {type(self.os).__name__}, {problem}"
            )
        with self.snapshot() as now:
            assert now._state is not None
            try:
                self._saved.restore(state)
                write(path, self.parts, vars(self))
            finally:
                self._saved.restore(now._state)

    def _restore_at_end(self, state: State) -> None:
        self.runner.at_end = None
        self._saved.restore(state)

    def _check_restorable(self, snapshot: Snapshot) -> State:
        if not isinstance(snapshot, Snapshot):
            raise SnapshotError(f"not a snapshot: {snapshot!r:.100}")
        if snapshot._machine is not self:
            raise SnapshotError("the snapshot is of another machine")
        if snapshot._state is None:
            raise SnapshotError("the snapshot has been closed")
        if self.parts.linker.under_way or self.runner.in_operation:
            raise SnapshotError("a snapshot cannot be restored during a load or unload")
        if snapshot._inside != self._inside():
            raise SnapshotError("a snapshot taken inside a use_thread block can be restored only there")
        return snapshot._state

    def _check_idle(self, problem: str) -> None:
        if self.runner.depth:
            raise SnapshotError(f"{problem} during a call of the guest")
        if self.parts.linker.under_way or self.runner.in_operation:
            raise SnapshotError(f"{problem} during a load or unload")

    def _inside(self) -> tuple[object, ...]:
        return self.parts.threads.outer
