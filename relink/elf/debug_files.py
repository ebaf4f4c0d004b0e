"""Finding the debug sections of an image: decompressed, under their uncompressed names.

- A file's own debug sections are read here.
- Those of linked relocatable objects are relocated by `relink.relocate.debug_info`.
- A stripped file may name a separate debug file (.gnu_debuglink). It is searched in the folders GDB uses and
  accepted when its checksum matches.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from relink.elf.compression import Compressed, compressed, decompress, gnu_compressed
from relink.elf.constants import SectionFlag, SectionType
from relink.elf.debug_sections import DebugSections
from relink.elf.decode import decode_sections
from relink.elf.decoded import Decoded
from relink.elf.headers import Section
from relink.errors import ElfError

#: The sections that hold prototypes and types, or name other debug files.
_WANTED = frozenset(
    f".debug_{name}"
    for name in (
        "info", "types", "abbrev", "str", "line_str", "str_offsets", "addr", "ranges", "rnglists", "loc",
        "loclists", "sup", "cu_index", "tu_index",
    )
)  # fmt: skip
_LINKS = frozenset({".gnu_debugaltlink"})
_DEBUG_LINK = ".gnu_debuglink"


def debug_sections(decoded: Decoded) -> DebugSections:
    """The debug sections of an image, or of its separate debug file when it has none. Never raises: sections that
    cannot be read are reported in `DebugSections.problems`.
    """
    if decoded.debug_sections is not None:
        return decoded.debug_sections
    own = own_sections(decoded)
    if ".debug_info" in own or own.problems:
        return own
    return _linked(decoded, own)


def has_debug_info(decoded: Decoded) -> bool:
    """Whether the image has debug information or names a file that has it; nothing is decompressed."""
    if decoded.debug_sections is not None:
        return bool(decoded.debug_sections or decoded.debug_sections.problems)
    return any(plain_name(section.name) in (".debug_info", _DEBUG_LINK) for section in decoded.sections)


def own_sections(decoded: Decoded, *, split: bool = False) -> DebugSections:
    """A file's own debug sections. With `split`, those of split DWARF: their names end in `.dwo`."""
    found, problems, spent = {}, [], 0
    suffix = ".dwo" if split else ""
    for section in decoded.sections:
        name = plain_name(section.name)
        known = name.removesuffix(suffix) if name.endswith(suffix) else name
        if known not in _WANTED | _LINKS or known in found or (split and not _is_split(name)):
            continue
        try:
            content = section_contents(decoded, section, spent)
        except ElfError as error:
            problems.append(str(error))
            continue
        spent += len(content)
        found[known] = content
    header = decoded.header
    paths = () if decoded.path is None else (decoded.path,)
    return DebugSections(
        found, problems, source=decoded.name, bits=header.bits, machine=header.machine, paths=paths
    )


def _is_split(name: str) -> bool:
    """Whether a section of a .dwo or .dwp file is part of split DWARF. The index sections are, and have no
    suffix.
    """
    return name.endswith((".dwo", "_index"))


def section_contents(decoded: Decoded, section: Section, spent: int = 0) -> bytes:
    """A section's bytes, decompressed; `spent` is as in `decompress`. Raises ElfError."""
    if section.type == SectionType.NOBITS:
        return b""
    raw = decoded.section_bytes(section)
    where = f"{decoded.name}: {section.name}"
    header: Compressed | None = None
    if section.flags & SectionFlag.COMPRESSED:
        header = compressed(where, raw, decoded.header.layout)
    elif section.name.startswith(".zdebug_"):
        header = gnu_compressed(raw)
    if header is None:
        return raw.tobytes()
    return decompress(where, raw, header, len(decoded.data), spent).tobytes()


def plain_name(name: str) -> str:
    """The section name without the `z` of GNU compression: `.debug_info` for `.zdebug_info`."""
    return name.replace(".zdebug_", ".debug_", 1)


# ---------------------------------------------------------------- a file of its own


def _linked(decoded: Decoded, own: DebugSections) -> DebugSections:
    """The debug sections of the file that .gnu_debuglink names; `own` when the image names no file."""
    section = decoded.section(_DEBUG_LINK)
    if section is None or not (link := section_contents_or_nothing(decoded, section)):
        return own
    name, _, rest = link.partition(b"\0")
    checksum = int.from_bytes(rest[-4:], "little")
    text = name.decode("utf-8", "surrogateescape")
    for path in _places(own.folders, text):
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if zlib.crc32(data) != checksum:
            continue
        return _of_file(path, decoded, own)
    own.missing = text
    return own


def section_contents_or_nothing(decoded: Decoded, section: Section) -> bytes:
    """A section's bytes, decompressed; empty when they cannot be read."""
    try:
        return section_contents(decoded, section)
    except ElfError:
        return b""


def _places(folders: Sequence[Path], name: str) -> Iterator[Path]:
    """The paths where GDB looks for a separate debug file ("Debugging Information in Separate Files"), without the
    global debug directory.
    """
    if "/" in name or not name:
        return
    for folder in folders:
        yield from (path for path in (folder / name, folder / ".debug" / name) if path.is_file())


def _of_file(path: Path, decoded: Decoded, own: DebugSections) -> DebugSections:
    try:
        return own_sections(decode_sections(path))
    except ElfError as error:
        return DebugSections(own, [str(error)], source=decoded.name, bits=own.bits, machine=own.machine)
