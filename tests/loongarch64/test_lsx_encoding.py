"""LSX instructions are encoded as LLVM's assembler encodes them, and each is done in one place."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from emu.cpu.loongarch64 import lsx
from emu.cpu.loongarch64.hostops import HostOperations
from emu.cpu.loongarch64.registers import VECTOR_REGISTERS
from emu.cpu.protocol import StopReason
from tests.loongarch64.assembler import movfcsr2gr, put, syscall
from tests.loongarch64.lsx_opcodes import NATIVE_FAMILIES, OPCODES, VectorOpcode
from tests.loongarch64.reference import mapped
from tests.loongarch64.test_lsx import PLACES, SCRATCH, Case, build, encode, make_case

_REGISTER = {"V": "$vr", "R": "$r", "C": "$fcc"}
#: Immediates are shown scaled by the access they belong to.
_SCALES = {"b": 1, "h": 2, "w": 4, "d": 8}


def assembly(opcode: VectorOpcode, rng: random.Random) -> tuple[str, int]:
    """The instruction with random operands as text and as a word."""
    word, texts = opcode.word, []
    for operand in opcode.operands:
        kind, place = operand[0], operand[1:]
        if kind in _REGISTER:
            number = rng.randrange(8 if kind == "C" else 32)
            word = put(word, PLACES[place], 3 if kind == "C" else 5, number)
            texts.append(f"{_REGISTER[kind]}{number}")
            continue
        width, low = map(int, place.split("@"))
        number = rng.getrandbits(width) - (1 << width - 1 if kind == "i" else 0)
        word = put(word, low, width, number)
        scaled = opcode.name.startswith(("vldrepl", "vstelm")) and kind == "i"
        texts.append(str(number * _SCALES[opcode.name[-1]] if scaled else number))
    return f"{opcode.name} {', '.join(texts)}", word


def test_llvm_encodes_every_instruction_alike(tmp_path: Path) -> None:
    pytest.importorskip("ziglang", reason="the assembler is the clang of the ziglang wheel")
    rng = random.Random(0)
    lines = [assembly(opcode, rng) for opcode in OPCODES]
    source, built = tmp_path / "lsx.s", tmp_path / "lsx.o"
    source.write_text("".join(f"{line}\n" for line, _ in lines))
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "loongarch64-linux-gnu", "-mcpu=la464", "-c"]
    done = subprocess.run([*command, str(source), "-o", str(built)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    with built.open("rb") as file:
        text = ELFFile(file).get_section_by_name(".text")
        assert text is not None
        words = [word for (word,) in struct.iter_unpack("<I", text.data())]
    assert len(words) == len(lines)
    wrong = [(line, hex(word), hex(llvm)) for (line, word), llvm in zip(lines, words, strict=True) if word != llvm]
    assert not wrong


def test_no_host_operation_has_a_twin_in_p_code() -> None:
    hosts = {instruction.name for instruction in lsx.instructions()}
    assert not hosts & {instruction.name for instruction in lsx.members(NATIVE_FAMILIES, floats=False)}


@pytest.mark.parametrize(
    "word",
    [
        0x73240000,  # vsat, and nothing that tells the lanes' size
        0x732C0000,  # vslli likewise
        0x73E00000 | 0x1D00 << 5,  # vldi with an undefined pattern
        0x0C600000 | 9 << 16,  # vfcmp with a condition there is none of
        0x740A0000,  # xvadd.b: LASX
    ],
)
def test_words_that_are_no_instruction_are_refused(word: int) -> None:
    case = make_case(OPCODES[0], random.Random(0))
    program = build([replace(case, word=word)])
    cpu = mapped(program)
    assert cpu.run(program.entry).reason is StopReason.INVALID_INSTRUCTION


HOT = ("vfadd.s", "vfsub.d", "vfmul.s", "vfdiv.d", "vfsqrt.d", "vfmadd.s", "vfnmsub.d", "vfrintrm.d", "vfrintrz.s",
       "vfcmp.clt.d", "vfcmp.sle.s")  # fmt: skip


@pytest.mark.parametrize("name", HOT)
def test_floating_point_of_ordinary_numbers_does_not_stop_the_engine(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What p-code cannot do goes to the host unnoticed; so would what a broken constructor does not match."""
    opcode = next(opcode for opcode in OPCODES if opcode.name == name)
    numbers = struct.pack("<2d", 1.5, 7.25) if opcode.source == "d" else struct.pack("<4f", 1.5, 2.25, 7.0, 0.5)
    inexact_before = 1 << 16
    record = numbers * 4 + struct.pack("<4Q", 0, 0, 0, inexact_before)
    case = Case(opcode, encode(opcode, random.Random(0)), record.ljust(256, b"\0"))
    program = build([case])
    cpu = mapped(program)
    monkeypatch.setattr(HostOperations, "execute", lambda host, pc: StopReason.EXCEPTION)
    stop = cpu.run(program.entry)
    stopped_at = int.from_bytes(cpu.read(stop.pc, 4), "little")
    assert stopped_at in (movfcsr2gr(SCRATCH), syscall()), "only reading Cause may be the host's"


def test_vectors_are_read_and_written_whole() -> None:
    cpu = mapped(build([make_case(OPCODES[0], random.Random(0))]))
    for number in (0, 31):
        value = 0x0123456789ABCDEFFEDCBA9876543210 + number
        cpu.write_register(f"vr{number}", value)
        assert cpu.read_register(f"v{number}") == value
        assert cpu.read_register(f"f{number}") == value & (1 << 64) - 1
    kept = cpu.save()
    cpu.write_register("v31", 0)
    cpu.restore(kept)
    assert cpu.read_register("v31") == 0x0123456789ABCDEFFEDCBA9876543210 + 31
    assert len(VECTOR_REGISTERS) == 64
