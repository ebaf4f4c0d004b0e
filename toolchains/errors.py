"""What can go wrong while building fixtures or fetching libraries.

    ToolchainError
    ├── CompilerMissing      the compiler's package is not installed
    ├── BuildFailed          a compile or link command failed: names fixture, command and what it said
    ├── WrongRelocations     built, but the relocation kinds the recipe promises are not there
    └── FetchError           a real library cannot be had
        ├── ToolMissing        this host has no apt, dpkg-deb, or what a source wants
        └── Unreachable        the archive did not answer, or no longer has the package
"""

from __future__ import annotations

from collections.abc import Iterable


class ToolchainError(Exception):
    """The root of this package's errors."""


class CompilerMissing(ToolchainError):
    """The compiler cannot be found; the message says how to get it."""


class BuildFailed(ToolchainError):
    """`command` failed while building `fixture`; `output` is what it wrote to stderr."""

    def __init__(self, fixture: str, command: str, output: str) -> None:
        self.fixture = fixture
        self.command = command
        self.output = output
        super().__init__(f"{fixture}: this command failed:\n  {command}\n{output.rstrip()}")


class WrongRelocations(ToolchainError):
    """`fixture` was built without the relocation types in `missing`."""

    def __init__(self, fixture: str, missing: Iterable[str], found: Iterable[str]) -> None:
        self.fixture = fixture
        self.missing = tuple(sorted(missing))
        self.found = tuple(sorted(found))
        held = ", ".join(self.found) or "none"
        super().__init__(f"{fixture}: expected {', '.join(self.missing)}, but it holds only {held}")


class FetchError(ToolchainError):
    """A real library cannot be had."""


class ToolMissing(FetchError):
    """A program needed to fetch or build the library is not installed on this host."""


class Unreachable(FetchError):
    """The archive did not answer, or does not hold what was asked for."""
