"""Images of segments that lie far apart: each run of them is a region, and what lies between is free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emu import Machine
from relink.elf.constants import FileType
from relink.elf.layout import ELF32, ELF64
from relink.errors import AddressSpaceError, UnsupportedElf
from relink.linker import Linker
from relink.memory.address_space import HostMemory, Protection
from tests.elf.build import Segment, with_segments

FLASH = Segment(offset=0x1000, vaddr=0x0800_0000, filesz=0x100, memsz=0x100, flags=5)
RAM = Segment(offset=0x2000, vaddr=0x2000_0000, filesz=0x10, memsz=0x80, flags=6)
FAR = replace(RAM, vaddr=0xC000_0000)
PACKED = (replace(FLASH, offset=0x1B4, align=4), replace(RAM, offset=0x2D8, align=4))


def firmware(segments: tuple[Segment, ...], type_: int = FileType.EXEC, **changes: int) -> bytes:
    content = with_segments(segments, ELF32, type_=type_, machine=40, flags=0x05000400, **changes)
    return content[:0x1B0] + bytes(range(256)) * ((0x3000 - 0x1B0) // 256 + 1)


@pytest.mark.parametrize(
    "segments", [(FLASH, RAM), (FLASH, FAR), (RAM, FLASH), PACKED], ids=["near", "far", "unsorted", "packed"]
)
def test_firmware_lies_where_it_is_linked_for_with_the_bytes_of_its_file(
    segments: tuple[Segment, ...], tmp_path: Path
) -> None:
    content = firmware(segments)
    (tmp_path / "fw.elf").write_bytes(content)
    for source in (content, tmp_path / "fw.elf"):
        with Machine("arm") as machine:
            image = machine.load(source).image
            for s in segments:
                expected = content[s.offset : s.offset + s.filesz] + bytes(s.memsz - s.filesz)
                assert machine.memory.read(s.vaddr, s.memsz) == expected
                assert machine.memory.protection(s.vaddr) == Protection(s.flags)
                assert image.contains(s.vaddr)


@pytest.mark.parametrize("segments", [(FLASH, RAM), (FLASH, FAR)], ids=["near", "far"])
def test_what_lies_between_is_free_until_and_after_it_is_unloaded(segments: tuple[Segment, ...]) -> None:
    between = 0x1000_0000
    with Machine("arm") as machine:
        taken = machine.memory.map_anonymous(0x1000, at=between)  # before it comes
        lib = machine.load(firmware(segments))
        other = machine.load(firmware((replace(FLASH, vaddr=between + 0x10_0000),)))  # while it is there
        assert not lib.image.contains(between)
        lib.close()
        machine.load(firmware(segments))
        assert machine.memory.protection(taken) is not None
        assert not other.image.closed


def test_a_part_that_is_taken_fails_the_whole_and_leaves_nothing() -> None:
    memory = HostMemory("arm")
    memory.reserve(0x1000, at=RAM.vaddr)
    before = memory.regions
    with pytest.raises(AddressSpaceError, match="taken"):
        Linker(memory).load(firmware((FLASH, RAM)))
    assert memory.regions == before


def test_a_shared_object_of_segments_far_apart_is_moved_as_a_whole() -> None:
    segments = (Segment(filesz=0x200, memsz=0x200), replace(RAM, vaddr=0x2000_0000))
    memory = HostMemory("x86_64")
    linker = Linker(memory)
    first, second = (linker.load(with_segments(segments, ELF64)) for _ in range(2))
    for image in (first, second):
        assert memory.protection(image.address_of(0x2000_0000)) is not None
        assert memory.protection(image.address_of(0x1000_0000)) is None
    linker.unload(first)
    linker.unload(second)
    assert memory.regions == ()


def test_what_lies_too_far_apart_is_refused_by_its_size() -> None:
    with pytest.raises(UnsupportedElf, match="the segments span 0xffff8000080"):
        Linker(HostMemory("x86_64")).load(
            with_segments((FLASH, replace(RAM, vaddr=0x1000_0000_0000)), ELF64, type_=FileType.EXEC)
        )
