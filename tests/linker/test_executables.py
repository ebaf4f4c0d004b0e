"""Executables: where they lie, COPY relocations, and the canonical addresses of functions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from relink import (
    AddressSpaceError,
    DefinedSymbols,
    HostMemory,
    Image,
    Linker,
    LinkErrors,
    LoadOptions,
    RelocationOutOfImage,
    SearchPath,
    TlsError,
    UnresolvedSymbol,
    UnsupportedElf,
    UnsupportedRelocation,
)
from relink.resolve import scopes
from tests.fixtures import ARCHES
from tests.grouping import each
from tests.linker.craft import (
    DATA,
    FUNC,
    IFUNC,
    PROTECTED,
    TLS,
    WEAK,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.numbers import COPY, SYMBOLIC
from tests.linker.reference import IRELATIVE, JUMP_SLOT, RELATIVE

BASE = 0x40_0000
#: In the executable: where the copy goes, where words are relocated.
PLACE, WORD = BASE + DATA + 0x100, BASE + DATA + 0x10
#: In the library: the variable, and words that point at things.
THERE, POINTER, CALLED = DATA + 0x40, DATA + 0x10, DATA + 0x18


def library(arch: str, *symbols: Sym, relocations: Sequence[Rel] = (), **options: object) -> bytes:
    """lib.so: 0x400 bytes of data of which each tells its place."""
    content = bytes(n & 0xFF for n in range(0x400))
    found = Library(arch, "lib.so", symbols=symbols, relocations=relocations, data=content)
    for name, value in options.items():
        setattr(found, name, value)
    return found.image()


def executable(arch: str, *symbols: Sym, relocations: Sequence[Rel] = (), **options: object) -> bytes:
    """An ET_EXEC at `BASE` that needs lib.so; hashed the old way, so that undefined symbols are too."""
    found = Library(
        arch, None, ["lib.so"], symbols=symbols, relocations=relocations, base=BASE, e_type=2, hashes=("sysv",)
    )
    for name, value in options.items():
        setattr(found, name, value)
    return found.image()


def copying(arch: str, size: int = 8, *, bind: int = 1) -> bytes:
    return executable(arch, Sym("v", PLACE, size=size, bind=bind), relocations=[Rel(PLACE, COPY[arch], "v")])


def linked(arch: str, program: bytes, lib: bytes, **options: object) -> tuple[Linker, Image]:
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": lib}))
    return linker, linker.load(program, options=LoadOptions(**options))  # type: ignore[arg-type]


def word(linker: Linker, image: Image, vaddr: int) -> int:
    return int.from_bytes(linker.memory.read(image.address_of(vaddr), linker.architecture.word_size), "little")


# ---------------------------------------------------------------- where they lie


@pytest.mark.parametrize("arch", ARCHES)
def test_a_fixed_executable_lies_where_it_was_linked_for(arch: str) -> None:
    _, image = linked(arch, executable(arch), library(arch))
    assert (image.bias, image.base) == (0, BASE)


def test_a_base_of_ones_own_is_refused_for_a_fixed_executable() -> None:
    linker = Linker(HostMemory("arm"), search=SearchPath({"lib.so": library("arm")}))
    with pytest.raises(AddressSpaceError, match=f"its base must be {BASE:#x}"):
        linker.load(executable("arm"), options=LoadOptions(base=0x2000_0000))
    linker.load(executable("arm"), options=LoadOptions(base=BASE))


def test_a_clash_is_an_error_and_leaves_everything_as_it_was() -> None:
    linker = Linker(HostMemory("riscv64"), search=SearchPath({"lib.so": library("riscv64")}))
    taken = linker.memory.reserve(4096, at=BASE + 0x1000, name="something")
    with pytest.raises(AddressSpaceError, match="taken by something"):
        linker.load(executable("riscv64"))
    assert linker.memory.regions == (taken,)  # type: ignore[attr-defined]
    assert linker.images == linker.global_scope == []


def test_a_needed_executable_is_passed_over() -> None:
    linker = Linker(HostMemory("i386"), search=SearchPath({"lib.so": executable("i386", needed=())}))
    with pytest.raises(Exception, match="is an executable, not a library"):
        linker.load(Library("i386", needed=["lib.so"]).image())


def test_core_files_stay_refused() -> None:
    with pytest.raises(UnsupportedElf, match="a core file"):
        Linker(HostMemory("i386")).load(Library("i386", e_type=4).image())


@pytest.mark.parametrize("arch", ARCHES)
def test_the_program_is_first_in_the_scope_also_before_what_is_preloaded(arch: str) -> None:
    program = executable(arch, Sym("v", PLACE), undefined("w"), relocations=[Rel(WORD, SYMBOLIC[arch], "w")])
    early = Library(arch, "early.so", symbols=[Sym("v", DATA), Sym("w", DATA)]).image()
    lib = library(arch, undefined("v"), Sym("w", THERE), relocations=[Rel(POINTER, SYMBOLIC[arch], "v")])
    linker, image = linked(arch, program, lib, preload=[early])
    assert [each.soname for each in linker.global_scope] == [None, "early.so", "lib.so"]
    assert word(linker, linker.global_scope[2], POINTER) == PLACE + _addend(arch, lib_at=POINTER)
    assert word(linker, image, WORD) == linker.global_scope[1].address_of(DATA)


@pytest.mark.parametrize("make", [executable, library])
@pytest.mark.parametrize("arch", ARCHES)
def test_libraries_marked_as_interposers_stay_where_they_are(arch: str, make: Callable[..., bytes]) -> None:
    """DF_1_INTERPOSE, which ld.so of Solaris and FreeBSD looks at, and glibc and musl do not."""
    ordinary = Library(arch, "ordinary.so", symbols=[Sym("w", DATA)])
    eager = Library(arch, "eager.so", symbols=[Sym("w", DATA)], flags_1=0x400)
    libraries = {f"{each.soname}": each.image() for each in (ordinary, eager)}
    linker = Linker(HostMemory(arch), search=SearchPath(libraries))
    image = linker.load(make(arch, undefined("w"), needed=["ordinary.so", "eager.so"]))
    assert [each.soname for each in linker.global_scope] == [image.soname, "ordinary.so", "eager.so"]


def test_of_several_programs_the_first_heads_the_global_scope_and_then_the_next() -> None:
    class Named:
        def __init__(self, *, is_executable: bool) -> None:
            self.decoded = SimpleNamespace(is_executable=is_executable)

    lib, one, other, last = (Named(is_executable=kind) for kind in (False, True, True, False))
    scope: list[Any] = []
    for image in (lib, one, other, last):
        scopes.join_global(scope, [image])
    assert scope == [one, lib, other, last]
    assert scopes.without(scope, [last]) == [one, lib, other]
    assert scopes.without(scope, [one, last]) == [other, lib]
    assert scopes.without(scope, [one, other]) == [lib, last]
    assert scopes.without(scope, scope) == []


def _addend(arch: str, lib_at: int) -> int:
    """REL keeps the addend in place: there the library's bytes, else 0."""
    if arch not in ("i386", "arm"):
        return 0
    return int.from_bytes(bytes((lib_at - DATA + n) & 0xFF for n in range(4)), "little")


