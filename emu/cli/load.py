"""`relink-emu load`: load a library with its dependencies and report the result."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, ClassVar

from emu.cli.output import Address, hexadecimal, shown, table
from emu.cli.text import printable
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cli.options import Loading, Search, Target
    from emu.cli.plain import Console, Table
    from emu.library import Library
    from relink.image import BoundSymbol, Image
    from relink.search.graph import Node


@dataclass(frozen=True)
class Segment:
    """Consecutive guest pages with the same permissions; `size` in bytes."""

    address: Address
    size: int
    permissions: str  #: "r-x"


@dataclass(frozen=True)
class Constructor:
    """A constructor that was run."""

    kind: str  #: "DT_INIT" or "init_array[0]"
    address: Address
    symbol: str | None


@dataclass(frozen=True)
class Bound:
    """A symbolic reference and its binding."""

    symbol: str
    demangled: str | None
    version: str | None
    kind: str  #: "image", "host", "define", "weak" (undefined, 0) or "unresolved" (a trap, on request)
    provider: str | None  #: the image, for kind "image"
    address: Address


@dataclass(frozen=True)
class Tls:
    """An image's block of thread-local storage."""

    module: int
    offset: int | None  #: offset in bytes from the thread pointer; None for dynamic blocks
    size: int  #: bytes


@dataclass(frozen=True)
class LoadedImage:
    """One image of the load."""

    name: str
    soname: str | None
    path: str | None
    rule: str  #: the search rule that found it
    needed_by: str | None
    base: Address
    size: int
    bias: Address
    segments: tuple[Segment, ...]
    relocations: Mapping[str, int]
    constructors: tuple[Constructor, ...]
    tls: Tls | None
    bindings: tuple[Bound, ...]
    warnings: tuple[str, ...]  #: violations of the gABI that loaders tolerate


@dataclass(frozen=True)
class HostLibrary:
    """A needed library that the host provides."""

    name: str
    needed_by: str | None


@dataclass(frozen=True)
class LoadReport:
    """The result of a load. Images are in load order, `initialised` in the order their constructors ran."""

    schema: ClassVar[str] = "relink-emu/load/1"
    arch: str
    library: str
    images: tuple[LoadedImage, ...]
    host_libraries: tuple[HostLibrary, ...]
    initialised: tuple[str, ...]
    stdout: str  #: output of constructors
    stderr: str
    timings: Mapping[str, float]  #: seconds per phase

    def bound(self, *kinds: str) -> Iterator[tuple[LoadedImage, Bound]]:
        """The bindings of these kinds, each with its referring image."""
        return ((image, bound) for image in self.images for bound in image.bindings if bound.kind in kinds)


def report(target: Target, search: Search, loading: Loading, name: str) -> LoadReport:
    """Load `name` into a new machine. Raises RelinkError."""
    from relink.load.plan import initialisers

    arch = target.of(name, search)
    start = time.perf_counter()
    with loading.machine(arch, search, loading.sources(name)) as machine:
        made = time.perf_counter() - start
        library = loading.load(machine, name, search)
        plan = library.plan
        ran: defaultdict[Image, list[Constructor]] = defaultdict(list)
        for owner, kind, address in initialisers(plan):
            symbol = machine.symbolize(address, source=False).symbol
            ran[owner].append(Constructor(kind, Address(address), symbol))
        nodes = {id(node.decoded): node for node in plan.nodes if node.decoded is not None}
        return LoadReport(
            arch.name,
            library.name,
            tuple(_image(library, image, nodes[id(image.decoded)], ran[image], loading) for image in plan.images),
            tuple(
                HostLibrary(node.name, node.parent.name if node.parent else None)
                for node in plan.nodes
                if node.host_provided
            ),
            tuple(image.name for image in plan.initialise),
            machine.libc.stdout.getvalue().decode(errors="backslashreplace"),
            machine.libc.stderr.getvalue().decode(errors="backslashreplace"),
            {"machine": made, **plan.timings.phases},
        )


