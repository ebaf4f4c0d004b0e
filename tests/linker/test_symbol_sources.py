"""Symbols that a caller answers: sources before and after the images."""

from __future__ import annotations

import pytest

from relink import (
    DefinedSymbols,
    LoadOptions,
    Names,
    SymbolRequest,
    UnresolvedSymbol,
)
from tests.linker.craft import (
    DATA,
    LOCAL,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.helpers import linker_for, load, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.test_symbols import PLACE, bound, refers


def test_sources_before_win_over_images_and_sources_after_only_fill(arch: str) -> None:
    linker = linker_for(arch)
    linker.resolver.before.append(DefinedSymbols({"first": 0x111}))
    linker.resolver.after.append(DefinedSymbols({"first": 0x222, "own": 0x333, "last": 0x444}))
    names = ("first", "own", "last")
    symbols = [Sym("first"), Sym("own", DATA + 4), undefined("last")]
    relocations = [Rel(PLACE + 8 * n, SYMBOLIC[arch], name) for n, name in enumerate(names)]
    image = linker.load(Library(arch, symbols=symbols, relocations=relocations).image())
    size = image.architecture.word_size
    assert [word_at(image, PLACE + 8 * n, size) for n in range(3)] == [0x111, image.address_of(DATA + 4), 0x444]
    assert {binding.symbol: binding.kind for binding in image.bindings()} == {
        "first": "host",
        "own": "image",
        "last": "host",
    }


def test_a_load_s_own_sources_come_before_the_linker_s(arch: str) -> None:
    linker = linker_for(arch)
    linker.resolver.before.append(DefinedSymbols({"s": 0x111}))
    options = LoadOptions(sources=(DefinedSymbols({"s": 0x999}),))
    assert bound(linker.load(refers(arch, undefined("s")).image(), options=options)) == 0x999


def test_a_source_is_told_name_version_and_who_asks(arch: str) -> None:
    asked: list[SymbolRequest] = []

    def lookup(request: SymbolRequest) -> int | None:
        asked.append(request)
        return 0x10 if request.name == "s" else None

    wants = refers(arch, undefined("s", version="V9"), needed=["libq.so"], needs=[("libq.so", "V9", 0)])
    options = LoadOptions(sources=(lookup,))
    linker_for(arch, Library(arch, "libq.so")).load(wants.image(), name="me", options=options)
    assert asked == [SymbolRequest("s", "V9", "me")]


def test_a_local_symbol_is_nobody_s_business(arch: str) -> None:
    image = load(refers(arch, Sym("s", DATA + 9, bind=LOCAL)), defined={"s": 0x10})
    assert bound(image) == image.address_of(DATA + 9)


def test_hashes_of_host_names_that_collide_do_not_confuse(arch: str) -> None:
    """Two names with one GNU hash: "bA" + "C" and "aa" + "C" differ by 33 - 33."""
    one, other = "bAC", "abC"
    assert Names.of([one]).gnu_hash[0] == Names.of([other]).gnu_hash[0]
    image = load(refers(arch, undefined(one)), defined={other: 0x20, one: 0x10})
    assert bound(image) == 0x10
    with pytest.raises(UnresolvedSymbol):
        load(refers(arch, undefined(one)), defined={other: 0x20})
