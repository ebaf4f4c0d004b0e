"""The disassembler without capstone's Python binding gives what the binding gives."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator

import capstone
import pytest

from emu.cpu import x86_disassembler
from emu.cpu.corrections.x86_code import X86Code
from emu.cpu.x86_disassembler import Disassembler
from tests.sampling import examples

MODES = {32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
ADDRESSES = (0, 0x1000, 0xFFFF_F000, 0xFFFF_FFFF_FFFF_FFF0)


@pytest.fixture(params=[True, False], ids=["library", "binding"])
def without_binding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the library is used, or the binding, as where the library is not found."""
    if not request.param:
        monkeypatch.setattr(x86_disassembler, "_library", lambda: None)
    return bool(request.param)


def pieces(seed: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    for _ in range(examples(400)):
        start = rng.choice(
            (b"", b"\x0f", b"\x66\x0f\x3a", b"\x48\x8b", b"\xf3\x0f", b"\xc5\xf8", b"\xd9", b"\xff")
        )
        yield start + rng.randbytes(rng.randint(0, 60))


@pytest.mark.parametrize("bits", MODES)
def test_rows_are_those_of_the_binding(bits: int, without_binding: bool) -> None:
    ours, theirs = Disassembler(bits), capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    several = 0
    for code in pieces(bits):
        for address in ADDRESSES:
            for most in (1, 24):
                rows = ours.rows(code, address, most)
                assert rows == list(theirs.disasm_lite(code, address, most)), code.hex()
                several += len(rows) > 1
    assert several > 100
    assert ours.instruction(b"\x01\xc8", 0).op_str == "eax, ecx"


@pytest.mark.parametrize("bits", MODES)
def test_an_immediate_byte_is_the_last_one(bits: int) -> None:
    """Of the instructions whose corrections ask for it: rounding, dot products, comparisons of strings."""
    binding = capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    binding.detail = True
    rng, known = random.Random(bits), 0
    for opcode in (8, 9, 10, 11, 0x40, 0x41, 0x60, 0x61, 0x62, 0x63):
        for _ in range(40):
            code = bytes((0x66, 0x0F, 0x3A, opcode)) + rng.randbytes(11)
            for instruction in binding.disasm(code, 0x1000, 1):
                found = X86Code(0x1000, instruction.size, bits, code)
                assert found.immediate() == instruction.operands[-1].imm & 0xFF, code.hex()
                known += 1
    assert known > 300


def test_nothing_of_the_binding_is_imported_for_rows() -> None:
    program = (
        "import sys; from emu.cpu.x86_disassembler import disassembler\n"
        "print(disassembler(64).rows(b'\\x90\\xc3', 0x10, 2), 'capstone' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[(16, 1, 'nop', ''), (17, 1, 'ret', '')] False\n"


def test_a_library_of_another_version_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x86_disassembler, "_MAJOR", 4)
    assert x86_disassembler._library.__wrapped__() is None
    monkeypatch.undo()
    assert x86_disassembler._library.__wrapped__() is not None
    monkeypatch.setattr(x86_disassembler, "_FILE", "no-such.so")
    assert x86_disassembler._library.__wrapped__() is None