def _image(
    library: Library, image: Image, node: Node, ran: Iterable[Constructor], loading: Loading
) -> LoadedImage:
    root = image is library.image
    unresolved = frozenset(image.relocated.unresolved)
    return LoadedImage(
        name=image.name,
        soname=image.soname,
        path=str(image.decoded.path) if image.decoded.path else None,
        rule="preload" if node.parent is None and not root else node.rule,
        needed_by=node.parent.name if node.parent else None,
        base=Address(image.base),
        size=image.region.size,
        bias=Address(image.bias),
        segments=tuple(_segments(image)),
        relocations=dict(image.relocation_counts.most_common()),
        constructors=tuple(ran),
        tls=_tls(image),
        bindings=tuple(_bound(entry, unresolved, loading.definitions) for entry in image.bindings()),
        warnings=tuple(error.problem for error in image.decoded.warnings),
    )


def _tls(image: Image) -> Tls | None:
    module = image.tls
    return Tls(module.id, module.offset if module.static else None, module.size) if module else None


def _segments(image: Image) -> Iterator[Segment]:
    for part in image.region.parts or (image.region,):
        for pages in part.pages:
            yield Segment(Address(part.address + pages.offset), pages.size, str(pages.protection))


def _bound(entry: BoundSymbol, unresolved: frozenset[str], definitions: Mapping[str, int]) -> Bound:
    from emu.debug.demangle import demangled

    kind = entry.kind
    if entry.symbol in unresolved:
        kind = "unresolved"
    elif kind == "host" and entry.symbol in definitions:
        kind = "define"
    return Bound(
        entry.symbol, demangled(entry.symbol), entry.version, kind, entry.provider, Address(entry.address)
    )


# ---------------------------------------------------------------- for people


def show(report: LoadReport, console: Console, *, bindings: bool = False, demangle: bool = True) -> None:
    """Print a report; with `bindings`, list all bindings."""
    _View(report, console, bindings=bindings, demangle=demangle).show()


