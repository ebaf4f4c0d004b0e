"""The CPUs that tests use keep the promises of the real ones, as far as they make them."""

from __future__ import annotations

import pytest

from emu.cpu.protocol import Cpu, Protection, Stop, StopReason
from relink.errors import AddressSpaceError
from tests.cpu.fake import Crossing, FakeCpu, RecordingCpu

from .guests import CODE, GUESTS, PAGE, RW, RX, TRAPS, Bench, Guest, page_buffer


@pytest.mark.parametrize("guest", GUESTS.values(), ids=str)
def test_a_fake_runs_its_script_and_nothing_else(guest: Guest) -> None:
    def answer(cpu: FakeCpu) -> Stop:
        assert cpu.read_register("pc") == CODE
        cpu.write_register(guest.value, cpu.read_register(guest.value) * 2)
        return Stop(StopReason.TRAP, TRAPS)

    cpu = FakeCpu(guest.arch, [answer])
    cpu.write_register(guest.value, 21)
    assert cpu.run(CODE) == (StopReason.TRAP, TRAPS, None)
    assert cpu.read_register(guest.value) == 42
    with pytest.raises(AssertionError, match="nothing left"):
        cpu.run(CODE)


def test_a_fake_has_memory_and_knows_its_register_names() -> None:
    cpu: Cpu = FakeCpu("x86_64")
    cpu.map(CODE, PAGE, RW, page_buffer())
    cpu.write(CODE + 8, b"abc")
    assert cpu.read(CODE + 7, 5) == b"\0abc\0"
    cpu.write_register("sp", 0x1234)
    assert cpu.read_register("rsp") == 0x1234
    context = cpu.save()
    cpu.write_registers({"rax": -1, "sp": 0})
    assert cpu.read_registers(["rax", "sp"]) == [(1 << 64) - 1, 0]
    cpu.restore(context)
    assert cpu.read_registers(["rax", "sp"]) == [0, 0x1234]
    with pytest.raises(AddressSpaceError):
        cpu.read(CODE + PAGE - 1, 2)
    with pytest.raises(KeyError):
        cpu.read_register("x0")


def test_a_fake_tells_permissions() -> None:
    cpu = FakeCpu("riscv32")
    cpu.map(CODE, 2 * PAGE, RW, page_buffer(2 * PAGE))
    cpu.protect(CODE + PAGE, PAGE, Protection.R)
    assert [cpu.protection_at(CODE + offset) for offset in (0, PAGE, 2 * PAGE)] == [RW, Protection.R, None]


def test_every_crossing_is_recorded_around_a_real_engine() -> None:
    bench = Bench(GUESTS["aarch64"])
    recording = RecordingCpu(bench.cpu)
    cpu: Cpu = recording
    entry = bench.load("add 1")
    bench.prepare(value=1)
    assert recording.crossings == []
    cpu.write_register("x0", 5)
    assert cpu.run(entry).reason is StopReason.TRAP
    assert cpu.read_register("x0") == 6
    cpu.map(0x10_0000, PAGE, RX, page_buffer())
    assert recording.crossings == [
        Crossing("write_register", ("x0", 5)),
        Crossing("run", (entry,)),
        Crossing("read_register", ("x0",)),
        Crossing("map", (0x10_0000, PAGE, RX, PAGE)),
    ]
    assert recording.counts()["run"] == 1
    cpu.close()
