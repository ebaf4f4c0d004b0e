"""Trap addresses: those of one kind that are added together, each of which is like one added alone."""

from __future__ import annotations

import pytest

from emu.run.traps import Trap, TrapTable
from relink.arch import ARCHITECTURES
from relink.errors import AddressSpaceError


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
