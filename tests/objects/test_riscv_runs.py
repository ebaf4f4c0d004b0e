"""RISC-V's static types at work in both widths: assembly that uses each, linked by the machine and called."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from relink.arch.riscv import RISCV64
from tests.objects.rows import implemented
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing

SOURCE = Path(__file__).with_name("riscv_runs.s")
FUNCTIONS = {
    name: (int(argument), int(result))
    for name, argument, result in re.findall(
        r"^ *(?:function|sum) (\w+).* # (\d+) -> (\d+)$", SOURCE.read_text(), re.M
    )
}


@pytest.fixture(scope="module", params=[64, 32], ids=["riscv64", "riscv32"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """All functions, in one object."""
    try:
        zig = str(find_zig())
    except CompilerMissing as missing:
        pytest.skip(str(missing))
    isa, output = f"riscv{request.param}", tmp_path_factory.mktemp("riscv") / "t.o"
    flags = [f"-march=rv{request.param}gc", f"-Wa,--defsym,XLEN={request.param}"]
    command = [zig, "clang", "-target", f"{isa}-linux-gnu", *flags, "-c", SOURCE, "-o", output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Machine(isa) as machine:
        yield machine.load(output)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_code_does_what_its_relocations_say(name: str, loaded: Library) -> None:
    argument, expected = FUNCTIONS[name]
    assert loaded.function(name, "long(long)")(argument) == expected


def test_every_type_is_executed() -> None:
    text = SOURCE.read_text()
    run = set(re.findall(r"\bat (\w+), ", text))
    run |= {name for pair in re.findall(r"^ *pair \w+, (\w+), \w+, (\w+), ", text, re.M) for name in pair}
    run |= {name for pair in re.findall(r"^ *sum \w+, \w+, (\w+), (\w+), ", text, re.M) for name in pair}
    run |= set(re.findall(r"^ *slot \w+, (\w+), ", text, re.M))
    assert implemented(RISCV64) - run <= {"ALIGN"}
