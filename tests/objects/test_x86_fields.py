"""x86-64 and i386 rows: bounds, encodings against keystone, whole links against lld and GNU ld."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.fields import Word
from relink.arch.i386 import I386
from relink.arch.spec import Architecture, Slot
from relink.arch.x86_64 import X86_64
from tests.assembler import assembled
from tests.grouping import by, each
from tests.objects.linkers import Target, places
from tests.objects.rows import (
    assert_bounds,
    field_of,
    fits,
    implemented,
    narrowed,
    read,
    row_of,
    value_of,
    written,
)

PAGES = {page.name: page for page in (X86_64, I386)}
SIGNED_32, UNSIGNED_32, ANY = (-(1 << 31), (1 << 31) - 1), (0, (1 << 32) - 1), (-(1 << 63), (1 << 63) - 1)

#: (lowest, highest) value that fits → the types of x86-64 it is the rule for.
BOUNDS = {
    SIGNED_32: """PC32 GOT32 PLT32 GOTPCREL 32S TLSGD TLSLD DTPOFF32 GOTTPOFF TPOFF32 GOTPC32 GOTPC32_TLSDESC
        PC32_BND PLT32_BND GOTPCRELX REX_GOTPCRELX CODE_4_GOTPCRELX CODE_4_GOTTPOFF CODE_4_GOTPC32_TLSDESC
        CODE_5_GOTPCRELX CODE_5_GOTTPOFF CODE_5_GOTPC32_TLSDESC CODE_6_GOTPCRELX CODE_6_GOTTPOFF
        CODE_6_GOTPC32_TLSDESC""",
    UNSIGNED_32: "32 SIZE32",
    (-(1 << 15), (1 << 16) - 1): "16",
    (-(1 << 15), (1 << 15) - 1): "PC16",
    (-(1 << 7), (1 << 8) - 1): "8",
    (-(1 << 7), (1 << 7) - 1): "PC8",
    ANY: """64 DTPOFF64 TPOFF64 PC64 GOTOFF64 GOT64 GOTPCREL64 GOTPC64 GOTPLT64 PLTOFF64 SIZE64""",
}
CASES = [(name, low, high) for (low, high), names in BOUNDS.items() for name in names.split()]


@each(("name", "low", "high"), CASES)
def test_the_bounds_pass_and_one_beyond_does_not(name: str, low: int, high: int) -> None:
    assert_bounds(field_of(X86_64, name), low, high, step=1, bounded=(low, high) != ANY)


def test_every_type_of_x86_64_objects_has_its_bounds() -> None:
    assert implemented(X86_64) <= {name for name, _, _ in CASES}


def test_every_32_bit_word_of_i386_wraps() -> None:
    """Its addresses do: a distance of 3 GiB is one of -1 GiB."""
    for name in implemented(I386):
        field = field_of(I386, name)
        assert field.size == 4
        assert all(fits(field, narrowed(I386, value)) for value in (-(1 << 32), -1, (1 << 31), (1 << 32) - 1))


@pytest.mark.parametrize(("name", "low", "high"), [("16", -(1 << 15), (1 << 16) - 1), ("PC8", -128, 127)])
def test_narrow_words_of_i386_are_checked(name: str, low: int, high: int) -> None:
    field = field_of(I386, name)
    assert [fits(field, value) for value in (low - 1, low, high, high + 1)] == [False, True, True, False]


@given(st.sampled_from(["64", "PC32", "32", "16", "PC16", "8", "PC8"]), st.integers(0, (1 << 64) - 1), st.data())
def test_what_was_written_is_read_back(name: str, raw: int, data: st.DataObject) -> None:
    field = field_of(X86_64, name)
    low, high = next((low, high) for row, low, high in CASES if row == name)
    value = data.draw(st.integers(low, high))
    bits = 8 * field.size
    word = written(field, raw & ((1 << bits) - 1), value)
    assert (read(field, word) - value) % (1 << bits) == 0
    assert written(field, word, read(field, word)) == word


# ---------------------------------------------------------------- encodings

#: (page, type, instruction, index of the field, addend). S is 0x40_1234 or so, P the field's own address.
ENCODINGS = [
    ("x86_64", "PLT32", "call {S}", 1, -4, 0x401234),
    ("x86_64", "PC32", "call {S}", 1, -4, 0x3FF000),
    ("x86_64", "PC8", "jmp {S}", 1, -1, 0x400010),
    ("x86_64", "PC8", "jrcxz {S}", 1, -1, 0x3FFF90),
    ("x86_64", "32S", "mov rax, {S}", 3, 0, 0x401234),
    ("x86_64", "64", "movabs rax, {S}", 2, 0, 0x1234_5678_9ABC),
    ("i386", "PLT32", "call {S}", 1, -4, 0x401234),
    ("i386", "PC8", "jecxz {S}", 1, -1, 0x3FFF90),
    ("i386", "32", "mov eax, {S}", 1, 0, 0xFEDC_BA98),
]


@by(("isa", "name", "text", "at", "addend", "symbol"), ENCODINGS)
def test_the_field_is_where_keystone_puts_it(
    isa: str, name: str, text: str, at: int, addend: int, symbol: int
) -> None:
    page, start = PAGES[isa], 0x400000
    code = assembled(isa, text.format(S=hex(symbol)), start)
    row = row_of(page, name)
    value = narrowed(page, value_of(row, code, at, S=symbol, A=addend, P=start + at))
    field = field_of(page, name)
    assert fits(field, value)
    assert code[at : at + field.size] == written(field, 0, value).to_bytes(field.size, "little")


STUBS = [(X86_64, "jmp qword ptr [rip+2]; ud2"), (I386, "push 0; ret; ud2")]


@pytest.mark.parametrize(("page", "text"), STUBS, ids=["x86_64", "i386"])
def test_the_stub_jumps_to_the_address_it_carries(page: Architecture, text: str) -> None:
    stub = page.stub
    assert stub is not None
    target = 0x1234_5678_9ABC_DEF0 & page.address_mask
    code = bytearray(stub.code)
    code[stub.address_at : stub.address_at + page.word_size] = target.to_bytes(page.word_size, "little")
    expected = assembled(page.name, text.replace("push 0", f"push {target:#x}"))
    assert bytes(code).startswith(expected)
    assert len(code) == max(len(expected), stub.address_at + page.word_size)


# ---------------------------------------------------------------- GOT32's two meanings

GOT32 = [
    ("mov foo@GOT(%ebx), %eax", "8b 83", False),
    ("mov foo@GOT, %ecx", "8b 0d", True),
    ("call *foo@GOT(%ebx)", "ff 93", False),
    ("call *foo@GOT", "ff 15", True),
    ("jmp *foo@GOT", "ff 25", True),
    ("cmp foo@GOT, %edi", "3b 3d", True),
    ("lea foo@GOT(%ebp), %eax", "8d 85", False),
]


@pytest.mark.parametrize("name", ["GOT32", "GOT32X"])
@pytest.mark.parametrize(("text", "opcode", "absolute"), GOT32)
def test_got32_without_a_base_register_is_the_slot_s_address(
    name: str, text: str, opcode: str, absolute: bool
) -> None:
    code = bytes.fromhex(opcode) + bytes(4)
    value = value_of(row_of(I386, name), code, 2, G=0x20, GOT=0x5000, A=0)
    assert value == (0x5020 if absolute else 0x20), text


@pytest.mark.parametrize(("name", "expected"), [("GOT32", 0x1C), ("GOT32X", 0x501C)])
def test_lea_without_a_base_register_tells_got32_from_got32x(name: str, expected: int) -> None:
    """The psABI's G + A - GOT, as GNU ld 2.40 and JITLink, and its G + A."""
    for prefix in ("", "66"):
        code = bytes.fromhex(f"{prefix} 8d 05") + bytes(4)
        at = len(code) - 4
        assert value_of(row_of(I386, name), code, at, G=0x20, GOT=0x5000, A=-4) == expected
    assert value_of(row_of(I386, "GOT32"), bytes.fromhex("8d 05"), 1, G=0x20, GOT=0x5000, A=0) == 0x20


