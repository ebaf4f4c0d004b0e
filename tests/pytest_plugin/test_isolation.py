"""Each test starts from the state after the load, on a machine that other tests have used."""

from __future__ import annotations

import pytest

from emu.build.targets import ALL
from tests.pytest_plugin.conftest import Session

pytest_plugins = ("pytester",)
pytest.importorskip("ziglang", reason="libraries are built with the ziglang wheel")

WHAT_TESTS_LEAVE = """
import pytest
from emu import GuestFault

SEEN = {}

def prepare(lib):
    lib.add(1, 1)                                            # part of the state that every test starts from

pytestmark = pytest.mark.relink(sources="*.c", prepare=prepare)

@pytest.fixture(autouse=True)
def pristine(machine, lib, guest):
    state = machine, lib.base, lib.allocated()
    assert SEEN.setdefault(machine.arch.name, state) == state  # the same machine, and the heap as it was
    assert lib.symbols["counter"].value == 1
    assert lib.thread_counter(1) == 1
    assert guest.stdout == b""
    assert len(machine.linker.images) == 1
    assert str(lib.add.prototype) == "int add(int a, int b)"
    assert lib.twice(2) == 4

def test_variables_and_output(lib):
    lib.symbols["counter"].value = 77
    assert lib.thread_counter(5) == 6
    lib.parse("abc")

def test_patches_and_mocks(machine, lib, guest):
    lib.replace("add", lambda a, b: 99)
    guest.mock("read_adc", returns=5)
    assert (lib.twice(1), lib.scaled(0)) == (99, 15)

def test_other_prototypes(machine, lib):
    lib.declare(machine.types("unsigned char add(unsigned char a, unsigned char b);"))
    assert lib.add(200, 100) == 44

def test_unloading(lib):
    lib.close()

def test_another_library(machine, lib):
    machine.load(lib.image.decoded.path, name="again", allow_unresolved=True)

def test_an_expected_fault(lib, guest):
    with guest.raises(GuestFault):
        lib.parse("x")

def test_a_thread(machine, lib):
    machine.threads.using(machine.new_thread()).__enter__()

def test_the_heap(lib):
    assert lib.allocated() != lib.allocated()

def test_nothing():
    pass
"""
MORE_C = r"""
#include <stdlib.h>
static _Thread_local int of_thread;
int thread_counter(int by) { return of_thread += by; }
long allocated(void) { return (long)malloc(64); }
"""


def test_nothing_that_a_test_leaves_reaches_the_next(session: Session, pytester: pytest.Pytester) -> None:
    (pytester.path / "more.c").write_text(MORE_C)
    result = session(WHAT_TESTS_LEAVE)
    result.assert_outcomes(passed=WHAT_TESTS_LEAVE.count("def test_") * len(ALL))
