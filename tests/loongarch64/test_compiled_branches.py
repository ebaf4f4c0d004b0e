"""LoongArch64 code of branches and calls stops where, and with what, the interpreter does, when compiled.

Compiled code goes on behind branches (branch.sinc), so limits and faults are in the middle of what the engine has
compiled as one.
"""

from __future__ import annotations

import random

import pytest

from emu.cpu.icicle.compiled import CompiledEngine
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Protection, Stop
from tests.loongarch64.assembler import code, insn, jirl, put, syscall
from tests.loongarch64.test_compiled import branch
from tests.loongarch64.test_icicle_cpu import CODE, DATA, PAGE, RW, RX, TRAPS, TRAPS_SIZE, pages

_WORDS = PAGE // 4
_REGISTERS = range(4, 16)
#: Bases of accesses: memory, its end, memory that is read-only, none.
_BASES = {16: DATA + 64, 17: DATA + PAGE - 6, 18: DATA + PAGE + 16, 19: DATA - 8}
_INVALID = 0xFFFF_FFFF


def _computation(rng: random.Random) -> int:
    d, j, k = (rng.choice(_REGISTERS) for _ in range(3))
    plain = ("add.w", "add.d", "xor", "sltu", "sub.w", "mul.d", "rotr.w", "maskeqz", "div.wu")
    name = rng.choice((*plain, "amadd", "fcmp"))
    if name == "amadd":
        return insn("amadd.w", d, k, rng.choice(list(_BASES)))
    if name == "fcmp":
        return insn("fcmp.clt.d", rng.randrange(4), d, j)
    return insn(name, d, j, k)


def _access(rng: random.Random) -> int:
    name = rng.choice(("ld.w", "ld.d", "ld.bu", "st.d", "st.w", "st.h", "st.b"))
    base = rng.choices(list(_BASES), (60, 4, 6, 1))[0]
    return insn(name, rng.choice(_REGISTERS), base, rng.choice((0, rng.randrange(-8 if base == 17 else 0, 24))))


def _branch(rng: random.Random, at: int) -> int:
    kind = rng.choice((16, 17, 18, 20, 21, *range(22, 28), "return", "register"))
    target = max(0, min(_WORDS - 1, at + rng.choice((rng.randrange(-12, 24), rng.randrange(1, 6)))))
    words = target - at
    if kind == "return":
        return jirl(0, 1)
    if kind == "register":
        return jirl(rng.choice((0, 1)), 21, 4 * rng.randrange(8))
    assert isinstance(kind, int)
    if kind >= 22:
        j, d = rng.choice(_REGISTERS), rng.choice((0, *_REGISTERS))
        return put(kind << 26 | j << 5 | d, 10, 16, words)
    register = rng.randrange(4) | rng.choice((0, 8)) if kind == 18 else rng.choice(_REGISTERS)
    return branch(kind, words, register)


def _program(rng: random.Random) -> bytes:
    words = []
    for at in range(_WORDS):
        what = rng.choices(("compute", "access", "branch", "invalid", "syscall"), (50, 30, 20, 0.3, 0.3))[0]
        words.append(
            _branch(rng, at) if what == "branch"
            else _access(rng) if what == "access"
            else _INVALID if what == "invalid"
            else syscall() if what == "syscall"
            else _computation(rng)
        )  # fmt: skip
    return code(*words)


def _cpu(program: bytes, jit: bool, seed: int) -> IcicleCpu:
    rng = random.Random(seed)
    cpu = IcicleCpu()
    cpu.jit = jit
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, PAGE, RX, pages(program))
    cpu.map(DATA, PAGE, RW, pages(rng.randbytes(PAGE)))
    cpu.map(DATA + PAGE, PAGE, Protection.R, pages(rng.randbytes(PAGE)))
    values = {f"r{number}": rng.choice((0, 1, rng.getrandbits(64))) for number in _REGISTERS}
    cpu.write_registers({**values, **{f"r{number}": base for number, base in _BASES.items()}})
    cpu.write_registers({"r21": CODE + 4 * rng.randrange(_WORDS - 8), "ra": CODE + 4 * rng.randrange(_WORDS)})
    cpu.write_registers({f"f{number}": rng.getrandbits(64) for number in range(32)})
    return cpu


def compare(seed: int, stops: int, joins: float = 0.0) -> int:
    """Run a random program on both engines with random limits; the number of faults. Compiled code is joined at so
    many of the stops.
    """
    rng = random.Random(seed)
    program = _program(rng)
    both = [_cpu(program, jit, seed) for jit in (True, False)]
    pc, faults = CODE + 4 * rng.randrange(_WORDS), 0
    for _ in range(stops):
        limit = rng.choice((1, 2, 3, rng.randrange(1, 40), rng.randrange(1, 400)))
        found: list[Stop] = [cpu.run(pc, max_instructions=limit) for cpu in both]
        assert found[0] == found[1]
        assert both[0].executed == both[1].executed <= limit
        assert both[0].save() == both[1].save()
        faults += found[0].reason.is_fault
        if rng.random() < joins:
            engine = both[0].engine
            assert isinstance(engine, CompiledEngine)
            engine.join()
        # Elsewhere after a fault, and from time to time, so that all the program runs.
        elsewhere = both[0].executed < limit or rng.random() < 0.1
        pc = CODE + 4 * rng.randrange(_WORDS) if elsewhere else found[0].pc
    assert both[0].read(DATA, 2 * PAGE) == both[1].read(DATA, 2 * PAGE)
    assert [cpu.compiled for cpu in both] == [True, False]
    for cpu in both:
        cpu.close()
    return faults


@pytest.mark.parametrize("seed", range(2))
def test_limits_and_faults_between_branches_are_the_interpreters(seed: int) -> None:
    assert compare(seed, 60) > 5


@pytest.mark.parametrize("seed", range(2))
def test_joined_code_stops_where_its_parts_do(seed: int) -> None:
    assert compare(seed, 60, joins=0.1) > 5
