"""Opening a file, an archive or several objects as one decoded image that can be loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Architecture
from relink.arrays import U8
from relink.elf import Decoded, Header
from relink.elf.constants import FileType
from relink.elf.decode import decode_opened
from relink.elf.source import COPIED, is_archive, is_mapped, open_source
from relink.errors import UnsupportedElf
from relink.export.magic import is_firmware
from relink.memory.garbage import WithoutCollections
from relink.objects.options import ObjectOptions
from relink.search.decoded_cache import CACHE, How, Key
from relink.search.search_path import Source

if TYPE_CHECKING:
    from relink.elf.debug_sections import DebugSections
    from relink.objects.combined import CombinedObjects

_DEFAULT = ObjectOptions()
_TYPE_AT, _REL = 16, int(FileType.REL)  #: where e_type is in a file, and that of objects
_LOADABLE = int(FileType.DYN), int(FileType.EXEC)


def open_image(
    source: Source | Sequence[Source],
    arch: Architecture,
    name: str | None = None,
    options: ObjectOptions = _DEFAULT,
    *,
    archives: bool = True,
    key: Key | None = None,
    kept: Decoded | None = None,
    status: os.stat_result | None = None,
) -> Decoded:
    """Decode a file and check that it is for `arch` and loadable. Raises ElfError; UnsupportedElf for an archive
    when `archives` is False. `key`, `kept`, `status`: what `CACHE.key`, `CACHE.get` and `stat` have just answered.

    The bytes of a HEX, S-record or UF2 file become an executable (see `relink.export.firmware`). Objects, archives
    and lists of them are combined into one image by `options` (see `relink.objects.combine`, `archive_members`).
    """
    if isinstance(source, bytes):
        key = CACHE.content_key(source, name)
        if kept is None and (linked := _linked_small(source, arch, name, options, key)) is not None:
            return linked
    elif isinstance(source, (str, Path, os.PathLike)):
        key = key or CACHE.key(source, name, status)
    elif isinstance(source, (list, tuple)):
        return open_objects(source, arch, name, options)
    elif isinstance(source, Decoded):
        objects = source.header.type == FileType.REL
        return open_objects([source], arch, name or source.name, options) if objects else _checked(source, arch)
    else:
        assert isinstance(source, (bytearray, memoryview)) or not isinstance(source, Sequence)
    decoded = kept or CACHE.get(key)
    if decoded is None:
        if (linked := CACHE.get(key, linked_by(arch, options))) is not None:
            return linked
        decoded = CACHE.get(key, (arch.name,))
    if decoded is None:
        opened, path, data = open_source(source, name)
        small = None if isinstance(source, bytes) else _small_of(opened, path, data, arch, options, key)
        if small is not None:
            return small
        if not isinstance(source, (str, Path, os.PathLike, bytes, bytearray, memoryview)):
            source = data.tobytes()  # a file object can be read only once
        if is_archive(data):
            if not archives:  # opening a thin one would read its members, wherever they are
                raise UnsupportedElf(opened, "is an archive, not a shared library")
            return open_objects([source], arch, opened, options)
        decoded = _decode(opened, path, data, arch, key)
    if decoded.header.type == _REL:
        return _object_alone(decoded, arch, options, key)
    return _checked(decoded, arch)


def _decode(name: str, path: Path | None, data: U8, arch: Architecture, key: Key | None) -> Decoded:
    """Decode a file, and keep it."""
    if firmware := is_firmware(data):
        from relink.export.firmware import read_firmware  # imported late: rarely needed

        data = np.frombuffer(read_firmware(data.tobytes(), arch, name=name), np.uint8)
    decoded = decode_opened(name, path, data)
    CACHE.put(key, decoded, (arch.name,) if firmware else ())  # a HEX file names no architecture
    return decoded


def linked_by(arch: Architecture, options: ObjectOptions) -> How:
    """The part of a cache key that tells how an object is linked. That of a link with a script equals no other, so
    its result is never found again.
    """
    return arch.name, *(options.identity or (object(),))


def _linked_small(
    content: bytes, arch: Architecture, name: str | None, options: ObjectOptions, key: Key | None
) -> Decoded | None:
    """A small object given as `bytes`, as an image, from the cache if it is kept; None for any other file."""
    if len(content) <= _TYPE_AT or content[_TYPE_AT] != _REL:
        return None
    how = linked_by(arch, options)
    return CACHE.get(key, how) or _small(name or "<bytes>", None, content, arch, options, key, how)


def _small_of(
    name: str, path: Path | None, data: U8, arch: Architecture, options: ObjectOptions, key: Key | None
) -> Decoded | None:
    """A small object, given the bytes of its file, as an image; None for any other file, and for a mapped one."""
    if len(data) <= _TYPE_AT or data[_TYPE_AT] != _REL or is_mapped(data):
        return None
    from relink.elf.small_object import MOST_BYTES

    if len(data) > MOST_BYTES:
        return None
    return _small(name, path, data.tobytes(), arch, options, key, linked_by(arch, options))


def _small(
    name: str,
    path: Path | None,
    content: bytes,
    arch: Architecture,
    options: ObjectOptions,
    key: Key | None,
    how: How,
) -> Decoded | None:
    """A small object as an image, with the layout of one like it if there is one; None where `open_objects` has to
    link it.
    """
    from relink.objects.small_link import link_small
    from relink.search.alike import ALIKE, headers_of

    def combine() -> CombinedObjects:
        data = np.frombuffer(content, np.uint8)
        return open_objects([decode_opened(name, path, data)], arch, name, options)

    headers = headers_of(content, how, name) if CACHE.enabled else None
    linked, rest = (None, b"") if headers is None else ALIKE.find(headers, content)
    if linked is not None and rest == linked.rest:
        small: Decoded = linked.with_bytes(content, combine)
    else:
        made = link_small(name, content, arch, options, combine, _debug_sections)
        if made is None:
            return None
        if headers is not None:
            ALIKE.keep(headers, content, made, linked, rest)
        small = made
    CACHE.put(key, small, how, quick=True)
    return small


def _object_alone(decoded: Decoded, arch: Architecture, options: ObjectOptions, key: Key | None) -> Decoded:
    """Link one object into an image, unless the same has been done before."""
    how = linked_by(arch, options)
    whole = CACHE.get(key, how)
    if whole is None:
        check_architecture(decoded.name, decoded.header, arch, flags=False)
        whole = open_objects([decoded], arch, decoded.name, options)
        if options.identity is not None and len(decoded.data) <= COPIED:
            CACHE.put(key, whole, how)
    return whole


def _checked(decoded: Decoded, arch: Architecture) -> Decoded:
    """Return the image if it is for `arch` and loadable. Raises UnsupportedElf."""
    check_architecture(decoded.name, decoded.header, arch)
    if decoded.address is not None:
        from relink.memory.rebased import check_movable

        check_movable(decoded, arch)
    if decoded.header.type not in _LOADABLE:
        what = "a core file" if decoded.header.type == FileType.CORE else f"of ELF type {decoded.header.type}"
        raise UnsupportedElf(decoded.name, f"is {what}; only shared objects and executables can be loaded")
    return decoded


def open_objects(
    sources: Sequence[Source | Decoded],
    arch: Architecture,
    name: str | None,
    options: ObjectOptions = _DEFAULT,
) -> CombinedObjects:
    """Combine relocatable objects and archives into one image. Raises ElfError and LinkErrors."""
    from relink.objects.archive_members import collect  # imported late: creating its classes is slow
    from relink.objects.combine import combine

    with WithoutCollections():
        objects = collect(sources, options)
        for file in objects.unlike(arch):
            check_architecture(file.name, file.header, arch, flags=not file.has_unset_flags)
        if not objects:
            raise UnsupportedElf(name or "<objects>", "contains no relocatable object")
        return combine(name or objects[0].name, objects, arch, options, _debug_sections)


def _debug_sections(combined: CombinedObjects) -> DebugSections:
    from relink.relocate.debug_info import linked_debug_sections

    return linked_debug_sections(combined)


def check_architecture(name: str, header: Header, arch: Architecture, *, flags: bool = True) -> None:
    """Raise UnsupportedElf unless the file is for `arch` and, with `flags`, its e_flags are of a supported ABI."""
    if (header.machine, header.bits) != (arch.machine, arch.bits):
        from relink.elf.machines import machine_of

        raise UnsupportedElf(name, f"is for {machine_of(header.machine, header.bits)}, not {arch.name}")
    if flags and (problem := arch.flags_problem(header.flags)):
        raise UnsupportedElf(name, f"is for {problem}")
