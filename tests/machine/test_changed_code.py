"""Guests that store to pages of code that has run: what is asked of their stores is answered once for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from emu import Library, Machine
from emu.cpu.events import Recorded, Rows
from emu.debug.observation import Hit
from relink.memory.address_space import Protection
from tests.objects.build import compiled

SOURCE = """
unsigned char *page;
unsigned set(unsigned char *to) { page = to; return 0; }
unsigned put(unsigned offset, unsigned value)
{
    *(volatile unsigned *)(page + offset) = value;
    return *(volatile unsigned *)(page + offset);
}
unsigned fill(volatile unsigned *to, unsigned count)
{
    unsigned sum = 0;
    for (unsigned number = 0; number < count; number++) {
        to[number] = number;
        sum += to[number];
    }
    return sum;
}
unsigned enter(void) { return ((unsigned (*)(void))page)(); }
"""
#: A function that returns.
RETURN = {
    "x86_64": 0xC3, "i386": 0xC3, "aarch64": 0xD65F_03C0, "arm": 0xE12F_FF1E, "riscv64": 0x8067, "riscv32": 0x8067,
    "loongarch64": 0x4C00_0020,
}  # fmt: skip


@pytest.fixture(params=tuple(RETURN))
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machine(target: str) -> Iterator[Machine]:
    with Machine(target) as machine:
        yield machine


@pytest.fixture
def library(machine: Machine, target: str) -> Library:
    """The functions; what `enter` calls, on a page that may be written and executed, has run."""
    library = machine.load(compiled(target, SOURCE, "-g"))
    library["set"](machine.memory.map_anonymous(0x1000, Protection.R | Protection.W | Protection.X))
    _run_page(library, target)
    return library


def _run_page(library: Library, target: str) -> None:
    library["put"](0, RETURN[target])
    library["enter"]()


def test_watches_see_each_store(machine: Machine, library: Library, target: str) -> None:
    seen: list[tuple[int, int]] = []
    page = machine.memory.read_uint(library.image.symbol("page").address, machine.arch.word_size)

    def note(hit: Hit) -> None:
        assert hit.access is not None
        seen.append((hit.access.address - page, hit.access.value))

    with machine.watch(page, 16, action=note):
        for offset in (0, 4, 12):
            library["put"](offset, RETURN[target])
        library["enter"]()
        library["put"](8, 5)
    assert seen == [(0, RETURN[target]), (4, RETURN[target]), (12, RETURN[target]), (8, 5)]


@pytest.mark.parametrize("what", [Recorded.INSTRUCTIONS, Recorded.BLOCKS])
def test_records_have_each_instruction_once(
    machine: Machine, library: Library, target: str, what: Recorded
) -> None:
    counts: list[int] = []
    for _ in range(2):  # first a store to code that has run, then one to data
        rows: list[list[int]] = []

        def note(more: Rows, rows: list[list[int]] = rows) -> None:
            rows.extend(more.tolist())

        with closing(machine.cpu.events.record(what, note)):
            library["put"](0, RETURN[target])
        counts.append(len(rows) if what is Recorded.INSTRUCTIONS else sum(size for _, size in rows))
    assert counts[0] == counts[1]


def test_breakpoints_stop_once_at_each_instruction(machine: Machine, library: Library, target: str) -> None:
    function, steps = library.function_symbol("put"), list[int]()
    with closing(machine.cpu.events.record(Recorded.INSTRUCTIONS, lambda rows: steps.extend(rows[:, 0].tolist()))):
        library["put"](0, RETURN[target])
    places = [at for at in steps if function.address <= at < function.address + function.size]
    _run_page(library, target)
    met: list[int] = []
    for place in places:
        machine.breakpoint(place, action=lambda hit: met.append(hit.address))
    library["put"](0, RETURN[target])
    assert met == places


def test_a_record_has_stores_of_code_to_its_own_page_once(machine: Machine, library: Library) -> None:
    """What runs on the page is a copy of `fill`, which has stores in the middle of blocks."""
    function = library.function_symbol("fill")
    page = machine.memory.read_uint(library.image.symbol("page").address, machine.arch.word_size)
    machine.memory.write(page, machine.memory.read(function.address, function.size))
    data = machine.memory.map_anonymous(0x1000)
    found: list[list[list[int]]] = []
    for code, to in ((function.address, data), (page, page + 0x800)):
        for what in (Recorded.INSTRUCTIONS, Recorded.BLOCKS):
            rows: list[list[int]] = []

            def note(more: Rows, rows: list[list[int]] = rows) -> None:
                rows.extend(more.tolist())

            with closing(machine.cpu.events.record(what, note)):
                assert machine.call(code, "unsigned fill(void *, unsigned)", to, 5) == 10
            found.append([[at - code, size] for at, size in rows])
    (instructions, blocks), (same, parts) = found[:2], found[2:]
    assert instructions == same
    assert sum(size for _, size in blocks) == sum(size for _, size in parts)
