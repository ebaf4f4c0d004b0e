"""Errors of building fixtures. Those of fetching libraries are in `emu.fetch.errors`.

ToolchainError
    CompilerMissing      the compiler's package is not installed
    CompilerTooOld       it is installed, but cannot build the fixtures
    EngineMissing        no container engine, or it does not answer
    BuildFailed          a compile or link command failed: has fixture, command and output
    BuildsFailed         all that failed in one build
    WrongRelocations     built, but required relocation types are missing
"""

from __future__ import annotations

from collections.abc import Iterable


class ToolchainError(Exception):
    """The root of this package's errors."""


class CompilerMissing(ToolchainError):
    """The compiler cannot be found; the message says how to get it."""


class CompilerTooOld(ToolchainError):
    """`tool` has the version `version`; at least `least` is required."""

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
    """All failures of one build, in `failures` and in the message."""

    def __init__(self, failures: Iterable[ToolchainError]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n".join(map(str, self.failures)))
