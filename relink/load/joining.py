"""Joining: a load is counted, and its images are added to search lists and scopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relink.load import lifetime
from relink.resolve import scopes

if TYPE_CHECKING:
    from collections.abc import Collection

    from relink.image import Image
    from relink.load.options import LoadOptions
    from relink.load.plan import Plan
    from relink.load.state import LinkerState
    from relink.memory.rollback import Rollback


def join(state: LinkerState, plan: Plan, options: LoadOptions, undo: Rollback) -> None:
    """Count one more load of the plan's root, and add the images to search lists and, unless local, to the global
    scope.
    """
    lifetime.hold(plan.root, plan.first, options.no_delete, undo)
    group = scopes.Group(plan.root, scopes.breadth_first(plan.first))
    new = {*plan.images}
    added: list[Image] = []
    if not options.local:
        known: Collection[Image] = ()
        if group.members != plan.images:
            known = {*group.members}.difference(new).intersection(state.global_scope)
        for image in group.members:
            if image not in known:
                added += [image]
    before = [*state.images], [*state.resolver.unique]  # a failed load alone makes sets of them
    undo.calls += ((state.leave_scopes, (new, group, added, *before)),)
    state.images += plan.images
    unprepared = state.unprepared
    unprepared |= new
    for image in plan.images:
        state.known.add(image)
        if image.decoded.mapping is not None:
            state.mapped[image] = None
    state.changes += 1
    scopes.join_group(group, new)
    scopes.join_global(state.global_scope, added)
