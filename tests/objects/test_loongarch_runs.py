"""LoongArch's static types at work: assembly that uses each, linked by the machine and called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from relink.arch.loongarch64 import LOONGARCH64
from relink.arch.spec import Role
from tests.objects.build import compiled
from tests.objects.rows import implemented

SOURCE = Path(__file__).with_name("loongarch_runs.s")
FUNCTIONS = {
    name: (int(argument), int(result))
    for name, argument, result in re.findall(
        r"^ *(?:function|sum) (\w+).* # (\d+) -> (\d+)$", SOURCE.read_text(), re.M
    )
}


def stub_by_hand() -> str:
    """The stub's bytes with an address, and a function that enters them."""
    assert LOONGARCH64.stub is not None
    code = ", ".join(map(str, LOONGARCH64.stub.code[: LOONGARCH64.stub.address_at]))
    return f".text\n.balign 8\n.Lstub: .byte {code}\n.dword twice\nfunction stub\nb .Lstub\n"


@pytest.fixture(scope="module")
def loaded() -> Iterator[Library]:
    """All functions, in one object."""
    plugin = compiled("loongarch64", SOURCE.read_text() + stub_by_hand(), language="assembler")
    with Machine("loongarch64") as machine:
        yield machine.load(plugin)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_code_does_what_its_relocations_say(name: str, loaded: Library) -> None:
    argument, expected = FUNCTIONS[name]
    assert loaded.function(name, "long(long)")(argument) == expected


def test_the_stub_arrives(loaded: Library) -> None:
    assert loaded.function("stub", "long(long)")(21) == 42


def test_every_type_is_executed() -> None:
    text = SOURCE.read_text()
    run = set(re.findall(r"\b(?:at|absolute|extreme) (\w+), ", text))
    for _, low, upper in re.findall(r"\b(?:absolute|extreme) (\w+), (\w+), (\w+), ", text):
        run |= {low, f"{upper}_LO20", f"{upper}_HI12"}
    for width in re.findall(r"^ *sum \w+, \S+, (\w+),", text, re.M):
        run |= {f"ADD{width}", f"SUB{width}"}
    run |= {f"SOP_{name}" for name in re.findall(r"\b(?:step|slot) (\w+)", text)}
    steps = {row.name for row in LOONGARCH64.relocations.values() if row.role is Role.STACK}
    assert (implemented(LOONGARCH64) | steps) - run <= {"ALIGN", "SOP_PUSH_ABSOLUTE"}
