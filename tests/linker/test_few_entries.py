"""Images with few entries, relocated one entry after another, are as the engine relocates them by arrays."""

from __future__ import annotations

import random

import pytest

from relink import Image, Linker, LoadOptions
from relink.errors import LinkErrors, RelinkError
from relink.relocate import bind, few_entries
from relink.resolve import resolver
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
    applied = few_entries.apply_entries
    taken: list[bool] = []

    def noting(*args: object) -> bool:
        taken.append(applied(*args))  # type: ignore[arg-type]
        return taken[-1]

    monkeypatch.setattr("relink.relocate.engine.apply_entries", noting)
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
