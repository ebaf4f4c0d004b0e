"""Images that lie in memory already: dumped from one machine, adopted by another."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from emu import Library, Machine
from emu.errors import GuestFault
from relink import (
    AddressSpaceError,
    Event,
    HostMemory,
    Image,
    ImageClosed,
    ImageLoaded,
    ImageMapped,
    InitialiserStarting,
    LibraryNotFound,
    Linker,
    LinkError,
    LoadOptions,
    NotElf,
    Protection,
    TlsError,
    TlsModule,
    UnresolvedSymbol,
    UnsupportedElf,
    UseAfterUnload,
    decode,
    decode_memory,
)
from relink.memory.placement import fill, region_size
from tests.fixtures import arch_of, fixture, variant_of
from tests.linker.craft import DATA, Rel, Sym, undefined
from tests.linker.craft import Library as Crafted
from tests.linker.helpers import lay, snapshot, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.reference import RELATIVE
from toolchains.oracle.goldens import golden_path

RWX = Protection.R | Protection.W | Protection.X
ELSEWHERE = 0x5000_0000


def dump(machine: Machine, image: Image) -> tuple[int, bytes]:
    """Where an image lies and all its bytes, as a debugger would save them."""
    content = bytearray(image.region.size)
    for segment in image.decoded.segments:
        start = image.address_of(segment.vaddr) - image.base
        content[start : start + segment.memsz] = machine.memory.read(image.base + start, segment.memsz)
    return image.base, bytes(content)


def unrelocated(target: str, name: str) -> bytes:
    """A fixture's segments as they lie in memory before relocation."""
    decoded = decode(fixture(target, name))
    region = HostMemory(arch_of(target)).reserve(region_size(decoded))
    fill(region, decoded)
    return region.buffer.tobytes()


def put(machine: Machine, address: int, content: bytes) -> None:
    machine.memory.map_anonymous(len(content), RWX, at=address, name="firmware")
    machine.memory.write(address, content)


@pytest.fixture
def machine(target: str) -> Iterator[Machine]:
    with Machine(arch_of(target), library_path=[fixture(target, "basic").parent]) as made:
        yield made


def exercise(library: Library) -> list[object]:
    """What the functions of `basic` answer: through pointers, PLT and data."""
    call = library.function
    return [
        call("add", "int(int, int)")(2, 3), call("apply", "int(int, int, int)")(0, 7, 5),
        call("apply", "int(int, int, int)")(1, 7, 5), call("get_counter", "int()")(),
        call("bump_zeroed", "int(int)")(3), call("greeting_length", "int()")(),
    ]  # fmt: skip


FRESH = [5, 12, 2, 7, 1, 20]


@pytest.mark.parametrize("with_file", [False, True], ids=["memory alone", "with its file"])
def test_a_relocated_image_serves_where_it_was_dumped_from(target: str, machine: Machine, with_file: bool) -> None:
    with Machine(arch_of(target)) as first:
        library = first.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: 0})
        library.function("set_counter", "void(int)")(41)
        base, content = dump(first, library.image)
        exports = dict(library.image.exports)
        assert exercise(library)[3] == 41
    put(machine, base, content)
    source = fixture(target, "basic") if with_file else None
    adopted = machine.adopt(base, source=source, relocated=True)
    assert dict(adopted.image.exports) == exports
    assert exercise(adopted) == [5, 12, 2, 41, 1, 20], "with the counter as it was"
    assert machine.memory.read(base, 4) == content[:4]


def as_ld_so_left_it(machine: Machine, target: str, base: int) -> bytes:
    """`basic` in memory with the words of the golden file, which the target's real dynamic linker wrote."""
    golden = json.loads(golden_path(variant_of(target)).read_text())
    content = bytearray(unrelocated(target, "basic"))
    size = machine.arch.word_size
    host = machine.define("my_host_function", (lambda value: 42, "int(int)"))
    for run in golden["scenarios"]["basic"]["words"]["basic"].split(" | "):
        first, _, words = run.partition("=")
        for number, word in enumerate(words.split(",")):
            value = host if word == "@my_host_function" else base + int(word, 16)
            at = int(first, 16) + number * size
            content[at : at + size] = value.to_bytes(size, "little")
    return bytes(content)


