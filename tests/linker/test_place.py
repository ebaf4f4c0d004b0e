"""Where images go, which bytes they get and what may be done with their pages."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink import (
    ARCHITECTURES,
    AddressSpaceError,
    HostMemory,
    Image,
    Linker,
    LoadOptions,
    MalformedElf,
    Protection,
    RelinkError,
    SearchPath,
    UnsupportedElf,
)
from relink.elf import Decoded, ProgramHeader
from relink.memory import placement
from relink.memory.address_space import PAGE
from relink.memory.runs import Run, Runs
from tests.elf.build import Segment, with_segments
from tests.elf.build import image as plain_image
from tests.fixtures import arch_of, fixture, targets_of
from tests.grouping import each
from tests.linker.craft import DATA, Library, Rel, Sym
from tests.linker.helpers import folders_of, memory_of, word_at
from tests.linker.numbers import SYMBOLIC
from tests.linker.test_mutations import mutated
from tests.sampling import examples

R_X86_64_RELATIVE = 8
RX, RW, R = Protection.R | Protection.X, Protection.R | Protection.W, Protection.R


def linked(arch: str, source: bytes | Path, **options: object) -> tuple[Linker, Image]:
    linker = Linker(HostMemory(arch))
    return linker, linker.load(source, options=LoadOptions(**options))  # type: ignore[arg-type]


# ---------------------------------------------------------------- permissions


_PLACES = st.integers(0, 12 * PAGE)
_SEGMENTS = st.lists(st.tuples(st.integers(0, 7), _PLACES, st.integers(1, 5 * PAGE), st.sampled_from([1, PAGE])))


@given(segments=_SEGMENTS, relro=st.lists(st.tuples(_PLACES, st.integers(0, 5 * PAGE))), gap=st.booleans())
@settings(max_examples=examples(100), deadline=None)
def test_permissions_are_those_of_each_page_by_itself(
    segments: list[tuple[int, int, int, int]], relro: list[tuple[int, int]], gap: bool
) -> None:
    parts = [ProgramHeader(1, flags, v, v, v, size, size, align) for flags, v, size, align in segments]
    protected = [ProgramHeader(0, 4, v, v, v, size, size, 1) for v, size in relro]
    runs = Runs((Run(0, 4 * PAGE), Run(6 * PAGE, 7 * PAGE)) if gap else (Run(0, 13 * PAGE),))
    decoded = cast(Decoded, SimpleNamespace(mapping_order=tuple(parts), relro=tuple(protected)))
    found = placement._pages(decoded, runs, relro=True)
    expected = bytearray(runs.size // PAGE)
    for segment in parts:
        start = runs.index(segment.vaddr)
        for page in range(start // PAGE, min(-(-(start + segment.memsz) // PAGE), len(expected))):
            before = expected[page] if segment.align < PAGE else 0
            expected[page] = segment.flags | 8 | before
    for part, offset in zip(runs.runs, runs.offsets, strict=False):
        for page in range(part.size // PAGE):
            at = part.start + page * PAGE
            if any(p.vaddr & -PAGE <= at < (p.vaddr + p.memsz) & -PAGE for p in protected):
                expected[offset // PAGE + page] &= ~2
    of_pages = [(page, Protection(flags & 7)) for page, flags in enumerate(expected) if flags]
    assert of_pages == [
        (page, run.protection)
        for run in found
        for page in range(run.offset // PAGE, (run.offset + run.size) // PAGE)
    ]
    for run, after in pairwise(found):  # as long as they can be
        end = run.offset + run.size
        assert end < after.offset or run.protection != after.protection or end in runs.offsets


def test_pages_have_the_permissions_of_their_segment_and_gaps_none(target: str) -> None:
    path = fixture(target, "datarel_now")
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    image = linker.load(path)
    memory = memory_of(linker)
    expected: dict[int, Protection] = {}
    for segment in image.decoded.segments:
        first, last = segment.vaddr & -PAGE, (segment.vaddr + segment.memsz + PAGE - 1) & -PAGE
        expected |= {image.address_of(v): Protection(segment.flags & 7) for v in range(first, last, PAGE)}
    (relro,) = image.decoded.relro
    for vaddr in range(relro.vaddr & -PAGE, (relro.vaddr + relro.memsz) & -PAGE, PAGE):
        expected[image.address_of(vaddr)] &= ~Protection.W
    assert any(p == R and expected.get(a + PAGE) == RW for a, p in expected.items()), "no RELRO page to judge by"
    for address in range(image.region.address, image.region.end, PAGE):
        assert memory.protection(address) == expected.get(address)
        if address not in expected:
            with pytest.raises(AddressSpaceError, match="not mapped"):
                memory.read(address, 1)


@each(("size", "read_only"), [(0, 0), (PAGE - 1, 0), (PAGE, 1), (PAGE + 1, 1), (2 * PAGE, 2), (3 * PAGE, 3)])
def test_relro_covers_whole_pages_only(arch: str, size: int, read_only: int) -> None:
    linker, image = linked(arch, Library(arch, data=bytes(3 * PAGE), relro=size).image())
    pages = [memory_of(linker).protection(image.address_of(DATA) + n * PAGE) for n in range(3)]
    assert pages == [R] * read_only + [RW] * (3 - read_only)


@each("flags", range(8))
def test_every_combination_of_permissions_is_kept(arch: str, flags: int) -> None:
    linker, image = linked(arch, Library(arch, data_flags=flags).image())
    assert memory_of(linker).protection(image.address_of(DATA)) == Protection(flags)
    assert memory_of(linker).protection(image.base) == RX


# ---------------------------------------------------------------- bytes


def bss(tmp_path: Path, arch: str, data: int, size: int) -> tuple[bytes, Path]:
    """An image whose file goes on with rubbish behind the data, where .bss begins in memory."""
    content = Library(arch, data=b"\xdd" * data, bss=size).image() + b"\xee" * PAGE
    path = tmp_path / "lib.so"
    path.write_bytes(content)
    return content, path


@each(("data", "size"), [(0x400, 0x100), (0x400, 0xC00), (0x400, 0x3000), (PAGE, 0x2000), (1, 1), (0x400, 0)])
def test_bss_is_zero_however_the_file_goes_on(tmp_path: Path, arch: str, data: int, size: int) -> None:
    for source in bss(tmp_path, arch, data, size):
        linker, image = linked(arch, source)
        assert linker.memory.read(image.address_of(DATA), data + size) == b"\xdd" * data + bytes(size)


def test_a_path_and_its_bytes_link_to_the_same_memory(target: str) -> None:
    for name in ("basic", "datarel", "bss", "tls", "relr", "cxx"):
        if target not in targets_of(name):
            continue
        path = fixture(target, name)
        images = []
        for source in (path, path.read_bytes()):
            search = SearchPath(library_path=folders_of(path, target))
            linker = Linker(HostMemory(arch_of(target)), search=search)
            options = LoadOptions(unresolved=lambda image, symbol: 0x1000)
            images.append((linker, linker.load(source, options=options)))
        for segment in images[0][1].decoded.segments:
            one, two = (linker.memory.read(i.address_of(segment.vaddr), segment.memsz) for linker, i in images)
            assert one == two


def test_linking_a_file_does_not_change_it(target: str) -> None:
    path = fixture(target, "basic")
    before = path.read_bytes()
    linker = Linker(HostMemory(arch_of(target)))
    image = linker.load(path, options=LoadOptions(unresolved=lambda image, symbol: 0x1000))
    image.region.buffer[:] = 0xCC
    assert path.read_bytes() == before
    assert image.decoded.data.tobytes() == before


def test_two_segments_in_one_page_keep_both_their_bytes(tmp_path: Path) -> None:
    """Mapping the second one's page would lay file bytes over the first, were it not copied."""
    content = bytearray(
        with_segments(
            [
                Segment(offset=0, vaddr=0, filesz=0x400, memsz=0x600),
                Segment(offset=0x1800, vaddr=0x800, filesz=0x400, memsz=0x400),
            ]
        )
    )
    content[0x100:0x400] = b"\x11" * 0x300
    content[0x1000:0x1800] = b"\xee" * 0x800
    content[0x1800:0x1C00] = b"\x22" * 0x400
    path = tmp_path / "shared.so"
    path.write_bytes(content)
    for source in (bytes(content), path):
        linker, image = linked("x86_64", source)
        memory = linker.memory.read(image.base, 0xC00)
        assert memory[0x100:0x400] == b"\x11" * 0x300
        assert memory[0x400:0x800] == bytes(0x400)
        assert memory[0x800:0xC00] == b"\x22" * 0x400


