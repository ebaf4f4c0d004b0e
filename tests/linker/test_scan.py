"""Planning a load: scan, places, finders, address spaces of one's own, linkers side by side."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from relink import (
    ARCHITECTURES,
    AddressSpaceError,
    Decoded,
    HostMemory,
    LibraryNotFound,
    Linker,
    LoadOptions,
    NotElf,
    Pages,
    Protection,
    Region,
    SearchPath,
    Source,
)
from relink.memory.address_space import PAGE
from tests.fixtures import arch_of, fixture
from tests.linker.craft import DATA, TLS, UNIQUE, Library, Rel, Sym, undefined
from tests.linker.helpers import built, folders_of, linker_for, snapshot, word_at
from tests.linker.numbers import SYMBOLIC, TPOFF
from tests.objects.build import TARGETS as COMPILED
from tests.objects.build import compiled

PLACE = DATA + 0x80


# ---------------------------------------------------------------- scan


def test_a_scan_lists_the_closure_and_maps_nothing(target: str) -> None:
    path = fixture(target, "deps/libtop")
    memory = HostMemory(arch_of(target))
    linker = Linker(memory, search=SearchPath(library_path=folders_of(path, target)))
    scan = linker.scan(path)
    assert not memory.regions
    assert not linker.images
    assert scan.root.decoded is not None
    assert scan.libraries[0].name == scan.root.name
    image = linker.load(path)
    assert [library.name for library in scan.new] == [i.soname for i in linker.images]
    for library, loaded in zip(scan.new, linker.images, strict=True):
        assert library.size == loaded.region.size
        assert loaded.base % library.alignment == 0
        assert [s.size for s in library.segments] == [s.memsz for s in loaded.decoded.segments]
        assert library.needed == loaded.decoded.needed
    assert scan.size == sum(region.size for region in memory.regions)
    assert linker.scan(path).root.status == "loaded"
    assert linker.scan(path).root.decoded is image.decoded


def test_a_scan_tells_sections_imports_and_thread_local_size(target: str) -> None:
    path = fixture(target, "basic")
    scan = Linker(HostMemory(arch_of(target))).scan(path)
    assert "my_host_function" in {wanted.name for wanted in scan.root.imports}
    assert {".text", ".data", ".dynsym"} <= {section.name for section in scan.root.sections}
    text = next(section for section in scan.root.sections if section.name == ".text")
    assert text.allocated
    assert any(
        s.vaddr <= text.vaddr and text.vaddr + text.size <= s.vaddr + s.size and s.protection & Protection.X
        for s in scan.root.segments
    )
    tls = Linker(HostMemory(arch_of(target))).scan(fixture(target, "tls_static"))
    assert tls.root.tls_size > 128


def test_a_scan_shows_what_is_missing_and_where_it_was_sought(arch: str) -> None:
    root = Library(
        arch,
        "libroot.so",
        ["liba.so", "libnowhere.so"],
        needs=[("liba.so", "V1", 0)],
        symbols=[undefined("f", version="V1")],
    )
    linker = linker_for(arch, Library(arch, "liba.so"))
    scan = linker.scan(root.image())
    (missing,) = scan.missing
    assert (missing.name, missing.status, missing.needed_by) == ("libnowhere.so", "missing", "<bytes>")
    assert missing.tried[-1] == ("default folders", "no sysroot was given")
    assert (missing.size, missing.needed, missing.imports, missing.sections) == (0, (), (), ())
    assert scan.library("liba.so").rule == "explicit mapping"
    assert [(i.name, i.version, i.weak) for i in scan.root.imports] == [("f", "V1", False)]
    with pytest.raises(KeyError):
        scan.library("libz.so")
    with pytest.raises(NotElf):
        linker.scan(b"no ELF")


@pytest.mark.parametrize("target", COMPILED)
def test_objects_are_scanned_with_their_inputs_sections(target: str) -> None:
    path = compiled(target, "extern int f(int); int data = 3; int g(int n) { return f(n) + data; }", "-fPIC")
    scan = Linker(HostMemory(arch_of(target))).scan(path)
    assert {".text", ".data"} <= {section.name for section in scan.root.sections}
    assert "f" in [wanted.name for wanted in scan.root.imports]


# ---------------------------------------------------------------- places


def test_a_planned_layout_is_where_everything_goes(target: str) -> None:
    path = fixture(target, "deps/libtop")
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    base, planned = 0x2000_0000, {}
    for library in reversed(linker.scan(path).new):
        base = -(-base // library.alignment) * library.alignment
        planned[library.name] = base
        base += library.size
    linker.load(path, options=LoadOptions(place=planned))
    assert {i.soname: i.base for i in linker.images} == planned


def test_a_function_places_some_and_the_base_is_the_root_s(arch: str) -> None:
    def place(decoded: Decoded) -> int | None:
        return {"libroot.so": 0x3000_0000, "liba.so": 0x3100_0000}.get(decoded.soname or "")

    others = Library(arch, "liba.so"), Library(arch, "libb.so")
    root = Library(arch, "libroot.so", ["liba.so", "libb.so"]).image()
    linker = linker_for(arch, *others)
    linker.load(root, options=LoadOptions(place=place))
    assert [i.base for i in linker.images[:2]] == [0x3000_0000, 0x3100_0000]
    assert linker.images[2].base >= ARCHITECTURES[arch].image_base
    linker = linker_for(arch, *others)
    linker.load(root, options=LoadOptions(base=0x3200_0000, place=place))
    assert [i.base for i in linker.images[:2]] == [0x3200_0000, 0x3100_0000]


def test_a_place_that_is_taken_undoes_the_load(arch: str) -> None:
    linker = linker_for(arch, Library(arch, "liba.so"))
    before = snapshot(linker)
    root = Library(arch, "libroot.so", ["liba.so"]).image()
    for places in ({"libroot.so": 0x3000_0000, "liba.so": 0x3000_1000}, {"liba.so": 0x3000_0010}):
        with pytest.raises(AddressSpaceError):
            linker.load(root, options=LoadOptions(place=places))
        assert snapshot(linker) == before


# ---------------------------------------------------------------- finders


def test_a_finder_is_asked_by_name_and_asking_image(arch: str) -> None:
    asked: list[tuple[str, str | None]] = []

    def find(name: str, asking: Decoded | None) -> Source | None:
        asked.append((name, asking.soname if asking is not None else None))
        return Library(arch, name, ["libb.so"] if name == "liba.so" else []).image()

    search = SearchPath({"libmap.so": Library(arch, "libmap.so", ["liba.so"]).image()}, finders=[find])
    linker = Linker(HostMemory(arch), search=search)
    linker.load("libmap.so")
    assert [i.soname for i in linker.images] == ["libmap.so", "liba.so", "libb.so"]
    assert asked == [("liba.so", "libmap.so"), ("libb.so", "liba.so")], "the explicit mapping comes first"


def test_finders_stand_before_and_after_the_rules_and_among_the_places_tried(arch: str) -> None:
    order: list[str] = []

    def eager(name: str, asking: Decoded | None) -> None:
        order.append("eager")

    def patient(name: str, asking: Decoded | None) -> Source | None:
        order.append("patient")
        return Library(arch, "liba.so").image() if name == "liba.so" else b"not ELF"

    linker = Linker(HostMemory(arch), search=SearchPath(finders=[eager], last_finders=[patient]))
    assert linker.load("liba.so").soname == "liba.so"
    assert order == ["eager", "patient"]
    with pytest.raises(LibraryNotFound) as caught:
        linker.load("libz.so")
    places = [place for place, _ in caught.value.tried]
    assert [place.split(".")[-1] for place in places] == ["eager", "default folders", "patient"]
    assert caught.value.tried[0][1] == "does not know it"
    assert "not an ELF file" in caught.value.tried[-1][1]


# ---------------------------------------------------------------- an address space of one's own


class Recording(HostMemory):
    """Host memory that keeps a diary."""

    def __init__(self, arch: str) -> None:
        super().__init__(arch)
        self.diary: list[tuple[str, str]] = []

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        self.diary.append(("reserve", name))
        return super().reserve(size, at=at, align=align, below=below, name=name)

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        self.diary.append(("publish", region.name))
        super().publish(region, pages)

    def release(self, region: Region) -> None:
        self.diary.append(("release", region.name))
        super().release(region)


class DeviceMemory:
    """A device's RAM: `size` bytes at `base`, kept in a bytearray. Regions are handed out one after the other."""

    def __init__(self, arch: str, base: int, size: int) -> None:
        self.architecture = ARCHITECTURES[arch]
        self.base = base
        self.ram = bytearray(size)
        self.next = base
        self.pages: dict[int, Protection] = {}

    def reserve(
        self, size: int, *, at: int | None = None, align: int = PAGE, below: int | None = None, name: str = ""
    ) -> Region:
        address = -(-self.next // align) * align if at is None else at
        size = -(-size // PAGE) * PAGE
        if not self.base <= address <= self.base + len(self.ram) - size:
            raise AddressSpaceError("the device has no such memory", address=address, size=size)
        self.next = address + size
        offset = address - self.base
        self.ram[offset : offset + size] = bytes(size)
        return Region(address, size, np.frombuffer(self.ram, np.uint8)[offset : offset + size], name)

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        for offset, size, protection in pages:
            for page in range(offset, offset + size, PAGE):
                self.pages[region.address + page] = protection

    def release(self, region: Region) -> None:
        for address in range(region.address, region.end, PAGE):
            self.pages.pop(address, None)

    def protection(self, address: int) -> Protection | None:
        return self.pages.get(address & -PAGE)

    def read(self, address: int, size: int) -> bytes:
        self._check(address, size)
        return bytes(self.ram[address - self.base : address - self.base + size])

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._check(address, len(data))
        self.ram[address - self.base : address - self.base + len(data)] = data

    def _check(self, address: int, size: int) -> None:
        if any(page not in self.pages for page in range(address & -PAGE, address + size, PAGE)):
            raise AddressSpaceError("not mapped", address=address, size=size)


def test_an_address_space_may_record_what_is_asked_of_it(arch: str) -> None:
    memory = Recording(arch)
    linker = Linker(memory, search=SearchPath({"liba.so": Library(arch, "liba.so").image()}))
    image = linker.load(Library(arch, None, ["liba.so"]).image(), name="root")
    assert memory.diary == [
        ("reserve", "root"),
        ("reserve", "liba.so"),
        ("publish", "root"),
        ("publish", "liba.so"),
    ]
    del memory.diary[:]
    linker.unload(image)
    assert memory.diary == [("release", "root"), ("release", "liba.so")]


def test_a_library_is_linked_straight_into_device_memory(target: str) -> None:
    """Byte for byte what host memory would hold at the same address, though it comes from a file."""
    path = fixture(target, "datarel")
    arch = arch_of(target)
    device = DeviceMemory(arch, 0x2000_0000, 1 << 20)
    folders = folders_of(path, target)
    linker = Linker(device, search=SearchPath(library_path=folders))
    linker.resolver.after.append(lambda request: 0x1000)
    image = linker.load(path)
    plain = Linker(HostMemory(arch), search=SearchPath(library_path=folders))
    plain.resolver.after.append(lambda request: 0x1000)
    expected = plain.load(path, options=LoadOptions(place={i.soname or i.name: i.base for i in linker.images}))
    for segment in image.decoded.segments:  # the rest of their pages may hold what the file has there
        address = image.address_of(segment.vaddr)
        there = expected.region.buffer[address - expected.base :][: segment.memsz].tobytes()
        assert bytes(device.ram[address - device.base :][: segment.memsz]) == there
    assert device.protection(image.base) == plain.memory.protection(image.base)
    linker.unload(image)
    assert not device.pages
    with pytest.raises(AddressSpaceError, match="the device has no such memory"):
        linker.load(path, options=LoadOptions(base=0x8000_0000))
    assert not linker.images


# ---------------------------------------------------------------- isolation


def full(arch: str, value: int) -> Library:
    """A library with TLS and a unique symbol, under a SONAME that others have too."""
    unique, thread = Sym("unique", DATA + 0x20 + value, bind=UNIQUE), Sym("t", 0, type=TLS)
    return Library(
        arch,
        "libsame.so",
        symbols=[unique, thread, Sym("own", DATA + value)],
        tls=(b"x" * value, 16 * value, 8),
        relocations=[Rel(PLACE, SYMBOLIC[arch], unique), Rel(PLACE + 16, TPOFF[arch], thread)],
    )


def test_linkers_share_nothing(arch: str) -> None:
    one, other = linker_for(arch), linker_for(arch)
    a = one.load(full(arch, 1).image())
    before = snapshot(one)
    b = other.load(full(arch, 2).image())
    size = a.architecture.word_size
    assert snapshot(one) == before
    assert (a.tls is not None, b.tls is not None) == (True, True)
    assert a.tls.id == b.tls.id == 1  # type: ignore[union-attr]
    assert a.base == b.base, "each begins at its own start"
    assert word_at(a, PLACE, size) == a.symbol("unique").address != b.symbol("unique").address
    assert word_at(b, PLACE, size) == b.symbol("unique").address
    one.resolver.before.append(lambda request: 0x1000)
    refers = Library(arch, symbols=[undefined("own")], relocations=[Rel(PLACE, SYMBOLIC[arch], "own")]).image()
    assert word_at(one.load(refers), PLACE, size) == 0x1000
    assert word_at(other.load(refers), PLACE, size) == b.symbol("own").address
    one.close()
    assert a.closed
    assert not b.closed
    assert b.symbol("own").address == b.address_of(DATA + 2)


def test_one_file_may_be_in_two_linkers_at_once(target: str) -> None:
    """The same file, mapped privately by both: what one writes the other does not see."""
    one, a = built(target, "bss")
    two, b = built(target, "bss")
    untouched = bytes(b.region.buffer)
    one.memory.write(a.base, b"\xaa" * 64)
    assert bytes(b.region.buffer) == untouched
    assert fixture(target, "bss").read_bytes()[:4] == two.memory.read(b.base, 4) == b"\x7fELF"
    one.unload(a)
    assert two.memory.read(b.base, 4) == b"\x7fELF"
