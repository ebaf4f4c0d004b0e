"""File formats of device memory: raw bytes, Intel HEX, Motorola S-records and UF2 (Microsoft's UF2 specification).

Records of HEX and S-records are written and read by bincopy.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from relink.export.chunks import Chunk, ExportError, flat, joined
from relink.export.magic import UF2_FIRST, UF2_SECOND

if TYPE_CHECKING:
    from types import ModuleType

_ADDRESSES = 1 << 32  #: all formats but raw bytes have 32-bit addresses
_UF2 = struct.Struct("<8I476sI")
_UF2_END = 0x0AB1_6F30
_UF2_PAGE, _UF2_BLOCK = 256, 512
_NOT_MAIN_FLASH, _OF_FILES, _HAS_FAMILY, _HAS_EXTENSION = 1, 0x1000, 0x2000, 0x8000
_ABSOLUTE, _TO_BE_IGNORED = 0xE48B_FF57, 0x9957_E304  #: a family and an extension of RP2350
SUFFIXES = {
    "bin": "bin", "raw": "bin", "hex": "hex", "ihex": "hex", "ihx": "hex", "srec": "srec", "s19": "srec",
    "s28": "srec", "s37": "srec", "mot": "srec", "uf2": "uf2", "elf": "elf", "axf": "elf", "out": "elf",
}  # fmt: skip


class Firmware(NamedTuple):
    """The content of a file: bytes by address, and the address where execution begins, if the file says."""

    chunks: list[Chunk]
    entry: int | None = None


# ---------------------------------------------------------------- writing


def to_bytes(
    name: str,
    firmware: Firmware,
    format: str,
    *,
    fill: int = 0,
    gap_limit: int = 1 << 24,
    family: int | None = None,
) -> bytes:
    """The file's content in one of the formats but "elf". Raises ExportError."""
    chunks = firmware.chunks
    if format == "bin":
        return flat(name, chunks, fill, gap_limit)
    if not chunks:
        raise ExportError(name, format, "there are no bytes to store")
    if chunks[-1].end > _ADDRESSES:
        problem = f"addresses up to {chunks[-1].end - 1:#x}, the format has 32 bits"
        raise ExportError(name, format, problem)
    if format == "uf2":
        return _to_uf2(chunks, fill, family)
    file = _bincopy().BinFile()
    for chunk in reversed(chunks):  # bincopy looks for the place of each from the lowest address on
        file.add_binary(chunk.data, chunk.address)
    if firmware.entry is not None and firmware.entry < _ADDRESSES:
        file.execution_start_address = firmware.entry
    text: str = file.as_ihex() if format == "hex" else file.as_srec()
    return text.encode()


def _to_uf2(chunks: Sequence[Chunk], fill: int, family: int | None) -> bytes:
    """Blocks of whole pages: boot loaders program pages of 256 bytes."""
    pages: dict[int, bytearray] = {}
    for chunk in chunks:
        start = chunk.address
        while start < chunk.end:
            page = start // _UF2_PAGE * _UF2_PAGE
            stop = min(page + _UF2_PAGE, chunk.end)
            content = pages.setdefault(page, bytearray([fill] * _UF2_PAGE))
            content[start - page : stop - page] = chunk.data[start - chunk.address : stop - chunk.address]
            start = stop
    flags, value = (_HAS_FAMILY, family) if family is not None else (0, 0)
    blocks = []
    for number, (page, content) in enumerate(sorted(pages.items())):
        head = UF2_FIRST, UF2_SECOND, flags, page, _UF2_PAGE, number, len(pages), value
        blocks.append(_UF2.pack(*head, bytes(content), _UF2_END))
    return b"".join(blocks)


# ---------------------------------------------------------------- reading


def read_firmware_bytes(name: str, data: bytes, format: str, at: int | None = None) -> Firmware:
    """The content of a file in one of the formats but "elf"; raw bytes are `at` an address. Raises ExportError."""
    if format == "bin":
        if at is None:
            raise ExportError(name, format, "raw bytes have no address: give one")
        return Firmware(joined(name, format, [Chunk(at, data)]))
    if format == "uf2":
        return Firmware(joined(name, format, _from_uf2(name, data)))
    try:
        found = (_from_hex if format == "hex" else _from_srec)(data.decode("ascii"))
    except UnicodeDecodeError as error:
        raise ExportError(name, format, f"is not text: {error}") from None
    except (_bincopy().Error, ValueError, IndexError) as error:
        raise ExportError(name, format, str(error) or "is damaged") from None
    return Firmware(joined(name, format, found.chunks), found.entry)


#: Sizes of the records of Intel HEX without data of the device: end, segment, start (8086), upper half, start.
_HEX_SIZES = {1: 0, 2: 2, 3: 4, 4: 2, 5: 4}


