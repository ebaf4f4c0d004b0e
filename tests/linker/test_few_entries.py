"""Images with few entries, relocated one entry after another, are as the engine relocates them by arrays."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest

from relink import Image, Linker, LoadOptions
from relink.errors import LinkErrors, RelinkError
from relink.relocate import bind, few_entries
from relink.relocate.engine import Relocator
from relink.relocate.result import Relocated
from relink.resolve import few_references, resolver
from relink.search.decoded_cache import CACHE
from tests.linker.craft import DATA, FUNC, GLOBAL, IFUNC, UNIQUE, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for
from tests.linker.numbers import SYMBOLIC
from tests.linker.test_scope_index import meaning, some_library

ARCHES = ("x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64")


def simpler(rng: random.Random, library: Library) -> Library:
    """The library with fewer of what is left to the engine."""
    for symbol in library.symbols:
        if rng.random() < 0.95:
            symbol.type = FUNC if symbol.type == IFUNC else symbol.type
            symbol.bind = GLOBAL if symbol.bind == UNIQUE else symbol.bind
    if rng.random() < 0.8:
        library.hashes = ("gnu", "sysv")
    return library


def state(image: Image) -> tuple[object, ...]:
    """What relocation left: the bytes, and all that is known of the bindings."""
    result = image.relocated
    assert result.bindings is not None
    bound = [(getattr(provider, "name", provider), *rest) for provider, *rest in meaning(result.bindings)]
    return (
        image.region.buffer.tobytes(),
        bound,
        result.symbols.tolist(),
        [dict(result.counts), result.entries, result.weak_unresolved, result.unresolved],
        [(call.place.tolist(), call.resolver.tolist()) for call in result.ifuncs],
        None if result.deferred is None else result.deferred.stand_ins,
        [provider.name for provider in result.providers],
    )


def outcome(linker: Linker, name: str, options: LoadOptions) -> list[object]:
    try:
        linker.load(name, options=options)
    except LinkErrors as errors:
        return [str(error) for error in errors.exceptions]
    except RelinkError as error:
        return [str(error)]
    return [state(image) for image in linker.images]


@pytest.mark.parametrize("arch", ARCHES)
def test_random_libraries_are_relocated_as_by_arrays(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(arch)
    applied = few_entries.Entries.apply
    taken: list[bool] = []

    def noting(*args: object) -> bool:
        taken.append(applied(*args))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr(few_entries.Entries, "apply", noting)
    for _ in range(5):
        libraries = [simpler(rng, some_library(rng, arch, number, 8)) for number in range(8)]
        linkers = linker_for(arch, *libraries), linker_for(arch, *libraries)
        for _ in range(4):
            name = f"lib{rng.randrange(8)}.so"
            lenient = rng.random() < 0.7
            options = LoadOptions(
                local=rng.random() < 0.3,
                deep_bind=rng.random() < 0.2,
                unresolved=(lambda image, symbol: 0x1000 + len(symbol))
                if lenient
                else (lambda image, symbol: None),
                allow_deferred=rng.random() < 0.2,
            )
            quick = outcome(linkers[0], name, options)
            with monkeypatch.context() as patch:
                patch.setattr(few_entries, "MOST", -1)
                patch.setattr(bind, "_FEW", -1)
                patch.setattr(resolver, "_FEW", -1)
                assert outcome(linkers[1], name, options) == quick
    assert sum(taken) > 10


@pytest.mark.parametrize("arch", ARCHES)
def test_what_was_found_in_a_scope_is_what_would_be_found_again(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order the same files are loaded and unloaded, at other addresses and in other linkers."""
    rng = random.Random(arch)
    numbers = {"searched": 0, "asked": 0}

    def noting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            numbers[name] += 1
            return function(*args)

        return called

    monkeypatch.setattr(few_references, "_found", noting("searched", few_references._found))
    monkeypatch.setattr(resolver, "bind_few", noting("asked", few_references.bind_few))
    for _ in range(4):
        libraries = [simpler(rng, some_library(rng, arch, number, 4)) for number in range(4)]
        for _ in range(5):
            linkers = linker_for(arch, *libraries), linker_for(arch, *libraries)
            size = rng.choice([0x1000, 0x5000])
            for linker in linkers:
                linker.memory.reserve(size)  # other addresses than before
            for _ in range(4):
                name, deep_bind = f"lib{rng.randrange(4)}.so", rng.random() < 0.2
                options = LoadOptions(local=rng.random() < 0.5, deep_bind=deep_bind, unresolved=_anywhere)
                quick = outcome(linkers[0], name, options)
                before = numbers.copy()
                with monkeypatch.context() as patch:
                    patch.setattr(few_references, "SMALLEST_SCOPE", 0)  # nothing is kept
                    assert outcome(linkers[1], name, options) == quick
                numbers |= before
                loaded = [image for image in linkers[0].images if image.references]
                if loaded and rng.random() < 0.4:
                    number = linkers[0].images.index(rng.choice(loaded))
                    for linker in linkers:
                        linker.unload(linker.images[number])
    assert numbers["asked"] - numbers["searched"] > 5, f"seldom found again: {numbers}"


