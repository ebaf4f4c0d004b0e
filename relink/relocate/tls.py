"""What relocations ask of thread-local storage: module ids, offsets from the thread pointer, and descriptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from relink.arrays import I64, U8, U64, Bools
from relink.elf.constants import SymbolType
from relink.memory.buffers import write_words
from relink.resolve.resolver import UNRESOLVED, Bindings
from relink.tls import TlsModule

if TYPE_CHECKING:
    from relink.arch import Architecture
    from relink.tls import LoadTls


NO_MACHINE = "a TLS descriptor for a module with dynamic thread-local storage needs a machine to answer it"


def modules_of(bound: Bindings, element: I64, host: TlsModule | None) -> tuple[U64, U64, Bools]:
    """(M, T, usable) of each element's defining module. Element 0 means the image's own module."""
    # HOST and UNRESOLVED are -2 and -1: they index the array's end.
    modules = [*(image.tls for image in bound.images), host, None]
    ids = np.array([m.id if m else 0 for m in modules], np.uint64)
    offsets = np.array([m.offset if m else 0 for m in modules], np.int64).view(np.uint64)
    provider = _providers(bound, element)
    weak = (element != 0) & (provider == UNRESOLVED)
    thread_local = np.isin(bound.type[element], (SymbolType.TLS, SymbolType.NOTYPE)) | (element == 0)
    usable: Bools = weak | ((ids[provider] != 0) & thread_local)
    return ids[provider], offsets[provider], usable


def make_static(bound: Bindings, element: I64, tls: LoadTls | None) -> tuple[Bools, str]:
    """Make modules static whose offset a place is to hold: where that cannot be, and why."""
    provider = _providers(bound, element)
    refused, problem = np.zeros(len(element), np.bool_), ""
    for number in _with_module(bound, provider):
        if tls is not None and (why := tls.make_static(bound.images[number])) is not None:
            problem = why
            refused |= provider == number
    return refused, problem


def descriptor_functions(
    bound: Bindings, element: I64, tls: LoadTls | None, stubs: Callable[[], tuple[int, int]]
) -> tuple[U64, Bools]:
    """What descriptors of these symbols call, and those for which there is nothing to call.

    `stubs` gives the guest addresses for a static offset and for an undefined weak symbol.
    """
    static, weak = stubs()
    provider = _providers(bound, element)
    functions = np.where(provider == UNRESOLVED, np.uint64(weak), np.uint64(static))
    unanswered = np.zeros(len(element), np.bool_)
    for number in _with_module(bound, provider):
        image = bound.images[number]
        assert image.tls is not None
        if image.tls.static:
            if tls is not None:
                tls.rely_on(image)
            continue
        found = None if tls is None else tls.descriptor(image)
        functions[provider == number] = found or 0
        unanswered |= (provider == number) & (found is None)
    return functions, unanswered


def write_descriptors(buffer: U8, where: I64, size: int, value: U64, function: U64, arch: Architecture) -> None:
    """Fill descriptors of two `size`-byte words: a function, and the argument it finds beside itself."""
    argument = arch.tls.descriptor_argument
    write_words(buffer, where + size * argument, size, value)
    write_words(buffer, where + size * (1 - argument), size, function)


def _providers(bound: Bindings, element: I64) -> I64:
    """Who defines each element: indices into the images bound to, of which the first is the image itself."""
    return np.where(element == 0, 0, bound.provider[element])


def _with_module(bound: Bindings, provider: I64) -> list[int]:
    """Which of these providers are images with thread-local storage."""
    return [n for n in np.unique(provider).tolist() if n >= 0 and bound.images[n].tls is not None]
