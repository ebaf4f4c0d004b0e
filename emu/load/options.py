"""The keywords of a load, each written once: `Machine.load` takes them, what is below passes them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Required, TypedDict

if TYPE_CHECKING:
    from emu.host.symbols import Symbols
    from relink.elf import Decoded
    from relink.module import TlsModule
    from relink.relocate.handlers import RelocationHandler
    from relink.relocate.lazy import BindMode
    from relink.search.search_path import Source


class StartKeywords(TypedDict, total=False):
    """How a program is loaded that is going to be run."""

    name: str | None  #: what messages call it (None: its path)
    #: A table, or a function of a `SymbolRequest`, that answers what this load's images import before any image.
    symbols: Symbols | None
    base: int | None  #: guest address of the root image's first page (None: wherever there is room)
    binding: BindMode | str | None  #: when calls by way of the PLT are bound (None: as the machine's)
    preload: Sequence[Source]  #: images that come before the root in the scope, and stay as long as it
    allow_unresolved: bool  #: bind strong symbols nobody defines to traps that raise UnresolvedCall when reached


class AdoptingKeywords(TypedDict, total=False):
    """How an image that lies in guest memory is adopted: see `relink.linker.Linker.adopting`."""

    relocated: Required[bool]
    source: Source | None
    name: str | None
    tls: TlsModule | None


class AdoptKeywords(AdoptingKeywords, total=False):
    """The same, with the symbols its machine answers."""

    symbols: Symbols | None  #: as in `StartKeywords`


class LoadKeywords(StartKeywords, total=False):
    """How a library is loaded. Those that are not explained here are fields of `relink.linker.LoadOptions`."""

    local: bool
    deep_bind: bool
    no_load: bool
    no_delete: bool
    undefined: Sequence[str]
    whole_archive: bool
    wrap: Sequence[str]
    #: Leave strong symbols nobody defines to later loads: until one brings a definition, a call of theirs raises
    #: UnresolvedCall, and an access is a GuestFault that names them.
    allow_deferred: bool
    place: Mapping[str, int] | Callable[[Decoded], int | None] | None
    late_symbols: Symbols | None  #: like `symbols`, for what no image answers
    relocation_handlers: Sequence[RelocationHandler]
    run_initialisers: bool  #: False leaves constructors for `Library.run_initialisers`
