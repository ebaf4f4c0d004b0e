"""A CPU on Unicorn before its engine is needed, and as that is made."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from emu import Machine
from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Pages, Protection, StopReason
from emu.cpu.unicorn.cpu import UnicornCpu
from emu.cpu.unicorn.isas import ISAS
from emu.cpu.unicorn.waiting import WaitingCpu
from relink.errors import AddressSpaceError, GuestAccessError, MachineError
from tests.cpu.guests import GUESTS, page_buffer
from tests.fixtures import fixture

PAGE, CODE, DATA, TRAPS = 4096, 0x10000, 0x20000, 0x70000
RW, RX = Protection.R | Protection.W, Protection.R | Protection.X


def is_waiting(cpu: Cpu) -> bool:
    kind: type = type(cpu)
    return kind is WaitingCpu


@pytest.mark.parametrize("arch", ISAS)
def test_a_load_makes_no_engine_and_a_call_does(arch: str) -> None:
    with Machine(arch) as machine:
        library = machine.load(
            fixture(f"{arch}-clang", "basic"), symbols={"my_host_function": lambda value: value * 2}
        )
        assert is_waiting(machine.cpu)
        known = machine.cpu.read(library.base, 4), machine.cpu.registers, machine.threads.thread_pointer
        pointer = ISAS[arch].thread_pointer
        if pointer is not None:
            assert machine.cpu.read_register(pointer) == machine.threads.thread_pointer
        assert machine.call(library.symbols["awesome_func"].address, "int(int)", 42) == 84
        assert type(machine.cpu) is UnicornCpu
        assert known == (
            machine.cpu.read(library.base, 4),
            machine.cpu.registers,
            machine.threads.thread_pointer,
        )


@pytest.mark.parametrize(
    "use",
    [
        lambda cpu: cpu.read_register("pc"),
        lambda cpu: cpu.save_state(),
        lambda cpu: cpu.events,
        lambda cpu: cpu.native,
        lambda cpu: setattr(cpu, "stops_at_blocks", False),
        lambda cpu: cpu.load(DATA, 1),
        lambda cpu: hasattr(cpu, "no_such_attribute"),
    ],
)
def test_any_other_use_makes_it(use: Callable[[Cpu], object]) -> None:
    cpu = create_cpu("x86_64")
    cpu.map(DATA, PAGE, RW, page_buffer())
    use(cpu)
    assert type(cpu) is UnicornCpu
    cpu.close()


@pytest.mark.parametrize("arch", ISAS)
def test_the_engine_has_what_was_mapped_protected_unmapped_and_written(arch: str) -> None:
    guest = GUESTS[arch]
    cpu = create_cpu(arch)
    cpu.set_trap_range(TRAPS, PAGE)
    cpu.map(CODE, 2 * PAGE, RW, page_buffer(2 * PAGE))
    cpu.write(CODE, guest.code("return"))
    cpu.protect(CODE, PAGE, RX)
    cpu.unmap(CODE + PAGE, PAGE)
    runs = Pages(0, PAGE, Protection.R), Pages(PAGE, PAGE, RW)
    cpu.map_all([(DATA, page_buffer(2 * PAGE), runs), (CODE + 4 * PAGE, page_buffer(), runs[:1])])
    with pytest.raises(AddressSpaceError):
        cpu.map_all([(CODE + 5 * PAGE, page_buffer(), runs[:1]), (DATA, page_buffer(), runs[:1])])
    write, extents = cpu.write, [cpu.extent(CODE, RX), cpu.extent(CODE, RW), cpu.extent(CODE + PAGE, RX)]
    assert is_waiting(cpu)
    assert extents == [PAGE, 0, 0]
    assert [cpu.extent(at, RW) for at in (DATA, DATA + PAGE, CODE + 4 * PAGE)] == [0, PAGE, 0]
    with pytest.raises(GuestAccessError):
        cpu.store(DATA, b"x")
    assert type(cpu) is UnicornCpu
    assert extents == [cpu.extent(CODE, RX), cpu.extent(CODE, RW), cpu.extent(CODE + PAGE, RX)]
    assert cpu.run(CODE + PAGE).reason is StopReason.FETCH_UNMAPPED
    write(DATA, b"later")  # taken before, it is the engine's now
    assert cpu.load(DATA, 5) == b"later"
    cpu.close()


@pytest.mark.parametrize("at_once", [False, True])
def test_both_refuse_the_same(at_once: bool) -> None:
    cpu = create_cpu("i386", at_once=at_once)
    cpu.set_trap_range(TRAPS, PAGE)
    cpu.map(DATA, PAGE, RW, page_buffer())
    for address, size, protection in (
        (DATA, PAGE, RW),  # overlaps
        (TRAPS, PAGE, RW),
        (CODE + 1, PAGE, RW),
        (0xFFFF_E000, PAGE, RW),  # the CPU's own
    ):
        with pytest.raises(AddressSpaceError):
            cpu.map(address, size, protection, page_buffer())
    with pytest.raises(AddressSpaceError, match="does not fit"):
        cpu.map(CODE, 2 * PAGE, RW, page_buffer())
    for change, address, more in ((cpu.unmap, CODE, ()), (cpu.unmap, DATA + PAGE, ()), (cpu.protect, CODE, (RW,))):
        with pytest.raises(AddressSpaceError):
            change(address, PAGE, *more)
    cpu.close()
    with pytest.raises(MachineError, match="has been closed"):
        cpu.read_register("pc")
    with pytest.raises(MachineError, match="has been closed"):
        cpu.read(DATA, 1)
    with pytest.raises(MachineError, match="has been closed"):
        cpu.write(DATA, b"x")


def test_an_engine_that_cannot_be_made_leaves_the_cpu_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    cpu = create_cpu("x86_64")
    cpu.map(DATA, PAGE, RW, page_buffer())
    cpu.write(DATA, b"kept")
    with monkeypatch.context() as patch:
        patch.setattr(UnicornCpu, "map", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cpu.read_register("pc")
    assert is_waiting(cpu)
    assert cpu.read(DATA, 4) == b"kept"
    assert cpu.read_register("pc") == 0
    assert cpu.load(DATA, 4) == b"kept"
    cpu.close()


@pytest.mark.parametrize("what", ["map", "use", "both"])
def test_what_a_signal_handler_does_as_the_engine_is_made_is_kept(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of a signal that comes as the memory is mapped in the engine."""
    cpu, real = create_cpu("riscv64"), UnicornCpu.map
    cpu.map(DATA, PAGE, RW, page_buffer())

    def mapped(self: UnicornCpu, *arguments: Any) -> None:
        monkeypatch.undo()
        if what != "use":
            cpu.map(CODE, PAGE, RX, page_buffer())
        if what != "map":
            cpu.write_register("a0", 5)
        real(self, *arguments)

    monkeypatch.setattr(UnicornCpu, "map", mapped)
    assert cpu.read_register("a0") == (0 if what == "map" else 5)
    assert cpu.extent(CODE, RX) == (0 if what == "use" else PAGE)
    assert cpu.run(CODE + PAGE - 4).reason is not StopReason.TRAP
    cpu.close()


