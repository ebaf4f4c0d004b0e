"""Running a call on an emulated machine, with its arguments' memory in the guest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emu.calls.codec import packer
from emu.calls.records import unpacker
from emu.calls.store import GuestStore
from emu.calls.types import Array, CType, Integer, Pointer, Prototype, Void, sized
from emu.differential.inputs import Argument
from emu.differential.values import FAULT, MEMORY, RETURNED, TIME, Outcome, Plain, plain
from emu.errors import BudgetExceeded, GuestAbort, GuestExit, GuestFault, UnresolvedCall
from emu.handles import Function
from emu.library import Library
from emu.machine import Machine
from relink.errors import AddressSpaceError
from relink.memory.address_space import Protection
from relink.records import dataclass

_LONGEST_TEXT = 4096
_PAGE = 4096
#: Places for arguments' memory, prepared at the load. Each ends where an inaccessible page begins.
PLACES, PLACE = 8, 16 * _PAGE
#: Bytes that a call may allocate: the host's own limit is twice this, so that a guest reaches its limit first.
HEAP = 1 << 26
#: What the memory of an argument is aligned to. The bytes up to the next page are zero.
ALIGNMENT = 16


@dataclass(frozen=True)
class Buffer:
    """The memory of one argument: `count` elements of a type at a guest address."""

    name: str
    address: int
    element: CType
    count: int
    const: bool


class Guest:
    """A library on one target. `name` is the target's."""

    def __init__(self, name: str, arch: str, files: Sequence[Path], title: str, timeout: float) -> None:
        self.name = name
        self.machine = Machine(arch, timeout=timeout)
        try:
            source: Any = files[0] if len(files) == 1 else list(files)
            self.library: Library = self.machine.load(source, name=title, allow_unresolved=True)
            self._places = [self._place() for _ in range(PLACES)]
            self.machine.heap.limit = self.machine.heap.mapped + HEAP
            self._loaded = self.machine.snapshot()
        except BaseException:
            self.close()
            raise

    def prototype(self, function: str) -> Prototype | None:
        """A function's prototype from DWARF."""
        return self.library.declared_prototype(function)

    def _place(self) -> int:
        """Where a place for an argument's memory ends."""
        memory = self.machine.parts.memory
        start = memory.map_anonymous(PLACE + 2 * _PAGE, name="arguments")
        for guard in (start, start + _PAGE + PLACE):
            memory.protect_pages(guard, _PAGE, Protection(0))
        return start + _PAGE + PLACE

    def _lent(self, number: int, size: int) -> int:
        """The address of memory for an argument: the end of a place, as far as places go."""
        if number < len(self._places) and size <= PLACE:
            return self._places[number] - -(-size // ALIGNMENT) * ALIGNMENT
        return self.machine.heap.malloc(size)

    def call(
        self,
        function: str,
        prototype: Prototype,
        arguments: Sequence[Argument],
        values: Sequence[Any],
        seconds: float,
    ) -> Outcome:
        """Call a function, in the state after the load, for at most `seconds`.

        Raises UnresolvedCall when it needs what is not there.
        """
        self.machine.restore(self._loaded)
        buffers: list[Buffer] = []
        passed = [
            self._passed(argument, parameter.type, value, buffers)
            for argument, parameter, value in zip(arguments, prototype.parameters, values, strict=True)
        ]
        return self._run(self.library.function(function, prototype), passed, buffers, seconds)

    def _run(
        self, function: Function, passed: Sequence[Any], buffers: Sequence[Buffer], seconds: float
    ) -> Outcome:
        try:
            result = function(*passed, timeout=seconds)
        except UnresolvedCall:
            raise
        except BudgetExceeded as error:
            return Outcome(TIME, detail=str(error))
        except (GuestFault, GuestAbort, GuestExit) as error:
            ended = Outcome(FAULT, detail=str(error))
        else:
            memory = tuple((buffer.name, self._contents(buffer)) for buffer in buffers if not buffer.const)
            ended = Outcome(RETURNED, self._result(function.prototype.result, result, buffers), memory)
        return Outcome(MEMORY) if self.machine.heap.refusals else ended

    def _passed(self, argument: Argument, ctype: CType, value: Any, buffers: list[Buffer]) -> Any:
        """The value that is passed for a parameter; memory for it is added to `buffers`."""
        if not isinstance(ctype, Pointer):
            return value
        if argument.kind in ("text", "bytes"):
            data = value + b"\0" if argument.kind == "text" else value
            element: CType = Integer(1, False, "unsigned char")
            count = len(data)
        else:
            element, count = ctype.target, len(value)
            data = packer(self.machine.convention, Array(element, count), argument.name)(value, None)
        address = self._lent(len(buffers), max(len(data), 1))
        self.machine.memory.write(address, data)
        buffers.append(Buffer(argument.name, address, element, count, argument.const))
        return address

    def _contents(self, buffer: Buffer) -> Plain:
        if isinstance(buffer.element, Integer) and buffer.element.size == 1:
            return self.machine.memory.read(buffer.address, buffer.count)
        if not buffer.count:
            return ()  # C's arrays without elements have no bound
        read = unpacker(self.machine.convention, Array(buffer.element, buffer.count))
        return plain(read(GuestStore(self.machine.memory, buffer.address), 0))

    def _result(self, ctype: CType, value: Any, buffers: Sequence[Buffer]) -> Plain:
        """The result; a pointer as the place in an argument's memory, or as the text it points to."""
        if isinstance(ctype, Void):
            return ()
        if not isinstance(ctype, Pointer) or not value:
            return plain(value) if not isinstance(ctype, Pointer) else None
        address = int(value)
        for buffer in buffers:
            offset = address - buffer.address
            if 0 <= offset <= buffer.count * sized(buffer.element).size:
                return f"{buffer.name} + {offset // sized(buffer.element).size}"
        if isinstance(ctype.target, Integer) and ctype.target.is_character:
            try:
                return self.machine.memory.read_cstring(address, _LONGEST_TEXT)
            except AddressSpaceError:
                return "a pointer to no text"
        return "a pointer"

    def close(self) -> None:
        """Free the machine."""
        self.machine.close(run_destructors=False)
