"""Binding the deferred references of earlier images to definitions of a new load (see
`relink.relocate.deferred`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from relink.errors import LinkError
from relink.load.plan import Plan
from relink.load.state import LinkerState
from relink.memory.address_space import AddressSpace
from relink.memory.rollback import Rollback

if TYPE_CHECKING:
    from relink.relocate.deferred import Rebound
    from relink.relocate.state import Environment


def rebind_all(state: LinkerState, plan: Plan, environment: Environment, undo: Rollback) -> list[LinkError]:
    """Bind the deferred references of earlier images that are now defined in their scope; return the errors."""
    errors: list[LinkError] = []
    for image in state.known.deferring():
        if image in plan.images:
            continue
        from relink.relocate.deferred import rebind

        before = image.relocated
        found = rebind(image, before, state.lookup_scope(image), environment)
        if found is not None:
            undo.callback(setattr, image, "relocated", before)
            image.relocated = found.relocated
            plan.rebound.append(found)
            plan.ifuncs += found.ifuncs
            errors += found.errors
    for image in plan.images:
        if image.relocated.deferred is not None:
            state.known.defers(image)
    return errors


def store(rebound: Iterable[Rebound], memory: AddressSpace, undo: Rollback) -> None:
    """Write the words that change, except those that the guest has changed."""
    for each in rebound:
        for address, before, after in each.words:
            if memory.read(address, len(before)) == before:
                undo.callback(memory.write, address, before)
                memory.write(address, after)