def _anywhere(image: object, symbol: str) -> int:
    return 0x1000 + len(symbol)


@pytest.mark.parametrize("arch", ARCHES)
def test_only_simple_entries_are_applied_one_by_one(arch: str) -> None:
    plain = Sym("plain", DATA + 8, 1, type=FUNC)
    ifunc = Sym("ifunc", DATA + 16, 1, type=IFUNC)
    type_ = SYMBOLIC[arch]
    cases = {
        "simple": ([plain], [Rel(DATA + 32, type_, plain), Rel(DATA + 40, type_, plain)], True),
        "overlapping": ([plain], [Rel(DATA + 32, type_, plain), Rel(DATA + 33, type_, plain)], False),
        "twice": ([plain], [Rel(DATA + 32, type_, plain), Rel(DATA + 32, type_, plain)], False),
        "outside": ([plain], [Rel(DATA + (1 << 20), type_, plain)], False),
        "unknown": ([plain], [Rel(DATA + 32, 250, plain)], False),
        "ifunc": ([ifunc], [Rel(DATA + 32, type_, ifunc)], True),
    }
    for name, (symbols, relocations, simple) in cases.items():
        linker = linker_for(arch, Library(arch, "lib.so", symbols=symbols, relocations=relocations))
        node = linker.find("lib.so")
        image = Image(node.decoded, linker.architecture, linker.resolver)  # type: ignore[arg-type]
        assert (few_entries.entries_of(image) is not None) == simple, name
        if name == "ifunc":
            loaded = linker.load("lib.so")
            assert [len(calls.place) for calls in loaded.relocated.ifuncs] == [1]


def test_what_a_file_says_of_its_entries_is_read_once() -> None:
    symbols = [Sym("value", DATA + 8, 1), undefined("elsewhere", 2)]
    library = Library("x86_64", "lib.so", symbols=symbols, relocations=[Rel(DATA + 32, 1, symbols[0])])
    linker = linker_for("x86_64", library)
    decoded = linker.find("lib.so").decoded
    assert decoded is not None
    images = [Image(decoded, linker.architecture, linker.resolver) for _ in range(2)]
    first, second = map(few_entries.entries_of, images)
    assert first is not None
    assert first is second
    assert [reference.name for reference in first.few.references] == [b"value"]


def test_images_of_a_file_share_only_arrays_that_cannot_be_written() -> None:
    symbols = [Sym("value", DATA + 8, 1)]
    library = Library("x86_64", "lib.so", symbols=symbols, relocations=[Rel(DATA + 32, 1, symbols[0])])
    linkers = [linker_for("x86_64", library) for _ in range(2)]
    decoded = linkers[0].find("lib.so").decoded
    assert decoded is not None
    one, other = (linker.load(decoded).relocated.bindings for linker in linkers)
    assert one is not None
    assert other is not None
    assert one.address is not other.address
    assert one.providers is one.providers, "each unload asks all loaded images"
    for name in ("size", "type", "provider", "symbol", "canonical"):
        assert getattr(one, name) is getattr(other, name)
        assert not getattr(one, name).flags.writeable
        assert getattr(one.copy(), name).flags.writeable


@pytest.mark.parametrize("arch", ARCHES)
def test_an_image_without_entries_is_as_the_engine_leaves_it(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(arch, "lib.so", symbols=[Sym("own", DATA)])
    run, ran = Relocator.run, list[Relocator]()

    def noting(relocator: Relocator) -> Relocated:
        ran.append(relocator)
        return run(relocator)

    monkeypatch.setattr(Relocator, "run", noting)
    quick = outcome(linker_for(arch, library), "lib.so", LoadOptions())
    assert not ran
    monkeypatch.setattr(few_entries, "MOST", -1)
    CACHE.clear()
    assert outcome(linker_for(arch, library), "lib.so", LoadOptions()) == quick
    assert ran


def test_images_without_references_share_arrays_that_cannot_be_written() -> None:
    bindings = linker_for("x86_64", Library("x86_64", "lib.so")).load("lib.so").relocated.bindings
    assert bindings is not None
    assert bindings.providers == []
    assert len(bindings.images) == 2, "the image itself, and its scope"
    assert not any(array.flags.writeable for array in (bindings.address, bindings.type, bindings.provider))


def test_what_was_found_is_kept_for_a_few_scopes_and_does_not_keep_their_files() -> None:
    value = Sym("value", DATA + 8, 1)
    library = Library("x86_64", "lib.so", symbols=[value], relocations=[Rel(DATA + 32, 1, value)]).image()
    few = None
    for number in range(12):
        linker = linker_for("x86_64")
        linker.load(Library("x86_64", f"first{number}.so").image())
        entries = few_entries.entries_of(linker.load(library))
        assert entries is not None
        assert few is None or entries.few is few, "otherwise this shows nothing"
        few = entries.few
    assert few is not None
    assert 1 < len(few.known) <= few_references._MOST_SCOPES
    del linker, entries
    CACHE.clear()
    gc.collect()
    assert all(file() is None for key in few.known if key for file in key if isinstance(file, ref))
