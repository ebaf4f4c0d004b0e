"""Printing an `InspectReport`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.cli.output import hexadecimal, shown, table
from emu.cli.text import printable
from relink.elf.constants import ADDRESS_TAGS
from relink.elf.machines import machine_text

if TYPE_CHECKING:
    from emu.cli.inspect_records import InspectReport
    from emu.cli.plain import Console, Table
    from relink.elf.notes import DebugLink

_ADDRESS_NAMES = frozenset(tag.name for tag in ADDRESS_TAGS)


def show(report: InspectReport, console: Console, *, symbols: bool = False, demangle: bool = True) -> None:
    """Print a report; with `symbols`, list all symbols."""

    def title(text: str) -> None:
        console.print()
        console.print(text, style="bold")

    _show_header(report, console)
    for heading, lines in (
        ("Problems: it cannot be loaded or read completely", report.problems),
        ("Warnings: violations that loaders tolerate", report.warnings),
    ):
        if lines:
            title(heading)
            for line in lines:
                console.print(printable(line), soft_wrap=True)
    for heading, tabulate in _TABLES:
        rows = tabulate(report)
        if rows.row_count:
            title(heading)
            console.print(rows)
    title("Relocations")
    relocations = _relocations(report)
    console.print(relocations if relocations.row_count else "none")
    if symbols:
        title("Symbols")
        _show_symbols(report, console, demangle=demangle)


def _segments(report: InspectReport) -> Table:
    rows = table("type", "access", ">offset", ">address", ">in file", ">in memory", ">align")
    for entry in report.segments:
        numbers = (entry.offset, entry.vaddr, entry.filesz, entry.memsz, entry.align)
        rows.add_row(entry.type, entry.permissions, *map(hexadecimal, numbers))
    return rows


def _sections(report: InspectReport) -> Table:
    rows = table("section", ">size", ">flags")
    for section in report.sections:
        rows.add_row(printable(section.name), hexadecimal(section.size), str(section.flags))
    return rows


def _notes(report: InspectReport) -> Table:
    rows = table("owner", "type", ">size", "")
    for note in report.notes:
        rows.add_row(printable(note.owner), note.name, hexadecimal(note.size), printable(note.text or ""))
    return rows


def _modinfo(report: InspectReport) -> Table:
    rows = table("key", "value")
    for key, values in report.modinfo.items():
        for value in values:
            rows.add_row(printable(key), printable(value))
    return rows


def _dynamic(report: InspectReport) -> Table:
    rows = table("tag", ">value", "")
    for item in report.dynamic:
        number = str(item.value) if item.tag in _ADDRESS_NAMES or item.value > 9 else str(int(item.value))
        rows.add_row(item.tag, number if item.text is None else "", printable(item.text or ""))
    return rows


def _versions_needed(report: InspectReport) -> Table:
    rows = table("library", "version")
    for need in report.versions_needed:
        rows.add_row(printable(need.library), printable(need.version) + (" (weak)" if need.weak else ""))
    return rows


def _relocations(report: InspectReport) -> Table:
    rows = table("table", "type", ">entries")
    for name, tally in report.relocations.items():
        for kind, count in tally.items():
            rows.add_row(printable(name), kind, str(count))
    return rows


#: Parts shown if the file has them, by heading.
_TABLES: tuple[tuple[str, Callable[[InspectReport], Table]], ...] = (
    ("Segments", _segments),
    ("Sections", _sections),
    ("Notes", _notes),
    ("Kernel module", _modinfo),
    ("Dynamic section", _dynamic),
    ("Versions needed", _versions_needed),
)


def _show_header(report: InspectReport, console: Console) -> None:
    console.print(f"{printable(report.file)}: {report.kind}, {report.size} bytes", style="bold", soft_wrap=True)
    rows = table("", "")
    rows.show_header = False
    abi = f", flags {report.flags}" if report.flags else ""
    machine = (
        f"{report.arch or f'unsupported: {machine_text(report.machine, report.bits)}'}, {report.bits} bit{abi}"
    )
    constructors = report.constructors
    start = [
        *(["DT_INIT"] if constructors.init else []),
        *([f"{constructors.preinit_array} in preinit_array"] if constructors.preinit_array else []),
        *([f"{constructors.init_array} in init_array"] if constructors.init_array else []),
    ]
    end = [
        *([f"{constructors.fini_array} in fini_array"] if constructors.fini_array else []),
        *(["DT_FINI"] if constructors.fini else []),
    ]
    tls = report.tls
    facts = (
        ("machine", machine + (f" ({report.flags_problem})" if report.flags_problem else "")),
        ("system", report.os_abi_name if report.os_abi else None),
        ("soname", report.soname),
        ("interpreter", report.interpreter),
        ("entry", str(report.entry) if report.entry else None),
        ("needs", "\n".join(report.needed)),
        ("rpath", report.rpath),
        ("runpath", report.runpath),
        ("symbols", f"{report.exported} exported, {report.imported} imported"),
        ("versions", ", ".join(report.versions_defined)),
        ("hash tables", ", ".join(report.hash_tables)),
        ("constructors", ", ".join(start)),
        ("destructors", ", ".join(end)),
        ("build id", report.build_id),
        ("debug information", _link(report.debug_link)),
        ("and what it shares", _link(report.alternative_debug_link)),
        ("TLS", f"{tls.size:#x} bytes, {tls.initialised:#x} initialised, align {tls.align:#x}" if tls else None),
    )
    for name, fact in facts:
        if fact:
            rows.add_row(name, "\n".join(printable(line) for line in fact.split("\n")))
    console.print(rows)


def _link(link: DebugLink | None) -> str | None:
    if link is None:
        return None
    return f"{link.file}, CRC {link.crc}" if link.crc is not None else f"{link.file}, build id {link.build_id}"


def _show_symbols(report: InspectReport, console: Console, *, demangle: bool) -> None:
    rows = table(">value", ">size", "type", "binding", "symbol")
    digits = max((len(f"{symbol.value:x}") for symbol in report.symbols), default=1)
    for symbol in report.symbols:
        name = shown(symbol.name, demangle=demangle) + printable(symbol.version or "")
        visibility = [symbol.visibility] * (symbol.visibility != "DEFAULT")
        words = (symbol.binding, *visibility, *["ABS"] * symbol.absolute)
        value = hexadecimal(symbol.value, digits) if symbol.defined else "undefined"
        rows.add_row(value, f"{symbol.size:#x}", symbol.type, " ".join(words), name)
    console.print(rows)
