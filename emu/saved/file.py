"""Snapshots in files: any process, host and Python version reads them with the same version of this project.

A file is a line of text with the format, a JSON header with the sizes and the SHA-256 of what follows, and two
compressed parts: the records of `emu.saved.encode`, and the large contents. It holds everything of a machine but
the host's functions, which are given again by name when it is read. No part is larger than the header says, which
has limits: so a small file cannot take much memory.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from emu.cpu.create import create_cpu
from emu.errors import SnapshotFileError
from emu.isa.registry import ISAS, chosen_convention
from emu.saved.decode import Decoder
from emu.saved.encode import Encoder
from emu.saved.version import project_version
from relink.arch import Architecture, architecture
from relink.elf import Decoded
from relink.elf.layout import ELF32, ELF64
from relink.export.whole_file import whole_file
from relink.image import Image, Lifetime
from relink.memory.address_space import PAGE, Region
from relink.relocate.result import Relocated
from relink.relocate.static import ADDRESSES
from relink.resolve.scopes import ScopeRecord

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.parts import Parts

_MAGIC = b"relink-emu snapshot 2\n"
_MOST_RECORDS = 1 << 25  #: bytes of the records
_HEADER = 1 << 12  #: bytes of the header with what fills it up, for its sizes are known at last
_PIECE = 1 << 20
_SAMPLED = 1 << 16  #: bytes of a content from which on it decides whether to compress


def _engine_of(cpu: Cpu) -> str:
    package = "unicorn" if cpu.shares_memory else "icicle-emu"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return package


# ---------------------------------------------------------------- writing


def write(path: str | os.PathLike[str], parts: Parts, own: Mapping[str, object]) -> None:
    """Write a machine as it is. `own` are the attributes of the `Machine`. Raises SnapshotFileError, OSError."""
    arch, cpu = parts.memory.architecture, parts.cpu
    convention, isa = parts.convention, parts.isa
    special = {id(value): name for name, value in _constants(arch).items()}
    special |= {id(cpu): "cpu", id(arch): "arch", id(isa): "isa", id(convention): "convention", id(own): "own"}
    encoder = Encoder(lambda value: special.get(id(value)) or _constant(value))
    machine = {
        name: encoder.encode(value, name) for name, value in own.items() if name not in ("_saved", "patcher")
    }
    regions = [region for region in parts.memory.regions if not region.foreign]
    encoded = {
        "machine": machine,
        "patcher": encoder.encode(own.get("patcher"), "patcher"),
        "regions": [[encoder.encode(region, region.name), _pages(region, cpu, encoder)] for region in regions],
        "registers": cpu.register_values(),
        "buffers": encoder.buffers,
        "records": encoder.records,
        "blobs": [len(blob) for blob in encoder.blobs],
    }
    header = {
        "version": project_version(),
        "arch": arch.name,
        "float_abi": convention.float_abi.value if convention.float_abi is not None else None,
        "engine": _engine_of(cpu),
    }
    text = json.dumps(encoded, separators=(",", ":")).encode()
    if len(text) > _MOST_RECORDS:
        raise SnapshotFileError(
            f"{os.fspath(path)}: the machine has {len(text)} bytes of records, too many for a file"
        )
    with whole_file(path) as file:
        _assemble(file, header, text, encoder.blobs)


def assembled(header: Mapping[str, object], records: bytes, content: bytes) -> bytes:
    """A file of these parts, with its checksum."""
    file = io.BytesIO()
    _assemble(file, header, records, [content])
    return file.getvalue()


def _assemble(
    file: IO[bytes], header: Mapping[str, object], records: bytes, contents: Sequence[bytes | memoryview]
) -> None:
    file.write(_MAGIC + bytes(_HEADER))
    checked, sizes, plain = hashlib.sha256(), [0, 0], [0, 0]
    parts: tuple[Sequence[bytes | memoryview], ...] = ([records], contents)
    for part, pieces in enumerate(parts):
        deflate = zlib.compressobj(_level(pieces))
        for content in pieces:
            view = memoryview(content)
            plain[part] += len(view)
            for at in range(0, len(view), _PIECE):
                sizes[part] += _put(file, checked, deflate.compress(view[at : at + _PIECE]))
        sizes[part] += _put(file, checked, deflate.flush())
    whole = {**header, "records": sizes[0], "plain": plain, "sha256": checked.hexdigest()}
    file.seek(len(_MAGIC))
    file.write(json.dumps(whole).encode().ljust(_HEADER - 1) + b"\n")


def _level(contents: Sequence[bytes | memoryview]) -> int:
    """How much to compress: not at all what shrinks by less than a tenth, which would take most of the time."""
    large = [each for each in contents if len(each) >= _SAMPLED]
    if sum(map(len, large)) * 2 < sum(map(len, contents)):
        return 1
    some = [bytes(each[:PAGE]) for each in large[:: len(large) // 64 + 1]]
    return int(sum(len(zlib.compress(each, 1)) for each in some) < 0.9 * sum(map(len, some)))


def _put(file: IO[bytes], checked: Any, data: bytes) -> int:
    file.write(data)
    checked.update(data)
    return len(data)


def _constant(value: object) -> str | None:
    return f"arch {value.name}" if isinstance(value, Architecture) else None


def _constants(arch: Architecture) -> dict[str, object]:
    """Objects that every process has, by name."""
    return {
        **{f"layout {layout.bits}": layout for layout in (ELF32, ELF64)},
        **{f"relocation {number}": row for number, row in arch.relocations.items()},
        **{f"address {size}": row for size, row in ADDRESSES.items()},
    }


def _pages(region: Region, cpu: Cpu, encoder: Encoder) -> list[object]:
    """[first page, number of the content] of the runs of pages that are not zero, where the guest has pages."""
    found: list[object] = []
    for offset, size, _ in region.pages:
        for low in range(offset, offset + size, _PIECE):
            high = min(low + _PIECE, offset + size)
            # Not copied where the engine shares the memory: it may take most of what the host has.
            content = region.buffer[low:high] if cpu.shares_memory else cpu.read(region.address + low, high - low)
            view = memoryview(content)  # type: ignore[arg-type]
            pages = np.frombuffer(view, np.uint8).reshape(-1, PAGE).any(axis=1)
            edges = np.flatnonzero(np.diff(np.concatenate([[0], pages, [0]]).astype(np.int8))).tolist()
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                encoder.blobs.append(view[start * PAGE : end * PAGE])
                found.append([low // PAGE + start, len(encoder.blobs) - 1])
    return found


# ---------------------------------------------------------------- reading


def read(cls: type, path: str | os.PathLike[str], given: Mapping[str, object], most: int) -> dict[str, Any]:
    """The attributes of a machine of this class, from a file with at most `most` bytes of contents. Raises
    SnapshotFileError, OSError.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        try:
            return _read(cls, file, given, most)
        except SnapshotFileError as error:
            raise SnapshotFileError(f"{name}: {error}") from error
        except Exception as error:
            raise SnapshotFileError(f"{name}: does not describe a machine: {error}") from error


