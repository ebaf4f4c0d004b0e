"""Notes, and the names of separate debug files in a stripped file.

    from relink.elf.notes import build_id, notes

    build_id(decoded), [(note.owner, note.name, note.text) for note in notes(decoded)]

Sources: gABI chapter 5, "Note Section"; elf.h of glibc for GNU's types; the Linux Extensions to gABI for
NT_GNU_PROPERTY_TYPE_0, with the x86-64, AArch64 and RISC-V psABIs for what a property's bits mean; GDB, "Debugging
Information in Separate Files", for .gnu_debuglink and .gnu_debugaltlink; systemd's package metadata specification.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from relink.arch import architecture_of
from relink.elf.constants import FileType, SectionType, SegmentType
from relink.elf.decoded import Decoded
from relink.errors import MalformedElf
from relink.records import dataclass

_ABI_TAG, _HWCAP, BUILD_ID, _GOLD_VERSION, _PROPERTIES = 1, 2, 3, 4, 5
_PACKAGE = 0xCAFE1A7E
_NAMES: Mapping[tuple[str, int], str] = {
    ("GNU", _ABI_TAG): "ABI_TAG", ("GNU", _HWCAP): "HWCAP", ("GNU", BUILD_ID): "BUILD_ID",
    ("GNU", _GOLD_VERSION): "GOLD_VERSION", ("GNU", _PROPERTIES): "PROPERTY_TYPE_0",
    ("FDO", _PACKAGE): "PACKAGE_METADATA", ("FDO", 0x407C0C0A): "DLOPEN_METADATA", ("Go", 4): "GO_BUILD_ID",
    ("stapsdt", 3): "STAPSDT", ("Android", 1): "ANDROID_IDENT", ("Linux", 0x100): "LINUX_BUILD_SALT",
    ("CORE", 1): "PRSTATUS", ("CORE", 3): "PRPSINFO", ("CORE", 6): "AUXV", ("CORE", 0x46494C45): "FILE",
    ("CORE", 0x53494749): "SIGINFO",
}  # fmt: skip
_SYSTEMS = ("Linux", "Hurd", "Solaris", "FreeBSD")
_Properties: TypeAlias = "Mapping[int, tuple[str, tuple[str, ...]]]"
#: Properties of NT_GNU_PROPERTY_TYPE_0: name, names of the bits. Properties from 0xc0000000 on are in the ISA's
#: page.
_PROPERTY_NAMES: _Properties = {
    1: ("stack size", ()),
    2: ("no copy on protected", ()),
    0xB0008000: ("1_NEEDED", ("indirect extern access",)),
}


@dataclass(frozen=True)
class Note:
    """One note. `text` is the decoded description, None for an unknown type; `size` is the description's size in
    bytes.
    """

    owner: str
    type: int
    name: str  #: name of the note type, or its number
    text: str | None
    size: int


@dataclass(frozen=True)
class DebugLink:
    """The name of a separate debug file, and the checksum or build ID that identifies it."""

    file: str
    crc: str | None  #: CRC-32 of the file, hexadecimal (.gnu_debuglink)
    build_id: str | None  #: hexadecimal (.gnu_debugaltlink)


def notes(decoded: Decoded) -> tuple[Note, ...]:
    """All notes of a file. Raises MalformedElf for a note that extends past its segment or section."""
    arch = architecture_of(decoded.header.machine, decoded.header.bits)
    properties = {**_PROPERTY_NAMES, **({} if arch is None else arch.property_names)}
    found = [
        _note(properties, *raw) for content, align in _contents(decoded) for raw in _raw(decoded, content, align)
    ]
    return tuple(dict.fromkeys(found))


def build_id(decoded: Decoded) -> str | None:
    """NT_GNU_BUILD_ID in hexadecimal; None without one. Raises MalformedElf."""
    return next((n.text for n in notes(decoded) if (n.owner, n.type) == ("GNU", BUILD_ID)), None)


def debug_link(decoded: Decoded) -> DebugLink | None:
    """The content of .gnu_debuglink; None without one. Raises MalformedElf, Truncated."""
    found = _text_and_rest(decoded, ".gnu_debuglink")
    if found is None:
        return None
    name, rest = found
    start = -(len(name) + 1) % 4  # the checksum is aligned to 4 bytes within the section
    if len(rest) < start + 4:
        raise MalformedElf(decoded.name, ".gnu_debuglink has no checksum")
    return DebugLink(_decode(name), f"{int.from_bytes(rest[start : start + 4], 'little'):08x}", None)


def alternative_debug_link(decoded: Decoded) -> DebugLink | None:
    """The content of .gnu_debugaltlink, the file with debug information shared by several files (dwz); None
    without one.

    Raises MalformedElf, Truncated.
    """
    found = _text_and_rest(decoded, ".gnu_debugaltlink")
    return None if found is None else DebugLink(_decode(found[0]), None, found[1].hex())


def _text_and_rest(decoded: Decoded, name: str) -> tuple[bytes, bytes] | None:
    section = decoded.section(name)
    if section is None or section.type == SectionType.NOBITS:
        return None
    text, end, rest = decoded.section_bytes(section).tobytes().partition(b"\0")
    if not end:
        raise MalformedElf(decoded.name, f"{name}: the file name has no terminator", section.offset)
    return text, rest


def _contents(decoded: Decoded) -> Iterator[tuple[bytes, int]]:
    """(bytes, alignment) of every PT_NOTE, or of every SHT_NOTE where there are no program headers."""
    headers = [header for header in decoded.program_headers if header.type == SegmentType.NOTE]
    if decoded.header.type == FileType.REL or not headers:
        for section in decoded.sections:
            if section.type == SectionType.NOTE:
                yield decoded.section_bytes(section).tobytes(), section.addralign
        return
    for header in headers:
        if decoded.address is not None:
            yield decoded.bytes_at(header.vaddr, header.filesz).tobytes(), header.align
        else:
            yield decoded.data[header.offset : header.offset + header.filesz].tobytes(), header.align


def _raw(decoded: Decoded, content: bytes, align: int) -> Iterator[tuple[str, int, bytes]]:
    """(owner, type, description) of each note. Names and descriptions are padded to 4 bytes, or to 8 in a segment
    with alignment 8.
    """
    align = 8 if align == 8 else 4
    at = 0
    while at + 12 <= len(content):
        name_size, size, kind = (int.from_bytes(content[at + i : at + i + 4], "little") for i in (0, 4, 8))
        start = -(-(at + 12 + name_size) // align) * align
        if start + size > len(content):
            raise MalformedElf(decoded.name, f"a note of {size:#x} bytes reaches past the end of its segment")
        yield _decode(content[at + 12 : at + 12 + name_size].rstrip(b"\0")), kind, content[start : start + size]
        at = -(-(start + size) // align) * align


def _note(properties: _Properties, owner: str, kind: int, description: bytes) -> Note:
    name = _NAMES.get((owner, kind), f"{kind:#x}")
    return Note(owner, kind, name, _text(properties, owner, kind, description), len(description))


def _text(properties: _Properties, owner: str, kind: int, description: bytes) -> str | None:
    if (owner, kind) == ("GNU", BUILD_ID):
        return description.hex()
    if (owner, kind) == ("GNU", _ABI_TAG) and len(description) >= 16:
        system, *version = (int.from_bytes(description[i : i + 4], "little") for i in (0, 4, 8, 12))
        known = _SYSTEMS[system] if system < len(_SYSTEMS) else f"system {system}"
        return f"{known} {'.'.join(map(str, version))}"
    if (owner, kind) == ("GNU", _PROPERTIES):
        return "; ".join(_properties(properties, description)) or None
    if (owner, kind) == ("GNU", _GOLD_VERSION) or owner in ("FDO", "Go"):
        return _decode(description.rstrip(b"\0"))
    return None


def _properties(names: _Properties, description: bytes) -> Iterator[str]:
    """The properties of NT_GNU_PROPERTY_TYPE_0 as text. Each is padded to 4 bytes in 32-bit files, to 8 in 64-bit
    files.
    """
    at = 0
    while at + 8 <= len(description):
        kind, size = (int.from_bytes(description[at + i : at + i + 4], "little") for i in (0, 4))
        value = int.from_bytes(description[at + 8 : at + 8 + size], "little")
        known = names.get(kind)
        if known is None:
            yield f"{kind:#x}: {value:#x}"
        else:
            name, bits = known
            unknown = value >> len(bits) << len(bits)
            parts = [bit for number, bit in enumerate(bits) if value >> number & 1]
            yield f"{name}: {', '.join([*parts, *([f'{unknown:#x}'] if unknown or not (bits or value) else [])])}"
        at += 8 + -(-size // 4) * 4
        if at % 8 and int.from_bytes(description[at : at + 4], "little") == 0:
            at += 4  # the padding of a 64-bit file


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
