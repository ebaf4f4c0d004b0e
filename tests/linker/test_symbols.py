"""Which definition a reference binds to: scope, binding, visibility, uniqueness, by the rules of ld.so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from relink import (
    ARCHITECTURES,
    Image,
    Linker,
    LinkErrors,
    LoadOptions,
    UnresolvedSymbol,
)
from relink.resolve.one_name import bind_call
from tests.fixtures import fixture, targets_of
from tests.grouping import each
from tests.linker.craft import (
    DATA,
    FUNC,
    GLOBAL,
    HIDDEN,
    INTERNAL,
    LOCAL,
    NOTYPE,
    PROTECTED,
    TLS,
    UNIQUE,
    WEAK,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.helpers import built, linker_for, load, word_at
from tests.linker.numbers import SYMBOLIC, TPOFF

PLACE = DATA + 0x80


def refers(
    arch: str,
    symbol: Sym,
    soname: str = "librefers.so",
    needed: Sequence[str] = (),
    *,
    others: Sequence[Sym] = (),
    **more: Any,
) -> Library:
    """A library with one word, at PLACE, that wants `symbol`; its own definitions are `symbol` and `others`."""
    return Library(
        arch,
        soname,
        needed,
        symbols=[symbol, *others],
        relocations=[Rel(PLACE, SYMBOLIC[arch], symbol)],
        **more,
    )


def bound(image: Image) -> int:
    return word_at(image, PLACE, image.architecture.word_size)


# ---------------------------------------------------------------- hash tables


@each("hashes", [("gnu",), ("sysv",), ("gnu", "sysv"), ()], ids=lambda h: "+".join(h) or "none")
def test_any_hash_table_alone_is_enough(arch: str, hashes: tuple[str, ...]) -> None:
    symbols = [Sym(f"name{n}", DATA + n) for n in range(50)]
    wants = refers(arch, undefined("name33"), needed=["liba.so"])
    # With no hash table at all only relocations say how many symbols there are.
    relocations = [Rel(DATA + 0x100, SYMBOLIC[arch], symbol) for symbol in symbols] if not hashes else []
    image = load(wants, Library(arch, "liba.so", symbols=symbols, hashes=hashes, relocations=relocations))
    assert bound(image) == image.dependencies[0].address_of(DATA + 33)


def test_the_fixtures_with_one_hash_table_answer_alike(target: str) -> None:
    exports: list[set[str]] = []
    for name in ("hash_gnu", "hash_sysv", "hash_both"):
        _, image = built(target, name, unresolved=lambda image, symbol: 0x1000)
        exports.append(set(image.exports))
        for symbol in image.exports:
            assert image.symbol(symbol).address == image.exports[symbol]
    assert exports[0] == exports[1] == exports[2] != set()


def test_every_one_of_many_names_is_found_and_no_other(target: str) -> None:
    _, image = built(target, "hash_many")
    exports = image.exports
    assert len(exports) >= 100
    for name, address in exports.items():
        assert image.symbol(name).address == address
        with pytest.raises(UnresolvedSymbol):
            image.symbol(name + "x")


# ---------------------------------------------------------------- scope


def test_the_scope_is_breadth_first(arch: str) -> None:
    """root → a, b; a → deep: b's definition comes before deep's."""
    root = refers(arch, undefined("s"), needed=["liba.so", "libb.so"])
    a = Library(arch, "liba.so", ["libdeep.so"])
    b = Library(arch, "libb.so", symbols=[Sym("s", DATA + 0xB)])
    deep = Library(arch, "libdeep.so", symbols=[Sym("s", DATA + 0xD)])
    image = load(root, a, b, deep)
    assert [i.soname for i in image.scope] == ["librefers.so", "liba.so", "libb.so", "libdeep.so"]
    assert bound(image) == image.scope[2].address_of(DATA + 0xB)
    assert image.symbol("s").image.soname == "libb.so"


def test_a_dependency_s_reference_is_answered_by_whoever_comes_first(target: str) -> None:
    linker, image = built(target, "deps/libtop")
    assert image.symbol("who").image.soname == "libmid.so"
    assert [i.soname for i in linker.images] == ["libtop.so", "libmid.so", "libside.so", "libleaf.so"]


def test_a_weak_definition_does_not_lose_to_a_later_strong_one(arch: str) -> None:
    root = refers(arch, undefined("s"), needed=["liba.so", "libb.so"])
    weak = Library(arch, "liba.so", symbols=[Sym("s", DATA + 1, bind=WEAK)])
    strong = Library(arch, "libb.so", symbols=[Sym("s", DATA + 2)])
    image = load(root, weak, strong)
    assert bound(image) == image.scope[1].address_of(DATA + 1)


def test_an_undefined_weak_symbol_is_zero_and_said_so(arch: str) -> None:
    image = load(refers(arch, undefined("nobody", WEAK)))
    assert bound(image) == 0
    assert image.relocated.weak_unresolved == ["nobody"]
    (binding,) = image.bindings()
    assert (binding.symbol, binding.kind, binding.provider, binding.address) == ("nobody", "weak", None, 0)


def test_a_weak_reference_takes_a_definition_when_there_is_one(arch: str) -> None:
    image = load(
        refers(arch, undefined("s", WEAK), needed=["liba.so"]), Library(arch, "liba.so", symbols=[Sym("s")])
    )
    assert bound(image) == image.scope[1].address_of(DATA)


@each(
    "symbol",
    [
        Sym("s", DATA + 1, visibility=HIDDEN),
        Sym("s", DATA + 1, visibility=INTERNAL),
        Sym("s", DATA + 1, bind=LOCAL),
        Sym("s", 0, type=NOTYPE),
        Sym("s", DATA + 1, type=3),
        Sym("s", DATA, type=4),
        Sym("s", DATA + 1, bind=13),
    ],
    ids=["hidden", "internal", "local", "at 0", "section", "file", "processor binding"],
)
def test_what_is_no_definition_for_others_is_passed_over(arch: str, symbol: Sym) -> None:
    root = refers(arch, undefined("s"), needed=["liba.so", "libb.so"])
    image = load(
        root, Library(arch, "liba.so", symbols=[symbol]), Library(arch, "libb.so", symbols=[Sym("s", DATA + 2)])
    )
    assert bound(image) == image.scope[2].address_of(DATA + 2)
    with pytest.raises(UnresolvedSymbol):
        load(refers(arch, undefined("s"), needed=["liba.so"]), Library(arch, "liba.so", symbols=[symbol]))


@each(("visibility", "bind"), [(PROTECTED, GLOBAL), (HIDDEN, GLOBAL), (0, LOCAL), (INTERNAL, WEAK)])
def test_what_is_not_preemptible_binds_to_itself(arch: str, visibility: int, bind: int) -> None:
    root = Library(arch, "libroot.so", ["librefers.so"], symbols=[Sym("s", DATA + 7)])
    own = refers(arch, Sym("s", DATA + 3, visibility=visibility, bind=bind))
    image = load(root, own)
    dependency = image.dependencies[0]
    assert bound(dependency) == dependency.address_of(DATA + 3)


def test_an_ordinary_definition_is_interposed(arch: str) -> None:
    root = Library(arch, "libroot.so", ["librefers.so"], symbols=[Sym("s", DATA + 7)])
    image = load(root, refers(arch, Sym("s", DATA + 3)))
    assert bound(image.dependencies[0]) == image.address_of(DATA + 7)


@pytest.mark.parametrize("how", ["flag", "tag"])
def test_symbolic_looks_at_itself_first_and_then_at_everyone(arch: str, how: str) -> None:
    root = Library(arch, "libroot.so", ["librefers.so"], symbols=[Sym("s", DATA + 7), Sym("t", DATA + 8)])
    symbolic: dict[str, Any] = {"flags": 2} if how == "flag" else {"tags": {16: 0}}
    own = refers(arch, Sym("s", DATA + 3), others=[undefined("t")], **symbolic)
    own.relocations = [*own.relocations, Rel(PLACE + 8, SYMBOLIC[arch], "t")]
    image = load(root, own)
    dependency = image.dependencies[0]
    assert bound(dependency) == dependency.address_of(DATA + 3)
    assert word_at(dependency, PLACE + 8, image.architecture.word_size) == image.address_of(DATA + 8)


def test_the_interposer_fixture_wins_unless_the_library_is_symbolic(target: str) -> None:
    for name, interposed in (("not_symbolic", True), ("symbolic_list", False), ("symbolic", False)):
        if target not in targets_of(name):
            continue
        linker, image = built(target, name, preload=[fixture(target, "interposer")])
        interposer = next(i for i in linker.images if i.soname == "interposer.so")
        winner = interposer if interposed else image
        size = image.architecture.word_size
        pointer = image.symbol("shared_value_pointer").address
        assert word_at(linker, pointer, size) == winner.exports["shared_value"]


# ---------------------------------------------------------------- preload, global and local


@pytest.mark.parametrize("local", [False, True])
def test_a_preload_comes_before_the_root(arch: str, local: bool) -> None:
    root = refers(arch, undefined("s"), needed=["liba.so"])
    a = Library(arch, "liba.so", symbols=[Sym("s", DATA + 0xA)])
    preload = Library(arch, "libp.so", symbols=[Sym("s", DATA + 0xF)])
    linker = linker_for(arch, a)
    image = linker.load(root.image(), options=LoadOptions(preload=[preload.image()], local=local))
    assert bound(image) == linker.images[0].address_of(DATA + 0xF)


def test_a_file_preloaded_and_asked_for_is_loaded_once(target: str) -> None:
    path = fixture(target, "deps/libleaf")
    linker, image = built(target, "deps/libleaf", preload=[path, path])
    assert linker.images == [image]


def test_images_loaded_global_answer_later_loads_and_local_ones_do_not(arch: str) -> None:
    provider = Library(arch, "libp.so", symbols=[Sym("s")])
    wants = refers(arch, undefined("s"))
    linker = linker_for(arch)
    local = linker.load(provider.image(), options=LoadOptions(local=True))
    with pytest.raises(UnresolvedSymbol):
        linker.load(wants.image())
    assert local not in linker.global_scope
    shared = linker.load(provider.image())
    assert bound(linker.load(wants.image())) == shared.address_of(DATA)


def test_a_local_image_loaded_again_globally_joins_the_global_scope(target: str) -> None:
    linker, image = built(target, "deps/libtop", local=True)
    assert linker.global_scope == []
    again = linker.load(fixture(target, "deps/libtop"))
    assert again is image
    assert linker.global_scope == image.scope
    assert image.references == 2


def test_a_local_dependency_loaded_before_keeps_its_place_in_the_scope(arch: str) -> None:
    """root → a (loaded locally before), b: a's definition still comes first."""
    a = Library(arch, "liba.so", symbols=[Sym("s", DATA + 0xA)])
    b = Library(arch, "libb.so", symbols=[Sym("s", DATA + 0xB)])
    linker = linker_for(arch, a, b)
    first = linker.load("liba.so", options=LoadOptions(local=True))
    for local in (True, False):
        image = linker.load(
            refers(arch, undefined("s"), needed=["liba.so", "libb.so"]).image(), options=LoadOptions(local=local)
        )
        assert bound(image) == first.address_of(DATA + 0xA)
        linker.unload(image)


