"""The dynamic linker for a running guest: dlopen, dlsym, dlclose and queries, on `relink.linker`.

It follows glibc (dlfcn/, elf/dl-open.c, elf/dl-sym.c, elf/dl-close.c). A handle is the guest address of the
image's `struct link_map`. Loads and look-ups use the machine's linker and resolver. `emu.libc.dlfcn` is the C
side.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np

from emu.load.dl_errors import DlError, check_may_open, check_openable, missing
from relink.elf.constants import DynamicTag, SymbolBind, SymbolType
from relink.image import Image, image_of
from relink.relocate.lazy import BindMode
from relink.resolve.bindings import HOST, UNRESOLVED
from relink.resolve.scopes import lookup_order, scope_after
from relink.search.graph import Node
from relink.search.open import open_image
from relink.search.search_path import EXPLICIT

if TYPE_CHECKING:
    from emu.debug.host_frames import HostFrames
    from emu.debug.link_maps import LinkMaps
    from emu.debug.symbolizer import Symbolizer
    from emu.load.initialisers import Initialisers
    from emu.load.loader import Loader
    from emu.load.options import LoadKeywords
    from emu.run.runner import Runner
    from emu.run.threads import Threads
    from relink.linker import Linker

_PROGRAM = "<main program>"  #: glibc's name for a program without a name


class Mode(enum.IntFlag):
    """dlopen's modes: the same values on all seven ISAs (glibc's bits/dlfcn.h, musl's dlfcn.h)."""

    LAZY = 1
    NOW = 2
    NOLOAD = 4
    DEEPBIND = 8
    GLOBAL = 0x100
    NODELETE = 0x1000


def load_keywords(mode: Mode, lazily: BindMode) -> LoadKeywords:
    """The options of a load for a mode; `lazily` is the binding mode for RTLD_LAZY."""
    return {
        "binding": BindMode.NOW if Mode.NOW in mode else lazily,
        "local": Mode.GLOBAL not in mode,
        "deep_bind": Mode.DEEPBIND in mode,
        "no_delete": Mode.NODELETE in mode,
    }


class AddressInfo(NamedTuple):
    """The result of dladdr. `symbol` is the row in the image's symbol table; None when no symbol matches."""

    image: Image
    symbol: int | None


class Files(Protocol):
    """The guest's files: `emu.libc.filesystem.FileSystem`."""

    @property
    def files(self) -> Mapping[str, bytes | bytearray]:
        """The contents of files by absolute path."""

    def resolve(self, path: bytes) -> str:
        """The absolute form of a program's path."""


