"""Units of debug information: pyelftools' view of an image's debug sections, and of the files that these name.

DWARF may be spread over several files:

- a skeleton unit names a .dwo file with its contents, or a .dwp file beside the image has the contents of all
  units;
- dwz moves DIEs that several files share into an alternate file.

These files are searched at the paths that the sections give, and beside the image. A file that is not found is
reported as a problem with its name.

Source: DWARF 5, 3.1.3 (skeletons), 7.3.2 (split), 7.3.5 (packages), 7.3.6 (supplementary files).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relink.elf.debug_files import debug_sections, own_sections, section_contents
from relink.elf.debug_sections import DebugSections
from relink.elf.decode import decode_sections
from relink.elf.decoded import Decoded
from relink.errors import DebugInfoError, ElfError
from relink.records import cached_property, dataclass, field

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE
    from elftools.dwarf.dwarfinfo import DWARFInfo


_UNNAMED = ""  #: pyelftools uses the machine's name only to describe registers
_DWO_NAMES = ("DW_AT_dwo_name", "DW_AT_GNU_dwo_name")
_ALTERNATE = ".gnu_debugaltlink"
_SUPPLEMENTARY = ".debug_sup"
#: Columns of a package's index (DWARF 5, table 7.1; GNU's version 2 has .debug_types in 2 and .debug_loc in 5).
_COLUMNS = {1: ".debug_info", 2: ".debug_types", 3: ".debug_abbrev", 5: ".debug_loclists", 6: ".debug_str_offsets",
            8: ".debug_rnglists"}  # fmt: skip


def debug_section(decoded: Decoded, name: str) -> bytes:
    """The contents of one debug section of an image, decompressed; empty when there is none. Raises ElfError."""
    if decoded.debug_sections is not None:
        return decoded.debug_sections.get(name, b"")
    section = decoded.section(name) or decoded.section(name.replace(".debug_", ".zdebug_", 1))
    return b"" if section is None else section_contents(decoded, section)


def information(sections: Mapping[str, bytes], word_size: int) -> DWARFInfo:
    """pyelftools' view of `sections`, from a file whose addresses have `word_size` bytes."""
    from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

    def section(name: str) -> DebugSectionDescriptor | None:
        content = sections.get(name)
        return None if content is None else DebugSectionDescriptor(io.BytesIO(content), name, 0, len(content), 0)

    return DWARFInfo(
        DwarfConfig(True, _UNNAMED, word_size),
        debug_info_sec=section(".debug_info"), debug_aranges_sec=None,
        debug_abbrev_sec=section(".debug_abbrev"), debug_frame_sec=None, eh_frame_sec=None,
        debug_str_sec=section(".debug_str"), debug_loc_sec=section(".debug_loc"),
        debug_ranges_sec=section(".debug_ranges"), debug_line_sec=None,
        debug_pubtypes_sec=None, debug_pubnames_sec=None,
        debug_addr_sec=section(".debug_addr"), debug_str_offsets_sec=section(".debug_str_offsets"),
        debug_line_str_sec=section(".debug_line_str"), debug_loclists_sec=section(".debug_loclists"),
        debug_rnglists_sec=section(".debug_rnglists"), debug_sup_sec=None, gnu_debugaltlink_sec=None,
        debug_types_sec=section(".debug_types"),
    )  # fmt: skip


@dataclass(eq=False)
class Unit:
    """A compilation unit; a skeleton unit is replaced by its split unit."""

    top: DIE
    #: [start, end) of the code it describes, in link-time addresses; None when it has no ranges.
    ranges: list[tuple[int, int]] | None = field(default=None)

    @property
    def language(self) -> int:
        """DW_AT_language; 0 without one."""
        found = self.top.attributes.get("DW_AT_language")
        return found.value if found is not None and isinstance(found.value, int) else 0


