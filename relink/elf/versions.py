"""Symbol versions: DT_VERDEF, DT_VERNEED (LSB Core, "Symbol Versioning")."""

from __future__ import annotations

from struct import Struct

from relink.elf.constants import VERSYM_INDEX, DynamicTag
from relink.elf.contents import Contents
from relink.elf.dynamic import Dynamic
from relink.elf.strings import StringTable
from relink.errors import MalformedElf
from relink.records import cached_property, dataclass

#: vd_version, vd_flags, vd_ndx, vd_cnt, vd_hash, vd_aux, vd_next
_VERDEF = Struct("<HHHHIII")
_VERDAUX = Struct("<II")  #: vda_name, vda_next
_VERNEED = Struct("<HHIII")  #: vn_version, vn_cnt, vn_file, vn_aux, vn_next
_VERNAUX = Struct("<IHHII")  #: vna_hash, vna_flags, vna_other, vna_name, vna_next

#: Version indices have 15 bits, so no valid chain is longer than this.
_MOST = VERSYM_INDEX


@dataclass(frozen=True, slots=True)
class VersionDef:
    """A version that the image defines. `parents` are the versions it inherits from; `flags` may have VER_FLG_BASE
    and VER_FLG_WEAK.
    """

    index: int
    name: str
    flags: int
    parents: tuple[str, ...]
    hash: int


@dataclass(frozen=True, slots=True)
class VersionNeed:
    """A version that the image requires from the library with the SONAME `library`. `flags` may have
    VER_FLG_WEAK.
    """

    library: str
    index: int
    name: str
    flags: int
    hash: int


@dataclass(frozen=True)
class Versions:
    """The versions that an image defines and requires. Indices are those of DT_VERSYM without the hidden bit."""

    defined: tuple[VersionDef, ...] = ()
    needed: tuple[VersionNeed, ...] = ()
    #: for references of relocatable objects: the version may come from any library
    asked: tuple[VersionNeed, ...] = ()

    @cached_property
    def names(self) -> tuple[str | None, ...]:
        """The version name of each index; None for 0 (local), 1 (global) and undeclared indices."""
        found: dict[int, str] = {need.index: need.name for need in (*self.needed, *self.asked)}
        found.update({definition.index: definition.name for definition in self.defined})
        return (None, None, *map(found.get, range(2, max(found, default=1) + 1)))

    def name_of(self, index: int) -> str | None:
        """The version of a raw versym entry; None for an unversioned symbol or an undeclared index."""
        index &= VERSYM_INDEX
        return self.names[index] if index < len(self.names) else None


def read_versions(contents: Contents, dynamic: Dynamic, strings: StringTable) -> Versions:
    """Read both chains. Raises MalformedElf for records outside the image, excessive counts and bad strings."""
    return Versions(tuple(_definitions(contents, dynamic, strings)), tuple(_needs(contents, dynamic, strings)))


def _definitions(contents: Contents, dynamic: Dynamic, strings: StringTable) -> list[VersionDef]:
    found = []
    left = _MOST
    for at, (_, flags, index, count, hash_, aux, _next) in _chain(
        contents, dynamic.value(DynamicTag.VERDEF), dynamic.value(DynamicTag.VERDEFNUM), _VERDEF, "DT_VERDEF"
    ):
        rows = _chain(contents, at + aux, count, _VERDAUX, "a version definition's names")
        names = [strings.text(row[0], "a version name") for _, row in rows]
        left -= len(names)
        if not names or left < 0:
            raise MalformedElf(contents.name, f"the version definition at {at:#x} has {count} names")
        found.append(VersionDef(index & VERSYM_INDEX, names[0], flags, tuple(names[1:]), hash_))
    return found


def _needs(contents: Contents, dynamic: Dynamic, strings: StringTable) -> list[VersionNeed]:
    found: list[VersionNeed] = []
    for at, (_, count, file, aux, _next) in _chain(
        contents,
        dynamic.value(DynamicTag.VERNEED),
        dynamic.value(DynamicTag.VERNEEDNUM),
        _VERNEED,
        "DT_VERNEED",
    ):
        library = strings.text(file, "a needed version's library")
        for _, (hash_, flags, index, name, _) in _chain(contents, at + aux, count, _VERNAUX, "a needed version"):
            found.append(
                VersionNeed(library, index & VERSYM_INDEX, strings.text(name, "a version name"), flags, hash_)
            )
        if len(found) > _MOST:
            raise MalformedElf(contents.name, f"more than {_MOST} needed versions")
    return found


def _chain(
    contents: Contents,
    at: int | None,
    count: int | None,
    record: Struct,
    what: str,
) -> list[tuple[int, tuple[int, ...]]]:
    """The records of a chain with their addresses.

    A link is an unsigned forward distance, and 0 ends the chain: glibc and musl follow the links. Bionic uses
    `count` instead, so `count` only ends a chain whose next link is outside the image. _MOST limits both.
    """
    if at is None or (count == 0 and what.startswith("DT_")):
        return []
    records: list[tuple[int, tuple[int, ...]]] = []
    known, begin = memoryview(b""), at  # the bytes from `begin` to the end of the segment
    while True:
        if at - begin + record.size > len(known):
            if count is not None and len(records) == count and not contents.holds(at, record.size):
                break
            contents.at(at, record.size, what)  # raises
            known, begin = contents.tail(at, what).data, at
        row = record.unpack_from(known, at - begin)
        records.append((at, row))
        if row[-1] == 0:
            break
        if len(records) > _MOST:
            raise MalformedElf(contents.name, f"{what} has more than {_MOST} records")
        at += row[-1]
    if len(records) != count:
        contents.findings.warn(f"{what} has {len(records)} records, the count given is {count}")
    return records
