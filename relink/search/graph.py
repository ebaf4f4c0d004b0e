"""The dependency graph: the closure of DT_NEEDED, and the order of initialisation.

Libraries are searched breadth-first. Each is loaded once: it is recognised by its SONAME, by the name requested,
or as the same file (gABI, "Shared Object Dependencies"). Nothing is mapped here. The result has, for each library,
the search rule that found it; for a missing one, every place that was tried.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, overload

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.linker_script import MOST_BYTES
from relink.errors import LibraryNotFound, NotElf, UnsupportedElf
from relink.image import Image
from relink.module import Adopted
from relink.objects.options import ObjectOptions
from relink.records import cached_property, dataclass, field
from relink.search.decoded_cache import CACHE, Key
from relink.search.linker_script import script_files
from relink.search.open import linked_by, open_image
from relink.search.search_path import EXPLICIT, FINDER, Candidate, SearchPath, Source

Item = TypeVar("Item")
_DEFAULT = ObjectOptions()


@dataclass(eq=False)
class Node:
    """One library of a load: a file to map, an image already loaded, a library provided by the host, or a missing
    one.
    """

    name: str  #: the name requested
    parent: Node | None
    rule: str = ""  #: the search rule that found it
    decoded: Decoded | None = None
    image: Image | None = None  #: the image, when it is already loaded
    host_provided: bool = False  #: its symbols come from the host (see `SearchContext.host_provided`)
    tried: list[tuple[str, str]] = field(default_factory=list)  #: (place, why it was rejected)
    foreign: set[str] = field(default_factory=set)  #: those places whose file is not ELF
    #: dependencies in DT_NEEDED order; nodes are shared between parents
    needs: list[Node] = field(default_factory=list)
    filtees: list[Node] = field(default_factory=list)  #: filtees (DT_FILTER, DT_AUXILIARY)
    optional: bool = False  #: may be missing: a filtee of DT_AUXILIARY
    names: set[str] = field(default_factory=set)  #: all names under which it was requested
    adopted: Adopted | None = None  #: its address, when it is already in memory
    file: tuple[int, int] | None = None  #: device and inode of its file, when the search has asked for them

    @property
    def contents(self) -> Decoded | None:
        """The decoded file, whether it is new or already loaded."""
        return self.image.decoded if self.image is not None else self.decoded

    @cached_property
    def with_rpath(self) -> tuple[Decoded, ...]:
        """The node's file, that of the node which needs it, and so on, as far as their RPATH counts."""
        above = self.parent.with_rpath if self.parent is not None else ()
        own = self.decoded
        return (own, *above) if own is not None and own.rpath and own.runpath is None else above

    @property
    def is_new(self) -> bool:
        """Whether this load adds it: a file (or adopted image) that is not yet an image of the linker."""
        return self.decoded is not None and self.image is None

    @property
    def missing(self) -> bool:
        return self.decoded is None and self.image is None and not self.host_provided and not self.optional

    def error(self) -> LibraryNotFound:
        """The exception to raise for a missing library."""
        return LibraryNotFound(self.name, self.parent.name if self.parent else None, self.tried)


class SearchContext:
    """The inputs of a search: those of a linker (`relink.load.state`), or without one a search path alone."""

    def __init__(self, architecture: Architecture, search: SearchPath) -> None:
        self.architecture, self.search = architecture, search

    @property
    def host_provided(self) -> Collection[str]:
        """The names of libraries that the host always provides."""
        return ()

    @property
    def fallbacks(self) -> Collection[str]:
        """The names of libraries that the host provides when no file is found."""
        return ()

    def loaded(self, name: str) -> Image | None:
        """The loaded image with that SONAME, or that was requested under that name before."""
        return None

    def loaded_from(self, path: str | os.PathLike[str], file: tuple[int, int] | None = None) -> Image | None:
        """The loaded image that was read from the file at `path`; `file`: its device and inode, if known."""
        return None


def closure(root: Node, context: SearchContext, preload: Sequence[Node] = ()) -> list[Node]:
    """All libraries of a load, breadth-first: preloads, the root, then their dependencies.

    Missing libraries are nodes with `missing` set. Raises ElfError for a damaged file.
    """
    if not preload and (root.decoded is None or not (root.decoded.filtees or root.decoded.needed)):
        root.names.add(root.name)
        return [root]
    twins = _Twins()
    order = []
    for node in (root, *preload):
        if twins.of(node) is None:
            twins.add(node)
            order.append(node)
    order = [*order[1:], root]
    by_name: dict[str, Node] = {}
    for node in order:
        _register(by_name, node)
    queue = deque(order)
    while queue:
        node = queue.popleft()
        if node.decoded is None:
            continue
        filtees = node.decoded.filtees
        wanted = [(name, node.filtees, required) for name, required in filtees] if filtees else []
        wanted += [(name, node.needs, True) for name in node.decoded.needed]
        held: set[tuple[int, int]] = set()
        for name, children, required in wanted:
            child = by_name.get(name)
            if child is None:
                child = _find(name, node, context)
                twin = twins.of(child)
                if twin is not None:
                    child = by_name[name] = twin
                    twin.names.add(name)
                else:
                    child.optional = True
                    _register(by_name, child)
                    twins.add(child)
                    order.append(child)
                    queue.append(child)
            child.optional = child.optional and not required
            if (id(children), id(child)) not in held:
                held.add((id(children), id(child)))
                children.append(child)
    return order


