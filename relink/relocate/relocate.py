"""Relocating one image: entry by entry where there are few and simple ones, else with the engine for its file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from relink.module import Module
from relink.relocate.engine import Relocator
from relink.relocate.few_entries import Entries, entries_of
from relink.relocate.lazy import BindMode
from relink.relocate.references import References
from relink.relocate.result import Relocated
from relink.relocate.state import Environment, settle
from relink.resolve.scopes import LookupScope

if TYPE_CHECKING:
    from relink.relocate.few_of_object import ObjectEntries
    from relink.relocate.handlers import RelocationHandler

_NOW = BindMode.NOW  # members of enums are found slowly


def relocate(
    image: Module, scope: LookupScope, environment: Environment, handlers: Sequence[RelocationHandler] = ()
) -> Relocated:
    """Apply all relocations of `image` to its host buffer, binding symbols in `scope`.

    `handlers` are the user's handlers for this image. Errors about entries are collected in `Relocated.errors`.
    """
    entries = None
    waits = environment.binding is not _NOW and environment.lazy is not None  # unless the image forbids it
    if not handlers and (not waits or image.decoded.binds_now):
        entries = _few_of(image)
    bindings = None if entries is None else environment.resolver.bind_few(image, entries.few, scope)
    if entries is not None and bindings is not None:
        result, bound = Relocated(bindings=bindings, symbols=entries.symbols), None
        if entries.few.references:
            bound = References(bindings, entries.symbols, lambda: entries.binding_of)
            settle(image, bound, environment, result, _NOW)
        if not result.errors and entries.apply(image, bindings, result):
            return result
        relocation = relocator(image, scope, environment)
        relocation.result = result
        return relocation.run(bound)
    relocation = relocator(image, scope, environment)
    if handlers:
        from relink.relocate.handlers import HandlerPass

        relocation.handlers = HandlerPass(relocation, handlers)
    return relocation.run()


def _few_of(image: Module) -> Entries | ObjectEntries | None:
    """The entries of an image that has few and simple ones."""
    return _of_objects()(image) if image.decoded.is_relocatable else entries_of(image)


@cache
def _of_objects() -> Callable[[Module], ObjectEntries | None]:
    """`entries_of_object`, imported with the first object."""
    from relink.relocate.few_of_object import entries_of_object

    return entries_of_object


def relocator(image: Module, scope: LookupScope, environment: Environment) -> Relocator:
    """The relocation engine for `image`."""
    if not image.decoded.is_relocatable:
        return Relocator(image, scope, environment)
    from relink.relocate.static import object_relocator

    return object_relocator(image, scope, environment)
