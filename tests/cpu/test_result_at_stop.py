"""The register of results is read with the pc when the engine stops: whatever changes it later is seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu.cpu.protocol import StopReason
from emu.cpu.unicorn.cpu import UnicornCpu

from .guests import HOLE, Bench


def _native_write(bench: Bench) -> None:
    from benchmarks.bare_unicorn import register_number

    bench.cpu.native.reg_write(register_number(bench.guest.name, bench.guest.value), 7)


def _restore(bench: Bench) -> None:
    cpu, now = bench.cpu, bench.value
    cpu.write_register(bench.guest.value, 7)
    saved = cpu.save()
    bench.prepare(value=now - 1)
    cpu.run(bench.load("add 1"))
    cpu.restore(saved)


def _run_to_fault(bench: Bench) -> None:
    bench.prepare(value=7, address=HOLE)
    assert bench.cpu.run(bench.load("jump")).reason is StopReason.FETCH_UNMAPPED


CHANGES: dict[str, Callable[[Bench], object]] = {
    "write_register": lambda bench: bench.cpu.write_register(bench.guest.value, 7),
    "write_registers": lambda bench: bench.cpu.write_registers({bench.guest.value: 7}),
    "set_registers": lambda bench: bench.cpu.set_registers((bench.guest.value,), [7]),
    "native": _native_write,
    "restore": _restore,
    "a fault": _run_to_fault,
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_result_is_what_the_register_holds(bench: Bench, change: str) -> None:
    entry = bench.load("add 1")
    bench.prepare(value=41)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    if change == "native" and not isinstance(bench.cpu, UnicornCpu):
        pytest.skip("the engine is not Unicorn")
    assert bench.value == 42
    CHANGES[change](bench)
    assert bench.value == 7
    assert bench.cpu.read_registers([bench.guest.value]) == [7]


def test_an_interrupted_run_leaves_no_result_of_an_earlier_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal handler raises after the engine has stopped, before its registers are taken."""
    cpu, entry = bench.cpu, bench.load("add 1")
    bench.prepare(value=41)
    cpu.run(entry)
    if not isinstance(cpu, UnicornCpu):
        pytest.skip("the engine is not Unicorn")
    real = cpu._engine_run.run

    def interrupted() -> int:
        real()
        raise KeyboardInterrupt

    if bench.guest.link is None:  # the address to return to has been popped
        cpu.write_register("sp", cpu.read_register("sp") - bench.guest.word)
    with monkeypatch.context() as patch:
        patch.setattr(cpu._engine_run, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cpu.run(entry)
    assert bench.value == 43


def test_a_host_without_machine_code_runs_in_two_calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = bench.cpu
    bench.prepare()  # has the engine made
    if not isinstance(cpu, UnicornCpu):
        pytest.skip("the engine is not Unicorn")
    monkeypatch.setattr(cpu._engine_run, "run", cpu._engine_run._in_two_calls)
    entry = bench.load("add 2")
    for value in (1, 2):
        bench.prepare(value=value)
        assert cpu.run(entry).reason is StopReason.TRAP
        assert bench.value == value + 2
