"""Signals that a program sends itself, and its own faults: handlers run, return, and are left by siglongjmp."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Library, Machine
from emu.errors import GuestAbort, GuestFault
from tests.fixtures import arch_of
from tests.toolcache import OUTPUT, made
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing
from toolchains.targets import TARGETS

_SOURCE = Path(__file__).with_name("signals.c")


@pytest.fixture(params=TARGETS)
def library(request: pytest.FixtureRequest) -> Library:
    try:
        zig = find_zig()
    except CompilerMissing as error:
        pytest.skip(str(error))
    row = TARGETS[request.param]
    flags = ("-target", row.triple, *row.cflags, "-O1", "-fPIC", "-ffreestanding", "-w", "-c", str(_SOURCE))
    return Machine(arch_of(request.param)).load(made((str(zig), "clang", *flags, "-o", OUTPUT), (_SOURCE,)))


def test_handlers_run_where_the_signal_comes(library: Library) -> None:
    assert library.function("handled", "double(double)")(1.5) == 13
    assert library.function("ignored", "int(void)")() == 0
    assert library.function("blocked", "int(void)")() == 1
    assert library.function("nested", "int(void)")() == 3


def test_siglongjmp_leaves_a_handler(library: Library) -> None:
    jumped = library.function("jumped", "int(int)")
    assert jumped(200) == 100 * 11 + 100 * 10
    assert jumped(2) == 21


def test_abort_runs_a_handler_of_sigabrt_which_may_leave_it(library: Library) -> None:
    aborted = library.function("aborted", "int(int)")
    assert aborted(1) == 6
    with pytest.raises(GuestAbort, match="handler of SIGABRT returned"):
        aborted(0)
    assert aborted(1) == 6


def test_a_fault_whose_cause_the_handler_removed_is_run_again(library: Library) -> None:
    assert library.function("repaired", "int(void)")() == 1102 * 10 + 7
    assert library.function("repaired_in_the_engine", "int(void)")() == 1102 * 10 + 1
    with pytest.raises(GuestFault, match="unmapped memory at 0x10"):
        Machine(library.image.architecture.name).load(library.image.name).function("unhandled", "int(void)")()


def test_without_a_handler_raise_ends_the_program() -> None:
    with Machine("x86_64") as machine:
        address = machine.linker.resolver.find("raise", None, [], hosts=True).address[0]
        for number, name in ((10, "SIGUSR1"), (15, "SIGTERM"), (17, None), (0, None)):
            if name:
                with pytest.raises(GuestAbort, match=f"ended by its own {name}"):
                    machine.call(int(address), "int(int)", number)
            else:
                assert machine.call(int(address), "int(int)", number) == 0


def test_handlers_run_on_the_alternate_stack(library: Library) -> None:
    assert library.function("alternate", "int(void)")() == 1101200
