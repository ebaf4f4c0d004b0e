"""Symbol versions: DT_VERDEF, DT_VERNEED (LSB Core, "Symbol Versioning")."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from relink.elf.constants import VERSYM_INDEX, DynamicTag
from relink.elf.contents import Contents
from relink.elf.dynamic import Dynamic
from relink.elf.strings import StringTable
from relink.errors import MalformedElf
from relink.records import cached_property, dataclass
from relink.records.tuples import NamedTuple, maker

#: vd_version, vd_flags, vd_ndx, vd_cnt, vd_hash, vd_aux, vd_next
_VERDEF = Struct("<HHHHIII")
_VERDAUX = Struct("<II")  #: vda_name, vda_next
_VERNEED = Struct("<HHIII")  #: vn_version, vn_cnt, vn_file, vn_aux, vn_next
_VERNAUX = Struct("<IHHII")  #: vna_hash, vna_flags, vna_other, vna_name, vna_next

_TAGS = frozenset({DynamicTag.VERDEF, DynamicTag.VERNEED})

_LIBRARY = "a needed version's library"

#: Version indices have 15 bits, so no valid chain is longer than this.
_MOST = VERSYM_INDEX


class VersionDef(NamedTuple):
    """A version that the image defines. `parents` are the versions it inherits from; `flags` may have VER_FLG_BASE
    and VER_FLG_WEAK.
    """

    index: int  # type: ignore[assignment]  # hides that of tuples
    name: str
    flags: int
    parents: tuple[str, ...]
    hash: int


class VersionNeed(NamedTuple):
    """A version that the image requires from the library with the SONAME `library`. `flags` may have
    VER_FLG_WEAK.
    """

    library: str
    index: int  # type: ignore[assignment]  # hides that of tuples
    name: str
    flags: int
    hash: int


_DEF, _NEED = maker(VersionDef), maker(VersionNeed)


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

    @cached_property
    def defined_names(self) -> frozenset[str]:
        """The names of the versions that the file defines."""
        return frozenset(definition.name for definition in self.defined)

    def name_of(self, index: int) -> str | None:
        """The version of a raw versym entry; None for an unversioned symbol or an undeclared index."""
        index &= VERSYM_INDEX
        return self.names[index] if index < len(self.names) else None


def read_versions(contents: Contents, dynamic: Dynamic, strings: StringTable) -> Versions:
    """Read both chains. Raises MalformedElf for records outside the image, excessive counts and bad strings."""
    if not dynamic.has_any(_TAGS):
        return Versions()
    return Versions(tuple(_definitions(contents, dynamic, strings)), tuple(_needs(contents, dynamic, strings)))


def libraries_with_versions(contents: Contents, dynamic: Dynamic, strings: StringTable) -> Sequence[str]:
    """The names of the libraries that DT_VERNEED requires versions of (vn_file), without reading these versions.
    Raises as `read_versions` does.
    """
    if DynamicTag.VERNEED not in dynamic:
        return ()
    return [strings.text(row[2], _LIBRARY) for _, row in _needing(_Records(contents), dynamic)]


def _definitions(contents: Contents, dynamic: Dynamic, strings: StringTable) -> list[VersionDef]:
    found, read = [], _Records(contents)
    left, first, defined = _MOST, dynamic.value(DynamicTag.VERDEF), dynamic.value(DynamicTag.VERDEFNUM)
    for at, (_, flags, index, count, hash_, aux, _next) in read.chain(first, defined, _VERDEF, "DT_VERDEF"):
        rows = read.chain(at + aux, count, _VERDAUX, "a version definition's names")
        names = [strings.text(row[0], "a version name") for _, row in rows]
        left -= len(names)
        if not names or left < 0:
            raise MalformedElf(contents.name, f"the version definition at {at:#x} has {count} names")
        found.append(_DEF((index & VERSYM_INDEX, names[0], flags, tuple(names[1:]), hash_)))
    return found


def _needs(contents: Contents, dynamic: Dynamic, strings: StringTable) -> list[VersionNeed]:
    found, read = list[VersionNeed](), _Records(contents)
    for at, (_, count, file, aux, _next) in _needing(read, dynamic):
        library = strings.text(file, _LIBRARY)
        for _, (hash_, flags, index, name, _) in read.chain(at + aux, count, _VERNAUX, "a needed version"):
            text = strings.text(name, "a version name")
            found.append(_NEED((library, index & VERSYM_INDEX, text, flags, hash_)))
        if len(found) > _MOST:
            raise MalformedElf(contents.name, f"more than {_MOST} needed versions")
    return found


def _needing(read: _Records, dynamic: Dynamic) -> list[tuple[int, tuple[int, ...]]]:
    """The records of DT_VERNEED, one for each library."""
    first, needed = dynamic.value(DynamicTag.VERNEED), dynamic.value(DynamicTag.VERNEEDNUM)
    return read.chain(first, needed, _VERNEED, "DT_VERNEED")


class _Records:
    """Reads chains of records. The bytes of their segment are looked up once."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._known, self._begin = memoryview(b""), 0  # the bytes from this address to the end of the segment

    def chain(
        self, at: int | None, count: int | None, record: Struct, what: str
    ) -> list[tuple[int, tuple[int, ...]]]:
        """The records of a chain with their addresses.

        A link is an unsigned forward distance, and 0 ends the chain: glibc and musl follow the links. Bionic uses
        `count` instead, so `count` only ends a chain whose next link is outside the image. _MOST limits both.
        """
        if at is None or (count == 0 and what.startswith("DT_")):
            return []
        records: list[tuple[int, tuple[int, ...]]] = []
        size, unpack, contents = record.size, record.unpack_from, self._contents
        known, begin, last = self._known, self._begin, self._begin + len(self._known) - size
        while True:
            if not begin <= at <= last:
                if count is not None and len(records) == count and not contents.holds(at, size):
                    break
                contents.at(at, size, what)  # raises
                known, begin = contents.tail(at, what).data, at
                self._known, self._begin, last = known, begin, begin + len(known) - size
            row = unpack(known, at - begin)
            records.append((at, row))
            if row[-1] == 0:
                break
            if len(records) > _MOST:
                raise MalformedElf(contents.name, f"{what} has more than {_MOST} records")
            at += row[-1]
        if len(records) != count:
            contents.findings.warn(f"{what} has {len(records)} records, the count given is {count}")
        return records
