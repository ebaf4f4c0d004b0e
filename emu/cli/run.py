"""`relink-emu run`: run a program."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emu.cli.command import Usage
from emu.cli.streams import GuestInput, GuestOutput
from emu.cli.text import printable

if TYPE_CHECKING:
    from emu.cli.observing import Observing
    from emu.cli.options import Running, Search, Target
    from emu.machine import Machine
    from emu.personality import Program


def run(
    target: Target,
    search: Search,
    running: Running,
    observing: Observing,
    program: str,
    arguments: Sequence[str],
    environment: Sequence[str],
    files: Sequence[str],
    *,
    called: str | None,
    verbose: bool,
) -> int:
    """Run `program` with the standard streams and return its exit status. Raises RelinkError, Usage."""
    arch = target.of(program, search)
    variables = dict(_pair(text, "--env") for text in environment)
    room = _tls_size(program)
    own = dict(_files(files))
    given = GuestInput()
    with running.machine(arch, search, [program], files=own, stdin=given.read, tls_size=room) as machine:
        given.check_budget = machine.runner.check_budget
        for stream, passed_to in ((machine.libc.stdout, sys.stdout), (machine.libc.stderr, sys.stderr)):
            stream.tee, stream.keep = GuestOutput(passed_to.buffer, machine.runner.check_budget).write, False
        process = machine.start(
            program,
            [program if called is None else called, *arguments],
            variables,
            base=running.address,
            preload=search.preload or (),
            allow_unresolved=running.allow_unresolved,
        )
        try:
            with observing.observed(machine):
                return process.run()
        finally:
            if verbose:
                for line in _remarks(machine, process):
                    print(f"relink-emu: {printable(line)}", file=sys.stderr)


def _tls_size(program: str) -> int:
    """The static TLS size for a program; 0 when the file is not here or not readable, which `start` reports."""
    from relink.elf import decode
    from relink.errors import ElfError
    from relink.tls import static_size_for

    try:
        return static_size_for(decode(program))
    except ElfError:
        return 0


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Usage(f"{text!r} is not of the form NAME=VALUE", param_hint=f"'{option}'")
    return name, value


def _files(texts: Sequence[str]) -> Iterator[tuple[str, bytes | bytearray]]:
    """Host files for the guest's file system: PATH, or PATH=FILE."""
    for text in texts:
        path, _, file = text.partition("=")
        try:
            yield path, Path(file or path).read_bytes()
        except OSError as error:
            raise Usage(f"{file or path} cannot be read: {error.strerror}", param_hint="'--file'") from None


def _remarks(machine: Machine, process: Program) -> Iterator[str]:
    """The information of `--verbose` about a run."""
    for image in machine.linker.images:
        yield f"{image.name} at {image.base:#x}"
        for copied in image.relocated.copies:
            yield str(copied)
    for name, times in machine.syscalls.unknown.items():
        yield f"unknown {name}: returned ENOSYS {times} times"
    end = "did not exit" if process.status is None else f"exited with {process.status}"
    yield f"{process.image.name} {end}"
