"""Every user-mode instruction on random and edge operands: the CPU must leave what qemu-loongarch64 leaves.

One guest program holds all cases. A case loads four integer registers, four floating-point ones, two condition
flags and fcsr from its record, executes one instruction, and stores them all back, beside 32 bytes of memory
that loads, stores and atomics work on. So results, NaN payloads, memory, rounding in all four modes and the
Flags and Cause fields are compared, bit for bit.

Not compared, and why: the upper half of a floating-point register after a single-precision (or word) result,
which the manual leaves undefined; Enables is 0, since QEMU would deliver SIGFPE (`test_icicle_cpu` enables
them); break, syscall, cpucfg and the timers, which differ by nature; bound checks, byte and half atomics,
amcas, llacq, screl and preldx, which QEMU 7.2 does not have (`test_icicle_cpu`); branches are in `test_branches`.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.loongarch64.assembler import (
    FIELDS,
    ZERO,
    insn,
    load_immediate,
    movfcsr2gr,
    movgr2fcsr,
    put,
)
from tests.loongarch64.opcodes import FLOATING, NON_FLOATING, Opcode
from tests.loongarch64.operands import floating, integer, near_product
from tests.loongarch64.reference import Program, needs_qemu, program_of, run_on_cpu, run_on_qemu

CODE, STATE, RECORD = 0x2000_0000, 0x3000_0000, 512
#: Where in a record: integers, floats, flags, fcsr; memory; and the same again for the results.
FLOATS_IN, FLAGS_IN, FCSR_IN, MEMORY, RESULTS = 32, 64, 80, 128, 256

BASE, INDEX, SCRATCH, POINTER = 12, 13, 14, 21
INTEGER_POOL, FLOAT_POOL, FLAG_POOL = (4, 5, 6, 7), (0, 1, 2, 3), (0, 1)

#: Bits of fcsr that exist, without Enables.
FCSR_BITS = 0x1F1F0300


@dataclass(frozen=True)
class Case:
    opcode: Opcode
    word: int
    record: bytes


def encode(opcode: Opcode, rng: random.Random) -> int:
    """The instruction with random operands, registers from the small pools so that they overlap often."""
    word = opcode.word
    for operand in opcode.operands:
        low, width = FIELDS[operand][0]
        if operand in ("m12", "m14", "mx", "m0"):
            word = put(word, 5, 5, BASE)
            if operand == "mx":
                word = put(word, 10, 5, INDEX)
            elif operand != "m0":
                word = put(word, 10, 12, rng.choice((0, 1, 4, 8, 16) if operand == "m12" else (0, 2, 4)))
        elif operand in ("bw", "bd"):
            lsb, msb = sorted(rng.randrange(1 << width) for _ in "ab")
            word = put(put(word, low, width, lsb), 16, width, msb)
        elif operand in ("d", "j", "k"):
            word = put(word, low, width, rng.choice(INTEGER_POOL) if rng.random() < 0.95 else ZERO)
        elif operand in ("D", "J", "K", "A"):
            word = put(word, low, width, rng.choice(FLOAT_POOL))
        elif operand in ("cd", "cj", "ca"):
            word = put(word, low, width, rng.choice(FLAG_POOL))
        else:
            word = put(word, low, width, rng.choice((0, -1, rng.getrandbits(width))))
    if opcode.name.startswith("am") and word & 31 == word >> 10 & 31:
        word = put(word, 0, 5, SCRATCH)  # source and destination the same: QEMU calls it illegal
    return word


def make_case(opcode: Opcode, rng: random.Random) -> Case:
    """Half the cases start with Flags.I clear, half the rest rounds to nearest: the fast states and the others."""
    integers = [integer(rng) for _ in INTEGER_POOL]
    floats = [floating(rng, opcode.source) for _ in FLOAT_POOL]
    fcsr = rng.choice((0, 0, 1 << 16, rng.getrandbits(32), 1 << 16 | rng.getrandbits(32))) & FCSR_BITS
    word = encode(opcode, rng)
    if "A" in opcode.operands and rng.random() < 0.6:
        j, k, a = (word >> low & 31 for low in (5, 10, 15))
        floats[a] = near_product(floats[j], floats[k], opcode.source, rng)
    record = struct.pack("<8Q3Q", *integers, *floats, *(rng.getrandbits(1) for _ in "ab"), fcsr)
    return Case(opcode, word, record.ljust(MEMORY, b"\0") + rng.randbytes(32))


def case_code(case: Case, address: int) -> list[int]:
    """Load the state from the record at `address`, do the instruction, store the state."""
    words = [
        *load_immediate(POINTER, address),
        insn("addi.d", BASE, POINTER, MEMORY),
        insn("ori", INDEX, ZERO, 8),
        *(insn("fld.d", f, POINTER, FLOATS_IN + 8 * f) for f in FLOAT_POOL),
    ]
    for flag in FLAG_POOL:
        words += [insn("ld.d", SCRATCH, POINTER, FLAGS_IN + 8 * flag), insn("movgr2cf", flag, SCRATCH)]
    words += [insn("ld.d", SCRATCH, POINTER, FCSR_IN), movgr2fcsr(SCRATCH)]
    words += [insn("ld.d", r, POINTER, 8 * number) for number, r in enumerate(INTEGER_POOL)]
    if case.opcode.name.startswith("sc."):
        words.append(insn("ll" + case.opcode.name[2:], SCRATCH, BASE, 0))
    words.append(case.word)
    words += [insn("st.d", r, POINTER, RESULTS + 8 * number) for number, r in enumerate(INTEGER_POOL)]
    words += [insn("fst.d", f, POINTER, RESULTS + FLOATS_IN + 8 * f) for f in FLOAT_POOL]
    for flag in FLAG_POOL:
        words += [insn("movcf2gr", SCRATCH, flag), insn("st.d", SCRATCH, POINTER, RESULTS + FLAGS_IN + 8 * flag)]
    return [*words, movfcsr2gr(SCRATCH), insn("st.d", SCRATCH, POINTER, RESULTS + FCSR_IN)]


def build(cases: list[Case]) -> Program:
    words = [word for number, case in enumerate(cases) for word in case_code(case, STATE + number * RECORD)]
    return program_of(words, (case.record for case in cases), RECORD, CODE, STATE)


def outcome(case: Case, record: bytes) -> dict[str, int | bytes]:
    """A record's results by name, the undefined half of a single-precision destination left out."""
    values = struct.unpack_from("<11Q", record, RESULTS)
    names = [f"r{r}" for r in INTEGER_POOL] + [f"f{f}" for f in FLOAT_POOL] + ["fcc0", "fcc1", "fcsr"]
    found: dict[str, int | bytes] = dict(zip(names, values, strict=True))
    if case.opcode.result_width == 32:
        destination = f"f{case.word & 31}"
        found[destination] = values[names.index(destination)] & 0xFFFFFFFF
    return found | {"memory": record[MEMORY : MEMORY + 32]}


