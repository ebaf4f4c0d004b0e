"""The definitions of all images of a scope by name, where these are certain: for the references of a whole load.

Most libraries export few names, each once, without versions of their own. What a look-up of such a name finds does
not depend on who asks, and is kept with the file. The answers of a scope are put together from those of its files,
one step each (`ScopeNames`), and a reference then takes one look-up in a dictionary. Where the answer depends on
the request (versions, PLT entries, ifuncs, unique symbols), or a file exports many names, the usual walk answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from relink.arrays import U64
from relink.elf import Decoded, SymbolTable
from relink.elf.constants import SHN_ABS, SHN_UNDEF, SymbolBind, SymbolType
from relink.elf.hashes import GnuHash
from relink.errors import ElfError
from relink.memory.once import once_per_file
from relink.module import Module
from relink.records import cached_property
from relink.resolve.definitions import usable_of

#: A file that exports more names is asked for each of them.
MOST = 64
_UNIQUE, _IFUNC, _TLS = int(SymbolBind.GNU_UNIQUE), int(SymbolType.GNU_IFUNC), int(SymbolType.TLS)
_numbers = count()


class Export(NamedTuple):
    """A definition that does not depend on the request."""

    file: int  #: the number of the file
    value: int
    size: int
    type: int
    symbol: int  #: index in the file's symbol table
    rebased: bool  #: whether its address is the value plus the load bias


class Exports(NamedTuple):
    """The definitions of a file by name; None for a name whose definition depends on the request."""

    file: int
    by_name: dict[bytes, Export | None]


@once_per_file
def exports_of(decoded: Decoded) -> Exports | None:
    """The definitions that look-ups find in a file; None for a file that must be searched for each request."""
    try:
        table, found = decoded.symbols, Exports(next(_numbers), {})
        hashes = table.hash_table
        if not len(table):
            return found
        if not isinstance(hashes, GnuHash) or len(hashes.chain) > MOST:
            return None
        names = table.names_of(np.arange(hashes.first, hashes.count))
        for place, gnu_hash in enumerate(names.gnu_hash.tolist()):
            name = names.raw(place)
            # A PLT entry of a program (undefined, with a value) is what its address is, not what is called.
            usable, callable_ = (usable_of(table, name, gnu_hash, call=call) for call in (False, True))
            if usable is None or callable_ is None:
                return None
            if usable or callable_:
                certain = len(usable) == 1 and usable == callable_
                found.by_name[name] = export(table, usable[0], found.file) if certain else None
    except ElfError:
        return None  # a look-up reports it
    return found


def export(table: SymbolTable, symbol: int, file: int = -1) -> Export | None:
    """A symbol as an `Export`; None for one whose binding takes more than its address."""
    row = table.row(symbol)
    if row.section == SHN_UNDEF or row.bind == _UNIQUE or row.type == _IFUNC:
        return None
    if table.versym is not None and int(table.version[symbol]) > 1:  # 0, 1: for any request (glibc, `check_match`)
        return None
    rebased = row.section != SHN_ABS and row.type != _TLS
    return Export(file, row.value, row.size, row.type, symbol, rebased)


class ScopeNames:
    """The definitions in a list of images, in which names are looked up in order."""

    def __init__(self, images: Sequence[Module]) -> None:
        self.images = images
        self.positions: dict[int, int] = {}  #: the number of a file -> its first position in the list
        self.by_name: dict[bytes, Export | None] = {}
        self.certain = len(images)  #: the positions below are answered here
        for position in range(len(images) - 1, -1, -1):
            found = exports_of(images[position].decoded)
            if found is None:
                self.certain = position
            else:
                self.by_name.update(found.by_name)
                self.positions[found.file] = position

    @cached_property
    def bias(self) -> U64:
        """The load biases of the images."""
        return np.array([image.bias for image in self.images], np.uint64)

    def find(self, names: Sequence[bytes]) -> list[Export | None] | None:
        """The definition of each name, None for a name that no image defines.

        None in place of the list if the index cannot answer for one of them, and each name has to be looked up
        image by image.
        """
        found, partly = list(map(self.by_name.get, names)), self.certain < len(self.images)
        if None in found:
            odd = any(one is None and name in self.by_name for name, one in zip(names, found, strict=True))
            return None if odd or partly else found
        late = partly and any(one is not None and self.positions[one.file] > self.certain for one in found)
        return None if late else found