def test_threads_wait_for_the_engine_that_one_of_them_makes() -> None:
    for _ in range(20):
        cpu, barrier = create_cpu("x86_64"), threading.Barrier(4)
        cpu.map(DATA, PAGE, RW, page_buffer())

        def use(number: int, cpu: Cpu = cpu, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            if number:
                return len(cpu.read(DATA, 8)) + cpu.read_register("mxcsr")
            cpu.write(DATA + PAGE - 8, bytes(8))
            return 8 + cpu.read_register("mxcsr")

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(use, range(4))) == [8 + 0x1F80] * 4
        assert type(cpu) is UnicornCpu
        cpu.close()


def test_loading_from_the_command_line_imports_no_engine() -> None:
    code = (
        "import sys\nfrom emu.cli.app import run\n"
        f"assert run(['load', {str(fixture('x86_64-clang', 'basic'))!r}, '--allow-unresolved']) == 0\n"
        "unwanted = ('emu.calls.plan', 'emu.cpu.unicorn.api', 'emu.libc.filesystem')\n"
        "sys.exit([name for name in unwanted if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_handler_cannot_use_an_engine_whose_modules_are_being_imported() -> None:
    """As the module for Unicorn's library is searched for, a finder does what a signal handler may do then."""
    code = """
import sys
from emu.cpu.create import create_cpu
from relink.errors import MachineInUse

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "emu.cpu.unicorn.library":
            try:
                cpu.read_register("pc")
            except MachineInUse as refused:
                print("handler:", refused)

cpu = create_cpu("aarch64")
sys.meta_path.insert(0, Finder)
print("then:", cpu.read_register("pc"), type(cpu).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    first, then = done.stdout.splitlines()
    assert first.startswith("handler: a signal handler cannot use the engine"), done.stderr
    assert then == "then: 0 UnicornCpu"
