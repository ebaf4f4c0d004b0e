"""Arm's static types at work: assembly that uses each, linked by the machine and called."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from relink.arch.arm import ARM
from relink.arch.spec import Stub
from tests.objects.build import compiled
from tests.objects.rows import implemented, row_of

SOURCE = Path(__file__).with_name("arm_runs.s")
FUNCTIONS = {
    name: (int(argument), int(result))
    for name, argument, result in re.findall(r"^function (\w+), \w+ @ (\d+) -> (\d+)$", SOURCE.read_text(), re.M)
}

#: What is not executed here: there is no address below 4096 to name, no static base near enough for one or two
#: groups, no Armv8.1-M core, and no name for THM_GOT_BREL12 in the assembler.
NOT_RUN = {
    "ABS12", "THM_ABS5", "THM_BF16", "THM_BF12", "THM_BF18", "THM_GOT_BREL12", "GOTOFF12", "MOVW_BREL",
    "THM_MOVW_BREL", "ALU_SB_G0", "ALU_SB_G1", "LDR_SB_G0", "LDR_SB_G1", "LDRS_SB_G0", "LDRS_SB_G1", "LDC_SB_G0",
    "LDC_SB_G1",
}  # fmt: skip

STUBS = {"stub": ARM.stub, "baseline": ARM.baseline_stub}


def stub_by_hand(name: str, stub: Stub | None) -> str:
    """For each target, the stub's bytes with its address, and a function of either state that enters it."""
    assert stub is not None
    code = ", ".join(map(str, stub.code[: stub.address_at]))
    entry = row_of(ARM, "THM_CALL").entry - 1
    return "".join(f"""
    .balign 4
{name}_{target}: .byte {code}
    .word {target}
function {name}_{target}_arm, arm
    b {name}_{target}
function {name}_{target}_thumb, thumb
    at THM_JUMP24, {name}_{target}, .inst.w {0xF000B800 + (entry - 4) // 2:#x}
""" for target in ("a_double", "t_double"))


@pytest.fixture(scope="module")
def loaded() -> Iterator[Library]:
    """All functions, in one object."""
    text = SOURCE.read_text() + "".join(stub_by_hand(name, stub) for name, stub in STUBS.items())
    plugin = compiled("arm", text, language="assembler")
    with Machine("arm") as machine:
        yield machine.load(plugin)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_instruction_does_what_its_relocation_says(name: str, loaded: Library) -> None:
    argument, expected = FUNCTIONS[name]
    assert loaded.function(name, "int(int)")(argument) == expected


@pytest.mark.parametrize("target", ["a_double", "t_double"])
@pytest.mark.parametrize("entry", ["arm", "thumb"])
@pytest.mark.parametrize("stub", STUBS)
def test_a_stub_goes_from_either_state_to_either(stub: str, entry: str, target: str, loaded: Library) -> None:
    assert loaded.function(f"{stub}_{target}_{entry}", "int(int)")(21) == 42


def test_every_type_is_executed_or_named() -> None:
    run = set(re.findall(r"\bat (\w+),", SOURCE.read_text()))
    assert implemented(ARM) <= run | NOT_RUN
    assert not run & NOT_RUN
