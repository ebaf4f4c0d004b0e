"""Selection of the relocatable objects of a link: the objects given, and archive members as needed.

The rule of static linkers (gABI, "Archive File"): a member is added when it defines a name that is undefined so
far (weak references do not count); its own undefined names may add further members. An archive given without
objects is added completely, unless the user names symbols to start with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relink.elf import Decoded, Header, Names, decode
from relink.elf.constants import SymbolBind
from relink.elf.headers import read_header
from relink.elf.linker_script import is_linker_script, neighbour
from relink.elf.source import Source, is_archive, open_source
from relink.errors import ElfError, UnsupportedElf, printable
from relink.objects.options import ObjectOptions

if TYPE_CHECKING:
    from relink.elf.archive import Archive
    from relink.elf.object_batch import ObjectBatch
    from relink.elf.objects import ObjectFile

_DEFAULT = ObjectOptions()


def is_archive_file(source: Source) -> bool:
    """Whether a file is an archive. Raises ElfError when the file cannot be read."""
    return is_archive(open_source(source, None)[2])


def header_of(source: Source) -> Header:
    """The ELF header of a file, of an archive's first object, or of a file that a linker script names. It gives
    the architecture. Raises ElfError, also for an open file, of which the load would find nothing left.
    """
    if hasattr(source, "read"):
        raise ElfError(str(getattr(source, "name", "<file>")), "is an open file: give its path or its bytes")
    name, path, data = open_source(source, None)
    if path is not None and is_linker_script(data):
        return header_of(neighbour(path, data))
    if not is_archive(data):
        return decode(source).header
    from relink.elf.archive import Archive  # imported late: its parsers are slow to import

    archive = Archive.open(source)
    if (number := archive.first_object) is None:
        raise UnsupportedElf(name, f"an archive without relocatable objects{_instead(archive)}")
    return archive.object(number).header


def _instead(archive: Archive) -> str:
    """What the first member of an archive without objects is, for an error."""
    members = archive.members
    if not len(members):
        return ""
    try:
        read_header(members.full_name(0), members.content(0)[:64].tobytes())
    except ElfError as error:
        return f"; its first member {printable(members.names[0])}: {error.problem}"
    return ""


def collect(sources: Sequence[Source | Decoded], options: ObjectOptions = _DEFAULT) -> ObjectBatch:
    """The objects of a link, in link order.

    The names in `options.undefined` are undefined from the start, so that they select members when only archives
    are given. Raises ElfError for damaged objects and archives.
    """
    objects: list[ObjectFile] = []
    archives: list[Archive] = []
    from relink.elf.archive import Archive
    from relink.elf.object_batch import ObjectBatch
    from relink.elf.objects import decode_object

    for source in sources:
        if isinstance(source, Decoded):
            objects.append(decode_object(source))
            continue
        name, _, data = open_source(source, None)
        if not isinstance(source, (str, os.PathLike, bytes, bytearray, memoryview)):
            source = data.tobytes()  # a file object can be read only once
        if is_archive(data):
            archives.append(Archive.open(source, name=name))
        else:
            objects.append(decode_object(source, name=name))
    if options.whole_archive or not (objects or options.undefined):
        return ObjectBatch([*objects, *(member for archive in archives for member in archive.undecoded())])
    return ObjectBatch(_pulled(objects, archives, options))


def _pulled(objects: list[ObjectFile], archives: Sequence[Archive], options: ObjectOptions) -> list[ObjectFile]:
    """Add members until no archive defines a name that is still undefined."""
    if not archives:
        for file in objects:
            _ = file.symbols.names  # raises the first error
        return objects
    from relink.elf.versioned_names import names_defined, versioned

    defined: set[str] = set()
    wanted = dict.fromkeys(options.undefined)  # in the order of first reference
    meant = options.wrapped.reference

    def take(file: ObjectFile) -> None:
        table = file.symbols
        for name in table.names.take(table.defined_globals).texts():
            defined.update(names_defined(name))
        strong = table.undefined[table.bind[table.undefined] != SymbolBind.WEAK]
        wanted.update((meant(versioned(name).full), None) for name in table.names.take(strong).texts())

    for file in objects:
        take(file)
    asked = 0
    while asked < len(wanted):
        new = [name for name in list(wanted)[asked:] if name not in defined]
        asked = len(wanted)
        answers = [archive.defining(Names.of(new)).tolist() for archive in archives]
        for position, name in enumerate(new):
            for archive, members in zip(archives, answers, strict=True):
                # A member added for another name may have defined this one.
                if name not in defined and members[position] >= 0:
                    objects.append(archive.object(members[position]))
                    take(objects[-1])
    return objects