def root(
    source: Source | Sequence[Source] | Node,
    context: SearchContext,
    name: str | None = None,
    options: ObjectOptions = _DEFAULT,
    key: Key | None = None,
    kept: Decoded | None = None,
) -> Node:
    """The node of the source that a user loads. A name without a slash that is not a file in the working directory
    is searched for. See `open_image`, also for `key` and `kept`.
    """
    if isinstance(source, Node):
        return source
    file = None if key is None else CACHE.file_of(key)
    if not isinstance(source, bytes) and isinstance(source, (str, Path, os.PathLike)):
        if "/" not in str(source) and not _exists(Path(source)):
            return find(str(source), context)
        if (same := context.loaded_from(source, file)) is not None:
            return Node(str(source), None, "already loaded", image=same)
    decoded = open_image(source, context.architecture, name, options, key=key, kept=kept)
    return Node(decoded.name, None, "asked for", decoded=decoded, file=file)


def survey(
    context: SearchContext,
    source: Source | Sequence[Source] | Node,
    name: str | None = None,
    preload: Sequence[Source] = (),
    options: ObjectOptions = _DEFAULT,
) -> tuple[Node, list[Node]]:
    """The libraries that a load would add: the root's node and the whole closure.

    Missing libraries are nodes with `missing` set; nothing is raised for them. A linker script is replaced by the
    files it names, also in a list of files.
    """
    key, kept = None, None
    known = isinstance(source, (bytes, Node))  # these, and files that are kept or large, are no scripts
    if not known and isinstance(source, (str, Path, os.PathLike)):
        key = CACHE.key(source, name)
        kept = CACHE.get(key)
        known = kept is not None or CACHE.size_of(key) > MOST_BYTES
        if not known:
            known = CACHE.get(key, linked_by(context.architecture, options)) is not None
    if not known and (files := script_files(source, context.search)) is not None:
        key = None
        if isinstance(source, str | os.PathLike) and isinstance(files.root, list):
            name = name or os.fspath(source)
        source, preload = files.root, [*preload, *files.beside]
    top = root(source, context, name, options, key, kept)
    if not preload:
        return top, closure(top, context)
    beside = ObjectOptions(overridden=options.overridden)
    return top, closure(top, context, [root(library, context, None, beside) for library in preload])


def source_name(source: Source | Sequence[Source] | Node) -> str:
    """The name, for messages, of a source that has not been opened."""
    if isinstance(source, Node):
        return source.name
    return str(source) if isinstance(source, str | os.PathLike) else f"<{type(source).__name__}>"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def find(name: str, context: SearchContext, chain: Sequence[Decoded] = ()) -> Node:
    """Find a library by name, requested by a user or by a loaded image (see `chain` of
    `SearchPath.candidates`).
    """
    return _find(name, None, context, chain)


def _register(by_name: dict[str, Node], node: Node) -> None:
    node.names.add(node.name)
    by_name.setdefault(node.name, node)
    contents = node.contents
    if contents is not None and (soname := contents.soname):
        by_name.setdefault(soname, node)


class _Twins:
    """Nodes by image or file, to recognise the same library under another name."""

    def __init__(self) -> None:
        self._nodes: dict[object, list[Node]] = {}
        self._last: tuple[Node, tuple[object, ...]] | None = None  # the keys of the node asked for last

    def add(self, node: Node) -> None:
        """Add a node that is not the same library as another."""
        for key in self._keys(node):
            self._nodes.setdefault(key, []).append(node)

    def of(self, node: Node) -> Node | None:
        """The node of the same library."""
        for key in self._keys(node):
            for other in self._nodes.get(key, ()):
                if _same(other, node):
                    return other
        return None

    def _keys(self, node: Node) -> tuple[object, ...]:
        if self._last is not None and self._last[0] is node:
            return self._last[1]
        path = node.decoded.path if node.decoded is not None else None
        keys: tuple[object, ...] = () if path is None else (path, node.file or file_id(path))
        self._last = node, (node.image,) if node.image is not None else keys
        return self._last[1]


