"""The debug sections pyelftools shall read: a file's own, or others handed over in their place."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relink.elf.compression import compressed, decompress
from relink.elf.constants import SectionFlag

if TYPE_CHECKING:
    from elftools.dwarf.dwarfinfo import DWARFInfo

    from relink.elf.decode import Decoded

_UNNAMED = ""  #: pyelftools wants the machine's name only to describe registers
_MAX_EXPANSION = 64  #: bytes of debug sections per byte of file, once decompressed


def debug_info(data: bytes | memoryview, sections: Mapping[str, bytes] | None, word_size: int) -> DWARFInfo | None:
    """The debug information in a file's `data`, or in the `sections` given in its place; None for none.

    Raises whatever pyelftools does for a file that is damaged.
    """
    if sections is not None:
        return given_info(word_size, sections) if sections else None
    if not len(data):
        return None
    from elftools.elf.elffile import ELFFile

    return own_info(ELFFile(io.BytesIO(data)), len(data))


def debug_section(decoded: Decoded, name: str) -> bytes:
    """The contents of one debug section of an image, decompressed; empty where there is none. Raises ElfError."""
    if decoded.debug_sections is not None:
        return decoded.debug_sections.get(name, b"")
    section = decoded.section(name)
    if section is None:
        return b""
    raw = decoded.section_bytes(section)
    if not section.flags & SectionFlag.COMPRESSED:
        return raw.tobytes()
    return decompress(name, raw, compressed(name, raw, decoded.header.layout), len(decoded.data), 0).tobytes()


def own_info(elf: Any, size: int) -> DWARFInfo | None:
    """What the file's own sections hold; None for nothing, or more than its `size` explains."""
    debug = [section for section in elf.iter_sections() if section.name.startswith((".debug", ".zdebug"))]
    if not debug or sum(section.data_size for section in debug) > _MAX_EXPANSION * size:
        return None
    # Only relocatable objects have relocations in their debug sections, and need them for names.
    info: DWARFInfo = elf.get_dwarf_info(relocate_dwarf_sections=elf["e_type"] == "ET_REL", follow_links=False)
    return info


def given_info(word_size: int, sections: Mapping[str, bytes]) -> DWARFInfo:
    """What `sections` hold, of a file whose addresses have `word_size` bytes."""
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

    def section(name: str) -> DebugSectionDescriptor | None:
        content = sections.get(name)
        return None if content is None else DebugSectionDescriptor(io.BytesIO(content), name, 0, len(content), 0)

    return DWARFInfo(
        DwarfConfig(True, _UNNAMED, word_size),
        debug_info_sec=section(".debug_info"), debug_aranges_sec=section(".debug_aranges"),
        debug_abbrev_sec=section(".debug_abbrev"), debug_frame_sec=section(".debug_frame"), eh_frame_sec=None,
        debug_str_sec=section(".debug_str"), debug_loc_sec=section(".debug_loc"),
        debug_ranges_sec=section(".debug_ranges"), debug_line_sec=section(".debug_line"),
        debug_pubtypes_sec=section(".debug_pubtypes"), debug_pubnames_sec=section(".debug_pubnames"),
        debug_addr_sec=section(".debug_addr"), debug_str_offsets_sec=section(".debug_str_offsets"),
        debug_line_str_sec=section(".debug_line_str"), debug_loclists_sec=section(".debug_loclists"),
        debug_rnglists_sec=section(".debug_rnglists"), debug_sup_sec=None, gnu_debugaltlink_sec=None,
        debug_types_sec=section(".debug_types"),
    )  # fmt: skip
