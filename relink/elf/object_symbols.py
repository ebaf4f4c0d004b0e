"""The symbol table of a relocatable object, as arrays: SHT_SYMTAB with its SHT_SYMTAB_SHNDX.

gABI chapter 4, "Symbol Table" and "Special Section Indexes".
"""

from __future__ import annotations

import numpy as np

from relink.arch import Architecture
from relink.arrays import I64, U8, U32, AnyArray, distinct, indices_where
from relink.elf.constants import (
    SHN_ABS,
    SHN_COMMON,
    SHN_LORESERVE,
    SHN_XINDEX,
    SymbolBind,
    SymbolType,
)
from relink.elf.contents import frozen
from relink.elf.layout import ELF64
from relink.elf.strings import StringTable
from relink.elf.symbols import SymbolRows
from relink.errors import MalformedElf, UnsupportedElf
from relink.records import cached_property, dataclass

#: Values of `ObjectSymbols.section` that are not section indices.
UNDEFINED, ABSOLUTE, COMMON = 0, -1, -2

_LOCAL = int(SymbolBind.LOCAL)
_RESERVED = {SHN_ABS: ABSOLUTE, SHN_COMMON: COMMON}


@dataclass(frozen=True, eq=False)
class ObjectSymbols(SymbolRows):
    """One row per symbol, row 0 the undefined symbol; all arrays read-only.

    `section` (int64[n]) is the index of the defining section, or `UNDEFINED` (0), `ABSOLUTE` (-1) or `COMMON`
    (-2); extended indices are resolved. `value` is an offset in the defining section, an address for `ABSOLUTE`
    and an alignment for `COMMON`. `first_global` is the index of the first symbol that is not local.
    """

    section: I64
    first_global: int
    arch: Architecture | None  #: None for an unsupported e_machine

    @cached_property
    def defined_globals(self) -> I64:
        """Indices of the symbols this object defines for others: not local and not undefined; common symbols
        included.
        """
        offered = self.section[self.first_global :] != UNDEFINED
        return frozen(indices_where(offered) + self.first_global)

    @cached_property
    def undefined(self) -> I64:
        """Indices of the undefined symbols, weak ones included, without symbol 0."""
        wanted = self.section[self.first_global :] == UNDEFINED
        found = indices_where(wanted) + self.first_global
        return frozen(found[found != 0])

    @cached_property
    def mapping(self) -> U8:
        """The letter of each mapping symbol (`ord("a")`, t, d, x), 0 for other symbols; uint8[n].

        A mapping symbol is local, has type NOTYPE, and is named `$` and a letter, optionally followed by a dot and
        any text (on RISC-V `$x` may be followed by an ISA string: `$xrv64imafdc`).
        """
        found = np.zeros(len(self), np.uint8)
        letters = b"" if self.arch is None else self.arch.mapping_symbols
        if not letters or self.arch is None or not len(self):
            return frozen(found)
        names = self.names
        # SymbolBind LOCAL is 0. LLVM gives mapping symbols in .tdata the type TLS.
        plain = (self.info == int(SymbolType.NOTYPE)) | (self.info == int(SymbolType.TLS))
        some = indices_where(plain & (names.length >= 2))
        some = some[names.blob[names.start[some]] == ord("$")]
        letter = names.blob[names.start[some] + 1]
        # The byte after a two-letter name is the terminating NUL.
        behind = names.blob[names.start[some] + 2]
        good = np.isin(letter, list(letters)) & ((behind == 0) | (behind == ord(".")))
        if self.arch.mapping_names_isa:
            good |= (letter == ord("x")) & (behind == ord("r"))
        found[some[good]] = letter[good]
        return frozen(found)


def no_symbols(name: str, arch: Architecture | None) -> ObjectSymbols:
    """The empty symbol table, for an object without one."""
    strings = StringTable(name, frozen(np.empty(0, np.uint8)))
    return ObjectSymbols(frozen(np.empty(0, ELF64.symbol)), strings, frozen(np.empty(0, np.int64)), 0, arch)


def symbol_sections(
    name: str,
    records: AnyArray,
    extended: U32 | None,
    section_count: int,
    arch: Architecture | None,
) -> I64:
    """Compute `ObjectSymbols.section` from st_shndx and the rows of SHT_SYMTAB_SHNDX.

    Raises MalformedElf for an index out of range or SHN_XINDEX without a table, UnsupportedElf for a reserved
    index that has no meaning on this machine.
    """
    section: I64 = records["shndx"].astype(np.int64)
    reserved = indices_where(section >= SHN_LORESERVE)
    raw = section[reserved]
    if len(reserved):
        section[reserved] = UNDEFINED
    # Check before reserved indices are translated: an extended index may have any value.
    behind = raw == SHN_XINDEX
    if behind.any():
        if extended is None:
            symbol = int(reserved[behind][0])
            raise MalformedElf(name, f"symbol {symbol} has st_shndx SHN_XINDEX, and there is no SHT_SYMTAB_SHNDX")
        section[reserved[behind]] = extended[reserved[behind]]
    if len(section) and int(section.max()) >= section_count:
        symbol = int(section.argmax())
        raise MalformedElf(
            name, f"symbol {symbol} is defined in section {int(section[symbol])}, there are {section_count}"
        )
    meanings = dict(_RESERVED)
    if arch is not None and arch.large_common is not None:
        meanings[arch.large_common] = COMMON
    for index in distinct(raw[~behind]).tolist():
        if index not in meanings:
            symbol = int(reserved[raw == index][0])
            raise UnsupportedElf(
                name, f"symbol {symbol} has the reserved st_shndx {index:#x}, which has no meaning on this machine"
            )
        section[reserved[raw == index]] = meanings[index]
    return frozen(section)


def check_order(name: str, info: U8, first_global: int) -> None:
    """Check that all local symbols come first and that sh_info is their number (gABI, "sh_link and sh_info")."""
    is_local = info >> np.uint8(4) == _LOCAL
    if not is_local[:first_global].all():
        symbol = int(is_local[:first_global].argmin())
        raise MalformedElf(name, f"symbol {symbol} is not local, but sh_info gives {first_global} local symbols")
    if is_local[first_global:].any():
        symbol = first_global + int(is_local[first_global:].argmax())
        raise MalformedElf(name, f"symbol {symbol} is local, but sh_info gives only {first_global} local symbols")