def _from_hex(text: str) -> Firmware:
    """The records of an Intel HEX file, in its order (Intel, "Hexadecimal Object File Format Specification")."""
    unpack = _bincopy().unpack_ihex
    chunks, entry, segment, upper, ended = list[Chunk](), None, 0, 0, False
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, address, size, data = unpack(line)
        value, ended = int.from_bytes(data, "big"), kind == 1
        if size != _HEX_SIZES.get(kind, size):
            raise ValueError(f"record {line} of type {kind} has {size} bytes, not {_HEX_SIZES[kind]}")
        if kind == 0:
            chunks.append(Chunk(address + segment + upper, data))
        elif kind == 2:
            segment = value << 4
        elif kind == 4:
            upper = value << 16
        elif kind in (3, 5):
            entry = value
        elif kind != 1:
            raise ValueError(f"record {line} is of type {kind}, not 0 to 5")
    if not ended:
        raise ValueError("the last record is none of type 1: the file is cut short")
    return Firmware(chunks, entry)


def _from_srec(text: str) -> Firmware:
    """The records of a file of S-records, in its order. One that ends without a count and an end is cut short."""
    unpack = _bincopy().unpack_srec
    chunks, entry, ended = list[Chunk](), None, False
    for line in filter(None, map(str.strip, text.splitlines())):
        kind, address, _, data = unpack(line)
        ended = kind in ("5", "6", "7", "8", "9")
        if kind in ("1", "2", "3"):
            chunks.append(Chunk(address, data))
        elif kind in ("5", "6"):
            known = len(chunks) & (0xFFFF if kind == "5" else 0xFF_FFFF)
            if address != known:
                raise ValueError(f"record {line} counts {address} records of data, there are {len(chunks)}")
        elif kind in ("7", "8", "9"):
            entry = address
    if not ended:
        raise ValueError("the last record is none of S5 to S9: the file is cut short")
    return Firmware(chunks, entry)


def _from_uf2(name: str, data: bytes) -> list[Chunk]:
    """The blocks of a UF2 file, which has all that they count, for one family of devices."""
    chunks: list[Chunk] = []
    if len(data) % _UF2_BLOCK:
        raise ExportError(name, "uf2", f"{len(data)} bytes are not a number of blocks of {_UF2_BLOCK}")
    counts: dict[int | None, tuple[int, set[int]]] = {}
    for number in range(0, len(data), _UF2_BLOCK):
        start, second, flags, address, size, index, count, family, content, end = _UF2.unpack_from(data, number)
        where = f"block {number // _UF2_BLOCK}"
        if (start, second, end) != (UF2_FIRST, UF2_SECOND, _UF2_END):
            raise ExportError(name, "uf2", f"{where} has no magic numbers")
        if _is_workaround(flags, size, index, count, family, content):
            continue
        if flags & _OF_FILES:
            raise ExportError(name, "uf2", f"{where} ({index}) is of a file, not of a device's memory")
        if size > len(content) or address + size > _ADDRESSES:
            raise ExportError(name, "uf2", f"{where} ({index}) has {size} bytes for {address:#x}")
        known, indices = counts.setdefault(family if flags & _HAS_FAMILY else None, (count, set()))
        if count != known or index >= count:
            raise ExportError(name, "uf2", f"{where} is {index} of {count} blocks, others are of {known}")
        indices.add(index)
        if not flags & _NOT_MAIN_FLASH:
            chunks.append(Chunk(address, content[:size]))
    if len(counts) > 1:
        families = ", ".join("none" if family is None else f"{family:#x}" for family in counts)
        raise ExportError(name, "uf2", f"is for several families of devices: {families}")
    for known, indices in counts.values():
        if len(indices) != known:
            raise ExportError(name, "uf2", f"has {len(indices)} of {known} blocks: the file is cut short")
    return chunks


def _is_workaround(flags: int, size: int, index: int, count: int, family: int, content: bytes) -> bool:
    """Whether a block is the one that picotool puts before a program for RP2350, for an erratum of its boot ROM
    (RP2350 datasheet, E10): the first of two for the absolute family, all 0xEF. It is not written to flash.
    """
    is_one = flags & ~_HAS_EXTENSION == _HAS_FAMILY and (family, index, count) == (_ABSOLUTE, 0, 2)
    if not is_one or content[:_UF2_PAGE] != b"\xef" * _UF2_PAGE or size != _UF2_PAGE:
        return False
    return not flags & _HAS_EXTENSION or int.from_bytes(content[size : size + 4], "little") == _TO_BE_IGNORED


def _bincopy() -> ModuleType:
    import bincopy  # imported late: slow to import

    module: ModuleType = bincopy
    return module
