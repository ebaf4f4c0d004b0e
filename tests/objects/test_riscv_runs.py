"""RISC-V's static types at work in both widths: assembly that uses each, linked by the machine and called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from relink.arch import Architecture
from relink.arch.riscv import RISCV32, RISCV64
from tests.objects.build import compiled
from tests.objects.rows import implemented

SOURCE = Path(__file__).with_name("riscv_runs.s")
FUNCTIONS = {
    name: (int(argument), int(result))
    for name, argument, result in re.findall(
        r"^ *(?:function|sum) (\w+).* # (\d+) -> (\d+)$", SOURCE.read_text(), re.M
    )
}


def stub_by_hand(page: Architecture) -> str:
    """The stub's bytes with an address, and a function that enters them."""
    assert page.stub is not None
    code, word = ", ".join(map(str, page.stub.code[: page.stub.address_at])), f".{page.word_size}byte"
    return f".text\n.balign 8\n.Lstub: .byte {code}\n{word} twice\nfunction stub\nj .Lstub\n"


@pytest.fixture(scope="module", params=[RISCV64, RISCV32], ids=lambda page: page.name)
def loaded(request: pytest.FixtureRequest) -> Iterator[Library]:
    """All functions, in one object."""
    page: Architecture = request.param
    text, width = SOURCE.read_text() + stub_by_hand(page), f"-Wa,--defsym,XLEN={page.bits}"
    plugin = compiled(page.name, text, width, language="assembler")
    with Machine(page.name) as machine:
        yield machine.load(plugin)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_code_does_what_its_relocations_say(name: str, loaded: Library) -> None:
    argument, expected = FUNCTIONS[name]
    assert loaded.function(name, "long(long)")(argument) == expected


def test_the_stub_arrives(loaded: Library) -> None:
    assert loaded.function("stub", "long(long)")(21) == 42


def test_every_type_is_executed() -> None:
    text = SOURCE.read_text()
    run = set(re.findall(r"\bat (\w+), ", text))
    run |= {name for pair in re.findall(r"^ *pair \w+, (\w+), \w+, (\w+), ", text, re.M) for name in pair}
    run |= {name for pair in re.findall(r"^ *sum \w+, \w+, (\w+), (\w+), ", text, re.M) for name in pair}
    run |= set(re.findall(r"^ *slot \w+, (\w+), ", text, re.M))
    assert implemented(RISCV64) - run <= {"ALIGN"}
