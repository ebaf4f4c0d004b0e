"""Every branch, taken and not, near and at both ends of its offset, against qemu-loongarch64 and by itself.

Each case adds up in a0 what it passed: 1 on the instructions at its target, 2 if it fell through; and it keeps
the link register. Far targets are code of their own at the ends of the offsets of 16, 21 and 26 bits
(±128 KiB, ±4 MiB, ±128 MiB), mapped there and nowhere in between.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu.cpu.protocol import Protection
from tests.loongarch64.assembler import (
    A0,
    A1,
    A2,
    RA,
    T0,
    T1,
    T2,
    ZERO,
    code,
    insn,
    jirl,
    load_immediate,
)
from tests.loongarch64.reference import Program, Segment, finish, needs_qemu, run_on_cpu, run_on_qemu

CASES, STATE = 0x3000_0000, 0x1000_0000
#: Bytes of a case: its two near targets lie at either end.
STRIDE, NEAR_AFTER, BRANCH_AT = 192, 176, 96
RESULT = 16

TAKEN, NOT_TAKEN = 1, 2


def offset16(opcode: int) -> Callable[[int], int]:
    """A comparing branch of a1 and a2."""
    return lambda offset: opcode << 26 | (offset >> 2 & 0xFFFF) << 10 | A1 << 5 | A2


def offset21(opcode: int, operand: int) -> Callable[[int], int]:
    return lambda offset: opcode << 26 | (offset >> 2 & 0xFFFF) << 10 | operand << 5 | (offset >> 18 & 0x1F)


def offset26(opcode: int) -> Callable[[int], int]:
    return lambda offset: opcode << 26 | (offset >> 2 & 0xFFFF) << 10 | (offset >> 18 & 0x3FF)


@dataclass(frozen=True)
class Branch:
    name: str
    encode: Callable[[int], int]
    bits: int  #: of the offset, counted in instructions
    holds: Callable[[int, int], bool]  #: for a1, a2 as unsigned


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


BRANCHES = (
    Branch("beq", offset16(0x16), 16, lambda x, y: x == y),
    Branch("bne", offset16(0x17), 16, lambda x, y: x != y),
    Branch("blt", offset16(0x18), 16, lambda x, y: signed(x) < signed(y)),
    Branch("bge", offset16(0x19), 16, lambda x, y: signed(x) >= signed(y)),
    Branch("bltu", offset16(0x1A), 16, lambda x, y: x < y),
    Branch("bgeu", offset16(0x1B), 16, lambda x, y: x >= y),
    Branch("beqz", offset21(0x10, A1), 21, lambda x, y: x == 0),
    Branch("bnez", offset21(0x11, A1), 21, lambda x, y: x != 0),
    # fcc1 is bit 0 of a1
    Branch("bceqz", offset21(0x12, 1), 21, lambda x, y: x & 1 == 0),
    Branch("bcnez", offset21(0x12, 8 | 1), 21, lambda x, y: x & 1 == 1),
    Branch("b", offset26(0x14), 26, lambda x, y: True),
    Branch("bl", offset26(0x15), 26, lambda x, y: True),
)

#: Values that tell the comparisons apart: equal, ordered differently as signed and unsigned, zero.
PAIRS = ((5, 5), (0, 1), (1, 0), ((1 << 64) - 1, 1), (1, (1 << 64) - 1), (1 << 63, (1 << 63) - 1), (0, 0))


@dataclass(frozen=True)
class Case:
    branch: Branch
    pair: tuple[int, int]
    offset: int

    @property
    def expected(self) -> int:
        return TAKEN if self.branch.holds(*self.pair) else NOT_TAKEN


def ends(bits: int) -> tuple[int, int]:
    """The least and the greatest offset, in bytes."""
    return -4 << bits - 1, (4 << bits - 1) - 4


ALL_CASES = [
    Case(branch, pair, offset)
    for branch in BRANCHES
    for pair in PAIRS
    for offset in (*ends(branch.bits), NEAR_AFTER - BRANCH_AT, -BRANCH_AT)
]
LANDING = (insn("addi.d", A0, A0, TAKEN), jirl(ZERO, T2))


def case_words(case: Case, number: int) -> list[int]:
    """A near target, the case proper with its branch at BRANCH_AT, a near target."""
    start = CASES + number * STRIDE
    a1, a2 = case.pair
    setup = [
        *LANDING,
        *load_immediate(A1, a1),
        *load_immediate(A2, a2),
        *load_immediate(RA, 0),
        insn("ori", A0, ZERO, 0),
        insn("movgr2cf", 1, A1),
    ]
    setup += load_immediate(T2, start + BRANCH_AT + 8)
    words = setup + [insn("andi", ZERO, ZERO, 0)] * (BRANCH_AT // 4 - len(setup))
    words.append(case.branch.encode(case.offset))
    words += [
        insn("addi.d", A0, A0, NOT_TAKEN),
        insn("st.d", A0, T0, 0),
        insn("st.d", RA, T0, 8),
        insn("addi.d", T0, T0, RESULT),
    ]
    words.append(offset26(0x14)(STRIDE + 4 * len(LANDING) - 4 * len(words)))  # b, past both near targets
    words += [insn("andi", ZERO, ZERO, 0)] * (NEAR_AFTER // 4 - len(words))
    words += LANDING
    return words + [insn("andi", ZERO, ZERO, 0)] * (STRIDE // 4 - len(words))


def build() -> Program:
    words: list[int] = []
    for number, case in enumerate(ALL_CASES):
        words += case_words(case, number)
    words += [*LANDING, *finish(STATE, RESULT * len(ALL_CASES))]
    size = 4 * len(words)
    segments = [Segment(CASES, code(*words), Protection.R | Protection.X)]
    for bits in (16, 21, 26):
        for offset in ends(bits):
            base = CASES + offset - offset % 0x4000
            segments.append(Segment(base, landings(offset, base, size), Protection.R | Protection.X))
    results = Segment(STATE, bytes(RESULT * len(ALL_CASES)), Protection.R | Protection.W)
    start = code(*load_immediate(T0, STATE), *load_immediate(T1, CASES + 8), jirl(ZERO, T1))
    entry = Segment(STATE + 0x10_0000, start, Protection.R | Protection.X)
    ordered = sorted([*segments, results, entry], key=lambda segment: segment.address)
    return Program(tuple(ordered), entry.address, results)


def landings(offset: int, base: int, size: int) -> bytes:
    """Code for the segment at `base`: the targets of the cases with this offset, illegal words elsewhere."""
    data = bytearray(size + 0x8000)
    for number, case in enumerate(ALL_CASES):
        if case.offset == offset:
            struct.pack_into("<2I", data, CASES + number * STRIDE + BRANCH_AT + offset - base, *LANDING)
    return bytes(data)


def verdicts(results: bytes) -> list[str]:
    wrong = []
    for number, case in enumerate(ALL_CASES):
        passed, link = struct.unpack_from("<2Q", results, number * RESULT)
        expected_link = CASES + number * STRIDE + BRANCH_AT + 4 if case.branch.name == "bl" else 0
        if (passed, link) != (case.expected, expected_link):
            wrong.append(f"{case.branch.name} {case.offset:+#x} on {case.pair}: {passed}, ra {link:#x}")
    return wrong


def test_every_branch_goes_where_its_condition_says_up_to_both_ends_of_its_offset() -> None:
    assert verdicts(run_on_cpu(build())) == []


@needs_qemu
def test_branches_go_the_same_way_on_qemu(tmp_path: Path) -> None:
    program = build()
    assert run_on_qemu(program, tmp_path) == run_on_cpu(program)


@pytest.mark.parametrize("link", [ZERO, RA, T1])
@pytest.mark.parametrize("offset", [0, 4, -4, 0x1FFFC, -0x20000])
def test_jirl_adds_its_offset_and_links_even_into_its_own_base(link: int, offset: int) -> None:
    target = CASES + 0x40_0000
    words = [*load_immediate(T1, target - offset), jirl(link, T1, offset)]
    results = Segment(STATE, bytes(8), Protection.R | Protection.W)
    landing = [*load_immediate(T0, STATE), insn("st.d", link, T0, 0), *finish(STATE, 8)]
    program = Program(
        (
            Segment(CASES, code(*words), Protection.R | Protection.X),
            Segment(target, code(*landing), Protection.R | Protection.X),
            results,
        ),
        CASES,
        results,
    )
    linked = int.from_bytes(run_on_cpu(program), "little")
    assert linked == (0 if link == ZERO else CASES + 4 * len(words))