def test_an_image_the_real_ld_so_has_relocated_serves(target: str, machine: Machine) -> None:
    put(machine, ELSEWHERE, as_ld_so_left_it(machine, target, ELSEWHERE))
    adopted = machine.adopt(ELSEWHERE, relocated=True)
    assert exercise(adopted) == FRESH
    assert adopted.function("awesome_func", "int(int)")(1) == 42
    adopted.close()
    with pytest.raises(LinkError, match="has been relocated"):
        machine.adopt(ELSEWHERE, relocated=False)


def test_an_image_that_is_not_relocated_is_linked_in_place_anywhere(target: str, machine: Machine) -> None:
    content = unrelocated(target, "basic")
    put(machine, ELSEWHERE, content)
    adopted = machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: value * 3})
    assert adopted.base == ELSEWHERE
    assert exercise(adopted) == FRESH
    assert adopted.function("awesome_func", "int(int)")(5) == 15
    plain = machine.load(fixture(target, "basic").read_bytes(), symbols={"my_host_function": lambda value: 0})
    assert plain.image.relocation_counts == adopted.image.relocation_counts


def test_what_it_needs_is_loaded_for_it_and_told_of(target: str) -> None:
    folder = fixture(target, "deps/libmid").parent
    with Machine(arch_of(target), library_path=[folder]) as machine:
        first = machine.link_maps.program  # from now on the chain of link maps is kept
        put(machine, ELSEWHERE, unrelocated(target, "deps/libmid"))
        adopted = machine.adopt(ELSEWHERE, relocated=False)
        assert adopted.function("mid", "int(int)")(5) == 30, "libleaf's code and data are there"
        assert [image.soname for image in machine.linker.images] == ["libmid.so", "libleaf.so"]
        word, chain = machine.arch.word_size, [first]
        while following := machine.memory.read_uint(chain[-1] + 3 * word, word):
            chain.append(following)
        assert chain[1:] == [machine.link_maps.link_map_address(image) for image in machine.linker.images]
        assert machine.link_maps.added == 2


def test_memory_stays_its_owner_s(target: str, machine: Machine) -> None:
    regions = len(machine.memory.regions)
    put(machine, ELSEWHERE, unrelocated(target, "basic"))
    adopted = machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: 0})
    add = adopted.function("add", "int(int, int)")
    adopted.close()
    assert len(machine.memory.regions) == regions + 1
    assert machine.memory.read(ELSEWHERE, 4) == b"\x7fELF"
    with pytest.raises(UseAfterUnload):
        add(1, 2)
    machine.memory.unmap(ELSEWHERE)


def test_constructors_run_for_what_is_relocated_here_only(target: str, machine: Machine) -> None:
    events: list[Event] = []
    machine.linker.observers.append(events.append)
    put(machine, ELSEWHERE, unrelocated(target, "ctors"))
    adopted = machine.adopt(ELSEWHERE, relocated=False)
    count = 4 if machine.arch.runs_init_fini else 3
    assert adopted.symbols["ctor_count"].read("int") == count
    assert [type(e) for e in events if isinstance(e, ImageMapped | ImageLoaded)] == [ImageMapped, ImageLoaded]
    base, content = dump(machine, adopted.image)
    adopted.close()
    assert isinstance(events[-1], ImageClosed)
    machine.memory.unmap(ELSEWHERE)
    events.clear()
    put(machine, base, content)
    again = machine.adopt(base, relocated=True)
    assert again.symbols["ctor_count"].read("int") == count
    again.close()
    assert not [event for event in events if isinstance(event, InitialiserStarting)]
    assert int.from_bytes(machine.memory.read(base + again.image.decoded.min_vaddr, 1), "little") == 0x7F


def test_others_bind_to_what_was_adopted(target: str, machine: Machine) -> None:
    put(machine, ELSEWHERE, unrelocated(target, "basic"))
    adopted = machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: 0})
    add = adopted.image.symbol("add").address
    linker = machine.linker
    crafted = Crafted(
        machine.arch.name,
        symbols=[undefined("add")],
        relocations=[Rel(DATA, SYMBOLIC[machine.arch.name], "add")],
        e_flags=adopted.image.decoded.header.flags,
    )
    other = machine.load(crafted.image(), name="other")
    assert word_at(other.image, DATA, machine.arch.word_size) == add
    linker.unload(adopted.image)
    assert not adopted.image.closed, "needed by what bound to it"
    other.close()
    assert adopted.image.closed


