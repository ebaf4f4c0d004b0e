"""The relocation engine on crafted images: every dynamic type, both ends of every range, all that can be wrong."""

from __future__ import annotations

import pytest

from relink import (
    ARCHITECTURES,
    LinkErrors,
    MalformedElf,
    RelocationError,
    RelocationOutOfImage,
    Role,
    UnknownRelocation,
    UnresolvedSymbol,
    UnsupportedRelocation,
    decode,
)
from tests.grouping import by, each
from tests.linker.craft import (
    ABS,
    DATA,
    REL_ARCHES,
    TLS,
    Library,
    Rel,
    Sym,
    undefined,
)
from tests.linker.helpers import load, word_at
from tests.linker.numbers import COPY, SYMBOLIC
from tests.linker.reference import MACHINES, RELATIVE

ARCHES = tuple(ARCHITECTURES)
every_arch = pytest.mark.parametrize("arch", ARCHES)
#: Types compilers do not emit dynamically and the reference therefore lacks: size, and value from S A P T.
RARE = {
    "x86_64": {
        12: (2, "S+A"),
        13: (2, "S+A-P"),
        14: (1, "S+A"),
        15: (1, "S+A-P"),
        21: (4, "S+A"),
        23: (4, "S+A+T"),
        38: (8, "B+A"),
    },
    "i386": {20: (2, "S+A"), 21: (2, "S+A-P"), 22: (1, "S+A"), 23: (1, "S+A-P")},
    "aarch64": {259: (2, "S+A"), 262: (2, "S+A-P")},
    "arm": {5: (2, "S+A"), 8: (1, "S+A"), 55: (4, "S+A"), 56: (4, "S+A-P")},
    "riscv64": {6: (4, "M"), 8: (4, "S+A-0x800"), 10: (4, "S+A+T")},
    "riscv32": {7: (8, "M"), 9: (8, "S+A-0x800"), 11: (8, "S+A+T"), 2: (8, "S+A")},
    "loongarch64": {6: (4, "M"), 8: (4, "S+A"), 10: (4, "S+A+T")},
}


def data_types(arch: str) -> list[int]:
    roles = (Role.DATA, Role.RELATIVE, Role.JUMP_SLOT)
    rows = ARCHITECTURES[arch].relocations.items()
    return [number for number, row in rows if row.role in roles and not row.static]


def is_tls(arch: str, number: int) -> bool:
    row = ARCHITECTURES[arch].relocations[number]
    return row.formula is not None and bool({"M", "T", "DTV"} & row.formula.letters)


def value_of(arch: str, number: int, **letters: int) -> tuple[int, int]:
    """(bytes, value) by the formulas of the tests, not the pages."""
    rare = RARE[arch].get(number)
    if rare is not None:
        return rare[0], eval(rare[1], letters)
    return MACHINES[arch](**letters)[number]


EVERY_TYPE = [
    pytest.param(arch, number, id=f"{arch}-{ARCHITECTURES[arch].relocations[number].name}")
    for arch in ARCHES
    for number in data_types(arch)
]


@by(("arch", "number"), EVERY_TYPE)
@each("unaligned", [0, 3])
def test_each_type_computes_its_formula(arch: str, number: int, unaligned: int) -> None:
    row = ARCHITECTURES[arch].relocations[number]
    assert row.word is not None
    assert row.formula is not None
    place, size = DATA + 0x40 + unaligned, row.word.size
    narrow, relative = size < 4, "P" in row.formula.letters
    addend = 5
    data = bytearray(0x400)
    data[place - DATA : place - DATA + size] = addend.to_bytes(size, "little")
    if is_tls(arch, number):
        symbol = Sym("s", 4, type=TLS)
    elif narrow and relative:
        symbol = Sym("s", place + 20)
    elif narrow or (size < ARCHITECTURES[arch].word_size and not relative):
        symbol = Sym("s", 0x21, section=ABS, size=0x1234)
    else:
        symbol = Sym("s", DATA + 0x100, size=0x1234)
    entry = Rel(place, number, None if "B" in row.formula.letters else symbol, addend)
    image = load(Library(arch, symbols=[symbol], relocations=[entry], data=bytes(data), tls=(b"tls!", 64, 16)))
    assert image.tls is not None
    rebased = symbol.section != ABS and symbol.type != TLS
    letters = {
        "S": symbol.value + image.bias * rebased,
        "A": addend,
        "P": place + image.bias,
        "B": image.bias,
        "M": image.tls.id,
        "T": image.tls.offset,
        "Z": symbol.size,
    }
    width, value = value_of(arch, number, **letters)
    assert width == size
    assert word_at(image, place, size) == value % (1 << 8 * size)
    assert word_at(image, place - 1, 1) == 0
    assert word_at(image, place + size, 1) == 0
    assert image.relocation_counts[ARCHITECTURES[arch].prefix + row.name] == 1


