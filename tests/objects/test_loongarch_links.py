"""What lld writes for each of LoongArch's static types is what the rows say."""

from __future__ import annotations

import pytest

from relink.arch.loongarch64 import LOONGARCH64 as PAGE
from relink.arch.spec import Slot
from tests.objects.linkers import Target, places
from tests.objects.rows import implemented

TARGET = Target(
    PAGE,
    "loongarch64-linux-gnu",
    ("loongarch64-linux-gnu-ld",),
    {Slot.ADDRESS: "64", Slot.TLS_GD: "TLS_DTPMOD64", Slot.TLS_IE: "TLS_TPREL64", Slot.TLS_DESC: "TLS_DESC64"},
    (".got", ".got"),
)

DATA = """
    .data
    .space 0x7f0
near: .dword 1
    .space 0x20
other: .dword 2
    .hidden near, other, tnear, _start
    .globl near, other, far, tfar, tnear, _start
far: .dword 3
    .globl tiny
tiny = 0x1234
    .section .tdata,"awT",@progbits
    .dword 0
tfar: .dword 5
tnear: .dword 7
    .text
_start:
    ret
"""


def at(instruction: str, *types: str) -> str:
    """An instruction with these entries ("TYPE symbol") at it."""
    return "".join(f"    .reloc ., R_LARCH_{t.replace(' ', ', ')}\n" for t in types) + f"    {instruction}\n"


PCALAU12I, ADDI, LU32I, LU52I, LU12I, PCADDI, PCADDU12I = (
    "pcalau12i $t1, 0",
    "addi.d $t0, $zero, 0",
    "lu32i.d $t0, 0",
    "lu52i.d $t0, $t0, 0",
    "lu12i.w $t0, 0",
    "pcaddi $t0, 0",
    "pcaddu12i $t0, 0",
)


def extreme(high: str, low: str, upper: str, symbol: str) -> str:
    return (
        at(PCALAU12I, f"{high} {symbol}")
        + at(ADDI, f"{low} {symbol}")
        + at(LU32I, f"{upper}_LO20 {symbol}")
        + at(LU52I, f"{upper}_HI12 {symbol}")
    )


def pairs(label: str, kind: str, symbol: str) -> str:
    return f".L{label}:\n" + at(PCADDU12I, f"{kind}_HI20 {symbol}") + at(ADDI, f"{kind}_LO12 .L{label}")


def absolute(kind: str, symbol: str) -> str:
    return (
        at(LU12I, f"{kind}_HI20 {symbol}")
        + at("ori $t0, $t0, 0", f"{kind}_LO12 {symbol}")
        + at(LU32I, f"{kind}64_LO20 {symbol}")
        + at(LU52I, f"{kind}64_HI12 {symbol}")
    )


