"""Dynamic loading: dlopen and related functions, and functions of the dynamic linker for unwinders (see
docs/dlfcn.md).
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from emu.debug.synthetic_headers import EXIDX_ENTRY
from emu.isa.spec import FrameTables, Isa
from emu.libc.table import export
from relink.errors import AddressSpaceError, ElfError, LinkError

if TYPE_CHECKING:
    from emu.libc.library import Libc
    from emu.load.ldso import DynamicLoader
    from relink.image import Image

_T = TypeVar("_T")

_RTLD_DEFAULT, _RTLD_NEXT = 0, -1
_LM_ID_BASE = 0
#: dladdr1's flags
_DL_SYMENT, _DL_LINKMAP = 1, 2
#: dlinfo's requests
(_LMID, _LINKMAP, _SERINFO, _SERINFOSIZE, _ORIGIN, _TLS_MODID, _TLS_DATA, _PHDR) = (1, 2, 4, 5, 6, 9, 10, 11)


def _has_exidx(isa: Isa) -> bool:
    return isa.unwinding.tables is FrameTables.EXIDX


class _ThreadErrors:
    """The error of a thread's last dl* call, until dlerror returns it, and the buffer for dlerror."""

    def __init__(self) -> None:
        self.pending: str | None = None
        self._buffer = self._room = 0

    def tell(self, libc: Libc) -> int:
        """The address of the message, or 0. Each error is returned once; the buffer is valid until the next
        error.
        """
        if self.pending is None:
            return 0
        text = self.pending.encode("utf-8", "surrogateescape")
        self.pending = None
        if len(text) >= self._room:
            self._room = 2 * len(text) + 64
            self._buffer = libc.allocate(self._room)
        libc.put_string(self._buffer, text)
        return self._buffer


class Errors:
    """The errors of each thread, by thread pointer."""

    def __init__(self, libc: Libc) -> None:
        self._threads: defaultdict[int, _ThreadErrors] = defaultdict(_ThreadErrors)

    def mine(self, libc: Libc) -> _ThreadErrors:
        """The errors of the current thread."""
        return self._threads[libc.thread_pointer]


def _attempt(libc: Libc, operation: Callable[[DynamicLoader], _T], failed: _T) -> _T:
    """The operation's result, or `failed` and an error for dlerror. Success clears the error, as in glibc."""
    from emu.load.dl_errors import DlError, wording

    errors = libc.state(Errors).mine(libc)
    errors.pending = None
    try:
        return operation(libc.dynamic)
    except DlError as refused:
        text = str(refused)
    except (LinkError, ElfError, AddressSpaceError) as error:
        text = wording(error)
    errors.pending = text
    return failed


def _text(libc: Libc, address: int) -> str:
    return libc.string(address).decode("utf-8", "surrogateescape")


def _open(libc: Libc, path: int, mode: int) -> int:
    name = _text(libc, path) if path else ""
    return _attempt(libc, lambda loader: loader.open(name, mode, loader.caller()), 0)


@export("void *dlopen(const char *path, int mode)")
def dlopen(libc: Libc, path: int, mode: int) -> int:
    return _open(libc, path, mode)


@export("void *dlmopen(long namespace_id, const char *path, int mode)")
def dlmopen(libc: Libc, namespace_id: int, path: int, mode: int) -> int:
    """Only the base namespace, that of dlopen, is supported; use another machine for a second one."""
    if namespace_id == _LM_ID_BASE:
        return _open(libc, path, mode)
    problem = "dlmopen: invalid namespace: only LM_ID_BASE is supported"
    libc.state(Errors).mine(libc).pending = problem
    return 0


@export("int dlclose(void *handle)")
def dlclose(libc: Libc, handle: int) -> int:
    def operation(loader: DynamicLoader) -> int:
        loader.close(handle)
        return 0

    return _attempt(libc, operation, -1)


@export("char *dlerror(void)")
def dlerror(libc: Libc) -> int:
    return libc.state(Errors).mine(libc).tell(libc)