@pytest.mark.parametrize("size", [0, 0x80])
def test_bss_in_a_page_that_an_earlier_segment_maps_is_zero(tmp_path: Path, size: int) -> None:
    first = Segment(offset=0, vaddr=0, filesz=0x400, memsz=0x400)
    second = Segment(offset=0x1800, vaddr=0x800, filesz=size, memsz=0x300)
    content = with_segments([first, second])[:0x400].ljust(0x3000, b"\xee")
    path = tmp_path / "shared.so"
    path.write_bytes(content)
    for source in (content, path):
        linker, image = linked("x86_64", source)
        assert linker.memory.read(image.base + 0x800, 0x300) == b"\xee" * size + bytes(0x300 - size)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, (1 << 64) - 1))
def test_a_mutant_links_to_the_same_memory_mapped_and_copied(seed: int) -> None:
    target, path, content = mutated(seed)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mutant.so"
        file.write_bytes(content)
        results = []
        for source in (content, file):
            linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
            options = LoadOptions(unresolved=lambda image, symbol: 0x1000)
            try:
                image = linker.load(source, name="mutant", options=options)
            except RelinkError as error:
                results.append(type(error).__name__)
                continue
            segments = image.decoded.segments
            ranges = [(image.address_of(s.vaddr), min(s.memsz, 1 << 20)) for s in segments]
            parts = [linker.memory.read(address, size) for address, size in ranges]
            results.append(b"".join(parts).hex())
        assert results[0] == results[1]


