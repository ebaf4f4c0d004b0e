"""Machines whose personality is not Linux: the machine itself knows no operating system."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.linux.personality import Linux
from emu.parts import Parts
from emu.personality import Personality
from relink.errors import LinkErrors, MachineError, UnresolvedSymbol
from relink.memory.address_space import Protection
from relink.resolve.sources import SymbolRequest
from tests.fixtures import arch_of, fixture


class Bare(Personality):
    """A board without an operating system: its firmware answers one symbol, and there is no kernel."""

    def __init__(self) -> None:
        self.removed = 0
        self.finished = False

    def attach(self, parts: Parts) -> None:
        self.parts = parts
        parts.linker.resolver.after.append(self.firmware)

    def firmware(self, request: SymbolRequest) -> object:
        return (lambda value: value + 1, "int(int)") if request.name == "my_host_function" else None

    def syscall(self, pc: int) -> int:
        raise MachineError(f"system call at {pc:#x}: there is no kernel on this board")

    def finish(self) -> None:
        self.finished = True


def test_a_board_loads_and_calls_a_library(target: str) -> None:
    board = Bare()
    with Machine(arch_of(target), os=board, library_path=[fixture(target, "basic").parent]) as machine:
        library = machine.load(fixture(target, "basic"))
        assert library.function("awesome_func", "int(int)")(41) == 42
        tls = machine.load(fixture(target, "tls")).function("tls_gd", "int(void)")
        assert tls() == 11, "thread-local storage is the dynamic linker's"
        thread = machine.new_thread()
        with machine.use_thread(thread):
            assert tls() == 11
        machine.exit_thread(thread)
        library.close()
    assert board.finished


def test_a_board_has_no_c_library(target: str) -> None:
    with Machine(arch_of(target), os=Bare()) as machine:
        with pytest.raises(LinkErrors) as caught:
            machine.load(fixture(target, "libcuser"))
        assert {type(error) for error in caught.value.exceptions} == {UnresolvedSymbol}
        assert not machine.linker.images


def test_what_a_board_has_not_is_refused_by_name(target: str) -> None:
    with Machine(arch_of(target), os=Bare()) as machine:
        address = machine.memory.map_anonymous(4096, name="code")
        with pytest.raises(MachineError, match=r"system call at 0x.*: there is no kernel on this board"):
            machine.runner._syscall(address)
        with pytest.raises(MachineError, match="Bare cannot start programs"):
            machine.run(fixture(target, "exe/copy"))
        for name in ("libc", "syscalls"):
            with pytest.raises(MachineError, match="Bare has no hosted C library and no system calls"):
                getattr(machine, name)


def test_a_personality_that_says_nothing_has_no_kernel() -> None:
    class Silent(Personality):
        pass

    with Machine("riscv64", os=Silent()) as machine:
        code = machine.memory.map_anonymous(4096, name="code")
        machine.memory.write(code, bytes.fromhex("73000000"))  # ecall
        machine.memory.protect_pages(code, 4096, Protection.R | Protection.X)
        with pytest.raises(MachineError, match=f"system call at {code:#x}: Silent has no kernel"):
            machine.call(code, "void(void)")


def test_arguments_of_linux_go_to_linux() -> None:
    linux = Linux(libc="target", files={"/x": b"1"})
    with Machine("riscv64", os=linux) as machine:
        assert machine.os is linux
        assert machine.libc.files == {"/x": b"1"}
        assert not machine.linker.policy.host_provided
    with pytest.raises(MachineError, match="can be used for one machine only"):
        Machine("riscv64", os=linux)
    with pytest.raises(TypeError, match="files: with os=, give it to the personality"):
        Machine("riscv64", os=Linux(), files={})
    with pytest.raises(TypeError, match=r"^Machine\(\) got an unexpected keyword argument 'colour'$"):
        Machine("riscv64", colour="red")  # type: ignore[call-arg]
    with Machine("x86_64") as machine, pytest.raises(TypeError, match=r"^load\(\) got an unexpected .* 'colour'$"):
        machine.load(b"", colour="red")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"^sizes are not negative: stack_size=-1$"):
        Machine("riscv64", stack_size=-1)
    with pytest.raises(ValueError, match="'mine' is neither 'hosted' nor 'target'"):
        Linux(libc="mine")  # type: ignore[arg-type]


def test_a_machine_of_another_personality_imports_nothing_of_linux() -> None:
    from tests.test_layering import run_alone

    code = """
import sys
from emu.machine import Machine
from emu.personality import Personality
class Bare(Personality): pass
with Machine("riscv64", os=Bare()) as machine:
    machine.load("arch_fixtures/built/riscv64-gcc/deps/libleaf.so").function("leaf", "int(int)")(1)
print([name for name in sys.modules if name.startswith(("emu.linux", "emu.libc"))])
"""
    assert run_alone(code).strip() == "[]"
