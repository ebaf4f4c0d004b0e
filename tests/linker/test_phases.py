"""A load goes phase by phase: whoever began it may look, intervene, go on or roll back between any two."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relink import (
    AddressSpaceError,
    Entries,
    Event,
    Image,
    ImageLoaded,
    ImageMapped,
    Linker,
    LinkError,
    Load,
    LoadFailed,
    LoadOptions,
    LoadOrderError,
    LoadRolledBack,
    Pages,
    Phase,
    Protection,
    RelocationHandler,
    Stage,
    UnresolvedSymbol,
    UseAfterUnload,
    decode,
)
from relink.arrays import U64
from relink.load.adopt import Adoption
from relink.memory import placement as place
from tests.linker.craft import DATA, TLS, UNIQUE, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, memory_of, snapshot, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.reference import DESCRIPTOR

PLACE = DATA + 0x80
PHASES = list(Phase)
BEFORE_COMMIT = PHASES[:-1]


def plugin(arch: str, soname: str = "libplugin.so") -> Library:
    """Has a share in all that a load changes: dependency, TLS, a unique symbol, a descriptor stub."""
    unique, thread = Sym(f"unique_{soname}", DATA + 0x10, bind=UNIQUE), Sym("thread", 0, type=TLS)
    relocations = [
        Rel(PLACE, SYMBOLIC[arch], unique),
        Rel(PLACE + 16, DESCRIPTOR[arch], thread),
        Rel(PLACE + 32, SYMBOLIC[arch], "from_dep"),
    ]
    symbols = [unique, thread, undefined("from_dep"), Sym("own", DATA + 4)]
    return Library(arch, soname, ["libdep.so"], symbols=symbols, tls=(b"xyz", 24, 16), relocations=relocations)


def prepared(arch: str) -> Linker:
    """A linker that has something loaded already, and finds what `plugin` needs."""
    dep = Library(arch, "libdep.so", symbols=[Sym("from_dep", DATA + 0x20)])
    linker = linker_for(arch, dep, plugin(arch))
    linker.load(Library(arch, "libold.so", symbols=[Sym("old", DATA)]).image())
    return linker


def is_read(linker: Linker, image: Image) -> bool:
    """Whether the guest sees an image."""
    try:
        return linker.memory.read(image.base, 4) == b"\x7fELF"
    except AddressSpaceError:
        return False


def reached(load: Load, linker: Linker) -> dict[Phase, bool]:
    """Which phases' work is there to be seen."""
    if load.done is None:
        return dict.fromkeys(Phase, False)
    known = load.done is not Phase.OPEN
    root = load.plan.root if known else None
    return {
        Phase.OPEN: [node.name for node in load.nodes][-1] == "libdep.so",
        Phase.MAP: root is not None and root.base > 0,
        Phase.JOIN: root is not None and root in linker.images and root.references == 1,
        Phase.ASSIGN_TLS: root is not None and root.tls is not None and root.tls.id in linker.tls.modules,
        Phase.RELOCATE: root is not None and word_at(root, PLACE, 4) == root.address_of(DATA + 0x10) & 0xFFFF_FFFF,
        Phase.PUBLISH: root is not None and is_read(linker, root),
        Phase.COMMIT: root is not None and root.stage is Stage.INITIALISED,
    }


def test_between_any_two_phases_one_sees_what_is_done_and_may_roll_back(arch: str) -> None:
    linker = prepared(arch)
    before = snapshot(linker)
    for stop in [None, *BEFORE_COMMIT]:
        load = linker.begin("libplugin.so")
        if stop is not None:
            load.run_to(stop)
        assert load.done is stop
        assert [phase for phase, there in reached(load, linker).items() if there] == PHASES[
            : PHASES.index(stop) + 1 if stop else 0
        ]
        load.rollback()
        assert load.next is None
        assert snapshot(linker) == before, stop
        assert not linker.under_way
    image = linker.load("libplugin.so")
    assert word_at(image, PLACE + 32, image.architecture.word_size) == linker.images[-1].address_of(DATA + 0x20)


def test_going_on_after_any_stop_comes_to_what_one_call_does(arch: str) -> None:
    whole = prepared(arch)
    expected = bytes(whole.load("libplugin.so").region.buffer)
    for stop in PHASES:
        linker = prepared(arch)
        with linker.begin("libplugin.so") as load:
            while load.done is not stop:
                assert load.step() is load.done
            image = load.plan.root if stop is Phase.COMMIT else load.finish()
        assert bytes(image.region.buffer) == expected
        assert image.stage is Stage.INITIALISED
        assert linker.memory.read(image.base, 4) == b"\x7fELF"
        assert [i.soname for i in linker.images] == ["libold.so", "libplugin.so", "libdep.so"]
        assert [i.soname for i in linker.unload(image)] == ["libplugin.so", "libdep.so"]