def _same(one: Node, other: Node) -> bool:
    if one.image is not None or other.image is not None:
        return one.image is other.image
    b = other.decoded.path if other.decoded else None
    return one.decoded is not None and b is not None and is_file(one.decoded, b)


def is_file(decoded: Decoded, path: Path) -> bool:
    """Whether an image was read from the file at `path`, possibly under another name."""
    try:
        return decoded.path is not None and os.path.samefile(decoded.path, path)
    except (OSError, ValueError):
        return False


def file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at `path`; None if it does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _find(name: str, parent: Node | None, context: SearchContext, chain: Sequence[Decoded] | None = None) -> Node:
    """Search for one library. Candidates that are not ELF or not for this machine are skipped, as in ld.so."""
    node = Node(name, parent)
    if name in context.host_provided:
        node.host_provided, node.rule = True, "provided by the host"
        return node
    if (image := context.loaded(name)) is not None:
        node.image, node.rule = image, "already loaded"
        return node
    rpaths = None if chain is not None or parent is None else parent.with_rpath
    chain = _Ancestors(parent) if chain is None else chain
    needed = parent is not None or not chain
    for candidate in context.search.candidates(name, chain, context.architecture, needed=needed, rpaths=rpaths):
        problem = candidate.problem
        if candidate.source is not None:
            try:
                decoded = _open(candidate, name, parent, context)
            except (NotElf, UnsupportedElf) as error:
                problem = error.problem
                node.foreign |= {candidate.place} if isinstance(error, NotElf) else set()
            else:
                if candidate.status is not None:
                    node.file = candidate.status.st_dev, candidate.status.st_ino
                image = context.loaded_from(decoded.path, node.file) if decoded.path else None
                if image is not None:
                    node.image, node.rule = image, "already loaded"
                else:
                    node.decoded, node.rule = decoded, candidate.rule
                return node
        node.tried.append((candidate.place, problem))
    if name in context.fallbacks:
        node.host_provided, node.rule = True, "provided by the host"
    return node


def _open(candidate: Candidate, name: str, parent: Node | None, context: SearchContext) -> Decoded:
    """Decode a candidate for a library `name`. Raises NotElf or UnsupportedElf for one to be skipped, another
    ElfError for a damaged one.
    """
    source, chosen = candidate.source, candidate.rule in (EXPLICIT, FINDER)
    assert source is not None
    named = None if isinstance(source, (str, Path, os.PathLike)) else name
    decoded = open_image(source, context.architecture, named, archives=chosen, status=candidate.status)
    if decoded.is_relocatable and not chosen:
        raise UnsupportedElf(decoded.name, "is a relocatable object, not a shared library")
    if parent is not None and decoded.is_no_dependency:
        raise UnsupportedElf(decoded.name, "is an executable, not a library")
    return decoded


class _Ancestors(Sequence[Decoded]):
    """The image of a node, that of the node which needs it, and so on; looked up as far as they are used."""

    def __init__(self, node: Node | None) -> None:
        self._next = node.parent if node is not None else None
        self._known = [node.decoded] if node is not None and node.decoded is not None else []

    def _reaches(self, count: int) -> bool:
        """Whether there are so many."""
        while len(self._known) < count and self._next is not None:
            if self._next.decoded is not None:
                self._known.append(self._next.decoded)
            self._next = self._next.parent
        return len(self._known) >= count

    @overload
    def __getitem__(self, index: int) -> Decoded: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Decoded]: ...
    def __getitem__(self, index: int | slice) -> Decoded | Sequence[Decoded]:
        known = self._known
        if index.__class__ is int and 0 <= index < len(known):
            return known[index]
        if isinstance(index, slice) or index < 0 or not self._reaches(index + 1):
            self._reaches(sys.maxsize)
        return known[index]

    def __bool__(self) -> bool:
        return bool(self._known) or self._reaches(1)

    def __len__(self) -> int:
        self._reaches(sys.maxsize)
        return len(self._known)


def dependency_order(items: Iterable[Item], needs: Callable[[Item], Iterable[Item]]) -> list[Item]:
    """Dependencies before dependents: depth-first post-order; the edge that closes a cycle is ignored.

    Constructors run in this order, destructors in reverse (gABI, "Initialization and Termination Functions"). When
    `items` begins with the image loaded last, images without mutual dependencies are ordered as by glibc
    (elf/dl-sort-maps.c).
    """
    order: list[Item] = []
    seen: set[int] = set()
    for start in items:
        stack: list[tuple[Item, Iterable[Item]]] = []
        if id(start) not in seen:
            seen.add(id(start))
            stack.append((start, iter(needs(start))))
        while stack:
            item, rest = stack[-1]
            child = next((c for c in rest if id(c) not in seen), None)
            if child is None:
                order.append(item)
                stack.pop()
            else:
                seen.add(id(child))
                stack.append((child, iter(needs(child))))
    return order
