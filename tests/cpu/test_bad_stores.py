"""Stores that Unicorn makes in functions of its own fault as others do: at their place, with nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from emu.cpu.protocol import Protection, Stop, StopReason
from emu.cpu.unicorn import api
from tests.assembler import assembled

from .guests import CODE, DATA, GUESTS, HOLE, PAGE, RW, TRAPS, Bench, benches, page_buffer, words


class _Case(NamedTuple):
    """Code before a store at the bench's address register, and the store."""

    before: str | bytes
    store: str | bytes


def _x86(address: str, di: str) -> dict[str, _Case]:
    ones = f"mov {di}, {address}; pcmpeqd xmm0, xmm0"
    return {
        **{
            name: _Case("fninit; fldpi", f"{name} [{address}]")
            for name in ("fstp tbyte ptr", "fbstp", "fnsave", "fnstenv")
        },
        "fxsave": _Case("nop", f"fxsave [{address}]"),
        "maskmovdqu": _Case(ones, "maskmovdqu xmm0, xmm0"),
        "cmpxchg": _Case("nop", f"lock cmpxchg{'16b' if address == 'rbx' else '8b'} [{address}]"),
        "push": _Case(f"mov {di}, {address}", f"mov [{di}], {di}"),
    }


_RISCV = {
    "amoadd.w": _Case(words(0x13), words(0x00A5A62F)),
    "sc.w": _Case(words(0x1005A62F), words(0x18A5A62F)),
}
_CASES = {
    "x86_64": _x86("rbx", "rdi"),
    "i386": _x86("ebx", "edi"),
    "aarch64": {
        "dc zva": _Case("nop", "dc zva, x1"),
        "stxp": _Case("ldxp x2, x3, [x1]", "stxp w4, x2, x3, [x1]"),
        "stp": _Case("nop", "stp x0, x0, [x1], #16"),
    },
    "arm": {
        "vstmia": _Case("nop", "vstmia r1!, {d0-d3}"),
        "strexd": _Case("ldrexd r2, r3, [r1]", "strexd r4, r2, r3, [r1]"),
    },
    "riscv64": _RISCV,
    "riscv32": _RISCV,
}
_UNCHANGING = {"cmpxchg", "stxp", "strexd"}  #: these store what they have loaded
_FAULTS = {
    "unmapped": {StopReason.WRITE_UNMAPPED, StopReason.READ_UNMAPPED},
    "read-only": {StopReason.WRITE_PROTECTED},
}


@pytest.fixture(params=list(_CASES))
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    yield from benches(GUESTS[request.param])


def _code(bench: Bench, text: str | bytes, address: int) -> bytes:
    return text if isinstance(text, bytes) else assembled(bench.guest.arch, text, address)


def _load(bench: Bench, case: _Case) -> int:
    """Write the code and a return; where the store is."""
    before = _code(bench, case.before, CODE)
    at = CODE + len(before)
    store = _code(bench, case.store, at)
    bench.cpu.write(CODE, before + store + bench.guest.code("return"))
    return at


def _steps(bench: Bench) -> Stop:
    stop = Stop(StopReason.INSTRUCTION_LIMIT, CODE)
    while stop.reason is StopReason.INSTRUCTION_LIMIT:
        stop = bench.cpu.run(stop.pc, max_instructions=1)
    return stop


_WAYS = {
    "to its end": lambda bench: bench.cpu.run(CODE),
    "with limits": lambda bench: bench.cpu.run(CODE, max_instructions=1000, timeout=60),
    "in steps": _steps,
}


@pytest.mark.parametrize("memory", _FAULTS)
def test_a_bad_store_in_a_function_of_the_engine_faults_and_can_be_made_again(bench: Bench, memory: str) -> None:
    cpu, content = bench.cpu, bytes(range(256)) * (PAGE // 256)
    for name, case in _CASES[bench.guest.name].items():
        store = _load(bench, case)
        cpu.write(DATA, content)
        bench.prepare(value=0x1234, address=DATA)
        start = cpu.save()
        assert cpu.run(CODE) == (StopReason.TRAP, TRAPS, None), name
        written = cpu.read(DATA, PAGE)
        assert written != content or name in _UNCHANGING, name
        for way, run in _WAYS.items():
            cpu.restore(start)
            bench.prepare(value=0x1234, address=HOLE)
            if memory == "read-only":
                cpu.map(HOLE, PAGE, Protection.R, page_buffer())
                cpu.write(HOLE, content)
            stop = run(bench)
            assert stop.reason in _FAULTS[memory], (name, way)
            reads_first = stop.reason is StopReason.READ_UNMAPPED
            assert stop.pc == store or (reads_first and stop.pc == CODE), (name, way)
            assert stop.address is not None
            assert 0 <= stop.address - HOLE < 512, (name, way)
            if memory == "read-only":
                assert cpu.read(HOLE, PAGE) == content, (name, way)
                cpu.protect(HOLE, PAGE, RW)
            else:
                cpu.map(HOLE, PAGE, RW, page_buffer())
                cpu.write(HOLE, content)
            assert cpu.run(stop.pc) == (StopReason.TRAP, TRAPS, None), (name, way)
            assert _same(bench, cpu.read(HOLE, PAGE), written), (name, way)
            cpu.unmap(HOLE, PAGE)


def _same(bench: Bench, one: bytes, other: bytes) -> bool:
    """Whether what was stored at HOLE and at DATA is the same, but for the address that it may contain."""
    word = bench.guest.word
    return one.replace(HOLE.to_bytes(word, "little"), DATA.to_bytes(word, "little")) == other


def test_a_store_to_a_page_of_code_is_made(bench: Bench) -> None:
    """Pages that are writable and executable lose the permission to write when they are executed."""
    cpu, content, rwx = bench.cpu, bytes(range(256)) * 2, RW | Protection.X
    cpu.protect(CODE, PAGE, rwx)
    cpu.map(HOLE, PAGE, rwx, page_buffer())
    for name, case in _CASES[bench.guest.name].items():
        _load(bench, case)
        results = []
        for place in (DATA, HOLE + 1024, CODE + 1024):
            cpu.write(place, content)
            if place == HOLE + 1024:
                cpu.write(HOLE, bench.guest.code("return"))
                bench.prepare()
                assert cpu.run(HOLE) == (StopReason.TRAP, TRAPS, None)
            bench.prepare(value=0x1234, address=place)
            assert cpu.run(CODE) == (StopReason.TRAP, TRAPS, None), name
            word = bench.guest.word
            stored = cpu.read(place, len(content))
            results.append(stored.replace(place.to_bytes(word, "little"), DATA.to_bytes(word, "little")))
        assert results[0] == results[1] == results[2], name


@pytest.mark.parametrize("memory", _FAULTS)
def test_a_store_that_the_engine_cannot_leave_at_once_is_a_fault_too(
    bench: Bench, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on hosts without the machine code; the place may be later."""
    monkeypatch.setattr(api, "leaving_function", lambda engine, mode: 0)
    for late in benches(bench.guest):
        if memory == "read-only":
            late.cpu.map(HOLE, PAGE, Protection.R, page_buffer())
        for name, case in _CASES[bench.guest.name].items():
            _load(late, case)
            for way, run in _WAYS.items():
                late.prepare(address=HOLE)
                stop = run(late)
                assert stop.reason in _FAULTS[memory], (name, way)
                assert stop.address is not None
                assert 0 <= stop.address - HOLE < 512, (name, way)
        if memory == "read-only":
            assert not any(late.cpu.read(HOLE, PAGE))
