"""Standard streams of every kind: whatever encoding they have, full, closed, without a reader, never ready."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from emu.cli.app import EXIT_PIPE, run
from tests.machine.static_programs import static_program
from tests.objects.build import compiled, linked

#: Names as files have them: other scripts, and bytes that are no text, or mean something to a terminal.
SOURCE = r"""
int one(void) __asm__("na\xc3\xafve_\xce\xb1\xf0\x9f\x98\x80"); int one(void) { return 3; }
int two(void) __asm__("XXXXbadYYYY"); int two(void) { return 4; }
int absent(void) __asm__("absent\xce\xb1");
int call_absent(void) { return absent(); }
int fault(void) { return *(volatile int *)8; }
char room[65536]; long write(int, const void *, unsigned long);
int flood(void) { for (;;) write(1, room, sizeof room); }
"""
HOSTILE = b"\x1b[31m\xff\xfe\n\x9b\x07\x01"
ENCODINGS = ("ascii", "latin-1", "utf-16", "cp1252", "shift_jis", "utf-8")
DEFINED = ("-D", "absent\N{GREEK SMALL LETTER ALPHA}=0")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    flags = ("-fPIC", "-w", "-Wno-error", "-fno-builtin", "-g")
    built = linked("x86_64", [compiled("x86_64", SOURCE, *flags)], "-soname=lib\N{GREEK SMALL LETTER ALPHA}.so")
    path = tmp_path_factory.mktemp("names") / os.fsdecode(b"lib\xce\xb1\xff\x1b[0m.so")
    path.write_bytes(built.read_bytes().replace(b"XXXXbadYYYY", HOSTILE))
    return str(path)


def commands(library: str) -> Sequence[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        ("inspect", library), ("inspect", "--symbols", library), ("load", library), ("load", *DEFINED, library),
        ("map", *DEFINED, library), ("tree", library), ("call", *DEFINED, library, "int fault()"),
        ("call", *DEFINED, library, "na\xefve_\N{GREEK SMALL LETTER ALPHA}()"), ("run", library),
        ("call", *DEFINED, "--audit", "--binding", "lazy", library, "int call_absent()"),
        ("load", "--allow-unresolved", "--bindings", library), ("load", "--binding", "lazy", *DEFINED, library),
        ("no such \udcff\x1b\N{GREEK SMALL LETTER ALPHA}",), ("inspect", "/no such\udcff\x1b[31m\n"),
        ("load", "--nosuch\udcff\x1b", library),
    ]  # fmt: skip
    return [*lines, *((*line, "--json") for line in lines if line[0] not in ("run", "inspect", "tree"))]


@pytest.mark.sample(2)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_output_encodes_and_holds_no_control_character(
    library: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in commands(library):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        status = run(line)
        out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
        assert status in (0, 1, 2), ascii(line)
        assert out + err, ascii(line)
        assert "Traceback" not in err, ascii(line)
        assert "bug in relink-emu" not in err, ascii((line, err))
        for text in (out, err):
            # Windows' and Japan's code pages have more than the C1 block where Unicode has it.
            shown = [c for c in text if not (c.isprintable() or c in "\n\x85")]
            assert not shown, ascii((line, shown, text))
        if "--json" in line:
            assert json.loads(out), ascii(line)
        monkeypatch.undo()


def test_names_are_told_byte_for_byte_in_json(library: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert run(["inspect", "--symbols", "--json", library]) == 0
    out = capsysbinary.readouterr().out
    assert out.isascii()
    report = json.loads(out)
    assert os.fsencode(report["file"]) == os.fsencode(library)
    assert HOSTILE in [os.fsencode(symbol["name"]) for symbol in report["symbols"]]


def emu(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "emu.cli", *arguments]
    return subprocess.run(command, timeout=120, check=False, **{"stderr": subprocess.PIPE, **options})  # type: ignore[call-overload, no-any-return]


@pytest.mark.sample(1)
@pytest.mark.parametrize("variables", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii:strict"}])
def test_a_locale_without_letters_is_no_obstacle(library: str, variables: dict[str, str]) -> None:
    defined = DEFINED[0], "fault=0"
    done = emu(
        "load",
        "-vv",
        "--allow-unresolved",
        *defined,
        library,
        stdout=subprocess.PIPE,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0
    shown = done.stdout + done.stderr
    assert b"info: loaded " in shown
    assert all(byte >= 32 or byte == 10 for byte in shown)
    assert shown.isascii() or "C" in variables.values()


@pytest.mark.sample(1)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_an_error_with_a_message(unbuffered: str) -> None:
    variables = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = emu("arches", "--json", stdout=full, env=variables)
        assert done.returncode == 1
        assert done.stderr == b"error: the output cannot be written: No space left on device\n"
        # The guest's write fails with an errno, and the guest continues.
        assert emu("run", str(static_program("x86_64")), stdin=subprocess.DEVNULL, stdout=full).returncode == 42


def test_closed_streams_are_none(library: str) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        line = f'"$0" -m emu.cli load -D "$1=0" "$2" {closed}'
        shell = ["sh", "-c", line, sys.executable, DEFINED[1].removesuffix("=0"), library]
        done = subprocess.run(shell, capture_output=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, b""), closed


@pytest.mark.sample(1)
@pytest.mark.parametrize("arguments", [("arches",), ("run", "x")])
def test_a_reader_that_has_gone_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    line = [part if part != "x" else str(static_program("x86_64")) for part in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    done = emu(*line, stdin=subprocess.DEVNULL, stdout=writing)
    os.close(writing)
    assert done.returncode in (EXIT_PIPE, -signal.SIGPIPE)
    assert done.stderr.replace(b"to stderr\n", b"") == b""


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["pipe", "terminal", "fifo"])
def test_a_guest_waits_for_input_within_its_time(kind: str, tmp_path: Path) -> None:
    if kind == "pipe":
        reading, other = os.pipe()
    elif kind == "terminal":
        other, reading = os.openpty()
    else:
        os.mkfifo(tmp_path / "fifo")
        reading = other = os.open(tmp_path / "fifo", os.O_RDWR)
    begin = time.monotonic()
    done = emu("run", "--timeout", "0.3", str(static_program("x86_64")), stdin=reading, stdout=subprocess.DEVNULL)
    assert time.monotonic() - begin < 30
    for number in {reading, other}:
        os.close(number)
    assert done.returncode == 1
    assert b"stopped after 0.3 seconds" in done.stderr


def test_a_guest_waits_for_room_within_its_time(library: str) -> None:
    reading, writing = os.pipe()  # which nobody reads
    try:
        done = emu("call", "--timeout", "0.3", *DEFINED, library, "int flood()", stdout=writing)
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 1
    assert b"stopped after 0.3 seconds" in done.stderr


def test_what_a_stream_of_the_host_says_is_the_guests_errno(library: str) -> None:
    from emu import Machine

    def fail(data: bytes) -> None:
        raise OSError(errno.EDQUOT, "too much")

    source = "long write(int, const void *, long); int go(void) { return write(1, &go, 8); }\n"
    path = linked("riscv64", [compiled("riscv64", source, "-fPIC", "-w", "-Wno-error")])
    with Machine("riscv64") as machine:
        machine.libc.stdout.tee = fail
        assert machine.load(path).function("go", "int(void)")() == -1
