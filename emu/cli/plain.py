"""Tables and lines for a file or pipe, formatted as by rich but without importing it.

Importing rich takes a tenth of the time of a small command. It is only used for terminals, for characters of other
widths, and for tables that must be folded. Lines of text are folded on terminals alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from relink.records import cached_property

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.table import Table as RichTable

#: Columns enough that no line is folded or cropped: a pipe's width.
UNFOLDED_WIDTH = 4096
_USUAL_WIDTH, _LINES = 80, 25  #: of a terminal that does not say how wide it is; rich asks for lines too
_LEAST_WIDTH = 40  #: in fewer columns tables would lose cells; the terminal folds their lines
_GAP = "  "
#: With one of these variables rich may write colours or fold lines even if the output is not a terminal.
_ASKED_OF_RICH = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "JUPYTER_COLUMNS")


def writes_plainly(file: TextIO) -> bool:
    """Whether rich would write to this file without colours and without folding lines."""
    return not file.isatty() and not any(os.environ.get(name) for name in _ASKED_OF_RICH)


class Table:
    """A table without lines. A column whose name starts with `>` is for numbers."""

    def __init__(self, *columns: str) -> None:
        self.columns = columns
        self.show_header = True
        self.unbroken: set[int] = set()  #: columns whose cells are not folded on a narrow terminal
        self.rows: list[tuple[str, ...]] = []

    @property
    def row_count(self) -> int:
        """The number of rows."""
        return len(self.rows)

    def add_row(self, *cells: str) -> None:
        """Add a row; omitted cells are empty."""
        self.rows.append(cells)

    def text(self) -> str | None:
        """The lines with line ends; None when rich is required."""
        count = max(map(len, (self.columns, *self.rows)))
        header = [tuple(name.removeprefix(">") for name in self.columns)] if self.show_header else []
        rows = [[cell.split("\n") for cell in row] + [[""]] * (count - len(row)) for row in (*header, *self.rows)]
        if not count or not rows or not all(_is_simple(line) for row in rows for cell in row for line in cell):
            return None
        widths = [
            max(column == count - 1, *(len(line) for row in rows for line in row[column]))
            for column in range(count)
        ]
        if sum(widths) + len(_GAP) * count > UNFOLDED_WIDTH or count != len(self.columns):
            return None
        right = [name.startswith(">") for name in self.columns]
        lines = []
        for row in rows:
            for number in range(max(map(len, row))):
                cells = [cell[number] if number < len(cell) else "" for cell in row]
                padded = (
                    cell.rjust(width) if number_column else cell.ljust(width)
                    for cell, width, number_column in zip(cells, widths, right, strict=True)
                )
                lines.append(_GAP.join(padded) + "\n")
        return "".join(lines)

    def rich(self) -> RichTable:
        """The table for rich."""
        from rich.table import Table as RichTable

        made = RichTable(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=self.show_header
        )
        for place, column in enumerate(self.columns):
            number = column.startswith(">")
            made.add_column(
                column.removeprefix(">"),
                justify="right" if number else "left",
                no_wrap=number or place in self.unbroken,
                overflow="fold",
            )
        for row in self.rows:
            made.add_row(*row)
        return made


def columns_of(file: TextIO) -> int:
    """The columns at which lines for a file are folded: COLUMNS, else the terminal's."""
    try:
        columns = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        columns = 0
    if columns <= 0 and file.isatty():
        columns = _USUAL_WIDTH
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(file.fileno()).columns or _USUAL_WIDTH
    return max(columns, _LEAST_WIDTH) if columns > 0 else UNFOLDED_WIDTH


class Console:
    """A console for text and tables; rich is used for anything else, and for terminals."""

    def __init__(self, file: TextIO) -> None:
        self.width: int | None = None  #: the width at which lines are folded, if not the terminal's
        self._file = file
        self._plain = writes_plainly(file)

    @cached_property
    def _rich(self) -> RichConsole:
        from rich.console import Console as RichConsole

        return RichConsole(
            file=self._file,
            width=columns_of(self._file),
            height=_LINES,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )

    def print(
        self, value: object = "", *, style: str | None = None, soft_wrap: bool | None = None, end: str = "\n"
    ) -> None:
        """Write text or a table. With `soft_wrap` text is not folded."""
        if self._plain:
            text = None
            if isinstance(value, Table):
                text = value.text()
            elif isinstance(value, str):
                soft_wrap = True
                if all(map(_is_simple, value.split("\n"))):
                    text = value + end
            if text is not None:
                self._file.write(text)
                return
        console = self._rich
        if self.width is not None:
            console.width = self.width
        if isinstance(value, Table):
            value = value.rich()
        console.print(value, style=style, soft_wrap=soft_wrap, end=end)


def _is_simple(text: str) -> bool:
    """Whether each character takes one column and is not a control character."""
    return text.isascii() and (text.isprintable() or not text)
