"""Relocation handlers see, change, claim and veto any relocation."""

from __future__ import annotations

import numpy as np
import pytest

from relink import (
    ARCHITECTURES,
    DefinedSymbols,
    Entries,
    HostMemory,
    Linker,
    LinkErrors,
    LoadOptions,
    RelocationHandler,
    RelocationOverflow,
    RelocationVetoed,
    Role,
    SearchPath,
    UnknownRelocation,
    UnresolvedSymbol,
    UnsupportedRelocation,
    decode,
)
from relink.arrays import U64, Bools
from relink.elf.constants import SectionType
from tests.fixtures import arch_of, fixture
from tests.linker.craft import DATA, Library, Rel, Sym, undefined
from tests.linker.helpers import folders_of, linker_for, snapshot, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.reference import RELATIVE
from tests.linker.test_hooks import PLACE, PRIVATE, wants
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled


def handled(
    library: Library, *handlers: RelocationHandler, defined: dict[str, int] | None = None
) -> tuple[Linker, object]:
    linker = linker_for(library.arch)
    linker.relocation_handlers += handlers
    sources = [DefinedSymbols(defined)] if defined else []
    return linker, linker.load(library.image(), options=LoadOptions(sources=sources))


def test_a_handler_sees_whole_batches_and_changes_values(arch: str) -> None:
    seen: list[Entries] = []

    def double(entries: Entries) -> np.ndarray:
        seen.append(entries)
        assert entries.value is not None
        return entries.value * np.uint64(2)

    linker, image = handled(
        wants(arch, "a", "b"), RelocationHandler([Role.DATA], after=double), defined={"a": 0x100, "b": 0x200}
    )
    image = linker.images[0]
    size = image.architecture.word_size
    assert [word_at(image, PLACE + 16 * n, size) for n in (0, 1)] == [0x200, 0x400]
    (entries,) = seen
    assert entries.names == ["a", "b"]
    assert entries.place.tolist() == [image.address_of(PLACE), image.address_of(PLACE + 16)]
    assert entries.value is not None
    assert entries.value.tolist() == entries.target.tolist() == [0x100, 0x200]
    assert (entries.number, entries.formula) == (SYMBOLIC[arch], "S + A")
    assert entries.image is image


def test_claimed_entries_are_the_handler_s_and_their_symbols_nobody_s_error(arch: str) -> None:
    def claim(entries: Entries) -> np.ndarray:
        mine = np.array([name == "nowhere" for name in entries.names])
        size = entries.image.architecture.word_size
        for where in entries.where[mine].tolist():
            entries.buffer[where : where + size] = list((0xABCD).to_bytes(size, "little"))
        return mine

    linker, _ = handled(
        wants(arch, "a", "nowhere"), RelocationHandler(before=claim, image="<bytes>"), defined={"a": 0x100}
    )
    image = linker.images[0]
    size = image.architecture.word_size
    assert [word_at(image, PLACE + 16 * n, size) for n in (0, 1)] == [0x100, 0xABCD]
    assert sum(image.relocation_counts.values()) == 1
    with pytest.raises(UnresolvedSymbol):
        handled(wants(arch, "nowhere"), RelocationHandler(before=claim, image="libelse.so"))


def test_a_type_nobody_knows_can_be_claimed(arch: str) -> None:
    library = Library(arch, symbols=[Sym("s", DATA + 0x10)], relocations=[Rel(PLACE, PRIVATE, "s", 5)])
    with pytest.raises((UnknownRelocation, UnsupportedRelocation)):
        linker_for(arch).load(library.image())

    def store(entries: Entries) -> np.ndarray:
        size = entries.image.architecture.word_size
        value = int((entries.target - entries.place + entries.addend)[0]) & int(entries.image.address_mask)
        entries.buffer[entries.where[0] : entries.where[0] + size] = list(value.to_bytes(size, "little"))
        return np.ones(len(entries), np.bool_)

    linker, _ = handled(library, RelocationHandler([PRIVATE], before=store))
    image = linker.images[0]
    distance = 0x10 - 0x80 + (5 if library.rela else 0)
    assert word_at(image, PLACE, image.architecture.word_size) == distance & image.architecture.address_mask


