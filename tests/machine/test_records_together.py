"""Records that are made at the same time, with breakpoints and watched memory: each is as it is alone."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from itertools import groupby

import pytest

import emu.cpu.icicle.events
import emu.cpu.unicorn.recording
from emu import Library, Machine
from emu.cpu.events import Recorded, Rows
from tests.fixtures import each_target
from tests.objects.build import compiled

SOURCE = """
unsigned table[8];
unsigned mix(volatile unsigned *to, unsigned count)
{
    unsigned sum = 0;
    for (unsigned number = 0; number < count; number++) {
        if (to[number & 7] & 1) sum += to[number * 3 & 7] + 1;
        to[number & 7] += number;
        if (sum % 5 == 2) sum ^= number;
    }
    return sum;
}
unsigned run(unsigned count) { return mix(table, count); }
"""
target = each_target()


@pytest.fixture
def library(machine: Machine, target: str, monkeypatch: pytest.MonkeyPatch) -> Library:
    """The functions; logs are full after a few rows."""
    monkeypatch.setattr(emu.cpu.unicorn.recording, "_ROWS", 7)
    monkeypatch.setattr(emu.cpu.icicle.events, "_ROWS", 7)
    return machine.load(compiled(target, SOURCE, "-g", "-O1"))


def _recorded(
    machine: Machine, library: Library, kinds: Iterable[Recorded], *, watched: bool = False
) -> list[list[list[int]]]:
    """The rows of each kind, of one and the same run."""
    found: list[list[list[int]]] = []
    table = library.image.symbol("table").address
    machine.memory.write(table, bytes(range(32)))
    with ExitStack() as stack:
        for kind in kinds:
            rows: list[list[int]] = []

            def note(more: Rows, rows: list[list[int]] = rows) -> None:
                rows.extend(more.tolist())

            stack.enter_context(closing(machine.cpu.events.record(kind, note)))
            found.append(rows)
        if watched:
            stack.enter_context(machine.watch(table + 4, 4, on="access", action=lambda hit: None))
            stack.enter_context(machine.breakpoint("mix", action=lambda hit: None))
        library["run"](20)
    return found


def _jumps(edges: list[list[int]]) -> set[tuple[int, int]]:
    """The edges that do not lead to the next instruction."""
    return {(before, address) for before, address, _ in edges if before not in (0, address)}


def _sequence(blocks: list[list[int]]) -> list[tuple[int, int]]:
    """Blocks that follow each other in memory are one."""
    numbered, start = [], 0
    for number, (address, size) in enumerate(blocks):
        start = number if not number or address != sum(blocks[number - 1]) else start
        numbered.append((start, address, size))
    parts = ([*rows] for _, rows in groupby(numbered, key=lambda row: row[0]))
    return [(rows[0][1], rows[-1][1] + rows[-1][2]) for rows in parts]


@pytest.mark.parametrize("watched", [False, True])
def test_each_record_is_as_it_is_alone(machine: Machine, library: Library, *, watched: bool) -> None:
    kinds = (Recorded.INSTRUCTIONS, Recorded.BLOCKS, Recorded.EDGES)
    _recorded(machine, library, ())  # calls are bound
    instructions, blocks, edges = (_recorded(machine, library, [kind])[0] for kind in kinds)
    for order in (kinds, kinds[::-1]):
        found = _recorded(machine, library, (*order, *order), watched=watched)
        for kind, rows in zip((*order, *order), found, strict=True):
            if kind is Recorded.INSTRUCTIONS:
                assert rows == instructions
            elif kind is Recorded.BLOCKS:
                assert _sequence(rows) == _sequence(blocks)
            else:
                assert _jumps(rows) == _jumps(edges)


@pytest.mark.parametrize("kind", list(Recorded))
def test_a_breakpoint_at_the_first_instruction_is_met_while_it_is_recorded(
    machine: Machine, library: Library, kind: Recorded
) -> None:
    met: list[int] = []
    with closing(machine.cpu.events.record(kind, lambda rows: None)):
        first = library["run"](20)
        machine.memory.write(library.image.symbol("table").address, bytes(32))
        with machine.breakpoint("run", action=lambda hit: met.append(hit.address)):
            assert library["run"](20) == first
    assert met == [library.function_symbol("run").address & machine.arch.code_address_mask]
