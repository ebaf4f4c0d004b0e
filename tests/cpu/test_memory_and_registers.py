"""Mapping, permissions, reading and writing; registers at every width: the rest of `emu.cpu.Cpu`."""

from __future__ import annotations

import ctypes
import gc
import weakref
from collections.abc import Callable

import pytest

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Protection, StopReason
from relink.errors import AddressSpaceError, MachineError

from .guests import CODE, DATA, GUESTS, HOLE, PAGE, RW, RX, TRAPS, Bench, page_buffer

AREA = 0x10_0000


# ---------------------------------------------------------------- memory


def test_reading_and_writing_cross_adjacent_mappings(bench: Bench) -> None:
    cpu = bench.cpu
    cpu.map(AREA, PAGE, RW, page_buffer())
    cpu.map(AREA + PAGE, PAGE, RX, page_buffer())
    cpu.map(AREA + 2 * PAGE, PAGE, Protection.NONE, page_buffer())
    data = bytes(range(256)) * 33
    cpu.write(AREA + 16, data)
    assert cpu.read(AREA + 16, len(data)) == data
    assert cpu.read(AREA, 16) == bytes(16)
    assert cpu.read(AREA, 0) == b""


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (AREA - 1, 1),
        (AREA - 1, 2),
        (AREA + PAGE - 1, 2),
        (AREA + PAGE, 1),
        (AREA, 1 << 40),
        (0, 8),
    ],
)
def test_touching_any_unmapped_byte_is_refused_and_writes_nothing(bench: Bench, address: int, size: int) -> None:
    bench.cpu.map(AREA, PAGE, RW, page_buffer())
    with pytest.raises(AddressSpaceError):
        bench.cpu.read(address, size)
    with pytest.raises(AddressSpaceError):
        bench.cpu.write(address, b"\xff" * min(size, 2 * PAGE))
    assert bench.cpu.read(AREA, PAGE) == bytes(PAGE)


def test_overlapping_or_ragged_mappings_are_refused(bench: Bench) -> None:
    bench.cpu.map(AREA, 2 * PAGE, RW, page_buffer(2 * PAGE))
    for address, size in ((AREA, PAGE), (AREA - PAGE, 2 * PAGE), (AREA + PAGE, 2 * PAGE), (TRAPS, PAGE)):
        with pytest.raises(AddressSpaceError):
            bench.cpu.map(address, size, RW, page_buffer(size))
    with pytest.raises(AddressSpaceError):
        bench.cpu.map(AREA + 0x8000 + 1, PAGE, RW, page_buffer())
    bench.cpu.map(AREA + 2 * PAGE, PAGE, RW, page_buffer())


def test_traps_stop_where_they_can_be_read(bench: Bench) -> None:
    """For unwinders that look at what they return to."""
    if not bench.cpu.shares_memory:
        with pytest.raises(AddressSpaceError):
            bench.cpu.map(TRAPS, PAGE, Protection.R, page_buffer())
        return
    bench.cpu.map(TRAPS, PAGE, Protection.R, page_buffer(PAGE, b"readable"))
    assert bench.cpu.read(TRAPS, 8) == b"readable"
    store = bench.load("store")
    bench.cpu.map(AREA, PAGE, RW, page_buffer())
    bench.prepare(value=0x55, address=AREA)
    stop = bench.cpu.run(store)
    assert stop.reason is StopReason.TRAP
    assert TRAPS <= stop.pc < TRAPS + PAGE


def test_part_of_a_mapping_can_be_protected_and_unmapped(bench: Bench) -> None:
    cpu = bench.cpu
    buffer = page_buffer(5 * PAGE, b"".join(bytes([number]) * PAGE for number in range(5)))
    cpu.map(AREA, 5 * PAGE, RW, buffer)
    cpu.protect(AREA + PAGE, PAGE, Protection.R)
    cpu.unmap(AREA + 3 * PAGE, PAGE)
    store = bench.load("store")
    outcomes = []
    for number in range(5):
        bench.prepare(value=0x55, address=AREA + number * PAGE + 8)
        outcomes.append(bench.cpu.run(store).reason)
    assert outcomes == [
        StopReason.TRAP,
        StopReason.WRITE_PROTECTED,
        StopReason.TRAP,
        StopReason.WRITE_UNMAPPED,
        StopReason.TRAP,
    ]
    assert [cpu.read(AREA + n * PAGE, 1)[0] for n in (0, 1, 2, 4)] == [0, 1, 2, 4]
    assert [cpu.read(AREA + n * PAGE + 8, 1)[0] for n in (0, 1, 2, 4)] == [0x55, 1, 0x55, 0x55]
    with pytest.raises(AddressSpaceError):
        cpu.read(AREA + 3 * PAGE, 1)
    cpu.map(AREA + 3 * PAGE, PAGE, RW, page_buffer(PAGE, b"new"))
    assert cpu.read(AREA + 3 * PAGE - 1, 4) == b"\x02new"
    cpu.unmap(AREA, 5 * PAGE)
    with pytest.raises(AddressSpaceError):
        cpu.read(AREA, 1)


