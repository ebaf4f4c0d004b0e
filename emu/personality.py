"""Personalities: the operating system a machine's guest runs on, such as Linux, or none.

A machine has a CPU, memory, a linker and calls into the guest. Its *personality* decides which functions of the
host answer a library's imports, what a system-call instruction does, and what a program finds at its entry.
`emu.linux.personality.Linux` is one, and the default:

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

from emu.ports import System
from relink.errors import MachineError
from relink.linker import Policy

if TYPE_CHECKING:
    from emu.load.options import StartKeywords
    from emu.parts import Parts
    from relink.arch import Architecture
    from relink.image import Image
    from relink.search.search_path import Source


class Program(Protocol):
    """A program that is loaded and ready to be run."""

    @property
    def image(self) -> Image: ...
    @property
    def entry(self) -> int:
        """The guest address it starts at."""

    @property
    def status(self) -> int | None:
        """Its exit status; None before it has exited."""

    def run(self, *, max_instructions: int | None = None, timeout: float | None = None) -> int:
        """Run it to its exit; the status. Limits are those of `Machine.call`."""


class Personality(System, Protocol):
    """The operating system of one machine.

    Methods that are not overridden do nothing, except `syscall` and `start`, which raise MachineError.
    """

    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = MappingProxyType({})

    def policy(self, arch: Architecture) -> Policy:
        return Policy()

    def attach(self, parts: Parts) -> None:
        """Called once, at the end of the machine's constructor.

        To answer symbols, append sources to `parts.linker.resolver.after`.
        """
        return

    def start(
        self,
        program: Source,
        arguments: Sequence[str] | None,
        environment: Mapping[str, str],
        **options: Unpack[StartKeywords],
    ) -> Program:
        """Load an executable and make it ready to be run: see `Machine.start`."""
        raise MachineError(f"{type(self).__name__} starts no programs: {program!r} can only be loaded")

    def syscall(self, pc: int) -> int:
        raise MachineError(f"system call at {pc:#x}: {type(self).__name__} has no kernel")

    def pinned_addresses(self) -> Collection[int]:
        return ()

    def variable_moved(self, name: str, address: int) -> None:
        return

    def code_removed(self, exists: Callable[[int], bool]) -> None:
        return

    def load_failed(self, images: Sequence[Image]) -> None:
        return

    def finish(self) -> None:
        return

    def end_thread(self) -> None:
        """Run the destructors of the thread in use, which is about to end."""
        return

    def forget_thread(self, thread_pointer: int) -> None:
        """Drop the state of a thread that has ended."""
        return