# ---------------------------------------------------------------- unique


def unique_pair(arch: str) -> tuple[Linker, Image, Image]:
    linker = linker_for(arch)
    one, two = (
        linker.load(
            refers(arch, Sym("u", DATA + 0x10 * n, bind=UNIQUE), f"lib{n}.so").image(),
            options=LoadOptions(local=True),
        )
        for n in (1, 2)
    )
    return linker, one, two


def test_a_unique_symbol_is_one_even_across_local_scopes(arch: str) -> None:
    _, one, two = unique_pair(arch)
    assert bound(one) == bound(two) == one.address_of(DATA + 0x10)
    assert one.symbol("u").address == two.symbol("u").address == bound(one)


def test_the_owner_of_a_unique_symbol_lives_as_long_as_it_is_used(arch: str) -> None:
    linker, one, two = unique_pair(arch)
    assert linker.unload(one) == []
    assert not one.closed
    assert bound(two) == one.address_of(DATA + 0x10)
    assert set(linker.unload(two)) == {one, two}
    assert linker.resolver.unique == {}


def test_a_unique_symbol_begins_anew_after_its_owner_is_gone(arch: str) -> None:
    linker, one, two = unique_pair(arch)
    linker.unload(two)
    linker.unload(one)
    again = linker.load(refers(arch, Sym("u", DATA + 0x30, bind=UNIQUE), "lib3.so").image())
    assert bound(again) == again.address_of(DATA + 0x30)


