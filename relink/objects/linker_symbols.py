"""Symbols that a linker defines on reference: the GOT, the start and end of sections, the ends of the program.
Sources: GNU ld's default linker scripts; gABI and psABIs for `_GLOBAL_OFFSET_TABLE_` and `__global_pointer$`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

import numpy as np

from relink.arrays import Bools
from relink.elf.constants import SymbolBind, SymbolType, Visibility
from relink.elf.objects import UNDEFINED
from relink.errors import DuplicateSymbol
from relink.objects.combined import DESTRUCTORS, FIRST
from relink.objects.input_sections import BSS, CODE, INDEX_TABLE, InputSections
from relink.objects.layout import Layout
from relink.objects.symbols import Symbols

DSO_HANDLE = "__dso_handle"
_SECTION_EDGE = re.compile(r"__(?:start|stop)_[A-Za-z_]\w*", re.ASCII)  #: of sections named as C identifiers
GOT = "_GLOBAL_OFFSET_TABLE_"
_TLS_BASE = "_TLS_MODULE_BASE_"  #: the start of the image's TLS block: local dynamic TLS by descriptors
#: Computes the image offset of a linker-defined symbol.
_Place: TypeAlias = Callable[[Layout], int]


def _array_edge(names: tuple[str, ...], last: bool) -> _Place:
    def place(layout: Layout) -> int:
        found = layout.array(names)
        if found is None:
            return FIRST
        return found[0] + (found[1] * layout.arch.word_size if last else 0)

    return place


def _edge(last: bool, chosen: Callable[[InputSections], Bools]) -> _Place:
    """The start or end of the chosen sections; the same offset for both when there are none."""
    return lambda layout: (layout.edges(chosen) or (FIRST, FIRST))[last]


def _index_tables(sections: InputSections) -> Bools:
    return sections.named(lambda name: name.startswith(INDEX_TABLE))


def _before_bss(layout: Layout) -> int:
    return max((last for kind, _, last in layout.segments if kind != BSS), default=FIRST)


def _nowhere(layout: Layout) -> int:
    return FIRST


_PLACES: Mapping[str, _Place] = {
    GOT: lambda layout: layout.got,
    DSO_HANDLE: _nowhere,
    "__ehdr_start": lambda layout: 0,
    "__executable_start": lambda layout: 0,
    **dict.fromkeys(("etext", "_etext", "__etext"), _edge(True, lambda s: s.of_kinds(*CODE))),
    **dict.fromkeys(("edata", "_edata", "__bss_start"), _before_bss),
    **dict.fromkeys(("end", "_end"), lambda layout: layout.end),
    "__global_pointer$": lambda layout: layout.got + 0x800,
    "__init_array_start": _array_edge((".init_array", ".ctors"), False),
    "__init_array_end": _array_edge((".init_array", ".ctors"), True),
    "__fini_array_start": _array_edge(DESTRUCTORS, False),
    "__fini_array_end": _array_edge(DESTRUCTORS, True),
    "__preinit_array_start": _array_edge((".preinit_array",), False),
    "__preinit_array_end": _array_edge((".preinit_array",), True),
    "__exidx_start": _edge(False, _index_tables),
    "__exidx_end": _edge(True, _index_tables),
    # The loader resolves ifuncs, so a static C library must find an empty IRELATIVE table.
    **dict.fromkeys(("__rela_iplt_start", "__rela_iplt_end", "__rel_iplt_start", "__rel_iplt_end"), _nowhere),
}


def asked_for(symbols: Symbols) -> dict[str, int]:
    """The linker-defined symbols that the objects refer to and do not define, with their rows."""
    return symbols.named(lambda name: name in _PLACES or name == _TLS_BASE or bool(_SECTION_EDGE.fullmatch(name)))


_NAMES = frozenset(name.encode() for name in (*_PLACES, _TLS_BASE))


def names_of_linker(names: Collection[bytes], strings: bytes) -> set[bytes]:
    """The names, from a string table, of which a linker may define a symbol."""
    found = set(_NAMES.intersection(names))
    if b"__st" in strings:
        found.update(name for name in names if name.startswith((b"__start_", b"__stop_")))
    return found


def redefined(symbols: Symbols) -> list[DuplicateSymbol]:
    """An error if an object defines `_GLOBAL_OFFSET_TABLE_`: relocations refer to the linker's, whatever it is."""
    row = symbols.find(GOT)
    if row is None or symbols.section[row] == UNDEFINED:
        return []
    return [DuplicateSymbol(symbols.name, GOT, "the linker", symbols.file_of(row))]


def define(names: Mapping[str, int], symbols: Symbols, layout: Layout) -> None:
    """Define the symbols of `asked_for` once the layout is known; they are hidden from other images."""
    for name, row in names.items():
        if name == _TLS_BASE:
            if layout.thread_local.any():
                symbols.shndx[row], symbols.info[row] = 1, SymbolBind.GLOBAL << 4 | SymbolType.TLS
                symbols.other[row] |= np.uint8(Visibility.HIDDEN)
            continue
        place = _PLACES[name](layout) if name in _PLACES else _section_edge(name, layout)
        if place is not None:
            symbols.value[row], symbols.shndx[row] = place, 1
            symbols.other[row] |= np.uint8(Visibility.HIDDEN)


def _section_edge(name: str, layout: Layout) -> int | None:
    """The value of `__start_x` or `__stop_x`: an edge of the sections named x."""
    stop = name.startswith("__stop_")
    section = name.removeprefix("__stop_" if stop else "__start_")
    edges = layout.edges(lambda sections: sections.named(section.__eq__), empty=True)
    return edges[stop] if edges else None
