"""How an input reaches the guest: as memory whose address is passed to a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emu.calls.types import Enumeration, Floating, Integer, Pointer, Void
from emu.errors import FuzzError
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.calls.types import CType
    from emu.handles import Function
    from emu.machine import Machine

_PAGE: Final = 4096
_NAME: Final = "fuzzer's input"


class FunctionTarget:
    """A function of a pointer, or of a pointer and the number of elements.

    The input ends where an unmapped page begins, so that reading past its end is a fault. A pointer to `char`
    without a number gets text that ends with NUL. Of wider elements a rest of the input is left out. More than
    `max_size` bytes raise FuzzError.
    """

    def __init__(self, function: Function, max_size: int) -> None:
        self._function = function
        parameters = function.prototype.parameters
        types = [parameter.type for parameter in parameters]
        pointer = types[0] if types else None
        count = types[1] if len(types) > 1 else None
        takes_count = isinstance(count, Integer) and not isinstance(count, Enumeration)
        if not isinstance(pointer, Pointer) or len(types) > 2 or (count is not None and not takes_count):
            raise FuzzError(
                f"{function.prototype} does not take a pointer, or a pointer and a length: "
                "give the fuzzer a Python function that makes the call"
            )
        self._element = _element_size(pointer.target, function)
        self._text = isinstance(pointer.target, Integer) and pointer.target.is_character and count is None
        self._counted = count is not None
        self._longest = max_size
        self._size = -(-(max_size + 1) // _PAGE) * _PAGE

    def placed(self, machine: Machine) -> Callable[[bytes], object]:
        """Map memory for inputs; returns what calls the function with one."""
        memory, size = machine.parts.memory, self._size
        start = memory.map_anonymous(size + 2 * _PAGE, name=_NAME)
        end = start + _PAGE + size
        memory.protect_pages(start, _PAGE, Protection(0))
        memory.protect_pages(end, _PAGE, Protection(0))
        write, function, element, longest = memory.write, self._function, self._element, self._longest

        def call_with_text(data: bytes) -> object:
            if len(data) > longest:
                raise _too_long(data, longest)
            text = data + b"\0"
            write(end - len(text), text)
            return function(end - len(text))

        def call(data: bytes) -> object:
            if len(data) > longest:
                raise _too_long(data, longest)
            count = len(data) // element
            address = end - count * element
            write(address, data[: count * element])
            return function(address, count) if self._counted else function(address)

        return call_with_text if self._text else call


def _too_long(data: bytes, longest: int) -> FuzzError:
    return FuzzError(f"an input has {len(data)} bytes, more than max_size ({longest})")


def _element_size(ctype: CType, function: Function) -> int:
    if isinstance(ctype, Void):
        return 1
    if isinstance(ctype, (Integer, Floating)):
        return ctype.size
    raise FuzzError(f"{function.prototype}: a pointer to {ctype} does not take bytes")