def _read(cls: type, file: IO[bytes], given: Mapping[str, object], most: int) -> dict[str, Any]:
    if file.readline(len(_MAGIC)) != _MAGIC:
        raise SnapshotFileError("is not a snapshot of this format")
    header = _json(file.readline(_HEADER))
    _check_version(header)
    records, content = header["plain"]
    if not 0 < records <= _MOST_RECORDS or not 0 <= content <= most:
        limits = f"more than {_MOST_RECORDS} and {most}"
        raise SnapshotFileError(f"takes {records} bytes for records and {content} for contents, {limits}")
    start, size = file.tell(), header["records"]
    if _checksum(file) != header["sha256"] or not 0 < size <= file.tell() - start:
        raise SnapshotFileError("is damaged: its checksum is another")
    sizes = size, file.tell() - start - size
    file.seek(start)
    inflating = _Inflating(file, sizes[0])
    state = _json(inflating.read(records))
    inflating.end()
    inflating = _Inflating(file, sizes[1])
    if sum(state["blobs"]) != content:
        raise SnapshotFileError("is damaged: contents are missing")
    blobs = [inflating.read(each) for each in state["blobs"]]
    inflating.end()
    arch = architecture(header["arch"])
    cpu = create_cpu(arch.name, at_once=True)
    if _engine_of(cpu) != header["engine"]:
        raise SnapshotFileError(f"was written with {header['engine']}; here is {_engine_of(cpu)}")
    try:
        return _machine(cls, state, blobs, cpu, header, given)
    except BaseException:
        cpu.close()
        raise


def _checksum(file: IO[bytes]) -> str:
    """The SHA-256 of the rest of a file."""
    checked = hashlib.sha256()
    while piece := file.read(_PIECE):
        checked.update(piece)
    return checked.hexdigest()


def _check_version(header: Any) -> None:
    if not isinstance(header, dict) or header.get("version") != project_version():
        version = header.get("version") if isinstance(header, dict) else None
        raise SnapshotFileError(f"was written by version {version!r} of relink-emu; this is {project_version()}")