class DebugInformation:
    """All units of an image's debug information. Parts that cannot be read are added to `problems` as they are
    met.
    """

    def __init__(self, sections: DebugSections) -> None:
        self.sections = sections
        self.problems = list(sections.problems)
        self._word_size = sections.bits // 8
        self._split: dict[Path, DWARFInfo | None] = {}
        self.alternate: str | None = None  #: the alternate file, when it is needed and was not found

    @cached_property
    def main(self) -> DWARFInfo | None:
        """The debug information in the image's own sections."""
        if not self.sections.get(".debug_info"):
            return None
        info = information(self.sections, self._word_size)
        info.supplementary_dwarfinfo = self._alternate()
        return info

    def units(self) -> Iterator[Unit]:
        """The units, in order. A damaged unit ends the iteration and adds a problem."""
        if self.main is None:
            return
        try:
            for unit in self.main.iter_CUs():
                _complete(unit)
                top = unit.get_top_DIE()
                if unit.header.get("unit_type") in ("DW_UT_type", "DW_UT_split_type"):
                    continue
                ranges = _ranges(top)
                if (named := _dwo_name(top)) is not None:
                    content = self._content(top, named)
                    if content is not None:
                        yield Unit(content, ranges)
                    continue
                yield Unit(top, ranges)
        except Exception as error:
            # damaged DWARF makes pyelftools raise arbitrary exceptions: KeyError, struct.error, AssertionError
            self.damaged(error)

    def damaged(self, error: Exception) -> None:
        """Add a problem for DWARF that could not be read."""
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        self.problems.append(
            f"{self.sections.source}: the debug information is damaged or has an unknown form ({said})"
        )

    # ------------------------------------------------------------ types

    def by_signature(self, die: DIE, signature: int) -> DIE:
        """The type DIE of the type unit with that signature (DW_FORM_ref_sig8), in the file of `die`.

        Raises DebugInfoError.
        """
        info = die.dwarfinfo
        for unit in info.iter_CUs():
            if unit.header.get("type_signature") == signature:
                _complete(unit)
                unit.get_top_DIE()
                return unit.get_DIE_from_refaddr(unit.cu_offset + unit.header["type_offset"])
        try:
            return info.get_DIE_by_sig8(signature)
        except KeyError:
            raise DebugInfoError(
                self.sections.source, f"there is no type unit with signature {signature:#018x}"
            ) from None

    def referred(self, die: DIE, attribute: str) -> DIE:
        """The DIE that a reference attribute names. Raises DebugInfoError when it is in a file that was not
        found.
        """
        found = die.attributes[attribute]
        if found.form == "DW_FORM_ref_sig8":
            return self.by_signature(die, found.raw_value)
        if found.form in ("DW_FORM_GNU_ref_alt", "DW_FORM_ref_sup4", "DW_FORM_ref_sup8") and self.alternate:
            raise DebugInfoError(self.sections.source, f"its alternate debug file {self.alternate}")
        return die.get_DIE_from_attribute(attribute)

    # ------------------------------------------------------------ the alternate file

    def _alternate(self) -> DWARFInfo | None:
        """The alternate file into which dwz moved shared DIEs."""
        link = self.sections.get(_ALTERNATE)
        if link is not None:
            name, _, identity = link.partition(b"\0")
        elif (sup := self.sections.get(_SUPPLEMENTARY)) and sup[2:3] == b"\0":
            name, identity = sup[3:].partition(b"\0")[0], b""
        else:
            return None
        text = name.decode("utf-8", "surrogateescape")
        path = next((path for folder in self.sections.folders if (path := folder / text).is_file()), None)
        if path is None:
            self.alternate = f"{text} is not there"
            return None
        try:
            decoded = decode_sections(path)
            if identity and _build_id(decoded) not in (identity, None):
                self.alternate = f"{text} does not match: its build ID differs"
                return None
            return information(own_sections(decoded), self._word_size)
        except ElfError as error:
            self.alternate = f"{text} cannot be read ({error})"
            return None

    # ------------------------------------------------------------ split DWARF

    def _content(self, skeleton: DIE, name: str) -> DIE | None:
        """The split unit of a skeleton; None when its file was not found, which adds a problem."""
        number = _dwo_id(skeleton)
        try:
            for info in self._split_files(skeleton, name, number):
                found = _unit_with(info, number)
                if found is not None:
                    self._adapt(found, skeleton)
                    top: DIE = found.get_top_DIE()
                    return top
        except ElfError as error:
            self.problems.append(str(error))
            return None
        self.problems.append(
            f"{self.sections.source}: split debug information: {name} was not found or has another dwo_id"
        )
        return None

    def _split_files(self, skeleton: DIE, name: str, number: int | None) -> Iterator[DWARFInfo]:
        """Files that may have the split unit: a .dwp beside the image, then the .dwo file."""
        for path in self.sections.paths:
            package = path.with_name(path.name + ".dwp")
            if number is not None and package.is_file():
                parts = _package_parts(own_sections(decode_sections(package), split=True), number)
                if parts is not None:
                    yield self._of_split(parts)
        folder = skeleton.attributes.get("DW_AT_comp_dir")
        compiled_in = Path(folder.value.decode("utf-8", "surrogateescape")) if folder is not None else Path()
        for start in (compiled_in, *self.sections.folders):
            for path in (start / name, start / Path(name).name):
                if path.is_file():
                    yield self._of_split(own_sections(decode_sections(path), split=True))

    def _of_split(self, sections: Mapping[str, bytes]) -> DWARFInfo:
        # Split units use the .debug_addr section of the image.
        addresses = {".debug_addr": self.sections[".debug_addr"]} if ".debug_addr" in self.sections else {}
        return information({**sections, **addresses}, self._word_size)

    def _adapt(self, unit: Any, skeleton: DIE) -> None:
        """Set the table bases of a split unit: inherited from its skeleton, or the defaults (DWARF 5, 3.1.3 and
        7.26).
        """
        _complete(unit)
        bases = _split_bases(unit)
        for name in ("DW_AT_addr_base", "DW_AT_GNU_addr_base"):
            if name in skeleton.attributes:
                bases["DW_AT_addr_base"] = skeleton.attributes[name].value
        _give_bases(unit, bases)


