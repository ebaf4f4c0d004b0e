"""Steps that a signal handler interrupts at any point, also before a function's first instruction: a load or an
unload has happened, or it has not.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import count, pairwise

import pytest

from emu import Machine
from relink import HostMemory, Image, Linker
from relink.memory import address_space
from relink.memory.address_space import PAGE
from relink.memory.rollback import Rollback
from relink.module import Stage
from tests.fixtures import arch_of
from tests.interrupts import interrupted
from tests.linker.craft import Library
from tests.linker.helpers import linker_for, memory_of, snapshot
from tests.linker.test_transactions import good

_EVERY = 23  #: of the points of an operation on images one of so many


def _closed(rest: Rollback) -> None:
    try:
        rest.close()
    finally:
        if rest.calls:
            rest.close()


def test_all_steps_are_made_wherever_a_signal_handler_raises() -> None:
    for number in count(1):
        made = Rollback()
        rest = Rollback([(made.callback, (print, step)) for step in range(3)])
        passed = interrupted(lambda rest=rest: _closed(rest), number, starts=True)  # type: ignore[misc]
        assert [*dict.fromkeys(made.calls)] == [(print, (step,)) for step in (2, 1, 0)], number
        if passed < number:
            break
    assert number > 4


def test_a_step_that_raises_is_made_once_more_and_those_below_it() -> None:
    made: list[str] = []

    def bad() -> None:
        made.append("bad")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Rollback([(made.append, ("last",)), (bad, ())]).close()
    assert made == ["bad", "bad", "last"]


def _prepared() -> tuple[Linker, object]:
    linker = linker_for("x86_64", Library("x86_64", "libdep.so"))
    first = linker.load("libdep.so")
    assert first.references == 1
    return linker, snapshot(linker)


def _check(linker: Linker, before: object) -> None:
    assert not linker.under_way
    assert not linker.tls.modules
    assert not linker.resolver.unique
    assert len(linker.known._turns) == len(linker.known._keys) == 1
    assert {image for images in linker.known._images.values() for image in images} == {*linker.images}
    stubs = [region for region in memory_of(linker).regions if "stub" in region.name]
    for region in stubs:  # kept for the next load
        memory_of(linker).release(region)
    assert snapshot(linker) == before


def test_a_load_has_happened_or_not() -> None:
    content = good("x86_64").image()
    done = 0
    for number in count(1, _EVERY):
        linker, before = _prepared()
        passed = interrupted(lambda linker=linker: linker.load(content), number, starts=True)  # type: ignore[misc]
        if (found := linker.loaded("libgood.so")) is not None:
            done += 1
            assert found.stage is Stage.INITIALISED
            linker.unload(found)
        _check(linker, before)
        if passed < number:
            break
    assert done, "it came after the load too"
    assert number > 150


def test_a_further_load_is_counted_or_not() -> None:
    for number in count(1, 3):
        linker, _ = _prepared()
        image = linker.images[0]
        passed = interrupted(lambda linker=linker: linker.load("libdep.so"), number, starts=True)  # type: ignore[misc]
        assert image.lifetime.uncommitted == 0, number
        assert 1 <= image.references <= 2
        for _ in range(image.references):
            linker.unload(image)
        assert image.closed
        assert not linker.under_way
        if passed < number:
            break
    assert number > 60


def test_an_unload_has_happened_or_not() -> None:
    content = good("x86_64").image()
    happened = set[bool]()
    for number in count(1, _EVERY):
        linker, before = _prepared()
        image = linker.load(content)
        passed = interrupted(lambda it=(linker, image): it[0].unload(it[1]), number, starts=True)  # type: ignore[misc]
        happened.add(image.closed)
        if not image.closed:
            linker.unload(image)
        _check(linker, before)
        if passed < number:
            break
    assert happened == {True, False}
    assert number > 80


@pytest.mark.parametrize("target", ["x86_64", "loongarch64"])
def test_a_mapping_that_was_not_unmapped_can_be(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        memory = machine.memory
        memory.unmap(memory.map_anonymous(0x3000))
        before, used = memory.regions, memory.limit.used
        for number in count(1):
            address = memory.map_anonymous(0x3000)
            memory.protect_pages(address + PAGE, PAGE, address_space.Protection.R)
            passed = interrupted(lambda address=address: memory.unmap(address), number, starts=True)  # type: ignore[misc]
            if memory.region_at(address) is not None:
                memory.unmap(address)
            assert memory.regions == before, number
            assert memory.limit.used == used
            assert address not in memory._anonymous
            if passed < number:
                break
        assert number > 20


def test_a_signal_handler_may_load_at_any_point(monkeypatch: pytest.MonkeyPatch) -> None:
    search = bisect_right
    for number in range(12):
        memory = HostMemory("x86_64")
        kept = [memory.reserve(PAGE, name=f"{each}") for each in range(4)]
        gap = memory.reserve(PAGE).address
        left = iter(range(number + 1))

        def handled(*arguments: object) -> int:
            found = search(*arguments)  # type: ignore[call-overload]
            if next(left, -1) == number:  # noqa: B023
                monkeypatch.setattr(address_space, "bisect_right", search)
                memory.release(kept.pop(0))  # noqa: B023
                kept.append(memory.reserve(PAGE, name="of the handler"))  # noqa: B023
                monkeypatch.setattr(address_space, "bisect_right", handled)
            return int(found)

        monkeypatch.setattr(address_space, "bisect_right", handled)
        kept.append(memory.reserve(2 * PAGE, name="new"))
        assert memory.region_at(gap) is not None
        memory.release(kept.pop(1))
        monkeypatch.setattr(address_space, "bisect_right", search)
        regions = memory.regions
        assert [region.address for region in regions] == memory._starts == sorted(memory._starts)
        assert len(regions) == len(kept) + 1
        assert all(first.end < second.address for first, second in pairwise(regions))
        assert all(memory.region_at(region.address) is region for region in kept)


def test_observers_are_told_of_an_image_that_was_closed_once() -> None:
    linker = linker_for("x86_64")
    image = linker.load(Library("x86_64", "lib.so").image())
    told: list[tuple[str, Image | None]] = []

    def observer(event: object) -> None:
        told.append((type(event).__name__, getattr(event, "image", None)))
        raise ZeroDivisionError

    linker.observers.append(observer)
    with pytest.raises(ZeroDivisionError):
        linker.unload(image)
    assert told == [("ImageClosed", image)]
    assert not memory_of(linker).regions
