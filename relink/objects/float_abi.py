"""The floating-point calling convention of a file, read before linking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from relink.arrays import indices_where
from relink.elf import decode
from relink.elf.constants import SectionFlag
from relink.elf.linker_script import is_linker_script, neighbour
from relink.elf.source import Source, is_archive, open_source
from relink.errors import UnsupportedElf

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from relink.arch import Architecture, FloatAbi
    from relink.elf.archive import Archive
    from relink.elf.object_batch import ObjectBatch
    from relink.elf.objects import ObjectFile


def float_abi_of(source: Source, arch: Architecture) -> FloatAbi | None:
    """The floating-point convention of a file; of an archive, that of its members. None: any.

    The same rules as in `Image.float_abi`. For a linker script, that of a file it names. Raises ElfError,
    UnsupportedElf for an archive whose members differ.
    """
    _, path, data = open_source(source, None)
    if path is not None and is_linker_script(data):
        return float_abi_of(neighbour(path, data), arch)
    if is_archive(data):
        from relink.elf.archive import Archive  # whose parsers take their time to import

        return _archive_float_abi(Archive.open(source), arch)
    decoded = decode(source)
    if not decoded.is_relocatable or (decoded.header.flags and not arch.attributes_section):
        return decoded.float_abi_on(arch)
    from relink.elf.objects import decode_object

    return object_float_abi(decode_object(decoded), arch)


def _archive_float_abi(archive: Archive, arch: Architecture) -> FloatAbi | None:
    first: tuple[str, FloatAbi] | None = None
    for number in archive.objects:
        file = archive.object(number)
        abi = object_float_abi(file, arch)
        if abi is None:
            continue
        if first is not None and abi is not first[1]:
            problem = f"{first[0]} makes {first[1].value} calls, {file.name} makes {abi.value} calls"
            raise UnsupportedElf(archive.name, f"{problem}: say which to take (float_abi=, --float-abi)")
        first = first or (file.name, abi)
    return None if first is None else first[1]


def first_float_abi(sources: Sequence[Source], arch: Architecture) -> FloatAbi | None:
    """`float_abi_of` the first of several files that has one."""
    return next((abi for source in sources if (abi := float_abi_of(source, arch)) is not None), None)


def object_float_abi(file: ObjectFile, arch: Architecture) -> FloatAbi | None:
    """The convention in a relocatable object's header or build attributes; None for data without e_flags."""
    if file.has_unset_flags:
        return None
    return arch.float_abi(file.header.flags, build_attributes(file, arch))


def build_attributes(file: ObjectFile, arch: Architecture) -> bytes:
    """An object's build attributes; empty when the object or its ISA has none."""
    wanted = arch.attributes_section
    found = (i for i, section in enumerate(file.sections) if wanted and section.type == wanted)
    return next((file.section_bytes(index).tobytes() for index in found), b"")


def all_attributes(batch: ObjectBatch, arch: Architecture) -> dict[int, bytes]:
    """The build attributes of the objects that have some, by the number of the object."""
    if not arch.attributes_section:
        return {}
    rows = indices_where(batch.sections["type"] == arch.attributes_section)
    if not len(rows):
        return {}
    files, first = np.unique(batch.section_file[rows], return_index=True)
    rows = rows[first]
    found = dict(zip(files.tolist(), map(bytes, batch.section_bytes(rows)), strict=True))
    compressed = batch.sections["flags"][rows] & batch.sections["flags"].dtype.type(SectionFlag.COMPRESSED) != 0
    for number in files[compressed | np.isin(rows, batch.sections_prefixed(".zdebug_"))].tolist():
        found[number] = build_attributes(batch.files[number], arch)
    return found


def float_abis(
    batch: ObjectBatch, arch: Architecture, attributes: Mapping[int, bytes]
) -> Iterator[tuple[int, FloatAbi]]:
    """(number of an object, its floating-point convention) of the objects that have one, in link order."""
    flags = batch.headers["flags"]
    if not attributes and all(arch.float_abi(each, b"") is None for each in set(flags.tolist())):
        return
    known: dict[tuple[int, bytes], FloatAbi | None] = {}
    for number in indices_where(~batch.unset_flags).tolist():
        key = int(flags[number]), attributes.get(number, b"")
        if key not in known:
            known[key] = arch.float_abi(*key)
        if (abi := known[key]) is not None:
            yield number, abi
