"""Odd headers: what glibc's ld.so of an x86-64 host makes of each, function by function, and what it refuses."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from emu import Machine
from relink.errors import ElfError, LinkErrors
from tests.objects.build import compiled, linked
from tests.oracle.shapes import INTERP, REFUSED, STACK, TAKEN, Edit, Shape

SOURCE = """
    static int one(void) { return 1; } static int two(void) { return 2; }
    int (*const table[600])(void) = {one, two};
    int data[4] = {3, 4, 5, 6}; int *pointer = &data[2]; int bss[3000]; int later = 9;
    int get(void) { return table[0]() + 10 * table[1]() + 100 * *pointer + data[3]; }
    int zero(void) { int sum = 0; for (int i = 0; i < 3000; i++) sum += bss[i]; return sum; }
    int other(void) { return later + data[0]; }
    static int ran; __attribute__((constructor)) static void run(void) { ran = 42; }
    int constructed(void) { return ran; }
    """
FUNCTIONS = ("get", "zero", "other", "constructed")
ANSWERS = "527 0 12 42"
#: A process for each file: some end it.
HOST = """
import ctypes, os, sys
for path in sys.argv[1].split():
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        library = ctypes.CDLL(path)
        print(path, *(getattr(library, name)() for name in sys.argv[2:]), flush=True)
        os._exit(0)
    os.wait()
"""
LIVE = pytest.mark.skipif(
    (platform.system(), platform.machine(), platform.libc_ver()[0]) != ("Linux", "x86_64", "glibc"),
    reason="ld.so is asked where the host is x86-64 with glibc",
)


def shaped(folder: Path, edit: Edit, name: str = "libshape.so") -> Path:
    flags = ("--hash-style=both", "-z", "separate-code", "-z", "relro", "-z", "now", "-soname", "libshape.so")
    content = linked("x86_64", [compiled("x86_64", SOURCE, "-fPIC")], *flags).read_bytes()
    path = folder / name
    path.write_bytes(edit(Shape(content)).content)
    return path


@pytest.mark.parametrize("name", TAKEN)
def test_what_ld_so_takes_is_taken_and_answers_the_same(name: str, tmp_path: Path) -> None:
    path = shaped(tmp_path, TAKEN[name])
    with Machine("x86_64") as machine:
        library = machine.load(path)
        answers = " ".join(str(library.function(f, "int()")()) for f in FUNCTIONS)
    assert answers == ANSWERS


@pytest.mark.parametrize("name", REFUSED)
def test_what_ld_so_refuses_is_refused_by_name(name: str, tmp_path: Path) -> None:
    edit, problem = REFUSED[name]
    with Machine("x86_64") as machine, pytest.raises((ElfError, LinkErrors)) as caught:
        machine.load(shaped(tmp_path, edit))
    assert problem in str(caught.value)


@LIVE
def test_ld_so_of_the_host_agrees(tmp_path: Path) -> None:
    edits = {**TAKEN, **{name: edit for name, (edit, _) in REFUSED.items()}}
    paths = [shaped(tmp_path, edit, f"{number}.so") for number, edit in enumerate(edits.values())]
    command = [sys.executable, "-S", "-c", HOST, " ".join(map(str, paths)), *FUNCTIONS]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers = dict(line.split(" ", 1) for line in told.splitlines())
    assert {name: answers.get(str(path)) for name, path in zip(edits, paths, strict=True)} == {
        name: ANSWERS if name in TAKEN else None for name in edits
    }


def test_a_library_with_an_interpreter_may_be_needed(tmp_path: Path) -> None:
    """glibc takes it (libc.so.6 itself has one)."""
    path = shaped(tmp_path, lambda s: s.change(s.of(STACK)[0], type=INTERP, offset=0x40, vaddr=0x40, filesz=4))
    user = compiled("x86_64", "int get(void); int relay(void) { return get(); }", "-fPIC")
    client = linked("x86_64", [user, path], "-soname", "libclient.so")
    with Machine("x86_64", library_path=[tmp_path]) as machine:
        assert machine.load(client).function("relay", "int()")() == 527
