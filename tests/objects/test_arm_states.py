"""Arm's two states: what a branch becomes, when it takes a stub, what a TLS descriptor's sequence becomes."""

from __future__ import annotations

import capstone
import pytest

from relink.arch.arm import ARM
from relink.arch.spec import Stub
from tests.assembler import assembled_int
from tests.objects.rows import fits, narrowed, read, row_of, value_of, written

A32, T32 = "arm", "thumb"
BL, BLX, BLNE, B = 0xEBFF_FFFE, 0xFAFF_FFFE, 0x1BFF_FFFE, 0xEAFF_FFFE
T_BL, T_BLX, T_B = 0xFFFE_F7FF, 0xEFFE_F7FF, 0xBFFE_F7FF  # the offset -4


def branch(name: str, raw: int, target: int, place: int = 0x1000, *, function: bool = True) -> int | None:
    """The instruction after relocation; None where it cannot reach."""
    row = row_of(ARM, name)
    assert row.word is not None
    code, size = raw.to_bytes(row.word.size, "little"), row.word.size
    addend = read(row.word, raw)
    value = narrowed(ARM, value_of(row, code, 0, function=function, S=target, A=addend, P=place))
    return written(row.word, int.from_bytes(code[:size], "little"), value) if fits(row.word, value) else None


def targets(state: str, text: str, address: int = 0x1000) -> int:
    return assembled_int(state, text, address)


@pytest.mark.parametrize("raw", [BL, BLX])
def test_an_a32_call_becomes_what_its_target_asks(raw: int) -> None:
    assert branch("CALL", raw, 0x2000) == targets(A32, "bl #0x2000")
    assert branch("CALL", raw, 0x2001) == targets(A32, "blx #0x2000")
    assert branch("CALL", raw, 0x2003) == targets(A32, "blx #0x2002")
    assert branch("CALL", raw, 0x2002) is None  # no A32 instruction lies there


@pytest.mark.parametrize("name", ["CALL", "PLT32", "PC24"])
@pytest.mark.parametrize("raw", [BLNE, B])
def test_what_cannot_change_state_needs_a_stub_to(name: str, raw: int) -> None:
    assert branch(name, raw, 0x2000) == raw & 0xFF00_0000 | (0x2000 - 0x1008) >> 2
    assert branch(name, raw, 0x2001) is None


@pytest.mark.parametrize("raw", [T_BL, T_BLX])
@pytest.mark.parametrize("place", [0x1000, 0x1002])
def test_a_t32_call_becomes_what_its_target_asks(raw: int, place: int) -> None:
    assert branch("THM_CALL", raw, 0x2003, place) == targets(T32, "bl #0x2002", place)
    assert branch("THM_CALL", raw, 0x2002, place) is None
    blx = branch("THM_CALL", raw, 0x2000, place)
    assert blx is not None
    code = blx.to_bytes(4, "little")
    (line,) = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB).disasm(code, place)
    assert (line.mnemonic, line.op_str) == ("blx", "#0x2000")


def test_jumps_to_the_other_state_need_a_stub() -> None:
    assert branch("JUMP24", B, 0x2000) == targets(A32, "b #0x2000")
    assert branch("JUMP24", B, 0x2001) is None
    assert branch("THM_JUMP24", T_B, 0x2001) == targets(T32, "b.w #0x2000")
    assert branch("THM_JUMP24", T_B, 0x2000) is None
    assert branch("THM_JUMP19", 0xAFFE_F43F, 0x2001) == targets(T32, f"beq.w #{0x2000 - 0x1004}")
    assert branch("THM_JUMP19", 0xAFFE_F43F, 0x2000) is None


@pytest.mark.parametrize(
    ("name", "raw", "text", "state"),
    [
        ("CALL", BL, "bl", A32),
        ("CALL", BLX, "blx", A32),
        ("JUMP24", B, "b", A32),
        ("THM_CALL", T_BL, "bl", T32),
        ("THM_JUMP24", T_B, "b.w", T32),
    ],
)
def test_a_branch_to_no_function_keeps_its_state(name: str, raw: int, text: str, state: str) -> None:
    assert branch(name, raw, 0x2000, function=False) == targets(state, f"{text} #0x2000")