def test_memory_is_by_p_memsz_but_only_touched_by_need(tmp_path: Path) -> None:
    """A gibibyte of .bss is address space, not memory."""
    linker, image = linked("riscv64", Library("riscv64", bss=1 << 30).image())
    assert image.region.size > 1 << 30
    assert word_at(linker, image.address_of(DATA + (1 << 30)), 8) == 0


@pytest.mark.parametrize("size", [1 << 32, 1 << 40, 1 << 60, (1 << 64) - DATA - 0x400, (1 << 64) - 1])
def test_an_absurd_p_memsz_is_refused_without_allocating(size: int) -> None:
    with pytest.raises((UnsupportedElf, MalformedElf)):
        linked("x86_64", with_segments([Segment(offset=0, vaddr=0, filesz=0x100, memsz=size)]))


@pytest.mark.parametrize("size", [(1 << 31) + PAGE, (1 << 32) - 0x1000])
def test_an_absurd_p_memsz_is_refused_on_32_bits_too(size: int) -> None:
    with pytest.raises(RelinkError):
        linked("riscv32", Library("riscv32", bss=size - DATA).image())


#: Segments and what the guest sees at some addresses, for a file of pages 00, 11 and 22 behind its headers.
LAID = {
    "the later covers the earlier": (
        [Segment(filesz=0x2000, memsz=0x2000), Segment(offset=0x2000, vaddr=0x1000, filesz=0x800, memsz=0x800)],
        {0xFF0: 0x00, 0x1000: 0x22, 0x17F0: 0x22},
    ),
    "in the order of the file, whatever their addresses": (
        [Segment(offset=0x2000, vaddr=0x1000, filesz=0x800, memsz=0x800), Segment(filesz=0x2000, memsz=0x2000)],
        {0xFF0: 0x00, 0x1000: 0x11, 0x17F0: 0x11},
    ),
    "bss under the next segment": (
        [Segment(filesz=0x1000, memsz=0x1008), Segment(offset=0x1000, vaddr=0x1000, filesz=0x1000, memsz=0x1000)],
        {0x1000: 0x11, 0x1010: 0x11},
    ),
    "bss over an earlier segment": (
        [
            Segment(offset=0x1000, vaddr=0x1000, filesz=0x1000, memsz=0x1000),
            Segment(filesz=0x1000, memsz=0x1008),
        ],
        {0x1000: 0x00, 0x1010: 0x11},
    ),
    "the same twice": ([Segment(filesz=0x2000, memsz=0x2000)] * 2, {0x1000: 0x11}),
    "unlike modulo the page": (
        [Segment(filesz=0x1000, memsz=0x1000), Segment(offset=0x1800, vaddr=0x1010, filesz=0x100, memsz=0x180)],
        {0x1010: 0x11, 0x110F: 0x11, 0x1110: 0x00, 0x100F: 0x00},
    ),
    "like modulo the page, not modulo p_align": (
        [
            Segment(filesz=0x1000, memsz=0x1000),
            Segment(offset=0x2000, vaddr=0x11000, filesz=16, memsz=16, align=1 << 21),
        ],
        {0x11000: 0x22},
    ),
    "padding before and behind": (
        [
            Segment(filesz=0x1000, memsz=0x1000),
            Segment(offset=0x1800, vaddr=0x2800, filesz=0x10, memsz=0x10),
        ],
        {0x2000: 0x11, 0x2FFF: 0x11},
    ),
}


