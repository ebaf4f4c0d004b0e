"""Every LSX instruction on random and edge operands: the CPU must leave what QEMU leaves.

As in `test_against_qemu`, one guest program holds all cases; a case loads four vector registers, two integer
registers, a flag and fcsr, executes one instruction, and stores all of it back, beside 64 bytes of memory. The
instruction set arrived in QEMU 8.2; where the installed one is older, Debian 13's is fetched. For hosts without
a network `lsx_golden.txt` keeps digests of what QEMU left: `python -m tests.loongarch64.test_lsx` writes it.

Not compared, and why: vldi's patterns above the twelfth, which are undefined; Enables is 0, since QEMU would
deliver SIGFPE.
"""

from __future__ import annotations

import hashlib
import random
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.loongarch64.assembler import ZERO, insn, load_immediate, movfcsr2gr, movgr2fcsr, put
from tests.loongarch64.lsx_opcodes import OPCODES, VectorOpcode
from tests.loongarch64.operands import floating, integer
from tests.loongarch64.reference import Program, program_of, run_on_cpu, run_on_qemu
from tests.real import real_program

CODE, STATE, RECORD = 0x2000_0000, 0x3000_0000, 512
#: Where in a record: vectors, integers, flag, fcsr; memory; and the same again for the results.
INTEGERS_IN, FLAG_IN, FCSR_IN, MEMORY, RESULTS = 64, 80, 88, 128, 256
MEMORY_SIZE = 64

BASE, INDEX, SCRATCH, POINTER = 12, 13, 14, 21
INTEGER_POOL, VECTOR_POOL = (4, 5), (0, 1, 2, 3)
PLACES = {"d": 0, "j": 5, "k": 10, "a": 15}
FCSR_BITS = 0x1F1F0300


@dataclass(frozen=True)
class Case:
    opcode: VectorOpcode
    word: int
    record: bytes


def encode(opcode: VectorOpcode, rng: random.Random) -> int:
    word = opcode.word
    for operand in opcode.operands:
        kind, place = operand[0], operand[1:]
        if kind == "V":
            word = put(word, PLACES[place], 5, rng.choice(VECTOR_POOL))
        elif kind == "R" and opcode.memory:
            word = put(word, PLACES[place], 5, BASE if place == "j" else INDEX)
        elif kind == "R":
            word = put(word, PLACES[place], 5, rng.choice(INTEGER_POOL) if rng.random() < 0.95 else ZERO)
        elif kind == "C":
            word = put(word, 0, 3, 0)
        else:
            width, low = map(int, place.split("@"))
            value = rng.choice((0, -1, 1, rng.getrandbits(width), rng.getrandbits(width)))
            if opcode.memory and low == 10:
                value = rng.choice((-2, -1, 0, 1, 3))
            if opcode.name == "vldi" and value >> 12 & 1 and value >> 8 & 15 > 12:
                value &= ~(1 << 12)
            word = put(word, low, width, value)
    return word


