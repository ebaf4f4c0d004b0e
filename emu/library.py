"""`Library`, `Function` and `Variable`: handles on a loaded library."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self

from emu.calls.declared import declared_prototype, declared_type
from emu.calls.prototypes import CType, Floating, Integer, Pointer, Prototype, parse_prototype, parse_type
from emu.errors import CallError
from relink.elf.constants import SymbolType
from relink.errors import UnresolvedSymbol
from relink.image import Image, Symbol
from relink.resolve.local_symbols import local_symbols

if TYPE_CHECKING:
    from emu.host.symbols import SymbolValue
    from emu.load.initialisers import Initialisers
    from emu.load.pending import PendingLoad
    from emu.patch.functions import Patch, Replacement
    from emu.patch.imports import Redirection
    from emu.ports import Handle, Memory
    from emu.run.runner import Runner
    from relink.arch import Architecture
    from relink.link_map import LinkMap
    from relink.load.plan import Plan


class Owner(Protocol):
    """The part of a machine that its handles use (see `emu.machine.Machine`)."""

    @property
    def arch(self) -> Architecture: ...
    @property
    def memory(self) -> Memory: ...
    @property
    def initialisers(self) -> Initialisers: ...
    @property
    def runner(self) -> Runner: ...
    def tls_block(self, image: Image) -> int: ...
    def image_at(self, address: int) -> Image | None: ...
    def unload(self, image: Image) -> None: ...
    def patch(
        self, target: Handle | Symbol | int, replacement: Replacement, *, size: int | None = None
    ) -> Patch: ...
    def redirect(self, image: Image, name: str, replacement: Handle | Symbol | SymbolValue) -> Redirection: ...


class Function:
    """A guest function with its C prototype. Call it like a Python function, or pass it to the guest as a pointer
    argument.

    Calling it after its library is closed raises UseAfterUnload.
    """

    def __init__(self, machine: Owner, symbol: Symbol, prototype: Prototype) -> None:
        self._machine = machine
        self.symbol = symbol
        self.prototype = prototype
        self._target = 0

    @property
    def name(self) -> str:
        return self.symbol.name

    @property
    def address(self) -> int:
        """The guest address to call: for an ifunc, the function that its resolver chose."""
        address = self.symbol.address
        if self.symbol.type != SymbolType.GNU_IFUNC:
            return address
        if not self._target:
            self._target = self._machine.initialisers.ifunc_target(self.symbol.image, address)
        return self._target

    def __call__(self, *args: object, max_instructions: int | None = None, timeout: float | None = None) -> Any:
        """Call the guest. See `Machine.call`."""
        return self._machine.runner.call(
            self.address, self.prototype, *args, max_instructions=max_instructions, timeout=timeout
        )

    def __repr__(self) -> str:
        return f"<Function {self.prototype} of {self.symbol.image.name}>"


class Variable:
    """A symbol's value in memory; for a TLS symbol, in the current thread."""

    def __init__(self, machine: Owner, symbol: Symbol) -> None:
        self._machine = machine
        self.symbol = symbol

    @property
    def name(self) -> str:
        return self.symbol.name

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

    def read(self, ctype: str | None = None) -> int | float:
        """Read the value as a C type; by default the type from DWARF. Raises CallError."""
        decode, size = self._codec(ctype)
        value: int | float = decode.unpack(self._machine.memory.read(self.address, size))[0]
        return value

    def write(self, value: float, ctype: str | None = None) -> None:
        """Store a value as a C type. Raises CallError if it does not fit."""
        encode, _ = self._codec(ctype)
        try:
            self._machine.memory.write(self.address, encode.pack(value))
        except struct.error as error:
            raise CallError(f"{self.name}: {value!r} cannot be stored: {error}") from None

    def read_bytes(self, size: int | None = None) -> bytes:
        """Read `size` bytes at the variable's address; by default its own size."""
        return self._machine.memory.read(self.address, self.size if size is None else size)

    def write_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Write bytes at the variable's address."""
        self._machine.memory.write(self.address, data)

    def _codec(self, text: str | None) -> tuple[struct.Struct, int]:
        if text is None:
            text = declared_type(self.symbol)
            if text is None:
                raise CallError(f"{self.name}: give a C type, {self.symbol.image.name} has no DWARF for it")
        code = _struct_code(parse_type(text, self._machine.arch.name), self._machine.arch.word_size)
        if code is None:
            raise CallError(f"{self.name}: {text} is not a scalar type; use read_bytes and write_bytes")
        codec = struct.Struct("<" + code)
        return codec, codec.size


def _struct_code(ctype: CType, word_size: int) -> str | None:
    if isinstance(ctype, Pointer):
        return "I" if word_size == 4 else "Q"
    if isinstance(ctype, Integer):
        code = {1: "b", 2: "h", 4: "i", 8: "q"}.get(ctype.size)
        return code if code is None or ctype.signed else code.upper()
    if isinstance(ctype, Floating):
        return {4: "f", 8: "d"}.get(ctype.size)
    return None


class _Symbols(Mapping[str, Variable]):
    """The symbols a library exports, by name."""

    def __init__(self, machine: Owner, image: Image) -> None:
        self._machine = machine
        self._image = image

    def __getitem__(self, name: str) -> Variable:
        try:
            return Variable(self._machine, self._image.symbol(name))
        except UnresolvedSymbol:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._image.exports)

    def __len__(self) -> int:
        return len(self._image.exports)


