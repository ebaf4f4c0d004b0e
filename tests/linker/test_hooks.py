"""A user's code in the link: symbol look-ups and relocation handlers, before and after."""

from __future__ import annotations

import pytest

from relink import (
    DefinedSymbols,
    HostMemory,
    Linker,
    LinkError,
    LoadOptions,
    ReferenceKind,
    SymbolRequest,
    UnresolvedSymbol,
    UseAfterUnload,
)
from tests.fixtures import arch_of
from tests.grouping import each
from tests.linker.craft import DATA, FUNC, OBJECT, TLS, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for, snapshot, word_at
from tests.linker.numbers import SYMBOLIC, TPOFF
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled

PLACE = DATA + 0x80
PRIVATE = 0xF7  #: no psABI here gives it a meaning a linker could know


def wants(arch: str, *names: str, **more: object) -> Library:
    """A library with a word for each name, from PLACE on, 16 bytes apart."""
    entries = [Rel(PLACE + 16 * n, SYMBOLIC[arch], name) for n, name in enumerate(names)]
    return Library(arch, symbols=[undefined(name) for name in names], relocations=entries, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- symbol look-ups


def test_a_plain_function_answers_before_and_after_the_images(arch: str) -> None:
    asked: list[tuple[str, str]] = []

    def first(request: SymbolRequest) -> int | None:
        asked.append(("first", request.name))
        return 0x1000 if request.name == "a" else None

    def last(request: SymbolRequest) -> int | None:
        asked.append(("last", request.name))
        return 0x2000

    linker = linker_for(arch, Library(arch, "libdef.so", symbols=[Sym("a"), Sym("b")]))
    linker.resolver.before.append(first)
    linker.resolver.after.append(last)
    image = linker.load(wants(arch, "a", "b", "c", needed=["libdef.so"]).image())
    size = image.architecture.word_size
    definition = linker.images[1].symbol("b").address
    assert [word_at(image, PLACE + 16 * n, size) for n in range(3)] == [0x1000, definition, 0x2000]
    assert sorted(asked) == [("first", "a"), ("first", "b"), ("first", "c"), ("last", "c")]


def test_look_ups_of_one_load_go_before_the_linker_s(arch: str) -> None:
    linker = linker_for(arch)
    linker.resolver.before.append(DefinedSymbols({"a": 0x1000, "b": 0x1000}))
    linker.resolver.after.append(lambda request: 0x4000)
    options = LoadOptions(
        sources=[lambda request: 0x2000 if request.name == "a" else None],
        late_sources=[lambda request: 0x3000 if request.name == "c" else None],
    )
    image = linker.load(wants(arch, "a", "b", "c", "d").image(), options=options)
    size = image.architecture.word_size
    assert [word_at(image, PLACE + 16 * n, size) for n in range(4)] == [0x2000, 0x1000, 0x3000, 0x4000]
    later = linker.load(wants(arch, "a", soname="liblater.so").image())
    assert word_at(later, PLACE, size) == 0x1000


def test_a_symbol_of_another_image_may_be_the_answer_and_is_kept_alive(arch: str) -> None:
    linker = linker_for(arch)
    other = linker.load(
        Library(arch, "libother.so", symbols=[Sym("theirs", DATA + 8)]).image(), options=LoadOptions(local=True)
    )
    theirs = other.symbol("theirs")
    image = linker.load(wants(arch, "mine").image(), options=LoadOptions(sources=[lambda request: theirs]))
    assert word_at(image, PLACE, image.architecture.word_size) == theirs.address
    assert [bound.provider for bound in image.bindings()] == [other.name]
    linker.unload(other)
    assert not other.closed, "the other image still leads there"
    linker.unload(image)
    assert other.closed
    with pytest.raises(UseAfterUnload, match="theirs"):
        linker.load(wants(arch, "mine").image(), options=LoadOptions(sources=[lambda request: theirs]))
    assert not linker.images


def test_a_thread_local_symbol_may_be_the_answer(arch: str) -> None:
    linker = linker_for(arch)
    symbols = [Sym("pad", 0, type=TLS), Sym("t", 8, type=TLS)]
    other = linker.load(Library(arch, "libother.so", symbols=symbols, tls=(b"", 16, 8)).image())
    library = Library(arch, symbols=[undefined("mine", type=TLS)], relocations=[Rel(PLACE, TPOFF[arch], "mine")])
    image = linker.load(library.image(), options=LoadOptions(sources=[lambda r: other.symbol("t")]))
    assert other.tls is not None
    expected = (other.tls.offset + 8) & image.architecture.address_mask
    assert word_at(image, PLACE, image.architecture.word_size) == expected


def test_without_a_machine_a_callable_is_no_answer(arch: str) -> None:
    linker = linker_for(arch)
    before = snapshot(linker)
    with pytest.raises(LinkError, match=r"answered <function .*for puts; without a machine"):
        linker.load(wants(arch, "puts").image(), options=LoadOptions(sources=[lambda request: lambda: 1]))
    assert snapshot(linker) == before


@each(
    ("type_", "kind"),
    [
        (FUNC, ReferenceKind.FUNCTION),
        (OBJECT, ReferenceKind.DATA),
        (TLS, ReferenceKind.THREAD_LOCAL),
        (0, ReferenceKind.UNKNOWN),
    ],
)
def test_a_request_says_what_kind_is_asked_for_by_the_symbol_s_type(
    arch: str, type_: int, kind: ReferenceKind
) -> None:
    kinds = []
    library = Library(
        arch,
        symbols=[undefined("x", type=type_)],
        relocations=[Rel(PLACE, (TPOFF if type_ == TLS else SYMBOLIC)[arch], "x")],
    )

    def look(request: SymbolRequest) -> int | None:
        kinds.append(request.kind)
        assert request.asking is not None
        assert request.asking.decoded.symbols.names.text(request.index) == "x"
        return None if type_ == TLS else 0x1000

    try:
        linker_for(arch).load(library.image(), options=LoadOptions(sources=[look]))
    except UnresolvedSymbol:
        assert type_ == TLS
    assert kinds == [kind]


_USES = """
extern int called(int), datum; extern __thread int local __attribute__((tls_model("initial-exec")));
int use(int n) { return called(n) + datum + local; }
"""


@pytest.mark.parametrize("target", COMPILED)
def test_a_request_says_what_kind_is_asked_for_by_the_relocations(target: str) -> None:
    kinds: dict[str, ReferenceKind] = {}

    def look(request: SymbolRequest) -> int | None:
        kinds[request.name] = request.kind
        return 0x1000_0000 if request.name != "local" else None

    linker = Linker(HostMemory(arch_of(target)))
    with pytest.raises(UnresolvedSymbol, match="local"):
        linker.load(compiled(target, _USES, "-fPIC"), options=LoadOptions(sources=[look]))
    assert kinds["called"] is ReferenceKind.FUNCTION
    assert kinds["local"] is ReferenceKind.THREAD_LOCAL
    assert kinds["datum"] in (ReferenceKind.UNKNOWN, ReferenceKind.DATA)