def _split_bases(unit: Any) -> dict[str, int]:
    """The bases of a split unit's tables: after their headers, which GNU's DWARF 4 does not have (DWARF 5, 7.26 to
    7.29).
    """
    if unit.header["version"] < 5:
        return {"DW_AT_str_offsets_base": 0}
    wide = unit.structs.dwarf_format == 64
    lists = 20 if wide else 12
    return {
        "DW_AT_str_offsets_base": 16 if wide else 8,
        "DW_AT_loclists_base": lists,
        "DW_AT_rnglists_base": lists,
    }


def _give_bases(unit: Any, bases: Mapping[str, int]) -> None:
    """Add base attributes to the top DIE of a unit, so that pyelftools finds its strings and addresses."""
    from elftools.dwarf.die import DIE, AttributeValue

    top = DIE(cu=unit, stream=unit.dwarfinfo.debug_info_sec.stream, offset=unit.cu_die_offset)
    for name, value in bases.items():
        top.attributes.setdefault(name, AttributeValue(name, "DW_FORM_sec_offset", value, value, 0, 0))
    unit._dielist.insert(0, top)
    unit._diemap.insert(0, unit.cu_die_offset)
    top._translate_indirect_attributes()


def _complete(unit: Any) -> None:
    """Add the forms of GNU's DWARF 4 split units, which are ULEB128 numbers, to pyelftools' table."""
    forms = unit.structs.Dwarf_dw_form
    for name in ("DW_FORM_GNU_str_index", "DW_FORM_GNU_addr_index"):
        forms.setdefault(name, unit.structs.the_Dwarf_uleb128)


def text_of(die: DIE, attribute: Any) -> bytes | None:
    """The bytes of a string attribute, DW_FORM_GNU_str_index included; None for other attributes."""
    if attribute.form == "DW_FORM_GNU_str_index":
        info = die.dwarfinfo
        size = 4 if die.cu.structs.dwarf_format == 32 else 8
        table = info.debug_str_offsets_sec.stream  # type: ignore[union-attr]
        table.seek(attribute.raw_value * size)
        return info.get_string_from_table(int.from_bytes(table.read(size), "little"))
    return attribute.value if isinstance(attribute.value, bytes) else None


def address_of(die: DIE, name: str) -> int | None:
    """The link-time address in an address attribute; None without one."""
    attribute = die.attributes.get(name)
    if attribute is None:
        return None
    if attribute.form == "DW_FORM_GNU_addr_index":
        return die.dwarfinfo.get_addr(die.cu, attribute.raw_value)
    return attribute.value if isinstance(attribute.value, int) else None


