"""Relocating the images of one load together, as far as they are small and have few and simple entries.

The names of all references are looked up in one index of the scope (`relink.resolve.exact_names`). The words of
all images are computed and stored by a handful of array operations, since the images lie one after the other in
one block of host memory (`relink.memory.host_pages.HostBlock`). What a file says of its entries is kept with it
(`relink.relocate.columns`).

The result is that of the engine. It remains for images with any entry, symbol or reference out of the ordinary
(see `relink.relocate.few_entries`), for references that no image of the scope defines, and for lazy binding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from relink.arrays import I64, U64
from relink.memory.buffers import read_words, write_words
from relink.memory.host_pages import HostBlock
from relink.module import Module
from relink.relocate.columns import IN_PLACE, RELATIVE, Columns
from relink.relocate.few_entries import Entries, entries_of
from relink.relocate.lazy import BindMode
from relink.relocate.state import Environment
from relink.resolve.bindings import Bindings
from relink.resolve.exact_names import Export, ScopeNames
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import as_source


class _Waiting(NamedTuple):
    """An image whose references are found, and whose words are not stored yet."""

    image: Module
    entries: Entries
    columns: Columns
    found: list[Export]


class Together:
    """Relocates images of one load. The words of those that are taken are stored by `finish`."""

    def __init__(self, block: HostBlock, environment: Environment) -> None:
        self._block, self._environment = block, environment
        self._waiting: list[_Waiting] = []
        self._names = ScopeNames(())
        #: The images whose words are stored, with their bindings.
        self.bound: list[tuple[Module, Entries, Bindings]] = []

    def take(self, image: Module, scope: LookupScope) -> bool:
        """Bind the image's references; False, with nothing done, where the engine has to relocate it."""
        environment = self._environment
        if image not in self._block.images or (
            environment.lazy is not None
            and environment.binding is not BindMode.NOW
            and not image.decoded.binds_now
        ):
            return False
        entries = entries_of(image)
        columns = None if entries is None else entries.columns_of(image.decoded)
        if entries is None or columns is None or not self._is_idle(scope):
            return False
        if self._names.images is not scope.images:
            self.finish()
            self._names = ScopeNames(scope.images)
        found = self._names.find(columns.names)
        if found is None:
            return False
        self._waiting.append(_Waiting(image, entries, columns, found))
        return True

    def _is_idle(self, scope: LookupScope) -> bool:
        """Whether no source is asked before the images."""
        resolver = self._environment.resolver
        if not scope.before and not resolver.before:
            return True
        before = chain(scope.before, resolver.before)
        return all(getattr(as_source(source), "is_idle", False) for source in before)

    def finish(self) -> None:
        """Store the words of all images taken, and keep their bindings."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        bindings, starts = self._bindings(waiting)
        self._store(waiting, bindings.address, starts)
        scope = self._names.images
        for (image, entries, columns, _), start in zip(waiting, starts.tolist(), strict=True):
            bound = _part(bindings, start, start + columns.kinds.shape[1], (image, *scope), entries.few.asked)
            self.bound.append((image, entries, bound))

    def _bindings(self, waiting: Sequence[_Waiting]) -> tuple[Bindings, I64]:
        """The bindings of all images, one after the other, and where those of each begin."""
        counts = [each.columns.kinds.shape[1] for each in waiting]
        starts = np.cumsum([0, *counts[:-1]])
        value, size = np.concatenate([each.columns.numbers for each in waiting], axis=1)
        kinds = np.concatenate([each.columns.kinds for each in waiting], axis=1)
        elements = np.concatenate([each.columns.elements for each in waiting])
        elements += np.repeat(starts, [len(each.found) for each in waiting])
        bias = np.repeat(_biases(waiting), counts)
        if len(elements):
            file, values, sizes, types, symbols, rebased = zip(
                *chain.from_iterable(each.found for each in waiting), strict=True
            )
            positions = np.array(list(map(self._names.positions.__getitem__, file)), np.int64)
            value[elements], size[elements] = np.array(values, np.uint64), np.array(sizes, np.uint64)
            kinds[:, elements] = types, positions + 1, symbols, rebased
            bias[elements] = self._names.bias[positions]
        mask = waiting[0].image.address_mask
        type_, provider, symbol, rebased_ = kinds
        address = np.where(rebased_ != 0, (value + bias) & mask, value)
        canonical = np.zeros(len(address), np.bool_)
        provider = provider.astype(np.int32)
        return Bindings(address, size, type_.astype(np.uint8), provider, symbol, canonical, ()), starts

    def _store(self, waiting: Sequence[_Waiting], address: U64, starts: I64) -> None:
        counts = [each.columns.words.shape[1] for each in waiting]
        at, element, addend, kind = np.concatenate([each.columns.words for each in waiting], axis=1)
        offsets = np.array([self._block.images[each.image] for each in waiting], np.int64)
        where = at.astype(np.int64) + np.repeat(offsets, counts)
        base = address[element.astype(np.int64) + np.repeat(starts, counts)]
        base = np.where(kind & RELATIVE, np.repeat(_biases(waiting), counts), base)
        buffer, size = self._block.buffer, waiting[0].image.architecture.word_size
        addend = np.where(kind & IN_PLACE, read_words(buffer, where, size), addend)
        write_words(buffer, where, size, base + addend)


def _part(whole: Bindings, start: int, end: int, images: tuple[Module, ...], asked: I64) -> Bindings:
    """The bindings of one image."""
    return Bindings(
        whole.address[start:end],
        whole.size[start:end],
        whole.type[start:end],
        whole.provider[start:end],
        whole.symbol[start:end],
        whole.canonical[start:end],
        images,
        asked,
    )


def _biases(waiting: Sequence[_Waiting]) -> U64:
    return np.array([each.image.bias for each in waiting], np.uint64)
