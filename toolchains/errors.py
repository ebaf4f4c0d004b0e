"""What can go wrong while building fixtures or fetching libraries.

ToolchainError
├── CompilerMissing      the compiler's package is not installed
├── CompilerTooOld       it is installed, and cannot make what the fixtures want
├── EngineMissing        no container engine, or it does not answer
├── BuildFailed          a compile or link command failed: names fixture, command and what it said
├── BuildsFailed         all that failed in one build
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


class CompilerTooOld(ToolchainError):
    """`tool` calls itself `version`; release `least` is wanted."""

    def __init__(self, tool: str, version: str, least: tuple[int, int]) -> None:
        self.tool = tool
        wanted = ".".join(map(str, least))
        super().__init__(
            f"{tool} is too old for the fixtures: it says {version!r}, and {wanted} is wanted, as in Debian 13. "
            "Build in a container instead: --engine docker, --engine buildah"
        )


class EngineMissing(ToolchainError):
    """The container engine is not installed or does not answer; the message says what to do."""


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


class BuildsFailed(ToolchainError):
    """Every failure of one build, in `failures`; the message says them all."""

    def __init__(self, failures: Iterable[ToolchainError]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n".join(map(str, self.failures)))


class FetchError(ToolchainError):
    """A real library cannot be had."""


class ToolMissing(FetchError):
    """A program needed to fetch or build the library is not installed on this host."""


class Unreachable(FetchError):
    """The archive did not answer, or does not hold what was asked for."""