@pytest.mark.parametrize("action", ["protect", "unmap"])
def test_pages_that_are_not_all_mapped_cannot_be_changed(bench: Bench, action: str) -> None:
    bench.cpu.map(AREA, PAGE, RW, page_buffer())
    extra = (RW,) if action == "protect" else ()
    for address, size in ((AREA, 2 * PAGE), (AREA - PAGE, 2 * PAGE), (HOLE, PAGE)):
        with pytest.raises(AddressSpaceError):
            getattr(bench.cpu, action)(address, size, *extra)
    bench.cpu.write(AREA, b"still there")


@pytest.mark.parametrize(
    ("protection", "reads", "writes", "runs"),
    [
        (Protection.R, True, False, False),
        (Protection.R | Protection.W, True, True, False),
        (Protection.R | Protection.X, True, False, True),
        (Protection.NONE, False, False, False),
    ],
)
def test_the_guest_is_held_to_the_permissions_of_a_page(
    bench: Bench, protection: Protection, reads: bool, writes: bool, runs: bool
) -> None:
    cpu = bench.cpu
    cpu.map(AREA, PAGE, RX, page_buffer(PAGE, bench.guest.code("return")))
    cpu.protect(AREA, PAGE, protection)
    for program, allowed, refusal in (
        ("load", reads, StopReason.READ_PROTECTED),
        ("store", writes, StopReason.WRITE_PROTECTED),
        ("jump", runs, StopReason.FETCH_PROTECTED),
    ):
        entry = bench.load(program)
        offset = bench.guest.entry_bit if program == "jump" else 0x100
        bench.prepare(address=AREA + offset)
        assert cpu.run(entry).reason is (StopReason.TRAP if allowed else refusal), program


def test_a_shared_buffer_is_the_guests_memory_and_is_let_go_on_unmap(bench: Bench) -> None:
    cpu = bench.cpu
    if not cpu.shares_memory:
        pytest.skip(f"the engine of {bench.guest} copies its buffers")
    gc.freeze()  # only what is made from here on needs to be looked at
    buffer = page_buffer(PAGE, b"before")
    cpu.map(AREA, PAGE, RW, buffer)
    buffer[:6] = memoryview(b"after!")
    assert cpu.read(AREA, 6) == b"after!"
    store = bench.load("store")
    bench.prepare(value=0x77, address=AREA)
    cpu.run(store)
    assert buffer[0] == 0x77
    gone = weakref.ref(buffer)
    del buffer
    gc.collect()
    assert gone() is not None
    cpu.unmap(AREA, PAGE)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("bench", [g.name for g in GUESTS.values() if g.word == 8], indirect=True)
def test_code_and_data_may_lie_near_the_top_of_user_space(bench: Bench) -> None:
    high = 0x7FFF_FFF0_0000
    bench.cpu.map(high, PAGE, RX, page_buffer(PAGE, bench.guest.code("load")))
    bench.cpu.map(high + PAGE, PAGE, RW, page_buffer(PAGE, b"\x2a"))
    bench.prepare(address=high + PAGE)
    assert bench.cpu.run(high).reason is StopReason.TRAP
    assert bench.value == 0x2A


@pytest.mark.parametrize("bench", [g.name for g in GUESTS.values() if g.word == 4], indirect=True)
def test_code_and_data_may_lie_above_two_gigabytes(bench: Bench) -> None:
    high = 0xBFFF_0000
    bench.cpu.map(high, PAGE, RX, page_buffer(PAGE, bench.guest.code("load")))
    bench.cpu.map(high + PAGE, PAGE, RW, page_buffer(PAGE, b"\x2a"))
    bench.prepare(address=high + PAGE)
    assert bench.cpu.run(high | bench.guest.entry_bit).reason is StopReason.TRAP
    assert bench.value == 0x2A


# ---------------------------------------------------------------- registers

