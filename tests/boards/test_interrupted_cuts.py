"""Signal handlers that raise in a sweep of power cuts: the next one finds what it would have found."""

from __future__ import annotations

import gc
import random
from functools import partial
from typing import Any

import pytest

from emu.boards import BoardError, Workers
from emu.boards.power.starts import Starts
from tests.boards.test_power_cuts import EXAMPLE
from tests.boards.test_power_states import updater
from tests.interrupts import interrupted


def test_a_sweep_that_is_interrupted_can_be_repeated() -> None:
    device = EXAMPLE.Updater("x86_64")
    try:
        cuts, thresholds = device.cuts(), gc.get_threshold()
        expected = cuts.sweep().outcomes
        points = interrupted(cuts.sweep, 0, starts=True)
        for number in sorted(random.Random(1).sample(range(1, points), k=6)):
            interrupted(cuts.sweep, number, starts=True)
            assert gc.get_threshold() == thresholds
            assert not device.flash.before + device.flash.after
            assert cuts.sweep().outcomes == expected
    finally:
        device.machine.close()


def test_listeners_are_removed_wherever_a_signal_handler_raises() -> None:
    device = EXAMPLE.Updater("x86_64")
    try:
        starts: Starts = device.cuts()._starts

        def whole() -> None:
            with starts._watching([], 1, True):
                pass

        points = interrupted(whole, 0, starts=True)
        for number in range(1, points + 1):
            interrupted(whole, number, starts=True)
            assert not device.flash.before + device.flash.after, number
        assert points > 8
    finally:
        device.machine.close()


@pytest.mark.parametrize("exchange", ["send", "recv"])
def test_processes_whose_exchange_was_interrupted_are_refused(exchange: str) -> None:
    """Their next answer would be taken for that to the next question."""
    cuts = updater(early=True)
    with Workers(partial(updater, early=True), 1) as workers:
        worker: Any = workers._workers[0]
        connection = worker.connection

        class Interrupted:
            def __getattr__(self, name: str) -> Any:
                return getattr(connection, name)

            def fileno(self) -> int:
                return int(connection.fileno())

        def interrupt(*arguments: object) -> None:
            getattr(connection, exchange)(*arguments)
            raise KeyboardInterrupt

        worker.connection = Interrupted()
        setattr(worker.connection, exchange, interrupt)
        with pytest.raises(KeyboardInterrupt):
            cuts.sweep(workers=workers)
        worker.connection = connection
        with pytest.raises(BoardError, match="was interrupted: make new Workers"):
            cuts.sweep(workers=workers)