def test_a_phase_out_of_its_turn_is_refused_and_changes_nothing() -> None:
    linker = prepared("x86_64")
    with linker.begin("libplugin.so") as load:
        with pytest.raises(LoadOrderError, match="known only after map"):
            _ = load.plan
        for turn in PHASES:
            for wrong in PHASES:
                if wrong is not turn:
                    with pytest.raises(LoadOrderError, match=f"libplugin.so: {wrong}: {turn} is next") as refused:
                        getattr(load, wrong)()
                    assert refused.value.phase == wrong
            for past in PHASES[: PHASES.index(turn)]:
                with pytest.raises(LoadOrderError, match=f"{turn} is next"):
                    load.run_to(past)
            assert load.next is turn
            getattr(load, turn)()
        for act in (load.step, load.finish, load.rollback, load.map):
            with pytest.raises(LoadOrderError, match="has been committed"):
                act()
        with pytest.raises(ValueError, match="relocat"):
            load.run_to("relocating")
    assert linker.load("libplugin.so") is load.plan.root


@pytest.mark.parametrize("stop", BEFORE_COMMIT)
def test_a_block_that_ends_early_rolls_back_and_observers_hear_why(stop: Phase) -> None:
    linker = prepared("riscv64")
    before = snapshot(linker)
    events: list[Event] = []
    linker.observers.append(events.append)
    with linker.begin("libplugin.so") as load:
        load.run_to(stop)
    assert snapshot(linker) == before
    last = events[-1]
    assert isinstance(last, LoadFailed)
    assert last.name == "libplugin.so"
    assert isinstance(last.error, LoadRolledBack)
    assert f"rolled back after {stop}" in str(last.error)
    with pytest.raises(LoadOrderError, match="has been rolled back"):
        load.step()
    if stop is not Phase.OPEN:
        with pytest.raises(UseAfterUnload):
            load.plan.root.symbol("own")


def test_a_phase_that_raises_has_rolled_back_before_the_error_comes_out() -> None:
    linker = prepared("aarch64")
    before = snapshot(linker)
    bad = Library(
        "aarch64", symbols=[undefined("nowhere")], relocations=[Rel(PLACE, SYMBOLIC["aarch64"], "nowhere")]
    )
    load = linker.begin(bad.image())  # and no `with`
    load.run_to("assign_tls")
    with pytest.raises(UnresolvedSymbol):
        load.relocate()
    assert snapshot(linker) == before
    with pytest.raises(LoadOrderError, match="publish: the load has been rolled back"):
        load.publish()


# ---------------------------------------------------------------- intervening


def test_bytes_changed_after_map_are_the_ones_that_are_relocated() -> None:
    """The addend of a REL entry lies in the place."""
    library = Library(
        "i386", "lib.so", symbols=[Sym("own", DATA)], relocations=[Rel(PLACE, SYMBOLIC["i386"], "own")]
    )
    linker = linker_for("i386")
    with linker.begin(library.image()) as load:
        load.run_to("map")
        root = load.plan.root
        root.region.buffer[PLACE - int(root.low)] = 12
        image = load.finish()
    assert word_at(image, PLACE, 4) == image.address_of(DATA) + 12


def hook(linker: Linker, load: Load) -> None:
    linker.resolver.before.append(lambda request: 0x1234 if request.name == "from_dep" else None)


def handler(linker: Linker, load: Load) -> None:
    def after(entries: Entries) -> U64 | None:
        assert entries.value is not None
        return np.where([name == "from_dep" for name in entries.names], np.uint64(0x1234), entries.value)

    linker.relocation_handlers.append(RelocationHandler(after=after))


def other_scope(linker: Linker, load: Load) -> None:
    load.plan.root.scopes.sources = (lambda request: 0x1234 if request.name == "from_dep" else None,)


@pytest.mark.parametrize("how", [hook, handler, other_scope])
def test_what_is_said_between_join_and_relocate_counts(how: Callable[[Linker, Load], None]) -> None:
    linker = prepared("x86_64")
    with linker.begin("libplugin.so") as load:
        load.run_to("join")
        how(linker, load)
        image = load.finish()
    assert word_at(image, PLACE + 32, 8) == 0x1234


def test_a_phase_cannot_be_run_from_within_another() -> None:
    linker = prepared("arm")
    before = snapshot(linker)
    load = linker.begin("libplugin.so")
    tried: list[str] = []

    def meddle(event: Event) -> None:
        if isinstance(event, ImageMapped):
            for act in (load.step, load.rollback, load.abandon):
                with pytest.raises(LoadOrderError, match="map is running"):
                    act()
                tried.append(act.__name__)
        if isinstance(event, ImageLoaded):
            load.rollback()

    linker.observers.append(meddle)
    with load:
        load.run_to("publish")
        assert tried == ["step", "rollback", "abandon"] * 2
        with pytest.raises(LoadOrderError, match="commit is running"):
            load.commit()
    linker.observers.clear()
    assert snapshot(linker) == before


# ---------------------------------------------------------------- loads that overlap


