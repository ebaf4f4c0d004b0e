"""Answers to GDB's packets while the guest is stopped."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from emu.cpu.events import Events, Watch
from emu.debug.gdb.objects import ObjectList
from emu.debug.gdb.packets import MOST, Connection, escaped, unescaped
from emu.debug.gdb.target import RegisterFile
from emu.ports import Memory
from relink.errors import MachineError, RelinkError

_ERROR = b"E01"
_FEATURES = (
    f"PacketSize={MOST:x};QStartNoAckMode+;qXfer:features:read+;qXfer:libraries-svr4:read+;qXfer:auxv:read+;"
    "swbreak+;hwbreak+;vContSupported+;ReverseStep+;ReverseContinue+"
).encode()
#: Kinds of Z packets that watch memory: (reads, writes).
_WATCHES = {2: (False, True), 3: (True, False), 4: (True, True)}


class Resume(enum.Enum):
    """How the guest goes on after a stop."""

    CONTINUE = enum.auto()
    STEP = enum.auto()
    REVERSE_STEP = enum.auto()
    REVERSE_CONTINUE = enum.auto()
    DETACH = enum.auto()
    KILL = enum.auto()


class Texts(NamedTuple):
    """The texts that qXfer reads, by object."""

    features: Callable[[], bytes]
    libraries: Callable[[], bytes]
    auxv: Callable[[], bytes]
    program: Callable[[], bytes]


class Commands:
    """Answers one debugger's packets. Breakpoints are numbered by GDB's kinds 0 to 4."""

    def __init__(
        self,
        registers: RegisterFile,
        memory: Memory,
        events: Events,
        objects: ObjectList,
        texts: Texts,
        mask: int,
        traps: range,
    ) -> None:
        self._registers, self._memory, self._events = registers, memory, events
        self._objects, self._texts, self._mask, self._traps = objects, texts, mask, traps
        self._points: dict[tuple[int, int, int], int] = {}  #: how often the debugger asked for each
        self._read_of: dict[bytes, bytes] = {}  #: what qXfer reads, as it was when its beginning was read
        self._stop = b"S05"  #: the reason of the present stop, for `?`

    # ------------------------------------------------------------ a stop

    def converse(self, connection: Connection, reason: bytes, *, tell: bool = True) -> Resume:
        """Report a stop, unless `tell` is False, and answer packets until one resumes the guest. Raises
        Disconnected.
        """
        self._stop = reason
        if tell:
            connection.send(self.stop_reply)
        while True:
            packet = connection.receive()
            found = self._resume(packet)
            if found is not None:
                if found is Resume.DETACH:
                    connection.send(b"OK")
                return found
            try:
                answer = self._answer(connection, packet)
            except (RelinkError, ValueError, IndexError, KeyError):
                answer = _ERROR
            connection.send(answer)

    @property
    def stop_reply(self) -> bytes:
        """The reason, with the news that the list of libraries has changed."""
        return self._stop + b"thread:1;" + (b"library:;" if self._objects.changed else b"")

    def is_breakpoint(self, address: int) -> bool:
        """Whether the debugger has a breakpoint there."""
        return any(kind < 2 and at == address for kind, at, _ in self._points)

    def watch_of(self, address: int, size: int, *, write: bool) -> bytes | None:
        """The stop reason for an access of watched memory; None where nothing of the debugger's watches it."""
        for kind, at, length in self._points:
            overlaps = kind >= 2 and at < address + size and address < at + length
            if overlaps and _WATCHES[kind][1 if write else 0]:
                word = {2: b"watch", 3: b"rwatch", 4: b"awatch"}[kind]
                return b"T05%b:%x;" % (word, max(at, address))
        return None

    def forget(self) -> None:
        """Remove all breakpoints."""
        for kind, address, length in list(self._points):
            while (kind, address, length) in self._points:
                self._remove(kind, address, length)

    # ------------------------------------------------------------ packets

    @staticmethod
    def _resume(packet: bytes) -> Resume | None:
        if packet.startswith(b"vCont;"):
            actions = [action.partition(b":")[0][:1] for action in packet.split(b";")[1:]]
            steps = any(action in (b"s", b"S", b"r") for action in actions)
            return Resume.STEP if steps else Resume.CONTINUE
        if packet in (b"bs", b"bc"):
            return Resume.REVERSE_STEP if packet == b"bs" else Resume.REVERSE_CONTINUE
        if packet == b"k" or packet.startswith(b"vKill"):
            return Resume.KILL
        if packet[:1] == b"D":
            return Resume.DETACH
        known = {b"c": Resume.CONTINUE, b"C": Resume.CONTINUE, b"s": Resume.STEP, b"S": Resume.STEP}
        return known.get(packet[:1])

    def _answer(self, connection: Connection, packet: bytes) -> bytes:
        """The answer to a packet; empty for an unknown one."""
        head, rest = packet[:1], packet[1:]
        if head == b"m":
            address, size = (int(part, 16) for part in rest.split(b","))
            return self._read(address, size).hex().encode()
        if head in (b"M", b"X"):
            place, data = rest.split(b":", 1)
            address = int(place.split(b",")[0], 16)
            content = bytes.fromhex(data.decode()) if head == b"M" else unescaped(data)
            self._memory.write(address, content)
            return b"OK"
        if head in (b"Z", b"z"):
            kind, address, length = (int(part, 16) for part in rest.split(b";")[0].split(b","))
            (self._add if head == b"Z" else self._remove)(kind, address, length)
            return b"OK"
        if head in (b"g", b"G", b"p", b"P"):
            return self._on_registers(head, rest)
        if head == b"?":
            return self.stop_reply
        if head in (b"H", b"T"):
            return b"OK"
        return self._query(connection, packet)

    def _on_registers(self, head: bytes, rest: bytes) -> bytes:
        registers = self._registers
        if head == b"g":
            return registers.read_all().hex().encode()
        if head == b"G":
            registers.write_all(bytes.fromhex(rest.decode()))
        elif head == b"p":
            return registers.read(int(rest, 16)).hex().encode()
        else:
            number, value = rest.split(b"=")
            registers.write(int(number, 16), bytes.fromhex(value.decode()))
        return b"OK"

    def _query(self, connection: Connection, packet: bytes) -> bytes:
        name, _, rest = packet.partition(b":")
        if name == b"qSupported":
            return _FEATURES + (b";qXfer:exec-file:read+" if self._texts.program() else b"")
        if name == b"QStartNoAckMode":
            connection.stop_acknowledging()
            return b"OK"
        if name == b"qXfer":
            return self._transfer(rest)
        plain = {
            b"qAttached": b"1",
            b"qC": b"QC1",
            b"qfThreadInfo": b"m1",
            b"qsThreadInfo": b"l",
            b"vCont?": b"vCont;c;C;s;S;r",
            b"qTStatus": b"",
            b"qSymbol": b"OK",
        }
        return plain.get(name, b"")

    def _transfer(self, rest: bytes) -> bytes:
        """qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH. A debugger reads an object piece by piece, from its beginning."""
        kind, verb, _, where = rest.split(b":")
        offset, length = (int(part, 16) for part in where.split(b","))
        sources = {
            b"features": self._texts.features,
            b"libraries-svr4": self._texts.libraries,
            b"auxv": self._texts.auxv,
            b"exec-file": self._texts.program,
        }
        if verb != b"read" or kind not in sources:
            return b""
        if not offset or kind not in self._read_of:
            self._read_of[kind] = sources[kind]()
        data = self._read_of[kind]
        part = data[offset : offset + min(length, MOST // 2)]
        return (b"m" if offset + len(part) < len(data) else b"l") + escaped(part)

    def _read(self, address: int, size: int) -> bytes:
        """Memory up to the first byte that cannot be read. Raises AddressSpaceError if that is the first."""
        size = min(size, MOST // 2)
        with suppress(RelinkError):
            return self._memory.read(address, size)
        found = b""
        for at in range(address, address + size):
            try:
                found += self._memory.read(at, 1)
            except RelinkError:
                if not found:
                    raise
                break
        return found

    # ------------------------------------------------------------ breakpoints

    def _add(self, kind: int, address: int, length: int) -> None:
        if kind in (0, 1):
            length, address = 0, address & self._mask
        key = kind, address, length
        count = self._points.get(key, 0) + 1
        if kind in (0, 1):
            if address in self._traps:  # where the guest calls or returns to the host: `finish` of the first call
                self._events.report_traps(1)
            else:
                self._memory.read(address, 1)
                self._events.add_breakpoint(address)
        elif kind in _WATCHES:
            reads, writes = _WATCHES[kind]
            self._events.watch(Watch(address, length, reads, writes))
        else:
            raise MachineError(f"breakpoints of kind {kind} are not known")
        self._points[key] = count  # without a call between: no signal handler can leave one of both records

    def _remove(self, kind: int, address: int, length: int) -> None:
        if kind in (0, 1):
            length, address = 0, address & self._mask
        key = kind, address, length
        left = self._points[key] - 1
        if kind in (0, 1) and address in self._traps:
            self._events.report_traps(-1)
        elif kind in (0, 1):
            self._events.remove_breakpoint(address)
        else:
            reads, writes = _WATCHES[kind]
            self._events.unwatch(Watch(address, length, reads, writes))
        if left:  # without a call between, as in `_add`
            self._points[key] = left
        else:
            del self._points[key]