@pytest.mark.parametrize("name", ["tls_static", "tls"])
def test_thread_local_data_of_a_relocated_image_is_where_its_words_say(
    target: str, name: str, machine: Machine
) -> None:
    """The module id and the offset are read off the relocated words."""
    read = {"tls_static": "static_get", "tls": "tls_ie"}[name]
    with Machine(arch_of(target), library_path=[fixture(target, "basic").parent]) as first:
        library = first.load(fixture(target, name))
        expected, module = library.function(read, "int()")(), library.image.tls
        dumps = [(*dump(first, image), image.tls) for image in first.linker.images]
    for base, content, _ in dumps:
        put(machine, base, content)
    for base, _, told in reversed(dumps[1:]):  # whose own words tell nothing
        machine.adopt(base, relocated=True, tls=told)
    adopted = machine.adopt(dumps[0][0], relocated=True)
    assert adopted.image.tls is not None
    assert module is not None
    assert adopted.image.tls.offset == module.offset
    words = adopted.image.adopted
    assert words is not None
    # No word tells the id where all accesses are initial-exec or by descriptors.
    if words.tls is not None and words.tls.id:
        assert adopted.image.tls.id == module.id
    assert adopted.function(read, "int()")() == expected


def test_what_an_adopted_image_imports_from_a_lost_host_can_be_redirected(target: str, machine: Machine) -> None:
    """The first machine's host functions are gone: the words that led to them lead to this one's."""
    with Machine(arch_of(target)) as first:
        library = first.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: value + 1})
        assert library.function("awesome_func", "int(int)")(1) == 2
        base, content = dump(first, library.image)
    put(machine, base, content)
    adopted = machine.adopt(base, relocated=True)
    awesome = adopted.function("awesome_func", "int(int)")
    with adopted.redirect("my_host_function", lambda value: value * 9):
        assert awesome(2) == 18
    with pytest.raises(GuestFault, match="execution of unmapped memory"):
        awesome(2)


def test_what_is_not_as_said_is_refused(target: str, machine: Machine) -> None:
    """The targets of the relative words show whether an image has been relocated."""
    raw = unrelocated(target, "basic")
    put(machine, ELSEWHERE, raw)
    images = list(machine.linker.images)
    if machine.arch.name in ("i386", "arm"):  # elsewhere linkers leave 0 in the places, which tells nothing
        with pytest.raises(LinkError, match="has not been relocated"):
            machine.adopt(ELSEWHERE, relocated=True)
    machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: 0}).close()
    with pytest.raises(LinkError, match="has been relocated"):
        machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: 0})
    moved = machine.memory.read(ELSEWHERE, len(raw))
    put(machine, ELSEWHERE + 0x100_0000, moved)
    with pytest.raises(LinkError, match="was relocated for another address"):
        machine.adopt(ELSEWHERE + 0x100_0000, relocated=True)
    assert machine.linker.images == images


def test_a_failed_adoption_leaves_memory_as_it_was(target: str, machine: Machine) -> None:
    content = unrelocated(target, "basic")
    put(machine, ELSEWHERE, content)
    before = snapshot(machine.linker)
    with pytest.raises(UnresolvedSymbol, match="my_host_function"):
        machine.adopt(ELSEWHERE, relocated=False)
    assert machine.memory.read(ELSEWHERE, len(content)) == content
    assert snapshot(machine.linker) == before

    def stop(event: Event) -> None:
        if isinstance(event, ImageLoaded):
            raise ZeroDivisionError

    machine.linker.observers.append(stop)
    with pytest.raises(ZeroDivisionError):
        machine.adopt(ELSEWHERE, relocated=False, symbols={"my_host_function": lambda value: 0})
    assert machine.memory.read(ELSEWHERE, len(content)) == content
    assert snapshot(machine.linker) == before


def test_nothing_to_adopt_is_a_typed_error(target: str, machine: Machine) -> None:
    with pytest.raises(AddressSpaceError):
        machine.adopt(ELSEWHERE, relocated=True)
    put(machine, ELSEWHERE, bytes(4096))
    with pytest.raises(NotElf):
        machine.adopt(ELSEWHERE, relocated=True)
    library = machine.load(fixture(target, "basic"), symbols={"my_host_function": lambda value: 0})
    with pytest.raises(LinkError, match=r"is at .*, which overlaps .*basic\.so"):
        machine.adopt(library.base, relocated=True)
    other = "i386" if machine.arch.name != "i386" else "arm"
    machine.memory.map_anonymous(0x10000, RWX, at=ELSEWHERE + 0x10000)
    machine.memory.write(ELSEWHERE + 0x10000, fixture(other, "basic").read_bytes()[:0x10000])
    with pytest.raises(UnsupportedElf, match=f"is for {other}"):
        machine.adopt(ELSEWHERE + 0x10000, relocated=True)


