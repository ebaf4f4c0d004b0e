"""`Call`: one call of a trace, and traces as trees, JSON and Chrome's trace format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emu.debug.demangle import source_name
from relink.errors import printable
from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.elf.decoded import Decoded
    from relink.elf.dwarf_lines import SourceLine

#: How a call ended.
RETURNED, UNWOUND, ABANDONED, OPEN = "returned", "unwound", "abandoned", "open"


@dataclass(eq=False)
class Call:
    """One call. Times are numbers of instructions since the trace began."""

    function: str  #: as the symbol table has it; in texts the source's name, without parameters
    image: str  #: short name of its image; "[host]" for a host function
    depth: int  #: number of traced calls around it
    arguments: tuple[str, ...] | None  #: as text; None where no prototype is known
    start: int
    end: int = 0
    result: str | None = None  #: None for void, where no prototype is known, and where it did not return
    #: "returned"; "unwound" by longjmp or an exception; "abandoned" when the call from Python failed; "open" when
    #: the trace ended before.
    outcome: str = OPEN
    tail: bool = False  #: reached by a jump from the call around it, to whose caller it returns
    parent: Call | None = None
    calls: list[Call] = field(default_factory=list)  #: those it made
    site: tuple[Decoded, int] | None = None  #: the file of its caller, and the link-time address it returns to

    @property
    def line(self) -> SourceLine | None:
        """The source line of the call, if DWARF has it."""
        if self.site is None:
            return None
        from relink.elf.dwarf_lines import source_line

        decoded, address = self.site
        return source_line(decoded, address - 1)

    def __str__(self) -> str:
        name = source_name(self.function) or self.function
        arguments = "…" if self.arguments is None else ", ".join(self.arguments)
        after = "" if self.outcome == RETURNED else f" [{self.outcome}]"
        result = "" if self.result is None else f" = {self.result}"
        return f"{'-> ' if self.tail else ''}{printable(name)}({arguments}){result}{after}"

    def facts(self) -> dict[str, Any]:
        """The call as JSON has it, with the calls it made."""
        line = self.line
        return {
            "function": self.function,
            "image": self.image,
            "depth": self.depth,
            "arguments": self.arguments,
            "result": self.result,
            "outcome": self.outcome,
            "tail_call": self.tail,
            "start": self.start,
            "end": self.end,
            "file": None if line is None else line.file,
            "line": None if line is None else line.line,
            "calls": [each.facts() for each in self.calls],
        }


def tree(calls: Sequence[Call]) -> Iterator[str]:
    """A line for each call, indented below the call around it."""
    for call in calls:
        line = call.line
        where = "" if line is None else f"  ({printable(line.file).rpartition('/')[2]}:{line.line})"
        yield f"{'  ' * call.depth}{call}  {call.end - call.start} instructions{where}"


def as_json(calls: Sequence[Call], dropped: int) -> str:
    """The outermost calls with all in them; times are instructions."""
    outermost = [call.facts() for call in calls if call.parent is None]
    return json.dumps({"version": 1, "unit": "instructions", "dropped": dropped, "calls": outermost}, indent=1)


def as_chrome(calls: Sequence[Call], arch: str) -> str:
    """Chrome's trace event format, which Perfetto reads: an instruction is shown as a microsecond."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": {"name": f"relink-emu {arch}"}}
    ]
    for call in calls:
        line = call.line
        arguments: dict[str, Any] = {"call": str(call), "outcome": call.outcome}
        if line is not None:
            arguments["line"] = str(line)
        events.append(
            {
                "ph": "X",
                "pid": 1,
                "tid": 1,
                "name": call.function,
                "cat": call.image,
                "ts": call.start,
                "dur": call.end - call.start,
                "args": arguments,
            }
        )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})
