"""Variables of the hosted C library, as objects reach them that were compiled for an executable."""

from __future__ import annotations

import pytest

from emu import Machine
from relink import LinkErrors
from relink.arch import architecture
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

SOURCE = """
    typedef struct F F;
    extern F *stdin, *stdout, *stderr; extern char **environ; extern int optind;
    int fputs(const char *, F *);
    int print(void) { return fputs("x\\n", stdout); }
    int differ(void) { return stdout != stderr && stdin != stdout && environ != 0; }
    int get(void) { return optind; }
    void set(int value) { optind = value; }
    int *where(void) { return &optind; }
"""
MODELS = ("-fno-pic", "-fPIE", "-fPIC")
FAR = 0x2000_0000_0000


@pytest.mark.parametrize("target", TARGETS)
def test_objects_of_every_code_model_share_the_librarys_variables(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        libraries = [machine.load(compiled(target, SOURCE, model), name=f"{model}.o") for model in MODELS]
        for number, library in enumerate(libraries):
            assert library.function("print", "int(void)")() >= 0
            assert library.function("differ", "int(void)")() == 1
            library.function("set", "void(int)")(40 + number)
            assert [other.function("get", "int(void)")() for other in libraries] == [40 + number] * 3
        assert machine.libc.stdout.getvalue() == b"x\n" * 3


@pytest.mark.parametrize("target", [t for t in TARGETS if architecture(arch_of(t)).bits == 64])
def test_variables_are_in_reach_of_code_far_from_everything_else(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        near = machine.load(compiled(target, SOURCE, "-fPIC"), name="near.o")
        far = machine.load(compiled(target, SOURCE, "-fPIE"), name="far.o", base=FAR)
        far.function("set", "void(int)")(7)
        assert near.function("get", "int(void)")() == 7


@pytest.mark.parametrize("target", ["x86_64", "riscv64"])
def test_code_that_must_lie_low_is_refused_elsewhere(target: str) -> None:
    with Machine(arch_of(target)) as machine, pytest.raises(LinkErrors) as caught:
        machine.load(compiled(target, SOURCE, "-fno-pic"), base=FAR)
    assert "against optind [S + A]" in str(caught.value)
