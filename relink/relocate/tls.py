"""Thread-local operands of relocations: module ids, offsets from the thread pointer, and descriptors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relink.arch import Architecture
from relink.arrays import I64, U8, U64, Bools, distinct
from relink.elf.constants import SymbolType
from relink.memory import sparse
from relink.memory.address_space import PAGE, AddressSpace, Pages, Protection, Region
from relink.memory.buffers import write_words
from relink.memory.rollback import Rollback
from relink.module import TlsModule
from relink.records import Assigned
from relink.resolve.bindings import UNRESOLVED, Bindings
from relink.tls import LoadTls

#: Offset of the second stub in the page of TLS descriptor stubs.
_SECOND_STUB = 64
NO_MACHINE = "a TLS descriptor for a module with dynamic thread-local storage needs a machine"


def modules_of(
    bound: Bindings, index: I64, host: TlsModule | None, *, only_module: bool = False
) -> tuple[U64, U64, Bools]:
    """(M, T, usable) of each index's defining module. Element 0 means the image's own module.

    With `only_module` a section symbol is accepted: linkers for Arm use one for the image's own module.
    """
    # HOST and UNRESOLVED are -2 and -1: they index the end of the array.
    modules = [*(image.tls for image in bound.images), host, None]
    ids = np.array([m.id if m else 0 for m in modules], np.uint64)
    offsets = np.array([m.offset if m else 0 for m in modules], np.int64).view(np.uint64)
    provider = _providers(bound, index)
    weak = (index != 0) & (provider == UNRESOLVED)
    types = (SymbolType.TLS, *((SymbolType.SECTION,) if only_module else ()))
    thread_local = np.isin(bound.type[index], types) | (index == 0)
    usable: Bools = weak | ((ids[provider] != 0) & thread_local)
    return ids[provider], offsets[provider], usable


def make_static(bound: Bindings, index: I64, tls: LoadTls | None) -> tuple[Bools, str]:
    """Make modules static when a place needs their offset; return the entries for which that failed, and why."""
    provider = _providers(bound, index)
    refused, problem = np.zeros(len(index), np.bool_), ""
    for number in _with_module(bound, provider):
        if tls is not None and (why := tls.make_static(bound.images[number])) is not None:
            problem = why
            refused |= provider == number
    return refused, problem


def descriptor_functions(
    bound: Bindings, index: I64, tls: LoadTls | None, stubs: Callable[[], tuple[int, int]]
) -> tuple[U64, Bools]:
    """The functions of these symbols' descriptors, and the symbols without one.

    `stubs` are the guest addresses of the functions for a static offset and for an undefined weak symbol.
    """
    static, weak = stubs()
    provider = _providers(bound, index)
    functions = np.where(provider == UNRESOLVED, np.uint64(weak), np.uint64(static))
    unanswered = np.zeros(len(index), np.bool_)
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
    """Fill descriptors of two `size`-byte words: a function and its argument."""
    argument = arch.tls.descriptor_argument
    write_words(buffer, where + size * argument, size, value)
    write_words(buffer, where + size * (1 - argument), size, function)


def _providers(bound: Bindings, index: I64) -> I64:
    """The provider of each index: an index in the images bound to, the first of which is the image itself."""
    return np.where(index == 0, 0, bound.provider[index])


def _with_module(bound: Bindings, provider: I64) -> list[int]:
    """Which of these providers are images with thread-local storage."""
    return [n for n in distinct(provider).tolist() if n >= 0 and bound.images[n].tls is not None]


class DescriptorStubs(Assigned):
    """The guest functions for TLS descriptors of static modules and undefined weak symbols: one page.

    A rollback of the load that created the page releases it, unless another load uses it.
    """

    def __init__(self, memory: AddressSpace) -> None:
        self._memory = memory
        self._region: Region | None = None
        self._uses = 0

    def addresses(self, regions: list[tuple[Region, tuple[Pages, ...]]], undo: Rollback) -> tuple[int, int]:
        """The guest addresses of the two functions. Until the page is published, its region is added to
        `regions`.
        """
        if self._region is None:
            region = self._region = self._memory.reserve(PAGE, name="TLS descriptor stubs")
            tls = self._memory.architecture.tls
            for offset, code in ((0, tls.descriptor_stub), (_SECOND_STUB, tls.undefined_descriptor_stub)):
                region.buffer[offset : offset + len(code)] = list(code)
        if not self._region.pages and all(region is not self._region for region, _ in regions):
            regions.append((self._region, (Pages(0, PAGE, Protection.R | Protection.X),)))
        counted = [0]
        undo.callback(self._give_up, counted)
        # Without a call from here on, of which an exception of a signal handler could come.
        counted[0] = 1
        self._uses += 1
        return self._region.address, self._region.address + _SECOND_STUB

    def _give_up(self, counted: list[int]) -> None:
        self._uses -= counted[0]
        counted[0] = 0
        if not self._uses:
            self.close()

    def close(self) -> None:
        """Release the page, if it exists."""
        if self._region is not None:
            sparse.release(self._memory, self._region)
            self._region = None
