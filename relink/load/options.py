"""What a user may ask of a linker and of one load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from relink.objects.options import ObjectOptions, Wrapped
from relink.records import dataclass
from relink.relocate.lazy import BindMode
from relink.resolve.sources import DefinedSymbols

if TYPE_CHECKING:
    from relink.elf import Decoded
    from relink.module import Module
    from relink.relocate.handlers import RelocationHandler
    from relink.resolve.sources import Lookup, SymbolSource
    from relink.search.search_path import Source


@dataclass(frozen=True)
class Policy:
    """Libraries whose symbols the host provides."""

    #: SONAMEs that are always the host's (a hosted C library) and never looked for as files.
    host_provided: frozenset[str] = frozenset()
    #: SONAMEs that are the host's when no file is found.
    fallbacks: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LoadOptions:
    """How one load is done."""

    base: int | None = None  #: guest address of the root image's first page (None: the address space chooses)
    local: bool = False  #: keep the images out of the scope that later loads see (RTLD_LOCAL)
    deep_bind: bool = False  #: the images look into their own search list first (RTLD_DEEPBIND)
    no_load: bool = False  #: only what is loaded already (RTLD_NOLOAD)
    no_delete: bool = False  #: the root stays until everything ends (RTLD_NODELETE)
    binding: BindMode = BindMode.NOW  #: when what is called by way of the PLT is bound
    preload: Sequence[Source] = ()  #: images that come before the root in the scope, and stay as long as it
    sources: Sequence[SymbolSource | Lookup] = ()  #: asked before every image for what the new images refer to
    #: Given image and symbol, an address for a strong symbol nobody defines; None makes it an error.
    unresolved: Callable[[Module, str], int | None] = lambda image, symbol: None
    #: Leave strong symbols nobody defines to later loads, which bind them once they bring a definition into their
    #: scope; until then they are what `unresolved` says, or 0. Not thread-local ones, nor copies.
    allow_deferred: bool = False
    #: Symbols the root's archives are asked for beside what its objects need (ld's -u); see
    #: `relink.objects.archive_members`.
    undefined: Sequence[str] = ()
    whole_archive: bool = False  #: take all members of the root's archives (ld's --whole-archive)
    #: Of the root's objects: references to NAME mean `__wrap_NAME`, to `__real_NAME` NAME (GNU ld's --wrap).
    wrap: Sequence[str] = ()
    dynamic_tls: bool = False  #: thread-local storage is dynamic but where it must be static; see `relink.tls`
    #: Guest addresses of images' first pages: by SONAME, name or file name, or told by a function (None:
    #: anywhere). For the root `base` goes before.
    place: Mapping[str, int] | Callable[[Decoded], int | None] | None = None
    late_sources: Sequence[SymbolSource | Lookup] = ()  #: asked after every image, before the linker's own
    relocation_handlers: Sequence[RelocationHandler] = ()  #: before the linker's own
    #: The root is going to be started at its entry: a static PIE relocates itself then, as a kernel expects.
    program: bool = False
    #: Refuse what the gABI forbids though loaders take it: raise the first of `Decoded.warnings`.
    strict: bool = False

    def objects(self, interposing: Sequence[SymbolSource | Lookup]) -> ObjectOptions:
        """How the root's objects are linked, given the sources asked before every image.

        What a table among these names is overridden, also where the objects define it; functions are asked for
        what the objects leave undefined.
        """
        tables = [source.addresses for source in interposing if isinstance(source, DefinedSymbols)]
        names = frozenset(chain.from_iterable(tables))
        return ObjectOptions(self.undefined, self.whole_archive, Wrapped(frozenset(self.wrap)), names)
