"""Names a linker defines when somebody asks for them: the GOT, the edges of sections, the program's ends.

GNU ld's default linker scripts; gABI and psABIs for `_GLOBAL_OFFSET_TABLE_` and `__global_pointer$`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from relink.objects.combined import BSS, DESTRUCTORS, FIRST, INDEX_TABLE, RX, InputSection

if TYPE_CHECKING:
    from relink.objects.combine import Combiner

#: Where a name a linker defines lies: given the combiner, the GOT's offset and the image's end, an image offset.
_Place: TypeAlias = "Callable[[Combiner, int, int], int]"


def _array_edge(names: tuple[str, ...], last: bool) -> _Place:
    def place(combiner: Combiner, got: int, end: int) -> int:
        found = combiner.array(names)
        if found is None:
            return FIRST
        return found[0] + (found[1] * combiner.arch.word_size if last else 0)

    return place


def _edge(last: bool, chosen: Callable[[InputSection], bool]) -> _Place:
    """Start or end of some sections; an empty range where there are none."""
    return lambda combiner, got, end: (combiner.edges(chosen) or (FIRST, FIRST))[last]


def _before_bss(combiner: Combiner, got: int, end: int) -> int:
    return max((last for kind, _, last in combiner.segments if kind != BSS), default=FIRST)


def _nowhere(combiner: Combiner, got: int, end: int) -> int:
    return FIRST


LINKER_SYMBOLS: Mapping[str, _Place] = {
    "_GLOBAL_OFFSET_TABLE_": lambda combiner, got, end: got,
    "__dso_handle": _nowhere,
    "__ehdr_start": lambda combiner, got, end: 0,
    "__executable_start": lambda combiner, got, end: 0,
    **dict.fromkeys(("etext", "_etext", "__etext"), _edge(True, lambda s: s.kind == RX)),
    **dict.fromkeys(("edata", "_edata", "__bss_start"), _before_bss),
    **dict.fromkeys(("end", "_end"), lambda combiner, got, end: end),
    "__global_pointer$": lambda combiner, got, end: got + 0x800,
    "__init_array_start": _array_edge((".init_array", ".ctors"), False),
    "__init_array_end": _array_edge((".init_array", ".ctors"), True),
    "__fini_array_start": _array_edge(DESTRUCTORS, False),
    "__fini_array_end": _array_edge(DESTRUCTORS, True),
    "__preinit_array_start": _array_edge((".preinit_array",), False),
    "__preinit_array_end": _array_edge((".preinit_array",), True),
    "__exidx_start": _edge(False, lambda s: s.name.startswith(INDEX_TABLE)),
    "__exidx_end": _edge(True, lambda s: s.name.startswith(INDEX_TABLE)),
    # Ifuncs are resolved by the loader, so a static C library finds no IRELATIVE entries of its own.
    **dict.fromkeys(("__rela_iplt_start", "__rela_iplt_end", "__rel_iplt_start", "__rel_iplt_end"), _nowhere),
}