# ---------------------------------------------------------------- places


@every_arch
@each(
    "place",
    [0xF0000, DATA - 1, DATA + 0x400, DATA + 0x3FD, DATA + 0x1000, 0xFFFFFFF0, 0xFFFFFFFF],
    ids=[
        "between segments",
        "into the next segment",
        "past the end",
        "across the end",
        "next page",
        "far",
        "last byte",
    ],
)
def test_a_place_outside_every_segment_is_reported(arch: str, place: int) -> None:
    for number, symbol in ((RELATIVE[arch], None), (SYMBOLIC[arch], "s")):
        entries = [Rel(DATA, number, symbol), Rel(place, number, symbol), Rel(DATA + 8, number, symbol)]
        with pytest.raises(RelocationOutOfImage) as caught:
            load(Library(arch, symbols=[Sym("s")], relocations=entries))
        assert caught.value.offset == place


@pytest.mark.parametrize("arch", [a for a in ARCHES if ARCHITECTURES[a].bits == 64])
@pytest.mark.parametrize("place", [(1 << 64) - 1, (1 << 64) - 8, 1 << 63, (1 << 63) + DATA])
def test_a_place_at_the_top_of_64_bits_is_reported(arch: str, place: int) -> None:
    with pytest.raises(RelocationOutOfImage):
        load(Library(arch, relocations=[Rel(place, RELATIVE[arch])]))
    with pytest.raises(RelocationOutOfImage):
        load(Library(arch, relr=[place & ~1]))


