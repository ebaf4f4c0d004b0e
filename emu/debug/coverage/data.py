"""`CoverageData`: which code has run, of which images. It may be merged, and does not need a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from emu.debug.coverage.module import BranchHit, FunctionHit, LineHit, Module, ModuleKey
from emu.debug.coverage.sources import branch_hits, function_hits, line_hits


class CoverageData:
    """The code that has run, by image."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.modules: dict[ModuleKey, Module] = {}
        for module in modules:
            self.add(module)

    def add(self, other: Module) -> None:
        """Merge what ran of one image."""
        mine = self.modules.get(other.key)
        if mine is None:
            mine = Module(other.path, other.arch, other.size, other.base, other.low, other.decoded)
            self.modules[other.key] = mine
        mine.blocks.update(other.blocks)
        mine.branches.update(other.branches)
        if mine.decoded is None:
            mine.decoded, mine.low = other.decoded, other.low

    def merge(self, *others: CoverageData) -> None:
        """Add what others have: of other runs, machines, ISAs."""
        for other in others:
            for module in list(other.modules.values()):
                self.add(module)

    @property
    def blocks(self) -> Mapping[str, set[tuple[int, int]]]:
        """Path of an image -> (offset, size) of its blocks that ran."""
        found: dict[str, set[tuple[int, int]]] = {}
        for module in self.modules.values():
            found.setdefault(module.path, set()).update(module.blocks)
        return found

    def lines(self) -> dict[str, dict[int, int]]:
        """Source file -> line with code -> in how many recordings it has run."""
        found: dict[str, dict[int, int]] = {}
        for hit in self.line_hits():
            lines = found.setdefault(hit.file, {})
            lines[hit.line] = lines.get(hit.line, 0) + hit.hits
        return found

    def functions(self) -> dict[str, dict[str, int]]:
        """Source file -> function -> in how many recordings it has run."""
        found: dict[str, dict[str, int]] = {}
        for hit in self.function_hits():
            names = found.setdefault(hit.file, {})
            names[hit.name] = names.get(hit.name, 0) + hit.hits
        return found

    def line_hits(self) -> Iterator[LineHit]:
        """Each line of each image, with code in one place or several."""
        for module in self.modules.values():
            yield from line_hits(module)

    def function_hits(self) -> Iterator[FunctionHit]:
        for module in self.modules.values():
            yield from function_hits(module)

    def branch_hits(self) -> Iterator[BranchHit]:
        for module in self.modules.values():
            yield from branch_hits(module)
