"""Trap addresses: those of one kind that are added together, each of which is like one added alone."""

from __future__ import annotations

import pytest

from emu import Machine
from emu.run.traps import Trap, TrapTable
from relink.arch import ARCHITECTURES
from relink.errors import AddressSpaceError
from tests.counting import per_item, python_calls
from tests.elf.build_object import Sym, rela, simple_object


@pytest.fixture
def reached() -> list[str]:
    """What has been reached."""
    return []


@pytest.fixture
def traps() -> TrapTable:
    return TrapTable(ARCHITECTURES["x86_64"])


def test_traps_added_together_have_names_and_handlers_of_their_own(traps: TrapTable, reached: list[str]) -> None:
    def handle(what: str) -> int:
        reached.append(what)
        return len(reached)

    before = len(traps)
    addresses = traps.add_alike("missing", ["a", "b", "a"], handle)
    assert len(set(addresses)) == 3 == len(traps) - before
    found = [traps.get(address) for address in addresses]
    assert [trap.name for trap in found if trap] == ["missing a", "missing b", "missing a"]
    handlers = [traps.handler(address) for address in reversed(addresses)]
    assert [handler() for handler in handlers if handler] == [1, 2, 3]
    assert reached == ["a", "b", "a"]
    assert traps.named("missing a", "b") == [addresses[0], addresses[2]]


def test_one_of_them_can_be_exchanged_and_removed_alone(traps: TrapTable) -> None:
    first, second = traps.add_alike("missing", ["a", "b"], lambda what: ord(what))
    new = Trap("other", lambda: 7)
    before = traps.exchange(first, new)
    assert before.name == "missing a"
    assert before.handler() == ord("a")
    assert traps.get(first) is new
    traps.exchange(first, before)
    assert traps.named("missing a") == [first]
    traps.remove(first)
    assert traps.get(first) is None
    assert traps.handler(first) is None
    assert traps.freed(first) == "missing a"
    assert (handler := traps.handler(second)) is not None
    assert handler() == ord("b")


def test_freed_addresses_are_used_again(traps: TrapTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emu.run.traps._REMEMBERED", 0)
    one = traps.add("one", lambda: 0)
    traps.remove(one)
    addresses = traps.add_alike("missing", ["a", "b"], lambda what: 0)
    assert one in addresses
    assert traps.named("missing a", "missing b") == addresses


def test_more_than_there_is_room_for_are_refused_and_none_is_added() -> None:
    traps = TrapTable(ARCHITECTURES["x86_64"], (0x1000, 4 * TrapTable.spacing))
    with pytest.raises(AddressSpaceError, match="exhausted"):
        traps.add_alike("missing", ["a", "b", "c", "d"], lambda what: 0)
    assert len(traps) == 1
    assert len(traps.add_alike("missing", ["a", "b", "c"], lambda what: 0)) == 3


def undefined_functions(count: int) -> bytes:
    """An object with a word for each of so many functions that nothing defines."""
    symbols = [Sym(f"f{n}", bind=1) for n in range(count)]
    return simple_object(symbols, [rela(*[(8 * n % 16, 1, 1 + n, 0) for n in range(count)])])


def test_an_undefined_symbol_of_an_object_costs_the_same_among_many() -> None:
    with Machine("x86_64") as machine:

        def cost(count: int) -> int:
            content = undefined_functions(count)
            return python_calls(lambda: machine.load(content, allow_unresolved=True).close())

        cost(600)  # what is made once
        assert per_item(cost, 600) <= 40


def test_the_pages_of_undefined_symbols_are_used_again() -> None:
    with Machine("x86_64") as machine:
        content = undefined_functions(300)
        kept = machine.load(undefined_functions(3), allow_unresolved=True)
        for _ in range(2):
            machine.load(content, allow_unresolved=True).close()
        before = len(machine.memory.regions), len(machine.traps)
        for _ in range(3):
            library = machine.load(content, allow_unresolved=True)
            pages = machine.traps.named(*(f"unresolved f{n}" for n in range(300)))
            assert len({page // 4096 for page in pages}) == 303
            assert all(page % 4096 == 0 and machine.memory.is_free(page, 4096) for page in pages)
            library.close()
        assert (len(machine.memory.regions), len(machine.traps)) == before
        assert len(machine.traps.named("unresolved f0", "unresolved f1", "unresolved f2")) == 3
        kept.close()