def test_versions_of_a_unique_symbol_in_one_image_are_one(arch: str) -> None:
    """That of the first reference, also for a call that is bound later."""
    first = Sym("u", DATA + 0x10, bind=UNIQUE, version="V1", hidden=True)
    second = Sym("u", DATA + 0x20, bind=UNIQUE, version="V2")
    places = [Rel(PLACE, SYMBOLIC[arch], first), Rel(PLACE + 8, SYMBOLIC[arch], second)]
    linker = linker_for(arch)
    image = linker.load(
        Library(arch, "libu.so", symbols=[first, second], relocations=places, defines=("V1", "V2")).image()
    )
    word = image.architecture.word_size
    found = [word_at(image, PLACE, word), word_at(image, PLACE + 8, word)]
    scope, numbers = linker.call_scope(image), image.decoded.symbols.find("u").tolist()
    found += [bind_call(linker.resolver, image, symbol, scope).address for symbol in numbers]
    assert len(numbers) == 2
    assert found == [image.address_of(DATA + 0x10)] * 4


# ---------------------------------------------------------------- unresolved


def test_all_unresolved_symbols_of_all_images_are_told_at_once(arch: str) -> None:
    deep = Library(
        arch,
        "liba.so",
        symbols=[undefined("x"), undefined("y")],
        relocations=[Rel(PLACE + 8 * n, SYMBOLIC[arch], name) for n, name in enumerate("xyx")],
    )
    with pytest.raises(LinkErrors) as caught:
        load(refers(arch, undefined("z", version="V1"), needed=["liba.so"], needs=[("liba.so", "V1", 0)]), deep)
    errors = caught.value.exceptions
    assert [(type(e), e.symbol) for e in errors if isinstance(e, UnresolvedSymbol)] == [
        (UnresolvedSymbol, "x"),
        (UnresolvedSymbol, "y"),
        (UnresolvedSymbol, "z"),
    ]
    assert "z, version V1" in str(caught.value)