# ---------------------------------------------------------------- COPY


@pytest.mark.parametrize("arch", ARCHES)
def test_contents_are_copied_and_everybody_means_the_copy(arch: str) -> None:
    lib = library(arch, Sym("v", THERE), relocations=[Rel(POINTER, SYMBOLIC[arch], "v")])
    linker, image = linked(arch, copying(arch), lib)
    assert linker.memory.read(PLACE, 8) == bytes(range(0x40, 0x48))
    (other,) = (each for each in linker.images if each is not image)
    assert word(linker, other, POINTER) == (PLACE + _addend(arch, POINTER)) % (1 << linker.architecture.bits)
    (copied,) = image.relocated.copies
    assert (copied.symbol, copied.provider, copied.taken) == ("v", other.name, 8)
    assert (copied.source, copied.destination, copied.differs) == (other.address_of(THERE), PLACE, False)
    (bound,) = image.bindings()
    assert (bound.provider, bound.address) == (other.name, other.address_of(THERE))


@pytest.mark.parametrize("arch", ARCHES)
def test_a_position_independent_executable_copies_too(arch: str) -> None:
    place = DATA + 0x100
    program = executable(
        arch,
        Sym("v", place),
        relocations=[Rel(place, COPY[arch], "v")],
        base=0,
        e_type=3,
        tags={0x6FFF_FFFB: 0x0800_0000},
    )
    linker, image = linked(arch, program, library(arch, Sym("v", THERE)))
    assert image.bias
    assert linker.memory.read(image.address_of(place), 8) == bytes(range(0x40, 0x48))


@pytest.mark.parametrize("arch", ARCHES)
def test_what_is_copied_is_relocated_first(arch: str) -> None:
    lib = library(arch, Sym("v", POINTER, size=8), relocations=[Rel(POINTER, RELATIVE[arch], None, THERE)])
    linker, image = linked(arch, copying(arch), lib)
    other = next(each for each in linker.images if each is not image)
    expected = word(linker, other, POINTER)
    assert expected >= other.base
    assert word(linker, image, PLACE) == expected