class _View:
    """Prints a report on a console. The image column is omitted when there is only one image."""

    def __init__(self, report: LoadReport, console: Console, *, bindings: bool, demangle: bool) -> None:
        self.report = report
        self.console = console
        self.every_binding = bindings
        self.demangle = demangle
        self.digits = max(len(f"{image.base + image.size:x}") for image in report.images)
        self.labels = _labels([image.name for image in report.images])

    def show(self) -> None:
        images = f"{len(self.report.images)} image{'s' * (len(self.report.images) > 1)}"
        title = f"{printable(self.report.library)}: {self.report.arch}, {images}"
        self.console.print(title, style="bold", soft_wrap=True)
        self._images()
        self._segments()
        self._relocations()
        self._bindings()
        self._constructors()
        for stream, text in (("printed", self.report.stdout), ("printed to stderr", self.report.stderr)):
            if text:
                self._title(f"Constructors {stream}")
                self.console.print(text.rstrip("\n"))
        phases = ", ".join(f"{phase} {seconds * 1e3:.1f} ms" for phase, seconds in self.report.timings.items())
        self._title("Time")
        self.console.print(phases)

    def _title(self, text: str) -> None:
        self.console.print()
        self.console.print(text, style="bold")

    def _address(self, value: int) -> str:
        return hexadecimal(value, self.digits)

    def _which(self, name: str) -> tuple[str, ...]:
        """The cell for the image, if there are several."""
        return (self.labels[name],) if len(self.report.images) > 1 else ()

    def _table(self, *columns: str) -> Table:
        return table(*columns, *(["image"] if len(self.report.images) > 1 else []))

    def _images(self) -> None:
        self._title("Images")
        biased = any(image.bias != image.base for image in self.report.images)
        rows = table("image", "found by", "base", *(["bias"] if biased else []), ">size")
        for image in self.report.images:
            bias = (hexadecimal(image.bias),) if biased else ()
            rows.add_row(
                self.labels[image.name],
                printable(image.rule),
                self._address(image.base),
                *bias,
                f"{image.size:#x}",
            )
        for library in self.report.host_libraries:
            rows.add_row(printable(library.name), "provided by the host")
        self.console.print(rows)
        paths = [image.path for image in self.report.images if image.path not in (None, self.report.library)]
        if paths:
            self._title("Files")
        for path in paths:
            self.console.print(printable(str(path)), soft_wrap=True)

    def _segments(self) -> None:
        self._title("Segments")
        rows = self._table("from", "to", ">size", "access")
        for image in self.report.images:
            for segment in image.segments:
                rows.add_row(
                    self._address(segment.address),
                    self._address(segment.address + segment.size),
                    f"{segment.size:#x}",
                    segment.permissions,
                    *self._which(image.name),
                )
        for image in self.report.images:
            if image.tls is not None:
                place = "dynamic"
                if image.tls.offset is not None:
                    place = f"tp {'-' if image.tls.offset < 0 else '+'} {abs(image.tls.offset):#x}"
                access = f"TLS {image.tls.module}"
                rows.add_row(place, "", f"{image.tls.size:#x}", access, *self._which(image.name))
        self.console.print(rows)

    def _relocations(self) -> None:
        self._title("Relocations")
        rows = self._table("type", ">entries")
        for image in self.report.images:
            for kind, count in image.relocations.items():
                rows.add_row(kind, str(count), *self._which(image.name))
        self.console.print(rows if rows.row_count else "none")

    def _bindings(self) -> None:
        self._title("Bindings")
        tally = Counter(self._provider(bound) for image in self.report.images for bound in image.bindings)
        summary = table("bound to", ">symbols")
        for provider, count in tally.most_common():
            summary.add_row(provider, str(count))
        self.console.print(summary if tally else "none")
        if self.every_binding:
            self.console.print()
            self.console.print(self._list(self.report.bound(*_PROVIDERS, "image")))
            return
        for kind, provider in _PROVIDERS.items():
            names = dict.fromkeys(bound.symbol for _, bound in self.report.bound(kind))
            if names:
                self._title(f"Bound to {provider}")
                self.console.print(", ".join(shown(name, demangle=self.demangle) for name in names))

    def _list(self, entries: Iterable[tuple[LoadedImage, Bound]]) -> Table:
        rows = table("symbol", "bound to", "address", *(["in"] if len(self.report.images) > 1 else []))
        for image, bound in entries:
            version = f"@{printable(bound.version)}" if bound.version else ""
            rows.add_row(
                shown(bound.symbol, demangle=self.demangle) + version,
                self._provider(bound),
                self._address(bound.address),
                *self._which(image.name),
            )
        return rows

    def _provider(self, bound: Bound) -> str:
        if bound.provider is not None:
            return self.labels.get(bound.provider) or printable(bound.provider)
        return _PROVIDERS[bound.kind]

    def _constructors(self) -> None:
        images = {image.name: image for image in self.report.images}
        rows = self._table("constructor", "address", "function")
        for name in self.report.initialised:
            for constructor in images[name].constructors:
                rows.add_row(
                    constructor.kind,
                    self._address(constructor.address),
                    shown(constructor.symbol or "", demangle=self.demangle),
                    *self._which(name),
                )
        if rows.row_count:
            self._title("Constructors, in the order they ran")
            self.console.print(rows)


def _labels(names: Iterable[str]) -> dict[str, str]:
    """The names of images in tables: file names, if these are unique."""
    files = {name: PurePath(name).name for name in names}
    uses = Counter(files.values())
    return {name: printable(file if uses[file] == 1 else name) for name, file in files.items()}


#: The provider shown for each kind of binding except "image".
_PROVIDERS = {
    "host": "the host",
    "define": "--define",
    "weak": "nothing (weak)",
    "unresolved": "nothing (unresolved)",
}
