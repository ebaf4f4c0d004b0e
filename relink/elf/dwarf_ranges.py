"""The code of source lines and functions, from DWARF: what coverage needs. Damaged DWARF only makes it
incomplete.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from relink.elf.debug_files import debug_sections
from relink.elf.debug_sections import DebugSections
from relink.elf.decode import decode_sections
from relink.elf.decoded import Decoded
from relink.elf.dwarf_info import DebugInformation, address_of, debug_section, range_list, text_of
from relink.elf.dwarf_lines import LineRange, LineTable
from relink.elf.dwarf_text import MAX_DEPTH
from relink.errors import RelinkError
from relink.records import dataclass, field

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_SECTIONS = (".debug_line", ".debug_line_str", ".debug_str")
_INLINED = "DW_TAG_inlined_subroutine"


@dataclass(eq=False)
class FunctionRange:
    """A function with its code, out of line and inlined into others; link-time addresses."""

    name: str
    file: str
    line: int  #: of its declaration; 0: unknown
    entries: list[int] = field(default_factory=list)  #: first addresses of its code
    ranges: list[tuple[int, int]] = field(default_factory=list)


class SourceRanges:
    """The lines and functions of one image. File names are absolute where the compilation directory is known."""

    def __init__(self, decoded: Decoded) -> None:
        self.lines: list[LineRange] = []
        self.functions: list[FunctionRange] = []
        self._folders: dict[int, str] = {}
        self._files: dict[int, list[str]] = {}
        try:
            sections = debug_sections(decoded)
            tables = [_section(decoded, sections, name) for name in _SECTIONS]
            information = DebugInformation(sections)
        except RelinkError:
            return
        table = LineTable(tables[0], tables[1], tables[2], decoded.header.bits // 8)
        rows = list(table.ranges())
        self._files = table.files_by_unit()
        folders = {row.unit: row.folder for row in rows if row.folder}
        found: dict[tuple[str, str, int], FunctionRange] = {}
        for unit in information.units():
            with suppress(Exception):  # damaged DWARF makes pyelftools raise arbitrary exceptions
                self._unit(unit.top, folders, found)
        self._folders = folders
        self.lines = [row._replace(file=self._path(row.unit, row.file)) for row in rows]
        self.functions = list(found.values())

    def _path(self, unit: int, name: str) -> str:
        folder = self._folders.get(unit, "")
        return posixpath.normpath(posixpath.join(folder, name)) if folder else name

    def _unit(self, top: DIE, folders: dict[int, str], found: dict[tuple[str, str, int], FunctionRange]) -> None:
        statements = top.attributes.get("DW_AT_stmt_list")
        unit = int(statements.value) if statements is not None else -1
        folder = top.attributes.get("DW_AT_comp_dir")
        if folder is not None and (text := text_of(top, folder)) is not None:
            folders.setdefault(unit, text.decode("utf-8", "surrogateescape"))
        self._folders = folders
        base = address_of(top, "DW_AT_low_pc") or 0
        for die in _functions(top, 0):
            code = list(_ranges(die, base))
            if not code:
                continue
            name, file, line = self._described(die, unit)
            if not name:
                continue
            known = found.setdefault((name, file, line), FunctionRange(name, file, line))
            known.ranges += code
            if die.tag != _INLINED:
                known.entries.append(code[0][0])

    def _described(self, die: DIE, unit: int) -> tuple[str, str, int]:
        """The name, file and line of a function, which may be in the DIE of its declaration."""
        name = file = ""
        line = 0
        for _ in range(4):
            for attribute in ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name"):
                if not name and attribute in die.attributes:
                    text = text_of(die, die.attributes[attribute])
                    name = "" if text is None else text.decode("utf-8", "replace")
            if not line and "DW_AT_decl_line" in die.attributes:
                line = int(die.attributes["DW_AT_decl_line"].value)
            if not file and "DW_AT_decl_file" in die.attributes:
                number, files = int(die.attributes["DW_AT_decl_file"].value), self._files.get(unit, [])
                file = self._path(unit, files[number]) if 0 <= number < len(files) else ""
            reference = next(
                (r for r in ("DW_AT_abstract_origin", "DW_AT_specification") if r in die.attributes), ""
            )
            if (name and file and line) or not reference:
                break
            die = die.get_DIE_from_attribute(reference)
        return name, file, line


def _section(decoded: Decoded, sections: DebugSections, name: str) -> bytes:
    """A section of the image, or else of its separate debug file."""
    content = sections.get(name) or debug_section(decoded, name)
    if not content and sections.paths and sections.paths[-1] != decoded.path:
        content = debug_section(decode_sections(sections.paths[-1]), name)
    return content


def _functions(parent: DIE, depth: int) -> Iterator[DIE]:
    """Functions, and calls of functions that were inlined."""
    last = parent.offset
    for die in parent.iter_children():
        if die.offset <= last:  # DW_AT_sibling points backwards: a loop
            return
        last = die.offset
        if die.tag in ("DW_TAG_subprogram", _INLINED):
            yield die
        if die.has_children and depth < MAX_DEPTH:
            yield from _functions(die, depth + 1)


def _ranges(die: Any, base: int) -> Iterator[tuple[int, int]]:
    if "DW_AT_ranges" in die.attributes:
        yield from ((start, end) for start, end in range_list(die, base) if start < end)
        return
    low, high = address_of(die, "DW_AT_low_pc"), die.attributes.get("DW_AT_high_pc")
    if low and high is not None:
        end = high.value if high.form.startswith(("DW_FORM_addr", "DW_FORM_GNU_addr")) else low + high.value
        if low < end:
            yield low, end
