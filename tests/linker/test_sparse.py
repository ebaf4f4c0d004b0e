"""Images of segments that lie far apart: each run of them is a region, and what lies between is free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestFault
from relink.elf.constants import FileType
from relink.elf.layout import ELF32, ELF64
from relink.errors import AddressSpaceError
from relink.linker import Linker
from relink.memory.address_space import HostMemory, Protection
from tests.elf.build import Segment, with_segments
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked
from tests.toolcache import text_file

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


def test_a_page_that_segments_share_without_asking_for_pages_allows_what_all_ask_for() -> None:
    """`--nmagic` with several segments: on Linux, where the last one decides, its code cannot be run."""
    data = Segment(offset=0x1000, vaddr=0x0800_0000, filesz=0x80, memsz=0x80, flags=6, align=4)
    code = replace(data, offset=0x1080, vaddr=0x0800_0080, flags=5)
    for segments in ((data, code), (code, data)):
        memory = HostMemory("arm")
        Linker(memory).load(firmware(segments))
        assert str(memory.protection(0x0800_0000)) == "rwx"


#: As in a kernel: per-CPU data linked for address 0, code at the end of the address space.
PER_CPU = Segment(offset=0x1000, vaddr=0, filesz=0x200, memsz=0x2000, flags=6)
KERNEL = Segment(offset=0x2000, vaddr=0xFFFF_FFFF_8000_0000, filesz=0x800, memsz=0x800, flags=5)
LAST = Segment(offset=0x3000, vaddr=(1 << 64) - 0x1000, filesz=0x100, memsz=0x1000, flags=6)


def kernel(segments: tuple[Segment, ...], type_: int = FileType.EXEC, machine: int = 243) -> bytes:
    content = with_segments(segments, ELF64, type_=type_, machine=machine)
    return content.ljust(0x1000, b"\0")[:0x1000] + bytes(range(1, 256)) * (0x3000 // 255 + 1)


@pytest.mark.parametrize("segments", [(PER_CPU, KERNEL), (KERNEL, PER_CPU), (PER_CPU, KERNEL, LAST)])
@pytest.mark.parametrize("type_", [FileType.EXEC, FileType.DYN])
def test_a_kernel_has_its_segments_at_both_ends_of_the_address_space(
    segments: tuple[Segment, ...], type_: int, tmp_path: Path
) -> None:
    content = kernel(segments, type_)
    (tmp_path / "vmlinux").write_bytes(content)
    for source in (content, tmp_path / "vmlinux"):
        memory = HostMemory("riscv64")
        linker = Linker(memory)
        image = linker.load(source)
        for s in segments:
            expected = content[s.offset : s.offset + s.filesz] + bytes(s.memsz - s.filesz)
            assert memory.read(s.vaddr, s.memsz) == expected
            assert memory.protection(s.vaddr) == Protection(s.flags)
        assert sum(len(region.buffer) for region in memory.regions) <= 0x10000
        assert not image.contains(0x4000_0000)
        linker.unload(image)
        assert memory.regions == ()


def test_a_machine_holds_a_kernel_or_says_that_its_engine_cannot() -> None:
    with Machine("riscv64", float_abi="soft-float") as machine:
        machine.load(kernel((PER_CPU, KERNEL)))
        assert machine.memory.read(KERNEL.vaddr, 4) == machine.memory.read(KERNEL.vaddr, 8)[:4] != bytes(4)
    with Machine("x86_64") as machine, pytest.raises(AddressSpaceError):
        machine.load(kernel((PER_CPU, KERNEL), machine=62))


def test_segments_that_keep_too_much_between_them_are_refused() -> None:
    """Gaps of a shared object up to 64 MiB are its own, as under ld.so; of very many it is too much."""
    many = tuple(Segment(vaddr=n * 60 << 20, filesz=0x10, memsz=0x10) for n in range(1200))
    with pytest.raises(AddressSpaceError, match="exceed the limit"):
        Linker(HostMemory("x86_64")).load(with_segments(many, ELF64))


SCRIPT = """
    SECTIONS {
      . = SIZEOF_HEADERS;
      .hash : { *(.hash) } .gnu.hash : { *(.gnu.hash) } .dynsym : { *(.dynsym) } .dynstr : { *(.dynstr) }
      .rela.dyn : { *(.rela.dyn) *(.rela.plt) } .rel.dyn : { *(.rel.dyn) *(.rel.plt) }
      . = ALIGN(0x1000);
      .text : { *(.text .text.*) } .plt : { *(.plt) } .iplt : { *(.iplt) }
      . = 0x20000000;
      .data.rel.ro : { *(.data.rel.ro.first) *(.data.rel.ro*) } .dynamic : { *(.dynamic) } .got : { *(.got) }
      . = ALIGN(0x1000);
      .got.plt : { *(.got.plt) }
      .data : { *(.data .data.*) } .bss : { *(.bss) }
    }
    """
#: The resolver writes what is read-only later, as that of glibc's own ld.so does.
RELOCATED = """
    static int one(void) { return 1; } static int two(void) { return 2; }
    static int (*picked)(void) __attribute__((section(".data.rel.ro.first")));
    int (*const table[1200])(void) = {one, two};
    extern int chosen; int chosen = 0; const int *const where = &chosen;
    static int (*resolve(void))(void) { picked = two; return table[1]; }
    int which(void) __attribute__((ifunc("resolve")));
    int get(void) { return which() * 10 + picked() + *where; }
    void set(int value) { chosen = value; }
    void break_it(void) { picked = one; }
    """


@pytest.mark.parametrize("target", ["x86_64", "i386", "aarch64", "riscv64"])
def test_code_and_data_far_apart_are_relocated_and_protected_after_ifunc_resolvers(target: str) -> None:
    library = linked(target, [compiled(target, RELOCATED, "-fPIC")], "-T", str(text_file(SCRIPT, ".ld")))
    with Machine(arch_of(target)) as machine:
        lib = machine.load(library)
        assert len(lib.image.region.parts) == 2
        assert lib.function("get", "int()")() == 22
        lib.function("set", "void(int)")(5)
        assert lib.function("get", "int()")() == 27
        with pytest.raises(GuestFault, match="write"):
            lib.function("break_it", "void()")()
        slots = {slot.symbol: slot for slot in lib.link_map().slots}
        assert slots["chosen"].words == (lib.image.symbol("chosen").address,)
