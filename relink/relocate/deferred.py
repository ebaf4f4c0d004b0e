"""Deferred references: undefined strong symbols that a later load may define.

A load that allows them binds such references to placeholder addresses (on a machine, a call or access there is an
error). `rebind` binds those of one image that are defined by now. To find the words to change, it relocates the
image twice into separate buffers, with the old and the new bindings. Words that differ are written to memory,
unless the guest has changed them since.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from relink.arrays import I64, U8
from relink.errors import LinkError
from relink.memory import placement as place
from relink.memory.address_space import Region
from relink.memory.host_pages import host_pages
from relink.records import dataclass, replace
from relink.relocate.references import References
from relink.relocate.relocate import relocator
from relink.relocate.result import Deferred, IfuncCalls, Relocated
from relink.resolve.bindings import UNRESOLVED
from relink.resolve.scopes import LookupScope

if TYPE_CHECKING:
    from relink.module import Module
    from relink.relocate.lazy import BindMode
    from relink.relocate.state import Environment


@dataclass(frozen=True, slots=True)
class Rebound:
    """Deferred references of an image that have been bound, before guest memory is changed."""

    image: Module
    names: list[str]  #: indices of their symbols
    relocated: Relocated  #: the result of the image's relocation with them
    words: list[tuple[int, bytes, bytes]]  #: (guest address, expected bytes, new bytes)
    ifuncs: list[IfuncCalls]
    errors: list[LinkError]


def rebind(image: Module, relocated: Relocated, scope: LookupScope, environment: Environment) -> Rebound | None:
    """Bind the deferred references of an image that `scope` now defines; None without any."""
    deferred = relocated.deferred
    assert deferred is not None
    wanted = np.array(list(deferred.stand_ins), np.int64)
    found = environment.resolver.bind(image, wanted, scope)
    chosen = np.flatnonzero(found.provider != UNRESOLVED)
    if not len(chosen):
        return None
    symbols = wanted[chosen]
    elements = _elements(deferred.references, symbols)
    before, after = deferred.references.bindings.copy(), deferred.references.bindings.copy()
    for symbol, element in zip(symbols.tolist(), elements.tolist(), strict=True):
        before.define_host(element, deferred.stand_ins[symbol])
    after.take(elements, found, chosen)
    known = deferred.references
    left = {symbol: place for symbol, place in deferred.stand_ins.items() if symbol not in symbols}
    names = image.decoded.symbols.names.take(symbols).texts()
    remaining = Deferred(References(after.copy(), known.symbols, known.binding_of), deferred.binding, left)
    settled = replace(
        relocated,
        bindings=after,
        unresolved=[name for name in relocated.unresolved if name not in names],
        deferred=remaining if left else None,
    )
    was, now = (References(each, known.symbols, known.binding_of) for each in (before, after))
    return rebound(image, settled, scope, environment, was, now, deferred.binding, names)


def rebound(
    image: Module,
    relocated: Relocated,
    scope: LookupScope,
    environment: Environment,
    before: References,
    after: References,
    binding: BindMode,
    names: list[str],
) -> Rebound:
    """The words of an image that change when its references are bound differently. `relocated` is its result with
    them; `names` are the symbols that are bound differently.
    """
    old, first = replayed(image, scope, environment, before, binding)
    new, second = replayed(image, scope, environment, after, binding)
    known = {str(error) for error in old.errors}
    return Rebound(
        image,
        names,
        relocated,
        list(_differing_words(image, first, second)),
        _new_ifuncs(old.ifuncs, new.ifuncs),
        [error for error in new.errors if str(error) not in known],
    )


def _elements(references: References, symbols: I64) -> I64:
    """The indices of symbols in the bindings. Each is there once, because it was unresolved."""
    found = np.zeros(len(symbols), np.int64)
    for elements in references.binding_of:
        found = np.maximum(found, elements[symbols])
    return found


def replayed(
    image: Module, scope: LookupScope, environment: Environment, references: References, binding: BindMode
) -> tuple[Relocated, U8]:
    """Relocate the image with these references into a separate buffer."""
    region = image.region
    pages = host_pages(len(region.buffer))
    copy = Region(region.address, region.size, pages, region.name, mappable=True, parts=region.parts)
    place.fill(copy, image.decoded)
    relocation = relocator(image, scope, replace(environment, lazy=None))
    return relocation.replay(references, copy.buffer, binding), copy.buffer


def _differing_words(image: Module, first: U8, second: U8) -> Iterator[tuple[int, bytes, bytes]]:
    """(guest address, bytes of the first, bytes of the second) of each range of words that differ."""
    size = image.architecture.word_size
    words = np.flatnonzero((first != second).reshape(-1, size).any(axis=1))
    for run in np.split(words, np.flatnonzero(np.diff(words) > 1) + 1):
        if len(run):
            start, end = int(run[0]) * size, (int(run[-1]) + 1) * size
            address = image.address_of(int(image.runs.addresses(np.array([start]))[0]))
            yield address, first[start:end].tobytes(), second[start:end].tobytes()


def _new_ifuncs(old: list[IfuncCalls], new: list[IfuncCalls]) -> list[IfuncCalls]:
    """The places that need a resolver now and did not before."""
    known = np.concatenate([np.zeros(0, np.uint64), *(calls.place for calls in old)])
    found = []
    for calls in new:
        fresh = ~np.isin(calls.place, known)
        if fresh.any():
            found.append(
                replace(
                    calls, place=calls.place[fresh], resolver=calls.resolver[fresh], addend=calls.addend[fresh]
                )
            )
    return found
