"""The fork server of AFL++: `afl-fuzz -i in -o out -- relink-emu fuzz lib.so parse --afl @@`.

`afl-fuzz` speaks to its target over two descriptors (AFL++'s src/afl-forkserver.c, "the fork server protocol"): 4
bytes ask for an execution, and are answered with a process number and then with a status of waitpid. The target
counts edges in shared memory that `__AFL_SHM_ID` names.

Here nothing is forked. A snapshot is what a process of a child would give, and a crash of the guest is none of the
host's, so its status is made up. What `afl-fuzz` kills when an execution takes too long is a process that only
waits for that (`_Victim`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from select import select
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Final

import numpy as np

from emu.cpu.events import Recorded
from emu.cpu.protocol import StopReason
from emu.errors import BudgetExceeded, FuzzError, GuestFault
from relink.arrays import U8

if TYPE_CHECKING:
    from emu.cpu.events import Events, Recording, Rows
    from emu.fuzz.session import Session

_REQUESTS: Final = 198  #: descriptors of the fork server
_ANSWERS: Final = 199
#: Bytes of a map of edges, which is AFL++'s own size too.
_MAP: Final = 1 << 16
#: FS_OPT_ENABLED and FS_OPT_MAPSIZE, to which the size is added, in AFL++'s include/types.h.
_HELLO: Final = 0x8000_0001 | 0x4000_0000
_SIGNALS: Final = {
    StopReason.INVALID_INSTRUCTION: signal.SIGILL,
    StopReason.ARITHMETIC: signal.SIGFPE,
    StopReason.UNALIGNED: signal.SIGBUS,
}
_MULTIPLIER: Final = np.uint64(0x9E37_79B9_7F4A_7C15)


class _Killed(BaseException):
    """The process that stands for an execution has been killed."""


class EdgeMap:
    """Counts of the edges of one execution, in the memory that AFL++ reads."""

    def __init__(self, counts: U8) -> None:
        self._counts = counts
        self.begin()

    @classmethod
    def of(cls, identifier: str | None) -> EdgeMap:
        """The map of `__AFL_SHM_ID`, or one that nobody reads. Raises FuzzError when there is no such memory."""
        if identifier is None:
            return cls(np.zeros(_MAP, np.uint8))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype, libc.shmat.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
        address = libc.shmat(int(identifier), None, 0) if identifier.isdecimal() else None
        if address is None or address == ctypes.c_void_p(-1).value:
            raise FuzzError(f"__AFL_SHM_ID is {identifier!r}, which is no shared memory")
        size = min(int(os.environ.get("AFL_MAP_SIZE") or _MAP), _MAP)
        return cls(np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)))

    def __len__(self) -> int:
        return len(self._counts)

    def record(self, events: Events) -> Recording:
        """Count what runs from now on. (On icicle in single steps, since nothing else tells what runs again.)"""
        return events.record(Recorded.BLOCKS, self.add)

    def begin(self) -> None:
        """An execution begins, on a map that AFL++ has cleared."""
        self._before, self._rows = np.uint64(0), 0

    def add(self, rows: Rows) -> None:
        """Count the edges between blocks (address, size) that ran one after the other."""
        if not len(rows):
            return
        to = rows[:, 0]
        whence = np.empty_like(to)
        whence[0], whence[1:] = self._before, to[:-1]
        self._before = to[-1]
        edges = ((whence * _MULTIPLIER + to) * _MULTIPLIER >> np.uint64(48)).astype(np.int64) % len(self._counts)
        self._rows += len(rows)
        if self._rows <= 255:
            np.add.at(self._counts, edges, 1)
        else:  # no edge may seem to have run 256 times less
            places, counts = np.unique(edges, return_counts=True)
            self._counts[places] = np.minimum(self._counts[places] + counts, 255)


class _Victim:
    """A process that AFL++ kills in place of an execution; it ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.killed = self._guards = False
        self._former = signal.signal(signal.SIGCHLD, self._child_ended)

    def _child_ended(self, number: int, frame: FrameType | None) -> None:
        self.killed = True
        if self._guards:
            self._guards = False  # once only: afterwards the state is to be restored in peace
            raise _Killed

    def number(self) -> int:
        """Its process number: that of another one after it was killed."""
        if self._process is None or self.killed:
            self.end()
            self._process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            self.killed = False
        return self._process.pid

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Raise _Killed when it is killed during the block, or has been before."""
        self._guards = True
        try:
            if self.killed:
                raise _Killed
            yield
        finally:
            self._guards = False

    def wait(self) -> None:
        """Wait until it has been killed, or AFL++ has ended."""
        process = self._process
        while process is not None and process.poll() is None and not select([_REQUESTS], [], [], 0.005)[0]:
            pass

    def end(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def close(self) -> None:
        """End it, and have nothing to do with children any more."""
        signal.signal(signal.SIGCHLD, self._former)
        self.end()


class ForkServer:
    """Runs inputs on a session as AFL++ asks for them. `file` holds one at a time ("-": standard input), of which
    more than `max_size` bytes are left out.
    """

    def __init__(self, session: Session, edges: EdgeMap, file: str, max_size: int) -> None:
        self._session, self._edges, self._file, self._max_size = session, edges, file, max_size

    def serve(self) -> int:
        """Serve until AFL++ ends, and return 0; without AFL++, run one input and return its status."""
        try:
            os.write(_ANSWERS, struct.pack("<I", _HELLO | len(self._edges) - 1 << 1))
        except OSError:  # not the descriptor of a fork server
            return self._execute()
        if current_thread() is not main_thread():
            raise FuzzError("AFL++ is served by the main thread only: what it kills is noticed by a signal")
        victim = _Victim()
        with closing(victim), suppress(BrokenPipeError):
            while len(os.read(_REQUESTS, 4)) == 4:
                os.write(_ANSWERS, struct.pack("<i", victim.number()))
                os.write(_ANSWERS, struct.pack("<i", self._status(victim)))
        return 0

    def _status(self, victim: _Victim) -> int:
        """The status of an execution, which ends early when AFL++ kills the victim."""
        try:
            with victim.guarding():
                status = self._execute()
        except _Killed:
            self._session.reset()
            return signal.SIGKILL
        if victim.killed:  # and something on the way has caught what was raised
            return signal.SIGKILL
        if status == signal.SIGKILL:  # AFL++ calls a hang what it has killed itself
            victim.wait()
        return status

    def _execute(self) -> int:
        """Run the input; return the status as of a process: 0, or a signal."""
        self._edges.begin()
        error = self._session.execute(self._input())
        if error is None:
            return 0
        if isinstance(error, BudgetExceeded):
            return signal.SIGKILL
        if isinstance(error, GuestFault):
            return _SIGNALS.get(error.reason, signal.SIGSEGV)
        return signal.SIGABRT

    def _input(self) -> bytes:
        """The input, without what is too long of it. Raises OSError."""
        if self._file == "-":
            with suppress(OSError):  # a pipe: not from AFL++, which writes a file anew each time
                return _start_of(0, self._max_size)
            return sys.stdin.buffer.read(self._max_size)
        descriptor = os.open(self._file, os.O_RDONLY)
        try:
            return _start_of(descriptor, self._max_size)
        finally:
            os.close(descriptor)


def _start_of(descriptor: int, size: int) -> bytes:
    """At most `size` bytes from the start of a file."""
    content = os.pread(descriptor, size, 0)
    while content and len(content) < size and (more := os.pread(descriptor, size - len(content), len(content))):
        content += more
    return content
