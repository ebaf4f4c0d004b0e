"""Encodings at which Unicorn would end the process are invalid instructions, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection, Stop, StopReason
from emu.cpu.unicorn import code_pages
from emu.cpu.unicorn.untranslatable import UNTRANSLATABLE

ALL = Protection.R | Protection.W | Protection.X
CODE, SIZE, TRAPS = 0x10000, 0x4000, 0x7000_0000
#: An instruction that runs, and one that would end the process.
ENCODINGS = {
    "aarch64": (bytes.fromhex("21040091"), bytes.fromhex("7df9790e")),  # add x1, x1, #1
    "x86_64": (bytes.fromhex("48ffc1"), bytes.fromhex("66f0480fabc1")),  # inc rcx; lock bts rcx, rax
    "i386": (bytes.fromhex("41"), bytes.fromhex("f00fbae105")),  # inc ecx; lock bt ecx, 5
}


def room(size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    space = np.zeros(size + 4096, np.uint8)
    return space[-space.ctypes.data % 4096 :][:size]


@pytest.fixture(params=list(ENCODINGS))
def cpu(request: pytest.FixtureRequest) -> Iterator[Cpu]:
    made = create_cpu(request.param)
    made.set_trap_range(TRAPS, 0x1000)
    made.map(CODE, SIZE, ALL, room(SIZE))
    yield made
    made.close()


def refused(stop: Stop, pc: int) -> bool:
    return stop.reason is StopReason.INVALID_INSTRUCTION and stop.pc == pc


@pytest.mark.parametrize(
    "start", [CODE, CODE + 0x20, CODE + 0xFF4], ids=["first", "later", "at the end of a page"]
)
def test_it_is_refused_where_it_stands_and_what_lies_before_it_runs_once(cpu: Cpu, start: int) -> None:
    good, bad = ENCODINGS[cpu.arch]
    cpu.write(start, good * 3 + bad)
    counter = {"aarch64": "x1", "i386": "ecx", "x86_64": "rcx"}[cpu.arch]
    cpu.write_register(counter, 0)
    for runs in (1, 2):
        assert refused(cpu.run(start), start + 3 * len(good))
        assert cpu.read_register(counter) == 3 * runs


def test_code_that_the_host_changes_is_searched_again(cpu: Cpu) -> None:
    good, bad = ENCODINGS[cpu.arch]
    for _ in range(2):
        cpu.write(CODE, good + bad)
        assert refused(cpu.run(CODE, max_instructions=100), CODE + len(good))
        cpu.write(CODE + len(good), good * 8)
        assert cpu.run(CODE, max_instructions=3).reason is StopReason.INSTRUCTION_LIMIT
    cpu.protect(CODE, SIZE, Protection.R | Protection.W)
    assert cpu.run(CODE).reason is StopReason.FETCH_PROTECTED
    cpu.write(CODE, good + bad)
    cpu.protect(CODE, SIZE, Protection.R | Protection.X)
    assert refused(cpu.run(CODE), CODE + len(good))
    assert cpu.executed == 3


@pytest.mark.parametrize("where", [CODE + 0x800, CODE + 0x1800], ids=["its own page", "another page"])
@pytest.mark.parametrize("times", [1, 30])
def test_code_that_the_guest_writes_is_searched_before_it_runs(cpu: Cpu, where: int, times: int) -> None:
    if cpu.arch == "aarch64":
        code = "010000b942040071c1ffff54030000b900001fd6"
        values = {
            "x0": where,
            "x1": 0xD503201F,
            "x2": times,
            "x3": int.from_bytes(ENCODINGS["aarch64"][1], "little"),
        }
    else:
        # mov [rdi], edx; dec ecx; jne; mov [rdi], ebx; mov [rdi + 4], ebp; jmp rdi
        code = "8917ffc975fa891f896f04ffe7"
        bad = ENCODINGS[cpu.arch][1].ljust(8, b"\x90")
        first, second = int.from_bytes(bad[:4], "little"), int.from_bytes(bad[4:], "little")
        names = ("rdi", "rdx", "rcx", "rbx", "rbp")
        if cpu.arch == "i386":
            names = ("edi", "edx", "ecx", "ebx", "ebp")
        values = dict(zip(names, (where, 0x9090_9090, times, first, second), strict=True))
    cpu.write(CODE, bytes.fromhex(code))
    for limit in (0, 10_000):
        cpu.write_registers(values)
        assert refused(cpu.run(CODE, max_instructions=limit), where)
    assert cpu.executed == 3 * times + (2 if cpu.arch == "aarch64" else 3)


def test_a_page_written_by_its_own_code_very_often_keeps_both_permissions(
    cpu: Cpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or each store would take a quarter of a millisecond for ever."""
    monkeypatch.setattr(code_pages, "_MOST_STEPS", 20)
    if cpu.arch == "aarch64":
        code, counter, pointer, end = "010000b942040071c1ffff54c0035fd6", "x2", "x0", "lr"
        cpu.write_register(end, TRAPS)
    else:
        code, counter, pointer = "8917ffc975fa", *(("ecx", "edi") if cpu.arch == "i386" else ("rcx", "rdi"))
        code += "e9" + (TRAPS - CODE - 11).to_bytes(4, "little").hex()
    cpu.write(CODE, bytes.fromhex(code))
    cpu.write_registers({pointer: CODE + 0x800, counter: 100})
    assert cpu.run(CODE).reason is StopReason.TRAP
    assert cpu.read_register(counter) == 0


def test_encodings_of_aarch64_beside_the_reserved_ones_run() -> None:
    """fmul, fabd, fcvtns, scvtf, fsqrt of vectors; frecpx of a scalar."""
    codes = [0x6E421C20, 0x6EC21420, 0x4E79A820, 0x4E79D820, 0x6EF9F820, 0x5EF9F820]
    assert UNTRANSLATABLE["aarch64"](b"".join(code.to_bytes(4, "little") for code in codes), 0) == []
    every = np.arange(1 << 22, dtype=np.uint32) << 10 | 0x22
    assert len(UNTRANSLATABLE["aarch64"](every.astype("<u4").tobytes(), 0)) == 810


def test_prefixes_of_x86_belong_to_the_instruction() -> None:
    find = UNTRANSLATABLE["x86_64"]
    assert find(bytes.fromhex("90662ef0480fb3c8c3"), 100) == [101, 102, 103], "behind f0 it has no LOCK"
    assert find(bytes.fromhex("f00fb308"), 0) == [], "in memory it is right"
    assert find(b"\xf0" * 100_000 + b"\x0f", 0) == []


@pytest.mark.parametrize(
    ("arch", "code"),
    [("x86_64", "48b800000000000000f0 480fa3f8 90"), ("i386", "b8000000f0 0fa3f8 90")],  # mov; bt; nop
)
def test_a_bit_test_behind_a_constant_that_ends_like_a_lock_prefix_runs(arch: str, code: str) -> None:
    cpu, content = create_cpu(arch), bytes.fromhex(code)
    cpu.set_trap_range(TRAPS, 0x1000)
    cpu.map(CODE, SIZE, ALL, room(SIZE))
    cpu.write(CODE, content)
    stop = cpu.run(CODE, max_instructions=3)
    assert (stop.reason, stop.pc) == (StopReason.INSTRUCTION_LIMIT, CODE + len(content))
    cpu.close()
