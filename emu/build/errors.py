"""Errors of builds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from relink.errors import RelinkError

_ERROR = re.compile(r"\b(error|undefined reference|cannot|No such)\b")
_FOLDER = re.compile(r"^[^:]*/")
#: Headers of glibc that a distribution's 64-bit compiler may lack when it compiles for 32 bits.
_NO_HEADERS = re.compile(r"\b(gnu/stubs-\w+|bits/libc-header-start|sys/cdefs)\.h\b.*(No such file|not found)")


class BuildError(RelinkError):
    """Something cannot be built; the message says what and why."""


class NoSources(BuildError):
    """A pattern of source files, or the `{arch}` pattern of a binary, matches nothing."""


class CompilerMissing(BuildError):
    """No compiler for a target; the message says how to get one."""


class CompilerFailed(BuildError):
    """A compiler or linker failed: `command`, and `output`, which it printed."""

    def __init__(self, target: str, command: Sequence[str], output: str) -> None:
        self.target, self.command, self.output = target, tuple(command), output
        said = output.strip() or "it printed nothing"
        # First what a line of a summary has room for.
        first = next((line for line in said.splitlines() if _ERROR.search(line)), said.splitlines()[0])
        first = _FOLDER.sub("", first.strip())
        message = f"{target}: {first}\nThis command failed:\n  {shlex.join(command)}\n{said}"
        if _NO_HEADERS.search(output):
            message += (
                f"\n{command[0]} has no headers of the C library for {target}: pip install 'relink-emu[pytest]'"
                " brings a compiler that has them, -ffreestanding compiles without them"
            )
        super().__init__(message)
