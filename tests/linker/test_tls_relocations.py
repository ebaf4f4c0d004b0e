"""Relocations of thread-local storage and ifuncs, and of symbols that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from relink import (
    ARCHITECTURES,
    LoadOptions,
    MalformedElf,
    TlsError,
)
from relink.relocate.result import finish_ifuncs
from tests.linker.craft import (
    DATA,
    FUNC,
    IFUNC,
    OBJECT,
    TLS,
    WEAK,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.helpers import linker_for, load, word_at
from tests.linker.numbers import DTPMOD, SYMBOLIC, TPOFF
from tests.linker.reference import IRELATIVE
from tests.linker.test_relocations import every_arch


@every_arch
def test_a_tls_relocation_without_a_module_is_a_tls_error(arch: str) -> None:
    for number in (TPOFF[arch], DTPMOD[arch]):
        with pytest.raises(TlsError, match="no thread-local definition"):
            load(Library(arch, symbols=[Sym("t", 4, type=TLS)], relocations=[Rel(DATA, number, "t")]))
        with pytest.raises(TlsError):
            load(Library(arch, relocations=[Rel(DATA, number)]))


@every_arch
def test_a_tls_relocation_against_ordinary_data_is_a_tls_error(arch: str) -> None:
    library = Library(
        arch, symbols=[Sym("d", type=OBJECT)], tls=(b"", 8, 8), relocations=[Rel(DATA, TPOFF[arch], "d")]
    )
    with pytest.raises(TlsError):
        load(library)


@every_arch
def test_a_tls_relocation_against_a_host_address_is_a_tls_error(arch: str) -> None:
    library = Library(
        arch, symbols=[undefined("h", type=TLS)], tls=(b"", 8, 8), relocations=[Rel(DATA, TPOFF[arch], "h")]
    )
    with pytest.raises(TlsError):
        load(library, defined={"h": 0x1000})


@every_arch
def test_symbol_zero_means_the_image_s_own_module(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    library = Library(
        arch, tls=(b"abcd", 32, 16), relocations=[Rel(DATA, DTPMOD[arch]), Rel(DATA + 8, TPOFF[arch])]
    )
    image = load(library)
    assert image.tls is not None
    assert word_at(image, DATA, size) == image.tls.id
    assert word_at(image, DATA + 8, size) == image.tls.offset % (1 << 8 * size)


@every_arch
def test_a_section_symbol_means_the_image_s_own_module_and_no_offset(arch: str) -> None:
    """Linkers for Arm write it for a module id (libLLVM, libclang)."""
    section = Sym("", DATA, bind=0, type=3)
    library = Library(
        arch, symbols=[section], tls=(b"abcd", 32, 16), relocations=[Rel(DATA, DTPMOD[arch], section)]
    )
    image = load(library)
    assert image.tls is not None
    assert word_at(image, DATA, ARCHITECTURES[arch].word_size) == image.tls.id
    with pytest.raises(TlsError):
        load(Library(arch, symbols=[section], tls=(b"", 8, 8), relocations=[Rel(DATA, TPOFF[arch], section)]))


@every_arch
def test_an_undefined_weak_tls_symbol_is_zero(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    library = Library(
        arch,
        symbols=[undefined("w", WEAK, type=TLS)],
        tls=(b"", 8, 8),
        relocations=[Rel(DATA, DTPMOD[arch], "w"), Rel(DATA + 8, TPOFF[arch], "w")],
    )
    image = load(library)
    assert word_at(image, DATA, size) == word_at(image, DATA + 8, size) == 0
    assert image.relocated.weak_unresolved == ["w"]


@every_arch
def test_ifunc_places_are_left_to_the_machine_with_all_it_needs(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    data = bytearray(0x400)
    data[0:size] = (0x500).to_bytes(size, "little")
    library = Library(
        arch,
        symbols=[Sym("i", 0x600, type=IFUNC), Sym("f", 0x700, type=FUNC)],
        data=bytes(data),
        relocations=[
            Rel(DATA, IRELATIVE[arch], None, 0x500),
            Rel(DATA + 8, SYMBOLIC[arch], "i"),
            Rel(DATA + 16, SYMBOLIC[arch], "f"),
            Rel(DATA + 24, SYMBOLIC[arch], "i"),
        ],
    )
    linker = linker_for(arch)
    with linker.begin(library.image()) as load:
        load.run_to("relocate")
        plan = load.plan
        found = {
            int(place): int(resolver)
            for calls in plan.ifuncs
            for place, resolver in zip(calls.place, calls.resolver, strict=True)
        }
        image = plan.root
        assert found == {
            image.address_of(DATA): image.address_of(0x500),
            image.address_of(DATA + 8): image.address_of(0x600),
            image.address_of(DATA + 24): image.address_of(0x600),
        }
        for calls in plan.ifuncs:
            answers = np.full(len(calls.place), 0x4321, np.uint64)
            assert finish_ifuncs(calls, answers).tolist() == [0x4321] * len(answers)
        load.finish()
    assert word_at(image, DATA + 16, size) == image.address_of(0x700)
    assert word_at(image, DATA + 8, size) == 0


@every_arch
def test_a_relocation_that_names_a_symbol_past_the_table_is_malformed(arch: str) -> None:
    with pytest.raises(MalformedElf):
        load(Library(arch, symbols=[Sym("s")], relocations=[Rel(DATA, SYMBOLIC[arch], 99)]))


@every_arch
def test_an_unresolved_symbol_may_be_left_open_on_request(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    library = Library(arch, symbols=[undefined("gone")], relocations=[Rel(DATA, SYMBOLIC[arch], "gone")])
    linker = linker_for(arch)
    image = linker.load(library.image(), options=LoadOptions(unresolved=lambda image, symbol: 0x1230))
    assert word_at(image, DATA, size) == 0x1230
    assert image.relocated.unresolved == ["gone"]
