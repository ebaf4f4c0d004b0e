"""Observers: what they hear of a load, in what order, and what it means when one raises."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from relink import (
    Event,
    HostMemory,
    ImageClosed,
    ImageLoaded,
    ImageMapped,
    ImageOpened,
    ImageRelocated,
    Linker,
    LinkErrors,
    LoadFailed,
    LoadOptions,
    Protection,
    RelocationsApplied,
    SearchPath,
    SegmentMapped,
    SymbolsBound,
    TlsAssigned,
    UnresolvedSymbol,
    on,
)
from tests.fixtures import arch_of, fixture
from tests.grouping import each
from tests.linker.craft import DATA, TLS, Library, Rel, Sym, undefined
from tests.linker.helpers import folders_of, linker_for, snapshot
from tests.linker.numbers import SYMBOLIC, TPOFF
from tests.linker.reference import RELATIVE

PLACE = DATA + 0x80


def pair(arch: str) -> tuple[Linker, Library, list[Event]]:
    """A linker with an observer, and a library that needs libdep.so."""
    dependency = Library(arch, "libdep.so", symbols=[Sym("dep", DATA + 8)])
    root = Library(
        arch,
        "libroot.so",
        ["libdep.so"],
        symbols=[undefined("dep"), Sym("t", 0, type=TLS)],
        tls=(b"ab", 16, 8),
        relocations=[
            Rel(PLACE, SYMBOLIC[arch], "dep"),
            Rel(PLACE + 16, SYMBOLIC[arch], "dep"),
            Rel(PLACE + 32, RELATIVE[arch], None, DATA),
            Rel(PLACE + 48, TPOFF[arch], "t"),
        ],
    )
    linker = linker_for(arch, dependency)
    events: list[Event] = []
    linker.observers.append(events.append)
    return linker, root, events


def test_every_stage_is_told_in_order(arch: str) -> None:
    linker, root, events = pair(arch)
    image = linker.load(root.image(), name="root")
    dependency = linker.images[1]
    kinds = [(type(event), event.name) for event in events]
    mapped = [(SegmentMapped, 2), (ImageMapped, 1)]
    expected = [
        (ImageOpened, "root"), (ImageOpened, "libdep.so"),
        *[(kind, name) for name in ("root", "libdep.so") for kind, count in mapped for _ in range(count)],
        (TlsAssigned, "root"),
        (SymbolsBound, "libdep.so"), (ImageRelocated, "libdep.so"),
        *[(RelocationsApplied, "root")] * 3, (SymbolsBound, "root"), (ImageRelocated, "root"),
        (ImageLoaded, "root"), (ImageLoaded, "libdep.so"),
    ]  # fmt: skip
    assert kinds == expected
    events.clear()
    base, size = dependency.base, dependency.region.size
    linker.unload(image)
    assert [(type(e), e.name) for e in events] == [(ImageClosed, "root"), (ImageClosed, "libdep.so")]
    closed = events[1]
    assert isinstance(closed, ImageClosed)
    assert (closed.base, closed.size, closed.image) == (base, size, dependency)


def test_events_carry_what_happened(arch: str) -> None:
    linker, root, events = pair(arch)
    image = linker.load(root.image(), name="root")
    opened = [event for event in events if isinstance(event, ImageOpened)]
    assert [(e.rule, e.needed_by) for e in opened] == [("asked for", None), ("explicit mapping", "root")]
    segments = [event for event in events if isinstance(event, SegmentMapped) and event.image is image]
    assert [(s.address, s.protection) for s in segments] == [
        (image.base, Protection.R | Protection.X),
        (image.address_of(DATA), Protection.R | Protection.W),
    ]
    (assigned,) = [event for event in events if isinstance(event, TlsAssigned)]
    assert assigned.module is image.tls
    applied = {e.type: e.count for e in events if isinstance(e, RelocationsApplied)}
    page = image.architecture
    assert (
        applied
        == dict(image.relocation_counts)
        == {
            page.relocation_name(SYMBOLIC[arch]): 2,
            page.relocation_name(RELATIVE[arch]): 1,
            page.relocation_name(TPOFF[arch]): 1,
        }
    )
    bound = next(e for e in events if isinstance(e, SymbolsBound) and e.image is image)
    assert bound.count == 2
    assert {(b.symbol, b.provider) for b in bound} == {("dep", "libdep.so"), ("t", "root")}


def test_the_counts_of_compiled_libraries_are_those_of_the_result(target: str) -> None:
    path = fixture(target, "relr")
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    applied: Counter[str] = Counter()
    linker.observers.append(on(RelocationsApplied, lambda e: applied.update({e.type: e.count})))
    linker.resolver.after.append(lambda request: 0x1000)
    image = linker.load(path)
    assert applied["RELR"] > 0
    none = image.architecture.relocation_name(0)
    assert {type_: n for type_, n in applied.items() if type_ != none} == dict(image.relocation_counts)


@each(
    "kind",
    [
        ImageOpened,
        SegmentMapped,
        ImageMapped,
        TlsAssigned,
        RelocationsApplied,
        SymbolsBound,
        ImageRelocated,
        ImageLoaded,
    ],
)
def test_an_observer_that_raises_undoes_the_load(arch: str, kind: type[Event]) -> None:
    linker, root, events = pair(arch)

    def stop(event: Event) -> None:
        raise ZeroDivisionError

    before = snapshot(linker)
    linker.observers.append(on(kind, stop))
    with pytest.raises(ZeroDivisionError):
        linker.load(root.image(), name="root")
    assert snapshot(linker) == before
    failed = events[-1]
    assert isinstance(failed, LoadFailed)
    assert failed.name == "root"
    assert isinstance(failed.error, ZeroDivisionError)
    del linker.observers[1]
    assert linker.load(root.image()).symbol("dep")


def test_a_failed_load_is_told_once_all_is_undone(arch: str) -> None:
    linker, _, _ = pair(arch)
    before = snapshot(linker)
    seen: list[tuple[str, BaseException, bool]] = []
    linker.observers.append(on(LoadFailed, lambda e: seen.append((e.name, e.error, snapshot(linker) == before))))
    bad = Library(arch, symbols=[undefined("nowhere")], relocations=[Rel(PLACE, SYMBOLIC[arch], "nowhere")])
    with pytest.raises(UnresolvedSymbol) as caught:
        linker.load(bad.image(), name="bad.so")
    assert seen == [("bad.so", caught.value, True)]
    with pytest.raises(LinkErrors):
        linker.load(Library(arch, None, ["libx.so", "liby.so"]).image())
    assert seen[-1][0] == "<bytes>"


def test_an_observer_of_failures_that_raises_leaves_the_failure_as_it_is(arch: str) -> None:
    linker, _, _ = pair(arch)
    told: list[Event] = []

    def stop(event: Event) -> None:
        raise ZeroDivisionError

    linker.observers[:] = [on(LoadFailed, stop), on(LoadFailed, told.append)]
    with pytest.raises(LinkErrors) as caught:
        linker.load(Library(arch, None, ["libx.so", "liby.so"]).image())
    assert caught.value.__notes__ == ["an observer of the failed load raised ZeroDivisionError()"]
    assert len(told) == 1


def test_an_observer_of_an_unload_that_raises_does_not_stop_it(arch: str) -> None:
    linker, root, events = pair(arch)
    image = linker.load(root.image())

    def stop(event: Event) -> None:
        raise ZeroDivisionError

    linker.observers.insert(0, on(ImageClosed, stop))
    events.clear()
    with pytest.raises(ZeroDivisionError):
        linker.unload(image)
    assert not linker.images
    assert len(events) == 2


def test_closing_the_linker_is_told_too(arch: str) -> None:
    linker, root, events = pair(arch)
    linker.load(root.image())
    events.clear()
    linker.close()
    assert [type(event) for event in events] == [ImageClosed, ImageClosed]


def test_a_load_of_what_is_there_maps_nothing_and_says_so(arch: str) -> None:
    linker, root, events = pair(arch)
    linker.load(root.image())
    events.clear()
    linker.load("libdep.so", options=LoadOptions(local=True))
    assert events == []


def test_without_hooks_their_code_is_not_even_loaded() -> None:
    program = (
        "import sys; from relink import HostMemory, Linker; linker = Linker(HostMemory('x86_64'));"
        "linker.resolver.after.append(lambda request: 0x1000); linker.load(sys.argv[1]); linker.close();"
        "print([name for name in ('observe', 'handlers', 'scan', 'adopt', 'core', 'references')"
        " if f'relink.{name}' in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(fixture("x86_64", "basic"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "[]\n"
