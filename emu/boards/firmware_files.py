"""Reading firmware files.

ELF executables are taken by their segments, at their physical addresses (where a loader stores them: initial
values of variables lie in flash, and start-up code copies them). Intel HEX, S-records and UF2 are known by their
first bytes (`relink.export`), anything else is raw bytes for one address.
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from emu.boards.errors import FirmwareError
from emu.boards.firmware import Firmware
from emu.boards.firmware_elf import read_elf
from relink.export.chunks import ExportError
from relink.export.formats import read_firmware_bytes
from relink.export.magic import format_of


def read_firmware(
    source: str | PathLike[str] | bytes | bytearray | memoryview, *, at: int | None = None
) -> Firmware:
    """Read a firmware. `at` is the address of raw bytes. Raises FirmwareError."""
    name, data = _content(source)
    is_elf, known = data[:4] == b"\x7fELF", format_of(data[:64])
    if at is not None:
        if is_elf or known is not None:
            kind = "ELF" if is_elf else known
            raise FirmwareError(f"{name} has addresses of its own ({kind}): at={at!r} is for raw bytes alone")
        if not isinstance(at, int) or at < 0:
            raise FirmwareError(f"{name}: the address of raw bytes is a number, not at={at!r}")
        return Firmware(name, ((at, data),))
    if is_elf:
        return read_elf(name, data)
    if known is None:
        raise FirmwareError(f"{name} is neither ELF nor a hex file: raw bytes need an address (at=)")
    try:
        found = read_firmware_bytes(name, data, known)
    except ExportError as error:
        raise FirmwareError(str(error)) from error
    return Firmware(name, tuple(found.chunks), entry=found.entry)


def _content(source: object) -> tuple[str, bytes]:
    """The name and the bytes of a file. Raises FirmwareError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>", bytes(source)
    if not isinstance(source, str | PathLike):
        raise FirmwareError(f"a firmware is a path, bytes or a Firmware, not {source!r}")
    name = fspath(source)
    try:
        return name, Path(source).read_bytes()
    except OSError as error:
        raise FirmwareError(f"{name}: {error.strerror}") from error
    except ValueError as error:  # a path with a zero byte
        raise FirmwareError(f"{name!r}: {error}") from error
