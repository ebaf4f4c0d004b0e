"""The oracle asked again, where it can be: what it says is what the golden files say, and real libraries agree.

A plain run asks about a few fixtures of each target; `-m real` asks about all.
"""

from __future__ import annotations

import pytest

from tests.fixtures import TARGETS, variant_of
from tests.grouping import each
from tests.oracle import ours
from tests.real import real_library, real_program
from toolchains.engine import find_zig
from toolchains.errors import ToolchainError
from toolchains.oracle import goldens, real
from toolchains.oracle.interpreters import LEAST_QEMU, installed, is_native, musl_path
from toolchains.oracle.run import Oracle
from toolchains.oracle.scenarios import no_oracle, scenarios, uses_musl
from toolchains.targets import VARIANTS

pytestmark = pytest.mark.real

#: One of each kind, for a run that asks for nothing in particular.
A_FEW = ("datarel", "tls", "ifunc_client", "relr", "startup/app", "versions/client_v2 with versions/v1")


def available_oracle(target: str) -> None:
    """Skips, with the reason, what cannot be asked about here."""
    variant = variant_of(target)
    try:
        find_zig()
        if installed(variant.target) is not None:
            pass
        elif not uses_musl(variant):
            real_library(variant.target.arch, "libc.so.6")
        elif not musl_path(variant.target).is_file():
            pytest.skip("musl for riscv32 is not built here: python -m toolchains oracle --arch riscv32 does it")
        if not is_native(variant.target):
            real_program(f"qemu-{variant.target.qemu}", LEAST_QEMU)
    except ToolchainError as error:
        pytest.skip(f"no oracle for {target} here: {error}")


@pytest.mark.sample(3)
@pytest.mark.parametrize("target", TARGETS)
def test_the_real_dynamic_linker_still_says_what_the_golden_says(
    target: str, request: pytest.FixtureRequest
) -> None:
    available_oracle(target)
    variant, known = VARIANTS[target], goldens.read(VARIANTS[target])
    everything = "real" in str(request.config.getoption("-m"))
    with Oracle(variant) as oracle:
        for scenario in scenarios(variant):
            if no_oracle(scenario, variant) is None and (everything or scenario.key in A_FEW):
                found = oracle.observe(scenario)
                assert goldens.differences(known.outcomes[scenario.key], found) == [], scenario.key


@each("soname", real.LIBRARIES, sample=2)
@pytest.mark.parametrize("arch", real.ARCHES)
def test_every_relocated_word_of_a_real_library_is_the_real_dynamic_linkers(arch: str, soname: str) -> None:
    if (reason := real.INTERPOSED.get((arch, soname))) is not None:
        pytest.skip(reason)
    real_library(arch, soname)
    try:
        path = real.library(arch, soname)
    except ToolchainError as error:
        pytest.skip(f"{soname} for {arch} is not complete: {error}")
    found = ours.observe_library(arch, path)
    assert len(found) > 10
    known = real.read().get(arch, {}).get(soname)
    mine = real.digest(path, found)
    if known is not None and known == mine:
        return
    # Another release than the golden's, or a difference: only the oracle can tell.
    available_oracle(f"{arch}-clang")
    with Oracle(VARIANTS[f"{arch}-clang"], fetched=True) as oracle:
        expected = oracle.observe_library(path)
    wrong = {
        hex(address): (expected.get(address), found.get(address))
        for address in expected.keys() | found.keys()
        if expected.get(address) != found.get(address)
    }
    assert wrong == {}
    if known is not None and known.file == mine.file:
        pytest.fail(f"the golden of {soname} for {arch} is old: python -m toolchains oracle --real --arch {arch}")
