"""Objects that differ from one linked before in nothing but the bytes of the sections that are loaded, as code
generators write them: another number in the code. Their layout, symbols and entries are those of the other.

A link copies these bytes and does not look at them. An object is compared outside of them, byte for byte. It is
kept from the second time on that its headers are seen (see `DecodedCache.put`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

from relink.elf.constants import SectionType
from relink.elf.layout import ELF32, ELF64
from relink.memory.once import make_room
from relink.objects.combined import CombinedObjects
from relink.objects.small import FILLED, SmallObject
from relink.records.tuples import NamedTuple
from relink.search.decoded_cache import How

MOST = 64  #: objects kept, the last ones that were linked
_MOST_BYTES = 1 << 14  #: of an object
_MOST_SEEN = 512

#: EI_CLASS -> e_shoff and e_shnum in the ELF header, and the format of a section header.
_TABLES = {
    1: (struct.Struct("<32xI12xH2x"), ELF32.section_header),
    2: (struct.Struct("<40xQ12xH2x"), ELF64.section_header),
}
_NOBITS = int(SectionType.NOBITS)

#: The way of linking, the name, the size, the ELF header and the section headers.
Headers: TypeAlias = tuple[How, str, int, bytes, bytes]


class Linked(NamedTuple):
    """An object that was linked."""

    same: tuple[slice, ...]  #: the parts of the file in which a like object has the same bytes
    rest: bytes  #: the bytes of these parts
    attributes: dict[str, object]  #: of the result

    def with_bytes(self, content: bytes, combine: Callable[[], CombinedObjects]) -> SmallObject:
        """The object `content`, which is like this one, linked; `combine` links it by arrays."""
        made = SmallObject.__new__(SmallObject)
        vars(made).update(self.attributes)  # it is immutable for others
        made.fill(content, combine)
        return made


class AlikeObjects:
    """The objects linked last. It may be used by several threads."""

    def __init__(self) -> None:
        self._linked: dict[Headers, Linked] = {}
        self._seen: dict[int, None] = {}  #: hashes of the headers and rests of objects linked once

    def __len__(self) -> int:
        return len(self._linked)

    def clear(self) -> None:
        """Forget all objects."""
        self._linked.clear()
        self._seen.clear()

    def find(self, headers: Headers, content: bytes) -> tuple[Linked | None, bytes]:
        """The object kept with these headers, if any, and the bytes of `content` in its parts `same`. If these
        are its `rest`, the objects are alike.
        """
        linked = self._linked.get(headers)
        return linked, b"" if linked is None else b"".join([content[each] for each in linked.same])

    def keep(
        self, headers: Headers, content: bytes, small: SmallObject, linked: Linked | None, rest: bytes
    ) -> None:
        """Keep `small`, the result of linking `content`, before anything has been asked of it.

        `linked` and `rest` are the answer of `find`. One is kept from the second time on that its headers (or its
        rest, if another object with its headers is kept) are seen.
        """
        seen = hash(headers if linked is None else rest)
        if seen not in self._seen:
            make_room(self._seen, _MOST_SEEN)
            self._seen[seen] = None
            return
        same = _not_loaded(headers, small) if linked is None else linked.same
        if same is not None:
            attributes = {name: value for name, value in vars(small).items() if name not in FILLED}
            make_room(self._linked, MOST)
            self._linked[headers] = Linked(same, b"".join([content[each] for each in same]), attributes)


def headers_of(content: bytes, how: How, name: str) -> Headers | None:
    """The key under which an object is kept; None for one that is not kept."""
    if not 64 <= len(content) <= _MOST_BYTES or content[4] not in _TABLES:
        return None
    place, row = _TABLES[content[4]]
    start, count = place.unpack_from(content)
    return how, name, len(content), content[: place.size], content[start : start + count * row.size]


def _not_loaded(headers: Headers, small: SmallObject) -> tuple[slice, ...] | None:
    """The parts of the file that are not loaded, which are equal in a like object; None if sections overlap."""
    *_, header, table = headers
    place, row = _TABLES[header[4]]
    start, _ = place.unpack_from(header)
    spans = [(0, place.size), (start, start + len(table))]
    for _, type_, _, _, at, size, *_ in row.iter_unpack(table):
        if size and type_ != _NOBITS:
            spans.append((at, at + size))
    spans.sort()
    if any(end > after for (_, end), (after, _) in pairwise(spans)):
        return None
    last, same = 0, list[slice]()
    for at, size in sorted([(at, end - start) for start, end, at, padding in small.parts if not padding]):
        same.append(slice(last, at))
        last = at + size
    return (*same, slice(last, None))


#: The objects kept in this process.
ALIKE = AlikeObjects()
