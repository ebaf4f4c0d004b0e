"""Signals: a command stops its children, removes what is not complete, and ends by the signal, quietly."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.cli.app import run
from tests.fixtures import fixture
from tests.machine.test_gdb import Client

pytestmark = pytest.mark.usefixtures("interruptible")
CHAIN = fixture("riscv64", "objects/libchain")


def _start(temporary: Path, *arguments: str | Path, path: Path | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    if path is not None:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    command = [sys.executable, "-m", "emu.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment)


def _wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _interrupted(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> bytes:
    """Interrupt a command; what it says then."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -number, err
    assert not out
    return err


def _runs(number: int) -> bool:
    """Whether a process runs: one that has ended may wait for its new parent to ask."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _port(process: subprocess.Popen[bytes]) -> int:
    """The port that `relink-emu debug` names."""
    assert process.stderr is not None
    return int(process.stderr.readline().decode().partition("127.0.0.1:")[2].split()[0].strip("'"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_compiler_is_stopped_and_its_folder_removed(number: int, tmp_path: Path) -> None:
    tools, temporary, note = tmp_path / "bin", tmp_path / "tmp", tmp_path / "number"
    tools.mkdir()
    temporary.mkdir()
    compiler = tools / "riscv64-linux-gnu-gcc"
    # More than a pipe has room for: it goes on when its output is read, so its start is complete.
    told = f'echo $$ > "{note}.part"\nmv "{note}.part" "{note}"\n'
    compiler.write_text(f"#!/bin/sh\nhead -c 200000 /dev/zero\n{told}exec sleep 600\n")
    compiler.chmod(0o755)
    header = tmp_path / "own.h"
    header.write_text("#define TWO 2\nint twice(int x);\n")
    process = _start(temporary, "types", header, "--arch", "riscv64", path=tools)
    _wait_for(note.exists)
    assert list(temporary.iterdir())
    assert _interrupted(process, number) == b""
    assert not list(temporary.iterdir())
    _wait_for(lambda: not _runs(int(note.read_text())))


def test_a_signal_while_a_child_is_started_stops_the_child() -> None:
    script = """
import signal, subprocess
from emu.cli.interrupts import handle_interrupts, was_interrupted

class Popen(subprocess.Popen):
    def _execute_child(self, *arguments):
        super()._execute_child(*arguments)
        print(self.pid, flush=True)
        signal.raise_signal(signal.SIGTERM)

handle_interrupts()
subprocess.Popen = Popen
try:
    subprocess.run(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
except KeyboardInterrupt:
    print(was_interrupted())
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    number, interrupted = out.split()
    assert interrupted == "True"
    assert not _runs(int(number))


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As SIGHUP under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = _start(tmp_path, "debug", CHAIN, "int archive_top(4)")
    signal.signal(signal.SIGHUP, before)
    _port(process)
    process.send_signal(signal.SIGHUP)
    assert _interrupted(process, signal.SIGTERM) == b""


def test_files_for_gdb_are_removed(tmp_path: Path) -> None:
    process = _start(tmp_path, "debug", CHAIN, "int archive_top(4)")
    port = _port(process)
    client = Client(port)
    try:
        assert "<library " in client.text(b"libraries-svr4")
        assert [path.name.startswith("relink-emu-gdb-") for path in tmp_path.iterdir()] == [True]
        assert _interrupted(process) == b""
    finally:
        client.socket.close()
    assert not list(tmp_path.iterdir())


def test_a_call_goes_on_when_gdb_dies(tmp_path: Path) -> None:
    process = _start(tmp_path, "debug", CHAIN, "int archive_top(4)")
    client = Client(_port(process))
    client.send(b"g")
    client.socket.sendall(b"$g#67" * 10_000)
    client.receive()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == b"36\n"


def test_waiting_for_gdb_is_ended(tmp_path: Path) -> None:
    process = _start(tmp_path, "debug", CHAIN, "int archive_top(4)")
    port = _port(process)
    assert _interrupted(process) == b""
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=5):
        pass


def test_errors_that_follow_from_an_interrupt_are_not_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("emu.cli.interrupts._interrupts", [signal.SIGINT])
    assert run(["inspect", "no such file"]) == 130
    assert capsys.readouterr() == ("", "")