def test_what_a_handler_has_looked_up_is_kept_alive(arch: str) -> None:
    linker = linker_for(arch)
    other = linker.load(Library(arch, "libother.so", symbols=[Sym("theirs")]).image())

    def claim(entries: Entries) -> np.ndarray:
        assert entries.target.tolist() == [other.symbol("theirs").address]
        return np.ones(1, np.bool_)

    image = linker.load(
        wants(arch, "theirs").image(), options=LoadOptions(relocation_handlers=[RelocationHandler(before=claim)])
    )
    linker.unload(other)
    assert not other.closed
    linker.unload(image)
    assert other.closed


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_veto_names_the_entry_and_undoes_the_load(arch: str, stage: str) -> None:
    def refuse(entries: Entries) -> None:
        entries.veto(np.array([name == "b" for name in entries.names]), "not on my watch")

    linker = linker_for(arch)
    linker.resolver.after.append(lambda request: 0x1000)
    linker.relocation_handlers.append(RelocationHandler(**{stage: refuse}))  # type: ignore[arg-type]
    before = snapshot(linker)
    with pytest.raises(RelocationVetoed, match="not on my watch") as caught:
        linker.load(wants(arch, "a", "b", "c").image())
    assert (caught.value.symbol, caught.value.offset) == ("b", PLACE + 16)
    assert caught.value.type_name == ARCHITECTURES[arch].relocation_name(SYMBOLIC[arch])
    assert snapshot(linker) == before


def test_vetoes_are_reported_together_with_everything_else(arch: str) -> None:
    linker = linker_for(arch)
    linker.relocation_handlers.append(RelocationHandler(before=lambda entries: entries.veto(0, "no")))
    with pytest.raises(LinkErrors) as caught:
        linker.load(wants(arch, "a", "b").image())
    assert {type(error) for error in caught.value.exceptions} == {RelocationVetoed, UnresolvedSymbol}


def test_a_changed_value_is_checked_like_any_other() -> None:
    library = Library("x86_64", symbols=[undefined("a")], relocations=[Rel(PLACE, 14, "a")])  # R_X86_64_8
    with pytest.raises(RelocationOverflow):
        handled(
            library, RelocationHandler(after=lambda entries: np.array([0x123], np.uint64)), defined={"a": 0x12}
        )


def test_a_handler_that_answers_the_wrong_shape_is_told(arch: str) -> None:
    for handler in (
        RelocationHandler(before=lambda entries: np.ones(7, np.bool_)),
        RelocationHandler(after=lambda entries: np.ones(7, np.uint64)),
    ):
        linker = linker_for(arch)
        with pytest.raises(ValueError, match=r"\(7,\)"):
            linker.load(
                wants(arch, "a").image(),
                options=LoadOptions(sources=[lambda request: 1], relocation_handlers=[handler]),
            )
        assert not linker.images