def test_got32_as_the_very_first_word_has_no_byte_to_look_at() -> None:
    assert value_of(row_of(I386, "GOT32"), bytes([0, 0, 0, 5]), 0, G=0x20, GOT=0x5000, A=0) == 0x20


# ---------------------------------------------------------------- refusals

SUN = ["TLS_GD_32", "TLS_GD_PUSH", "TLS_GD_CALL", "TLS_GD_POP",
       "TLS_LDM_32", "TLS_LDM_PUSH", "TLS_LDM_CALL", "TLS_LDM_POP", "TLS_IE_32"]  # fmt: skip


@pytest.mark.parametrize("name", SUN)
def test_sun_s_thread_local_sequences_are_refused_by_name(name: str) -> None:
    assert "Sun" in row_of(I386, name).reason


def test_no_number_of_the_psabi_is_missing() -> None:
    assert set(range(52)) | {250, 251} == set(X86_64.relocations)
    assert set(range(44)) - {12, 13} | {200, 250, 251} == set(I386.relocations)
    assert all(isinstance(row.word, Word) for row in X86_64.relocations.values() if row.word)


# ---------------------------------------------------------------- whole links

SLOTS_64 = {
    Slot.ADDRESS: "GLOB_DAT",
    Slot.TLS_GD: "DTPMOD64",
    Slot.TLS_LD: "DTPMOD64",
    Slot.TLS_IE: "TPOFF64",
    Slot.TLS_DESC: "TLSDESC",
}
SLOTS_32 = {
    Slot.ADDRESS: "GLOB_DAT",
    Slot.TLS_GD: "TLS_DTPMOD32",
    Slot.TLS_LD: "TLS_DTPMOD32",
    Slot.TLS_IE: "TLS_TPOFF",
    Slot.TLS_DESC: "TLS_DESC",
}
GNU_LD = "x86_64-linux-gnu-ld"
TARGETS = {
    "x86_64": Target(X86_64, "x86_64-linux-gnu", (GNU_LD,), SLOTS_64, (".got.plt", ".got.plt")),
    "i386": Target(I386, "i386-linux-gnu", (GNU_LD, "-m", "elf_i386"), SLOTS_32, (".got.plt", ".got.plt")),
}

