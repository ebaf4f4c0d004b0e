"""Compiled objects, called: every code model, position-independent and not, by either compiler.

Each is linked together with an object of clang's that holds what it imports, so that most images here are of
two compilers. What the functions answer is in the sources (`arch_fixtures/src/objects`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from emu import Library, Machine
from tests.fixtures import TARGETS, arch_of, fixture, targets_of, variant_of
from tests.objects.build import compiled
from toolchains.recipes import RECIPES

FAR = 0x2000_0000  #: where imports lie when they are out of a call's reach


def cases(stem: str) -> list[tuple[str, str]]:
    """(target, fixture) of every object compiled from `stem`.c."""
    names = [name for name in RECIPES if name.startswith("objects/") and name.rpartition("/")[2] == stem]
    return [(target, name) for name in names for target in targets_of(name)]


@contextmanager
def loaded(target: str, *names: str, other: bool = True, **options: object) -> Iterator[Library]:
    with Machine(arch_of(target)) as machine:
        sources = [fixture(target, name) for name in names]
        if other:
            sources.append(compiled(variant_of(target).target.name, "other.c", *_model(target, names[0])))
        symbols = {"my_host_function": lambda value: value * 2}
        yield machine.load(sources, symbols=symbols, **options)  # type: ignore[arg-type]


def _model(target: str, name: str) -> tuple[str, ...]:
    """Flags for the imports, so that they do not narrow where the image may lie more than the fixture does."""
    return () if "nopic" in name or "kernel" in name or "medlow" in name else ("-fPIC",)


def answers(lib: Library, functions: dict[str, str], calls: list[tuple[str, tuple[object, ...], object]]) -> None:
    wrong = {}
    for name, arguments, expected in calls:
        got = lib.function(name, functions.get(name, "int(int)"))(*arguments)
        if got != expected:
            wrong[name, arguments] = (got, expected)
    assert not wrong


@pytest.mark.parametrize(("target", "name"), cases("basic") + [(t, "objects/debug") for t in TARGETS])
def test_data_calls_and_pointers(target: str, name: str) -> None:
    functions = {
        "get_counter": "int()", "counter_address": "uintptr_t()", "bump_hidden": "int()", "read_other": "int()",
        "write_other": "void(int)", "other_address": "uintptr_t(int)", "read_wide": "long()",
        "apply": "int(int, int)", "address_of_add_one": "uintptr_t()", "greeting_length": "int()",
        "add": "int(int, int)",
    }  # fmt: skip
    with loaded(target, name) as lib:
        answers(lib, functions, [
            ("awesome_func", (20,), 41), ("get_counter", (), 8), ("bump_hidden", (), 71), ("bump_hidden", (), 72),
            ("read_table", (2,), 30), ("bump_zeroed", (63,), 1), ("bump_zeroed", (63,), 2), ("read_other", (), 50),
            ("write_other", (51,), None), ("read_other", (), 51), ("read_wide", (), 0x12345678),
            ("apply", (0, 21), 42), ("apply", (1, 21), 42), ("greeting_length", (), 20), ("add", (40, 2), 42),
            ("counter_address", (), lib.symbols["counter"].address),
            ("other_address", (3,), lib.symbols["other_array"].address + 12),
        ])  # fmt: skip
        pointer = lib.function("address_of_add_one", "uintptr_t()")()
        assert isinstance(pointer, int)
        assert lib._machine.call(pointer, "int(int)", 8) == 16
        operations = lib.symbols["operations"].address
        held = lib._machine.memory.read_uint(operations + lib._machine.arch.word_size, lib._machine.arch.word_size)
        assert held == pointer, "the pointer in data and the one in code differ"


@pytest.mark.parametrize(("target", "name"), cases("data"))
def test_words_in_data(target: str, name: str) -> None:
    with loaded(target, name) as lib:
        answers(lib, {"sum": "int()", "missing_is_null": "int()"}, [
            ("sum", (), 1 + 3 + 7 + 9 + 10 + 14), ("missing_is_null", (), 1),
        ])  # fmt: skip
        machine, size = lib._machine, lib._machine.arch.word_size
        array = lib.symbols["other_array"].address

        def word(symbol: str) -> int:
            return machine.memory.read_uint(lib.symbols[symbol].address, size)

        assert word("to_other_third") == array + 8
        assert word("to_other_before") == array - 4
        assert machine.call(word("to_function"), "int(int)", 35) == 42
        assert machine.call(word("to_private_function"), "int(int)", 41) == 42
        place = lib.function("distance_place", "uintptr_t(int)")
        distance = lib.function("distance", "int(int)")
        near = (place(0) + distance(0)) & machine.arch.address_mask  # type: ignore[operator]
        assert near == lib.symbols["own_data"].address
        far = (place(1) + distance(1)) & machine.arch.address_mask  # type: ignore[operator]
        assert machine.call(far, "int(int)", 35) == 42


CALLS = [
    ("call_far", (5,), 16), ("tail_far", (5,), 21), ("call_cold", (5,), 106), ("tail_cold", (5,), 107),
    ("call_local", (5,), 2011), ("call_weak", (5,), -1), ("call_some", (4,), 104), ("call_some", (5,), 15),
]  # fmt: skip
CALL_FIXTURES = [
    *cases("calls"),
    *((target, f"objects/{name}") for name in ("sections", "unwind", "no_plt", "no_relax", "long_calls")
      for target in targets_of(f"objects/{name}")),
]  # fmt: skip


@pytest.mark.parametrize(("target", "name"), CALL_FIXTURES)
@pytest.mark.parametrize("imports", ["beside", "host"])
def test_calls_and_jumps(target: str, name: str, imports: str) -> None:
    """Callees in the image and, by a stub, in Python."""
    with Machine(arch_of(target)) as machine:
        sources = [fixture(target, name)]
        symbols = {}
        if imports == "beside":
            sources.append(compiled(variant_of(target).target.name, "other.c", *_model(target, name)))
        else:
            symbols["far_function"] = lambda value: value * 3
        lib = machine.load(sources, symbols=symbols)  # type: ignore[arg-type]
        answers(lib, {}, CALLS)
        for function, of in (("address_of_far", "far_function"), ("address_of_cold", "cold")):
            pointer = lib.function(function, "uintptr_t()")()
            assert isinstance(pointer, int)
            assert machine.call(pointer, "int(int)", 7) == (21 if of == "far_function" else 107)
            if imports == "beside":
                assert pointer == lib.symbols[of].address
