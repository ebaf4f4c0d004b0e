"""The stack machine of the first LoongArch ABI (object ABI version 0, R_LARCH_SOP_…).

Its assembler did not know fields but expressions: a run of entries, usually all at one place, pushes addresses
and constants, combines them, and ends in one that pops the result into an instruction. High and low parts are
shifts and masks the assembler spells out, so

    la.local $t0, x          R_LARCH_SOP_PUSH_PCREL x+0x800; PUSH_ABSOLUTE 12; SR; POP_32_S_5_20

is what R_LARCH_PCALA_HI20 says in one entry today. The later ABI versions keep the types and advise against them.

Between entries the stack is state, so these are not batched. An engine evaluates the formula of each push as it
does any formula, all entries of a type at once, and hands the results over in the order of the table:

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
#: Steps that take operands from the stack, lowest first, and leave others.
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
    """What a section's expressions come to."""

    entries: I64  #: indices of the entries that pop, n of them
    values: U64  #: what each pops, in two's complement
    problems: tuple[tuple[int, str], ...]  #: (index of an entry, why its expression has no value)


class _Problem(Exception):
    """Why an expression has no value."""


def run(types: I64, operands: U64) -> Result:
    """Run one section's stack entries.

    `types` are the type numbers of its entries of Role.STACK in the order of the table, `operands` what the
    formulas of the pushes among them yield; other elements of `operands` do not matter. Nothing is raised: an
    expression that takes more than was pushed, fails an assertion or shifts by more than a word is reported,
    and the next one starts anew. So is what nobody pops.
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
        problems.append((len(types) - 1, f"{len(stack)} values stay on the relocation stack: nothing pops them"))
    words = np.array(values, np.int64).view(np.uint64)
    return Result(np.array(entries, np.int64), words, tuple(problems))


def _step(stack: list[int], number: int, operand: int) -> int | None:
    """Do one entry; the value if it is one that pops."""
    if number in PUSHES:
        stack.append(operand)
    elif number in POPS:
        return _take(stack, 1)[0]
    elif number == ASSERT:
        if not _take(stack, 1)[0]:
            raise _Problem("the assertion the assembler left does not hold")
    else:
        count, operator = _OPERATORS[number]
        stack.extend(_wrapped(value) for value in operator(*_take(stack, count)))
    return None


def _take(stack: list[int], count: int) -> list[int]:
    if len(stack) < count:
        raise _Problem(f"it takes {count} values from a relocation stack of {len(stack)}")
    taken = stack[-count:]
    del stack[-count:]
    return taken


def _distance(shift: int) -> int:
    if not 0 <= shift < 64:
        raise _Problem(f"a shift by {shift} bits")
    return shift


def _wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
