"""`fuzz --afl`: a target of afl-fuzz, by its protocol, and with afl-fuzz itself where it is installed."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from emu.errors import FuzzError
from emu.fuzz.afl import EdgeMap, ForkServer, _Victim
from emu.fuzz.session import Session
from tests.machine.loops import build_loops

_MAP = 1 << 16
_SHARED = 0o1600  #: IPC_CREAT, readable and writable


@pytest.fixture(scope="module", params=["x86_64", "loongarch64"])
def parser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_loops(request.param, tmp_path_factory.mktemp("parser"), "parser")


def command(parser: Path, file: str, instructions: int) -> list[str]:
    options = ["--allow-unresolved", "--max-size", "100", "--max-instructions", str(instructions), "--afl", file]
    return [sys.executable, "-m", "emu.cli", "fuzz", str(parser), "parse", *options]


class Afl:
    """What afl-fuzz does with its target: one execution after the other, with the map of their edges."""

    def __init__(self, file: Path, requests: int, answers: int, edges: ctypes.Array[ctypes.c_uint8]) -> None:
        self._file, self._requests, self._answers, self._edges = file, requests, answers, edges

    def read(self) -> int:
        return int(struct.unpack("<i", os.read(self._answers, 4))[0])

    def begin(self, data: bytes) -> int:
        """Begin an execution; returns the number of the process to kill for its end."""
        self._file.write_bytes(data)
        ctypes.memset(self._edges, 0, _MAP)
        os.write(self._requests, bytes(4))
        return self.read()

    def run(self, data: bytes) -> tuple[int, bytes]:
        """The status of an execution, and the map."""
        assert self.begin(data) > 0
        return self.read(), bytes(self._edges)


@contextmanager
def afl(parser: Path, tmp_path: Path, instructions: int, *, stdin: bool = False) -> Iterator[Afl]:
    libc = ctypes.CDLL(None)
    libc.shmat.restype, libc.shmat.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    shared = libc.shmget(0, _MAP, _SHARED)
    assert shared >= 0
    edges = (ctypes.c_uint8 * _MAP).from_address(libc.shmat(shared, None, 0))
    file = tmp_path / "input"
    file.touch()
    requests, answers = os.pipe(), os.pipe()

    def descriptors() -> None:
        os.dup2(requests[0], 198)
        os.dup2(answers[1], 199)
        os.closerange(3, 198)

    with file.open() as opened:
        child = subprocess.Popen(
            command(parser, "-" if stdin else str(file), instructions),
            env={**os.environ, "__AFL_SHM_ID": str(shared), "AFL_MAP_SIZE": str(_MAP)},
            preexec_fn=descriptors,
            close_fds=False,
            stdin=opened if stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        os.close(requests[0])
        os.close(answers[1])
        afl = Afl(file, requests[1], answers[0], edges)
        assert afl.read() & 0xFFFF_FFFF == 0x8000_0001 | 0x4000_0000 | (_MAP - 1) << 1
        yield afl
        os.close(requests[1])
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        os.close(answers[0])
        libc.shmctl(shared, 0, None)
        libc.shmdt(ctypes.c_void_p(ctypes.addressof(edges)))


def test_executions_have_statuses_and_edges_of_their_own(parser: Path, tmp_path: Path) -> None:
    with afl(parser, tmp_path, 20_000) as fuzzer:
        status, braces = fuzzer.run(b"{12}")
        assert status == 0
        assert len(braces) - braces.count(0) > 5
        status, twice = fuzzer.run(b"{12}{34}")
        assert status == 0
        assert {place for place, count in enumerate(braces) if count} <= {p for p, c in enumerate(twice) if c}
        assert sum(twice) > sum(braces)
        for _ in range(2):
            status, fault = fuzzer.run(b"BUG!")
            assert status == signal.SIGSEGV
            assert fault != braces
            assert fuzzer.run(b"@")[0] == signal.SIGABRT, "no host function"
            assert fuzzer.run(b"{12}") == (0, braces), "the same as the first time"
        status, many = fuzzer.run(b" " * 90)
        assert (status, max(many) in (89, 90)) == (0, True)
        assert fuzzer.run(b" " * 100 + b"beyond the longest input") == fuzzer.run(b" " * 100)
        assert fuzzer.run(b"")[0] == 0


@pytest.mark.parametrize(("instructions", "stdin"), [(20_000, False), (10**12, True)])
def test_hangs_are_killed(parser: Path, tmp_path: Path, instructions: int, stdin: bool) -> None:
    with afl(parser, tmp_path, instructions, stdin=stdin) as fuzzer:
        before = fuzzer.run(b"{12}")
        for seconds in (0, 0.3):  # before it has begun, and in the middle
            process = fuzzer.begin(b"LOOP")
            time.sleep(seconds)
            os.kill(process, signal.SIGKILL)
            assert fuzzer.read() == signal.SIGKILL
            assert fuzzer.run(b"{12}") == before
        process = fuzzer.begin(b"LOOP")  # and AFL++ ends in the meantime
        os.kill(process, signal.SIGKILL)


class CatchingSession(Session):
    """An execution that is killed and catches what the signal handler raises."""

    def __init__(self, victim: _Victim) -> None:
        self._victim = victim

    def execute(self, data: bytes) -> Exception | None:
        try:
            os.kill(self._victim.number(), signal.SIGKILL)
            time.sleep(60)
        except BaseException:
            return ctypes.ArgumentError("argument 1: converted")
        return None


def test_what_is_killed_is_killed_whoever_catches_it(tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    victim = _Victim()
    with closing(victim):
        server = ForkServer(CatchingSession(victim), EdgeMap(np.zeros(64, np.uint8)), str(tmp_path / "input"), 1)
        assert server._status(victim) == signal.SIGKILL


@pytest.mark.parametrize("parser", ["x86_64"], indirect=True)
def test_without_afl_an_input_runs_once(parser: Path, tmp_path: Path) -> None:
    file = tmp_path / "input"
    for data, status in ((b"{}", 0), (b"BUG!", -signal.SIGSEGV), (b"LOOP", -signal.SIGKILL)):
        file.write_bytes(data)
        done = subprocess.run(command(parser, str(file), 20_000), capture_output=True)
        assert (done.returncode, done.stdout) == (status, b"")
    piped = subprocess.run(command(parser, "-", 20_000), capture_output=True, input=b"BUG!")
    assert piped.returncode == -signal.SIGSEGV
    absent = subprocess.run(command(parser, "absent", 20_000), capture_output=True)
    assert (absent.returncode, b"absent: No such file" in absent.stderr) == (1, True)


def test_counts_do_not_run_over() -> None:
    counts = np.zeros(64, np.uint8)
    edges = EdgeMap(counts)
    block = np.array([[4096, 4]], np.uint64)
    for total in (3, 300, 700):
        edges.add(block.repeat(total, axis=0))
    assert (sorted(counts.tolist())[-2:], int(np.count_nonzero(counts))) == ([1, 255], 2)
    for wrong in ("nonsense", "-1", "2147483647"):
        with pytest.raises(FuzzError, match="no shared memory"):
            EdgeMap.of(wrong)


@pytest.mark.parametrize("parser", ["x86_64"], indirect=True)
def test_afl_fuzz_itself(parser: Path, tmp_path: Path) -> None:
    tool = shutil.which("afl-fuzz")
    if tool is None:
        pytest.skip("afl-fuzz is not installed (Debian: afl++)")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one").write_bytes(b"{12}")
    names = "SKIP_BIN_CHECK", "SKIP_CPUFREQ", "I_DONT_CARE_ABOUT_MISSING_CRASHES", "NO_UI", "NO_AFFINITY"
    done = subprocess.run(
        [tool, "-E", "100", "-t", "5000", "-i", "in", "-o", "out", "--", *command(parser, "@@", 20_000)],
        cwd=tmp_path,
        env={**os.environ, **{f"AFL_{name}": "1" for name in names}},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    lines = (tmp_path / "out" / "default" / "fuzzer_stats").read_text().splitlines()
    stats = {name.strip(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    assert int(stats["execs_done"]) >= 100
    assert int(stats["edges_found"]) > 10
    assert stats["stability"] == "100.00%"
