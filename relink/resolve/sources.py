"""Symbol sources: providers of definitions outside all images.

A source is a `SymbolSource`, or a function of a `SymbolRequest`. Its answer is one of:

- a guest address;
- a definition in an image (`relink.Symbol`);
- a variable of the host's TLS block (`ThreadLocal`);
- a value that `Resolver.host_value` converts: on a machine a callable, which the guest can then call;
- None for no definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from relink.arrays import Bools
from relink.elf import Names
from relink.module import Module
from relink.records import dataclass, field

if TYPE_CHECKING:
    from relink.resolve.reference_kind import ReferenceKind


@dataclass(frozen=True, slots=True)
class SymbolRequest:
    """One reference, as passed to a symbol source."""

    name: str
    version: str | None
    image: str | None  #: name of the referring image; None for a user's look-up
    asking: Module | None = field(default=None, repr=False, compare=False)  #: the referring image
    index: int = field(default=0, repr=False, compare=False)  #: index of the reference in the image's symbol table

    @property
    def kind(self) -> ReferenceKind:
        """Whether the reference is to a function, data or a thread-local variable, if the image tells."""
        from relink.resolve.reference_kind import ReferenceKind, reference_kind

        return ReferenceKind.UNKNOWN if self.asking is None else reference_kind(self.asking, self.index)


@dataclass(frozen=True, slots=True)
class ThreadLocal:
    """A thread-local variable in the host's TLS module (`Resolver.host_tls`)."""

    offset: int  #: offset in bytes in the module's block


class DataAddress(int):
    """The guest address of host data, as answered by a source: no stub can be made for it."""

    size = 0  #: size in bytes, 0 if unknown

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


#: The answer of a look-up (see above).
Definition: TypeAlias = int | ThreadLocal | SymbolDefinition | object | None
#: A look-up as a function.
Lookup: TypeAlias = Callable[[SymbolRequest], Definition]


class SymbolSource(Protocol):
    """Provides symbols from outside all images: host functions, a hosted library, a user's hook."""

    def lookup(self, request: SymbolRequest) -> Definition:
        """A definition, or None."""

    def may_know(self, names: Names) -> Bools | None:
        """Which of the names `lookup` should be called for (None: all), so that large batches stay fast.

        A source may also have a property `is_idle`: whether it has no definition of any name now; a method
        `knows`: whether `lookup` should be called for one name, which is asked instead of this for few; and a
        property `is_settled`: whether it knows the same names as long as no image comes or goes. Calls are looked
        up ahead only where all sources before the images are settled.
        """


class DefinedSymbols:
    """A source with a table of names and guest addresses; versions are ignored."""

    def __init__(self, addresses: Mapping[str, int]) -> None:
        self.addresses = addresses
        self._hashes = Names.of(list(addresses)).gnu_hash

    def lookup(self, request: SymbolRequest) -> int | None:
        return self.addresses.get(request.name)

    def may_know(self, names: Names) -> Bools | None:
        return np.isin(names.gnu_hash, self._hashes)

    def knows(self, name: str) -> bool:
        return name in self.addresses

    @property
    def is_idle(self) -> bool:
        return not self.addresses

    @property
    def is_settled(self) -> bool:
        return len(self.addresses) == len(self._hashes)


class _FunctionSource:
    def __init__(self, function: Lookup) -> None:
        self.lookup = function

    def may_know(self, names: Names) -> Bools | None:
        return None


def as_source(source: SymbolSource | Lookup) -> SymbolSource:
    """The source itself, or a `SymbolSource` made of a function."""
    return source if hasattr(source, "lookup") else _FunctionSource(source)  # type: ignore[return-value]


def are_settled(sources: Iterable[SymbolSource | Lookup]) -> bool:
    """Whether sources know the same names as long as no image comes or goes."""
    for source in sources:  # noqa: SIM110 (before each run of a guest: `all` takes twice as long)
        if not getattr(source, "is_settled", False):
            return False
    return True


def is_worth_asking(source: SymbolSource | Lookup, name: str) -> bool:
    """Whether the source's `lookup` should be called for one name."""
    knows = getattr(source, "knows", None)
    if knows is not None:
        return bool(knows(name))
    may_know = getattr(source, "may_know", None)
    mask = None if may_know is None else may_know(Names.of([name]))
    return mask is None or bool(mask[0])
