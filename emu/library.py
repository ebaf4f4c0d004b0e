"""`Library` and `PendingLibrary`: handles on a loaded library and on one whose load is under way."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol, Self

from emu.errors import CallError
from relink.elf.constants import SymbolType
from relink.errors import DebugInfoError, UnresolvedSymbol
from relink.image import Image, Symbol
from relink.module import Stage
from relink.records.unpicklable import Unpicklable

if TYPE_CHECKING:
    from emu.calls.namespace import Types
    from emu.calls.scope import Scope
    from emu.calls.types import Prototype
    from emu.handles import Function, Guest, Variable
    from emu.host.symbols import SymbolValue
    from emu.load.pending import PendingLoad
    from emu.parts import Parts
    from emu.patch.functions import Patch, Patcher, Replacement
    from emu.patch.imports import Redirection
    from emu.patch.swap import Swapped
    from emu.ports import Handle
    from relink.link_map import LinkMap
    from relink.load.plan import Plan

    class Owner(Guest, Protocol):
        """The machine as its libraries use it (see `emu.machine.Machine`)."""

        @property
        def parts(self) -> Parts: ...
        @property
        def patcher(self) -> Patcher: ...
        def image_at(self, address: int) -> Image | None: ...
        def unload(self, image: Image) -> None: ...
        def patch(
            self, target: Handle | Symbol | int, replacement: Replacement, *, size: int | None = None
        ) -> Patch: ...
        def redirect(self, image: Image, name: str, replacement: Handle | Symbol | SymbolValue) -> Redirection: ...


_CLOSED = Stage.CLOSED  # members of enums are found slowly
_MOST_COMPARED = 200  #: exported names that are compared with one that is not there: some microseconds each


class Library(Unpicklable):
    """A loaded library. Close it, or leave its `with` block, to unload it; it stays loaded while another image
    needs it.
    """

    _instead = "it belongs to a machine of this process: load it on the other machine"

    def __init__(self, machine: Owner, plan: Plan) -> None:
        self._machine = machine
        self.plan = plan  #: the result of the load: images, relocations, timings
        self._image = plan.root
        self.swapped: Swapped | None = None  #: what the last swap of it did
        self._functions: dict[str, Function] = {}
        self._declared: Scope | None = None
        self._types: Types | None = None

    @property
    def image(self) -> Image:
        """The library's image: after a swap, that of the new version."""
        if self._image.stage is _CLOSED:  # a swap, a return to before one, or the end
            first = self.plan.root
            self._image, self._types = first.successor or first, None
            self._functions.clear()
        return self._image

    @property
    def name(self) -> str:
        return self.image.name

    @property
    def base(self) -> int:
        """The guest address of the library's first page."""
        return self.image.base

    # ------------------------------------------------------------ functions

    def function(
        self, name: str, prototype: str | Prototype | object | None = None, *, version: str | None = None
    ) -> Function:
        """A function: exported, or static. Its prototype comes from what was declared, or DWARF, when left out.

        It may be C text, a `Prototype`, or an annotation such as `Callable[[int32], int32]` (see
        `emu.calls.annotations`). Raises UnresolvedSymbol, CallError (no or an unusable prototype; a function whose
        calling convention the compiler changed), UseAfterUnload, and DebugInfoError where DWARF is there and does
        not tell. Warns (StaticFunctionWarning) of static functions without DWARF.
        """
        # Modules for C types are imported by those who call: a load needs none of them.
        from emu.calls.annotations import annotated_prototype
        from emu.calls.declared import check_convention
        from emu.calls.types import Prototype
        from emu.handles import Function

        symbol = self.function_symbol(name, version)
        if prototype is None:
            found = self.declared_prototype(name, version=version)
            if found is None:
                raise CallError(f"{name}: give a C prototype, {symbol.image.name} has no DWARF that says it")
        elif isinstance(prototype, str):
            found = self._parsed(prototype)
        elif isinstance(prototype, Prototype):
            found = prototype
        else:
            found = annotated_prototype(name, prototype, self._machine.convention)
        if symbol.type != SymbolType.GNU_IFUNC:
            check_convention(symbol, found, symbol.image, symbol.address, self._machine.convention)
        return Function(self._machine, symbol, found)

    def _parsed(self, text: str) -> Prototype:
        """The prototype of a text, which may name the types of the image and of what was declared."""
        from emu.calls.prototypes import parse_prototype
        from emu.calls.types import Struct

        arch = self._machine.convention.arch
        try:
            found = parse_prototype(text, arch, self._declared)
        except CallError:
            if self._declared is not None or not self.types:
                raise
        else:
            passed = (found.result, *(parameter.type for parameter in found.parameters))
            if not any(isinstance(each, Struct) and each.members is None for each in passed):
                return found
        return parse_prototype(text, arch, self.types.scope)

    def declare(self, types: Types) -> None:
        """Let the prototypes of a header (see `Machine.types`) be those of this library's functions."""
        if not hasattr(types, "scope"):
            raise TypeError(f"{types!r} is no header: give what Machine.types returns for it")
        self._declared, self._types = types.scope, None
        self._functions.clear()

    def renewed(self, images: Collection[Image]) -> Library:
        """Another object for the same library, without what `declare` told this one. Functions of `images` that
        were looked up by their DWARF are not looked up again.
        """
        other = Library(self._machine, self.plan)
        if self._declared is None:
            found = self._functions.items()
            other._functions = {name: each for name, each in found if each.symbol.image in images}
        return other

    def __getattr__(self, name: str) -> Function:
        """A function by its name, as with ctypes: `library.add(1, 2)`."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UnresolvedSymbol as error:
            raise AttributeError(str(error)) from None

    def __getitem__(self, name: str) -> Function:
        """A function by its name, for names that are attributes of this class or no identifiers of Python."""
        if self.image.closed or name not in self._functions:
            self._functions[name] = self.function(name)
        return self._functions[name]

    def __dir__(self) -> list[str]:
        functions = (name for name in self.image.exports if name.isidentifier())
        return sorted({*object.__dir__(self), *functions})

    def function_symbol(self, name: str, version: str | None = None) -> Symbol:
        """The function of that name: exported, or else the only static or hidden one, also in `.symtab`, or the
        only one whose name in the source of C++ or Rust it is ("ns::f", "ns::f(int)").

        Raises UnresolvedSymbol (also when there are several), CallError for a variable, UseAfterUnload.
        """
        if not isinstance(name, str):
            raise TypeError(f"{name!r} is no name of a function: give a str")
        try:
            symbol = self.image.definition(name, version)
        except UnresolvedSymbol:
            symbol = self._by_source_name(name, version)
        if symbol.type in (SymbolType.OBJECT, SymbolType.TLS, SymbolType.COMMON):
            raise CallError(f"{name} of {symbol.image.name} is data, not a function")
        return symbol

    def _by_source_name(self, name: str, version: str | None) -> Symbol:
        """The exported function with that name in C++ or Rust, such as "ns::f" or "ns::f(int)". Raises
        UnresolvedSymbol.
        """
        from emu.debug.demangle import with_source_name

        found = with_source_name(self.image.decoded, name)
        exports = self.image.exports if found else {}
        by_address = {exports[mangled]: mangled for mangled in found}
        if len(by_address) == 1:
            return self.image.symbol(next(iter(by_address.values())), version)
        if not found:
            try:
                return self.image.definition(name, version)
            except UnresolvedSymbol as error:
                raise self._with_similar(error) from None
        detail = f"it may be {', '.join(sorted(set(found.values())))}"
        raise UnresolvedSymbol(self.image.name, name, version, detail=detail)

    def _with_similar(self, error: UnresolvedSymbol) -> UnresolvedSymbol:
        """The error with the exported names that are most like the one that was asked for."""
        from difflib import get_close_matches

        exports = self.image.exports
        similar = get_close_matches(error.symbol, exports) if len(exports) <= _MOST_COMPARED else []
        if not similar:
            return error
        detail = f"{error.detail}; similar: {', '.join(similar)}"
        return UnresolvedSymbol(error.image, error.symbol, error.version, detail=detail)

    def declared_prototype(self, name: str, *, version: str | None = None) -> Prototype | None:
        """The prototype a function was declared with, or DWARF gives it; None where neither does.

        Raises UnresolvedSymbol, and DebugInfoError where DWARF is there and does not tell: damaged, in a file that
        is not there, a type no call can pass.
        """
        from emu.calls.declared import declared_prototype

        if self._declared is not None and name in self._declared.functions:
            return self._declared.functions[name]
        symbol = self.function_symbol(name, version)
        if symbol.type != SymbolType.GNU_IFUNC:
            return declared_prototype(symbol, symbol.image, symbol.address)
        address = self._machine.initialisers.ifunc_target(symbol.image, symbol.address)
        holder = self._machine.image_at(address)
        return None if holder is None else declared_prototype(symbol, holder, address)

    @property
    def types(self) -> Types:
        """The types its debug information names, those it was told by `declare` first.

        Raises DebugInfoError for DWARF in a file that cannot be read.
        """
        if self._types is None:
            from emu.calls.declared import dwarf_types
            from emu.calls.namespace import Types
            from emu.calls.scope import Scope

            known = dwarf_types(self.image)
            scope = Scope()
            for name, ctype in ({} if known is None else known.named()).items():
                scope.add(name, ctype)
            if self._declared is not None:
                scope.update(self._declared)
            self._types = Types(self._machine.convention, scope, self.name)
        return self._types

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
        """Exported symbols (of the library or what it depends on) as places in memory, by name."""
        from emu.handles import Variables

        return Variables(self._machine, self.image)

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

    def __exit__(self, *raised: object) -> None:
        if not self.image.closed:
            self.close()

    def __repr__(self) -> str:
        return f"<Library {self.name}>"

    def _repr_html_(self) -> str:
        names = [name for name in self.image.exports if self.image.symbol(name).type == SymbolType.FUNC]
        from html import escape

        rows = "".join(f"<tr><td><code>{escape(self._shown(name))}</code></td></tr>" for name in names[:100])
        more = f"<tr><td>and {len(names) - 100} more</td></tr>" if len(names) > 100 else ""
        return f"<table><caption>{escape(self.name)}</caption>{rows}{more}</table>"

    def _shown(self, name: str) -> str:
        try:
            return str(self.declared_prototype(name) or name)
        except (DebugInfoError, UnresolvedSymbol, CallError):
            return name


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


def as_image(loaded: Image | Library) -> Image:
    """The image of a library; an image itself. Raises TypeError for anything else."""
    if isinstance(loaded, Library):
        return loaded.image
    if not isinstance(loaded, Image):
        raise TypeError(f"{loaded!r} is no library: give what Machine.load returned")
    return loaded
