"""Section headers as one array; a `Section` is made for one that is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from relink.arrays import U8, AnyArray, Bools, indices_where
from relink.elf.headers import Header, Section, read_section_rows
from relink.elf.strings import StringTable

_WHAT = "a section name"
#: Up to this number of sections, names are checked one by one: array operations would cost more.
_FEW = 48


class SectionTable(Sequence[Section]):
    """The section headers of a file, number 0 included: `rows` as in the file (`Layout.section_record`), the names
    in `strings`; without these all names are empty. Raises MalformedElf for a name outside its table.
    """

    def __init__(self, rows: AnyArray, strings: StringTable | None) -> None:
        self.rows, self.strings = rows, strings
        if strings is not None and (len(rows) <= _FEW or not strings.all_within(rows["name"])):
            for offset in rows["name"].tolist():
                strings.text(offset, _WHAT)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Section: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Section, ...]: ...
    def __getitem__(self, index: int | slice) -> Section | tuple[Section, ...]:
        if isinstance(index, slice):
            return tuple(map(self._made, self.rows[index].tolist()))
        return self._made(self.rows[index].item())

    def __iter__(self) -> Iterator[Section]:
        return map(self._made, self.rows.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def _made(self, row: tuple[int, ...]) -> Section:
        return Section("" if self.strings is None else self.strings.text(row[0], _WHAT), *row[1:])

    def name(self, index: int) -> str:
        """The name of section `index`."""
        return "" if self.strings is None else self.strings.text(int(self.rows["name"][index]), _WHAT)

    def named(self, name: str) -> int | None:
        """The index of the first section with that name, None without one."""
        if self.strings is None:
            return 0 if not name and len(self) else None
        if not self.strings.has(name.encode("utf-8", "surrogateescape")):
            return None
        text = self.strings.text
        offsets = self.rows["name"].tolist()
        return next((index for index, offset in enumerate(offsets) if text(offset, _WHAT) == name), None)

    def prefixed(self, prefix: str) -> list[int]:
        """The indices of the sections whose names begin with `prefix`, ascending."""
        if self.strings is None or not self.strings.has(prefix.encode()):
            return []
        text = self.strings.text
        offsets = self.rows["name"].tolist()
        return [index for index, offset in enumerate(offsets) if text(offset, _WHAT).startswith(prefix)]

    def of_type(self, *types: int) -> list[int]:
        """The indices of the sections of one of these types, ascending."""
        column = self.rows["type"]
        found: Bools = column == types[0]
        for type_ in types[1:]:
            found |= column == type_
        rows: list[int] = indices_where(found).tolist()
        return rows


def read_sections(name: str, header: Header, data: U8) -> SectionTable:
    """Read the section headers of a file (none when it has none). Raises Truncated or MalformedElf."""
    return SectionTable(*read_section_rows(name, header, data))
