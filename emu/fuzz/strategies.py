"""Hypothesis strategies for the arguments of a guest function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emu.errors import FuzzError

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from emu.handles import Function


def arguments(function: Function) -> SearchStrategy[list[Any]]:
    """Lists of arguments for a function, by its prototype: `function(*drawn)`.

    Numbers, bytes for `char *` and `void *`, lists for arrays, whose lengths agree with a later parameter named
    `n`, `len`, `size`, `count` and the like (see `emu.differential.inputs`). `const char *` without one gets text,
    which ends with NUL.

    Raises FuzzError for prototypes whose arguments cannot be made (callbacks, variadic functions, pointers to
    structures that are not known), ImportError without Hypothesis.
    """
    from emu.differential.inputs import Untestable, plan, strategy

    prototypes = {"": function.prototype}
    try:
        planned = plan(prototypes)
    except Untestable as error:
        raise FuzzError(f"arguments for {function.name} cannot be made: {error}") from None
    return strategy(planned, prototypes)
