"""Warnings and errors about a file that violates the gABI.

A file that glibc's ld.so, musl, bionic or Linux loads despite the violation gets a warning; one that none of them
loads is an error. A tolerant reader, which only inspects the file, collects the errors too.
"""

from __future__ import annotations

from relink.errors import ElfError, MalformedElf
from relink.records import dataclass, field


@dataclass(eq=False)
class Findings:
    """The warnings and problems of the file `name`, in the order they were found. Tables are read on first access,
    so more may be added.
    """

    name: str
    #: collect errors in `problems` instead of raising them, and leave out the part they concern
    tolerant: bool = False
    warnings: list[ElfError] = field(default_factory=list)
    problems: list[ElfError] = field(default_factory=list)

    def warn(self, problem: str, offset: int | None = None) -> None:
        """Add a warning: the file violates the gABI, but loaders accept it."""
        if not any(known.problem == problem for known in self.warnings):
            self.warnings.append(MalformedElf(self.name, problem, offset))

    def refuse(self, error: ElfError) -> None:
        """Raise an error that no loader accepts, or collect it when the reader is tolerant."""
        if not self.tolerant:
            raise error
        self.problems.append(error)
