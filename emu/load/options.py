"""The keyword arguments of loads, defined once: `Machine.load` takes them, lower layers pass them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Required, TypedDict

if TYPE_CHECKING:
    from emu.host.symbols import Symbols
    from relink.elf import Decoded
    from relink.elf.source import FileMode
    from relink.module import TlsModule
    from relink.objects.script import LinkScript
    from relink.relocate.handlers import RelocationHandler
    from relink.relocate.lazy import BindMode
    from relink.search.search_path import Source


class StartKeywords(TypedDict, total=False):
    """Options for loading a program to run."""

    name: str | None  #: its name in messages (None: its path)
    #: A table, or a function of a `SymbolRequest`, searched before all images for imports of this load's images.
    symbols: Symbols | None
    base: int | None  #: guest address of the root image's first page (None: any free address)
    binding: BindMode | str | None  #: when calls through the PLT are bound (None: the machine's default)
    preload: Sequence[Source]  #: images before the root in the scope; they stay loaded as long as the root
    allow_unresolved: bool  #: bind undefined strong symbols to traps that raise UnresolvedCall when called


class AdoptingKeywords(TypedDict, total=False):
    """Options for adopting an image in guest memory: see `relink.linker.Linker.begin_adoption`."""

    relocated: Required[bool]
    source: Source | None
    name: str | None
    tls: TlsModule | None


class AdoptKeywords(AdoptingKeywords, total=False):
    """Options of `Machine.adopt`: those of an adoption, and symbols that the machine provides."""

    symbols: Symbols | None  #: as in `StartKeywords`


class LoadKeywords(StartKeywords, total=False):
    """Options for loading a library. Options without a comment are fields of `relink.linker.LoadOptions`."""

    local: bool
    deep_bind: bool
    no_load: bool
    no_delete: bool
    undefined: Sequence[str]
    whole_archive: bool
    wrap: Sequence[str]
    #: Defer undefined strong symbols to later loads: until one defines them, a call raises UnresolvedCall and an
    #: access raises a GuestFault with the symbol's name.
    allow_deferred: bool
    place: Mapping[str, int] | Callable[[Decoded], int | None] | None
    script: LinkScript | None
    late_symbols: Symbols | None  #: like `symbols`, but searched after all images
    mapping: FileMode | str | None
    relocation_handlers: Sequence[RelocationHandler]
    run_initialisers: bool  #: False defers constructors to `Library.run_initialisers`


class SwapKeywords(TypedDict, total=False):
    """Options for the load of a new version in the place of an old one."""

    name: str | None
    symbols: Symbols | None  #: searched before those given for the old version
    base: int | None
    binding: BindMode | str | None
    allow_unresolved: bool
    mapping: FileMode | str | None
