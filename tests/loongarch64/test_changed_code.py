"""Guests that change their own code, on a page that they write data to as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Stop, StopReason
from tests.loongarch64.assembler import A0, A1, A2, A3, A5, A6, RA, ZERO, code, insn, jirl
from tests.loongarch64.test_compiled import branch
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RWX, RX, TRAPS, TRAPS_SIZE, pages

_FUNCTION = 0x100  #: in the page
_IBAR = insn("ibar", 0)


@pytest.fixture(params=[True, False], ids=["compiled", "interpreted"])
def cpu(request: pytest.FixtureRequest) -> Iterator[IcicleCpu]:
    cpu = IcicleCpu()
    cpu.jit = request.param
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    yield cpu
    cpu.close()


def _run(cpu: IcicleCpu, *stores: int, to: int = _FUNCTION, clean: bool = False) -> None:
    """Call a function that adds 1 twice to a0, execute the stores, and go to `to` in the page, which a3 is.

    A `clean` page has been part of a snapshot, and not been written since.
    """
    words = [insn("or", A5, RA, ZERO), branch(21, _FUNCTION // 4 - 1), *stores]
    words += [branch(21, to // 4 - len(words)), jirl(ZERO, A5)]
    page = bytearray(code(*words).ljust(_FUNCTION, b"\0"))
    page += code(insn("addi.d", A0, A0, 1), insn("addi.d", A0, A0, 1), jirl(ZERO, RA))
    cpu.map(CODE, PAGE, RWX, pages(bytes(page)))
    if clean:
        cpu.settle(())
    cpu.write_registers({"ra": TRAPS, "a2": 0x55, "a3": CODE})
    assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS)
    assert cpu.executed == len(words) + 2 * 3 - (to - _FUNCTION) // 4


@pytest.mark.parametrize("data", [False, True], ids=["code", "data-and-code"])
@pytest.mark.parametrize("place", [0, -2, 4, 2])
def test_after_a_barrier_what_was_stored_runs(cpu: IcicleCpu, data: bool, place: int) -> None:
    """A word is stored so far from the function's start: all of an instruction, or halves of two."""
    first, second = (1, 16) if place > 0 else (16, 1)
    other = b"\0\0" + code(insn("addi.d", A0, A0, first), insn("addi.d", A0, A0, second))
    cpu.write_register("a1", int.from_bytes(other[2 + place :][:4], "little"))
    stores = [insn("st.d", A2, A3, 0x700)] if data else []
    _run(cpu, *stores, insn("st.w", A1, A3, _FUNCTION + place), _IBAR)
    assert cpu.read_register("a0") == 2 + 17


@pytest.mark.parametrize("store", ["st.w", "amswap.w"])
def test_code_of_a_page_that_a_snapshot_protects_is_stored_to(cpu: IcicleCpu, store: str) -> None:
    cpu.write_register("a1", insn("addi.d", A0, A0, 16))
    address = insn("addi.d", A6, A3, _FUNCTION)
    stored = insn("st.w", A1, A3, _FUNCTION) if store == "st.w" else insn(store, ZERO, A1, A6)
    _run(cpu, address, stored, _IBAR, clean=True)
    assert cpu.read_register("a0") == 2 + 17
    assert cpu.written().keys() == {CODE}


def test_an_instruction_that_was_another_runs_where_it_is(cpu: IcicleCpu) -> None:
    """The store is not noticed before the instruction is translated again; it is relative to its own address."""
    cpu.write_register("a1", insn("pcaddi", A0, 0))
    _run(cpu, insn("st.d", A2, A3, 0x700), insn("st.w", A1, A3, _FUNCTION + 4), to=_FUNCTION + 4)
    assert cpu.read_register("a0") == CODE + _FUNCTION + 4


def test_a_barrier_keeps_what_was_compiled_where_no_page_is_written_and_run(cpu: IcicleCpu) -> None:
    cpu.map(CODE, PAGE, RX, pages(code(_IBAR, insn("addi.d", A0, A0, 1), jirl(ZERO, RA))))
    for number in range(1, 4):
        cpu.write_register("ra", TRAPS)
        assert cpu.run(CODE) == Stop(StopReason.TRAP, TRAPS)
        assert cpu.read_register("a0") == number
        assert cpu.executed == 3
        assert cpu.compiled == bool(cpu.jit)
    assert not cpu._rebuilt
