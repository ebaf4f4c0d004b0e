"""What a debugger of a guest reads of the link map, and that its entries are used again."""

from __future__ import annotations

from typing import Any

import pytest

from emu.calls.plan import CallPlan
from emu.errors import ConstructorFault
from tests.machine.dl import FLAGS, GLOBAL, NOW, Guest
from tests.machine.test_dl_queries import _DECLARED
from tests.objects.build import TARGETS, compiled, linked

pytestmark = pytest.mark.parametrize("target", TARGETS)


_DEBUGGED = (
    _DECLARED
    + """
extern struct r_debug _r_debug;
extern void _dl_debug_state(void);
struct r_debug *debug(void) { return &_r_debug; }
void *breakpoint(void) { return (void *)_dl_debug_state; }
"""
)


def test_a_debugger_hears_of_every_change(target: str) -> None:
    """At r_brk: the state, then the chain changes, then the state again, as _dl_debug_state is called by ld.so."""
    program = linked(target, [compiled(target, _DEBUGGED, *FLAGS)], "-soname", "libdebugged.so")
    with Guest(target, "one", "two") as guest:
        machine = guest.machine
        library_ = machine.load(program)
        word = machine.arch.word_size
        debug = library_.function("debug", "void *(void)")()
        assert debug == machine.link_maps.debug
        assert library_.function("breakpoint", "void *(void)")() == machine.link_maps.breakpoint
        assert machine.memory.read_uint(debug, 4) == 1
        assert machine.memory.read_uint(debug + 2 * word, word) == machine.link_maps.breakpoint
        heard: list[tuple[int, int]] = []
        call = machine.runner.call_planned

        def listening(plan: CallPlan, address: int, *rest: Any) -> object:
            if address == machine.link_maps.breakpoint:
                here, count = machine.memory.read_uint(debug + word, word), 0
                while here:
                    here, count = machine.memory.read_uint(here + 3 * word, word), count + 1
                heard.append((machine.memory.read_uint(debug + 3 * word, 4), count))
            return call(plan, address, *rest)

        machine.runner.call_planned = listening  # type: ignore[method-assign, assignment]
        handle = guest.open("libtwo.so", NOW | GLOBAL)
        assert heard == [(1, 3), (0, 5)]
        guest.close(handle)
        assert heard[2:] == [(2, 5), (0, 3)]
        machine.runner.call_planned = call  # type: ignore[method-assign]


def test_nothing_is_written_for_machines_that_never_ask(target: str) -> None:
    with Guest(target, "one") as guest:
        guest.machine.load("libone.so")
        assert not any(region.name == "[ld.so]" for region in guest.machine.memory.regions)


def test_entries_are_used_again_and_none_is_lost(target: str) -> None:
    with Guest(target, "one", "two", "crasher") as guest:

        def round_() -> None:
            guest.close(guest.open("libtwo.so"))
            with pytest.raises(ConstructorFault):
                guest.open("libcrasher.so")

        round_()
        before = [(region.address, region.size) for region in guest.machine.memory.regions]
        for _ in range(4):
            round_()
        assert [(region.address, region.size) for region in guest.machine.memory.regions] == before
