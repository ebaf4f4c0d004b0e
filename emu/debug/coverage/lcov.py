"""lcov's tracefiles (geninfo(1), "TRACEFILE FORMAT"): written, read and merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from emu.debug.coverage.data import CoverageData
from relink.errors import MachineError, printable
from relink.records import dataclass, field


@dataclass(eq=False)
class SourceFile:
    """The records of one source file."""

    lines: Counter[int] = field(default_factory=Counter)
    functions: Counter[tuple[str, int]] = field(default_factory=Counter)  #: (name, line) -> hits
    branches: Counter[tuple[int, str, str]] = field(default_factory=Counter)  #: (line, block, branch) -> hits
    unreached: set[tuple[int, str, str]] = field(default_factory=set)  #: branches that were never reached


class Tracefile:
    """The contents of a tracefile. Hits of what is merged are added up."""

    def __init__(self) -> None:
        self.files: dict[str, SourceFile] = {}

    @classmethod
    def of(cls, data: CoverageData) -> Tracefile:
        """The trace file of the code that has run."""
        self = cls()
        for hit in data.line_hits():
            self._file(hit.file).lines[hit.line] += hit.hits
        for function in data.function_hits():
            self._file(function.file).functions[function.name, function.line] += function.hits
        for branch in data.branch_hits():
            where = branch.line, f"{branch.branch:#x}", str(branch.outcome)
            self._file(branch.file).branches[where] += branch.hits
        self._number_branches()
        return self

    def _number_branches(self) -> None:
        """Number the branches of each line from 0, by their addresses, so that ISAs and builds can be merged."""
        for file in self.files.values():
            numbers: dict[int, dict[str, int]] = {}
            renamed: Counter[tuple[int, str, str]] = Counter()
            for (line, block, outcome), hits in sorted(
                file.branches.items(), key=lambda item: (item[0][0], int(item[0][1], 16), item[0][2])
            ):
                here = numbers.setdefault(line, {})
                renamed[line, str(here.setdefault(block, len(here))), outcome] += hits
            file.branches = renamed

    def _file(self, name: str) -> SourceFile:
        return self.files.setdefault(name, SourceFile())

    def merge(self, other: Tracefile) -> None:
        """Add the hits of another."""
        for name, theirs in other.files.items():
            mine = self._file(name)
            mine.lines.update(theirs.lines)
            mine.functions.update(theirs.functions)
            mine.branches.update(theirs.branches)
            mine.unreached |= theirs.unreached

    @classmethod
    def read(cls, text: str, name: str) -> Tracefile:
        """Parse a tracefile. Raises MachineError, naming the line."""
        self, file, declared = cls(), None, dict[str, int]()
        for number, line in enumerate(text.splitlines(), 1):
            kind, _, rest = line.partition(":")
            try:
                if kind == "SF":
                    file, declared = self._file(rest), {}
                elif kind == "end_of_record":
                    file = None
                elif kind in ("TN", "VER", "") or line.startswith("#") or kind in _TOTALS:
                    continue
                elif file is None:
                    raise ValueError
                else:
                    _record(file, declared, kind, rest)
            except (ValueError, IndexError, KeyError):
                raise MachineError(
                    f"{printable(name)}:{number} is not of an lcov tracefile: {printable(line)}"
                ) from None
        return self

    def text(self, test: str = "") -> str:
        """The tracefile, for a test of this name (letters, digits and _)."""
        return "".join(self._records(test))

    def _records(self, test: str) -> Iterator[str]:
        for name, file in sorted(self.files.items()):
            yield f"TN:{test}\nSF:{name}\n"
            functions = sorted(file.functions.items(), key=lambda item: (item[0][1], item[0][0]))
            for (function, line), _ in functions:
                yield f"FN:{line},{function}\n"
            for (function, _), hits in functions:
                yield f"FNDA:{hits},{function}\n"
            yield f"FNF:{len(functions)}\nFNH:{sum(hits > 0 for _, hits in functions)}\n"
            branches = sorted(file.branches.items())
            unreached = file.unreached - file.branches.keys()
            for (line, block, branch), hits in branches:
                yield f"BRDA:{line},{block},{branch},{hits}\n"
            for line, block, branch in sorted(unreached):
                yield f"BRDA:{line},{block},{branch},-\n"
            if branches or unreached:
                yield f"BRF:{len(branches) + len(unreached)}\nBRH:{sum(hits > 0 for _, hits in branches)}\n"
            for line, hits in sorted(file.lines.items()):
                yield f"DA:{line},{hits}\n"
            yield f"LF:{len(file.lines)}\nLH:{sum(hits > 0 for hits in file.lines.values())}\nend_of_record\n"


_TOTALS = frozenset({"FNF", "FNH", "BRF", "BRH", "LF", "LH"})


def _record(file: SourceFile, declared: dict[str, int], kind: str, rest: str) -> None:
    """One record of a source file. `declared` has the lines of its functions. Raises ValueError, KeyError."""
    if kind == "FN":
        first, _, name = rest.partition(",")
        end, _, other = name.partition(",")
        if other and end.isdigit():  # lcov 2 adds the last line
            name = other
        declared[name] = int(first)
        file.functions[name, int(first)] += 0
    elif kind == "FNDA":
        hits, _, name = rest.partition(",")
        file.functions[name, declared.get(name, 0)] += int(hits)
    elif kind == "DA":
        line, hits = rest.split(",")[:2]
        file.lines[int(line)] += int(hits)
    elif kind == "BRDA":
        where, block, branch, taken = rest.split(",")
        key = int(where), block, branch
        if taken == "-":
            file.unreached.add(key)
        else:
            file.branches[key] += int(taken)
    else:
        raise ValueError
