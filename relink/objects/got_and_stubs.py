"""GOT slots, and stubs for calls that may be out of range."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import numpy as np

from relink.arch import Architecture, Reloc, Role
from relink.arch.fields import Word
from relink.arch.spec import Slot, Stub
from relink.arrays import I64, Bools, distinct, indices_where, one_of, without
from relink.elf.constants import SymbolType
from relink.elf.objects import ABSOLUTE, UNDEFINED
from relink.objects.combined import StubTable
from relink.objects.input_sections import CODE
from relink.objects.layout import Layout
from relink.objects.placed_layout import PlacedLayout
from relink.objects.relocation_tables import InputTable, InputTables

_TLS, _GNU_IFUNC = int(SymbolType.TLS), int(SymbolType.GNU_IFUNC)
_CALLABLE = int(SymbolType.NOTYPE), int(SymbolType.FUNC)
_THUMB, _THUMB_CALL = "THM_", "THM_CALL"  #: names of Arm's types for Thumb code, and for its BL

#: Kind of slot -> (rows of the symbols with such a slot, their offsets in the GOT).
Slots: TypeAlias = dict[Slot, tuple[I64, I64]]


def assign_slots(arch: Architecture, tables: InputTables) -> tuple[Slots, int]:
    """Assign a GOT slot to every symbol and kind that relocations need. Also returns the GOT's size in bytes."""
    wanted: dict[Slot, list[I64]] = {}
    if not len(tables):
        return {}, arch.got_header * arch.word_size
    thread_local = tables.symbols.type == _TLS
    for number, symbols in tables.types_used():
        row = arch.relocations.get(number)
        if row is None or row.slot is None:
            continue
        if row.tls_slot is not None:
            wanted.setdefault(row.tls_slot, []).append(symbols[thread_local[symbols]])
            symbols = symbols[~thread_local[symbols]]
        wanted.setdefault(row.slot, []).append(symbols)
    slots: Slots = {}
    size = arch.got_header * arch.word_size
    for kind, parts in wanted.items():
        symbols = distinct(np.concatenate(parts))
        step = kind.words * arch.word_size
        if kind is Slot.TLS_LD:  # one slot for the whole image, the same for all symbols
            slots[kind] = symbols, np.full(len(symbols), size)
            size += step
        else:
            slots[kind] = symbols, size + step * np.arange(len(symbols))
            size += step * len(symbols)
    return slots, size


def stub_symbols(
    arch: Architecture, stub: Stub | None, tables: InputTables, defined: Collection[int] | None = None
) -> I64:
    """Symbols that may need a stub: callees outside the image (those at absolute addresses too) or in another
    instruction set, and ifuncs.

    Given the rows of symbols that the linker will define, without those, and without callees in the image whose
    own address shows that branches can enter their instruction set.
    """
    if stub is None:
        return np.zeros(0, np.int64)
    symbols = tables.symbols
    undefined = symbols.section == UNDEFINED
    undefined[list(defined or ())] = False
    outside = undefined | (symbols.section == ABSOLUTE)
    indirect = symbols.type == _GNU_IFUNC
    callable_ = undefined & one_of(symbols.type, _CALLABLE)
    needs = np.zeros(len(symbols), np.bool_)
    for number, used in tables.types_used():
        row = arch.relocations.get(number)
        if row is None or row.formula is None or row.slot is not None or "S" not in row.formula.letters:
            continue
        needs[used[indirect[used]]] = True
        if row.role is Role.BRANCH:
            if defined is None:
                needs[used if arch.code_address_bits else used[outside[used]]] = True
            else:
                needs[used[outside[used] | _in_other_set(row, tables, used)]] = True
        elif not (isinstance(row.word, Word) and row.word.size >= arch.word_size):
            needs[used[callable_[used]]] = True
    needs[0] = False
    return indices_where(needs)


