"""What is odd about a file: what no loader minds is kept as a warning, what every loader minds is raised.

The rule for which is which: what glibc's ld.so, musl, bionic or Linux load is a warning; what none of them does is
an error. A reader that only wants to look at a file (`tolerant`) keeps the errors too.
"""

from __future__ import annotations

from relink.errors import ElfError, MalformedElf
from relink.records import dataclass, field


@dataclass(eq=False)
class Findings:
    """Gathers them for the file `name`, in the order of finding. Tables are read when first asked for, so it
    grows."""

    name: str
    tolerant: bool = False  #: keep errors in `problems`, and go on without what they are about
    warnings: list[ElfError] = field(default_factory=list)
    problems: list[ElfError] = field(default_factory=list)

    def warn(self, problem: str, offset: int | None = None) -> None:
        """Something breaks the gABI, and loaders take it all the same."""
        if not any(known.problem == problem for known in self.warnings):
            self.warnings.append(MalformedElf(self.name, problem, offset))

    def refuse(self, error: ElfError) -> None:
        """Something no loader takes: raised, or kept where the reader is tolerant."""
        if not self.tolerant:
            raise error
        self.problems.append(error)