def test_a_missing_strong_tls_symbol_is_unresolved(arch: str) -> None:
    library = Library(arch, symbols=[undefined("t", type=TLS)], relocations=[Rel(PLACE, TPOFF[arch], "t")])
    with pytest.raises(UnresolvedSymbol):
        load(library)


def test_an_unresolved_symbol_no_relocation_asks_for_does_no_harm(arch: str) -> None:
    load(Library(arch, symbols=[undefined("unused")]))


# ---------------------------------------------------------------- handles


def test_a_symbol_knows_its_image_type_size_and_place(arch: str) -> None:
    image = load(
        Library(
            arch, "liba.so", symbols=[Sym("f", 0x40, type=FUNC, size=12), Sym("t", 4, type=TLS)], tls=(b"", 8, 8)
        )
    )
    symbol = image.symbol("f")
    assert (symbol.image, symbol.size, symbol.is_function, symbol.address) == (image, 12, True, image.base + 0x40)
    assert image.symbol("t").value == 4
    assert image.exports == {"f": image.base + 0x40}


def test_names_that_are_no_utf8_are_found_too(arch: str) -> None:
    name = b"\xff\xfename".decode("utf-8", "surrogateescape")
    image = load(Library(arch, symbols=[Sym(name, DATA + 1)]))
    assert image.symbol(name).address == image.address_of(DATA + 1)
    assert ARCHITECTURES[arch] is image.architecture


@each("count", [20, 80, 300])
def test_what_is_kept_of_a_file_is_right_in_every_scope(arch: str, count: int) -> None:
    """A library refers to its own exports and to others: alone, after one that has some of them, and again."""
    own = [Sym(f"own{number}", DATA + 8 * number) for number in range(count)]
    others = [undefined(f"other{number}", WEAK) for number in range(20)]
    places = [Rel(DATA + 8 * at, SYMBOLIC[arch], symbol) for at, symbol in enumerate([*own, *others])]
    data = bytes(8 * (count + 30))
    library = Library(arch, "lib.so", symbols=[*others, *own], relocations=places, data=data)
    before = Library(
        arch, "before.so", symbols=[Sym(f"{what}{n}", DATA) for what in ("own", "other") for n in (3, 7)]
    )
    for _ in range(2):
        for preloaded in (False, True):
            linker = linker_for(arch, library, before)
            first = linker.load("before.so") if preloaded else None
            image = linker.load("lib.so")
            for bound in image.bindings():
                expected = {"own": "lib.so", "other": None}[bound.symbol.rstrip("0123456789")]
                if first is not None and bound.symbol in {
                    f"{what}{n}" for what in ("own", "other") for n in (3, 7)
                }:
                    expected = "before.so"
                    assert bound.address == first.address_of(DATA)
                assert bound.provider == expected
            assert len(image.relocated.weak_unresolved) == (18 if preloaded else 20)
