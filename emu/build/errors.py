"""Errors of builds."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from relink.errors import RelinkError


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
        super().__init__(f"for {target} this command failed:\n  {shlex.join(command)}\n{said}")