@pytest.mark.parametrize("stop", ["open", "map"])
def test_what_another_load_has_brought_meanwhile_is_not_brought_twice(stop: str, tmp_path: Path) -> None:
    linker = prepared("x86_64")
    with linker.begin("libplugin.so") as load:
        load.run_to(stop)
        linker.load("libdep.so")
        after = list(linker.images)
        with pytest.raises(LinkError, match=r"libdep\.so: has been loaded since the load of libplugin"):
            load.finish()
    assert linker.images == after
    linker.load("libplugin.so")
    path = tmp_path / "file"  # the same file by another name, without a SONAME
    path.write_bytes(Library("x86_64", None).image())
    with linker.begin(path) as load:
        load.run_to(stop)
        linker.load(path, name="first")
        with pytest.raises(LinkError, match="first: has been loaded since"):
            load.finish()


@pytest.mark.parametrize("stop", ["open", "map"])
def test_what_has_gone_meanwhile_is_not_relied_on(stop: str) -> None:
    linker = prepared("riscv32")
    dep = linker.load("libdep.so")
    with linker.begin("libplugin.so") as load:
        load.run_to(stop)
        linker.unload(dep)
        with pytest.raises(LinkError, match=r"libdep\.so: has been unloaded since"):
            load.finish()
    assert [i.soname for i in linker.images] == ["libold.so"]


def test_once_joined_a_load_keeps_what_it_needs() -> None:
    linker = prepared("x86_64")
    dep = linker.load("libdep.so")
    with linker.begin("libplugin.so") as load:
        load.run_to("join")
        assert linker.unload(dep) == []
        load.finish()
    assert not dep.closed


def test_stubs_that_an_unpublished_load_has_reserved_serve_another(arch: str) -> None:
    """Both use the page of TLS descriptor stubs; the first to be published brings it."""
    linker = prepared(arch)
    regions = len(memory_of(linker).regions)
    with linker.begin("libplugin.so") as first:
        first.run_to("relocate")
        second = linker.load(plugin(arch, "libsecond.so").image())
        words = [
            word_at(second, PLACE + 16 + at, second.architecture.word_size)
            for at in (0, second.architecture.word_size)
        ]
        (stub,) = [word for word in words if linker.memory.protection(word) == Protection.R | Protection.X]
        assert linker.memory.read(stub, 4)
        # libsecond.so has bound to libdep.so, which `first` has brought in.
        with pytest.raises(LinkError, match=r"uses an image of the load of libplugin"):
            first.rollback()
        linker.unload(second)
    assert len(memory_of(linker).regions) == regions + 1, "the page stays"


def test_images_of_a_load_under_way_are_not_unloaded_but_rolled_back() -> None:
    linker = prepared("x86_64")
    before = snapshot(linker)
    with linker.begin("libplugin.so") as load:
        load.run_to("publish")
        root = load.plan.root
        with pytest.raises(LinkError, match="is still being loaded"):
            linker.unload(root)
        again = linker.load("libplugin.so")
        assert again is root
        assert linker.unload(root) == []
    assert snapshot(linker) == before


def test_closing_a_linker_ends_loads_that_are_under_way() -> None:
    linker = prepared("x86_64")
    loads = [linker.begin("libplugin.so"), linker.begin(Library("x86_64", "libother.so").image())]
    loads[0].run_to("map")
    loads[1].run_to("publish")
    linker.close()
    assert not memory_of(linker).regions
    assert not linker.tls.modules
    for load in loads:
        with pytest.raises(LoadOrderError, match="has been rolled back"):
            load.step()


# ---------------------------------------------------------------- adoption


def in_memory(arch: str) -> tuple[Linker, int]:
    """An unrelocated `plugin` in somebody else's memory, and its address."""
    linker = prepared(arch)
    decoded = decode(plugin(arch).image())
    region = place.reserve(linker.memory, decoded, None)
    place.fill(region, decoded)
    everything = Protection.R | Protection.W | Protection.X
    linker.memory.publish(region, [Pages(0, region.size, everything)])
    return linker, region.address


def test_an_adoption_goes_by_the_same_phases_and_puts_the_bytes_back(arch: str) -> None:
    linker, address = in_memory(arch)
    before, content = snapshot(linker), linker.memory.read(address, DATA + 0x1000)
    for stop in BEFORE_COMMIT:
        with linker.begin_adoption(address, relocated=False) as load:
            assert isinstance(load, Adoption)
            load.run_to(stop)
            written = linker.memory.read(address, DATA + 0x1000) != content
            assert written == (stop is Phase.PUBLISH), "the guest's bytes change when the load is published"
        assert linker.memory.read(address, DATA + 0x1000) == content
        assert snapshot(linker) == before
    image = linker.adopt(address, relocated=False)
    assert image.base == address
    where = address + PLACE - int(image.low)
    assert word_at(linker, where, image.architecture.word_size) == image.address_of(DATA + 0x10)


def test_memory_adopted_meanwhile_is_not_adopted_twice() -> None:
    linker, address = in_memory("x86_64")
    for stop in ("open", "map"):
        with linker.begin_adoption(address, relocated=False, options=LoadOptions(local=True)) as load:
            load.run_to(stop)
            image = linker.adopt(address, relocated=False, name="first")
            with pytest.raises(LinkError, match=r"^first: has been loaded"):
                load.finish()
        linker.unload(image)
