"""The symbol index of an archive: the member that defines each symbol.

- GNU (System V): the entry `/` with big-endian 32-bit offsets, or `/SYM64/` with 64-bit ones. Content: the number
  of symbols, that many offsets of member headers, that many NUL-terminated names.
- BSD: the entry `__.SYMDEF` or `__.SYMDEF_64`, in the target's byte order. Content: the byte size of an array of
  pairs (offset of the name in the string area, offset of the member header), the array, the byte size of the
  string area, the string area.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relink.arrays import I64, U8, U64, indices_where
from relink.elf.contents import frozen
from relink.elf.names import Names
from relink.elf.strings import StringTable
from relink.elf.versioned_names import names_defined
from relink.errors import MalformedElf, Truncated
from relink.records import cached_property, dataclass


@dataclass(frozen=True, eq=False)
class ArchiveIndex:
    """Member number `member[k]` (int64[n]) defines `names[k]`; several members may define the same name."""

    names: Names
    member: I64

    def __len__(self) -> int:
        return len(self.member)

    def defining(self, names: Names) -> I64:
        """The number of the first member that defines each of `names`, -1 for none; int64[len(names)]."""
        first = self._first
        return frozen(
            np.fromiter((first.get(names.raw(row), -1) for row in range(len(names))), np.int64, len(names))
        )

    @cached_property
    def _first(self) -> dict[bytes, int]:
        """The first member to define each name."""
        first: dict[bytes, int] = {}
        for name, member in zip(self.names.texts(), self.member.tolist(), strict=True):
            for defined in names_defined(name) if "@" in name else (name,):
                first.setdefault(defined.encode("utf-8", "surrogateescape"), member)
        return first


@dataclass(frozen=True, eq=False)
class RawIndex:
    """A symbol index as stored: symbol names, archive offsets of member headers (uint64[n]), and its own
    offset.
    """

    names: Names
    offset: U64
    at: int

    def resolve(self, name: str, member_offsets: Sequence[int]) -> ArchiveIndex:
        """Replace header offsets by member numbers. `member_offsets` are the header offsets of all members,
        ascending.

        Raises MalformedElf for an entry that is not among them.
        """
        offsets = np.array(member_offsets, np.uint64)
        member = np.searchsorted(offsets, self.offset).astype(np.int64)
        lost = member == len(offsets)
        lost[~lost] = offsets[member[~lost]] != self.offset[~lost]
        if lost.any():
            row = int(lost.argmax())
            raise MalformedElf(
                name,
                f"the symbol index has {self.names.text(row)} in the member at {int(self.offset[row]):#x}, "
                "where no member header is",
                self.at,
            )
        return ArchiveIndex(self.names, frozen(member))


def read_gnu_index(name: str, data: U8, width: int, at: int) -> RawIndex:
    """Read the index in `data`, the content of a `/` (`width` 4) or `/SYM64/` (8) entry at file offset `at`.

    Raises Truncated when the content is too short, MalformedElf when there are fewer names than offsets.
    """
    if len(data) < width:
        raise Truncated(name, f"the symbol index is cut short: {len(data)} bytes", at)
    count = int.from_bytes(data[:width].tobytes(), "big")
    begin = width * (count + 1)
    if begin > len(data):
        raise Truncated(name, f"the symbol index claims {count} symbols in {len(data)} bytes", at)
    offset = data[width:begin].view(f">u{width}").astype(np.uint64)
    text = data[begin:]
    ends = indices_where(text == 0)[:count]
    if len(ends) < count:
        raise MalformedElf(name, f"the symbol index has {count} offsets and {len(ends)} names", at)
    start = np.concatenate([np.zeros(min(count, 1), np.int64), ends[:-1] + 1])
    return RawIndex(Names(text, frozen(start), frozen(ends - start)), frozen(offset), at)


def read_bsd_index(name: str, member_name: str, data: U8, at: int) -> RawIndex:
    """Read the index in `data`, the content of a `__.SYMDEF` entry or a variant. Raises as `read_gnu_index`
    does.
    """
    width = 8 if member_name.startswith("__.SYMDEF_64") else 4
    word = np.dtype(f"<u{width}")
    size = _word(name, data, 0, width, at)
    if size % (2 * width):
        raise MalformedElf(
            name, f"the symbol index has a table of {size} bytes, which is not a multiple of {2 * width}", at
        )
    text_size = _word(name, data, width + size, width, at)
    begin = 2 * width + size
    if begin + text_size > len(data):
        raise Truncated(
            name, f"the symbol index claims {text_size} bytes of names, {len(data) - begin} are left", at
        )
    pairs = data[width : width + size].view(word).astype(np.uint64).reshape(-1, 2)
    if len(pairs) and int(pairs[:, 0].max()) >= text_size:
        raise MalformedElf(name, f"the symbol index has a name outside its {text_size} bytes of names", at)
    strings = StringTable(name, data[begin : begin + text_size])
    names = strings.names(pairs[:, 0].astype(np.uint32), "the symbol index")
    return RawIndex(names, frozen(pairs[:, 1].copy()), at)


def _word(name: str, data: U8, position: int, width: int, at: int) -> int:
    if position + width > len(data):
        raise Truncated(name, f"the symbol index is cut short: {len(data)} bytes", at)
    return int.from_bytes(data[position : position + width].tobytes(), "little")