def vector(kind: str, rng: random.Random) -> bytes:
    if kind != "i":
        size = {"h": 2, "s": 4, "d": 8}[kind]
        lanes = (
            rng.choice((0, 0x8000, 0x7C00, 0xFC00, 0x7E01, 0x7C01, 1, 0x3FF, 0x400, 0x3C00, rng.getrandbits(16)))
            if kind == "h"
            else floating(rng, kind)
            for _ in range(16 // size)
        )
        return b"".join(lane.to_bytes(8, "little")[:size] for lane in lanes)
    if rng.random() < 0.4:
        return rng.randbytes(16)
    size = rng.choice((1, 2, 4, 8))
    edges = (0, 1, -1, 1 << 8 * size - 1, (1 << 8 * size - 1) - 1, 2, -2, size * 8, size * 8 - 1)
    if rng.random() < 0.7:
        lanes = (rng.choice((*edges, rng.getrandbits(8 * size))) for _ in range(16 // size))
        return b"".join((lane & (1 << 8 * size) - 1).to_bytes(size, "little") for lane in lanes)
    return struct.pack("<2Q", integer(rng), integer(rng))


def cases_of(opcode: VectorOpcode) -> list[Case]:
    rng = random.Random(opcode.name)
    return [make_case(opcode, rng) for _ in range(24 if opcode.raises else 16)]


def make_case(opcode: VectorOpcode, rng: random.Random) -> Case:
    vectors = [vector(opcode.source, rng) for _ in VECTOR_POOL]
    if rng.random() < 0.3:
        vectors[1] = vectors[0]
    fcsr = rng.choice((0, 1 << 16, rng.getrandbits(32))) & FCSR_BITS
    integers = [rng.choice((rng.randrange(32), integer(rng))) for _ in INTEGER_POOL]
    record = b"".join(vectors) + struct.pack("<4Q", *integers, rng.getrandbits(1), fcsr)
    return Case(opcode, encode(opcode, rng), record.ljust(MEMORY, b"\0") + rng.randbytes(MEMORY_SIZE))


def vector_memory(word: int, register: int, offset: int) -> int:
    """vld or vst of a state's vector."""
    return put(put(word, 5, 5, POINTER), 10, 12, offset) | register


def case_code(case: Case, address: int) -> list[int]:
    """Load the state from the record at `address`, do the instruction, store the state."""
    return [
        *load_immediate(POINTER, address), insn("addi.d", BASE, POINTER, MEMORY + 16), insn("ori", INDEX, ZERO, 5),
        *(vector_memory(0x2C000000, v, 16 * v) for v in VECTOR_POOL),
        insn("ld.d", SCRATCH, POINTER, FLAG_IN), insn("movgr2cf", 0, SCRATCH),
        insn("ld.d", SCRATCH, POINTER, FCSR_IN), movgr2fcsr(SCRATCH),
        *(insn("ld.d", r, POINTER, INTEGERS_IN + 8 * number) for number, r in enumerate(INTEGER_POOL)),
        case.word,
        *(insn("st.d", r, POINTER, RESULTS + INTEGERS_IN + 8 * number) for number, r in enumerate(INTEGER_POOL)),
        *(vector_memory(0x2C400000, v, RESULTS + 16 * v) for v in VECTOR_POOL),
        insn("movcf2gr", SCRATCH, 0), insn("st.d", SCRATCH, POINTER, RESULTS + FLAG_IN),
        movfcsr2gr(SCRATCH), insn("st.d", SCRATCH, POINTER, RESULTS + FCSR_IN),
    ]  # fmt: skip


def build(cases: list[Case]) -> Program:
    words = [word for number, case in enumerate(cases) for word in case_code(case, STATE + number * RECORD)]
    return program_of(words, (case.record for case in cases), RECORD, CODE, STATE)


def outcome(record: bytes) -> dict[str, str]:
    """A record's results by name."""
    found = {f"v{v}": record[RESULTS + 16 * v :][:16][::-1].hex() for v in VECTOR_POOL}
    values = struct.unpack_from("<4Q", record, RESULTS + INTEGERS_IN)
    found |= {name: f"{value:x}" for name, value in zip(("r4", "r5", "fcc0", "fcsr"), values, strict=True)}
    return found | {"memory": record[MEMORY : MEMORY + MEMORY_SIZE].hex()}


def describe(case: Case, expected: dict[str, str], found: dict[str, str]) -> str:
    inputs = [case.record[16 * v :][:16][::-1].hex() for v in VECTOR_POOL]
    fcsr = int.from_bytes(case.record[FCSR_IN : FCSR_IN + 8], "little")
    shown = {name: (expected[name], found[name]) for name in expected if expected[name] != found[name]}
    return f"{case.opcode.name} ({case.word:08x}) on {inputs} fcsr {fcsr:x}: (qemu, cpu) = {shown}"


GOLDEN = Path(__file__).with_name("lsx_golden.txt")
SHARES = 4


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def digests(cases: list[Case], state: bytes) -> dict[str, tuple[str, str]]:
    """Instruction -> digests of its cases and of what they left."""
    records: dict[str, tuple[list[bytes], list[bytes]]] = {}
    for number, case in enumerate(cases):
        given, left = records.setdefault(case.opcode.name, ([], []))
        given.append(case.word.to_bytes(4, "little") + case.record)
        left.append(repr(outcome(state[number * RECORD : (number + 1) * RECORD])).encode())
    return {name: (digest(*given), digest(*left)) for name, (given, left) in records.items()}


def golden() -> dict[str, tuple[str, str]]:
    rows = (line.split() for line in GOLDEN.read_text().splitlines())
    return {name: (given, left) for name, given, left in rows}


def share_of(share: int) -> list[Case]:
    return [case for opcode in OPCODES[share::SHARES] for case in cases_of(opcode)]


def newer_qemu() -> str:
    """A qemu-loongarch64 with LSX: the installed one, or Debian 13's."""
    return real_program("qemu-loongarch64", at_least=(8, 2))


@dataclass(frozen=True)
class Share:
    """Some of the cases, and what the CPU left."""

    cases: list[Case]
    program: Program
    left: bytes


@pytest.fixture(scope="module", params=range(SHARES))
def share(request: pytest.FixtureRequest) -> Share:
    cases = share_of(request.param)
    program = build(cases)
    return Share(cases, program, run_on_cpu(program))


@pytest.mark.sample(1)
@pytest.mark.real
def test_vector_instructions_leave_what_qemu_leaves(tmp_path: Path, share: Share) -> None:
    cases, actual = share.cases, share.left
    reference = run_on_qemu(share.program, tmp_path, newer_qemu())
    wrong = []
    for number, case in enumerate(cases):
        place = slice(number * RECORD, (number + 1) * RECORD)
        expected, found = outcome(reference[place]), outcome(actual[place])
        if expected != found:
            wrong.append(describe(case, expected, found))
    assert not wrong, "\n".join([f"{len(wrong)} of {len(cases)} cases differ:", *wrong[:20]])
    known = golden()
    assert digests(cases, reference) == {name: known[name] for name in {case.opcode.name for case in cases}}


@pytest.mark.sample(1)
def test_vector_instructions_leave_what_qemu_left_once(share: Share) -> None:
    known = golden()
    found = digests(share.cases, share.left)
    changed = [name for name, (given, _) in found.items() if known.get(name, ("",))[0] != given]
    assert not changed, "other cases than those of lsx_golden.txt: it wants to be written anew (see above)"
    assert not [name for name, (_, left) in found.items() if known[name][1] != left]


def write_golden() -> None:
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for share in range(SHARES):
            cases = share_of(share)
            state = run_on_qemu(build(cases), Path(place), newer_qemu())
            lines += [f"{name} {given} {left}" for name, (given, left) in digests(cases, state).items()]
    GOLDEN.write_text("\n".join(sorted(lines)) + "\n")


if __name__ == "__main__":
    write_golden()
