"""Errors about relocation entries, with image, section, offset, type and symbol.

The first few entries of a batch get one error each; the last of these gives the number of the others.
"""

from __future__ import annotations

from collections.abc import Iterator

from relink.arch import Reloc
from relink.arch.spec import Slot
from relink.arrays import I64, U64
from relink.elf import RelocationTable
from relink.errors import RelocationError, RelocationOutOfImage, TlsError
from relink.module import Module

#: Number of entries of a batch that are reported individually; the others are only counted.
_REPORTED = 20


def entry_errors(
    image: Module,
    table: RelocationTable,
    indices: I64,
    kind: type[RelocationError],
    type_name: str,
    problem: str,
    formula: str | None = None,
) -> Iterator[RelocationError]:
    """An error for each of the entries `indices` of `table`, all of one type."""
    for index, tail in _first(indices, "entries of this type"):
        section, offset = table.origin(index)
        yield kind(
            image.name,
            problem + tail,
            section=section,
            offset=offset,
            type_name=type_name,
            symbol=_symbol_name(image, table, index),
            formula=formula,
        )


def tls_errors(
    image: Module, table: RelocationTable, indices: I64, reloc_type: Reloc, problem: str
) -> Iterator[TlsError]:
    """An error for each entry whose symbol has no usable thread-local address."""
    for index, tail in _first(indices, "entries of this type"):
        section, offset = table.origin(index)
        against = _symbol_name(image, table, index) or "its own module"
        what = f"{image.architecture.prefix}{reloc_type.name} against {against}"
        yield TlsError(image.name, f"{section}+{offset:#x}: {what}: {problem}{tail}")


def packed_errors(image: Module, offsets: U64) -> Iterator[RelocationError]:
    """An error for each RELR entry outside the image; `offsets` are link-time addresses."""
    for offset, tail in _first(offsets, "packed entries"):
        problem = f"the place lies in no segment{tail}"
        yield RelocationOutOfImage(
            image.name, problem, section=".relr.dyn", offset=offset, type_name="RELR", formula="B + A"
        )


def slot_errors(image: Module, symbols: I64, offsets: I64, kind: Slot, problem: str) -> Iterator[TlsError]:
    """An error for each GOT slot of linked objects, given symbols and offsets in the GOT."""
    names = image.decoded.symbols.names
    for symbol, offset in zip(symbols.tolist(), offsets.tolist(), strict=True):
        what = f"GOT+{offset:#x}: {kind.name} slot of {names.text(symbol) or 'its own module'}: {problem}"
        yield TlsError(image.name, what)


def not_thread_local(image: Module, symbols: I64) -> Iterator[RelocationError]:
    """An error for each of these symbols that has a TLS slot and no thread-local definition."""
    names = image.decoded.symbols.names
    for symbol in symbols.tolist():
        yield RelocationError(
            image.name,
            "a TLS slot for a symbol that has no thread-local definition",
            section="GOT",
            offset=0,
            type_name="slot",
            symbol=names.text(symbol),
        )


def _first(numbers: U64 | I64, what: str) -> Iterator[tuple[int, str]]:
    """(number, end of the message) for the first few; the last one has the number of the others."""
    more = len(numbers) - _REPORTED
    for count, number in enumerate(numbers[:_REPORTED].tolist(), 1):
        yield number, f" (and {more} more {what})" if count == _REPORTED and more > 0 else ""


def _symbol_name(image: Module, table: RelocationTable, index: int) -> str | None:
    symbol = int(table.symbol[index])
    if not symbol:
        return None
    return image.decoded.symbols.names.text(symbol) or f"symbol {symbol}"