def describe(case: Case, expected: dict[str, int | bytes], found: dict[str, int | bytes]) -> str:
    inputs = struct.unpack_from("<11Q", case.record)
    shown = {
        name: tuple(hex(v) if isinstance(v, int) else v.hex() for v in (expected[name], found[name]))
        for name in expected
        if expected[name] != found[name]
    }
    return f"{case.opcode.name} ({case.word:08x}) on {[hex(value) for value in inputs]}: (qemu, cpu) = {shown}"


def compare(opcodes: list[Opcode], repetitions: int, seed: int, directory: Path) -> list[str]:
    rng = random.Random(seed)
    cases = [make_case(opcode, rng) for opcode in opcodes for _ in range(repetitions)]
    program = build(cases)
    reference, actual = run_on_qemu(program, directory), run_on_cpu(program)
    wrong = []
    for number, case in enumerate(cases):
        place = slice(number * RECORD, (number + 1) * RECORD)
        expected, found = outcome(case, reference[place]), outcome(case, actual[place])
        if expected != found:
            wrong.append(describe(case, expected, found))
    return wrong


OTHERS = [opcode for opcode in NON_FLOATING if opcode.name != "preldx"]


@needs_qemu
def test_integer_and_memory_instructions_leave_what_qemu_leaves(tmp_path: Path) -> None:
    wrong = compare(OTHERS, 24, 1, tmp_path)
    assert not wrong, "\n".join([f"{len(wrong)} cases differ:", *wrong[:20]])


@pytest.mark.sample(1)
@needs_qemu
@pytest.mark.parametrize("seed", [2, 3])
def test_floating_point_instructions_leave_what_qemu_leaves(tmp_path: Path, seed: int) -> None:
    wrong = compare(list(FLOATING), 40, seed, tmp_path)
    assert not wrong, "\n".join([f"{len(wrong)} cases differ:", *wrong[:20]])
