"""The relocation stack machine: the expressions old assemblers wrote, and expressions that have no value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.loongarch64 import LOONGARCH64 as PAGE
from relink.arch.loongarch_stack import ASSERT, POPS, PUSHES, Result, run
from relink.arch.spec import Role
from tests.objects.rows import fits, signed, written

NUMBERS = {row.name.removeprefix("SOP_"): n for n, row in PAGE.relocations.items() if row.role is Role.STACK}
WORDS = st.integers(-(1 << 63), (1 << 63) - 1)


def evaluated(*steps: str | int) -> Result:
    """Steps by name; a number is a push of it."""
    types = [NUMBERS["PUSH_ABSOLUTE"] if isinstance(step, int) else NUMBERS[step] for step in steps]
    operands = [step & (1 << 64) - 1 if isinstance(step, int) else 0 for step in steps]
    return run(np.array(types, np.int64), np.array(operands, np.uint64))


def value(*steps: str | int) -> int:
    result = evaluated(*steps, "POP_32_U")
    assert result.problems == ()
    assert result.entries.tolist() == [len(steps)]
    return signed(int(result.values[0]))


def test_the_machine_knows_every_stack_type_of_the_page() -> None:
    known = {number for number in NUMBERS.values() if number in PUSHES | POPS or number == ASSERT}
    assert known | {NUMBERS[n] for n in ("PUSH_DUP", "NOT", "SUB", "SL", "SR", "ADD", "AND", "IF_ELSE")} == set(
        NUMBERS.values()
    )


def test_pushes_have_formulas_and_pops_have_fields() -> None:
    rows = PAGE.relocations
    assert all(rows[n].formula is not None and rows[n].word is None for n in PUSHES)
    assert all(rows[n].formula is None and rows[n].word is not None for n in POPS)


@given(WORDS, WORDS)
def test_arithmetic_wraps_like_a_64_bit_machine(x: int, y: int) -> None:
    wrap = (1 << 64) - 1
    assert (value(x, y, "SUB") - (x - y)) & wrap == 0
    assert (value(x, y, "ADD") - (x + y)) & wrap == 0
    assert value(x, y, "AND") == x & y
    assert value(x, "NOT") == (x == 0)
    assert value(x, "PUSH_DUP", "SUB") == 0


@given(WORDS, st.integers(0, 63))
def test_shifts_are_arithmetic(x: int, by: int) -> None:
    assert value(x, by, "SR") == x >> by
    assert (value(x, by, "SL") - (x << by)) & (1 << 64) - 1 == 0


@pytest.mark.parametrize(("condition", "chosen"), [(0, 8), (1, 7), (-1, 7)])
def test_if_else_takes_the_lowest_as_its_condition(condition: int, chosen: int) -> None:
    assert value(condition, 7, 8, "IF_ELSE") == chosen


@given(st.integers(-(1 << 31) + 0x800, (1 << 31) - 0x1000))
def test_old_assemblers_la_local_reaches_its_symbol(distance: int) -> None:
    """pcaddu12i takes (x + 0x800 - pc) >> 12, addi.d what that leaves."""
    high = value(distance + 0x800, 12, "SR")
    low = value(distance, distance + 0x800, 12, "SR", 12, "SL", "SUB")
    assert (high << 12) + low == distance
    field = PAGE.relocations[NUMBERS["POP_32_S_5_20"]].word
    assert field is not None
    assert fits(field, high)
    assert written(field, 0x1C000004, high) == 0x1C000004 | (high & 0xFFFFF) << 5


def test_several_expressions_follow_each_other() -> None:
    result = evaluated(4, "POP_32_S_10_16_S2", 1, 2, "ADD", "POP_32_U")
    assert result.entries.tolist() == [1, 5]
    assert result.values.tolist() == [4, 3]


@pytest.mark.parametrize(
    ("steps", "at", "problem"),
    [
        (("POP_32_U",), 0, "pops 1 values from a relocation stack of 0"),
        ((1, "ADD", "POP_32_U"), 1, "pops 2 values from a relocation stack of 1"),
        ((1, 2, "IF_ELSE", "POP_32_U"), 2, "pops 3 values from a relocation stack of 2"),
        ((5, 0, "ASSERT", "POP_32_U"), 2, "assertion"),
        ((1, 64, "SL", "POP_32_U"), 2, "shift by 64"),
        ((1, -1, "SR", "POP_32_U"), 2, "shift by -1"),
    ],
)
def test_an_expression_without_a_value_is_reported_and_the_next_one_is_not(
    steps: tuple[str | int, ...], at: int, problem: str
) -> None:
    result = evaluated(*steps, 9, "POP_32_U")
    assert [index for index, _ in result.problems] == [at]
    assert problem in result.problems[0][1]
    assert result.values.tolist() == [9]


def test_what_nobody_pops_is_reported_at_the_last_entry() -> None:
    assert evaluated(1, 2).problems == ((1, "2 values are left on the relocation stack: no entry pops them"),)


def test_an_assertion_that_holds_leaves_the_rest() -> None:
    assert value(7, 1, "ASSERT") == 7


def test_no_entries_are_no_values() -> None:
    result = run(np.zeros(0, np.int64), np.zeros(0, np.uint64))
    assert (len(result.entries), result.problems) == (0, ())
