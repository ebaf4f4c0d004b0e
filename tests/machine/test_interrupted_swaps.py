"""Swaps in host functions that a signal handler interrupts: the old version is whole, or the new one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from emu import Library, Machine
from relink.module import Stage
from tests.interrupts import interrupted
from tests.machine.test_swap import ONE, TWO, library, user
from tests.objects.build import compiled, linked

CALLER = "int ask(void); int go(void) { return ask() + 1; }\n"


class _Prepared:
    """A machine with a library, a user of it, and a guest function that calls a host function, which swaps."""

    def __init__(self, machine: Machine, target: str) -> None:
        self.machine, one = machine, library(target, ONE, "-g")
        self.old, self.users = machine.load(one), machine.load(user(target, one))
        self._new = library(target, TWO, "-g")
        caller = linked(target, [compiled(target, CALLER, "-O1", "-fPIC")], "-soname=libcaller.so")
        loaded = machine.load(caller, symbols={"ask": self._swap})
        self.swap: Callable[[], int] = loaded.function("go", "int(void)")
        self.image, self._count = self.old.image, len(machine.linker.images)
        self.users.function("remember", "void(void)")()

    def _swap(self) -> int:
        self.machine.swap(self.old, self._new, pointers="rewrite")  # of what calls have left on the stack
        return 0

    def is_committed(self) -> bool:
        """Whether the load of the new version has been completed."""
        images = self.machine.linker.images
        ready = [each for each in images if each.stage is Stage.INITIALISED and not each.lifetime.uncommitted]
        return len(ready) > self._count or self.image.closed

    def check(self) -> bool:
        """Whether the swap has happened; everything of it then has, or nothing."""
        happened = self.image.closed
        assert (self.image.successor is not None) is happened
        assert (self.old.image is not self.image) is happened
        assert len(self.machine.linker.images) == self._count
        factor = 3 if happened else 2
        results = [self.users.function(name, "int(int)")(10) for name in ("through", "direct", "later")]
        assert results == [10 * factor + 1, 10 * factor + 2, 10 * factor]
        return happened


@contextmanager
def _prepared(target: str, binding: str) -> Iterator[_Prepared]:
    with Machine(target, binding=binding) as machine:
        yield _Prepared(machine, target)


def _interrupt(target: str, binding: str, number: int, *, committed: bool) -> tuple[int, bool]:
    """How many points were passed, and whether the swap has happened."""
    with _prepared(target, binding) as made:
        counts = made.is_committed if committed else lambda: True
        passed = interrupted(made.swap, number, starts=True, counts=counts)
        happened = made.check()
        if not happened:
            assert made.swap() == 1
            made.machine.unload(made.users)
            assert made.old.function("twice", "int(int)")(1) == 3
        made.machine.unload(made.old)
        assert made.image.closed
        return passed, happened


@pytest.mark.parametrize(("target", "binding"), [("x86_64", "now"), ("aarch64", "lazy")])
def test_a_swap_whose_load_is_complete_is_completed(target: str, binding: str) -> None:
    points, _ = _interrupt(target, binding, 0, committed=True)
    assert points > 400
    for number in range(1, points + 1, points // 7):
        _, happened = _interrupt(target, binding, number, committed=True)
        assert happened, number


def test_a_swap_whose_load_is_not_complete_is_undone() -> None:
    points, _ = _interrupt("x86_64", "now", 0, committed=False)
    for number in range(points // 16, points // 2, points // 8):
        _, happened = _interrupt("x86_64", "now", number, committed=False)
        assert not happened, number


def test_handles_of_dlopen_go_over_once() -> None:
    """Handing over is repeated where it was interrupted."""
    with Machine("x86_64") as machine:
        old: Library = machine.load(library("x86_64", ONE, "-g"))
        handle = machine.link_maps.link_map_address(old.image)
        before = old.image
        with machine.loader.replacing(before, library("x86_64", TWO, "-g")) as (load, pending, _):
            pending.advance()
            new = load.plan.root
        machine.loader._hand_over(before, new)
        assert before.closed
        assert machine.link_maps.link_map_address(new) == handle
