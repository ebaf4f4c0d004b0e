"""Arguments and results go where clang has them, on every architecture.

`placement.json` was found out by running what clang compiles (`regenerate.py`); nothing of `emu.isa` made it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from emu.calls.assign import Location
from emu.calls.plan import CallPlan, plan_call
from emu.calls.prototypes import Parameter, parse_prototype, parse_type
from emu.errors import CallError
from emu.isa.convention import CallingConvention, PairAlignment, VariadicRule
from emu.isa.registry import convention
from tests.calls.regenerate import ARCHES, TABLE, arguments_of, sizes, split
from tests.grouping import by


@cache
def _table() -> Any:
    return json.loads(TABLE.read_text())


def _whole_register(arch: str, name: str) -> tuple[str, int]:
    """The register the table knows, and where in it `name` begins."""
    if arch == "arm" and name.startswith("s"):
        return f"d{int(name[1:]) // 2}", 4 * (int(name[1:]) % 2)
    if arch == "aarch64" and name[0] in "sd":
        return f"v{name[1:]}", 0
    return name, 0


def _described(arch: str, location: Location, size: int) -> str:
    """A location as the table writes it; `size`: bytes that carry the value."""
    parts = []
    for piece in location:
        name, start = _whole_register(arch, piece.register) if piece.register else ("stack", piece.offset)
        parts.append(f"{name}[{start}:{start + min(piece.size, size - piece.start)}]")
    return " ".join(parts)


def _plan(rules: CallingConvention, signature: str) -> CallPlan:
    arch = rules.arch
    head, _, _ = signature.partition(" <- ")
    _, extras = split(signature)
    types = tuple(Parameter("", parse_type(name, arch)) for name in extras)
    return CallPlan(rules, parse_prototype(head, arch), types)


def _mismatches(rules: CallingConvention) -> list[tuple[str, list[str], list[str]]]:
    """Signatures with the places clang and `rules` have for their arguments, where the two differ."""
    arch = rules.arch
    width = sizes(arch)
    wrong = []
    for signature, expected in _table()[arch]["arguments"].items():
        named, extras = split(signature)
        try:
            plan = _plan(rules, signature)
        except CallError as error:
            wrong.append((signature, expected, [str(error)]))
            continue
        found = [
            _described(arch, place, width[ctype])
            for place, ctype in zip(plan.locations, named + extras, strict=True)
        ]
        if found != expected:
            wrong.append((signature, expected, found))
    return wrong


@pytest.mark.parametrize("arch", ARCHES)
def test_arguments_lie_where_clang_reads_them(arch: str) -> None:
    assert not _mismatches(convention(arch))


@by(
    ("arch", "changed"),
    [
        ("x86_64", {"registers_reopen": False}),
        ("x86_64", {"floats_spill_to_integers": True}),
        ("x86_64", {"variadic": VariadicRule.EXTRAS_AS_INTEGERS}),
        ("x86_64", {"pair_split": True}),
        ("i386", {"data": replace(convention("i386").data, maximum_alignment=8)}),
        ("aarch64", {"pair_alignment": PairAlignment.NEVER}),
        ("aarch64", {"variadic": VariadicRule.EXTRAS_AS_INTEGERS}),
        ("arm", {"float_backfill": False}),
        ("arm", {"variadic": VariadicRule.EXTRAS_AS_INTEGERS}),
        ("arm", {"variadic": VariadicRule.SAME}),
        ("arm", {"pair_alignment": PairAlignment.VARIADIC}),
        ("arm", {"data": replace(convention("arm").data, maximum_alignment=4)}),
        ("riscv64", {"pair_alignment": PairAlignment.NEVER}),
        ("riscv64", {"pair_alignment": PairAlignment.ALWAYS}),
        ("riscv64", {"pair_split": False}),
        ("riscv32", {"pair_alignment": PairAlignment.NEVER}),
        ("riscv32", {"pair_alignment": PairAlignment.ALWAYS}),
        ("riscv32", {"pair_split": False}),
        ("riscv32", {"floats_spill_to_integers": False}),
        ("riscv32", {"variadic": VariadicRule.SAME}),
        ("loongarch64", {"pair_alignment": PairAlignment.NEVER}),
        ("loongarch64", {"pair_split": False}),
        ("loongarch64", {"floats_spill_to_integers": False}),
        ("loongarch64", {"variadic": VariadicRule.SAME}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_the_table_tells_a_wrong_rule_from_a_right_one(arch: str, changed: dict[str, Any]) -> None:
    assert _mismatches(replace(convention(arch), **changed))


@pytest.mark.parametrize("arch", ARCHES)
def test_results_lie_where_clang_leaves_them(arch: str) -> None:
    width = sizes(arch)
    for signature, expected in _table()[arch]["results"].items():
        place = _plan(convention(arch), signature).result_location
        assert place is not None
        if expected == "st0":
            assert place[0].register == "st0", signature
        else:
            assert _described(arch, place, width[signature.partition("(")[0]]) == expected, signature


@pytest.mark.parametrize("arch", ARCHES)
def test_the_table_is_what_clang_says_today(arch: str) -> None:
    pytest.importorskip("ziglang", reason="clang comes in the ziglang wheel, which is missing")
    assert arguments_of(arch) == _table()[arch]["arguments"]


def test_vectors_from_variadic_functions_of_arm_are_in_core_registers() -> None:
    for size, registers in ((8, ["r0", "r1"]), (16, ["r0", "r1", "r2", "r3"])):
        plan = plan_call("arm", f"int __attribute__((vector_size({size}))) f(int a, ...)")
        assert [piece.register for piece in plan.result_location or ()] == registers
        plan = plan_call("arm", f"int __attribute__((vector_size({size}))) f(int a)")
        assert [piece.register for piece in plan.result_location or ()] == ["d0", "d1"][: size // 8]
