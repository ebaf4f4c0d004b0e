"""Options for what is recorded while the guest runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

from emu.cli.command import Option
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.machine import Machine


@dataclass(frozen=True)
class Observing:
    """The coverage and the trace that a command records."""

    coverage: Annotated[
        str | None,
        Option(
            "--coverage",
            metavar="FILE",
            help="Write which code ran: lcov, or drcov for .drcov; merged into a file that is there.",
        ),
    ] = None
    trace: Annotated[
        bool, Option("--trace", help="Print the calls of functions to standard error, as a tree.")
    ] = False
    trace_file: Annotated[
        str | None,
        Option(
            "--trace-file",
            metavar="FILE",
            help="Write the calls of functions: a tree (.txt), Chrome's format (.trace), or JSON.",
        ),
    ] = None

    @contextmanager
    def observed(self, machine: Machine) -> Iterator[None]:
        """Record what runs in the block, and write it, also when the block raises."""
        with ExitStack() as stack:
            if self.coverage is not None:
                coverage = machine.coverage()
                stack.callback(coverage.save, self.coverage, append=True)
                stack.enter_context(coverage)
            if self.trace or self.trace_file is not None:
                trace = machine.trace()
                if self.trace:
                    stack.callback(lambda: print(trace, file=sys.stderr))
                if self.trace_file is not None:
                    stack.callback(trace.save, self.trace_file)
                stack.enter_context(trace)
            yield
