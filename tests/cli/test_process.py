"""The command as a process: signals, pipes, colours, start-up. Few, since each costs a process."""

from __future__ import annotations

import os
import platform
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu.libc.table import FAMILIES
from tests.fixtures import fixture
from tests.grouping import each
from tests.real import real_library

COMMAND = [sys.executable, "-m", "emu.cli"]

QUIET = ("int survivor(int)(1)", "void loop_forever(void)()")  #: calls without a guess to warn of


def start(*arguments: object, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )


def on_a_terminal(*arguments: object, **variables: str) -> bytes:
    """What the command prints to a terminal."""
    main, side = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=side, stderr=side, env=environment | {"TERM": "xterm"} | variables
    )
    os.close(side)
    output = b""
    while select.select([main], [], [], 30)[0]:
        try:
            piece = os.read(main, 65536)
        except OSError:  # how Linux says that nobody holds the other side any more
            break
        if not piece:
            break
        output += piece
    process.wait(30)
    os.close(main)
    return output


def test_terminal_gets_colour_unless_no_color_is_set() -> None:
    command = ("load", fixture("i386", "basic"), "-D", "my_host_function=0")
    assert b"\x1b[" in on_a_terminal(*command)
    plain = on_a_terminal(*command, NO_COLOR="1")
    assert b"Relocations" in plain
    assert b"\x1b[3" not in plain  # bold and dim are no colours


def test_numpy_starts_no_threads_and_children_are_not_told() -> None:
    """Its BLAS has one for each core, unless a variable is set, which is not for other programs' libraries."""
    code = """
import os, sys
from emu.cli import main
try:
    main(["inspect", sys.argv[1]])
finally:
    print("numpy" in sys.modules, len(os.listdir("/proc/self/task")), "OPENBLAS_NUM_THREADS" in os.environ)
"""
    environment = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", code, str(fixture("x86_64", "basic"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True 1 False"


def test_what_numpy_imports_is_run_when_somebody_asks() -> None:
    code = """
import sys
from emu.cli.app import run
run(["inspect", sys.argv[1]])
import numpy
from numpy.linalg._linalg import EigResult
found = [each.__name__ for each in sys.meta_path if each.__module__ == "emu.cli.numpy_import"]
print(numpy.array.__doc__, "ArrayLike" in vars(sys.modules["numpy._typing"]), found)
annotations = EigResult.__annotations__
from typing import get_origin, get_type_hints
from numpy.typing import ArrayLike, NDArray
array = numpy.ndarray
print(annotations == get_type_hints(EigResult), get_origin(annotations["eigenvalues"]) is array is get_origin(
    getattr(NDArray, "__value__", NDArray[int])))
import pickle, platform, textwrap, tokenize
print(pickle.loads(pickle.dumps(numpy.arange(3))).sum(), platform.python_version(), hasattr(tokenize, "absent"))
import numpy.ma, numpy.random, numpy.testing
from numpy._core import _add_newdocs
_add_newdocs.add_newdoc
print("Create an array" in numpy.array.__doc__)
"""
    command = [sys.executable, "-c", code, str(fixture("x86_64", "basic"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-4:] == [
        "None False []",
        "True True",
        f"3 {platform.python_version()} False",
        "True",
    ]


def test_pipe_gets_plain_text_and_whole_lines(tmp_path: Path) -> None:
    long = tmp_path / ("long-" * 30 + ".so")
    long.write_bytes(fixture("i386", "basic").read_bytes())
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    out, err = start("inspect", long, env=environment).communicate(timeout=30)
    assert b"\x1b" not in out + err
    assert str(long).encode() in out


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_running_guest_at_once_and_quietly() -> None:
    process = start("call", fixture("aarch64", "faults"), "-D", "host_callback=0", *QUIET)
    assert process.stdout is not None
    assert process.stdout.readline() == b"2\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert (out, err) == (b"", b"")


def test_reader_that_goes_away_is_no_error() -> None:
    process = start("inspect", "--symbols", fixture("x86_64", "hash_many"), "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) in (0, -signal.SIGPIPE)


def test_debug_shows_where_an_error_comes_from() -> None:
    for arguments, variables in ((["--debug"], {}), ([], {"RELINK_EMU_DEBUG": "1"})):
        process = start("load", "/no/such.so", *arguments, env={**os.environ, **variables})
        _, err = process.communicate(timeout=30)
        assert b"Traceback" in err
        assert process.returncode == 1


def test_help_imports_no_engine_no_numpy_and_no_linker() -> None:
    unwanted = (
        "numpy",
        "relink.linker",
        "relink.elf",
        "relink.arch",
        "unicorn",
        "icicle",
        "pycparser",
        "emu.machine",
    )
    script = (
        "import sys; from emu.cli.app import run; run(['--help']);"
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


#: What no load needs, of this project's and others' modules.
NOT_FOR_LOADS = (
    *("icicle", "unicorn", "pycparser", "elftools", "capstone", "keystone", "rich.table", "pydemumble"),
    *("dataclasses", "decimal", "fractions", "html", "importlib.resources", "subprocess", "tempfile", "zipfile"),
    *("logging", "traceback", "numpy.ma", "numpy.typing", "relink.elf.section_table"),
)


def imported(*arguments: object) -> list[str]:
    """The modules that a process has imported after a command."""
    script = (
        f"import sys; from emu.cli.app import run;run({[str(each) for each in arguments]!r}); print(*sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return out.splitlines()[-1].split()


def test_small_load_imports_no_c_parser_and_no_other_engine() -> None:
    found = imported("load", fixture("x86_64", "basic"), "-D", "my_host_function=0", "--json")
    assert not set(found).intersection((*NOT_FOR_LOADS, "emu.cpu.corrections.find_x86", "emu.cpu.unicorn.cpu"))
    assert len([name for name in found if name.startswith(("emu.", "relink."))]) < 195


@each("arch", ["x86_64", "aarch64", "riscv64"])
def test_load_of_a_real_library_imports_what_its_constructors_and_destructors_call(arch: str) -> None:
    """Of libc's families that of __cxa_finalize, and of the variable __stack_chk_guard where it is imported;
    nothing for the functions that are bound.
    """
    found = imported("load", real_library(arch, "libz.so.1"), "--arch", arch, "--json")
    assert not set(found).intersection(NOT_FOR_LOADS)
    families = ["handlers"] if arch == "x86_64" else ["process", "handlers"]
    assert [name for name in FAMILIES if f"emu.libc.{name}" in found] == families
    assert len([name for name in found if name.startswith(("emu.", "relink."))]) < 300
