"""Odd headers: what the real dynamic linkers make of each, function by function, and what they refuse."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from emu import Machine
from relink.errors import ElfError, LinkErrors
from tests.objects.build import compiled, linked
from tests.oracle.shape_goldens import ANSWERS, ARCHES, EDITS, FUNCTIONS, asked, read, shaped
from tests.oracle.shapes import INTERP, REFUSED, STACK, TAKEN
from tests.oracle.test_live import available_oracle
from toolchains.oracle.run import Oracle
from toolchains.targets import VARIANTS

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


@pytest.mark.parametrize("name", TAKEN)
def test_what_ld_so_takes_is_taken_and_answers_the_same(name: str, tmp_path: Path) -> None:
    path = shaped("x86_64", tmp_path, TAKEN[name])
    with Machine("x86_64") as machine:
        library = machine.load(path)
        answers = " ".join(str(library.function(f, "int()")()) for f in FUNCTIONS)
    assert answers == ANSWERS


@pytest.mark.parametrize("name", REFUSED)
def test_what_ld_so_refuses_is_refused_by_name(name: str, tmp_path: Path) -> None:
    edit, problem = REFUSED[name]
    with Machine("x86_64") as machine, pytest.raises((ElfError, LinkErrors)) as caught:
        machine.load(shaped("x86_64", tmp_path, edit))
    assert problem in str(caught.value)


@LIVE
def test_ld_so_of_the_host_agrees(tmp_path: Path) -> None:
    edits = {**TAKEN, **{name: edit for name, (edit, _) in REFUSED.items()}}
    paths = [shaped("x86_64", tmp_path, edit, f"{number}.so") for number, edit in enumerate(edits.values())]
    command = [sys.executable, "-S", "-c", HOST, " ".join(map(str, paths)), *FUNCTIONS]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answers = dict(line.split(" ", 1) for line in told.splitlines())
    assert {name: answers.get(str(path)) for name, path in zip(edits, paths, strict=True)} == {
        name: ANSWERS if name in TAKEN else None for name in edits
    }


def test_a_library_with_an_interpreter_may_be_needed(tmp_path: Path) -> None:
    """glibc takes it (libc.so.6 itself has one)."""
    path = shaped(
        "x86_64", tmp_path, lambda s: s.change(s.of(STACK)[0], type=INTERP, offset=0x40, vaddr=0x40, filesz=4)
    )
    user = compiled("x86_64", "int get(void); int relay(void) { return get(); }", "-fPIC")
    client = linked("x86_64", [user, path], "-soname", "libclient.so")
    with Machine("x86_64", library_path=[tmp_path]) as machine:
        assert machine.load(client).function("relay", "int()")() == 527


#: What is taken or refused here and not there: (architecture, shape) -> why.
DIFFERENT = {
    ("riscv32", "DT_NEEDED of an empty name"): "musl looks for a file of that name; taken as by glibc",
    ("riscv32", "FreeBSD"): "musl does not look at EI_OSABI; refused as by glibc",
    ("riscv32", "of another machine"): "musl does not look at e_machine",
    ("arm", "e_flags"): "another EABI version, by which calls would go wrong; glibc does not look",
    ("loongarch64", "e_flags"): "another ABI, by which calls would go wrong; glibc does not look",
    ("loongarch64", "executable stack"): "glibc 2.41 and later do not make the stack executable for dlopen",
}


def answered(arch: str, path: Path) -> str | None:
    """What we make of a shape: the answers, or None where it is refused."""
    with Machine(arch) as machine:
        try:
            library = machine.load(path)
            return " ".join(str(library.function(f, "int()")()) for f in FUNCTIONS)
        except (ElfError, LinkErrors):
            return None


@pytest.mark.parametrize("arch", ARCHES)
def test_other_targets_ld_so_agrees(arch: str, tmp_path: Path) -> None:
    known = read()[arch]["answers"]
    assert set(known) == set(EDITS)
    wrong = {
        name: found
        for name, edit in EDITS.items()
        if (found := answered(arch, shaped(arch, tmp_path, edit))) != known[name]
    }
    assert set(wrong) == {name for of, name in DIFFERENT if of == arch}, wrong


@pytest.mark.real
@pytest.mark.parametrize("arch", ARCHES)
def test_ld_so_still_says_what_the_golden_says(arch: str, tmp_path: Path) -> None:
    available_oracle(f"{arch}-clang")
    known = read()[arch]["answers"]
    with Oracle(VARIANTS[f"{arch}-clang"]) as oracle:
        for name in ("plain", "short PT_DYNAMIC", "overlapping segments", "GNU hash without buckets"):
            assert asked(oracle, arch, tmp_path, EDITS[name]) == known[name], name
