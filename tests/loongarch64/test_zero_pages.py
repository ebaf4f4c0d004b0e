"""Memory that is all zeros: each page has its own permissions and, once written, its own content."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Protection, Stop, StopReason
from tests.loongarch64.assembler import A0, A1, A2, RA, ZERO, code, insn, jirl
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RW, RWX, RX, TRAPS, TRAPS_SIZE, pages

DATA, COUNT = 0x4000_0000, 6
_LOAD, _STORE = CODE, CODE + 8
TRAP = Stop(StopReason.TRAP, TRAPS)


def _cpu(jit: bool) -> IcicleCpu:
    cpu = IcicleCpu()
    cpu.jit = jit
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.map(
        CODE,
        PAGE,
        RX,
        pages(code(insn("ld.d", A0, A1, 0), jirl(ZERO, RA), insn("st.d", A2, A1, 0), jirl(ZERO, RA))),
    )
    cpu.map(DATA, COUNT * PAGE, RW, pages(b"", COUNT * PAGE))
    return cpu


@pytest.fixture(params=[True, False], ids=["compiled", "interpreted"])
def cpu(request: pytest.FixtureRequest) -> Iterator[IcicleCpu]:
    cpu = _cpu(request.param)
    yield cpu
    cpu.close()


def _run(cpu: IcicleCpu, what: int, page: int) -> Stop:
    cpu.write_registers({"ra": TRAPS, "a1": DATA + page * PAGE, "a2": 77})
    return cpu.run(what)


def _load_all(cpu: IcicleCpu) -> None:
    for page in range(COUNT):
        assert _run(cpu, _LOAD, page) == TRAP


@pytest.mark.parametrize("before", [RW, Protection.R], ids=["writable", "read-only"])
@pytest.mark.parametrize("other", [Protection.NONE, RX, RWX], ids=["none", "executable", "all"])
def test_permissions_of_one_page_are_not_those_of_all(
    cpu: IcicleCpu, before: Protection, other: Protection
) -> None:
    cpu.protect(DATA, COUNT * PAGE, before)
    _load_all(cpu)
    cpu.protect(DATA + PAGE, PAGE, other)
    cpu.protect(DATA + 2 * PAGE, 2 * PAGE, other)
    for page in (0, 4, 5):
        assert _run(cpu, _LOAD, page) == TRAP
        assert (_run(cpu, _STORE, page) == TRAP) == (before is RW)
        assert _run(cpu, DATA, page).reason is StopReason.FETCH_PROTECTED
    for page in (1, 2, 3):
        assert (_run(cpu, _LOAD, page) == TRAP) == (other is not Protection.NONE)
        assert (_run(cpu, _STORE, page) == TRAP) == (other is RWX)
    another = _cpu(bool(cpu.jit))
    another.protect(DATA, COUNT * PAGE, RW)
    _load_all(another)
    assert _run(another, _STORE, 0) == TRAP
    another.close()


def test_what_is_written_to_a_read_only_page_is_there_alone(cpu: IcicleCpu) -> None:
    cpu.protect(DATA, COUNT * PAGE, Protection.R)
    _load_all(cpu)
    cpu.write(DATA + 2 * PAGE - 3, b"crossing")
    assert cpu.read(DATA, COUNT * PAGE) == b"crossing".rjust(2 * PAGE + 5, b"\0").ljust(COUNT * PAGE, b"\0")
    _load_all(cpu)
    for page in range(COUNT):
        assert _run(cpu, _STORE, page).reason is StopReason.WRITE_PROTECTED


def test_pages_are_written_after_a_watched_one_has_been_closed(cpu: IcicleCpu) -> None:
    cpu.settle([])
    _load_all(cpu)
    cpu.protect(DATA, PAGE, Protection.NONE)
    for page in range(1, COUNT):
        assert _run(cpu, _STORE, page) == TRAP
    assert sorted(cpu.written()) == [DATA + page * PAGE for page in range(1, COUNT)]


def test_pages_keep_their_content_and_those_mapped_later_are_new(cpu: IcicleCpu) -> None:
    cpu.protect(DATA, COUNT * PAGE, RW)
    cpu.write(DATA + PAGE + 100, b"kept")
    _load_all(cpu)
    cpu.protect(DATA, COUNT * PAGE, Protection.NONE)
    assert cpu.read(DATA + PAGE + 100, 4) == b"kept"
    cpu.protect(DATA, COUNT * PAGE, Protection.R)
    cpu.unmap(DATA + PAGE, PAGE)
    cpu.map(DATA + PAGE, PAGE, RW, pages(b"new"))
    cpu.write(DATA + PAGE, b"n")
    assert _run(cpu, _STORE, 1) == TRAP
