"""Signal handlers that raise in a session of GDB: nothing of it is left, and calls after it are as before it."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from emu import Machine
from emu.debug.gdb.packets import Connection
from emu.debug.gdb.server import Debugger
from tests.interrupts import interrupted
from tests.machine.test_gdb import Client, built

#: Commands of a session of `work(2)`, by the addresses of `helper` and `state`; the last one ends the call.
COMMANDS = (
    "g", "p0", "?", "Z0,{helper:x},2", "Z0,{helper:x},2", "c", "m{state:x},4", "M{state:x},4:05000000", "s", "bs",
    "z0,{helper:x},2", "Z2,{state:x},4", "c", "z2,{state:x},4", "bc", "qXfer:libraries-svr4:read::0,400", "D",
)  # fmt: skip


def _sockets() -> int:
    """How many sockets are open."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            links.append(os.readlink(f"/proc/self/fd/{name}"))
    return sum(link.startswith("socket:") for link in links)


class _Driver:
    """A debugger in a thread: it sends the commands, until the server closes the connection."""

    def __init__(self, port: int, commands: list[str]) -> None:
        self._port, self._commands = port, commands
        self.answers: list[bytes] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client = None
        with suppress(AssertionError, OSError):  # the connection was closed
            client = Client(self._port)
            for command in self._commands:
                self.answers.append(client.ask(command.encode()))
            client.receive()
        if client is not None:
            client.socket.close()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive(), "the debugger waits for an answer"


class _Subject:
    """A machine, and what a session may leave of itself."""

    def __init__(self, machine: Machine, target: str) -> None:
        self.machine, self.library = machine, machine.load(built(target, "o"))
        symbols = self.library.image.symbol
        places = {name: symbols(name).address for name in ("helper", "state")}
        self._commands = [command.format(**places) for command in COMMANDS]
        self.made: list[Any] = []

    def session(self) -> None:
        with self.machine.debug() as debugger:
            self.made += [debugger]
            self.made += [_Driver(debugger.port, self._commands)]
            assert self.library.work(2) == 2

    def end(self) -> None:
        """End what was begun: a signal handler may raise between `debug` and its `with`."""
        for each in self.made:
            each.close() if isinstance(each, Debugger) else each.join()
        self.made.clear()

    def records(self) -> dict[str, object]:
        events: Any = self.machine.cpu.events
        for thread in threading.enumerate():
            if thread.name == "gdb connection":
                thread.join(10)
        return {
            "functions": "call_planned" in vars(self.machine.runner),
            "execution": self.machine.runner.execution,
            "listeners": len(self.machine.parts.observation.listeners),
            "events": (dict(events._breakpoints), dict(events._watches), events._trap_reports),
            "modes": (events.counting, events.stepping),
            "threads": [each.name for each in threading.enumerate() if "gdb" in each.name],
            "sockets": _sockets(),
            "files": sorted(Path(tempfile.gettempdir()).glob("relink-emu-gdb-*")),
        }


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_a_session_that_is_interrupted_anywhere_leaves_nothing(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Machine(target) as machine:
        subject = _Subject(machine, target)
        points = interrupted(subject.session, 0, starts=True)
        subject.end()
        before = subject.records()
        ends = *range(1, 250, 31), *range(points - 300, points, 43)
        for number in (*ends, *range(301, points, points // 10)):
            interrupted(subject.session, number, starts=True)
            subject.end()
            assert subject.records() == before, number
            assert subject.library.work(2) == 2
        subject.session()
        subject.end()


def test_a_call_that_is_interrupted_while_gdb_has_the_guest_ends_the_connection() -> None:
    """GDB would take the answers of the next call for those to its own packets."""
    with Machine("x86_64") as machine:
        library = machine.load(built("x86_64", "so"))
        with machine.debug() as debugger:
            commands: Any = debugger._commands
            driver = _Driver(debugger.port, [f"Z0,{library['helper'].address:x},1", "g", "g"])
            answer = commands._answer

            def interrupt(connection: Connection, packet: bytes) -> bytes:
                if packet == b"g":
                    raise KeyboardInterrupt
                return bytes(answer(connection, packet))

            commands._answer = interrupt
            with pytest.raises(KeyboardInterrupt):
                library.work(2)
            driver.join()
            assert driver.answers == [b"OK"]
            events: Any = machine.cpu.events
            assert not events._breakpoints
            assert library.work(2) == 2


def test_close_in_another_thread_lets_a_call_go_on_that_waits_for_gdb() -> None:
    with Machine("x86_64") as machine:
        library = machine.load(built("x86_64", "so"))
        with machine.debug() as debugger:
            waiting: Any = debugger._socket
            closer = threading.Timer(0.1, debugger.close)
            closer.start()
            assert library.work(2) == 2
            closer.join()
            assert waiting.fileno() == -1
        assert library.work(2) == 2


def test_counting_goes_on_after_a_call_under_a_debugger() -> None:
    with Machine("x86_64") as machine:
        library = machine.load(built("x86_64", "so"))
        with machine.counting() as count:
            with machine.debug() as debugger:
                driver = _Driver(debugger.port, ["D"])
                library.work(2)
            before = count.instructions
            library.work(2)
            assert count.instructions > before
        driver.join()
        assert not machine.cpu.events.counting
