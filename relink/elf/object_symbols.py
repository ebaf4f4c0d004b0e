"""The symbol table of a relocatable object, as arrays: SHT_SYMTAB with its SHT_SYMTAB_SHNDX.

gABI chapter 4, "Symbol Table" and "Special Section Indexes".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from relink.arrays import I64, U8, U32, AnyArray, Bools
from relink.elf.constants import (
    SHN_ABS,
    SHN_COMMON,
    SHN_LORESERVE,
    SHN_X86_64_LCOMMON,
    SHN_XINDEX,
    Binding,
    Machine,
    SymbolType,
)
from relink.elf.contents import frozen
from relink.elf.layout import ELF64
from relink.elf.strings import StringTable
from relink.elf.symbols import SymbolRows
from relink.errors import MalformedElf, UnsupportedElf

#: What `ObjectSymbols.section` holds in place of a section's index.
UNDEFINED, ABSOLUTE, COMMON = 0, -1, -2

#: The letters behind `$` in the mapping symbols of a machine (AAELF32 5.5.5, AAELF64 5.5.4, RISC-V psABI
#: "Mapping Symbol"): A32 code, Thumb code, data, A64 or RISC-V code.
_MAPPING_LETTERS = {Machine.ARM: b"atd", Machine.AARCH64: b"xd", Machine.RISCV: b"xd"}
_RESERVED = {SHN_ABS: ABSOLUTE, SHN_COMMON: COMMON}
#: x86-64's large common is common to a linker that places every section in reach (AMD64 psABI 4.1, 4.2).
_RESERVED_OF = {Machine.X86_64: {SHN_X86_64_LCOMMON: COMMON}}


@dataclass(frozen=True, eq=False)
class ObjectSymbols(SymbolRows):
    """One row per symbol, row 0 the undefined symbol; all arrays read-only.

    `section` (int64[n]) is the index of the section that defines each, `UNDEFINED` (0), `ABSOLUTE` (-1) or
    `COMMON` (-2, `value` then is an alignment); extended indices are resolved. `first_global` is the index of
    the first symbol that is not local. `value` is an offset in the defining section, or what `section` says
    otherwise.
    """

    section: I64
    first_global: int
    machine: int

    @cached_property
    def defined_globals(self) -> I64:
        """Indices of the symbols this object offers others: neither local nor undefined (commons count)."""
        offered = self.section[self.first_global :] != UNDEFINED
        return frozen(np.flatnonzero(offered) + self.first_global)

    @cached_property
    def undefined(self) -> I64:
        """Indices of the symbols others must define, weak ones too; symbol 0 is none of them."""
        wanted = self.section[self.first_global :] == UNDEFINED
        found = np.flatnonzero(wanted) + self.first_global
        return frozen(found[found != 0])

    @cached_property
    def mapping(self) -> U8:
        """The letter of each mapping symbol (`ord("a")`, t, d, x), 0 for other symbols; uint8[n].

        A mapping symbol is local, of no type, and named `$` and a letter, then nothing or a dot and anything
        (on RISC-V `$x` may also name an ISA: `$xrv64imafdc`).
        """
        found = np.zeros(len(self), np.uint8)
        letters = _MAPPING_LETTERS.get(self.machine)  # type: ignore[call-overload]
        if letters is None or not len(self):
            return frozen(found)
        names = self.names
        # Binding LOCAL is 0. LLVM makes a TLS symbol of a mapping symbol in .tdata.
        plain = (self.info == int(SymbolType.NOTYPE)) | (self.info == int(SymbolType.TLS))
        some = np.flatnonzero(plain & (names.length >= 2))
        some = some[names.blob[names.start[some]] == ord("$")]
        letter = names.blob[names.start[some] + 1]
        # A name of two letters ends with the NUL that a string table's every name has.
        behind = names.blob[names.start[some] + 2]
        good = np.isin(letter, list(letters)) & ((behind == 0) | (behind == ord(".")))
        if self.machine == Machine.RISCV:
            good |= (letter == ord("x")) & (behind == ord("r"))
        found[some[good]] = letter[good]
        return frozen(found)

    @cached_property
    def is_mapping(self) -> Bools:
        """bool[n]: which are mapping symbols, that name no place a program knows of."""
        return frozen(self.mapping != 0)


def no_symbols(name: str, machine: int) -> ObjectSymbols:
    """The symbols of an object without a symbol table."""
    strings = StringTable(name, frozen(np.empty(0, np.uint8)))
    return ObjectSymbols(frozen(np.empty(0, ELF64.symbol)), strings, frozen(np.empty(0, np.int64)), 0, machine)


def symbol_sections(
    name: str,
    records: AnyArray,
    extended: U32 | None,
    section_count: int,
    machine: int,
) -> I64:
    """What `ObjectSymbols.section` holds, from st_shndx and the rows of SHT_SYMTAB_SHNDX.

    Raises MalformedElf for an index out of range or SHN_XINDEX without a table, UnsupportedElf for a reserved
    index that has no meaning on this machine.
    """
    section: I64 = records["shndx"].astype(np.int64)
    reserved = np.flatnonzero(section >= SHN_LORESERVE)
    raw = section[reserved]
    if len(reserved):
        section[reserved] = UNDEFINED
    # Before the reserved indices get their meaning: an extended one may have any number.
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
    meanings = _RESERVED | _RESERVED_OF.get(machine, {})  # type: ignore[call-overload]
    for index in np.unique(raw[~behind]).tolist():
        if index not in meanings:
            symbol = int(reserved[raw == index][0])
            raise UnsupportedElf(
                name, f"symbol {symbol} has the reserved st_shndx {index:#x}, without a meaning on this machine"
            )
        section[reserved[raw == index]] = meanings[index]
    return frozen(section)


def check_order(name: str, info: U8, first_global: int) -> None:
    """All local symbols come first, and sh_info says where they end (gABI, "sh_link and sh_info")."""
    is_local = info >> np.uint8(4) == Binding.LOCAL
    if not is_local[:first_global].all():
        symbol = int(is_local[:first_global].argmin())
        raise MalformedElf(name, f"symbol {symbol} is not local, sh_info says the first {first_global} are")
    if is_local[first_global:].any():
        symbol = first_global + int(is_local[first_global:].argmax())
        raise MalformedElf(name, f"symbol {symbol} is local, sh_info says only the first {first_global} are")
