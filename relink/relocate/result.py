"""What relocating an image comes to: what it bound to, what went wrong, and what the guest has yet to answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from relink.arch import Reloc, Role
from relink.arrays import I64, U64
from relink.errors import LinkError
from relink.relocate.batch import evaluate
from relink.resolve.resolver import Bindings

if TYPE_CHECKING:
    from relink.image import Image
    from relink.relocate.copy import Copied


@dataclass(frozen=True, slots=True)
class IfuncCalls:
    """Places whose value a resolver function of the guest decides. Arrays of one element per place."""

    image: Image
    row: Reloc
    place: U64  #: guest addresses
    resolver: U64  #: guest addresses of the resolver functions
    addend: U64


def finish_ifuncs(calls: IfuncCalls, answers: U64) -> U64:
    """The words to store at `calls.place`, given what the resolvers answered (uint64[n])."""
    if calls.row.role is Role.IRELATIVE:
        return answers
    return evaluate(calls.row, calls.image, S=answers, A=calls.addend, P=calls.place)


@dataclass(slots=True)
class Outcome:
    """What relocating one image came to."""

    errors: list[LinkError] = field(default_factory=list)
    ifuncs: list[IfuncCalls] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  #: entries applied, by full type name
    bindings: Bindings | None = None  #: element 0 is symbol 0: nothing, at 0
    symbols: I64 = field(default_factory=lambda: np.zeros(0, np.int64))  #: the symbols of elements 1, 2, …
    weak_unresolved: list[str] = field(default_factory=list)  #: bound to 0, as the gABI says
    unresolved: list[str] = field(default_factory=list)  #: strong, and left open on request
    copies: list[Copied] = field(default_factory=list)  #: variables an executable took over
