"""Relocating one image with the engine for its kind of file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from relink.module import Module
from relink.relocate.engine import Relocator
from relink.relocate.few_entries import entries_of
from relink.relocate.result import Relocated
from relink.relocate.state import Environment
from relink.resolve.scopes import LookupScope

if TYPE_CHECKING:
    from relink.relocate.handlers import RelocationHandler


def relocate(
    image: Module, scope: LookupScope, environment: Environment, handlers: Sequence[RelocationHandler] = ()
) -> Relocated:
    """Apply all relocations of `image` to its host buffer, binding symbols in `scope`.

    `handlers` are the user's handlers for this image. Errors about entries are collected in `Relocated.errors`.
    """
    if not (handlers or image.decoded.is_relocatable):
        entries = entries_of(image)
        if entries is not None and not entries.entries:  # there is nothing to do
            return Relocated(bindings=environment.resolver.bind_few(image, entries.few, scope))
    relocation = relocator(image, scope, environment)
    if handlers:
        from relink.relocate.handlers import HandlerPass

        relocation.handlers = HandlerPass(relocation, handlers)
    return relocation.run()


def relocator(image: Module, scope: LookupScope, environment: Environment) -> Relocator:
    """The relocation engine for `image`."""
    if not image.decoded.is_relocatable:
        return Relocator(image, scope, environment)
    from relink.relocate.static import object_relocator

    return object_relocator(image, scope, environment)