def _in_other_set(row: Reloc, tables: InputTables, used: I64) -> Bools:
    """Which functions in the image branches of a type cannot enter, by bit 0 of their addresses: Arm's branches to
    the other instruction set, but for Thumb's BL, which becomes a BLX.
    """
    if not tables.arch.code_address_bits or row.name == _THUMB_CALL:
        return np.zeros(len(used), np.bool_)
    symbols = tables.symbols
    thumb = (symbols.value[used] & np.uint64(1)) != 0
    other: Bools = thumb != row.name.startswith(_THUMB)
    other &= (symbols.type[used] == SymbolType.FUNC) & (symbols.section[used] > 0)
    return other


def choose_callers(layout: PlacedLayout, tables: InputTables, callees: I64) -> None:
    """Choose the output sections that get a copy of the stubs: those whose code refers to `callees`."""
    entries = np.isin(tables.symbol, callees) if len(callees) else np.zeros(len(tables.symbol), np.bool_)
    callers = set(tables.target[distinct(tables.table[entries])].tolist())
    for output in layout.outputs:
        output.has_stubs = any(section.number in callers and section.kind in CODE for section in output.sections)
    if len(callees) and not any(output.has_stubs for output in layout.outputs):
        code = [output for output in layout.outputs if any(section.kind in CODE for section in output.sections)]
        for output in code[:1]:
            output.has_stubs = True


def far_callees(arch: Architecture, layout: Layout, tables: InputTables, stubs: I64) -> I64:
    """Callees in the image that a branch does not reach in the current layout, without those in `stubs`.

    A stub jumps to a symbol. For a far branch to symbol plus addend, as assemblers write a local label, a symbol
    is added at that address.
    """
    if layout.stub is None or layout.end < arch.branch_reach:
        return np.zeros(0, np.int64)
    text = layout.edges(lambda sections: sections.of_kinds(*CODE))
    if text is None or text[1] - text[0] < arch.branch_reach:
        return np.zeros(0, np.int64)
    found = [np.zeros(0, np.int64)]
    for number in indices_where(layout.sections.of_kinds(*CODE)[tables.target]).tolist():
        table = tables.one(number)
        in_place = table.addend is None
        if in_place and not isinstance(layout, PlacedLayout):
            continue
        far = _far(arch, tables, table)
        inside = indices_where(far & (table.addend != 0)) if table.addend is not None else ()
        if len(inside) and table.addend is not None:
            symbol, addend = table.symbol.copy(), table.addend.copy()
            symbol[inside] = tables.symbols.add_inside(symbol[inside], addend[inside])
            addend[inside] = 0
            tables.move(number, symbol, addend)
            table = tables.one(number)
        found.append(table.symbol[far])
    return without(np.concatenate(found), stubs)


def _far(arch: Architecture, tables: InputTables, table: InputTable) -> Bools:
    """Which entries are branches that do not reach a symbol in the image."""
    addends = tables.addends(table)
    far = np.zeros(len(table.offset), np.bool_)
    for type_ in distinct(table.type).tolist():
        row = arch.relocations.get(type_)
        if row is not None and row.role is Role.BRANCH and row.word is not None:
            mine = indices_where((table.type == type_) & (tables.symbols.section[table.symbol] > 0))
            distance = tables.symbols.image_offsets(table.symbol[mine]) + addends[mine].view(np.uint64)
            distance -= table.offset[mine] + np.uint64(table.target.offset)
            if arch.code_address_bits:  # bit 0 selects an instruction set, and is no distance
                thumb = np.uint64(row.name.startswith(_THUMB))
                distance = distance & ~np.uint64(3) | thumb
            far[mine] = ~np.asarray(row.word.fits(distance), np.bool_)
    return far


def stub_table(symbols: I64, layout: Layout, rows: int) -> StubTable:
    """The stub table for `symbols`, at the islands of `layout`; `rows` is the number of all symbols."""
    number = np.full(rows, -1, np.int64)
    number[symbols] = np.arange(len(symbols))
    stub = layout.stub
    return StubTable(
        symbols, tuple(layout.islands), len(stub.code) if stub else 0, stub.address_at if stub else 0, number
    )
