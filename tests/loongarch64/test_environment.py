"""Variables of the user's environment that icicle would read change nothing, and are there again afterwards."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from emu.cpu.hooks.host_code import host_function

VARIABLES = {
    "OPT_LEVEL": "3",  # as cargo sets it for build scripts
    "CRANELIFT_USE_EGRAPHS": "no",
    "ICICLE_ENABLE_JIT_VERIFIER": "perhaps",
    "ICICLE_ALWAYS_FLUSH_VARS": "1",
    "ICICLE_DISABLE_JIT_MEM": "1",
    "GHIDRA_SRC": "/nowhere",
}
_RUN = """
import os
from emu.cpu.icicle import hot_code
from tests.loongarch64.test_icicle_cpu import CODE, PAGE, RX, TRAPS, TRAPS_SIZE, IcicleCpu, pages, returning
before = dict(os.environ)
hot_code.default_jit = {jit}
for value in (1, 2):  # the second has the engine of the first
    cpu = IcicleCpu("loongarch64")
    cpu.set_trap_range(TRAPS, TRAPS_SIZE)
    cpu.write_register("ra", TRAPS)
    cpu.map(CODE, PAGE, RX, pages(returning(value)))
    cpu.run(CODE)
    print(cpu.read_register("a0"), cpu.compiled)
    if {jit}:
        cpu.engine.join()
    cpu.close()
assert dict(os.environ) == before
"""


@pytest.mark.parametrize("jit", [True, False])
def test_the_user_s_environment_does_not_matter(jit: bool) -> None:
    if host_function("environment.empty") is None:
        pytest.skip("there is no machine code for this host")
    done = subprocess.run(
        [sys.executable, "-c", _RUN.format(jit=jit)],
        env={**os.environ, **VARIABLES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"1 {jit}\n2 {jit}\n"), done.stderr


def test_engines_are_freed_after_the_modules_of_python() -> None:
    program = "from emu import Machine; machine = Machine('loongarch64')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
