"""The part of a machine for C types."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, Unpack

if TYPE_CHECKING:
    from emu.calls.headers import HeaderKeywords
    from emu.calls.namespace import Types
    from emu.calls.store import View
    from emu.calls.types import CType, Prototype
    from emu.isa.convention import CallingConvention
    from emu.ports import Guest, Memory


class TypedGuest:
    """The methods of `emu.machine.Machine` for C types: see docs/calls.md."""

    convention: CallingConvention
    memory: Memory
    if TYPE_CHECKING:

        @property
        def runner(self) -> Guest: ...

    def types(self, header: str | PathLike[str], **options: Unpack[HeaderKeywords]) -> Types:
        """The types, prototypes and constants of a C header: its path, or C text.

        See `emu.calls.headers` for `options` (include=, defines=, compiler=) and the exceptions.
        """
        from emu.calls.headers import header_types

        return header_types(header, self.convention, **options)

    def view(self, address: int, ctype: str | CType | type[View]) -> Any:
        """The value at a guest address as a C type: a number, bytes, or a view of a structure or array. Raises
        CallError for a type without a size.
        """
        from emu.calls.namespace import view_at

        return view_at(self.memory, self.convention, address, ctype)

    def callback(self, function: Callable[..., object], prototype: str | Prototype) -> int:
        """The guest address of a function that runs a Python function, valid as long as the machine. (A callable
        passed as an argument is valid until that call returns.)
        """
        return self.runner.callbacks.callback(function, prototype)
