"""`relink-emu tree`: the dependency tree, with the search rule for each library and the places tried for missing
ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from emu.cli.plain import UNFOLDED_WIDTH
from emu.cli.text import printable
from emu.linux.personality import Linux
from relink.linker import Linker
from relink.memory.address_space import HostMemory
from relink.records import dataclass
from relink.search.graph import Node

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from emu.cli.options import Search, Target
    from emu.cli.plain import Console


@dataclass(frozen=True)
class Place:
    """A place that was tried, and why it was rejected."""

    place: str
    problem: str


@dataclass(frozen=True)
class Found:
    """One library of the tree. `needs` are indices into the report's `libraries`, in DT_NEEDED order."""

    name: str  #: the name requested
    status: str  #: "found", "host" or "missing"
    rule: str
    path: str | None
    soname: str | None
    needed_by: str | None
    needs: tuple[int, ...]
    passed_over: tuple[Place, ...]  #: the places tried before it, for a missing library all places


@dataclass(frozen=True)
class TreeReport:
    """A dependency tree: its libraries breadth-first, preloads first; `root` and `preload` are indices."""

    schema: ClassVar[str] = "relink-emu/tree/1"
    arch: str
    root: int
    preload: tuple[int, ...]
    libraries: tuple[Found, ...]

    @property
    def missing(self) -> list[Found]:
        """The libraries that were not found."""
        return [library for library in self.libraries if library.status == "missing"]


def report(target: Target, search: Search, name: str) -> TreeReport:
    """Search for all libraries that a load of `name` would add. Raises ElfError for a damaged file."""
    arch = target.of(name, search)
    policy = Linux(libc="hosted" if search.libc else "target").policy(arch)
    linker = Linker(HostMemory(arch), search=search.path, policy=policy)
    root, nodes = linker.survey(name, preload=search.preload or ())
    numbers = {id(node): number for number, node in enumerate(nodes)}
    return TreeReport(
        arch.name,
        numbers[id(root)],
        tuple(numbers[id(node)] for node in nodes if node.parent is None and node is not root),
        tuple(_found(node, numbers, preloaded=node.parent is None and node is not root) for node in nodes),
    )


def _found(node: Node, numbers: dict[int, int], *, preloaded: bool) -> Found:
    decoded = node.decoded
    return Found(
        name=node.name,
        status="missing" if node.missing else "host" if node.host_provided else "found",
        rule="preload" if preloaded and not node.missing else node.rule,
        path=str(decoded.path) if decoded is not None and decoded.path is not None else None,
        soname=decoded.soname if decoded is not None else None,
        needed_by=node.parent.name if node.parent else None,
        needs=tuple(numbers[id(child)] for child in node.needs),
        passed_over=tuple(Place(place, problem) for place, problem in node.tried),
    )


# ---------------------------------------------------------------- for people


def show(report: TreeReport, console: Console) -> None:
    """Print the tree, then for each missing library the places tried."""
    # rich crops branches at the width; with a large width the terminal folds them instead
    console.width = UNFOLDED_WIDTH
    seen: set[int] = set()
    for top in (*report.preload, report.root):
        console.print(_branch(report.libraries, top, seen), soft_wrap=True)
    for library in report.missing:
        console.print()
        needed_by = f", needed by {printable(PurePath(library.needed_by).name)}," if library.needed_by else ""
        console.print(f"{printable(library.name)}{needed_by} was not found:", style="bold red", soft_wrap=True)
        if not library.passed_over:
            console.print("  there was no place to search", soft_wrap=True)
        for number, place in enumerate(library.passed_over, 1):
            console.print(f"  {number}. {printable(place.place)}: {printable(place.problem)}", soft_wrap=True)


def _branch(libraries: Sequence[Found], top: int, seen: set[int]) -> Tree:
    """A library with its dependencies; a library shown before is not expanded again."""
    from rich.tree import Tree

    seen.add(top)
    tree = Tree(_label(libraries[top]), guide_style="dim")
    pending = [(tree, top)]
    while pending:
        parent, number = pending.pop()
        inner = []
        for need in libraries[number].needs:
            again = need in seen
            seen.add(need)
            child = parent.add(_label(libraries[need], again=again and bool(libraries[need].needs)))
            if not again:
                inner.append((child, need))
        pending += reversed(inner)
    return tree


def _label(library: Found, *, again: bool = False) -> Text:
    from rich.text import Text

    label = Text(printable(library.name), style="red" if library.status == "missing" else "")
    if library.status == "missing":
        return label.append("  not found")
    label.append(f"  [{printable(library.rule)}]", style="dim")
    if library.path is not None and library.path != library.name and not again:
        path = PurePath(library.path)
        label.append(f"  {printable(f'{path.parent}/' if path.name == library.name else str(path))}", style="dim")
    return label.append("  (above)", style="dim") if again else label
