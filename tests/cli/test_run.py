"""`relink-emu run`."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures import fixture
from tests.machine.static_programs import static_program
from tests.machine.test_programs import copying, shared
from tests.objects.build import TARGETS, compiled, linked, program

from .conftest import RunCommand


class _Input(io.TextIOWrapper):
    """Standard input of given bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BufferedReader(io.BytesIO(data)))


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS)
def test_status_streams_arguments_and_environment_are_the_programs(
    relink_emu: RunCommand, target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b"a line\n"))
    data = tmp_path / "data.txt"
    data.write_bytes(b"first\nend\n")
    result = relink_emu(
        "run",
        "-e",
        "HOME=/h",
        "--file",
        f"/data.txt={data}",
        "--argv0",
        "called",
        static_program(target),
        "--json",
        "-e",
        "--",
        "last",
    )
    assert (result.status, result.err) == (42, "to stderr\n")
    lines = result.out.splitlines()
    assert [line for line in lines if line.startswith("argv")] == [
        "argv called",
        "argv --json",
        "argv -e",
        "argv --",
        "argv last",
    ]
    assert [line for line in lines if line.startswith("env")] == ["env HOME=/h"]
    assert {"read first", "end end", "stdin a line"} <= set(lines)
    assert lines[-1] == "destructor"


def test_libraries_are_found_and_remarks_made_on_request(relink_emu: RunCommand) -> None:
    library, program = shared("riscv64"), copying("riscv64", "fixed")
    folder = library.parent / "run"
    folder.mkdir(exist_ok=True)
    (folder / "libshared.so").write_bytes(library.read_bytes())
    quiet = relink_emu("run", "-L", folder, program, "last")
    assert (quiet.status, quiet.err) == (3, "")
    told = relink_emu("run", "-v", "-L", folder, program, "last")
    assert (told.status, told.out) == (3, quiet.out)
    assert "counter: 4 bytes copied from " in told.err
    assert f"{program} exited with 3" in told.err


def test_unknown_system_calls_are_remarked_upon(relink_emu: RunCommand) -> None:
    from tests.objects.build import compiled, program

    source = '#include "start.h"\nvoid begin(word *stack) { kernel(9999, 0, 0, 0); kernel(EXIT, 0, 0, 0); }\n'
    folder = Path(__file__).parents[1] / "machine" / "sources"
    path = program("loongarch64", [compiled("loongarch64", source, f"-I{folder}")], "-no-pie")
    assert relink_emu("run", path).err == ""
    assert "unknown system call 9999: returned ENOSYS 1 times" in relink_emu("run", "-v", path).err


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ((), 2, "Usage"),
        (("-e", "HOME", "x"), 2, "NAME=VALUE"),
        (("--file", "/no/such", "x"), 2, "cannot be read"),
        (("/no/such",), 1, "cannot be read"),
        (("--with", "x", "y"), 2, "No such option"),
    ],
)
def test_what_cannot_be_meant_or_read(
    relink_emu: RunCommand, arguments: tuple[str, ...], status: int, problem: str
) -> None:
    target = [part if part != "x" else str(static_program("arm")) for part in arguments]
    result = relink_emu("run", *target)
    assert result.status == status
    assert problem in result.err + result.out


def test_a_library_is_no_program(relink_emu: RunCommand) -> None:
    result = relink_emu("run", "-D", "my_host_function=0", fixture("arm", "basic"))
    assert result.status == 1
    assert "has no entry" in result.err


def test_a_guest_that_aborts_or_runs_away_is_an_error_with_a_message(relink_emu: RunCommand) -> None:
    aborted = relink_emu("run", static_program("i386"), "abort")
    assert (aborted.status, "SIGABRT" in aborted.err) == (1, True)
    stopped = relink_emu("run", "--max-instructions", "500", static_program("i386"))
    assert (stopped.status, "stopped after 500 instructions" in stopped.err) == (1, True)
    fault = relink_emu("run", static_program("i386"), "fault")
    assert fault.status == 1
    assert "write to unmapped memory at 0x10" in fault.err


def test_input_is_read_as_it_comes_and_output_is_not_kept_back() -> None:
    command = [sys.executable, "-m", "emu.cli", "run", str(static_program("x86_64"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b"through a pipe\n", timeout=60)
    assert process.returncode == 42
    assert b"stdin through a pipe\n" in out


def test_a_program_has_room_for_as_much_thread_local_storage_as_it_wants(relink_emu: RunCommand) -> None:
    """Dynamic, so that the machine lays it out, and not the program's own C library."""
    text = """
_Thread_local char big[300000] = {5};
void exit(int) __attribute__((noreturn));
void _start(void) { big[299999] = 7; exit(big[0] + big[299999]); }
"""
    stub = linked("riscv64", [compiled("riscv64", "void exit(int status) {}\n", "-fPIC")], "-soname=libc.so.6")
    parts = [compiled("riscv64", text, "-fPIE"), stub]
    assert relink_emu("run", program("riscv64", parts, "-pie", "--dynamic-linker=/lib/ld.so")).status == 12
