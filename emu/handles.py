"""Handles on the symbols of a loaded library: functions to call, variables to read and write."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from emu.calls.codec import packer
from emu.calls.declared import declared_type
from emu.calls.prototypes import parse_type
from emu.calls.records import Record, unpacker
from emu.calls.store import GuestStore, View
from emu.calls.types import CType, Prototype, VaListType, sized
from emu.errors import CallError
from relink.elf.constants import SymbolType
from relink.errors import DebugInfoError, UnresolvedSymbol
from relink.image import Image, Symbol
from relink.module import Stage
from relink.records.unpicklable import Unpicklable

if TYPE_CHECKING:
    from emu.calls.plan import CallPlan
    from emu.errors import Frame
    from emu.isa.convention import CallingConvention
    from emu.load.initialisers import Initialisers
    from emu.ports import Memory
    from emu.run.runner import Runner
    from relink.arch import Architecture


class Guest(Protocol):
    """The part of a machine that its handles use (see `emu.machine.Machine`)."""

    @property
    def arch(self) -> Architecture: ...
    @property
    def convention(self) -> CallingConvention: ...
    @property
    def memory(self) -> Memory: ...
    @property
    def initialisers(self) -> Initialisers: ...
    @property
    def runner(self) -> Runner: ...
    def tls_block(self, image: Image) -> int: ...
    def symbolize(self, address: int, *, source: bool = True) -> Frame: ...


class _Documentation:
    """Descriptor for __doc__: the docstring of a class; `documentation` of an object."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: Function | None, owner: type) -> str:
        return self._text if instance is None else instance.documentation


class Function(Unpicklable):
    _instead = "it belongs to a machine of this process: pass its name and prototype"
    __doc__ = _Documentation(
        """A guest function with its C prototype. Call it like any Python function.

    It may be given to the guest as a pointer argument. Calling it after its library is closed raises
    UseAfterUnload.
    """
    )

    def __init__(self, machine: Guest, symbol: Symbol, prototype: Prototype) -> None:
        self._machine = machine
        self._first = self._symbol = symbol
        self.prototype = prototype
        self.__name__ = self.__qualname__ = symbol.name
        self._target = 0
        self._direct = symbol.type != SymbolType.GNU_IFUNC  # whether the symbol's value is what is called
        self._plan: CallPlan | None = None
        self._planned_for: Prototype | None = None

    @property
    def symbol(self) -> Symbol:
        """The function's symbol: after a swap of its library, that of the new version."""
        if self._symbol.image.stage is _CLOSED:  # a swap, a return to before one, or the end
            self._symbol, self._target = self._first.current, 0
            self._direct = self._symbol.type != SymbolType.GNU_IFUNC
        return self._symbol

    @property
    def name(self) -> str:
        return self._symbol.name

    @property
    def address(self) -> int:
        """The guest address to call: for an ifunc, the function that its resolver chose."""
        symbol = self.symbol
        address = symbol.address
        if symbol.type != SymbolType.GNU_IFUNC:
            return address
        if not self._target:
            self._target = self._machine.initialisers.ifunc_target(symbol.image, address)
        return self._target

    def __call__(self, *args: object, max_instructions: int | None = None, timeout: float | None = None) -> Any:
        """Call the guest. See `Machine.call`."""
        symbol, prototype, plan, runner = self._symbol, self.prototype, self._plan, self._machine.runner
        if plan is None or prototype is not self._planned_for:
            self._plan = plan = runner.plan(prototype)
            self._planned_for = prototype
        image = symbol.image
        if self._direct and image.stage is not _CLOSED:
            address = symbol.value  # the usual case of `address`
        else:
            address = self.address
        return runner.call_planned(plan, address, args, max_instructions, timeout)

    @property
    def documentation(self) -> str:
        """The prototype, and the source location of the function, if line tables have it."""
        where = f"of {self.symbol.image.name}"
        if not self.symbol.image.closed:
            frame = self._machine.symbolize(self.address)
            where += f", {frame.file}:{frame.line}" if frame.file is not None else ""
        return f"{self.prototype}\n\n{where}"

    @property
    def __signature__(self) -> inspect.Signature:
        used: set[str] = set()
        parameters = []
        for number, parameter in enumerate(self.prototype.parameters):
            name = parameter.name if parameter.name.isidentifier() and parameter.name not in used else ""
            used.add(name := name or f"arg{number}")
            parameters.append(
                inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, annotation=str(parameter.type))
            )
        if self.prototype.variadic:
            parameters.append(inspect.Parameter("varargs", inspect.Parameter.VAR_POSITIONAL))
        return inspect.Signature(parameters, return_annotation=str(self.prototype.result))

    def __repr__(self) -> str:
        return f"<Function {self.prototype} of {self.symbol.image.name}>"

    def _repr_html_(self) -> str:
        first, _, rest = self.documentation.partition("\n\n")
        from html import escape

        return f"<code>{escape(first)}</code> <small>{escape(rest)}</small>"