def _symbol(libc: Libc, handle: int, name: str, version: str | None) -> int:
    def operation(loader: DynamicLoader) -> int:
        if handle == _RTLD_DEFAULT:
            return loader.default_symbol(name, version, loader.caller())
        if handle == _RTLD_NEXT & libc.arch.address_mask:
            return loader.next_symbol(name, version, loader.caller())
        return loader.symbol(handle, name, version)

    return _attempt(libc, operation, 0)


@export("void *dlsym(void *handle, const char *name)", alias=("__dlsym_time64",))
def dlsym(libc: Libc, handle: int, name: int) -> int:
    return _symbol(libc, handle, _text(libc, name), None)


@export("void *dlvsym(void *handle, const char *name, const char *version)")
def dlvsym(libc: Libc, handle: int, name: int, version: int) -> int:
    return _symbol(libc, handle, _text(libc, name), _text(libc, version))


# ---------------------------------------------------------------- what is where


@export("int dladdr(const void *address, void *info)")
def dladdr(libc: Libc, address: int, info: int) -> int:
    return dladdr1(libc, address, info, 0, 0)


@export("int dladdr1(const void *address, void *info, void **extra, int flags)")
def dladdr1(libc: Libc, address: int, info: int, extra: int, flags: int) -> int:
    """Fills a Dl_info; returns 0, without an error for dlerror, outside all images."""
    loader = libc.dynamic
    found = loader.address_info(address)
    if found is None:
        return 0
    image, symbol = found
    maps = loader.link_maps
    name = value = entry = 0
    if symbol is not None:
        table = image.decoded.symbols
        name = maps.text(image, table.names.text(symbol))
        absolute = table.section[symbol] == 0xFFF1
        value = int(table.value[symbol]) if absolute else image.address_of(int(table.value[symbol]))
        entry = loader.symbol_entry(image, symbol)
    base = image.address_of(image.decoded.min_vaddr)
    for number, word in enumerate((maps.name_address(image), base, name, value)):
        libc.set_pointer(info + number * libc.word, word)
    if flags == _DL_SYMENT:
        libc.set_pointer(extra, entry)
    elif flags == _DL_LINKMAP:
        libc.set_pointer(extra, maps.link_map_address(image))
    return 1


@export("int dlinfo(void *handle, int request, void *result)")
def dlinfo(libc: Libc, handle: int, request: int, result: int) -> int:
    return _attempt(libc, lambda loader: _dlinfo(libc, loader, handle, request, result), -1)


def _dlinfo(libc: Libc, loader: DynamicLoader, handle: int, request: int, result: int) -> int:
    from emu.load.dl_errors import DlError

    image = loader.image_of(handle)
    if request in (_SERINFO, _SERINFOSIZE):
        _write_search_list(libc, loader.search_folders(image), result, names=request == _SERINFO)
    elif request == _ORIGIN:
        path = loader.link_maps.guest_path(image) if image is not None else "/"
        libc.put_string(result, posixpath.dirname(path).encode("utf-8", "surrogateescape"))
    elif request == _PHDR:
        headers = (0, 0) if image is None else loader.link_maps.program_headers(image)
        libc.set_pointer(result, headers[0])
        return headers[1]
    elif request in (_LMID, _LINKMAP, _TLS_MODID, _TLS_DATA):
        module, block = _tls(libc, image)
        answers = {_LMID: _LM_ID_BASE, _LINKMAP: handle, _TLS_MODID: module, _TLS_DATA: block}
        libc.set_pointer(result, answers[request])
    else:
        raise DlError("unsupported dlinfo request")
    return 0


def _tls(libc: Libc, image: Image | None) -> tuple[int, int]:
    """The id of an image's TLS module and the address of the thread's block; zeros without one."""
    if image is None or image.tls is None:
        return 0, 0
    return image.tls.id, libc.dynamic.tls_block(image)


