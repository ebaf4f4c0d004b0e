"""Every checked field at both ends of its range, and one past each."""

from __future__ import annotations

import pytest

from relink import ARCHITECTURES, RelocationOverflow
from relink.arch.fields import Word
from tests.grouping import by, each
from tests.linker.craft import ABS, DATA, REL_ARCHES, TLS, Library, Rel, Sym
from tests.linker.helpers import load, word_at
from tests.linker.test_relocations import ARCHES, data_types, every_arch, is_tls

#: (arch, type): (lowest, highest) value of the field, from the psABIs.
S8, S16, S32 = (-0x80, 0xFF), (-0x8000, 0xFFFF), (-0x80000000, 0xFFFFFFFF)
SIGNED32, UNSIGNED32 = (-0x80000000, 0x7FFFFFFF), (0, 0xFFFFFFFF)
LIMITS = {
    ("x86_64", 2): SIGNED32, ("x86_64", 10): UNSIGNED32, ("x86_64", 11): SIGNED32, ("x86_64", 12): S16,
    ("x86_64", 13): (-0x8000, 0x7FFF), ("x86_64", 14): S8, ("x86_64", 15): (-0x80, 0x7F), ("x86_64", 21): SIGNED32,
    ("x86_64", 23): SIGNED32, ("x86_64", 32): UNSIGNED32,
    ("i386", 20): S16, ("i386", 21): S16, ("i386", 22): S8, ("i386", 23): (-0x80, 0x7F),
    ("aarch64", 258): S32, ("aarch64", 259): S16, ("aarch64", 261): S32, ("aarch64", 262): S16,
    ("arm", 5): S16, ("arm", 8): S8,
    ("riscv64", 1): S32, ("riscv64", 8): S32, ("riscv64", 10): S32, ("riscv64", 57): SIGNED32,
    ("loongarch64", 1): S32, ("loongarch64", 8): S32, ("loongarch64", 10): S32, ("loongarch64", 99): SIGNED32,
}  # fmt: skip


def test_every_type_narrower_than_an_address_has_its_range_tested() -> None:
    narrow = {
        (arch, number)
        for arch in ARCHES
        for number in data_types(arch)
        for row in [ARCHITECTURES[arch].relocations[number]]
        if row.word is not None
        and row.formula is not None
        and row.formula.text != "M"
        and row.word.size < ARCHITECTURES[arch].word_size
    }
    assert narrow == set(LIMITS)


def giving(arch: str, number: int, value: int, place: int, base: int) -> Library:
    """A library whose one relocation comes to exactly `value`."""
    row = ARCHITECTURES[arch].relocations[number]
    assert row.formula is not None
    letters = row.formula.letters
    bias = base
    if is_tls(arch, number):
        probe = load(Library(arch, tls=(b"tls!", 64, 16)))
        assert probe.tls is not None
        bias_ = 0x800 if arch.startswith("riscv") and "DTV" in letters else 0
        symbol = Sym("s", 0, type=TLS)
        addend = value + bias_ - (probe.tls.offset if "T" in letters else 0)
        return Library(
            arch, symbols=[symbol], relocations=[Rel(place, number, symbol, addend)], tls=(b"tls!", 64, 16)
        )
    if "Z" in letters:
        symbol = Sym("s", size=8)
        return Library(arch, symbols=[symbol], relocations=[Rel(place, number, symbol, value - 8)])
    target = value + (place + bias if "P" in letters else 0)
    if arch in REL_ARCHES:
        return Library(arch, symbols=[Sym("s", target, section=ABS)], relocations=[Rel(place, number, "s")])
    return Library(
        arch, symbols=[Sym("s", 0x10, section=ABS)], relocations=[Rel(place, number, "s", target - 0x10)]
    )


@by(("arch", "number"), LIMITS)
@each("end", ["lowest", "highest"])
def test_a_value_at_the_end_of_its_range_is_stored_and_one_past_is_an_overflow(
    arch: str, number: int, end: str
) -> None:
    low, high = LIMITS[arch, number]
    value, past = (low, low - 1) if end == "lowest" else (high, high + 1)
    row = ARCHITECTURES[arch].relocations[number]
    assert isinstance(row.word, Word)
    place, base = DATA + 0x40, 0x5000_0000
    image = load(giving(arch, number, value, place, base), base=base)
    assert word_at(image, place, row.word.size) == value % (1 << row.word.bits)
    with pytest.raises(RelocationOverflow, match="does not fit") as caught:
        load(giving(arch, number, past, place, base), base=base)
    assert caught.value.type_name == ARCHITECTURES[arch].prefix + row.name
    assert caught.value.offset == place
    assert caught.value.formula == row.formula.text  # type: ignore[union-attr]


@pytest.mark.parametrize(("arch", "number"), [("i386", 21), ("i386", 22), ("arm", 8)])
def test_on_a_32_bit_isa_minus_one_is_all_ones_and_fits_a_narrow_field(arch: str, number: int) -> None:
    place = DATA + 0x40
    library = Library(arch, symbols=[Sym("s", 0xFFFFFFFF, section=ABS)], relocations=[Rel(place, number, "s")])
    if number == 21:  # PC16: a distance across the top of the address space
        library.symbols = [Sym("s", (place + 0x4000_0000 - 1) & 0xFFFFFFFF, section=ABS)]
    image = load(library, base=0x4000_0000)
    size = ARCHITECTURES[arch].relocations[number].word.size  # type: ignore[union-attr]
    assert word_at(image, place, size) == (1 << 8 * size) - 1


@every_arch
def test_an_overflow_among_good_entries_stops_the_load(arch: str) -> None:
    number = {"x86_64": 14, "i386": 22, "aarch64": 259, "arm": 8, "riscv64": 1, "loongarch64": 1}.get(arch)
    if number is None:
        pytest.skip("riscv32 has no dynamic type narrower than an address")
    symbols = [
        Sym("good", 1, section=ABS),
        Sym("bad", 1 << 32 if ARCHITECTURES[arch].bits == 64 else 0x12345, section=ABS),
    ]
    entries = [Rel(DATA + 8 * n, number, "bad" if n == 7 else "good") for n in range(16)]
    with pytest.raises(RelocationOverflow) as caught:
        load(Library(arch, symbols=symbols, relocations=entries))
    assert (caught.value.offset, caught.value.symbol) == (DATA + 56, "bad")
