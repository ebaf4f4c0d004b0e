"""Personalities: the operating system of a machine's guest, such as Linux, or none.

A machine has a CPU, memory, a linker and calls into the guest. Its *personality* defines the host functions for a
library's imports, the effect of a system-call instruction, and the initial state of a program. The default is
`emu.linux.personality.Linux`:

    Machine("riscv64", os=Linux(files={"/etc/motd": b"hello"}))

For another system, subclass `Personality` and override the methods it implements:

    class Bare(Personality):
        def syscall(self, pc: int) -> int:
            raise MachineError(f"system call at {pc:#x}: there is no kernel here")

    Machine("riscv64", os=Bare())

The machine calls a personality; a personality reaches the machine only through the `Parts` it is attached to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Unpack

from emu.cpu.create import create_cpu
from emu.ports import Execution, Layout, System
from relink.errors import MachineError
from relink.linker import Policy

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.load.options import StartKeywords
    from emu.parts import Parts
    from relink.arch import Architecture
    from relink.image import Image
    from relink.memory.address_space import HostMemory
    from relink.search.search_path import Source


class Program(Protocol):
    """A loaded program, ready to run."""

    @property
    def image(self) -> Image: ...
    @property
    def entry(self) -> int:
        """The guest address of its entry point."""

    @property
    def status(self) -> int | None:
        """The exit status; None before the exit."""

    def run(self, *, max_instructions: int | None = None, timeout: float | None = None) -> int:
        """Run it and return the exit status. Limits are as in `Machine.call`."""


class Personality(System, Protocol):
    """The operating system of one machine.

    Methods that are not overridden do nothing, except `syscall` and `start`, which raise MachineError.
    """

    layout: Layout = Layout()
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = MappingProxyType({})
    #: Whether a file can hold a snapshot of such a machine: `cpu` is not overridden, nor are devices mapped.
    in_files: bool = False

    def policy(self, arch: Architecture) -> Policy:
        return Policy()

    def cpu(self, arch: Architecture) -> Cpu:
        return create_cpu(arch.name)

    def map_memory(self, memory: HostMemory) -> None:
        return

    def execution(self, cpu: Cpu) -> Execution:
        return cpu

    def attach(self, parts: Parts) -> None:
        """Called once, at the end of the machine's constructor. To provide symbols, append sources to
        `parts.linker.resolver.after`.
        """
        return

    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None,
        environment: Mapping[str, str],
        **options: Unpack[StartKeywords],
    ) -> Program:
        """Load an executable and prepare it to run: see `Machine.start`."""
        raise MachineError(f"{type(self).__name__} cannot start programs: {program!r} can only be loaded")

    def syscall(self, pc: int) -> int:
        raise MachineError(f"system call at {pc:#x}: {type(self).__name__} has no kernel")

    def pinned_addresses(self) -> Collection[int]:
        return ()

    def variable_moved(self, name: str, address: int) -> None:
        return

    def code_removed(self, exists: Callable[[int], bool]) -> None:
        return

    def image_replaced(self, old: Image, new: Image) -> None:
        return

    def load_failed(self, images: Sequence[Image]) -> None:
        return

    def finish(self) -> None:
        return

    def end_thread(self) -> None:
        """Run the destructors of the current thread, which is about to end."""
        return

    def forget_thread(self, thread_pointer: int) -> None:
        """Drop the state of a thread that has ended."""
        return
