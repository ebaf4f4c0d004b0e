"""The symbols that a link script defines, for start-up code: places of output sections and regions.

- `__data_start`, `__data_end`, `__data_load`, `__data_size` for the output section `.data`, and so for each (other
  characters than letters and digits become `_`, a leading dot is dropped);
- `__flash_origin`, `__flash_end`, `__flash_length` for the region `flash`;
- the names in the script's `symbols`;
- `__copy_table_start` and `__copy_table_end`: rows (load address, address, size) of what start-up code copies, as
  words of the ISA; `__zero_table_start`, `__zero_table_end`: rows (address, size) of what it zeroes;
- names of usual start-up code (`_USUAL`).

A symbol is defined when objects refer to it and none defines it, like PROVIDE in GNU ld.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from relink.elf.constants import SHN_ABS, Visibility
from relink.errors import LinkError
from relink.objects.input_sections import BSS, RW, TLS
from relink.objects.placed_layout import PlacedLayout
from relink.objects.placed_outputs import PlacedOutput
from relink.objects.script import LinkScript, MemoryRegion
from relink.objects.script_errors import ScriptError
from relink.objects.symbols import Symbols

_TABLES = {
    "__copy_table_start": (True, 0), "__copy_table_end": (True, 1),
    "__zero_table_start": (False, 0), "__zero_table_end": (False, 1),
}  # fmt: skip
#: Names in the start-up code of ST, Arm (CMSIS), newlib and picolibc. `__etext` is missing: it is the end of code
#: to some, and the load address of .data to others.
_USUAL = {
    "_sidata": ".data.load", "_sdata": ".data.start", "_edata": ".data.end", "edata": ".data.end",
    "__data_start__": ".data.start", "__data_end__": ".data.end", "__data_source": ".data.load",
    "_sbss": ".bss.start", "_ebss": ".bss.end", "__bss_start": ".bss.start", "__bss_start__": ".bss.start",
    "__bss_end__": ".bss.end", "_etext": ".text.end", "etext": ".text.end", "__tdata_source": ".tdata.load",
    "__tls_base": ".tdata.start",
}  # fmt: skip
_HEAP = ("end", "_end", "__end__", "__heap_start", "__HeapBase")  #: the end of what is placed in the data's region
_STACK = ("_estack", "__stack", "_stack_top", "__stack_top", "__StackTop", "__heap_end")  #: the end of that region
_GLOBAL_POINTER = "__global_pointer$"
_PLACE = re.compile(
    r"(?P<what>[\w.*-]+)\.(?P<which>start|end|load|size|origin|length)(?P<plus>[+-](?:0x)?[0-9a-fA-F]+)?"
)
_OF_SECTION, _OF_REGION = ("start", "end", "load", "size"), ("origin", "end", "length")


class _Value(NamedTuple):
    value: int
    is_number: bool  #: a size, not an address


class _Named(NamedTuple):
    """The output sections (of several with one name, the first) and regions that symbols may refer to, by name."""

    outputs: Mapping[str, PlacedOutput]
    regions: Mapping[str, MemoryRegion]


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name.removeprefix("."), flags=re.ASCII)


def _places(layout: PlacedLayout) -> Mapping[str, str]:
    """The names that output sections and regions define, with their places."""
    names = [output.name for output in layout.outputs]
    found = {name: place for name, place in _USUAL.items() if place.rpartition(".")[0] in names}
    for name in names:
        found |= {f"__{_word(name)}_{which}": f"{name}.{which}" for which in _OF_SECTION}
    for region in layout.script.regions:
        found |= {f"__{region.name}_{which}": f"{region.name}.{which}" for which in _OF_REGION}
    return found


def asked_for(symbols: Symbols, layout: PlacedLayout) -> dict[str, int]:
    """The symbols that the objects refer to and the script defines, with their rows; tables that they refer to are
    made.
    """
    known = {*layout.script.symbols, *_TABLES, *_places(layout)}
    if _data(layout) is not None:
        known |= {*_HEAP, *_STACK, _GLOBAL_POINTER}
    found = symbols.named(known.__contains__)
    layout.wants_tables = any(name in _TABLES for name in found)
    return found


def define(names: Mapping[str, int], symbols: Symbols, layout: PlacedLayout) -> None:
    """Define the symbols of `asked_for`, after layout. Raises ScriptError."""
    places = _places(layout)
    outputs = {output.name: output for output in reversed(layout.outputs)}
    named = _Named(outputs, {region.name: region for region in layout.script.regions})
    for name, row in names.items():
        found = _value(name, layout, places, named)
        symbols.value[row] = found.value & (1 << 64) - 1
        symbols.shndx[row] = SHN_ABS if found.is_number else 1
        symbols.other[row] |= np.uint8(Visibility.HIDDEN)


def _value(name: str, layout: PlacedLayout, places: Mapping[str, str], named: _Named) -> _Value:
    given = layout.script.symbols.get(name)
    if isinstance(given, int):
        return _Value(given, True)
    if given is None and name in _TABLES:
        copies, which = _TABLES[name]
        return _Value(layout.table_edges(copies=copies)[which], False)
    if given is not None or name in places:
        return _place(name, given or places[name], layout, named)
    data = _data(layout)
    assert data is not None
    if name in _HEAP:
        return _Value(max(o.end for o in layout.outputs if o.region is data.region), False)
    if name in _STACK:
        return _Value(data.region.end, False)
    small = next((o.address for o in layout.outputs if o.name == ".sdata"), data.address)
    return _Value(small + 0x800, False)


def _data(layout: PlacedLayout) -> PlacedOutput | None:
    """The output section whose region has heap and stack."""
    for name in (".bss", ".data"):
        if found := next((o for o in layout.outputs if o.name == name), None):
            return found
    return next((o for o in layout.outputs if o.kind in (RW, BSS, TLS)), None)


def _place(name: str, place: str, layout: PlacedLayout, named: _Named) -> _Value:
    """The value of a place such as ".data.load" or "ram.end-0x100". Raises ScriptError."""
    found = _PLACE.fullmatch(place.replace(" ", ""))
    if found is None:
        raise ScriptError(
            layout.name, f'symbol {name}: "{place}" is no place such as .data.load, ram.end or .bss.end+16'
        )
    what, which, plus = found["what"], found["which"], int(found["plus"] or "0", 0)
    output, region = named.outputs.get(what), named.regions.get(what)
    if output is not None and which in _OF_SECTION:
        values = {"start": output.address, "end": output.end, "load": output.load_address, "size": output.size}
    elif region is not None and which in _OF_REGION:
        values = {"origin": region.origin, "end": region.end, "length": region.length}
    else:
        problem = f'symbol {name}: "{place}" names no output section or region that has "{which}"'
        raise ScriptError(layout.name, problem)
    return _Value(values[which] + plus, which in ("size", "length"))


def entry_row(script: LinkScript, symbols: Symbols) -> int:
    """The row of the entry's symbol; 0 without an entry. Raises LinkError when it is not defined."""
    if script.entry is None:
        return 0
    row = symbols.find(script.entry)
    if row is None or symbols.shndx[row] == 0:
        raise LinkError(symbols.name, f"the script's entry {script.entry} is not defined")
    return row
