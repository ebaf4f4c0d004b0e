"""The members of a static archive by number, as `relink.elf.archive` reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import overload

from relink.arrays import U8
from relink.records import cached_property, dataclass, field


@dataclass(frozen=True, eq=False)
class Member:
    """One member of an archive.

    `name` is as written in the archive (in a thin archive a path relative to it), `offset` the archive offset of
    the member header, `size` the size in bytes that the header gives. `full_name` is "libz.a(crc32.o)".
    """

    name: str
    offset: int
    size: int
    full_name: str
    _fetch: Callable[[Member], U8] = field(repr=False)

    @cached_property
    def data(self) -> U8:
        """The member's bytes: a view of the archive, or of the file that a thin archive names.

        Raises ElfError when that file cannot be read.
        """
        return self._fetch(self)


class Members(Sequence[Member]):
    """The members of an archive in file order; a `Member` is made for one that is asked for.

    Member number n has the name `names[n]`, its header at `offsets[n]`, and `sizes[n]` bytes, which begin at
    `begins[n]` of `data` unless the archive is thin: then `fetch` reads them.
    """

    def __init__(self, archive: str, data: U8, fetch: Callable[[Member], U8] | None) -> None:
        self.archive, self._data, self._fetch = archive, data, fetch
        self.names: list[str] = []
        self.offsets: list[int] = []
        self.sizes: list[int] = []
        self.begins: list[int] = []
        self._made: dict[int, Member] = {}

    def add(self, name: str, offset: int, size: int, begin: int) -> None:
        """Append a member."""
        self.names.append(name)
        self.offsets.append(offset)
        self.sizes.append(size)
        self.begins.append(begin)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, number: int) -> Member: ...
    @overload
    def __getitem__(self, number: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, number: int | slice) -> Member | tuple[Member, ...]:
        if isinstance(number, slice):
            return tuple(self[each] for each in range(len(self))[number])
        number = range(len(self))[number]
        if number not in self._made:
            full_name, fetch = self.full_name(number), self._fetch or self._part
            self._made[number] = Member(
                self.names[number], self.offsets[number], self.sizes[number], full_name, fetch
            )
        return self._made[number]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def full_name(self, number: int) -> str:
        """The name of a member in errors."""
        return f"{self.archive}({self.names[number]})"

    def content(self, number: int) -> U8:
        """The bytes of a member. Raises as `Member.data` does."""
        if self._fetch is not None:
            return self[number].data
        begin = self.begins[number]
        return self._data[begin : begin + self.sizes[number]]

    def _part(self, member: Member) -> U8:
        return self.content(bisect_left(self.offsets, member.offset))