def _write_search_list(libc: Libc, folders: list[tuple[str, int]], result: int, *, names: bool) -> None:
    """A Dl_serinfo: dls_size, dls_cnt and, with `names`, a Dl_serpath for each folder and the text after them."""
    word = libc.word
    texts = [folder.encode("utf-8", "surrogateescape") for folder, _ in folders]
    place = 2 * word + len(folders) * 2 * word
    libc.set_pointer(result, place + sum(len(text) + 1 for text in texts))
    libc.memory.write_uint(result + word, 4, len(folders))
    for number, (text, (_, kind)) in enumerate(zip(texts, folders, strict=True)):
        if names:
            row = result + 2 * word + number * 2 * word
            libc.set_pointer(row, result + place)
            libc.memory.write_uint(row + word, 4, kind)
            libc.put_string(result + place, text)
        place += len(text) + 1


# ---------------------------------------------------------------- for unwinders


@export("int dl_iterate_phdr(void *callback, void *data)")
def dl_iterate_phdr(libc: Libc, callback: int, data: int) -> int:
    """Call the callback for each image until it returns non-zero, which is the result."""
    loader = libc.dynamic
    arena = loader.link_maps.arena
    offset = 4 * libc.word  # dlpi_phnum's padding ends there on all seven ISAs
    size = offset + 16 + 2 * libc.word
    info = arena.allocate(size)
    try:
        for image in loader.link_maps.images:
            if not image.closed:
                libc.memory.write(info, _header_info(libc, loader, image))
                if result := libc.call_int(callback, "int(void *, unsigned long, void *)", info, size, data):
                    return result
    finally:
        arena.free(info)
    return 0


def _header_info(libc: Libc, loader: DynamicLoader, image: Image) -> bytes:
    """A struct dl_phdr_info."""
    maps = loader.link_maps
    headers = maps.program_headers(image)
    words = (image.bias, maps.name_address(image), headers.address, headers.rows)
    subtracted = maps.added - len(maps.images)
    return b"".join(
        [
            *(word.to_bytes(libc.word, "little") for word in words),
            maps.added.to_bytes(8, "little"),
            subtracted.to_bytes(8, "little"),
            *(word.to_bytes(libc.word, "little") for word in _tls(libc, image)),
        ]
    )


@export("int _dl_find_object(void *address, void *result)")
def dl_find_object(libc: Libc, address: int, result: int) -> int:
    """Fills a struct dl_find_object; returns -1 outside all images and frames of host functions."""
    loader = libc.dynamic
    image = loader.image_at(address)
    maps, frames = loader.link_maps, loader.host_frames
    pltgot = None
    if image is not None:
        table, size = maps.unwind_table(image) or (0, 0)
        words = [image.base, image.region.end, maps.link_map_address(image), table]
        pltgot = image.decoded.pltgot
    elif frames.covers(address):
        table, size = frames.table(address)
        words = [address, address + 1, 0, table]
    else:
        return -1
    if libc.isa.unwinding.data_base:
        words += [0 if pltgot is None or image is None else image.address_of(pltgot), 0]
    elif _has_exidx(libc.isa):  # dlfo_eh_count
        words += [size // EXIDX_ENTRY, 0]
    body = b"".join(word.to_bytes(libc.word, "little") for word in words)
    libc.memory.write(result, bytes(8) + body + bytes(7 * 8))
    return 0


@export("void *__gnu_Unwind_Find_exidx(void *pc, int *count)", alias=("dl_unwind_find_exidx",), on=_has_exidx)
def find_exidx(libc: Libc, pc: int, count: int) -> int:
    """The index table of the image that contains `pc`, and the number of its entries (EHABI, section 9)."""
    loader = libc.dynamic
    image, unwind = loader.image_at(pc), None
    if image is not None:
        unwind = loader.link_maps.unwind_table(image)
    elif loader.host_frames.covers(pc):
        unwind = loader.host_frames.table(pc)
    libc.memory.write_uint(count, 4, 0 if unwind is None else unwind.size // EXIDX_ENTRY)
    return 0 if unwind is None else unwind.address
