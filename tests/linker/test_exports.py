"""A load reads only the export names that are looked up; an export name that cannot be read is still an error."""

from __future__ import annotations

import numpy as np
import pytest

from relink import MalformedElf
from relink.elf import decode
from relink.elf.strings import StringTable
from tests.linker.craft import DATA, Library, Rel, Sym, undefined
from tests.linker.helpers import linker_for
from tests.linker.numbers import SYMBOLIC

ARCH = "x86_64"


def test_names_nobody_asks_for_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    exports = [Sym(f"export{number}", DATA + number) for number in range(2000)]
    measured = 0
    real = StringTable.names

    def counting(self: StringTable, offsets: object, what: str, **more: bool) -> object:
        nonlocal measured
        measured += len(offsets)  # type: ignore[arg-type]
        return real(self, offsets, what, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(StringTable, "names", counting)
    wanted = [undefined(f"export{number}") for number in range(3)]
    relocations = [Rel(DATA + 8 * at, SYMBOLIC[ARCH], symbol) for at, symbol in enumerate(wanted)]
    library = Library(ARCH, "liba.so", symbols=exports, hashes=("gnu",))
    user = Library(ARCH, "user.so", ["liba.so"], symbols=wanted, relocations=relocations)
    linker = linker_for(ARCH, library, user)
    linker.load("liba.so")
    assert measured == 0
    linker.load("user.so")
    assert 0 < measured < 50
    assert linker.images[0].symbol("export1999").value == linker.images[0].address_of(DATA + 1999)
    assert measured < 60


def test_the_names_of_some_are_those_of_all() -> None:
    image = Library(ARCH, symbols=[Sym(f"name{'x' * number}", DATA) for number in range(600)]).image()
    some, every = decode(image).symbols, decode(image).symbols
    for _ in range(200):  # as often as it may be asked
        for symbols in map(np.array, ([1], [599, 3, 3], range(1, 34))):
            assert some.names_of(symbols).texts() == every.names.take(symbols).texts()
    assert "names" not in some.__dict__


def test_a_name_outside_the_table_is_an_error_for_those_who_ask_for_another() -> None:
    library = Library(ARCH, symbols=[Sym(f"export{number}", DATA) for number in range(200)])
    image = bytearray(library.image())
    table = decode(bytes(image)).dynamic.value(6)
    assert table is not None
    image[table + 24 * 150 : table + 24 * 150 + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(MalformedElf, match="lies outside"):
        decode(bytes(image)).symbols.find("export7")
    with pytest.raises(MalformedElf, match="lies outside"):
        decode(bytes(image)).symbols.names_of(np.array([7]))