_CLOSED = Stage.CLOSED  # members of enums are found slowly
_OWN = frozenset({"value", "_first", "_symbol", "_machine", "_given", "_type"})


class Variable(Unpicklable):
    """A symbol's value in memory; for a TLS symbol, in the current thread.

    If its C type is known (from DWARF, or `as_type`), `value` is a number, bytes, or a view of a structure or
    array. Members and elements can also be accessed directly: `variable.x`, `variable[3]`.
    """

    _instead = "it belongs to a machine of this process: pass its name or value"

    def __init__(self, machine: Guest, symbol: Symbol, ctype: CType | None = None) -> None:
        self._machine = machine
        self._first = self._symbol = symbol
        self._given = self._type = ctype

    @property
    def symbol(self) -> Symbol:
        """The variable's symbol: after a swap of its library, that of the new version."""
        if self._symbol.image.stage is _CLOSED:  # a swap, a return to before one, or the end
            self._symbol, self._type = self._first.current, self._given
        return self._symbol

    @property
    def name(self) -> str:
        return self._symbol.name

    @property
    def size(self) -> int:
        """Size in bytes from the symbol table; 0 if unknown."""
        return self.symbol.size

    @property
    def address(self) -> int:
        """The guest address. Raises UseAfterUnload."""
        address = self.symbol.address
        if self.symbol.type == SymbolType.TLS:
            address += self._machine.tls_block(self.symbol.image)
        return address

    @property
    def ctype(self) -> CType:
        """The variable's C type. Raises CallError if it is unknown."""
        if self._type is None:
            self._type = declared_type(self.symbol)
        if self._type is None:
            raise CallError(f"{self.name}: give a C type, {self.symbol.image.name} has no DWARF that says it")
        return self._type

    def as_type(self, ctype: str | CType | type[View]) -> Variable:
        """This variable, viewed as another type."""
        return Variable(self._machine, self.symbol, self._chosen(ctype))

    def _chosen(self, ctype: str | CType | type[View] | None) -> CType:
        if ctype is None:
            return self.ctype
        if isinstance(ctype, str):
            return parse_type(ctype, self._machine.convention.arch)
        return ctype._ctype_ if isinstance(ctype, type) else ctype

    @property
    def value(self) -> Any:
        """The variable's value. Assign to it to store."""
        return self.read()

    @value.setter
    def value(self, value: object) -> None:
        self.write(value)

    def read(self, ctype: str | CType | type[View] | None = None) -> Any:
        """Read the value as a C type; by default the type from DWARF. Raises CallError.

        A structure or array is returned as a view, through which guest memory can be written.
        """
        read = unpacker(self._machine.convention, sized(self._chosen(ctype)))
        return read(GuestStore(self._machine.memory, self.address), 0)

    def write(self, value: object, ctype: str | CType | type[View] | None = None) -> None:
        """Store a value as a C type. Raises CallError if it does not fit."""
        chosen = sized(self._chosen(ctype))
        if isinstance(chosen, VaListType):
            raise CallError(f"{self.name}: a va_list has no value to store")
        data = packer(self._machine.convention, chosen, self.name)(value, None)
        self._machine.memory.write(self.address, data)

    def read_bytes(self, size: int | None = None) -> bytes:
        """Read `size` bytes at the variable's address; by default its own size."""
        return self._machine.memory.read(self.address, self.size if size is None else size)

    def write_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at the variable's address."""
        self._machine.memory.write(self.address, data)

    # ------------------------------------------------------------ as what it holds

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = self._held()
        if not isinstance(value, Record):
            raise AttributeError(f"{self.name} has no member {name!r}")
        return getattr(value, name)

    def _held(self) -> Any:
        """The value, or None if its type is unknown."""
        try:
            return self.read()
        except (CallError, DebugInfoError):
            return None

    def __setattr__(self, name: str, value: object) -> None:
        if name in _OWN:
            object.__setattr__(self, name, value)
        elif isinstance(held := self._held(), Record):
            setattr(held, name, value)
        else:
            raise AttributeError(f"{self.name} has no member {name!r}")

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __setitem__(self, key: Any, value: object) -> None:
        self.value[key] = value

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __bool__(self) -> bool:
        return True

    def __dir__(self) -> list[str]:
        held = self._held()
        return sorted({*object.__dir__(self), *(held._names_ if isinstance(held, Record) else ())})

    def __repr__(self) -> str:
        told = "" if self._type is None else f": {self._type}"
        return f"<Variable {self.name}{told} of {self.symbol.image.name}>"


class Variables(Mapping[str, Variable]):
    """The symbols that a library exports, by name; static variables too, if DWARF or the symbol table has them."""

    def __init__(self, machine: Guest, image: Image) -> None:
        self._machine = machine
        self._image = image

    def __getitem__(self, name: str) -> Variable:
        if not isinstance(name, str):
            raise KeyError(name)
        try:
            return Variable(self._machine, self._image.definition(name))
        except UnresolvedSymbol as error:
            raise KeyError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._image.exports)

    def __len__(self) -> int:
        return len(self._image.exports)
