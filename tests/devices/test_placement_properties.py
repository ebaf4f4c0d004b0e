"""Whatever a script says: sections lie in their regions, aligned and apart; references have their addresses."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from relink import HostMemory, Linker, LinkScript, LoadOptions, MemoryRegion, OutputSection, RegionOverflow
from relink.elf.objects import decode_object
from relink.objects.script import Place
from tests.objects.build import compiled

#: name, flags, alignment, bytes.
SECTIONS = [
    (".text", "ax", 4, 40), (".text.far", "ax", 16, 8), (".rodata", "a", 1, 3), (".rodata.wide", "a", 64, 5),
    (".data", "aw", 8, 24), (".data.odd", "aw", 1, 7), (".bss", "aw", 32, 33), (".mine", "a", 2, 6),
    ("plain", "aw", 4, 0), (".fast", "ax", 8, 12), (".noinit", "aw", 4, 9),
]  # fmt: skip
REGIONS = [
    MemoryRegion("flash", 0x0800_0000, 0x400, "rx", fill=0xFF),
    MemoryRegion("low", 0x1000_0004, 0x200, "rwx"),
    MemoryRegion("ram", 0x2000_0000, 0x300, "rw"),
]


def source() -> str:
    lines = []
    for number, (name, flags, align, size) in enumerate(SECTIONS):
        kind = "@nobits" if name in (".bss", ".noinit") else "@progbits"
        lines += [f'.section {name}, "{flags}", {kind}', f".balign {align}", f".globl s{number}", f"s{number}:"]
        lines += [f".zero {size}" if kind == "@nobits" else f".fill {size}, 1, {number + 1}"]
    lines += ['.section .table, "a"', ".balign 4", ".globl table", "table:"]
    lines += [f".long s{number}" for number in range(len(SECTIONS))]
    return "\n".join(lines) + "\n"


outputs = st.dictionaries(
    st.sampled_from([".text", ".rodata", ".data", ".bss", ".mine", ".fast", "plain", ".table", ".noinit"]),
    st.builds(
        OutputSection,
        st.sampled_from(REGIONS),
        st.sampled_from([None, *REGIONS]),
        align=st.sampled_from([1, 2, 16, 128]),
        fill=st.sampled_from([None, 0, 0x5A]),
        load=st.booleans(),
    ),
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(place=outputs, gc=st.booleans())
def test_sections_are_placed_apart_and_referred_to_where_they_are(
    place: dict[str, OutputSection], gc: bool
) -> None:
    every: dict[str, Place] = {
        **dict.fromkeys((".text", ".rodata"), REGIONS[0]),
        ".data": REGIONS[2],
        ".bss": REGIONS[2],
        **place,
    }
    keep = ("*",) if not gc else (".table",)
    rules = LinkScript.of(every, regions=REGIONS, gc=gc, keep=keep)
    path = compiled("i386", source(), language="assembler")
    try:
        image = Linker(HostMemory("i386")).load(path, options=LoadOptions(script=rules))
    except RegionOverflow:
        return
    assert image.objects is not None
    assert image.objects.placed is not None
    regions = {region.name: region for region in REGIONS}
    sections = image.objects.placed.sections
    ranges: list[tuple[int, int]] = []
    for section in sections:
        region = regions[section.region]
        assert region.origin <= section.address
        assert section.address + section.size <= region.end
        assert section.address % section.align == section.load_address % section.align == 0
        ranges.append((section.address, section.address + section.size))
        if section.bits and section.load_address != section.address:
            ranges.append((section.load_address, section.load_address + section.size))
    for one, other in pairwise(sorted(ranges)):
        assert one[1] <= other[0]
    links = {part.name: part.address for part in image.link_map().sections}
    content = image.region.content(links[".table"], 4 * len(SECTIONS))
    assert content is not None
    words = content.view("<u4").tolist()
    loaded = next(s.bits for s in sections if s.name == ".table")
    assert not loaded or words == [links[name] for name, *_ in SECTIONS]
    assert {section.name for section in decode_object(path).sections if section.size} >= {s.name for s in sections}
    for section in sections:
        if section.bits and section.load_address != section.address:
            both = (image.region.content(at, section.size) for at in (section.address, section.load_address))
            one_, other_ = (part.tobytes() for part in both if part is not None)
            assert one_ == other_
