"""Linker scripts in place of a library: `libc.so`, glibc's `libm.a`, `libncurses.so`.

Such a file is text that names other files (GNU ld manual, "Commands Dealing with Files"):

    OUTPUT_FORMAT(elf64-x86-64)
    GROUP ( /lib/x86_64-linux-gnu/libc.so.6 libc_nonshared.a AS_NEEDED ( /lib64/ld-linux-x86-64.so.2 ) )
    INPUT ( libncurses.so.6 -ltinfo )

Commands that name inputs are read; commands that do not affect them (OUTPUT_FORMAT, …) are skipped. A script that
lays out an output (SECTIONS, MEMORY, PHDRS) raises an error: it does not stand for a library.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from relink.arrays import U8
from relink.elf.source import map_file
from relink.errors import UnsupportedElf, printable
from relink.records.tuples import NamedTuple

MOST_BYTES = 1 << 20  #: size limit in bytes; real scripts have a few hundred
#: Patterns are compiled when they are first used: few processes read a script.
_COMMENT = r"(?s)/\*.*?\*/"
_TOKEN = r'"[^"]*"|[(),;]|[^\s(),;"]+'
_INPUTS = frozenset({"INPUT", "GROUP"})
_PASSED_OVER = frozenset({"OUTPUT_FORMAT", "OUTPUT_ARCH", "SEARCH_DIR", "TARGET", "OUTPUT", "ENTRY", "EXTERN"})
#: The start of a script after its comments.
_BEGINS = r"\s*(?:" + "|".join(sorted(_INPUTS | _PASSED_OVER | {"AS_NEEDED"})) + r")\s*\("


class ScriptInput(NamedTuple):
    """A file that a script names."""

    name: str  #: as written: a path, a file name, or -lNAME
    as_needed: bool  #: AS_NEEDED: linked only when something refers to it

    @property
    def file_names(self) -> list[str]:
        """The file names to search for, in order of preference: two for -lNAME."""
        if not self.name.startswith("-l"):
            return [self.name]
        return [f"lib{self.name[2:]}.so", f"lib{self.name[2:]}.a"]


def is_linker_script(data: U8) -> bool:
    """Whether a file is text that begins with a linker script command."""
    if not len(data) or data[0] in (0x7F, 0x21) or len(data) > MOST_BYTES:  # an ELF file or an archive
        return False
    text = data.tobytes()
    return b"\0" not in text and re.match(_BEGINS, re.sub(_COMMENT, " ", text.decode("latin-1"))) is not None


def is_script_file(source: object) -> bool:
    """Whether a path is that of a linker script. An ELF file or an archive is not mapped for this, a file that is
    too large not opened.
    """
    if not isinstance(source, str | os.PathLike):
        return False
    try:
        status = os.stat(source)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            return False  # not even opened: opening a named pipe waits for a writer
        file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)  # a third of the time of `open`
        try:
            if os.read(file, 1) in (b"\x7f", b"!", b""):
                return False
        finally:
            os.close(file)
    except (OSError, ValueError):
        return False
    return is_linker_script(map_file(Path(source), os.fspath(source)))


def neighbour(script: Path, data: U8) -> Path:
    """A file that a linker script names and that is in the script's folder; its architecture is the script's.

    Raises UnsupportedElf when that folder has none of the files.
    """
    for wanted in script_inputs(str(script), data):
        for name in wanted.file_names:
            path = script.parent / PurePosixPath(name).name
            if path.is_file() and not path.samefile(script) and not is_script_file(path):
                return path
    raise UnsupportedElf(str(script), "is a linker script, and none of the files it names lies beside it")


def script_kind(start: bytes) -> str | None:
    """The description, for errors, of a linker script where an ELF file is required; None for another file."""
    text = start.decode("latin-1")
    if re.match(_BEGINS, re.sub(_COMMENT, " ", text)) or text.startswith("/* GNU ld script"):
        return "is a linker script, text that names other files (GROUP, INPUT), not ELF"
    return None


def script_inputs(name: str, data: U8) -> list[ScriptInput]:
    """The files that a script names, in order. Raises UnsupportedElf for a script that names no inputs or has
    other commands.
    """
    tokens = re.findall(_TOKEN, re.sub(_COMMENT, " ", data.tobytes().decode("utf-8", "surrogateescape")))
    found: list[ScriptInput] = []
    rest = iter(tokens)
    for command in rest:
        if command == ";":
            continue
        if command not in _INPUTS | _PASSED_OVER:
            raise UnsupportedElf(
                name, f"is a linker script with {printable(command)}, not one that names libraries"
            )
        inside = _parenthesised(name, command, rest)
        if command in _INPUTS:
            found += _named(name, inside)
    if not found:
        raise UnsupportedElf(name, "is a linker script that names no file")
    return found


def _parenthesised(name: str, command: str, rest: Iterator[str]) -> list[str]:
    """The tokens between the parentheses that follow a command."""
    inside: list[str] = []
    depth = 0
    for token in rest:
        depth += (token == "(") - (token == ")")
        if token == ")" and depth <= 0:
            return inside
        if depth == 0:
            break
        if depth > 1 or token != "(":
            inside.append(token)
    raise UnsupportedElf(name, f"is a linker script in which {command} has no closing parenthesis")


def _named(name: str, tokens: Sequence[str]) -> Iterator[ScriptInput]:
    as_needed = False
    for token in tokens:
        if token in ("AS_NEEDED", ")"):
            as_needed = token == "AS_NEEDED"
        elif token not in ("(", ",", ";"):
            text = token.strip('"')
            if not text or text == "-l" or (text.startswith("-") and not text.startswith("-l")):
                raise UnsupportedElf(
                    name, f"is a linker script that names {printable(token)}, which is not a file name"
                )
            yield ScriptInput(text, as_needed)
