"""Debian's programs, with Debian's C library and with the hosted one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emu import Machine
from emu.fetch.debian import Sysroot
from tests.fixtures import ARCHES
from tests.grouping import each
from tests.machine.test_programs import tell
from tests.real import real_library, real_root
from toolchains.errors import ToolchainError


def real_program_of(arch: str, package: str, path: str) -> Path:
    """A program of a Debian package; skips, with the reason, where it is not to be had."""
    real_library(arch, "libc.so.6")
    try:
        Sysroot(arch).fetch((package,))
    except ToolchainError as error:
        pytest.skip(f"{package} for {arch} is not to be had: {error}")
    return real_root(arch) / path


@pytest.mark.real
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch != "riscv32"])
def test_busybox_of_debian_runs_its_shell(arch: str) -> None:
    """Linked with glibc, statically."""
    path = real_program_of(arch, "busybox-static", "usr/bin/busybox")
    script = 'i=0; while [ $i -lt 3 ]; do i=$((i+1)); printf "%d " $((i*i)); done; echo $HOME; exit 9'
    with Machine(arch, stdin=b"pear\nfig\n") as machine:
        assert machine.run(path, ["sh", "-c", script], {"HOME": "/home"}) == 9
        assert machine.libc.stdout.getvalue() == b"1 4 9 /home\n"
    with Machine(arch, stdin=b"pear\nfig\n") as machine:
        assert machine.run(path, ["sort"]) == 0
        assert machine.libc.stdout.getvalue() == b"fig\npear\n"
        assert set(machine.syscalls.unknown) <= {"rseq", "riscv_hwprobe"}


CORE = {
    ("echo", "-e", r"one\ttwo"): (0, b"one\ttwo\n", b""),
    ("true",): (0, b"", b""),
    ("false",): (1, b"", b""),
    ("basename", "-s", ".c", "/a/b.c", "x/y.c"): (0, b"b\ny\n", b""),
    ("seq", "-w", "8", "10"): (0, b"08\n09\n10\n", b""),
    ("printenv", "HOME"): (0, b"/home\n", b""),
    ("basename", "--bad"): (
        1,
        b"",
        b"basename: unrecognized option '--bad'\nTry 'basename --help' for more information.\n",
    ),
}


@pytest.mark.real
@each("command", CORE, ids="_".join)
@pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch != "riscv32"])
def test_coreutils_of_debian_run_on_the_hosted_c_library(arch: str, command: tuple[str, ...]) -> None:
    """Position-independent, linked against glibc, with copies of its variables on x86-64."""
    path = real_program_of(arch, "coreutils", f"usr/bin/{command[0]}")
    status, out, err = CORE[command]
    with Machine(arch, sysroot=real_root(arch)) as machine:
        assert machine.run(path, command, {"HOME": "/home"}) == status
        assert (machine.libc.stdout.getvalue(), machine.libc.stderr.getvalue()) == (out, err)


def test_nothing_of_the_hosts_environment_comes_through() -> None:
    assert os.environ
    with Machine("x86_64") as machine:
        machine.run(tell("x86_64", "fixed"))
        assert b"env " not in machine.libc.stdout.getvalue()
