"""The guest's stack, with program arguments and environment at the top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from emu.memory.guest_memory import GuestMemory
from relink.memory.address_space import Protection
from relink.memory.rollback import Rollback
from relink.records import Assigned


class Stack(Assigned):
    """`size` bytes of stack. Calls begin below `top`; argv, envp and their strings are above it. Constructors are
    called with (argc, argv, envp), as by glibc. An unmapped page below the stack turns an overflow into a fault.

    `place` (start, size) is where the stack is to lie instead, all of it; what is mapped there is used.
    """

    ALIGNMENT = 64

    def __init__(
        self,
        memory: GuestMemory,
        size: int,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        place: tuple[int, int] | None = None,
    ) -> None:
        self._memory = memory
        word = memory.architecture.word_size
        texts = [*arguments, *(f"{name}={value}" for name, value in environment.items())]
        strings = [text.encode("utf-8", "surrogateescape") + b"\0" for text in texts]
        needed = sum(map(len, strings)) + word * (len(strings) + 2) + self.ALIGNMENT
        if place is None:
            start = memory.map_anonymous(size + needed, name="[stack]")
        else:
            start, size = place[0], place[1] - needed
            if not memory.is_mapped(*place):
                memory.map_anonymous(place[1], name="[stack]", at=start)
        self.bottom: int = start  #: the lowest address
        self.top: int = (start + size) & -self.ALIGNMENT
        address = self.top + word * (len(strings) + 2)
        pointers = [*accumulate(map(len, strings[:-1]), initial=address)] if strings else []
        count = len(arguments)
        table = [*pointers[:count], 0, *pointers[count:], 0]
        memory.write(self.top, b"".join([*(pointer.to_bytes(word, "little") for pointer in table), *strings]))
        #: (argc, address of argv, address of envp)
        self.constructor_arguments = (count, self.top, self.top + word * (count + 1))

    def make_executable(self, undo: Rollback) -> None:
        """Make the stack executable, for gcc's nested-function trampolines in files that require it."""
        region = self._memory.region_at(self.bottom)
        if region is None or all(run.protection & Protection.X for run in region.pages):
            return
        self._memory.protect_pages(region.address, region.size, Protection.R | Protection.W | Protection.X)
        before = region.address, region.size, Protection.R | Protection.W
        undo.callback(self._memory.protect_pages, *before)

    def occupy(self, top: int, constructor_arguments: tuple[int, int, int]) -> None:
        """Set the top of the stack for calls, and the arguments for constructors."""
        self.top, self.constructor_arguments = top, constructor_arguments
