"""Prototypes out of DWARF, for every target, and what broken DWARF does."""

from __future__ import annotations

import random
import re
from contextlib import suppress

import pytest

from emu.calls.plan import plan_call
from emu.calls.prototypes import parse_prototype
from emu.isa.registry import convention
from relink.elf import decode
from relink.elf.decode import decode_sections
from relink.elf.dwarf import debug_types, prototype, prototypes, variable_type
from relink.errors import DebugInfoError, ElfError
from tests.fixtures import TARGETS, arch_of, fixture
from tests.grouping import each

#: Of arch_fixtures/src/basic/prototypes.c. {size}: what size_t is.
EXPECTED = {
    "a_char": "char a_char(signed char narrow, unsigned char wide)",
    "a_short": "short a_short(short left, unsigned short right)",
    "a_long": "long a_long(long left, unsigned long right)",
    "a_long_long": "long long a_long_long(long long left, unsigned long long right)",
    "a_float": "float a_float(float value)",
    "a_double": "double a_double(double left, float right)",
    "a_bool": "_Bool a_bool(int value)",
    "a_colour": "unsigned int a_colour(unsigned int before)",
    "a_typedef": "unsigned int a_typedef(unsigned int id)",
    "a_string": "const char *a_string(const char *text, {size} offset)",
    "a_pointer": "void *a_pointer(void *pointer)",
    "nothing": "void nothing(void)",
    "visit": (
        "int visit(int (*function)(void *, const char *), void *context, const char *const *names, int count)"
    ),
    "point_sum": "int point_sum(const struct point *point)",
    "point_by_value": "struct point point_by_value(struct point point)",
    "union_word": "unsigned int union_word(union bits *value)",
    "variadic": "int variadic(int count, ...)",
    "old_style": "int old_style(void)",
    "grid": "double *grid(double (*matrix)[4], int row)",
}


def _in_short(text: str) -> str:
    """With base types as clang calls them: gcc's DWARF says "short int" and "long unsigned int"."""
    text = re.sub(r"\b((?:short|long)(?: long)?) unsigned int\b", r"unsigned \1", text)
    return re.sub(r"\b((?:short|long)(?: long)?) int\b", r"\1", text)


@each("name", ["basic-dwarf", "basic-dwarf5"])
@pytest.mark.parametrize("target", TARGETS)
def test_every_prototype_of_the_fixture_is_read_back(target: str, name: str) -> None:
    decoded = decode(fixture(target, name))
    size = "unsigned int" if convention(arch_of(target)).word_size == 4 else "unsigned long"
    for function, text in EXPECTED.items():
        found = prototype(decoded, function)
        assert found is not None, function
        assert _in_short(found) == text.replace("{size}", size)
        parsed = parse_prototype(found, arch_of(target))
        assert parsed.name == function
        if function != "point_by_value":
            plan_call(arch_of(target), parsed)
    assert variable_type(decoded, "tally") == "volatile int"
    assert prototype(decoded, "no_such_function") is None
    assert variable_type(decoded, "a_char") is None


def test_all_prototypes_are_a_mapping() -> None:
    found = prototypes(fixture("riscv64", "basic-dwarf5"))
    assert found["a_bool"] == EXPECTED["a_bool"]
    assert set(EXPECTED) <= set(found)
    assert len(found) == len(list(found))
    with pytest.raises(KeyError):
        found["missing"]


def test_a_library_without_dwarf_tells_nothing() -> None:
    decoded = decode(fixture("arm", "basic"))
    assert prototype(decoded, "a_char") is None
    assert not prototypes(decoded)


@pytest.mark.parametrize("target", ["x86_64", "riscv32"])
def test_broken_dwarf_tells_something_or_why_not(target: str) -> None:
    """Whatever its bytes: a text, None or a DebugInfoError."""
    whole = fixture(target, "basic-dwarf5").read_bytes()
    dice = random.Random(target)
    told = refused = 0
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(dice.choice((1, 4, 30, 300))):
            broken[dice.randrange(64, len(broken))] = dice.randrange(256)
        if dice.random() < 0.2:
            del broken[dice.randrange(64, len(broken)) :]
        try:
            types = debug_types(decode_sections(bytes(broken)))
        except ElfError:
            continue
        for function in ("a_char", "visit", "grid", "missing"):
            try:
                text = types.prototype(function)
            except DebugInfoError:
                refused += 1
            else:
                told += text is not None
        with suppress(DebugInfoError):
            types.variable_type("tally")
        list(types.prototypes())
    assert told
    assert refused
