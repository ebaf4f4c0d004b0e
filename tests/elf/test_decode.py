"""One file through every door: path, bytes, buffer, file object, and an image already in memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relink.arrays import AnyArray
from relink.elf import Decoded, decode, decode_memory
from relink.elf.constants import ADDRESS_TAGS, PAGE, DynamicTag
from relink.errors import AddressSpaceError, ElfError, MalformedElf, NotElf
from tests.elf.build import Symbols
from tests.elf.helpers import linked_fixtures, read_everything
from tests.fixtures import TARGETS, fixture
from tests.grouping import each


def told(decoded: Decoded) -> tuple[object, ...]:
    """What every way of reading the same image must agree on."""
    return (
        decoded.header,
        decoded.program_headers,
        decoded.min_vaddr,
        decoded.span,
        list(decoded.dynamic),
        decoded.needed,
        decoded.soname,
        decoded.symbols.names.texts(),
        decoded.symbols.value.tolist(),
        decoded.symbols.version.tolist(),
        decoded.versions,
        decoded.init_array,
        [
            (
                t.section,
                t.offset.tolist(),
                t.type.tolist(),
                t.symbol.tolist(),
                None if t.addend is None else t.addend.tolist(),
            )
            for t in decoded.relocations
        ],
        decoded.relr.tolist(),
        decoded.tls,
        decoded.relro,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_every_door_leads_to_the_same_image(target: str) -> None:
    path = fixture(target, "versions/client_v2")
    content = path.read_bytes()
    expected = told(decode(path))
    with path.open("rb") as file:
        assert told(decode(file)) == expected
    for source in (str(path), content, bytearray(content), memoryview(content), io.BytesIO(content)):
        assert told(decode(source)) == expected


def test_a_file_object_is_read_from_its_position() -> None:
    content = Symbols([b"foo"]).image()
    file = io.BytesIO(b"prefix" + content)
    file.seek(6)
    assert decode(file).symbols.find("foo").tolist() == [1]


def test_a_text_file_is_refused() -> None:
    with pytest.raises(ElfError, match="text, not bytes"):
        decode(io.StringIO("abc"))  # type: ignore[arg-type]


def test_a_name_given_is_the_name_in_errors() -> None:
    with pytest.raises(NotElf, match=r"^plugin\.so: not an ELF"):
        decode(b"no", name="plugin.so")


def test_a_bytearray_changed_afterwards_changes_nothing() -> None:
    content = bytearray(Symbols([b"foo"]).image())
    decoded = decode(content)
    content[:] = bytes(len(content))
    assert decoded.symbols.names.texts() == ["", "foo"]


def test_arrays_cannot_be_written() -> None:
    decoded = decode(fixture("x86_64", "versions/client_v2"))
    symbols = decoded.symbols
    arrays: list[AnyArray] = [
        decoded.data, decoded.relr, symbols.value, symbols.info, symbols.version, symbols.names.start,
        symbols.names.gnu_hash,
    ]  # fmt: skip
    arrays += [array for table in decoded.relocations for array in (table.offset, table.type, table.symbol)]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_bytes_at_gives_file_backed_bytes_and_no_others() -> None:
    decoded = decode(fixture("x86_64", "bss"))
    last = decoded.segments[-1]
    assert last.memsz > last.filesz
    assert decoded.bytes_at(decoded.segments[0].vaddr, 4).tobytes() == b"\x7fELF"
    with pytest.raises(MalformedElf, match="lies in no segment"):
        decoded.bytes_at(last.vaddr + last.filesz, 1)


def test_a_dynamic_tag_that_repeats_counts_last() -> None:
    decoded = decode(Symbols([b"foo"], values={DynamicTag.FLAGS: 2}).image())
    assert (decoded.flags, decoded.flags_1, decoded.dynamic.value(DynamicTag.FLAGS_1)) == (2, 0, None)
    assert decoded.dynamic.values(DynamicTag.FLAGS) == [2]


# ---------------------------------------------------------------- images in memory


def loaded(decoded: Decoded, address: int, *, rebase: bool) -> Callable[[int, int], bytes]:
    """An address space with the image at `address`, DT addresses rebased as glibc does when asked to."""
    memory = np.zeros(decoded.span + -decoded.span % PAGE, np.uint8)
    for segment in decoded.segments:
        begin = segment.vaddr - decoded.min_vaddr
        memory[begin : begin + segment.filesz] = decoded.bytes_at(segment.vaddr, segment.filesz)
    if rebase:
        layout = decoded.header.layout
        place = next(entry for entry in decoded.program_headers if entry.type == 2)
        begin = place.vaddr - decoded.min_vaddr
        rows = memory[begin : begin + place.filesz].view([("tag", layout.word), ("val", layout.word)])
        for row in rows[: len(decoded.dynamic)]:
            if int(row["tag"]) in ADDRESS_TAGS:
                row["val"] = (int(row["val"]) + address - decoded.min_vaddr) % layout.address_limit

    def read(at: int, size: int) -> bytes:
        if at < address or at + size > address + len(memory):
            raise AddressSpaceError("not mapped", address=at, size=size)
        return memory[at - address : at - address + size].tobytes()

    return read


@each("rebase", [False, True], ids=["as linked", "rebased by its loader"])
@pytest.mark.parametrize("target", TARGETS)
def test_an_image_in_memory_reads_as_its_file(target: str, rebase: bool) -> None:
    for path in linked_fixtures(target):
        decoded = decode(path)
        if decoded.min_vaddr and rebase:
            continue  # an executable lies where it was linked
        address = decoded.min_vaddr or 0x7000_0000
        again = decode_memory(loaded(decoded, address, rebase=rebase), address, name="in memory")
        assert told(again) == told(decoded)
        assert (again.address, again.path, len(again.data), again.sections) == (address, None, 0, ())
        read_everything(again)


def test_memory_that_is_not_mapped_says_so_itself() -> None:
    decoded = decode(fixture("riscv64", "versions/client_v2"))
    with pytest.raises(AddressSpaceError, match="not mapped at 0x1000"):
        decode_memory(loaded(decoded, 0x7000_0000, rebase=False), 0x1000, name="nowhere")


def test_memory_without_an_elf_header_is_not_elf() -> None:
    with pytest.raises(NotElf):
        decode_memory(lambda address, size: bytes(size), 0x1000, name="zeros")


def test_a_segment_that_is_gone_from_memory_is_an_address_space_error() -> None:
    decoded = decode(fixture("x86_64", "versions/client_v2"))
    whole = loaded(decoded, 0x7000_0000, rebase=False)

    def only_the_first_page(at: int, size: int) -> bytes:
        if at + size > 0x7000_0000 + 512:
            raise AddressSpaceError("not mapped", address=at, size=size)
        return whole(at, size)

    with pytest.raises(AddressSpaceError):
        read_everything(decode_memory(only_the_first_page, 0x7000_0000, name="torn"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ElfError, match="not a regular file"):
        decode(tmp_path / "pipe")