CODE = "".join([
    at("beq $a0, $a1, 0", "B16 _start"), at("beqz $a0, 0", "B21 _start+4"), at("bl 0", "B26 _start"),
    at("pcaddu18i $ra, 0; jirl $ra, $ra, 0", "CALL36 _start"),
    at("pcaddu18i $ra, 0; jirl $ra, $ra, 0", "CALL36 _start+8"),
    at("pcaddu12i $ra, 0; jirl $ra, $ra, 0", "CALL30 _start"), at(PCADDI, "PCREL20_S2 _start"),
    at(".word 0", "32_PCREL _start"), at(".dword 0", "64_PCREL near"),
    at(".dword 5", "ADD64 near", "SUB64 other"), at(".word 5", "ADD32 near", "SUB32 other"),
    at(".half 5", "ADD16 near", "SUB16 other"), at(".byte 5", "ADD8 near", "SUB8 other"),
    at(".byte 0x85", "ADD6 near", "SUB6 other"),
    at(".byte 0x80, 0x80, 0x00, 0", "ADD_ULEB128 other", "SUB_ULEB128 near"),
    "    .p2align 0\n",
])  # fmt: skip
SYMBOLS = "".join(
    extreme("PCALA_HI20", "PCALA_LO12", "PCALA64", symbol)
    for symbol in ("near", "other", "near+0x7ff", "other-0x900")
)
NEARBY = "".join(
    [
        at("pcalau12i $ra, 0", "PCALA_HI20 near"),
        at("jirl $ra, $ra, 0", "PCALA_LO12 near"),
        pairs("p", "PCADD", "other"),
    ]
)
SHARED = (
    DATA
    + CODE
    + SYMBOLS
    + "".join(
        [
            extreme("GOT_PC_HI20", "GOT_PC_LO12", "GOT64_PC", "far"),
            extreme("TLS_GD_PC_HI20", "GOT_PC_LO12", "GOT64_PC", "tfar"),
            extreme("TLS_LD_PC_HI20", "GOT_PC_LO12", "GOT64_PC", "tfar"),
            extreme("TLS_IE_PC_HI20", "TLS_IE_PC_LO12", "TLS_IE64_PC", "tfar"),
            extreme("TLS_DESC_PC_HI20", "TLS_DESC_PC_LO12", "TLS_DESC64_PC", "tfar"),
        ]
    )
)
GOT_NEARBY = "".join(
    [
        at(PCADDI, "TLS_GD_PCREL20_S2 tfar"),
        at(PCADDI, "TLS_DESC_PCREL20_S2 tfar"),
        pairs("g", "GOT_PCADD", "far"),
        pairs("gd", "TLS_GD_PCADD", "tfar"),
        pairs("ie", "TLS_IE_PCADD", "tfar"),
    ]
)
STATIC = (
    DATA
    + CODE
    + SYMBOLS
    + "".join(
        [
            absolute("ABS", "near"),
            absolute("ABS", "other-0x900"),
            absolute("GOT", "far"),
            absolute("TLS_LE", "tfar"),
            at(LU12I, "TLS_LE_HI20_R tfar+0x7f8"),
            at(ADDI, "TLS_LE_LO12_R tfar+0x7f8"),
            at("add.d $t0, $t0, $tp", "TLS_LE_ADD_R tfar"),
            absolute("TLS_IE", "tnear"),
            absolute("TLS_DESC", "tfar"),
            at(".word 0", "TLS_DTPREL32 tfar"),
            at(".dword 0", "TLS_DTPREL64 tfar"),
            at(".word 0", "32 tiny"),
        ]
    )
)
#: name → (source, flags, places compared at the least).
LINKS = {
    "static": (STATIC + NEARBY, "-static -Ttext=0x123450000 -Tdata=0x1239a0000", 70),
    "static, data out of 32 bits": (STATIC, "-static -Ttext=0x723450ff0 -Tdata=0x3ff812340800", 65),
    "shared": (SHARED + NEARBY + GOT_NEARBY, "-shared -Ttext=0x123450000", 65),
    "shared, GOT out of 32 bits": (SHARED, "-shared -Ttext=0x123450000 --section-start=.tdata=0x7ffe80000000", 55),
    "shared, GOT over a page's end": (SHARED, "-shared -Ttext=0x123450000 --section-start=.tdata=0x1224216e8", 55),
}


@pytest.mark.parametrize("link", LINKS)
def test_lld_writes_the_same(link: str) -> None:
    source, flags, least = LINKS[link]
    compared = places(TARGET, "lld", source, "--no-relax", "-z", "norelro", *flags.split())
    assert [place for place in compared if place.ours != place.theirs] == []
    assert len(compared) >= least


#: Types lld has no part in: why.
NOT_COMPARED = {
    "ADD24": "refused by lld", "SUB24": "refused by lld", "ALIGN": "changes no word",
    # It writes the offset in the GOT (pair), the absolute address (descriptor) or the one pair of the module (LD),
    # where laelf says GOT + GD, relative to the pc for the pcadd family.
    "TLS_GD_HI20": "offset in the GOT", "TLS_LD_HI20": "offset in the GOT",
    "TLS_DESC_PCADD_HI20": "not relative to the pc", "TLS_DESC_PCADD_LO12": "goes with it",
    "TLS_LD_PCREL20_S2": "another slot", "TLS_LD_PCADD_HI20": "another slot", "TLS_LD_PCADD_LO12": "goes with it",
}  # fmt: skip


def test_the_links_have_every_type_but_those_named() -> None:
    sources = "".join(source for source, *_ in LINKS.values())
    used = {name for name in implemented(PAGE) if f"R_LARCH_{name}," in sources}
    rest = implemented(PAGE) - used
    assert {name for name in rest if not name.startswith("SOP_")} == set(NOT_COMPARED)