@pytest.mark.parametrize("case", LAID)
def test_segments_are_laid_as_loaders_lay_them_from_a_path_and_from_bytes(tmp_path: Path, case: str) -> None:
    segments, expected = LAID[case]
    content = with_segments(segments)[:0x1000] + b"\x11" * 0x1000 + b"\x22" * 0x1000
    (tmp_path / "odd.so").write_bytes(content)
    for source in (content, tmp_path / "odd.so"):
        linker, image = linked("x86_64", source)
        assert {at: linker.memory.read(image.address_of(at), 1)[0] for at in expected} == expected


def test_an_image_without_dynamic_section_or_segments() -> None:
    linked("x86_64", with_segments([Segment(offset=0, vaddr=0, filesz=0x100, memsz=0x100)]))
    with pytest.raises(MalformedElf):
        linked("x86_64", with_segments([]))
    linked("x86_64", plain_image())


# ---------------------------------------------------------------- addresses


def test_the_base_is_where_the_caller_says(arch: str) -> None:
    for base in (0x1000_0000, 0x1000, 0x7000_0000):
        assert linked(arch, Library(arch).image(), base=base)[1].base == base


def test_without_a_choice_images_go_up_from_the_isa_s_base(arch: str) -> None:
    linker = Linker(HostMemory(arch))
    bases = [linker.load(Library(arch).image()).base for _ in range(5)]
    assert bases == sorted(set(bases))
    assert bases[0] == ARCHITECTURES[arch].image_base
    assert all(base % PAGE == 0 for base in bases)


def test_the_last_pages_of_the_address_space_can_be_had(arch: str) -> None:
    library = Library(arch, symbols=[Sym("s")], relocations=[Rel(DATA, SYMBOLIC[arch], "s")])
    base = (1 << ARCHITECTURES[arch].bits) - DATA - PAGE
    linker, image = linked(arch, library.image(), base=base)
    assert word_at(linker, image.address_of(DATA), ARCHITECTURES[arch].word_size) == base + DATA
    with pytest.raises(AddressSpaceError, match="outside"):
        linked(arch, library.image(), base=base + PAGE)


@each("align", [0, 1, PAGE, 0x10000, DATA])
def test_the_load_bias_keeps_p_align(arch: str, align: int) -> None:
    if align < PAGE:
        linker, image = linked("x86_64", with_segments([Segment(filesz=64, memsz=64, align=align)]))
        return
    for base in (0, 0x300000):
        library = Library(arch, align=align, base=base)
        linker = Linker(HostMemory(arch))
        linker.memory.reserve(PAGE)
        image = linker.load(library.image())
        assert image.bias % align == 0


def test_a_low_segment_that_is_not_aligned_still_gets_an_aligned_bias() -> None:
    segments = [Segment(offset=0x1000, vaddr=0x41000, filesz=0x100, memsz=0x100, align=0x10000)]
    for _ in range(3):
        linker, image = linked("aarch64", with_segments(segments, machine=183))
        assert image.bias % 0x10000 == 0
        assert linker.memory.read(image.address_of(0x41000), 4) == bytes(4)
        with pytest.raises(AddressSpaceError):
            linker.memory.read(image.address_of(0x40000), 4)


def test_a_base_that_p_align_forbids_is_refused_with_the_alignment(arch: str) -> None:
    with pytest.raises(AddressSpaceError, match="0x10000"):
        linked(arch, Library(arch, align=0x10000).image(), base=0x1000_1000)