def _ranges(top: DIE) -> list[tuple[int, int]] | None:
    """The ranges of the code a unit describes; None when it has none or they cannot be read."""
    try:
        low = address_of(top, "DW_AT_low_pc")
        if "DW_AT_ranges" in top.attributes:
            return list(range_list(top, low or 0))
        high = top.attributes.get("DW_AT_high_pc")
        if low is None or high is None:
            return None
        end = high.value if high.form.startswith(("DW_FORM_addr", "DW_FORM_GNU_addr")) else low + high.value
        return [(low, end)]
    except Exception:
        # unknown forms make pyelftools raise arbitrary exceptions; without ranges the unit is always searched
        return None


def range_list(die: DIE, base: int) -> Iterator[tuple[int, int]]:
    """The [start, end) pairs of DW_AT_ranges, in order; `base` is the unit's lowest address."""
    lists: Any = die.dwarfinfo.range_lists()
    for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, cu=die.cu):
        if hasattr(entry, "base_address"):
            base = entry.base_address
        else:
            start = 0 if getattr(entry, "is_absolute", False) else base
            yield start + entry.begin_offset, start + entry.end_offset


def _dwo_name(top: DIE) -> str | None:
    for name in _DWO_NAMES:
        if name in top.attributes and (text := text_of(top, top.attributes[name])) is not None:
            return text.decode("utf-8", "surrogateescape")
    return None


def _dwo_id(top: DIE) -> int | None:
    """The dwo_id of a unit: from its header, or from an attribute in GNU's DWARF 4."""
    found = top.cu.header.get("dwo_id")
    if found is None and "DW_AT_GNU_dwo_id" in top.attributes:
        found = top.attributes["DW_AT_GNU_dwo_id"].value
    return found


def _unit_with(info: DWARFInfo, number: int | None) -> Any:
    """The unit of a .dwo file with that dwo_id (any, for None); None without one."""
    for unit in info.iter_CUs():
        if unit.header.get("unit_type") == "DW_UT_split_type":
            continue
        _complete(unit)
        if unit.header.get("dwo_id") is not None:
            own: int | None = unit.header["dwo_id"]
        else:
            own = _attribute_id(unit)
        if number is None or own is None or own == number:
            return unit
    return None


def _attribute_id(unit: Any) -> int | None:
    """DW_AT_GNU_dwo_id of a unit that has no bases yet."""
    from elftools.dwarf.die import DIE

    top = DIE(cu=unit, stream=unit.dwarfinfo.debug_info_sec.stream, offset=unit.cu_die_offset)
    found = top.attributes.get("DW_AT_GNU_dwo_id")
    return None if found is None else found.value


def _package_parts(sections: Mapping[str, bytes], number: int) -> dict[str, bytes] | None:
    """The contributions of one unit to the sections of a .dwp file; None when the index does not have the unit."""
    index = sections.get(".debug_cu_index", b"")
    words = memoryview(index[: len(index) & -4]).cast("I")
    if len(words) < 4:
        return None
    columns, units, slots = words[1:4]
    table = 4 + 2 * slots
    rows = table + slots
    signatures = [words[4 + 2 * slot] | words[5 + 2 * slot] << 32 for slot in range(slots)]
    row = next((words[table + slot] for slot, found in enumerate(signatures) if found == number), 0)
    if not 0 < row <= units:
        return None
    parts = {".debug_str": sections.get(".debug_str", b"")}
    for column in range(columns):
        name = _COLUMNS.get(words[rows + column])
        at, size = words[rows + row * columns + column], words[rows + (units + row) * columns + column]
        if name is not None:
            parts[name] = sections.get(name, b"")[at : at + size]
    return parts


def _build_id(decoded: Decoded) -> bytes | None:
    """The file's GNU build ID."""
    section = decoded.section(".note.gnu.build-id")
    return None if section is None else section_contents(decoded, section)[16:]


__all__ = ["DebugInformation", "Unit", "address_of", "debug_section", "debug_sections", "text_of"]