@pytest.mark.parametrize(
    ("name", "raw", "text", "state"),
    [
        ("CALL", BL, "bl", A32),
        ("JUMP24", B, "b", A32),
        ("THM_CALL", T_BL, "bl", T32),
        ("THM_JUMP24", T_B, "b.w", T32),
    ],
)
def test_a_branch_to_an_undefined_weak_symbol_goes_on(name: str, raw: int, text: str, state: str) -> None:
    assert branch(name, raw, 0, function=False) == targets(state, f"{text} #0x1004")


def test_no_interworking_means_no_thumb_bit() -> None:
    row = row_of(ARM, "ABS32_NOI")
    assert value_of(row, bytes(4), 0, S=0x2001, A=4) == 0x2004
    assert value_of(row, bytes(4), 0, S=0x2001, A=4, function=False) == 0x2005


# ---------------------------------------------------------------- stubs


@pytest.mark.parametrize(
    ("stub", "thumb"),
    [
        (ARM.stub, ["ldr.w pc, [pc, #0]"]),
        (ARM.baseline_stub, ["push {r0, r1}", "ldr r0, [pc, #4]", "str r0, [sp, #4]", "pop {r0, pc}"]),
    ],
)
def test_a_stub_loads_its_address_in_either_state(stub: Stub, thumb: list[str]) -> None:
    entry = row_of(ARM, "THM_CALL").entry
    assert entry % 2 == 1
    arm = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_ARM)
    arm.detail = True
    (load,) = arm.disasm(stub.code[: entry - 1], 0)
    assert (load.mnemonic, load.op_str.split(",")[0]) == ("ldr", "pc")
    assert 8 + load.operands[1].mem.disp == stub.address_at
    code = stub.code[entry - 1 : stub.address_at]
    lines = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB).disasm(code, 0)
    assert [f"{line.mnemonic} {line.op_str}" for line in lines] == thumb
    offset = entry - 1 + (2 if len(thumb) > 1 else 0)  # of the load
    assert (offset + 4) // 4 * 4 + (4 if len(thumb) > 1 else 0) == stub.address_at


# ---------------------------------------------------------------- TLS descriptor sequences


@pytest.mark.parametrize(
    ("name", "state", "before", "after"),
    [
        ("TLS_CALL", A32, "bl #0x100", "mov r0, r0"),
        ("THM_TLS_CALL", T32, "bl #0x100", "mov r8, r8; mov r8, r8"),
        ("TLS_DESCSEQ", A32, "add r0, pc, r3", "mov r0, r3"),
        ("TLS_DESCSEQ", A32, "ldr r1, [r0, #4]", "mov r0, r0"),
        ("TLS_DESCSEQ", A32, "blx r1", "mov r0, r0"),
        ("THM_TLS_DESCSEQ16", T32, "add r0, pc", "mov r8, r8"),
        ("THM_TLS_DESCSEQ16", T32, "ldr r1, [r0, #4]", "mov r8, r8"),
        ("THM_TLS_DESCSEQ16", T32, "blx r1", "mov r8, r8"),
        ("THM_TLS_DESCSEQ32", T32, "ldr.w r9, [r0, #4]", "mov r8, r8; mov r8, r8"),
    ],
)
def test_a_descriptor_sequence_leaves_the_offset_in_r0(name: str, state: str, before: str, after: str) -> None:
    row, raw = row_of(ARM, name), targets(state, before)
    assert row.word is not None
    value = value_of(row, raw.to_bytes(row.word.size, "little"), 0, S=16, T=8)
    assert fits(row.word, value)
    assert written(row.word, raw, value) == targets(state, after)


@pytest.mark.parametrize(
    "name", ["TLS_CALL", "TLS_DESCSEQ", "THM_TLS_CALL", "THM_TLS_DESCSEQ16", "THM_TLS_DESCSEQ32"]
)
def test_an_instruction_no_descriptor_sequence_has_is_refused(name: str) -> None:
    row = row_of(ARM, name)
    assert row.word is not None
    assert not fits(row.word, value_of(row, bytes(4), 0, S=16, T=8))
