"""Compiled code stops after exactly as many instructions as it may, whichever instruction is before the limit.

Where few instructions are left to a limit, compiled code goes on interpreted from the start of a block, which may
be within an instruction that branches within itself (`end_block` in loongarch64.slaspec).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from emu.cpu.icicle.compiled import CompiledEngine
from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Stop, StopReason
from tests.loongarch64 import test_against_qemu, test_lsx
from tests.loongarch64.assembler import RA, ZERO, code, insn, jirl
from tests.loongarch64.lsx_opcodes import OPCODES
from tests.loongarch64.opcodes import FLOATING, NON_FLOATING
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RW, RX, TRAPS, TRAPS_SIZE, pages

DATA = 0x4000_0000
_COUNTED = insn("addi.d", 19, 19, 1)
#: The instruction is the third of eight.
_BEFORE, _AFTER = (_COUNTED, _COUNTED), (_COUNTED, _COUNTED, _COUNTED, _COUNTED, jirl(ZERO, RA))
_SIZE = 4 * 8
_REGISTERS = {
    "ra": TRAPS,
    "r12": DATA + 256,
    "r13": 8,
    "r4": 5,
    "r5": 77,
    "r6": (1 << 64) - 3,
    "r7": 0x12_3456_7890,
}


def _encoded(opcodes: Iterable, encode: Callable) -> list[tuple[str, int]]:  # type: ignore[type-arg]
    rng = random.Random(3)
    return [(opcode.name, encode(opcode, rng)) for opcode in opcodes if opcode.name != "preldx"]


def _others() -> list[tuple[str, int]]:
    """Those that QEMU does not have: d is a0, the address a register of its own, the bound 0 or the address."""
    atomics = [(f"atomic {op:#x}", op << 15 | 6 << 10 | 12 << 5 | 4) for op in range(0x70B0, 0x70C0)]
    linked = [(f"llacq, screl {op:#x}", op << 10 | 12 << 5 | 4) for op in range(0xE15E0, 0xE15E4)]
    greater = [*range(0x70E8, 0x70EA), *range(0x70EC, 0x70EE), *range(0x70F0, 0x70F4), *range(0x70F8, 0x70FC)]
    less = [*range(0x70EA, 0x70EC), *range(0x70EE, 0x70F0), *range(0x70F4, 0x70F8), *range(0x70FC, 0x7100)]
    bounds = [
        (f"bound {op:#x}", op << 15 | k << 10 | 12 << 5 | 4) for ops, k in ((greater, 0), (less, 12)) for op in ops
    ]
    return [
        *atomics,
        *linked,
        *bounds,
        ("asrtle.d", 2 << 15 | 12 << 10 | 4 << 5),
        ("asrtgt.d", 3 << 15 | 4 << 10 | 12 << 5),
    ]


@pytest.mark.parametrize("kind", ["integers", "floating", "vectors", "others"])
def test_limits_after_every_instruction(kind: str) -> None:
    cases = {
        "integers": lambda: _encoded(NON_FLOATING, test_against_qemu.encode),
        "floating": lambda: _encoded(FLOATING, test_against_qemu.encode),
        "vectors": lambda: _encoded(OPCODES, test_lsx.encode),
        "others": _others,
    }[kind]()
    program = code(*(each for _, word in cases for each in (*_BEFORE, word, *_AFTER)))
    size = -len(program) // PAGE * -PAGE
    cpu = IcicleCpu()
    cpu.jit = True
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(CODE, size, RX, pages(program, size))
    cpu.map(DATA, PAGE, RW, pages(b""))
    for limits in ((3, 4, 6), (5,)):
        for at, (name, _) in zip(range(CODE, CODE + size, _SIZE), cases, strict=False):
            for limit in limits:
                cpu.write_registers({**_REGISTERS, "r19": 0})
                stop = cpu.run(at, max_instructions=limit)
                assert stop == Stop(StopReason.INSTRUCTION_LIMIT, at + 4 * limit), name
                assert (cpu.executed, cpu.read_register("r19")) == (limit, limit - 1), name
            cpu.write_registers({**_REGISTERS, "r19": 0})
            assert cpu.run(at) == Stop(StopReason.TRAP, TRAPS), name
            assert cpu.executed == 8
        assert isinstance(cpu.engine, CompiledEngine)
        cpu.engine.join()
    cpu.close()