class Library:
    """A loaded library. Close it, or leave its `with` block, to unload it; it stays loaded while another image
    needs it.
    """

    def __init__(self, machine: Owner, plan: Plan) -> None:
        self._machine = machine
        self.plan = plan  #: the result of the load: images, relocations, timings
        self.image = plan.root

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def base(self) -> int:
        """The guest address of the library's first page."""
        return self.image.base

    def function(self, name: str, prototype: str | None = None, *, version: str | None = None) -> Function:
        """An exported function. The default prototype is the one from DWARF.

        Raises UnresolvedSymbol, CallError (no prototype, or an unusable one), UseAfterUnload, and DebugInfoError
        when DWARF covers the function but cannot be used.
        """
        symbol = self.function_symbol(name, version)
        text = self.declared_prototype(name, version=version) if prototype is None else prototype
        if text is None:
            raise CallError(f"{name}: give a C prototype, {symbol.image.name} has no DWARF for it")
        return Function(self._machine, symbol, parse_prototype(text, self._machine.arch.name))

    def function_symbol(self, name: str, version: str | None = None) -> Symbol:
        """The function of that name: exported, or else the only static or hidden one, also in `.symtab`.

        Raises UnresolvedSymbol (also when there are several), CallError for a variable, UseAfterUnload.
        """
        try:
            symbol = self.image.symbol(name, version)
        except UnresolvedSymbol:
            symbol = self._local(name, version)
        if symbol.type in (SymbolType.OBJECT, SymbolType.TLS, SymbolType.COMMON):
            raise CallError(f"{name} of {symbol.image.name} is data, not a function")
        return symbol

    def _local(self, name: str, version: str | None) -> Symbol:
        """The only symbol of that name that other images cannot bind to. Raises UnresolvedSymbol."""
        found = () if version is not None else local_symbols(self.image.decoded, name)
        if len(found) != 1:
            detail = f"local, in {len(found)} places" if found else "looked up in the image and its dependencies"
            raise UnresolvedSymbol(self.image.name, name, version, detail=detail)
        local = found[0]
        return Symbol(name, self.image, local.row, self.image.address_of(local.value), local.size, local.type)

    def declared_prototype(self, name: str, *, version: str | None = None) -> str | None:
        """The C prototype of an exported function from DWARF; None when no DWARF covers it.

        Raises UnresolvedSymbol, and DebugInfoError when DWARF covers it but cannot be used: damaged, in a file
        that was not found, or a type that C cannot express.
        """
        symbol = self.function_symbol(name, version)
        if symbol.type != SymbolType.GNU_IFUNC:
            return declared_prototype(symbol, symbol.image, symbol.address)
        address = self._machine.initialisers.ifunc_target(symbol.image, symbol.address)
        holder = self._machine.image_at(address)
        return None if holder is None else declared_prototype(symbol, holder, address)

    def replace(
        self, name: str, replacement: Replacement, *, version: str | None = None, size: int | None = None
    ) -> Patch:
        """Replace an exported function for every caller; see `Machine.patch`. Also raises UnresolvedSymbol."""
        return self._machine.patch(self.image.symbol(name, version), replacement, size=size)

    def redirect(self, name: str, replacement: Function | Symbol | SymbolValue) -> Redirection:
        """Redirect the library's own references to a symbol; see `Machine.redirect`."""
        return self._machine.redirect(self.image, name, replacement)

    @property
    def symbols(self) -> Mapping[str, Variable]:
        """Exported symbols of the library and its dependencies as `Variable`s, by name."""
        return _Symbols(self._machine, self.image)

    def link_map(self) -> LinkMap:
        """Sections, symbols, GOT slots and stubs with their current contents, like a linker's map file. Raises
        UseAfterUnload.
        """
        return self.image.link_map(self._machine.memory.read)

    def run_initialisers(self) -> None:
        """Run the constructors deferred by `load(..., run_initialisers=False)`, of the library and its
        dependencies.

        Does nothing for those that have run. Raises UseAfterUnload, ConstructorFault: the image in it and those
        after it then remain uninitialised.
        """
        self.image.check_open()
        with self._machine.runner.one_budget():
            self._machine.initialisers.initialise(self.image.scope)

    def close(self) -> None:
        """Unload the library: run destructors and free its memory, unless another load or image needs it."""
        self._machine.unload(self.image)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.image.closed:
            self.close()

    def __repr__(self) -> str:
        return f"<Library {self.name}>"


class PendingLibrary(Library):
    """A linked library whose load is not complete: see `Machine.loading`. The steps:

    - "publish": map its memory in the guest;
    - "prepare": for a program, build its stack;
    - "ifuncs": call resolvers and store their results;
    - "tls": initialise static blocks;
    - "construct": run constructors.

    Before "publish" only `image` can be used: its bytes are in `image.region.buffer`.
    """

    def __init__(self, machine: Owner, pending: PendingLoad) -> None:
        super().__init__(machine, pending.plan)
        self._pending = pending

    @property
    def next_step(self) -> str | None:
        """The next step; None when all are done."""
        return self._pending.next_step

    def advance(self, until: str | None = None) -> None:
        """Do the steps before the step `until`; all remaining steps when it is None.

        Raises the exceptions of the steps (the load can then only be rolled back), and ValueError for an unknown
        step, or one that is done.
        """
        with self._machine.runner.one_budget():
            self._pending.advance(until)

    def roll_back(self) -> NoReturn:
        """Undo the load: leaves the `with` block immediately; the machine is as before the load."""
        self._pending.roll_back()
