"""What the guest sees while it computes: registers, floating point, memory and code that changes."""

from __future__ import annotations

import struct

import pytest

from emu.cpu.protocol import StopReason
from tests.cpu.test_running import where_there_is

from .guests import CODE, DATA, PAGE, RW, RX, STACK, Bench, page_buffer


def test_the_thread_pointer_is_visible_to_the_guest(bench: Bench) -> None:
    entry = bench.load("thread")
    for offset, value in ((0, 0x1111), (0x100, 0x2222), (PAGE, 0x3333)):
        bench.cpu.write(DATA + offset, value.to_bytes(8, "little"))
        bench.cpu.set_thread_pointer(DATA + offset)
        bench.prepare()
        assert bench.cpu.run(entry).reason is StopReason.TRAP
        assert bench.value == value


def test_floating_point_works_at_once_and_after_a_restore(bench: Bench) -> None:
    entry = bench.load("float")
    fresh = bench.cpu.save()
    first, second = bench.guest.floats
    for turn in range(2):
        bench.prepare()
        bench.cpu.write_register(first, bits(1.5))
        bench.cpu.write_register(second, bits(2.25))
        assert bench.cpu.run(entry).reason is StopReason.TRAP
        assert bench.cpu.read_register(first) == bits(3.75), turn
        bench.cpu.restore(fresh)


def bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


def test_unaligned_loads_work(bench: Bench) -> None:
    entry = bench.load("load")
    bench.cpu.write(DATA + 3, bytes(range(1, 9)))
    bench.prepare(address=DATA + 3)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.value == int.from_bytes(bytes(range(1, 9))[: bench.guest.word], "little")


@where_there_is("x87")
def test_an_x87_result_is_the_80_bit_st0(bench: Bench) -> None:
    entry = bench.load("x87")
    bench.cpu.write(DATA, struct.pack("<d", -1.5))
    bench.prepare(address=DATA)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.cpu.read_register("st0") == 0xBFFF << 64 | 0xC000_0000_0000_0000


@where_there_is("x87 third")
def test_x87_computes_with_64_significant_bits_and_leaves_one_value(bench: Bench) -> None:
    assert bench.cpu.read_registers(["fpcw", "fpsw", "fptag", "mxcsr"]) == [0x37F, 0, 0xFFFF, 0x1F80]
    entry = bench.load("x87 third")
    bench.prepare()
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.cpu.read_register("st0") == 0x3FFD << 64 | 0xAAAA_AAAA_AAAA_AAAB
    assert bench.cpu.read_register("fptag") == 0x3FFF


@where_there_is("sse division by zero")
def test_a_floating_division_by_zero_is_no_fault(bench: Bench) -> None:
    entry = bench.load("sse division by zero")
    bench.prepare()
    bench.cpu.write_register("xmm0", bits(1.0))
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.cpu.read_register("xmm0") == bits(float("inf"))


@where_there_is("atomic")
def test_aarch64_has_lse_atomics(bench: Bench) -> None:
    entry = bench.load("atomic")
    bench.cpu.write(DATA, (5).to_bytes(8, "little"))
    bench.prepare(address=DATA)
    assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert bench.cpu.read(DATA, 4) == (5 + DATA).to_bytes(4, "little")


def test_guest_stores_reach_the_host_and_host_writes_the_guest(bench: Bench) -> None:
    store, load = bench.load("store"), bench.load("load", CODE + 0x100)
    bench.prepare(value=0xABCD, address=DATA + PAGE - bench.guest.word)
    bench.cpu.run(store)
    assert bench.cpu.read(DATA + PAGE - bench.guest.word, 2) == b"\xcd\xab"
    bench.cpu.write(DATA + PAGE - 2, b"\x01\x02\x03\x04")
    bench.prepare(address=DATA + PAGE)
    bench.cpu.run(load)
    assert bench.value & 0xFFFF == 0x0403


@pytest.mark.parametrize("how", ["write", "unmap and map", "open, write, close", "protect and store"])
def test_code_that_has_run_is_forgotten_when_changed_by(bench: Bench, how: str) -> None:
    cpu, guest = bench.cpu, bench.guest
    entry, changed = bench.load("add 1"), guest.code("add 2")
    bench.prepare(value=10)
    cpu.run(entry)
    assert bench.value == 11
    if how == "write":
        cpu.write(CODE, changed)
    elif how == "unmap and map":
        cpu.unmap(CODE, PAGE)
        cpu.map(CODE, PAGE, RX, page_buffer(PAGE, changed))
    elif how == "open, write, close":
        cpu.protect(CODE, PAGE, RW)
        cpu.write(CODE, changed)
        cpu.protect(CODE, PAGE, RX)
    else:
        cpu.protect(CODE, PAGE, RW)
        cpu.map(STACK + PAGE, PAGE, RX, page_buffer(PAGE, guest.code("store")))
        for offset in range(0, len(changed), guest.word):
            chunk = changed[offset : offset + guest.word].ljust(guest.word, b"\0")
            bench.prepare(value=int.from_bytes(chunk, "little"), address=CODE + offset)
            assert cpu.run(STACK + PAGE | guest.entry_bit).reason is StopReason.TRAP
        cpu.protect(CODE, PAGE, RX)
    bench.prepare(value=10)
    assert cpu.run(entry).reason is StopReason.TRAP
    assert bench.value == 12
