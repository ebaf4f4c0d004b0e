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
from relink.elf.constants import SymbolType
from relink.memory.buffers import read_words, write_words
from relink.memory.host_pages import HostBlock
from relink.module import Module
from relink.relocate.bind import settle_unresolved
from relink.relocate.columns import IN_PLACE, RELATIVE, Columns
from relink.relocate.dynamic_section import rebase_dynamic_section
from relink.relocate.engine import Relocator
from relink.relocate.few_entries import Entries, entries_of
from relink.relocate.lazy import BindMode
from relink.relocate.references import References
from relink.relocate.result import IfuncCalls, Relocated
from relink.relocate.state import Environment
from relink.resolve.bindings import Bindings
from relink.resolve.exact_names import Export, ScopeNames
from relink.resolve.scopes import LookupScope
from relink.resolve.sources import Lookup, SymbolSource, as_source

_NONE = np.zeros(0, np.int64)
_IFUNC = int(SymbolType.GNU_IFUNC)


class _Waiting(NamedTuple):
    """An image whose references are bound, and whose words are not stored yet."""

    image: Module
    entries: Entries
    columns: Columns
    elements: I64  #: the elements of its bindings that images define
    found: list[Export]  #: their definitions
    others: Bindings | None  #: symbol 0, and the references that no image defines
    open: I64  #: the elements of these

    @property
    def has_ifunc(self) -> bool:
        """Whether a source has answered with an ifunc."""
        return self.others is not None and _IFUNC in self.others.type.tolist()


class Together:
    """Relocates images of one load. The words of those that are taken are stored by `finish`."""

    def __init__(self, block: HostBlock, environment: Environment) -> None:
        self._block, self._environment = block, environment
        self._waiting: list[_Waiting] = []
        self._names = ScopeNames(())
        #: The sources of the scope of the image taken last, and whether these and the resolver's were idle: None
        #: where others than images have been asked since, which may change that.
        self._idle: tuple[Sequence[SymbolSource | Lookup], bool] | None = None
        #: The images whose words are stored, with their bindings.
        self.bound: list[tuple[Module, Entries, Bindings]] = []
        self.ifuncs: list[tuple[Module, list[IfuncCalls]]] = []  #: what is left to the machine

    def take(self, image: Module, scope: LookupScope, result: Relocated) -> bool:
        """Bind the image's references; its new `result` gets the errors. False, with nothing done, where the
        engine has to relocate it.
        """
        environment = self._environment
        idle, self._idle = self._idle, None
        if image not in self._block.images or (
            environment.lazy is not None
            and environment.binding is not BindMode.NOW
            and not image.decoded.binds_now
        ):
            return False
        entries = entries_of(image)
        columns = None if entries is None else entries.columns_of(image.decoded)
        if entries is None or columns is None:
            return False
        if idle is None or idle[0] is not scope.before:
            idle = scope.before, self._is_idle(scope)
        if not idle[1]:
            return False
        if self._names.images is not scope.images:
            self.finish()
            self._names = ScopeNames(scope.images)
        found = self._names.find(columns.names)
        if found is None:
            return False
        if None not in found:
            answers: list[Export] = found  # type: ignore[assignment]  # none of them is None
            self._waiting.append(_Waiting(image, entries, columns, columns.elements, answers, None, _NONE))
            self._idle = idle
            return True
        return not environment.allow_deferred and self._take_open(image, scope, result, entries, columns, found)

    def _take_open(
        self,
        image: Module,
        scope: LookupScope,
        result: Relocated,
        entries: Entries,
        columns: Columns,
        found: Sequence[Export | None],
    ) -> bool:
        """Take an image with references that no image defines: sources may answer them."""
        environment, few = self._environment, entries.few
        known = [place for place, one in enumerate(found) if one is not None]
        open_ = np.delete(columns.elements, known)
        asked_of = few.asked[np.concatenate(([0], open_))]
        others = Bindings.empty(len(open_) + 1, (image, *scope.images), asked_of)
        asked = few.open(open_.tolist())._replace(where=np.arange(1, len(open_) + 1))
        environment.resolver.ask_after(image, others, asked, scope)
        settle_unresolved(
            image,
            References(others, asked_of[1:], entries.binding_of),
            environment.unresolved,
            result,
            allow_deferred=False,
        )
        answers = [one for one in found if one is not None]
        self._waiting.append(_Waiting(image, entries, columns, columns.elements[known], answers, others, open_))
        return True

    def _is_idle(self, scope: LookupScope) -> bool:
        """Whether no source is asked before the images."""
        before = chain(scope.before, self._environment.resolver.before)
        return all(getattr(as_source(source), "is_idle", False) for source in before)

    def finish(self) -> None:
        """Store the words of all images taken, and keep their bindings."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        bindings, starts = self._bindings(waiting)
        scope, begins = self._names.images, starts.tolist()
        for each, start in zip(waiting, begins, strict=True):
            if each.others is not None:
                _copy(each.others, bindings, start + each.open)
        with_ifuncs = {number for number, each in enumerate(waiting) if each.has_ifunc}
        plain = [number for number in range(len(waiting)) if number not in with_ifuncs]
        if plain:
            self._store([waiting[number] for number in plain], bindings.address, starts[plain])
        for number, (each, start) in enumerate(zip(waiting, begins, strict=True)):
            end = start + each.columns.kinds.shape[1]
            images = (each.image, *scope) if each.others is None else each.others.images
            bound = _part(bindings, start, end, images, each.entries.few.asked)
            self.bound.append((each.image, each.entries, bound))
            if number in with_ifuncs:
                self._store_by_type(each, bound)

    def _store_by_type(self, one: _Waiting, bound: Bindings) -> None:
        """Store the words of one image by the engine, which leaves those for ifuncs to the machine."""
        references = References(bound, one.entries.symbols, one.entries.binding_of)
        relocator = Relocator(one.image, LookupScope(()), self._environment)
        result = relocator.replay(references, one.image.region.buffer, BindMode.NOW)
        self.ifuncs.append((one.image, result.ifuncs))
        rebase_dynamic_section(one.image)

    def _bindings(self, waiting: Sequence[_Waiting]) -> tuple[Bindings, I64]:
        """The bindings of all images, one after the other, and where those of each begin."""
        counts = [each.columns.kinds.shape[1] for each in waiting]
        starts = np.cumsum([0, *counts[:-1]])
        value, size = np.concatenate([each.columns.numbers for each in waiting], axis=1)
        kinds = np.concatenate([each.columns.kinds for each in waiting], axis=1)
        elements = np.concatenate([each.elements for each in waiting])
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


def _copy(others: Bindings, whole: Bindings, where: I64) -> None:
    """Copy all bindings but that of symbol 0."""
    whole.address[where], whole.size[where] = others.address[1:], others.size[1:]
    whole.type[where], whole.canonical[where] = others.type[1:], others.canonical[1:]
    whole.provider[where], whole.symbol[where] = others.provider[1:], others.symbol[1:]


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
