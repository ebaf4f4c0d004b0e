"""The stack machine of the first LoongArch ABI (object ABI version 0, R_LARCH_SOP_…).

Its relocations describe expressions instead of fields: a sequence of entries, usually all at one place, pushes
addresses and constants, combines them, and ends with an entry that pops the result into an instruction. High and
low parts are explicit shifts and masks, so

    la.local $t0, x          R_LARCH_SOP_PUSH_PCREL x+0x800; PUSH_ABSOLUTE 12; SR; POP_32_S_5_20

corresponds to one R_LARCH_PCALA_HI20 entry today. Later ABI versions keep these types but deprecate them.

The stack is state between entries, so they cannot be processed in batches. The relocation engine evaluates the
formulas of the pushes as usual, all entries of a type at once, and passes the results in table order:

    result = run(types, operands)
    result.entries, result.values      # which entries pop what: checked and stored through their rows' fields
    result.problems                    # what cannot be computed, by entry

Source: laelf, "Relocation types" 22 to 46. Numbers are signed and 64 bits wide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from relink.arrays import I64, U64
from relink.records import dataclass

PUSHES = frozenset({22, 23, 25, 26, 27, 28, 29})
ASSERT = 30
POPS = frozenset(range(38, 47))

_Answer = tuple[int, ...]
#: Operations that pop operands from the stack (lowest first) and push results.
_OPERATORS: dict[int, tuple[int, Callable[..., _Answer]]] = {
    24: (1, lambda x: (x, x)),  # PUSH_DUP
    31: (1, lambda x: (int(x == 0),)),  # NOT
    32: (2, lambda x, y: (x - y,)),  # SUB
    33: (2, lambda x, y: (x << _distance(y),)),  # SL
    34: (2, lambda x, y: (x >> _distance(y),)),  # SR
    35: (2, lambda x, y: (x + y,)),  # ADD
    36: (2, lambda x, y: (x & y,)),  # AND
    37: (3, lambda x, y, z: (y if x else z,)),  # IF_ELSE
}


@dataclass(frozen=True)
class Result:
    """The results of a section's stack expressions."""

    entries: I64  #: indices of the n entries that pop
    values: U64  #: the value each of them pops, in two's complement
    problems: tuple[tuple[int, str], ...]  #: (index of an entry, why its expression has no value)


class _Problem(Exception):
    """Why an expression has no value."""


def run(types: I64, operands: U64) -> Result:
    """Run one section's stack entries.

    `types` are the type numbers of its Role.STACK entries in table order. `operands` has the value of each push;
    its other elements are ignored. Nothing is raised: an expression that pops more than was pushed, fails an
    assertion, shifts by more than a word, or leaves values on the stack is reported in `problems`, and the next
    expression starts with an empty stack.
    """
    stack: list[int] = []
    entries: list[int] = []
    values: list[int] = []
    problems: list[tuple[int, str]] = []
    broken = False
    pushed = operands.astype(np.uint64).view(np.int64).tolist()
    for index, (number, operand) in enumerate(zip(types.tolist(), pushed, strict=True)):
        if not broken:
            try:
                value = _step(stack, number, operand)
            except _Problem as problem:
                problems.append((index, str(problem)))
                broken = True
            else:
                if value is not None:
                    entries.append(index)
                    values.append(value)
        if broken and number in POPS:
            stack.clear()
            broken = False
    if stack and not broken:
        problems.append(
            (len(types) - 1, f"{len(stack)} values are left on the relocation stack: no entry pops them")
        )
    words = np.array(values, np.int64).view(np.uint64)
    return Result(np.array(entries, np.int64), words, tuple(problems))


def _step(stack: list[int], number: int, operand: int) -> int | None:
    """Execute one entry; return the popped value for an entry that pops."""
    if number in PUSHES:
        stack.append(operand)
    elif number in POPS:
        return _take(stack, 1)[0]
    elif number == ASSERT:
        if not _take(stack, 1)[0]:
            raise _Problem("the assertion R_LARCH_SOP_ASSERT fails")
    else:
        count, operator = _OPERATORS[number]
        stack.extend(_wrapped(value) for value in operator(*_take(stack, count)))
    return None


def _take(stack: list[int], count: int) -> list[int]:
    if len(stack) < count:
        raise _Problem(f"it pops {count} values from a relocation stack of {len(stack)}")
    taken = stack[-count:]
    del stack[-count:]
    return taken


def _distance(shift: int) -> int:
    if not 0 <= shift < 64:
        raise _Problem(f"a shift by {shift} bits")
    return shift


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