@pytest.mark.parametrize("arch", ARCHES)
def test_words_an_ifunc_decides_are_decided_in_the_copy_too(arch: str) -> None:
    lib = library(arch, Sym("v", POINTER), relocations=[Rel(POINTER, IRELATIVE[arch], None, 0x10)])
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": lib}))
    with linker.begin(copying(arch)) as load:
        load.run_to("relocate")
        plan = load.plan
        other = next(each for each in plan.images if each is not plan.root)
        places = {int(place): int(r) for c in plan.ifuncs for place, r in zip(c.place, c.resolver, strict=True)}
    assert places.keys() == {other.address_of(POINTER), PLACE}
    assert len(set(places.values())) == 1


@pytest.mark.parametrize(("size", "provided"), [(4, 16), (16, 4)])
def test_of_two_sizes_the_smaller_is_copied_and_the_difference_told(size: int, provided: int) -> None:
    linker, image = linked("aarch64", copying("aarch64", size), library("aarch64", Sym("v", THERE, size=provided)))
    assert linker.memory.read(PLACE, 16) == bytes(range(0x40, 0x44)) + bytes(12)
    (copied,) = image.relocated.copies
    assert copied.differs
    assert "consider re-linking" in str(copied)


def test_a_copy_takes_the_version_it_asks_for() -> None:
    symbols = [Sym("v", THERE, version="V1", hidden=True), Sym("v", THERE + 8, version="V2")]
    lib = library("riscv32", *symbols, defines=["V1", "V2"])
    program = executable(
        "riscv32",
        Sym("v", PLACE, version="V1"),
        relocations=[Rel(PLACE, COPY["riscv32"], "v")],
        needs=[("lib.so", "V1", 0)],
    )
    linker, _ = linked("riscv32", program, lib)
    assert linker.memory.read(PLACE, 8) == bytes(range(0x40, 0x48))


def test_a_copy_of_the_hosts_data_is_taken_from_memory() -> None:
    arch = "x86_64"
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": library(arch)}))
    data = linker.load(library(arch, soname="data.so"))
    source = DefinedSymbols({"v": data.address_of(THERE)})
    image = linker.load(copying(arch), options=LoadOptions(sources=[source]))
    assert linker.memory.read(PLACE, 8) == bytes(range(0x40, 0x48))
    assert image.relocated.copies[0].provider is None


REFUSED = {
    "function": (Sym("v", THERE, type=FUNC), UnsupportedRelocation, "as a function"),
    "ifunc": (Sym("v", THERE, type=IFUNC), UnsupportedRelocation, "as a function"),
    "thread-local": (Sym("v", 0, type=TLS), TlsError, "thread-local"),
    "missing": (Sym("other", THERE), UnresolvedSymbol, "v"),
    "outside": (Sym("v", DATA + 0x10_0000), RelocationOutOfImage, "lie in no segment"),
}


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
@pytest.mark.parametrize("bits", [None, 0, 1, 2, 3])
def test_protected_data_is_copied_unless_its_library_forbids_it(arch: str, bits: int | None) -> None:
    """As glibc does, which warns of the former: the library continues to use its own."""
    lib = library(arch, Sym("v", THERE, visibility=PROTECTED))
    if bits is not None:
        word = 8 if arch == "x86_64" else 4
        other = struct.pack("<III", 0xC0000002, 4, 3).ljust(8 + word, b"\0")
        needed = struct.pack("<III", 0xB0008000, 4, bits).ljust(8 + word, b"\0")
        note = struct.pack("<III4s", 4, len(other + needed), 5, b"GNU\0") + other + needed
        lib = library(
            arch, Sym("v", THERE, visibility=PROTECTED), data=bytes(0x200) + note.ljust(0x200, b"\0"), relro=0x200
        )
        # The segment that names the note: the RELRO one, made into what is wanted.
        number, where = struct.pack("<I", 0x6474E552), struct.pack("<I", 0x6474E553)
        at = lib.index(number)
        lib = lib[:at] + where + lib[at + 4 :]
        lib = _moved(lib, at, arch, 0x200, len(note))
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": lib}))
    if bits is not None and bits & 1:
        with pytest.raises(UnsupportedRelocation, match=r"protected in lib\.so, which forbids copies"):
            linker.load(copying(arch))
        return
    (copied,) = linker.load(copying(arch)).relocated.copies
    assert copied.protected
    assert "continues to use its own" in str(copied)


def _moved(image: bytes, header: int, arch: str, distance: int, size: int) -> bytes:
    """The program header at `header` moved on by `distance` bytes, and cut to `size`."""
    layout = "<IIQQQQQQ" if arch == "x86_64" else "<IIIIIIII"
    fields = list(struct.unpack_from(layout, image, header))
    offset, vaddr, filesz, memsz = (2, 3, 5, 6) if arch == "x86_64" else (1, 2, 4, 5)
    fields[offset] += distance
    fields[vaddr] += distance
    fields[filesz] = fields[memsz] = size
    return image[:header] + struct.pack(layout, *fields) + image[header + struct.calcsize(layout) :]