class DynamicLoader:
    """The dl* calls of one machine."""

    def __init__(
        self,
        linker: Linker,
        loader: Loader,
        initialisers: Initialisers,
        link_maps: LinkMaps,
        threads: Threads,
        runner: Runner,
        symbolizer: Symbolizer,
        *,
        host_frames: Callable[[], HostFrames],
        files: Callable[[], Files],
    ) -> None:
        self.link_maps = link_maps
        self._linker = linker
        self._loader = loader
        self._initialisers = initialisers
        self._threads = threads
        self._runner = runner
        self._symbolizer = symbolizer
        self._host_frames = host_frames
        self._files = files
        #: (opener, image) of each dlopen that has not been closed.
        self._opens: dict[Image, list[Image | None]] = {}
        self._host_opens: Counter[str] = Counter()  #: by the name of a library that the host provides
        loader.on_release.append(self._forget)

    def _forget(self, image: Image) -> None:
        self._opens.pop(image, None)

    def image_replaced(self, old: Image, new: Image) -> None:
        """Let the handles of a replaced image be those of the new one (see `emu.patch.swap`)."""
        self._opens = {
            new if image is old else image: [new if opener is old else opener for opener in openers]
            for image, openers in self._opens.items()
        }

    def caller(self) -> Image | None:
        """The image whose code called the current host function; None when Python called it."""
        if not self._runner.depth:
            return None
        return self.image_at(self._runner.return_address())

    def image_at(self, address: int) -> Image | None:
        """The loaded image whose region covers a guest address."""
        return self._symbolizer.image_at(address)

    def tls_block(self, image: Image) -> int:
        """The guest address of an image's thread-local block in the current thread."""
        return self._threads.block(image)

    @property
    def host_frames(self) -> HostFrames:
        """The frames of host functions for unwinders."""
        return self._host_frames()

    # ------------------------------------------------------------ dlopen, dlclose

    def open(self, path: str, mode: int, caller: Image | None) -> int:
        """Open a library and return its handle; 0 when RTLD_NOLOAD is given and it is not loaded.

        An empty path opens the program. Raises DlError, and what `Machine.load` raises.
        """
        if mode & ~int(Mode(0x110F)):
            raise DlError("invalid mode parameter")
        if not mode & (Mode.LAZY | Mode.NOW):
            raise DlError(f"{path}: invalid mode for dlopen(): Invalid argument".removeprefix(": "))
        if not path:
            return self.link_maps.program
        node = self._find(path, caller)
        if node.host_provided:
            self._host_opens[path] += 1
            if mode & Mode.GLOBAL and path in self._linker.provided:
                self._linker.provided_to_all[path] = None
            return self.link_maps.host_provided(path)
        if node.image is None:
            if node.decoded is None:
                raise DlError(missing(node, self._linker.architecture.bits))
            check_openable(path, node.decoded)
            if mode & Mode.NOLOAD:
                return 0
        lazily = BindMode.FAITHFUL if self._loader.binding is BindMode.FAITHFUL else BindMode.LAZY
        with self._loader.loading(node, **load_keywords(Mode(mode), lazily)) as pending:
            check_may_open(image.decoded for image in pending.plan.images)
        self._opens.setdefault(pending.plan.root, []).append(caller)
        return self.link_maps.link_map_address(pending.plan.root)

    def _find(self, path: str, caller: Image | None) -> Node:
        """Find a library for the image that opens it: in the guest's files, else by the linker's search."""
        if "/" in path and self._linker.loaded(path) is None and path not in self._linker.search.libraries:
            # A path returned by dladdr finds the same library again.
            if (image := self.link_maps.image_from(path)) is not None:
                return Node(path, None, "already loaded", image=image)
            files = self._files()
            key = files.resolve(path.encode("utf-8", "surrogateescape"))
            if (known := self._linker.loaded(key)) is not None:
                return Node(key, None, "already loaded", image=known)
            if key in files.files:
                decoded = open_image(bytes(files.files[key]), self._linker.architecture, key)
                return Node(key, None, "file of the guest", decoded=decoded)
        chain = dict.fromkeys(image for image in (caller, self.link_maps.executable) if image is not None)
        return self._linker.find(path, list(chain))

    def close(self, handle: int) -> None:
        """Undo one `open`. Raises DlError, and exceptions of destructors."""
        if handle == self.link_maps.program:
            return
        if (name := self.link_maps.host_provided_name(handle)) is not None:
            if not self._host_opens[name]:
                raise DlError(f"{name}: shared object not open")
            self._host_opens[name] -= 1
            return
        image = self._image(handle)
        opens = self._opens.get(image)
        if not opens and image.lifetime.no_delete:
            return  # never unloaded, however often it is closed
        if not opens:
            raise DlError(f"{self.name(image)}: shared object not open")
        caller = opens.pop()
        try:
            self._loader.unload(image)
        except BaseException:
            opens.append(caller)
            raise
        if not opens:
            self._opens.pop(image, None)

    def abandon(self, images: Sequence[Image]) -> None:
        """Close the libraries opened by images of a failed load, without running code."""
        gone = set(images)
        while True:
            opens = [(image, caller) for image, callers in self._opens.items() for caller in callers]
            found = [(image, caller) for image, caller in opens if caller in gone]
            if not found:
                break
            image, caller = found[-1]
            self._opens[image].remove(caller)
            if image not in gone:
                before = set(self._linker.images)
                self._loader.discard(image)
                gone |= before - set(self._linker.images)
        left = self._opens.items()
        self._opens = {image: callers for image, callers in left if callers and image not in gone}

    # ------------------------------------------------------------ handles

    def _image(self, handle: int) -> Image:
        image = self.link_maps.image_of(handle)
        if image is None:
            raise DlError("invalid handle")
        return image

    def image_of(self, handle: int) -> Image | None:
        """The image of a handle; None for the main program when no executable is loaded, and for a library that
        the host provides.

        Raises DlError for an invalid handle.
        """
        if self.link_maps.host_provided_name(handle) is not None:
            return None
        if handle == self.link_maps.program:
            return self.link_maps.image_of(handle)
        return self._image(handle)

    def name(self, image: Image | None) -> str:
        """The name of an image in error messages."""
        return _PROGRAM if image is None or image.decoded.is_executable else self.link_maps.guest_path(image)

    # ------------------------------------------------------------ dlsym, dlvsym

    def default_symbol(self, name: str, version: str | None, caller: Image | None) -> int:
        """Look up a symbol for RTLD_DEFAULT: like a reference of the caller. Raises DlError."""
        linker = self._linker
        scope = linker.global_scope if caller is None else lookup_order(caller, linker.global_scope)
        searches: list[_Search] = [(scope, True)] if version is None else _searches(scope, version, hosts=True)
        return self._or_undefined(self._first(searches, name, version, caller), name, version, caller)

    def next_symbol(self, name: str, version: str | None, caller: Image | None) -> int:
        """Look up a symbol for RTLD_NEXT: after the caller in the search list of its load. Raises DlError."""
        if caller is None:
            raise DlError("RTLD_NEXT used in code not dynamically loaded")
        scope = scope_after(caller, self._linker.global_scope)
        searches = _searches(scope, version, hosts=True)
        return self._or_undefined(self._first(searches, name, version, caller), name, version, caller)

    def symbol(self, handle: int, name: str, version: str | None) -> int:
        """Look up a symbol in the image of a handle and its dependencies, breadth-first. Raises DlError."""
        if handle == self.link_maps.program:
            return self.default_symbol(name, version, None)
        if (provided_name := self.link_maps.host_provided_name(handle)) is not None:
            provided = self._linker.provided.get(provided_name)
            own = None if provided is None else provided.addresses.get(name)
            if own is None and provided_name in self._host_libraries:
                own = self._first(_searches((), version, hosts=True), name, version, None)
            return self._or_undefined(own, name, version, None, provided_name)
        image = self._image(handle)
        searches = _searches(image.scope, version, hosts=self._needs_host(image))
        found = self._first(searches, name, version, None)
        return self._or_undefined(found, name, version, image)

    def _or_undefined(
        self, found: int | None, name: str, version: str | None, image: Image | None, asked: str = ""
    ) -> int:
        if found is None:
            wanted = f"{name}, version {version}" if version else name
            raise DlError(f"{asked or self.name(image)}: undefined symbol: {wanted}")
        return found

    @property
    def _host_libraries(self) -> frozenset[str]:
        policy = self._linker.policy
        return policy.host_provided | policy.fallbacks

    def _needs_host(self, image: Image) -> bool:
        """Whether the image or a dependency of it needs a library the host provides."""
        policy = self._linker.policy
        needed = {name for member in image.scope for name in member.decoded.needed}
        return bool(needed & policy.host_provided) or any(
            self._linker.loaded(name) is None for name in needed & policy.fallbacks
        )

    def _first(
        self, searches: Sequence[_Search], name: str, version: str | None, caller: Image | None
    ) -> int | None:
        """The address of the first definition; the image that has it stays loaded as long as `caller`."""
        for images, hosts in searches:
            provided = self._linker.provided_to(images if caller is None else [*images, caller])
            found = self._linker.resolver.find(name, version, images, hosts=hosts, after=provided)
            number, kind, value = int(found.provider[0]), int(found.type[0]), int(found.address[0])
            if number == HOST:
                return self._host_value(kind, value)
            if number == UNRESOLVED:
                continue
            image = image_of(found.images[number])
            if version is not None and not _has_version(image, int(found.symbol[0]), version):
                continue
            if caller is not None and image is not caller and image not in caller.lifetime.keeps:
                caller.lifetime.keeps.append(image)  # glibc's DL_LOOKUP_ADD_DEPENDENCY
            return self._value(image, kind, value)
        return None

    def _value(self, image: Image, kind: int, value: int) -> int:
        if kind == SymbolType.TLS:
            return (self.tls_block(image) + value) & self._linker.architecture.address_mask
        return self._initialisers.ifunc_target(image, value) if kind == SymbolType.GNU_IFUNC else value

    def _host_value(self, kind: int, value: int) -> int:
        module = self._linker.resolver.host_tls
        if kind == SymbolType.TLS and module is not None:
            return (self._threads.thread_pointer + module.offset + value) & self._linker.architecture.address_mask
        return value

    # ------------------------------------------------------------ dladdr, dlinfo

    def address_info(self, address: int) -> AddressInfo | None:
        """The image and symbol that contain a guest address (glibc, elf/dl-addr.c). None outside all images."""
        image = self.image_at(address)
        if image is None:
            return None
        table = image.decoded.symbols
        usable = (table.section != 0) & (table.type != SymbolType.TLS) & (table.type != SymbolType.SECTION)
        indices = np.flatnonzero(usable & (table.type != SymbolType.FILE) & (table.bind != SymbolBind.LOCAL))
        # The offset of `address` from each symbol, modulo the word: an address before the symbol gives a huge
        # offset. On Arm bit 0 of a function's address tells Thumb.
        masks = (np.uint64(image.architecture.code_address_mask), image.address_mask)
        mask = np.where(table.type[indices] == SymbolType.FUNC, *masks)
        place = np.uint64((address - image.bias) & image.architecture.address_mask)
        past = ((place & mask) - (table.value[indices] & mask)) & image.address_mask
        found = np.flatnonzero((past < table.size[indices]) | (past == 0))
        if not len(found):
            return AddressInfo(image, None)
        return AddressInfo(image, int(indices[found[np.argmin(past[found])]]))

    def symbol_entry(self, image: Image, index: int) -> int:
        """The guest address of a row of the image's DT_SYMTAB; 0 for linked objects, which have none in memory."""
        vaddr = image.decoded.dynamic.value(DynamicTag.SYMTAB)
        if vaddr is None:
            return 0
        return image.address_of(vaddr + index * image.decoded.header.layout.symbol.itemsize)

    def search_folders(self, image: Image | None) -> list[tuple[str, int]]:
        """(folder, LA_SER_* of its origin) of the folders searched for an image's dependencies, in order."""
        search = self._linker.search
        chain = [] if image is None else [image.decoded]
        root = None if search.sysroot is None else str(search.sysroot).rstrip("/")
        folders: dict[str, int] = {}
        for candidate in search.candidates("", chain, self._linker.architecture):
            if candidate.rule == EXPLICIT or candidate.place == "default folders":
                continue
            place = candidate.place.rstrip("/") or "/"
            if root and place.startswith(f"{root}/"):
                place = place.removeprefix(root)
            kind = {"library": 2, "default": 0x40}.get(candidate.rule.split()[0], 4)
            folders.setdefault(place, kind)
        return list(folders.items())


#: Images to search, and whether sources outside all images are searched too.
_Search: TypeAlias = "tuple[Sequence[Image], bool]"


def _searches(scope: Sequence[Image], version: str | None, *, hosts: bool) -> list[_Search]:
    """The images, then the host. For a versioned request each image separately, since a later one may have the
    version.
    """
    last: list[_Search] = [((), True)] if hosts else []
    return [(scope, False), *last] if version is None else [*(([image], False) for image in scope), *last]


def _has_version(image: Image, symbol: int, version: str) -> bool:
    """Whether a definition has exactly that version; every definition in an image without versions does (glibc,
    check_match).
    """
    table = image.decoded.symbols
    if not table.has_versions:
        return True
    number = int(table.version[symbol]) & 0x7FFF
    return number > 1 and image.decoded.versions.name_of(number) == version
