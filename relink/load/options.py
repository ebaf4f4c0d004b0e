"""Options of a linker (`Policy`) and of one load (`LoadOptions`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from relink.elf.source import FileMode
from relink.objects.options import ObjectOptions, Wrapped
from relink.records import dataclass
from relink.relocate.lazy import BindMode
from relink.resolve.sources import DefinedSymbols

if TYPE_CHECKING:
    from relink.elf import Decoded
    from relink.module import Module
    from relink.objects.script import LinkScript
    from relink.relocate.handlers import RelocationHandler
    from relink.resolve.sources import Lookup, SymbolSource
    from relink.search.search_path import Source


_PLAIN = ObjectOptions()


@dataclass(frozen=True)
class Policy:
    """Libraries that the host provides."""

    #: SONAMEs that the host always provides (a hosted C library); they are never searched as files.
    host_provided: frozenset[str] = frozenset()
    #: SONAMEs that the host provides when no file is found.
    fallbacks: frozenset[str] = frozenset()


def no_value(module: Module, symbol: str) -> None:
    """No address for an undefined symbol, which makes it an error."""


@dataclass(frozen=True)
class LoadOptions:
    """Options of one load. Those about new images (`sources`, `deep_bind` and others) have no effect on images
    that are already loaded, as with dlopen. A root that is loaded at another address than its `base` or `place` is
    a LinkError.

    Raises TypeError for a text where a sequence is wanted, and for a `base` or `binding` of another type.
    """

    base: int | None = None  #: guest address of the root image's first page (None: the address space chooses)
    local: bool = False  #: do not add the images to the global scope (RTLD_LOCAL)
    deep_bind: bool = False  #: search the images' own search list before the global scope (RTLD_DEEPBIND)
    no_load: bool = False  #: succeed only if the root is already loaded (RTLD_NOLOAD)
    no_delete: bool = False  #: never unload the root before the end (RTLD_NODELETE)
    binding: BindMode = BindMode.NOW  #: when references through the PLT are bound
    preload: Sequence[Source] = ()  #: images before the root in the scope; they stay loaded as long as the root
    #: symbol sources searched before all images, for references of the new images
    sources: Sequence[SymbolSource | Lookup] = ()
    #: (image, symbol) -> an address for an undefined strong symbol; None makes it an error. It may have a method
    #: `each`: (image, symbols) -> the addresses of several.
    unresolved: Callable[[Module, str], int | None] = no_value
    #: Defer undefined strong symbols, except thread-local and copied ones: a later load that adds a definition to
    #: their scope binds them. Until then their value is that of `unresolved`, or 0.
    allow_deferred: bool = False
    #: Additional undefined symbols that select members of the root's archives (ld's -u); see
    #: `relink.objects.archive_members`.
    undefined: Sequence[str] = ()
    whole_archive: bool = False  #: add all members of the root's archives (ld's --whole-archive)
    #: In the root's objects, references to NAME become `__wrap_NAME`, and `__real_NAME` becomes NAME (GNU ld's
    #: --wrap).
    wrap: Sequence[str] = ()
    dynamic_tls: bool = False  #: thread-local storage is static only when required; see `relink.tls`
    #: Guest addresses of images' first pages: by SONAME, name or file name, or from a function (None: any). `base`
    #: takes precedence for the root.
    place: Mapping[str, int] | Callable[[Decoded], int | None] | None = None
    #: Places the sections of the root's objects in a device's memory (see `relink.objects.script`).
    script: LinkScript | None = None
    #: symbol sources searched after all images, before the linker's own
    late_sources: Sequence[SymbolSource | Lookup] = ()
    relocation_handlers: Sequence[RelocationHandler] = ()  #: relocation handlers called before the linker's own
    #: The root will be started at its entry point: a static PIE then relocates itself, as under a kernel.
    program: bool = False
    #: How files given by their path, dependencies and archives' members too, are read: COPY for what others may
    #: change in place. None: copied up to a MiB, else mapped.
    mapping: FileMode | None = None
    #: Raise the first of `Decoded.warnings`: violations of the gABI that loaders tolerate.
    strict: bool = False

    def __post_init__(self) -> None:
        for name, value in (("preload", self.preload), ("undefined", self.undefined), ("wrap", self.wrap)):
            if value.__class__ is str:
                raise TypeError(f"{name}={value!r} is one text: give a list of them")
        if self.binding.__class__ is not BindMode:
            raise TypeError(f"binding={self.binding!r} is no relink.BindMode")
        if self.base is not None and not hasattr(self.base, "__index__"):
            raise TypeError(f"base={self.base!r} is no address: give an int")

    def objects(self, interposing: Sequence[SymbolSource | Lookup]) -> ObjectOptions:
        """The options for linking the root's objects, given the sources searched before all images.

        Names in a table among these sources override definitions of the objects; functions are only called for
        undefined names.
        """
        tables: list[Mapping[str, int]] = []
        for source in interposing:
            if isinstance(source, DefinedSymbols):
                tables.append(source.addresses)
        if not (tables or self.wrap or self.undefined or self.whole_archive or self.script is not None):
            return _PLAIN
        names = frozenset(chain.from_iterable(tables))
        wrapped = Wrapped(frozenset(self.wrap))
        return ObjectOptions(self.undefined, self.whole_archive, wrapped, names, self.script)


NO_OPTIONS = LoadOptions()
