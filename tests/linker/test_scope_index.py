"""The index of a scope, the look-up of single names and the binding of own exports by hash alone answer as the
plain walk over all images does.
"""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from relink import Image, Linker, LoadOptions
from relink.resolve import calls_ahead, own_exports
from relink.resolve import resolver as resolving
from relink.resolve.bindings import Bindings
from relink.resolve.one_name import bind_call, bound_in_images
from relink.resolve.resolver import Resolver, Use
from relink.resolve.scope_index import ScopeIndex
from tests.counting import python_lines
from tests.linker.craft import (
    ABS,
    COMMON,
    DATA,
    DEFAULT,
    FUNC,
    GLOBAL,
    HIDDEN,
    IFUNC,
    LOCAL,
    NOTYPE,
    OBJECT,
    PROTECTED,
    TLS,
    UNIQUE,
    WEAK,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.helpers import linker_for
from tests.linker.numbers import SYMBOLIC

NAMES = [f"name{number}" for number in range(14)]
VERSIONS = ("V1", "V2", "V3")
SYMBOLIC_FLAG, INTERPOSE = 2, 0x400


@contextmanager
def plainly(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the index, look-ups of single names and bindings by hash alone; what is unique is as it was
    afterwards.
    """
    unique = dict(resolver.unique)
    with monkeypatch.context() as patch:
        patch.setattr(resolver.indices, "enabled", False)
        patch.setattr(resolving, "_FEW", -1)
        patch.setattr(own_exports, "_WORTH", 1 << 30)
        yield
    resolver.unique = unique


def meaning(bound: Bindings) -> list[tuple[object, ...]]:
    providers = [bound.images[n] if n >= 0 else n for n in bound.provider.tolist()]
    arrays = (bound.address, bound.size, bound.type, bound.symbol, bound.canonical)
    return list(zip(providers, *(array.tolist() for array in arrays), strict=True))


def some_symbol(rng: random.Random, name: str, versioned: bool) -> Sym:
    if rng.random() < 0.35:
        version = rng.choice(VERSIONS) if versioned and rng.random() < 0.6 else None
        return undefined(name, rng.choice((GLOBAL, GLOBAL, WEAK)), version)
    type_ = rng.choice((NOTYPE, OBJECT, FUNC, FUNC, COMMON, IFUNC, TLS, 3))
    symbol = Sym(
        name,
        rng.choice((DATA + 8 * rng.randrange(32), DATA, 0)),
        rng.choice((1, 1, 1, ABS)),
        rng.choice((GLOBAL, GLOBAL, GLOBAL, WEAK, UNIQUE, LOCAL)),
        type_,
        rng.choice((DEFAULT, DEFAULT, DEFAULT, PROTECTED, HIDDEN)),
    )
    if versioned and rng.random() < 0.7:
        symbol.version, symbol.hidden = rng.choice(VERSIONS), rng.random() < 0.4
    return symbol


def some_library(rng: random.Random, arch: str, number: int, count: int) -> Library:
    versioned = rng.random() < 0.5
    wanted = rng.sample(NAMES, rng.randint(2, len(NAMES)))
    symbols = [some_symbol(rng, name, versioned) for name in wanted]
    if versioned:  # several versions of one name
        symbols += [some_symbol(rng, name, True) for name in rng.sample(wanted, min(3, len(wanted)))]
    executable = number == 0 and rng.random() < 0.5
    if executable:  # the addresses of its PLT entries
        symbols += [Sym(f"plt{n}", DATA + n, 0, GLOBAL, FUNC, hashed=True) for n in range(3)]
    symbols += [Sym(f"plt{n}", DATA + 8 * n, 1, GLOBAL, FUNC) for n in range(3) if rng.random() < 0.4]
    places = [
        Rel(DATA + 8 * at, SYMBOLIC[arch], symbol) for at, symbol in enumerate(symbols) if symbol.type != TLS
    ]
    libraries = [f"lib{n}.so" for n in range(number + 1, count)]
    return Library(
        arch,
        f"lib{number}.so",
        rng.sample(libraries, min(len(libraries), rng.randint(0, 3))),
        symbols=symbols,
        relocations=places,
        defines=VERSIONS if versioned else (),
        hashes=rng.choice((("gnu",), ("gnu", "sysv"), ("sysv",))),
        flags=SYMBOLIC_FLAG if rng.random() < 0.15 else 0,
        flags_1=INTERPOSE if rng.random() < 0.1 else 0,
        tls=(b"", 0x100, 8),
    )


def some_images(rng: random.Random) -> Linker:
    """A linker that has loaded nine such libraries."""
    linker = linker_for("x86_64", *(some_library(rng, "x86_64", number, 9) for number in range(9)))
    for number in range(9):
        linker.load(f"lib{number}.so", options=LoadOptions(unresolved=lambda image, name: 0x1000))
    return linker


def compare(linker: Linker, rng: random.Random, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = linker.resolver
    for image in rng.sample(linker.images, min(len(linker.images), 3)):
        table = image.decoded.symbols
        symbols = np.array(rng.choices(range(len(table)), k=rng.randint(1, 2 * len(table))), np.int64)
        uses = np.array(rng.choices((Use.ADDRESS, Use.CALL, Use.COPY), k=len(symbols)), np.uint8)
        for asked, purposes in ((symbols, uses), (symbols[:1], uses[:1]), (np.arange(len(table)), None)):
            scope = linker.lookup_scope(image)
            with plainly(resolver, monkeypatch):
                plain = meaning(resolver.bind(image, asked, scope, purposes))
            assert meaning(resolver.bind(image, asked, scope, purposes)) == plain
        compare_calls(linker, image, monkeypatch)
        for name in rng.sample(NAMES, 4):
            version = rng.choice((None, *VERSIONS))
            with plainly(resolver, monkeypatch):
                found = meaning(resolver.find(name, version, image.scope))
            assert meaning(resolver.find(name, version, image.scope)) == found


def compare_calls(linker: Linker, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jump slot's binding at its first call is that of a load, in the scope that is kept for it."""
    resolver, scope, kept = linker.resolver, linker.lookup_scope(image), linker.call_scope(image)
    assert kept == scope
    assert linker.call_scope(image) is kept
    symbols = np.arange(len(image.decoded.symbols))
    with plainly(resolver, monkeypatch):
        eager = resolver.bind(image, symbols, scope, np.full(len(symbols), Use.CALL, np.uint8))
        providers = [eager.images[n] if n >= 0 else None for n in eager.provider.tolist()]
    expected = list(zip(providers, eager.address.tolist(), strict=True))
    unique = dict(resolver.unique)
    ahead = [bound_in_images(resolver, image, symbol, kept) for symbol in symbols.tolist()]
    for few in (0, len(symbols)):
        with monkeypatch.context() as patch:
            patch.setattr(calls_ahead, "FEW", few)
            address, provider = calls_ahead.bind_ahead(resolver, image, symbols, kept)
        assert address.tolist() == [0 if bound is None else bound.address for bound in ahead]
        found = [(image, *kept.images)[number] for number in provider[address != 0].tolist()]
        assert found == [bound.provider for bound in ahead if bound is not None and bound.address]
    assert resolver.unique == unique
    lazy = [bind_call(resolver, image, symbol, kept) for symbol in symbols.tolist()]
    assert all(early is None or early == late for early, late in zip(ahead, lazy, strict=True))
    resolver.unique = unique
    assert [(bound.provider, bound.address) for bound in lazy] == expected


@pytest.mark.parametrize("arch", ["x86_64", "arm"])
@pytest.mark.parametrize("seed", range(3))
def test_random_scopes_are_answered_as_by_the_plain_walk(
    arch: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loads in any order, local, deep-binding and preloading ones too, and unloads in any order."""
    monkeypatch.setattr(own_exports, "_WORTH", 0)  # for small libraries too
    rng = random.Random(f"{arch}{seed}")
    count = 14
    libraries = [some_library(rng, arch, number, count) for number in range(count)]
    linker = linker_for(arch, *libraries)
    loads: list[Image] = []
    for _ in range(12):
        if loads and rng.random() < 0.35:
            linker.unload(loads.pop(rng.randrange(len(loads))))
        else:
            options = LoadOptions(
                local=rng.random() < 0.4,
                deep_bind=rng.random() < 0.2,
                preload=[f"lib{rng.randrange(count)}.so"] if rng.random() < 0.2 else (),
                unresolved=lambda image, name: 0x1000,
            )
            loads.append(linker.load(f"lib{rng.randrange(count)}.so", options=options))
        compare(linker, rng, monkeypatch)
    assert linker.resolver.indices._kept or len(linker.images) < 4


def test_an_index_that_follows_a_list_is_that_of_the_list() -> None:
    rng = random.Random(7)
    images = some_images(rng).images
    followed = ScopeIndex()
    for _ in range(30):
        order = rng.sample(images, rng.randint(1, 9))
        followed.follow(order)
        fresh = ScopeIndex()
        fresh.follow(order)
        assert (followed.images, sorted(followed.rest)) == (fresh.images, sorted(fresh.rest))
        assert followed._positions == fresh._positions


def test_images_worth_asking_are_those_that_may_define_a_name() -> None:
    rng = random.Random(11)
    images = some_images(rng).images
    for _ in range(10):
        index, order = ScopeIndex(), rng.sample(images, rng.randint(1, 9))
        index.follow(order)
        hashes = {hash_ for image in order for hash_ in image.decoded.symbols.name_hashes.tolist()}
        for hash_ in (*hashes, 0x1234):
            wanted = [
                position
                for position, image in enumerate(order)
                if position in index.rest or hash_ in image.decoded.symbols.name_hashes
            ]
            assert list(index.worth_asking(hash_ << 1)) == wanted


def test_of_many_images_that_define_a_name_the_first_alone_is_asked_for_it() -> None:
    def cost(count: int) -> int:
        """Lines of Python for a load that refers to a name of all others."""
        definer = [Library("x86_64", f"lib{number}.so", (), [Sym("common")]) for number in range(count)]
        common = undefined("common")
        relocation = Rel(8, SYMBOLIC["x86_64"], common)
        users = [Library("x86_64", f"libuser{number}.so", (), [common], [relocation]) for number in range(2)]
        linker = linker_for("x86_64", *users, *definer)
        for number in range(count):
            linker.load(f"lib{number}.so")
        linker.load("libuser0.so")  # makes the index
        return python_lines(lambda: linker.load("libuser1.so"))

    cost(20)  # what a process does once
    assert cost(200) <= cost(20) + 20


def test_what_is_unloaded_is_not_kept_by_an_index() -> None:
    linker = some_images(random.Random(3))
    images = [*linker.images]
    gone = [weakref.ref(image) for image in images]
    for image in images:
        linker.unload(image)
    del images, image
    gc.collect()
    assert [reference() for reference in gone] == [None] * 9