# ---------------------------------------------------------------- crafted ones, without a machine


def host_with(arch: str, library: Crafted, address: int) -> Linker:
    """A linker into memory where the segments of `library` lie at `address`, not relocated."""
    memory = HostMemory(arch)
    lay(memory, library.image(), address)
    return Linker(memory)


def test_what_it_needs_is_loaded_or_missed_as_ever(arch: str) -> None:
    wanted = Rel(DATA, SYMBOLIC[arch], "dep")
    needs = Crafted(arch, "libfirm.so", ["libdep.so"], symbols=[undefined("dep")], relocations=[wanted])
    linker = host_with(arch, needs, ELSEWHERE)
    before = snapshot(linker)
    with pytest.raises(LibraryNotFound, match=r"libdep\.so"):
        linker.adopt(ELSEWHERE, relocated=False)
    assert snapshot(linker) == before
    dependency = linker.load(Crafted(arch, "libdep.so", symbols=[Sym("dep")]).image())
    image = linker.adopt(ELSEWHERE, relocated=False)
    assert word_at(linker, ELSEWHERE + DATA, image.architecture.word_size) == dependency.symbol("dep").address
    assert image.dependencies == [dependency]
    linker.unload(dependency)
    assert not dependency.closed
    linker.unload(image)
    assert dependency.closed


def test_a_relocated_one_takes_what_is_there(arch: str) -> None:
    needs = Crafted(arch, "libfirm.so", ["libdep.so", "libgone.so"], symbols=[Sym("own", DATA + 8)])
    linker = host_with(arch, needs, ELSEWHERE)
    dependency = linker.load(Crafted(arch, "libdep.so", symbols=[Sym("dep")]).image())
    image = linker.adopt(ELSEWHERE, relocated=True)
    assert image.dependencies == [dependency]
    assert image.symbol("dep").address == dependency.symbol("dep").address
    assert image.symbol("own").address == ELSEWHERE + DATA + 8
    assert linker.loaded("libfirm.so") is image


def test_the_module_can_be_told(arch: str) -> None:
    library = Crafted(arch, "libt.so", symbols=[Sym("t", 0, type=6)], tls=(b"abc", 16, 8))
    linker = host_with(arch, library, ELSEWHERE)
    told = TlsModule(5, 512 if linker.tls.variant.value == 1 else -512, 16)
    image = linker.adopt(ELSEWHERE, relocated=True, tls=told)
    assert image.tls == told == linker.tls.modules[5]
    linker.unload(image)
    assert not linker.tls.modules
    other = linker.load(Crafted(arch, "libu.so", tls=(b"", 1024, 8)).image())
    for module in (TlsModule(1, told.offset, 16), told, TlsModule(7, 1 << 30, 16)):
        with pytest.raises(TlsError):
            linker.adopt(ELSEWHERE, relocated=True, tls=module)
    assert list(linker.tls.modules.values()) == [other.tls]


def test_bytes_copied_out_of_memory_load_anywhere(arch: str) -> None:
    """Not relocated, or of an ISA that keeps addends in the tables: relocated for the new place."""
    page = 8 if arch not in ("i386", "arm", "riscv32") else 4
    library = Crafted(
        arch,
        "libc.so",
        symbols=[Sym("s", DATA + 16)],
        relocations=[Rel(DATA + 32, RELATIVE[arch], None, DATA + 8), Rel(DATA + 48, SYMBOLIC[arch], "s")],
        data=bytes(32) + (DATA + 8).to_bytes(page, "little") + bytes(0x200),
    )
    linker = host_with(arch, library, ELSEWHERE)
    copied = decode_memory(linker.memory.read, ELSEWHERE, name="copied")
    image = linker.load(copied)
    size = image.architecture.word_size
    assert image.base != ELSEWHERE
    assert word_at(image, DATA + 32, size) == image.address_of(DATA + 8)
    assert word_at(image, DATA + 48, size) == image.symbol("s").address
    linker.unload(image)
    linker.adopt(ELSEWHERE, relocated=False, options=LoadOptions(local=True))
    relocated = decode_memory(linker.memory.read, ELSEWHERE, name="copied")
    if library.rela:
        again = linker.load(relocated)
        assert word_at(again, DATA + 32, size) == again.address_of(DATA + 8)
    else:
        with pytest.raises(LinkError, match="has been relocated"):
            linker.load(relocated)