_WIDTHS = {
    "x86_64": {"rax": 64, "r15": 64, "rsp": 64, "xmm0": 128, "xmm15": 128, "st0": 80, "mxcsr": 16},
    "i386": {"eax": 32, "edi": 32, "esp": 32, "xmm0": 128, "xmm7": 128, "st0": 80, "st7": 80},
    "aarch64": {"x0": 64, "x30": 64, "v0": 128, "v31": 128, "d0": 64, "d31": 64, "s0": 32, "s31": 32},
    "arm": {"r0": 32, "r12": 32, "lr": 32, "s0": 32, "s31": 32, "d0": 64, "d31": 64},
    "riscv64": {"a0": 64, "t6": 64, "s11": 64, "x31": 64, "f0": 64, "fa0": 64, "ft11": 64, "fs11": 64},
    "riscv32": {"a0": 32, "t6": 32, "s11": 32, "x31": 32, "f0": 64, "fa0": 64, "ft11": 64, "fs11": 64},
    "loongarch64": {"a0": 64, "s8": 64, "fa0": 64, "f31": 64},
}
_PAIRS = [(arch, name, bits) for arch, names in _WIDTHS.items() for name, bits in names.items()]


@pytest.mark.parametrize(("bench", "name", "bits"), _PAIRS, indirect=["bench"])
def test_a_register_holds_every_bit_of_its_width(bench: Bench, name: str, bits: int) -> None:
    cpu = bench.cpu
    for value in (0, (1 << bits) - 1, int.from_bytes(bytes(range(1, 17)), "big") & ((1 << bits) - 1)):
        cpu.write_register(name, value)
        assert cpu.read_register(name) == value
        cpu.write_registers({name: value})
        assert cpu.read_registers([name]) == [value]


def test_registers_can_be_read_and_written_together(bench: Bench) -> None:
    cpu, guest = bench.cpu, bench.guest
    first, second = guest.floats
    values = {guest.value: 11, guest.address: 22, first: 33 << 40, second: 44, "sp": 0x5_0800}
    cpu.write_registers(values)
    assert cpu.read_registers(list(values)) == list(values.values())
    cpu.write_registers([(guest.value, 55), (guest.address, 66)])
    assert cpu.read_registers((guest.address, guest.value)) == [66, 55]


def test_of_values_that_do_not_fit_the_low_bits_are_set(bench: Bench) -> None:
    """The same in all ways to write registers, of one width or several, and where reading takes more."""
    cpu, guest = bench.cpu, bench.guest
    bits = 8 * guest.word
    for names in ((guest.value, guest.address), (guest.value, guest.floats[0]), (guest.value, "pc")):
        values = [(1 << bits) + 8, -(1 << 136) + 16]
        cpu.set_registers(names, values)
        assert cpu.read_registers(names) == [8, 16]
        cpu.write_registers(zip(names, [24, 32], strict=True))
        assert [cpu.read_register(name) for name in names] == [24, 32]
    with pytest.raises(ValueError, match="argument 2"):
        cpu.set_registers((guest.value, guest.address), [1])


def test_every_register_worth_printing_can_be_read(bench: Bench) -> None:
    values = bench.cpu.read_registers(bench.cpu.registers)
    assert len(values) == len(bench.cpu.registers) > 8
    assert all(value >= 0 for value in values)


@pytest.mark.parametrize("bench", ["aarch64"], indirect=True)
def test_aarch64_scalars_are_the_low_bits_of_their_vector(bench: Bench) -> None:
    bench.cpu.write_register("v5", 0x1111_2222_3333_4444_5555_6666_7777_8888)
    assert bench.cpu.read_register("d5") == 0x5555_6666_7777_8888
    assert bench.cpu.read_register("s5") == 0x7777_8888


@pytest.mark.parametrize("bench", ["arm"], indirect=True)
def test_arm_doubles_are_pairs_of_singles(bench: Bench) -> None:
    bench.cpu.write_register("d1", 0x1122_3344_5566_7788)
    assert bench.cpu.read_registers(["s2", "s3"]) == [0x5566_7788, 0x1122_3344]


@pytest.mark.parametrize("bench", ["arm"], indirect=True)
def test_arm_modes_that_do_not_exist_are_refused(bench: Bench) -> None:
    before = bench.cpu.read_register("cpsr")
    for value in (0, 0x15, 0x6000_0020):
        with pytest.raises(MachineError, match=f"cpsr {value:#x} has the mode"):
            bench.cpu.write_register("cpsr", value)
        with pytest.raises(MachineError, match="which Arm does not have"):
            bench.cpu.write_registers({"r0": 1, "cpsr": value})
    assert bench.cpu.read_register("cpsr") == before
    assert bench.cpu.read_register("r0") == 0
    for mode in (0x11, 0x12, 0x13, 0x17, 0x1B, 0x1F, 0x10):
        bench.cpu.write_register("cpsr", mode)
        assert bench.cpu.read_register("cpsr") == mode


