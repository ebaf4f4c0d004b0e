"""GDB's packets on a socket of the loopback interface.

A thread reads the socket, so that Ctrl-C is seen while the guest runs. Packets wait in a queue for the thread that
runs the guest.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_ESCAPED = frozenset(b"#$}*")
#: Bytes of a packet's contents.
MOST = 0x4000
_LONGEST = 4 * MOST
#: The command line has SIGPIPE's default action, which would end it when the debugger has gone.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)


class Disconnected(Exception):
    """The debugger has gone."""


def checksum(data: bytes) -> int:
    """The sum of a packet's bytes, modulo 256."""
    return sum(data) & 0xFF


def escaped(data: bytes) -> bytes:
    """Binary data in a packet."""
    if _ESCAPED.isdisjoint(data):
        return data
    return b"".join(bytes((0x7D, byte ^ 0x20)) if byte in _ESCAPED else bytes((byte,)) for byte in data)


def unescaped(data: bytes) -> bytes:
    """The data that `escaped` made a packet of."""
    first, *rest = data.split(b"}")
    return first + b"".join(bytes((part[0] ^ 0x20,)) + part[1:] for part in rest if part)


class Connection:
    """A debugger's connection. `interrupted` is called, in the reading thread, for Ctrl-C."""

    def __init__(self, client: socket.socket, interrupted: Callable[[], None]) -> None:
        self._client, self._interrupted = client, interrupted
        self._packets: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._acknowledged = True  #: whether packets are answered with + and -
        self.gone = False  #: whether the debugger has closed the connection
        self._reader: threading.Thread | None = None  #: started by the first `receive`: it keeps this object

    def receive(self) -> bytes:
        """The next packet's contents. Raises Disconnected. After another exception, as of a signal handler, the
        connection is to be closed.
        """
        if self._reader is None:
            self._reader = threading.Thread(target=self._read_all, name="gdb connection", daemon=True)
            self._reader.start()
        packet = self._packets.get()
        if packet is None:
            self.gone = True
            raise Disconnected
        return packet

    def send(self, data: bytes) -> None:
        """Send a packet. Does nothing when the debugger has gone."""
        try:
            self._client.sendall(b"$%b#%02x" % (data, checksum(data)), _NO_SIGNAL)
        except OSError:
            self.gone = True

    def stop_acknowledging(self) -> None:
        """QStartNoAckMode: packets are no longer acknowledged."""
        self._acknowledged = False

    def close(self) -> None:
        """Close the connection. May be repeated."""
        self.gone = True
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()

    # ------------------------------------------------------------ the reading thread

    def _read_all(self) -> None:
        data = b""
        with suppress(OSError):
            while len(data) <= _LONGEST and (more := self._client.recv(_LONGEST)):
                data = self._take(data + more)
        self._packets.put(None)

    def _take(self, data: bytes) -> bytes:
        """Take what is complete off the data; the rest."""
        while data:
            if data[0] == 3:
                self._interrupted()
                data = data[1:]
            elif data[:1] != b"$":
                data = data[1:]  # an acknowledgement
            elif 0 <= (end := data.find(b"#")) <= len(data) - 3:
                content, given = data[1:end], data[end + 1 : end + 3]
                good = given == b"%02x" % checksum(content)
                if self._acknowledged:
                    self._client.sendall(b"+" if good else b"-", _NO_SIGNAL)
                if good:
                    self._packets.put(content)
                data = data[end + 3 :]
            else:
                break
        return data
