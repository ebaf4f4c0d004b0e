"""Snapshots in files: any process, host and Python version reads them with the same version of this project.

A file is a line of text with the format, a JSON header with the sizes and the SHA-256 of what follows, and two
compressed parts: the records of `emu.saved.encode`, and the large contents. It holds everything of a machine but
the host's functions, which are given again by name when it is read.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emu.cpu.create import create_cpu
from emu.errors import SnapshotFileError
from emu.isa.registry import ISAS, chosen_convention
from emu.saved.decode import Decoder
from emu.saved.encode import Encoder
from relink.arch import Architecture, architecture
from relink.elf import Decoded
from relink.elf.layout import ELF32, ELF64
from relink.errors import RelinkError
from relink.image import Image, Lifetime
from relink.memory.address_space import PAGE, Region
from relink.relocate.result import Relocated
from relink.relocate.static import ADDRESSES
from relink.resolve.scopes import ScopeRecord

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.parts import Parts

_MAGIC = b"relink-emu snapshot 1\n"
_MOST_RECORDS, _MOST_CONTENT = 1 << 29, 1 << 34  #: bytes of the two parts
_ZEROS = bytes(PAGE)


def _project_version() -> str:
    try:
        return importlib.metadata.version("relink-emu")
    except importlib.metadata.PackageNotFoundError:
        return "source"


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
        "version": _project_version(),
        "arch": arch.name,
        "float_abi": convention.float_abi.value if convention.float_abi is not None else None,
        "engine": _engine_of(cpu),
    }
    text = json.dumps(encoded, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(assembled(header, text, b"".join(encoder.blobs)))


def assembled(header: Mapping[str, object], records: bytes, content: bytes) -> bytes:
    """A file of these parts, with its checksum."""
    parts = zlib.compress(records, 1), zlib.compress(content, 1)
    checked = hashlib.sha256(b"".join(parts)).hexdigest()
    whole = {**header, "records": len(parts[0]), "sha256": checked}
    return b"".join((_MAGIC, json.dumps(whole).encode(), b"\n", *parts))


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
        content = cpu.read(region.address + offset, size)
        pages = np.frombuffer(content, np.uint8).reshape(-1, PAGE).any(axis=1)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pages, [0]]).astype(np.int8))).tolist()
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            encoder.blobs.append(content[start * PAGE : end * PAGE])
            found.append([offset // PAGE + start, len(encoder.blobs) - 1])
    return found


# ---------------------------------------------------------------- reading


def read(cls: type, path: str | os.PathLike[str], given: Mapping[str, object]) -> dict[str, Any]:
    """The attributes of a machine of this class, from a file. Raises SnapshotFileError, OSError."""
    name = os.fspath(path)
    try:
        return _read(cls, path, given)
    except SnapshotFileError as error:
        raise SnapshotFileError(f"{name}: {error}") from error
    except (RelinkError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise SnapshotFileError(f"{name}: does not describe a machine: {error}") from error


def _read(cls: type, path: str | os.PathLike[str], given: Mapping[str, object]) -> dict[str, Any]:
    with open(path, "rb") as file:
        if file.readline(len(_MAGIC)) != _MAGIC:
            raise SnapshotFileError("is not a snapshot of this format")
        header = _json(file.readline(1 << 16))
        body = file.read()
    _check_version(header)
    size = header["records"]
    if hashlib.sha256(body).hexdigest() != header["sha256"] or not 0 < size <= len(body):
        raise SnapshotFileError("is damaged: its checksum is another")
    state = _json(_inflated(body[:size], _MOST_RECORDS))
    blobs = _split(_inflated(body[size:], _MOST_CONTENT), state["blobs"])
    arch = architecture(header["arch"])
    cpu = create_cpu(arch.name, at_once=True)
    if _engine_of(cpu) != header["engine"]:
        raise SnapshotFileError(f"was written with {header['engine']}; here is {_engine_of(cpu)}")
    try:
        return _machine(cls, state, blobs, cpu, header, given)
    except BaseException:
        cpu.close()
        raise


def _check_version(header: Any) -> None:
    if not isinstance(header, dict) or header.get("version") != _project_version():
        version = header.get("version") if isinstance(header, dict) else None
        raise SnapshotFileError(f"was written by version {version!r} of relink-emu; this is {_project_version()}")


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


def _inflated(data: bytes, most: int) -> bytes:
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(data, most)
    except zlib.error as error:
        raise SnapshotFileError(f"is damaged: {error}") from None
    if not inflate.eof:
        raise SnapshotFileError("is damaged: cut short, or too large")
    return content


def _split(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    return list(_pieces(content, sizes))


def _pieces(content: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        if not isinstance(size, int) or size < 0 or start + size > len(content):
            raise SnapshotFileError("is damaged: contents are missing")
        yield content[start : start + size]
        start += size
