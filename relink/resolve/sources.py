"""Symbol sources: definitions from outside every image, for what they may answer and how they are asked.

A source is a `SymbolSource`, or a plain function of a `SymbolRequest`. It answers with a guest address, a
definition in an image (`relink.Symbol`), a variable of the host's TLS block, whatever else
`Resolver.host_value` understands (on a machine: a callable, which the guest will run), or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import numpy as np

from relink.arrays import Bools
from relink.elf import Names
from relink.module import Module
from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.resolve.reference_kind import ReferenceKind


@dataclass(frozen=True, slots=True)
class SymbolRequest:
    """One reference, as a symbol source sees it."""

    name: str
    version: str | None
    image: str | None  #: the name of the image that refers to it; None for a user's look-up
    asking: Module | None = field(default=None, repr=False, compare=False)  #: that image
    index: int = field(default=0, repr=False, compare=False)  #: of the reference in its symbol table

    @property
    def kind(self) -> ReferenceKind:
        """Whether a function, data or a thread-local variable is asked for, as far as the image tells."""
        from relink.resolve.reference_kind import ReferenceKind, reference_kind

        return ReferenceKind.UNKNOWN if self.asking is None else reference_kind(self.asking, self.index)


@dataclass(frozen=True, slots=True)
class ThreadLocal:
    """A thread-local variable of the host's own TLS module (`Resolver.host_tls`)."""

    offset: int  #: bytes into the module's block


class DataAddress(int):
    """The guest address of data of the host's, as a source answers it: no stub can stand for it."""

    size = 0  #: bytes, where the source knows

    @classmethod
    def of(cls, address: int, size: int) -> DataAddress:
        """`size` bytes at `address`."""
        data = cls(address)
        data.size = size
        return data


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SymbolDefinition:
    """A definition in a loaded image: an entry of its symbol table."""

    name: str
    image: Module
    index: int  #: in the image's dynamic symbol table


#: What a look-up answers (see above).
Definition: TypeAlias = int | ThreadLocal | SymbolDefinition | object | None
#: A look-up as a plain function.
Lookup: TypeAlias = Callable[[SymbolRequest], Definition]


class SymbolSource(Protocol):
    """Answers symbols from outside every image: host functions, a hosted library, a user's hook."""

    def lookup(self, request: SymbolRequest) -> Definition:
        """A definition, or None."""

    def may_know(self, names: Names) -> Bools | None:
        """Which of the names are worth asking for (None: all), so that a big batch stays a batch."""


class DefinedSymbols:
    """A source that is a table of names and guest addresses; versions are not looked at."""

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self.addresses = addresses
        self._hashes = Names.of(list(addresses)).gnu_hash

    def lookup(self, request: SymbolRequest) -> int | None:
        return self.addresses.get(request.name)

    def may_know(self, names: Names) -> Bools | None:
        return np.isin(names.gnu_hash, self._hashes)


class _FunctionSource:
    def __init__(self, function: Lookup) -> None:
        self.lookup = function

    def may_know(self, names: Names) -> Bools | None:
        return None


def source_from(function: Lookup) -> SymbolSource:
    """A `SymbolSource` from a plain function."""
    return _FunctionSource(function)


def as_source(source: SymbolSource | Lookup) -> SymbolSource:
    """The source itself, or one of a plain function."""
    return cast(SymbolSource, source) if hasattr(source, "lookup") else _FunctionSource(source)