@pytest.mark.parametrize("arch", ARCHES)
@each("what", REFUSED)
def test_what_cannot_be_copied_is_named(arch: str, what: str) -> None:
    symbol, kind, match = REFUSED[what]
    tls = (bytes(16), 16, 8) if what == "thread-local" else None
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": library(arch, symbol, tls=tls)}))
    with pytest.raises(kind, match=match) as caught:
        linker.load(copying(arch))
    assert not isinstance(caught.value, LinkErrors)
    if isinstance(caught.value, UnsupportedRelocation | RelocationOutOfImage):
        assert caught.value.symbol == "v"
        assert "COPY" in str(caught.value)
    assert linker.images == []


def test_a_missing_weak_variable_stays_zero() -> None:
    linker, image = linked("i386", copying("i386", bind=WEAK), library("i386"))
    assert linker.memory.read(PLACE, 8) == bytes(8)
    assert image.relocated.weak_unresolved == ["v"]
    assert image.relocated.copies == []


def test_a_missing_variable_left_open_on_request_stays_zero_too() -> None:
    linker, image = linked("arm", copying("arm"), library("arm"), unresolved=lambda image, symbol: 0x1234)
    assert linker.memory.read(PLACE, 8) == bytes(8)
    assert image.relocated.unresolved == ["v"]


def test_a_library_that_runs_already_is_not_copied_from() -> None:
    arch = "loongarch64"
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": library(arch, Sym("v", THERE))}))
    linker.load("lib.so")
    with pytest.raises(UnsupportedRelocation, match="load the executable first"):
        linker.load(copying(arch))


@pytest.mark.parametrize("arch", ARCHES)
def test_a_shared_object_has_no_business_with_copies(arch: str) -> None:
    wrong = Library(arch, "x.so", symbols=[Sym("v", DATA)], relocations=[Rel(DATA, COPY[arch], "v")]).image()
    with pytest.raises(UnsupportedRelocation, match="this is a shared object"):
        Linker(HostMemory(arch)).load(wrong)


# ---------------------------------------------------------------- canonical addresses


def pointing(arch: str, *, plt: int) -> bytes:
    """An executable whose undefined function f has a PLT entry at `plt`, called and pointed at."""
    f = Sym("f", plt, section=0, type=FUNC, size=0, hashed=plt != 0)
    rows = [Rel(WORD, SYMBOLIC[arch], f), Rel(WORD + 16, JUMP_SLOT[arch], f)]
    return executable(arch, f, relocations=rows)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_plt_entry_with_an_address_is_the_functions_address_for_all_who_do_not_call(arch: str) -> None:
    rows = [Rel(POINTER, SYMBOLIC[arch], "f"), Rel(CALLED, JUMP_SLOT[arch], "f")]
    blank = bytes(0x400)
    lib = library(arch, Sym("f", THERE, type=FUNC), relocations=rows, data=blank)
    linker, image = linked(arch, pointing(arch, plt=BASE + 0x80), lib)
    other = next(each for each in linker.images if each is not image)
    function = other.address_of(THERE)
    assert [word(linker, image, at) for at in (WORD, WORD + 16)] == [BASE + 0x80, function]
    assert [word(linker, other, at) for at in (POINTER, CALLED)] == [BASE + 0x80, function]
    assert image.symbol("f").address == BASE + 0x80


@pytest.mark.parametrize("arch", ARCHES)
def test_an_undefined_function_without_a_value_is_no_definition(arch: str) -> None:
    rows = [Rel(POINTER, SYMBOLIC[arch], "f"), Rel(CALLED, JUMP_SLOT[arch], "f")]
    lib = library(arch, Sym("f", THERE, type=FUNC), relocations=rows, data=bytes(0x400))
    linker, image = linked(arch, pointing(arch, plt=0), lib)
    other = next(each for each in linker.images if each is not image)
    places = [(image, WORD), (image, WORD + 16), (other, POINTER), (other, CALLED)]
    assert {word(linker, at, vaddr) for at, vaddr in places} == {other.address_of(THERE)}


def test_a_function_only_the_executables_plt_stands_for_is_missing() -> None:
    linker = Linker(HostMemory("x86_64"), search=SearchPath({"lib.so": library("x86_64")}))
    with pytest.raises(UnresolvedSymbol, match="f"):
        linker.load(pointing("x86_64", plt=BASE + 0x80))


def test_an_executables_thread_local_data_must_be_the_first() -> None:
    arch = "x86_64"
    first = library(arch, soname="first.so", tls=(bytes(32), 32, 8))
    linker = Linker(HostMemory(arch), search=SearchPath({"lib.so": library(arch)}))
    linker.load(first)
    program = executable(arch, tls=(bytes(16), 16, 8))
    with pytest.raises(TlsError, match="load the executable before all others"):
        linker.load(program)
    assert len(linker.tls.modules) == 1
