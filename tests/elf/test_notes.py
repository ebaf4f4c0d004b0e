"""Notes, build ids and links to debug information: what they say, and what is wrong with them."""

from __future__ import annotations

import struct

import pytest

from relink.elf import decode
from relink.elf.notes import DebugLink, Note, alternative_debug_link, build_id, debug_link, notes
from relink.errors import MalformedElf
from tests.elf.build_notes import BUILD_ID, LINK, linked_to_debug, note


def test_notes_say_what_they_are() -> None:
    decoded = decode(linked_to_debug())
    assert notes(decoded) == (
        Note("GNU", 3, "BUILD_ID", BUILD_ID.hex(), 20),
        Note("GNU", 1, "ABI_TAG", "Linux 5.10.0", 16),
        Note("GNU", 5, "PROPERTY_TYPE_0", "x86 feature: IBT, SHSTK", 16),
        Note("FDO", 0xCAFE1A7E, "PACKAGE_METADATA", '{"type":"deb"}', 15),
        Note("stapsdt", 3, "STAPSDT", None, 8),
    )
    assert build_id(decoded) == BUILD_ID.hex()


@pytest.mark.parametrize(
    ("machine", "kind", "value", "text"),
    [
        (183, 0xC0000000, 7, "AArch64 feature: BTI, PAC, GCS"),
        (243, 0xC0000000, 2, "RISC-V feature: Zicfiss"),
        (62, 0xC0008002, 0x15, "x86 ISA needed: x86-64-baseline, x86-64-v3, 0x10"),
        (40, 0xC0000000, 1, "0xc0000000: 0x1"),
    ],
)
def test_a_property_is_the_processor_s_own(machine: int, kind: int, value: int, text: str) -> None:
    description = struct.pack("<4I", kind, 4, value, 0)
    content = linked_to_debug(note(b"GNU", 5, description), machine=machine)
    assert [found.text for found in notes(decode(content))] == [text]


def test_links_to_debug_information() -> None:
    decoded = decode(linked_to_debug())
    assert debug_link(decoded) == DebugLink("odd.debug", f"{int.from_bytes(LINK[-4:], 'little'):08x}", None)
    assert alternative_debug_link(decoded) == DebugLink("/usr/lib/debug/.dwz/common.debug", None, BUILD_ID.hex())


@pytest.mark.parametrize("link", [b"odd.debug", b"odd.debug\0\0\0\1\2"])
def test_a_link_cut_short_is_an_error(link: bytes) -> None:
    with pytest.raises(MalformedElf, match=r"gnu_debuglink"):
        debug_link(decode(linked_to_debug(link=link)))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x1000])
def test_a_note_past_the_end_is_an_error(size: int) -> None:
    bad = struct.pack("<3I", 4, size, 3) + b"GNU\0" + bytes(16)
    with pytest.raises(MalformedElf, match="reaches past the end"):
        notes(decode(linked_to_debug(bad)))


def test_a_file_without_notes_has_none() -> None:
    decoded = decode(linked_to_debug(b""))
    assert (notes(decoded), build_id(decoded)) == ((), None)
