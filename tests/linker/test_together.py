"""Small images of a load, relocated together in one block of memory, are as when each is relocated by itself."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest

from relink import DefinedSymbols, HostMemory, Image, Linker, LoadOptions, Symbol, SymbolRequest
from relink.elf import Names
from relink.errors import AddressSpaceError
from relink.load import map as mapping
from relink.relocate.result import Relocated
from relink.relocate.together import Together
from relink.resolve.definitions import NO_VERSION, VersionIds, definitions
from relink.resolve.exact_names import exports_of
from relink.resolve.scopes import LookupScope
from tests.linker.craft import DATA, FUNC, IFUNC, TLS, UNIQUE, WEAK, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, memory_of, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.test_few_entries import ARCHES, outcome, simpler
from tests.linker.test_scope_index import VERSIONS, some_library


def simple(rng: random.Random, library: Library) -> Library:
    """The library, more often with symbols whose definition does not depend on who asks."""
    library = simpler(rng, library)
    if rng.random() < 0.7:
        library.defines, library.flags = (), 0
        for symbol in library.symbols:
            symbol.version, symbol.hidden = None, False
        library.hashes = ("gnu",)
    return library


@pytest.mark.parametrize("arch", ARCHES)
def test_random_libraries_are_relocated_as_each_by_itself(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(arch)
    take, taken = Together.take, list[bool]()

    def noting(self: Together, image: Image, scope: LookupScope, result: Relocated) -> bool:
        taken.append(take(self, image, scope, result))
        return taken[-1]

    monkeypatch.setattr(Together, "take", noting)
    for _ in range(12):
        libraries = [simple(rng, some_library(rng, arch, number, 8)) for number in range(8)]
        linkers = linker_for(arch, *libraries), linker_for(arch, *libraries)
        for _ in range(4):
            name = f"lib{rng.randrange(8)}.so"
            options = LoadOptions(
                local=rng.random() < 0.3,
                deep_bind=rng.random() < 0.2,
                unresolved=lambda image, symbol: 0x1000 + len(symbol),
                place={"lib3.so": 0x5000_0000} if rng.random() < 0.3 else None,
            )
            together = outcome(linkers[0], name, options)
            with monkeypatch.context() as patch:
                patch.setattr(mapping, "_goes_together", lambda image: False)
                assert outcome(linkers[1], name, options) == together
            places = [[(image.name, image.base) for image in linker.images] for linker in linkers]
            assert places[0] == places[1]
            if rng.random() < 0.3 and (loaded := linkers[0].images):
                which = rng.randrange(len(loaded))
                if loaded[which].references:
                    for linker in linkers:
                        linker.unload(linker.images[which])
    assert sum(taken) > 10
    assert not all(taken)


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
def test_what_is_kept_by_name_is_what_a_look_up_finds(arch: str) -> None:
    rng, certain, kept = random.Random(arch), 0, 0
    for number in range(60):
        library = simple(rng, some_library(rng, arch, number, 1))
        if rng.random() < 0.5:  # as a program has it whose PLT entry is the function's address
            library.symbols = [*library.symbols, Sym("entry", DATA, section=0, type=FUNC, hashed=True)]
        decoded = linker_for(arch, library).find(f"lib{number}.so").decoded
        assert decoded is not None
        found = exports_of(decoded)
        if found is None:
            continue
        linker = Linker(HostMemory(arch))
        image, versions = Image(decoded, linker.architecture, linker.resolver), VersionIds()
        everything = sorted({*decoded.symbols.names.texts()} - {""})
        for version in (None, *VERSIONS, "unknown"):
            required = np.full(len(everything), NO_VERSION if version is None else versions.of(version))
            for call in (False, True):
                calls, ids = np.full(len(everything), call), partial(np.asarray, required)
                request, symbols = definitions(image, Names.of(everything), ids, calls, versions, newest=False)
                answers = dict(zip(request.tolist(), symbols.tolist(), strict=True))
                for place, name in enumerate(everything):
                    export = found.by_name.get(name.encode())
                    if name.encode() not in found.by_name:
                        assert place not in answers
                    elif export is not None:
                        assert answers[place] == export.symbol
                        certain += 1
                    kept += 1
    assert certain > kept / 10


def chain(arch: str, count: int, **last: object) -> list[Library]:
    """Libraries each of which needs the next and a word of it."""
    libraries = []
    for number in range(count):
        own = Sym(f"v{number}", DATA + 8)
        more = number + 1 < count
        needs = [undefined(f"v{number + 1}")] if more else []
        relocations = [Rel(DATA + 16 + 8 * at, SYMBOLIC[arch], symbol) for at, symbol in enumerate([own, *needs])]
        needed = [f"lib{number + 1}.so"] if more else []
        libraries.append(Library(arch, f"lib{number}.so", needed, symbols=[*needs, own], relocations=relocations))
    return libraries


@pytest.mark.parametrize("arch", ARCHES)
def test_each_image_of_a_block_has_memory_of_its_own(arch: str) -> None:
    linker = linker_for(arch, *chain(arch, 5))
    linker.load("lib3.so")
    with linker.begin("lib0.so") as load:
        load.run_to("map")
        assert load.plan.block is not None
        assert len(load.plan.block.images) == 3
        root = load.plan.root
        root.region.buffer[int(root.runs.index(DATA)) + 100] = 7  # a change between two phases stays
        load.finish()
    first, second, third = (image for image in linker.images if image.name in ("lib0.so", "lib1.so", "lib2.so"))
    assert linker.memory.read(first.address_of(DATA + 100), 1) == b"\7"
    before = second.region.buffer.tobytes()
    linker.memory.write(first.address_of(DATA), b"\xff" * 8)
    assert second.region.buffer.tobytes() == before
    buffer = third.region.buffer
    linker.unload(first)
    assert not {first, second, third} & {*linker.images}
    buffer[:8] = 1  # what outlives an image can be written


@pytest.mark.parametrize("what", ["ifunc", "unique", "thread-local"])
def test_a_symbol_out_of_the_ordinary_is_left_to_the_walk(what: str) -> None:
    libraries = chain("x86_64", 3)
    odd = libraries[1].symbols[-1]
    odd.bind = UNIQUE if what == "unique" else odd.bind
    odd.type = {"ifunc": IFUNC, "thread-local": TLS}.get(what, odd.type)
    if what == "thread-local":
        libraries[1].tls = (b"", 0x100, 8)
    linker = linker_for("x86_64", *libraries)
    linker.load("lib0.so")
    assert ("v1" in linker.resolver.unique) == (what == "unique")
    ifuncs = sum(len(image.relocated.ifuncs) for image in linker.images)
    assert ifuncs == (2 if what == "ifunc" else 0)


def answer(asked: list[tuple[str, str | None]], odd: Symbol, request: SymbolRequest) -> Symbol | int | None:
    """Note the request, and answer two of the names."""
    asked.append((request.name, request.image))
    return odd if request.name == "host2" else 0x1234 if request.name == "common" else None


@pytest.mark.parametrize("arch", ARCHES)
def test_what_no_image_defines_is_asked_of_sources_in_order(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = chain(arch, 4)
    for number, library in enumerate(libraries):
        more = [undefined(f"host{number}"), undefined("common"), undefined("nothing", WEAK)]
        library.symbols = [*more, *library.symbols]
        places = [DATA + 64 + 8 * at for at in range(len(more))]
        added = [Rel(at, SYMBOLIC[arch], symbol) for at, symbol in zip(places, more, strict=True)]
        library.relocations = [*library.relocations, *added]
    results = []
    for together in (True, False):
        asked: list[tuple[str, str | None]] = []
        linker = linker_for(arch, *libraries, Library(arch, "libodd.so", symbols=[Sym("odd", DATA, type=IFUNC)]))
        odd = linker.load("libodd.so", options=LoadOptions(local=True)).symbol("odd")

        def source(
            request: SymbolRequest, asked: list[tuple[str, str | None]] = asked, odd: Symbol = odd
        ) -> object:
            asked.append((request.name, request.image))
            return odd if request.name == "host2" else 0x1234 if request.name == "common" else None

        linker.resolver.after.append(source)
        strict = LoadOptions(unresolved=lambda image, symbol: 0x4321 if symbol != "host1" else None)
        lenient = LoadOptions(unresolved=lambda image, symbol: 0x4321)
        with monkeypatch.context() as patch:
            if not together:
                patch.setattr(mapping, "_goes_together", lambda image: False)
            results.append([(outcome(linker, "lib0.so", options), asked.copy()) for options in (strict, lenient)])
        odd_users = [image.name for image in linker.images if image.relocated.ifuncs]
        assert odd_users == ["lib2.so"]
    assert results[0] == results[1]
    assert "host1" in str(results[0][0])
    assert ("common", "lib3.so") in asked


def test_a_load_that_fails_halfway_leaves_nothing_of_a_block() -> None:
    libraries = chain("x86_64", 4)
    libraries[3].symbols = [Sym("other", DATA + 8, type=FUNC)]
    libraries[3].relocations = []
    linker = linker_for("x86_64", *libraries)
    with pytest.raises(Exception, match="v3"):
        linker.load("lib0.so")
    assert not memory_of(linker).regions
    assert memory_of(linker).given is None
    with pytest.raises(AddressSpaceError):
        linker.load("lib0.so", options=LoadOptions(base=0x123))
    assert not memory_of(linker).regions
    assert memory_of(linker).given is None


@pytest.mark.parametrize("together", [True, False])
def test_a_source_that_is_added_by_another_answers_for_the_images_after(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether sources are asked before the images is found out again after one has been asked."""
    libraries = chain("x86_64", 5)
    host = undefined("host")
    libraries[2].symbols = [host, *libraries[2].symbols]
    libraries[2].relocations = [*libraries[2].relocations, Rel(DATA + 64, SYMBOLIC["x86_64"], host)]
    linker = linker_for("x86_64", *libraries)

    def source(request: SymbolRequest) -> int | None:
        linker.resolver.before.append(DefinedSymbols({"v1": 0x7777, "v3": 0x7777}))
        return 0x1234

    linker.resolver.after.append(source)
    if not together:
        monkeypatch.setattr(mapping, "_goes_together", lambda image: False)
    linker.load("lib0.so")
    images = {image.name: image for image in linker.images}
    assert word_at(images["lib1.so"], DATA + 16, 8) == word_at(images["lib0.so"], DATA + 24, 8) == 0x7777
    assert word_at(images["lib3.so"], DATA + 16, 8) == images["lib3.so"].address_of(DATA + 8)
