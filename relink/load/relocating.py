"""Relocating the images of a load: small ones together, the others one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relink.errors import LinkError
from relink.image import Image, image_of
from relink.load import emit
from relink.module import Stage
from relink.relocate.dynamic_section import rebase_dynamic_section
from relink.relocate.relocate import relocate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relink.load.options import LoadOptions
    from relink.load.plan import Plan
    from relink.load.state import LinkerState
    from relink.memory.host_pages import HostBlock
    from relink.relocate.handlers import RelocationHandler
    from relink.relocate.state import Environment
    from relink.relocate.together import Together
    from relink.resolve.scopes import LookupScope

_RELOCATED = Stage.RELOCATED  # members of enums are found slowly


def relocate_images(
    state: LinkerState, plan: Plan, options: LoadOptions, environment: Environment
) -> list[LinkError]:
    """Relocate the images of a plan, dependencies first; return the errors of all."""
    errors: list[LinkError] = []
    scope_of = state.lookup_scopes() if plan.images[1:] else state.lookup_scope
    together = None if plan.block is None else _together(state, plan.block, options, environment)
    for image in plan.initialise:
        if not plan.relocates_itself(image):
            scope = scope_of(image)
            if together is not None and together.take(image, scope, image.relocated):
                errors += image.relocated.errors
            else:
                if together is not None and image.decoded.is_executable:
                    together.finish()  # it may copy from their data
                errors += _relocate_image(image, scope, state, plan, options, environment)
        image.stage = _RELOCATED
    if together is not None:
        together.finish()
        for module, entries, bindings in together.bound:
            entries.note(bindings, image_of(module).relocated)
        for module, ifuncs in together.ifuncs:
            image_of(module).relocated.ifuncs += ifuncs
            plan.ifuncs += ifuncs
    return errors


def _together(
    state: LinkerState, block: HostBlock, options: LoadOptions, environment: Environment
) -> Together | None:
    """The relocation of small images together; None where each is relocated by itself."""
    if state.observers or state.relocation_handlers or options.relocation_handlers:
        return None
    from relink.relocate.together import Together  # a library alone needs none of it

    return Together(block, environment)


def _relocate_image(
    image: Image,
    scope: LookupScope,
    state: LinkerState,
    plan: Plan,
    options: LoadOptions,
    environment: Environment,
) -> list[LinkError]:
    about: Sequence[RelocationHandler] = (*options.relocation_handlers, *state.relocation_handlers)
    if about:
        about = [handler for handler in about if handler.wants(image)]
    image.relocated = result = relocate(image, scope, environment, about)
    plan.ifuncs += result.ifuncs
    if result.copies:
        from relink.relocate.copy import copied_ifuncs

        plan.ifuncs += copied_ifuncs(result.copies, plan.ifuncs)
    if image.decoded.dynamic_segment is not None:
        rebase_dynamic_section(image)
    if state.observers:
        emit.relocations_applied(state.observers, image)
        emit.relocated(state.observers, image)
    return result.errors