@every_arch
def test_the_last_word_of_a_segment_and_bss_can_be_relocated(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    last = DATA + 0x400 + 0x100 - size
    image = load(Library(arch, bss=0x100, symbols=[Sym("s")], relocations=[Rel(last, SYMBOLIC[arch], "s")]))
    assert word_at(image, last, size) == DATA + image.bias


@every_arch
def test_the_read_only_segment_can_be_relocated(arch: str) -> None:
    """Text relocations: the first bytes of the file, which are its header."""
    size = ARCHITECTURES[arch].word_size
    library = Library(arch, symbols=[Sym("s")], relocations=[Rel(8, SYMBOLIC[arch], "s")], explicit=True)
    image = load(library)
    assert word_at(image, 8, size) == DATA + image.bias


# ---------------------------------------------------------------- types


@every_arch
@pytest.mark.parametrize("number", [200, 0xFE])
def test_an_unknown_type_is_an_error_that_names_the_number(arch: str, number: int) -> None:
    with pytest.raises(RelocationError) as caught:
        load(Library(arch, relocations=[Rel(DATA, number)]))
    assert isinstance(caught.value, UnknownRelocation | UnsupportedRelocation)


@pytest.mark.parametrize("arch", [a for a in ARCHES if ARCHITECTURES[a].bits == 64])
@pytest.mark.parametrize("number", [0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_absurd_type_is_unknown_and_costs_nothing(arch: str, number: int) -> None:
    with pytest.raises(UnknownRelocation):
        load(Library(arch, relocations=[Rel(DATA, number), Rel(DATA + 8, RELATIVE[arch])]))


@every_arch
def test_a_copy_relocation_is_refused_with_the_reason(arch: str) -> None:
    with pytest.raises(UnsupportedRelocation, match="executables") as caught:
        load(Library(arch, symbols=[Sym("s")], relocations=[Rel(DATA, COPY[arch], "s")]))
    assert caught.value.symbol == "s"


@pytest.mark.parametrize(
    ("arch", "number", "name"),
    [
        ("x86_64", 4, "R_X86_64_PLT32"),
        ("i386", 9, "R_386_GOTOFF"),
        ("aarch64", 283, "R_AARCH64_CALL26"),
        ("arm", 28, "R_ARM_CALL"),
        ("riscv64", 19, "R_RISCV_CALL_PLT"),
        ("riscv32", 16, "R_RISCV_BRANCH"),
        ("loongarch64", 66, "R_LARCH_B26"),
    ],
)
def test_a_static_type_is_refused_as_static(arch: str, number: int, name: str) -> None:
    with pytest.raises(UnsupportedRelocation, match="for relocatable objects only") as caught:
        load(Library(arch, symbols=[Sym("s")], relocations=[Rel(DATA, number, "s")]))
    assert caught.value.type_name == name


@pytest.mark.parametrize("number", [580, 1041])
def test_signed_pointers_are_refused_with_the_reason(number: int) -> None:
    with pytest.raises(UnsupportedRelocation, match="keys"):
        load(Library("aarch64", relocations=[Rel(DATA, number)]))


@every_arch
def test_type_none_does_nothing_wherever_it_points(arch: str) -> None:
    load(Library(arch, relocations=[Rel(0xFFFFFFF0, 0), Rel(DATA + 1, 0)]))


# ---------------------------------------------------------------- many, and all at once


@every_arch
def test_many_bad_entries_are_counted_rather_than_listed(arch: str) -> None:
    entries = [Rel(0x80000 + n, RELATIVE[arch]) for n in range(5000)]
    with pytest.raises(LinkErrors) as caught:
        load(Library(arch, relocations=entries))
    assert len(caught.value.exceptions) <= 50
    assert "4980 more" in str(caught.value)


@every_arch
def test_everything_wrong_is_told_in_one_go(arch: str) -> None:
    entries = [
        Rel(DATA, SYMBOLIC[arch], "one"),
        Rel(DATA + 8, SYMBOLIC[arch], "two"),
        Rel(0x80000, RELATIVE[arch]),
        Rel(DATA + 16, 250),
        Rel(DATA + 24, COPY[arch], "one"),
    ]
    with pytest.raises(LinkErrors) as caught:
        load(Library(arch, symbols=[undefined("one"), undefined("two")], relocations=entries))
    found = [type(error) for error in caught.value.exceptions]
    assert found.count(UnresolvedSymbol) == 2
    assert RelocationOutOfImage in found
    assert UnsupportedRelocation in found


# ---------------------------------------------------------------- what peers get wrong


@every_arch
def test_relative_outside_the_relacount_prefix_is_applied(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    entries = [
        Rel(DATA, RELATIVE[arch], None, 0x10),
        Rel(DATA + 8, SYMBOLIC[arch], "s"),
        Rel(DATA + 16, RELATIVE[arch], None, 0x10),
    ]
    data = bytearray(0x400)
    data[0] = data[16] = 0x10
    count = 0x6FFFFFFA if arch in REL_ARCHES else 0x6FFFFFF9
    for claimed in (0, 1, 3, 999):
        image = load(
            Library(arch, symbols=[Sym("s")], relocations=entries, data=bytes(data), tags={count: claimed})
        )
        assert word_at(image, DATA, size) == word_at(image, DATA + 16, size) == image.bias + 0x10
        assert word_at(image, DATA + 8, size) == image.bias + DATA


@every_arch
def test_relr_and_left_over_relative_both_apply(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    data = bytearray(0x400)
    for at in (0, 0x100, 0x100 + size, 0x100 + 3 * size, 0x201):
        data[at] = 0x20
    # An address, then a bitmap of the words behind it: the first and the third.
    library = Library(
        arch,
        data=bytes(data),
        relr=[DATA + 0x100, 0b1011],
        relocations=[Rel(DATA, RELATIVE[arch], None, 0x20), Rel(DATA + 0x201, RELATIVE[arch], None, 0x20)],
    )
    image = load(library)
    for at in (0, 0x100, 0x100 + size, 0x100 + 3 * size, 0x201):
        assert word_at(image, DATA + at, size) == image.bias + 0x20
    assert word_at(image, DATA + 0x100 + 2 * size, size) == 0
    assert image.relocation_counts["RELR"] == 3


@every_arch
@each("relr", [[1], [0b11], [0xFFFFFFFF], [0x80000], [DATA + 0x400], [DATA + 0x3FE]])
def test_garbage_in_relr_is_refused(arch: str, relr: list[int]) -> None:
    with pytest.raises((RelocationOutOfImage, MalformedElf)):
        load(Library(arch, relr=relr))


@every_arch
def test_absolute_symbols_are_not_rebased(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    image = load(
        Library(arch, symbols=[Sym("a", 0x1234, section=ABS)], relocations=[Rel(DATA, SYMBOLIC[arch], "a")])
    )
    assert word_at(image, DATA, size) == 0x1234
    assert image.symbol("a").address == 0x1234


@every_arch
def test_an_absolute_symbol_may_be_zero(arch: str) -> None:
    assert load(Library(arch, symbols=[Sym("a", 0, section=ABS)])).symbol("a").address == 0


@every_arch
@pytest.mark.parametrize("explicit", [True, False])
def test_addends_count_in_rela_and_in_rel_on_every_machine(arch: str, explicit: bool) -> None:
    size = ARCHITECTURES[arch].word_size
    data = bytearray(0x400)
    data[0:size] = data[8 : 8 + size] = (0x30).to_bytes(size, "little")
    library = Library(
        arch,
        symbols=[Sym("s")],
        data=bytes(data),
        explicit=explicit,
        relocations=[Rel(DATA, SYMBOLIC[arch], "s", 0x30), Rel(DATA + 8, RELATIVE[arch], None, 0x30)],
    )
    image = load(library)
    assert word_at(image, DATA, size) == image.bias + DATA + 0x30
    assert word_at(image, DATA + 8, size) == image.bias + 0x30


@every_arch
def test_a_negative_addend_wraps_to_the_address_width(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    data = (-8 % (1 << 8 * size)).to_bytes(size, "little").ljust(0x400, b"\0")
    image = load(Library(arch, symbols=[Sym("s")], data=data, relocations=[Rel(DATA, SYMBOLIC[arch], "s", -8)]))
    assert word_at(image, DATA, size) == image.bias + DATA - 8


@every_arch
def test_an_image_linked_above_its_load_address_gets_a_negative_bias(arch: str) -> None:
    size = ARCHITECTURES[arch].word_size
    base = 0x7000_0000
    library = Library(
        arch,
        base=base,
        symbols=[Sym("s", base + DATA + 4)],
        relocations=[
            Rel(base + DATA, SYMBOLIC[arch], "s"),
            Rel(base + DATA + 8, RELATIVE[arch], None, base + 0x40),
        ],
    )
    data = bytearray(0x400)
    data[8 : 8 + size] = (base + 0x40).to_bytes(size, "little")
    library.data = bytes(data)
    image = load(library, base=0x1000_0000)
    assert image.bias == -0x6000_0000 % (1 << 8 * size)
    assert word_at(image, base + DATA, size) == 0x1000_0000 + DATA + 4
    assert word_at(image, base + DATA + 8, size) == 0x1000_0040
    assert image.symbol("s").address == 0x1000_0000 + DATA + 4


@every_arch
def test_plt_entries_inside_the_main_table_are_applied_once(arch: str) -> None:
    """REL addends are in place, so applying one twice would show."""
    size = ARCHITECTURES[arch].word_size
    data = bytearray(0x400)
    data[0:size] = (0x40).to_bytes(size, "little")
    library = Library(
        arch,
        relocations=[Rel(DATA, RELATIVE[arch], None, 0x40)],
        data=bytes(data),
        explicit=False,
        tags={23: 0, 2: ARCHITECTURES[arch].word_size * 2, 20: 17},
    )
    table = decode(library.image()).dynamic.value(17)
    assert table is not None
    library.tags = {**library.tags, 23: table}
    image = load(library)
    assert word_at(image, DATA, size) == image.bias + 0x40
