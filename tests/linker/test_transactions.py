"""A load that fails leaves no trace, whatever it fails of and wherever; the next good one works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from relink import (
    ARCHITECTURES,
    AddressSpaceError,
    ElfError,
    HostMemory,
    Image,
    LibraryNotFound,
    Linker,
    LinkErrors,
    LoadOptions,
    MalformedElf,
    NotElf,
    Pages,
    Plan,
    Region,
    RelinkError,
    RelocationOutOfImage,
    RelocationOverflow,
    SearchPath,
    TlsError,
    Truncated,
    UnknownRelocation,
    UnresolvedSymbol,
    UnsupportedElf,
    UnsupportedRelocation,
    VersionNotFound,
)
from relink.elf.constants import DynamicTag
from relink.module import Module
from tests.grouping import each
from tests.interrupts import interrupted
from tests.linker.craft import DATA, IFUNC, TLS, UNIQUE, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, memory_of, snapshot, word_at
from tests.linker.numbers import COPY, SYMBOLIC
from tests.linker.reference import DESCRIPTOR, RELATIVE

PLACE = DATA + 0x80


def good(arch: str) -> Library:
    """Something of everything a load leaves behind: regions, scope, TLS, a unique symbol, a descriptor stub."""
    unique = Sym("good_unique", DATA + 0x20, bind=UNIQUE)
    thread = Sym("good_tls", 0, type=TLS)
    symbols = [unique, thread, Sym("good_data", DATA + 0x30)]
    return Library(
        arch,
        "libgood.so",
        ["libdep.so"],
        symbols=symbols,
        tls=(b"abc", 16, 8),
        relocations=[Rel(PLACE, SYMBOLIC[arch], unique), Rel(PLACE + 16, DESCRIPTOR[arch], thread)],
    )


@dataclass
class Bad:
    """A way to fail: the root, what it needs besides, the error, and options."""

    root: Library | bytes
    error: type[RelinkError] | tuple[type[RelinkError], ...]
    others: tuple[Library, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    base: int | None = None


def wrong(arch: str, *relocations: Rel, **more: object) -> Library:
    """Does everything right before it goes wrong: has TLS, a unique symbol, a dependency that is fine."""
    unique = Sym("bad_unique", DATA + 0x10, bind=UNIQUE)
    symbols = [unique, undefined("missing"), Sym("own", DATA + 4), Sym("t", 0, type=TLS)]
    before = [Rel(PLACE, SYMBOLIC[arch], unique), Rel(PLACE + 16, DESCRIPTOR[arch], "t")]
    base: dict[str, object] = {"soname": "libbad.so", "needed": ["libdep.so"], "tls": (b"xyz", 24, 16)}
    return Library(arch, symbols=symbols, relocations=[*before, *relocations], **{**base, **more})  # type: ignore[arg-type]


def far(arch: str) -> Rel:
    """An entry whose value does not fit."""
    number = {"x86_64": 14, "i386": 22, "aarch64": 259, "arm": 8, "riscv64": 1, "loongarch64": 1}[arch]
    return Rel(PLACE + 32, number, "own", 0)


def broken(arch: str, tags: dict[int, int]) -> tuple[tuple[str, bytes], ...]:
    """A file whose dynamic section ends with `tags`, which win."""
    return (("libbroken.so", Library(arch, "libbroken.so", symbols=[Sym("x")], tags=tags).image()),)


KINDS: dict[str, Callable[[str], Bad]] = {
    "missing library": lambda a: Bad(wrong(a, needed=["libdep.so", "libnowhere.so"]), LibraryNotFound),
    "missing library of a dependency": lambda a: Bad(
        wrong(a, needed=["libmid.so"]), LibraryNotFound, (Library(a, "libmid.so", ["libnowhere.so"]),)
    ),
    "missing version": lambda a: Bad(
        wrong(a, needed=["libv.so"], needs=[("libv.so", "V2", 0)]), VersionNotFound,
        (Library(a, "libv.so", defines=["V1"]),),
    ),
    "unresolved symbol": lambda a: Bad(wrong(a, Rel(PLACE + 32, SYMBOLIC[a], "missing")), UnresolvedSymbol),
    "unresolved symbol of a dependency": lambda a: Bad(
        wrong(a, needed=["libmid.so"]), UnresolvedSymbol,
        (wrong(a, Rel(PLACE + 32, SYMBOLIC[a], "missing"), soname="libmid.so"),),
    ),
    "overflow": lambda a: Bad(wrong(a, far(a)), RelocationOverflow),
    "place outside": lambda a: Bad(wrong(a, Rel(0x80000, RELATIVE[a])), RelocationOutOfImage),
    "unknown type": lambda a: Bad(
        wrong(a, Rel(PLACE + 32, 0xEE)), (UnknownRelocation, UnsupportedRelocation)
    ),
    "refused type": lambda a: Bad(wrong(a, Rel(PLACE + 32, COPY[a], "own")), UnsupportedRelocation),
    "several": lambda a: Bad(
        wrong(a, Rel(PLACE + 32, SYMBOLIC[a], "missing"), Rel(0x80000, RELATIVE[a])), LinkErrors
    ),
    "TLS too big": lambda a: Bad(wrong(a, tls=(b"", 1 << 29, 16)), TlsError),
    "TLS alignment": lambda a: Bad(wrong(a, tls=(b"", 16, 1 << 16), align=1 << 16), (TlsError, MalformedElf)),
    "TLS too big in a dependency": lambda a: Bad(
        wrong(a, needed=["libmid.so"]), TlsError, (Library(a, "libmid.so", tls=(b"", 1 << 29, 16)),)
    ),
    "damaged dependency": lambda a: Bad(
        wrong(a, needed=["libmid.so", "libbroken.so"]), (Truncated, MalformedElf), (Library(a, "libmid.so"),),
        (("libbroken.so", Library(a, "libbroken.so").image()[:0x1000]),),
    ),
    "damaged relocations of a dependency": lambda a: Bad(
        wrong(a, needed=["libbroken.so"]), MalformedElf,
        files=broken(a, {DynamicTag.RELA: 0x40, DynamicTag.RELASZ: 7}),
    ),
    "damaged symbol names of a dependency": lambda a: Bad(
        wrong(a, Rel(PLACE + 32, SYMBOLIC[a], "own"), needed=["libbroken.so"]), MalformedElf,
        files=broken(a, {DynamicTag.STRTAB: 1 << 24}),
    ),
    "not ELF": lambda a: Bad(b"hello", NotElf),
    "another machine": lambda a: Bad(Library("arm" if a != "arm" else "i386"), UnsupportedElf),
    "base taken": lambda a: Bad(wrong(a), AddressSpaceError, base=ARCHITECTURES[a].image_base),
    "base unaligned": lambda a: Bad(wrong(a), AddressSpaceError, base=0x1234_5678),
    "base outside": lambda a: Bad(wrong(a), AddressSpaceError, base=(1 << ARCHITECTURES[a].bits) - 0x1000),
    "base negative": lambda a: Bad(wrong(a), AddressSpaceError, base=-0x10000),
}  # fmt: skip


def prepared(arch: str, bad: Bad) -> Linker:
    found = {library.soname or "": library.image() for library in (Library(arch, "libdep.so"), *bad.others)}
    linker = Linker(HostMemory(arch), search=SearchPath({**found, **dict(bad.files)}))
    linker.load(good(arch).image())
    return linker


@each("kind", KINDS)
def test_a_failed_load_leaves_no_trace_and_the_next_one_works(arch: str, kind: str) -> None:
    if (arch, kind) == ("riscv32", "overflow"):
        pytest.skip("riscv32 has no dynamic type narrower than an address")
    bad = KINDS[kind](arch)
    linker = prepared(arch, bad)
    before = snapshot(linker)
    source = bad.root.image() if isinstance(bad.root, Library) else bad.root
    for local in (False, True):
        with pytest.raises(bad.error):
            linker.load(source, options=LoadOptions(base=bad.base, local=local))
        assert snapshot(linker) == before
    later = Library(arch, symbols=[undefined("good_data")], relocations=[Rel(PLACE, SYMBOLIC[arch], "good_data")])
    image = linker.load(later.image())
    assert word_at(image, PLACE, image.architecture.word_size) == linker.images[0].address_of(DATA + 0x30)
    linker.unload(image)
    assert [i.soname for i in linker.images] == ["libgood.so", "libdep.so"]


@pytest.mark.parametrize("error", [RuntimeError("a constructor faults"), KeyboardInterrupt()])
def test_whoever_stops_the_machine_s_part_undoes_the_load(arch: str, error: BaseException) -> None:
    linker = prepared(arch, Bad(b"", ElfError))
    before = snapshot(linker)
    plans: list[Plan] = []

    def stopped() -> None:
        with linker.begin(wrong(arch).image()) as load:
            load.run_to("publish")
            plans.append(load.plan)
            assert len(linker.images) == 3
            raise error

    with pytest.raises(type(error)):
        stopped()
    assert snapshot(linker) == before
    assert plans[0].root.closed


def test_what_a_failing_constructor_has_loaded_itself_stays(arch: str) -> None:
    linker = prepared(arch, Bad(b"", ElfError))
    nested: list[Image] = []

    def constructor_loads_and_fails() -> None:
        with linker.begin(wrong(arch).image()) as load:
            load.run_to("relocate")
            nested.append(linker.load(Library(arch, "libnested.so", symbols=[Sym("n")]).image()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        constructor_loads_and_fails()
    assert [i.soname for i in linker.images] == ["libgood.so", "libdep.so", "libnested.so"]
    assert linker.global_scope == linker.images
    assert nested[0].symbol("n").address
    linker.unload(nested[0])
    assert [i.soname for i in linker.images] == ["libgood.so", "libdep.so"]


def test_loading_again_what_is_there_is_undone_as_a_count(arch: str) -> None:
    linker = prepared(arch, Bad(b"", ElfError))
    image = linker.images[0]
    linker.search = SearchPath({**linker.search.libraries, "libmore.so": good(arch).image()})
    before = snapshot(linker)
    counts: list[int] = []

    def stopped() -> None:
        with linker.begin("libgood.so") as load:
            load.run_to("relocate")
            counts.append(image.references)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stopped()
    assert counts == [2]
    assert snapshot(linker) == before
    with pytest.raises(LibraryNotFound):
        linker.load("libgood.so", options=LoadOptions(preload=["libnowhere.so"]))
    assert snapshot(linker) == before


def test_a_load_that_is_interrupted_at_its_end_is_counted_or_undone(arch: str) -> None:
    linker = prepared(arch, Bad(b"", ElfError))
    image, number, passed = linker.images[0], 0, 0
    while passed == number:
        with linker.begin("libgood.so") as load:
            load.run_to("publish")
            passed = interrupted(load.commit, number := number + 1)
        assert image.lifetime.uncommitted == 0, number
        assert image.references == (2 if load.committed else 1), number
        if load.committed:
            linker.unload(image)
    assert number > 5


def test_an_image_whose_unload_is_interrupted_is_not_found_any_more(arch: str) -> None:
    linker = linker_for(arch, Library(arch, "lib.so"))
    for number in range(1, 60):
        image = linker.load("lib.so")
        passed = interrupted(lambda image=image: linker.unload(image), number)  # type: ignore[misc]
        found = linker.loaded("lib.so")
        if found is not None:  # the interrupt came before the first step
            assert found is image, number
            assert not image.closed, number
            linker.unload(image)
    assert 20 < passed < number


def test_the_first_descriptor_stub_of_a_failed_load_is_taken_back(arch: str) -> None:
    linker = linker_for(arch, Library(arch, "libdep.so"))
    library = wrong(arch, Rel(PLACE + 32, SYMBOLIC[arch], "missing"))
    with pytest.raises(UnresolvedSymbol):
        linker.load(library.image())
    assert not linker.memory.regions  # type: ignore[attr-defined]
    linker.load(good(arch).image())
    assert [r.name for r in linker.memory.regions if "stub" in r.name]  # type: ignore[attr-defined]


class Stingy(HostMemory):
    """Memory that refuses the n-th reservation, or publication."""

    def __init__(self, arch: str, reservations: int = 99, publications: int = 99) -> None:
        super().__init__(arch)
        self.reservations, self.publications = reservations, publications

    def reserve(
        self, size: int, *, at: int | None = None, align: int = 4096, below: int | None = None, name: str = ""
    ) -> Region:
        self.reservations -= 1
        if self.reservations < 0:
            raise AddressSpaceError("spent", size=size)
        return super().reserve(size, at=at, align=align, below=below, name=name)

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        self.publications -= 1
        if self.publications < 0:
            raise AddressSpaceError("spent", address=region.address)
        super().publish(region, pages)


@each("step", range(3))
@each("what", ["reservations", "publications"])
def test_memory_that_gives_out_halfway_leaves_nothing(arch: str, what: str, step: int) -> None:
    memory = Stingy(arch, reservations=step) if what == "reservations" else Stingy(arch, publications=step)
    linker = Linker(memory, search=SearchPath({"libdep.so": Library(arch, "libdep.so").image()}))
    with pytest.raises(AddressSpaceError, match="spent"):
        linker.load(good(arch).image())
    assert not memory.regions
    assert not linker.images
    assert not linker.tls.modules
    assert not linker.resolver.unique
    memory.reservations = memory.publications = 99
    assert linker.load(good(arch).image()).tls == linker.tls.modules[1]


def test_a_hook_that_raises_undoes_the_load(arch: str) -> None:
    linker = prepared(arch, Bad(b"", ElfError))
    before = snapshot(linker)

    def unresolved(image: Module, symbol: str) -> int | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        linker.load(
            wrong(arch, Rel(PLACE + 32, SYMBOLIC[arch], "missing")).image(),
            options=LoadOptions(unresolved=unresolved),
        )
    assert snapshot(linker) == before


def test_an_ifunc_only_image_is_committed_like_any_other(arch: str) -> None:
    linker = linker_for(arch)
    library = Library(arch, symbols=[Sym("i", 0x40, type=IFUNC)], relocations=[Rel(PLACE, SYMBOLIC[arch], "i")])
    assert linker.load(library.image()).stage.name == "INITIALISED"


@pytest.mark.parametrize("count", [1, 3])
def test_an_interrupt_anywhere_while_places_are_given_leaves_none(count: int) -> None:
    names = [f"lib{number}.so" for number in range(count)]
    libraries = [Library("x86_64", name, names[at + 1 : at + 2]) for at, name in enumerate(names)]
    number, passed = 0, 0
    while passed == number:
        linker = linker_for("x86_64", *libraries)
        with linker.begin("lib0.so") as load:
            load.open()
            passed = interrupted(load.map, number := number + 1)
        assert not memory_of(linker).regions
    assert number > 40


def test_an_unload_that_is_interrupted_before_its_first_step_leaves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def __contains__(self, image: object) -> bool:
            raise KeyboardInterrupt  # while the steps are put together

    linker = linker_for("x86_64")
    image = linker.load(Library("x86_64", "lib.so").image())
    before = snapshot(linker)
    with monkeypatch.context() as patch:
        patch.setattr(linker, "mapped", Interrupting())
        with pytest.raises(KeyboardInterrupt):
            linker.unload(image)
    assert snapshot(linker) == before
    linker.unload(image)
    assert not memory_of(linker).regions
