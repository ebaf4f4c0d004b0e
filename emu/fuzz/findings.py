"""What a fuzzer has found: inputs, crashes, hangs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from emu.errors import BudgetExceeded, Frame, GuestAbort, GuestFault, UnresolvedCall


@dataclass(eq=False)
class Finding:
    """An input that makes a call fail, the shortest of its kind seen so far."""

    data: bytes
    error: Exception  #: GuestFault, GuestAbort, BudgetExceeded, an exception of a host function, ...
    key: Hashable  #: the kind: what failed, and where
    run: Callable[[bytes], Exception | None] = field(repr=False)  #: of the fuzzer
    count: int = 1  #: executions that failed so

    def replay(self) -> Exception | None:
        """Run the input again, with breakpoints, traces and coverage as usual. Returns the error; None if there is
        none any more. The machine is then as before. Raises as `Fuzzer.run`.
        """
        return self.run(self.data)


@dataclass(eq=False)
class Found:
    """What a fuzzer has found so far, in all its runs."""

    corpus: list[bytes]  #: the seeds, and inputs that have reached new edges, in this order
    executions: int = 0
    seconds: float = 0.0
    edges: int = 0  #: pairs of blocks that ran one after the other (icicle: blocks)
    crashes: list[Finding] = field(default_factory=list)
    hangs: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0.0
        return (
            f"{self.executions} executions ({rate:.0f}/s), {self.edges} edges, {len(self.corpus)} inputs, "
            f"{len(self.crashes)} crashes, {len(self.hangs)} hangs"
        )


def kind_of(error: Exception) -> Hashable:
    """A key that is equal for errors of probably one bug: what happened, and the place in the code."""
    match error:
        case GuestFault():
            place = _place(error.frame, *error.backtrace)
            return error.reason, *(place or ("nowhere",))
        case BudgetExceeded():
            return "hang", error.frame.image, error.frame.symbol
        case GuestAbort():
            return "abort", error.detail
        case UnresolvedCall():
            return "unresolved", error.symbol
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__, *((frames[-1].filename, frames[-1].lineno) if frames else ())


def _place(*frames: Frame) -> Sequence[Hashable] | None:
    """The innermost frame that is in an image: a wild jump is identified by its caller."""
    for frame in frames:
        if frame.image is not None:
            return frame.image, frame.symbol, frame.offset
    return None