def test_packed_relative_entries_are_handled_too(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    library = Library(arch, relr=[PLACE | 0, PLACE + 64], data=bytes(0x80) + (DATA).to_bytes(size, "little") * 40)

    def claim_first(entries: Entries) -> Bools:
        return np.equal(entries.vaddr, PLACE)

    linker, _ = handled(
        library,
        RelocationHandler(
            ["RELR"], before=claim_first, after=lambda e: None if e.value is None else e.value + np.uint64(1)
        ),
    )
    image = linker.images[0]
    assert word_at(image, PLACE, size) == DATA, "claimed and left as it was"
    assert word_at(image, PLACE + 64, size) == image.address_of(DATA) + 1


def test_types_are_meant_by_name_number_or_role(arch: str) -> None:
    page = ARCHITECTURES[arch]
    name = page.relocations[RELATIVE[arch]].name
    library = Library(
        arch,
        symbols=[undefined("a")],
        relocations=[
            Rel(PLACE, RELATIVE[arch], None, DATA),
            Rel(PLACE + 16, SYMBOLIC[arch], "a"),
        ],
    )
    for types in ([name], [page.prefix + name], [RELATIVE[arch]], [Role.RELATIVE]):
        seen: list[str] = []
        handled(library, RelocationHandler(types, before=lambda e, s=seen: s.append(e.type)), defined={"a": 1})  # type: ignore[misc]
        assert seen == [page.prefix + name]
    seen = []
    handled(library, RelocationHandler(before=lambda e: seen.append(e.type)), defined={"a": 1})
    assert len(seen) == 2


def test_handlers_are_asked_in_order_about_what_is_left(arch: str) -> None:
    seen = []

    def first(entries: Entries) -> np.ndarray:
        return np.array([name == "a" for name in entries.names])

    def second(entries: Entries) -> None:
        seen.append(entries.names)

    handlers = RelocationHandler(before=first), RelocationHandler(before=second)
    handled(wants(arch, "a", "b"), *handlers, defined={"b": 1})
    assert seen == [["b"]]


def test_every_written_word_of_a_compiled_library_passes_a_handler(target: str) -> None:
    """Handlers that change nothing change nothing, and hear of every entry once."""
    path = fixture(target, "datarel")
    plain = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    plain.resolver.after.append(lambda request: 0x1000)
    expected = plain.load(path)
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    linker.resolver.after.append(lambda request: 0x1000)
    before, after = list[int](), list[int]()

    def note(entries: Entries) -> U64 | None:
        after.extend(entries.vaddr.tolist())
        return entries.value

    linker.relocation_handlers.append(
        RelocationHandler(before=lambda entries: before.extend(entries.vaddr.tolist()), after=note)
    )
    image = linker.load(path)
    assert bytes(image.region.buffer) == bytes(expected.region.buffer)
    assert before
    assert sorted(before) == sorted(after)
    assert len(before) == sum(image.relocation_counts.values())


_OBJECT = "int other(int); int (*pointer)(int) = other; int call(int n) { return other(n) * 3; }"


@pytest.mark.parametrize("target", COMPILED)
def test_relocatable_objects_are_handled_like_shared_ones(target: str) -> None:
    seen: list[tuple[str, str]] = []

    def note(entries: Entries) -> None:
        seen.extend((entries.type, name) for name in entries.names)

    def move(entries: Entries) -> np.ndarray:
        assert entries.value is not None
        other = np.array([name == "other" for name in entries.names])
        return entries.value + np.uint64(8) * other

    page = ARCHITECTURES[arch_of(target)]
    linker = Linker(HostMemory(page))
    linker.resolver.after.append(lambda request: page.image_base + 0x10000 if request.name == "other" else None)
    options = LoadOptions(
        relocation_handlers=[
            RelocationHandler(before=note),
            RelocationHandler([SYMBOLIC[page.name], "TARGET1"], after=move),
        ]
    )
    image = linker.load(compiled(target, _OBJECT, "-fPIC"), options=options)
    pointer = image.symbol("pointer").address
    assert word_at(linker, pointer, page.word_size) == page.image_base + 0x10000 + 8
    assert sum(name == "other" for _, name in seen) >= 2


@pytest.mark.parametrize("target", COMPILED)
def test_a_private_type_of_an_object_can_be_claimed(target: str) -> None:
    """The word of `pointer` gets a type number that no psABI defines; a handler gives it a meaning."""
    page = ARCHITECTURES[arch_of(target)]
    path = compiled(target, "extern int other; int *pointer = &other;", "-fPIC")
    data = bytearray(path.read_bytes())
    section = next(s for s in decode(path).sections if s.type in (SectionType.REL, SectionType.RELA))
    at = section.offset + (8 if page.bits == 64 else 4)
    width = 4 if page.bits == 64 else 1  # ELF64_R_TYPE, ELF32_R_TYPE
    data[at : at + width] = PRIVATE.to_bytes(width, "little")
    linker = Linker(HostMemory(page))
    with pytest.raises((UnknownRelocation, UnsupportedRelocation, UnresolvedSymbol, LinkErrors)):
        linker.load(bytes(data))

    def claim(entries: Entries) -> np.ndarray:
        assert entries.names == ["other"]
        entries.buffer[entries.where[0]] = 0x77
        return np.ones(1, np.bool_)

    linker.relocation_handlers.append(RelocationHandler([PRIVATE], before=claim))
    image = linker.load(bytes(data), name="private.o")
    assert linker.memory.read(image.symbol("pointer").address, 1) == b"\x77"