def _machine(
    cls: type, state: Any, blobs: Sequence[bytes], cpu: Cpu, header: Any, given: Mapping[str, object]
) -> dict[str, Any]:
    arch = architecture(header["arch"])
    own: dict[str, Any] = {}
    specials = {
        "cpu": cpu,
        "arch": arch,
        "isa": ISAS[arch.name],
        "convention": chosen_convention(arch.name, header["float_abi"]),
        "own": own,
        **_constants(arch),
    }

    def special(name: str) -> object:
        return architecture(name.removeprefix("arch ")) if name.startswith("arch ") else specials[name]

    decoder = Decoder(state["records"], blobs, state["buffers"], special, given)
    own.update((str(name), decoder.decode(value)) for name, value in state["machine"].items())
    patcher = decoder.decode(state["patcher"])
    if patcher is not None:
        own["patcher"] = patcher
    regions = [(decoder.decode(region), pages) for region, pages in state["regions"]]
    if decoder.missing:
        names = ", ".join(sorted(decoder.missing))
        raise SnapshotFileError(f"needs these host functions, which were not given: {names}")
    decoder.check((cls, own))
    _check(own, regions)
    parts: Parts = own["parts"]
    for name in ("cpu", "isa", "convention"):
        if vars(parts).get(name) is not specials[name]:
            raise SnapshotFileError(f"has another object as the {name} of its parts")
    cpu.set_trap_range(parts.traps.start, parts.traps.size)
    for region, pages in regions:
        for first, blob in pages:
            content = np.frombuffer(blobs[blob], np.uint8)
            region.buffer[first * PAGE : first * PAGE + len(content)] = content
    for region in parts.memory.regions:
        for offset, size, protection in region.pages:
            cpu.map(region.address + offset, size, protection, region.buffer[offset : offset + size])
    cpu.set_register_values(state["registers"])
    return own


def _check(own: Mapping[str, Any], regions: Sequence[tuple[Any, Any]]) -> None:
    """Raise SnapshotFileError unless the parts and the map of memory make sense."""
    parts = _checked_parts(own)
    known = {id(region) for region in parts.memory.regions}
    end = 0
    for region in parts.memory.regions:
        if not isinstance(region, Region) or region.address < end or region.address % PAGE:
            raise SnapshotFileError("has regions of memory that overlap")
        if len(region.buffer) != region.size or region.buffer.dtype != np.uint8:
            raise SnapshotFileError("has a region of another size than its memory")
        end, position = region.end, 0
        for offset, size, _ in region.pages:
            if offset < position or size <= 0 or (offset | size) % PAGE or offset + size > region.size:
                raise SnapshotFileError("has pages outside their region")
            position = offset + size
    if parts.memory._starts != [region.address for region in parts.memory.regions]:
        raise SnapshotFileError("has another list of the addresses of its regions")
    if any(id(region) not in known for region, _ in regions):
        raise SnapshotFileError("has contents of a region that does not exist")


def _checked_parts(own: Mapping[str, Any]) -> Parts:
    """Raise SnapshotFileError unless the parts and the images are objects of their classes."""
    from emu.parts import CLASSES, Parts

    parts = own["parts"]
    if not isinstance(parts, Parts):
        raise SnapshotFileError("does not describe a machine")
    has = vars(parts)
    wrong = [name for name, cls in CLASSES.items() if not isinstance(has.get(name), cls)]
    wrong += [name for name, each in own.items() if has.get(name, each) is not each]
    methods = {"os": "attach", "patcher": "patches"}  # of classes that this file does not know
    wrong += [name for name, each in methods.items() if name in own and not hasattr(type(own[name]), each)]
    if wrong:
        raise SnapshotFileError(f"does not describe a machine: {', '.join(wrong)} is another object")
    members = {"scopes": ScopeRecord, "lifetime": Lifetime, "relocated": Relocated, "decoded": Decoded}
    for image in (*parts.linker.images, *parts.linker.global_scope):
        if not isinstance(image, Image):
            raise SnapshotFileError(f"has a {type(image).__name__} in place of an image")
        if not all(isinstance(vars(image).get(name), each) for name, each in members.items()):
            raise SnapshotFileError(f"has an image without {', '.join(members)}")
    return parts


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SnapshotFileError(f"is damaged: {error}") from None


class _Inflating:
    """The contents of a compressed part of a file, which takes this many bytes there."""

    def __init__(self, file: IO[bytes], compressed: int) -> None:
        self._file, self._left, self._inflate = file, compressed, zlib.decompressobj()

    def _some(self, most: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail
            if not data:
                data = self._file.read(min(self._left, _PIECE))
                self._left -= len(data)
            try:
                found = self._inflate.decompress(data, most)
            except zlib.error as error:
                raise SnapshotFileError(f"is damaged: {error}") from None
            if found or not data:
                return found
        return b""

    def read(self, size: object) -> bytes:
        """The next content of this size."""
        if not isinstance(size, int) or size < 0:
            raise SnapshotFileError("is damaged: contents are missing")
        content = bytearray()
        while len(content) < size:
            found = self._some(size - len(content))
            if not found:
                raise SnapshotFileError("is damaged: cut short")
            content += found
        return bytes(content)

    def end(self) -> None:
        """Check that there is nothing more."""
        if self._some(1) or not self._inflate.eof or self._inflate.unused_data or self._left:
            raise SnapshotFileError("is damaged: cut short, or too large")