DATA = """
    .section .data, "aw"
    .globl far, near, small
    .hidden near
    .type far, @object; .size far, 24
    .type near, @object; .size near, 24
far: .skip 24
near: .skip 24
    .set small, 0x4b
    .section .tdata, "awT"
    .globl tfar, texec, tdesc, tnear
    .hidden tnear
    .irp name, tfar, texec, tdesc, tnear
    .type \\name, @tls_object
    .endr
    .skip 40
tfar: .skip 8
texec: .skip 8
tdesc: .skip 8
tnear: .skip 8
    .text
    .globl _start
_start: nop
"""


def at_words(size: int, *rows: str) -> str:
    """Assembly: for each "TYPE symbol+addend" a word of `size` bytes with that relocation."""
    lines = []
    for row in rows:
        name, symbol = row.split()
        lines.append(f"nop; .reloc ., {name}, {symbol}; .skip {size}")
    return "\n".join(lines)


STATIC_64 = DATA + "\n".join(
    [
        at_words(
            8, "R_X86_64_64 near+5", "R_X86_64_PC64 near-8", "R_X86_64_TPOFF64 tnear+1", "R_X86_64_SIZE64 near"
        ),
        at_words(
            4,
            "R_X86_64_32 near+5",
            "R_X86_64_32S near-4",
            "R_X86_64_PC32 near-4",
            "R_X86_64_PLT32 _start-4",
            "R_X86_64_TPOFF32 tnear+4",
            "R_X86_64_SIZE32 near",
        ),
        at_words(2, "R_X86_64_16 small", "R_X86_64_PC16 _start-2"),
        at_words(1, "R_X86_64_8 small", "R_X86_64_PC8 _start-1"),
    ]
)
SHARED_64 = DATA + "\n".join(
    [
        at_words(
            4,
            "R_X86_64_GOTPCREL far-4",
            "R_X86_64_GOTPC32 _GLOBAL_OFFSET_TABLE_-4",
            "R_X86_64_TLSGD tfar-4",
            "R_X86_64_TLSLD tnear-4",
            "R_X86_64_GOTTPOFF texec-4",
            "R_X86_64_GOT32 far",
            "R_X86_64_GOTPC32_TLSDESC tdesc-4",
            "R_X86_64_DTPOFF32 tnear+4",
            "R_X86_64_GOTPCREL far-5",
        ),
        at_words(8, "R_X86_64_GOTOFF64 near+3", "R_X86_64_GOT64 far", "R_X86_64_GOTPC64 _GLOBAL_OFFSET_TABLE_+2"),
        "movq far@GOTPCREL(%rip), %rax",
        "movl far@GOTPCREL(%rip), %eax",
        "addq far@GOTPCREL(%rip), %r9",
    ]
)
ONLY_LLD_64 = (
    SHARED_64
    + "\n"
    + "\n".join(
        [  # GNU ld 2.40 knows no APX and asserts that DTPOFF64 is in data
            at_words(8, "R_X86_64_DTPOFF64 tnear+4"),
            at_words(
                4,
                "R_X86_64_CODE_4_GOTPCRELX far-4",
                "R_X86_64_CODE_4_GOTTPOFF texec-4",
                "R_X86_64_CODE_4_GOTPC32_TLSDESC tdesc-4",
                "R_X86_64_CODE_6_GOTTPOFF texec-4",
            ),
        ]
    )
)
ONLY_GNU_64 = (
    SHARED_64
    + "\n"
    + at_words(8, "R_X86_64_GOTPCREL64 far-8", "R_X86_64_GOTPLT64 far", "R_X86_64_PLTOFF64 _local")
    + "\n.hidden _local; _local: nop"
)
STATIC_32 = DATA + "\n".join(
    [
        at_words(
            4,
            "R_386_32 near",
            "R_386_PC32 near",
            "R_386_PLT32 _start",
            "R_386_TLS_LE tnear",
            "R_386_TLS_LE_32 tnear",
        ),
        at_words(2, "R_386_16 small", "R_386_PC16 _start"),
        at_words(1, "R_386_8 small", "R_386_PC8 _start"),
        "cmpl far@GOT, %edi",
        "cmpl far@GOT(%ebx), %edi",
    ]
)
SHARED_32 = DATA + "\n".join(
    [
        at_words(4, "R_386_GOTOFF near", "R_386_GOTPC _GLOBAL_OFFSET_TABLE_", "R_386_TLS_LDO_32 tnear"),
        "movl far@GOT(%ebx), %ecx",
        "leal tfar@tlsgd(,%ebx,1), %eax; call ___tls_get_addr@PLT",
        "leal tnear@tlsldm(%ebx), %eax; call ___tls_get_addr@PLT",
        "movl texec@gotntpoff(%ebx), %ecx",
        "movl texec@indntpoff, %ecx",
        "leal tdesc@tlsdesc(%ebx), %eax; call *tdesc@tlscall(%eax)",
    ]
)
#: (ISA, linker, source, flags, places compared at the least)
LINKS = [
    ("x86_64", "lld", STATIC_64, "-static", 14),
    ("x86_64", "gnu", STATIC_64, "-static", 14),
    ("x86_64", "lld", ONLY_LLD_64, "-shared", 20),
    ("x86_64", "gnu", ONLY_GNU_64, "-shared", 18),
    ("i386", "lld", STATIC_32, "-static", 11),
    ("i386", "gnu", STATIC_32, "-static", 11),
    ("i386", "lld", SHARED_32, "-shared", 9),
    ("i386", "gnu", SHARED_32, "-shared", 9),
]
ADDRESSES = ("-Ttext=0x410000", "-Tdata=0x430000", "-z", "notext")


@pytest.mark.parametrize(
    ("isa", "linker", "source", "flags", "least"), LINKS, ids=[" ".join((*link[:2], link[3])) for link in LINKS]
)
def test_another_linker_writes_the_same(isa: str, linker: str, source: str, flags: str, least: int) -> None:
    everywhere = places(TARGETS[isa], linker, source, flags, *ADDRESSES)
    # The PLT entry of ___tls_get_addr is theirs alone.
    compared = [place for place in everywhere if place.symbol != "___tls_get_addr"]
    assert [place for place in compared if place.ours != place.theirs] == []
    assert len(compared) >= least