def test_save_and_restore_carry_all_registers_and_no_memory(bench: Bench) -> None:
    cpu, guest = bench.cpu, bench.guest
    entry = bench.load("add 1")
    bench.prepare(value=1)
    cpu.run(entry)
    first = guest.floats[0]
    cpu.write_register(first, 0x1234_5678)
    names = [*cpu.registers, first]
    before = cpu.read_registers(names)
    context = cpu.save()
    cpu.write(DATA, b"kept")
    other = cpu.save()
    for turn in range(3):
        bench.prepare(value=100 + turn)
        cpu.run(entry)
        cpu.write_register(first, turn)
        cpu.restore(context)
        assert cpu.read_registers(names) == before
    cpu.restore(other)
    assert cpu.read(DATA, 4) == b"kept"


def test_an_unknown_register_is_a_key_error(bench: Bench) -> None:
    with pytest.raises(KeyError):
        bench.cpu.read_register("no such register")


def test_many_cpus_live_side_by_side() -> None:
    benches = [Bench(guest) for guest in GUESTS.values() if guest.arch != "loongarch64"]
    for number, bench in enumerate(benches):
        entry = bench.load("add 1")
        bench.prepare(value=number)
        assert bench.cpu.run(entry).reason is StopReason.TRAP
    assert [bench.value for bench in benches] == list(range(1, len(benches) + 1))
    for bench in benches:
        bench.cpu.close()


def test_using_a_closed_cpu_is_an_error_and_not_a_crash() -> None:
    bench = Bench(GUESTS["aarch64"])
    cpu = bench.cpu
    entry = bench.load("add 1")
    context = cpu.save()
    cpu.close()
    cpu.close()
    uses: tuple[Callable[[], object], ...] = (
        lambda: cpu.run(entry),
        lambda: cpu.run(entry, max_instructions=5),
        lambda: cpu.run(entry, timeout=1),
        lambda: cpu.read(CODE, 1),
        lambda: cpu.write(CODE, b"x"),
        lambda: cpu.unmap(CODE, PAGE),
        lambda: cpu.map(AREA, PAGE, RW, page_buffer()),
        lambda: cpu.protect(CODE, PAGE, RW),
        lambda: cpu.read_register("x0"),
        lambda: cpu.write_register("x0", 1),
        lambda: cpu.read_registers(["x0"]),
        lambda: cpu.write_registers({"x0": 1}),
        lambda: cpu.set_thread_pointer(0),
        lambda: cpu.save(),
        lambda: cpu.restore(context),
    )
    for use in uses:
        with pytest.raises((MachineError, ctypes.ArgumentError)):
            use()


def test_a_forgotten_cpu_is_freed_with_its_buffers() -> None:
    cpu = create_cpu("riscv64")
    buffer = page_buffer()
    cpu.map(CODE, PAGE, RX, buffer)
    gone = weakref.ref(buffer)
    del buffer, cpu
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("arch", ["riscv64", "riscv32"])
def test_the_float_status_is_the_same_while_the_float_unit_is_off(arch: str) -> None:
    cpu = create_cpu(arch)
    cpu.write_register("fcsr", 0x65)
    cpu.write_register("mstatus", 0)
    assert (cpu.read_register("fcsr"), *cpu.read_registers(["fcsr", "mstatus"])) == (0x65, 0x65, 0)
    cpu.write_registers({"fcsr": 0x21, "a0": 5})
    assert cpu.read_registers(["fcsr", "a0", "mstatus"]) == [0x21, 5, 0]
    cpu.close()


FLOAT_STATUS = {
    "x86_64": "mxcsr", "i386": "mxcsr", "aarch64": "fpsr", "arm": "fpscr", "riscv64": "fcsr", "riscv32": "fcsr",
    "loongarch64": "fcsr",
}  # fmt: skip


@pytest.mark.parametrize("arch", FLOAT_STATUS)
def test_a_restore_brings_back_the_exception_flags(arch: str) -> None:
    cpu, name = create_cpu(arch), FLOAT_STATUS[arch]
    states = []
    for value in (0, 0x1F):
        cpu.write_register(name, value)
        states.append((cpu.read_register(name), cpu.save(), cpu.save_state()))
    for value, context, state in states:
        for restore, saved in ((cpu.restore, context), (cpu.restore_state, state)):
            cpu.write_register(name, 0x1F ^ value)
            restore(saved)
            assert cpu.read_register(name) == value
    cpu.close()
