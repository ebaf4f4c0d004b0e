"""Power cuts at every operation of flash, and in the recoveries after them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emu import NorFlash
from emu.boards import BoardError, Cut, PowerCuts
from tests.boards.examples import example
from tests.objects.build import TARGETS

pytest.importorskip("ziglang", reason="the updater is compiled with the ziglang wheel")
pytest.importorskip("cryptography", reason="the example signs its packages (the extra `packages`)")


EXAMPLE = example("own_updater/simulate.py")


def case(name: str, on: str) -> object:
    """One of the example's cases."""
    of = EXAMPLE.CPUS[on][0] if on in EXAMPLE.CPUS else on
    return next(each for each in EXAMPLE.cases(of) if (each.name, each.on) == (name, on))


@pytest.mark.parametrize("target", TARGETS)
def test_a_sound_updater_survives_any_number_of_cuts(target: str) -> None:
    found = EXAMPLE.explored(case("SOUND", target))
    assert (found.closed, found.bad, found.bad_states) == (True, (), 0)
    assert found.states > 40
    assert found.cuts > found.states
    assert found.longest >= 3
    assert found.wear >= 1


@pytest.mark.sample(4)
@pytest.mark.parametrize("target", ["x86_64", "thumb", "riscv32"])
@pytest.mark.parametrize("fault", EXAMPLE.FAULTS[1:])
def test_every_seeded_fault_is_found_with_its_shortest_sequence(target: str, fault: str) -> None:
    found = EXAMPLE.explored(case(fault, target))
    assert found.bad
    assert {len(outcome.cuts) for outcome in found.bad} == {2 if fault == "TIDIES_UP" else 1}


def test_a_sequence_can_be_replayed_and_a_sweep_names_every_cut() -> None:
    device = EXAMPLE.Updater("aarch64", "LATE_FLUSH")
    try:
        cuts = device.cuts()
        sweep = cuts.sweep()
        operations = {outcome.cuts[0].event.number for outcome in sweep.outcomes}
        assert operations == set(range(1, len(operations) + 1))
        assert len(sweep.outcomes) == 6 * len(operations)  # before, after, and torn in four ways
        assert 0 < len(sweep.bad) < len(sweep.outcomes)
        for outcome in (*sweep.bad[:2], sweep.outcomes[0]):
            assert cuts.replay(outcome.cuts) == outcome.problem
        assert device.boot() in (1, 2)
        event = sweep.outcomes[0].cuts[0].event
        with pytest.raises(BoardError, match="does not happen"):
            cuts.replay([Cut(event, "torn", seed=99)])
    finally:
        device.machine.close()


def cuts_of(flash: NorFlash, update: Callable[[], object], **more: object) -> PowerCuts:
    plain = {"restart": lambda: None, "recover": lambda: None, "check": lambda: None}
    return PowerCuts([flash], update=update, **{**plain, **more})  # type: ignore[arg-type]


def test_what_cannot_be_swept_is_an_error() -> None:
    flash = NorFlash([(2, 256)])
    with pytest.raises(BoardError, match="changes no flash"):
        cuts_of(flash, lambda: None).sweep()
    with pytest.raises(BoardError, match="fails without a power cut: nothing runs"):
        cuts_of(flash, lambda: flash.program(0, b"abcd"), check=lambda: "nothing runs").explore()
    with pytest.raises(BoardError, match="there is no power cut 'sometimes'"):
        cuts_of(flash, lambda: None, modes=("sometimes",))


def test_limits_are_told_and_an_assertion_is_a_problem() -> None:
    flash = NorFlash([(2, 256)])

    def recover() -> None:
        if flash.read(0, 2) != b"ab":
            flash.erase(0, 256)
            flash.program(16, b"recovers")
            flash.program(0, b"ab")

    def check() -> None:
        assert flash.read(0, 2) == b"ab", "the mark is gone"

    def update() -> None:
        flash.program(0, b"ab")
        flash.program(300, b"data")

    cuts = cuts_of(flash, update, recover=recover, check=check, seeds=range(8))
    assert cuts.explore(most_states=1).closed is False
    assert cuts.explore(most_cuts=1).closed is False
    seen: list[int] = []
    found = cuts.explore(progress=lambda progress: seen.append(progress.left))
    assert found.closed
    assert seen[-1] == 0
    assert found.bad == ()
    flash.erase(0, 512)
    bad = cuts_of(flash, update, check=check).sweep()
    assert bad.bad
    assert all(str(outcome.problem).startswith("the mark is gone") for outcome in bad.bad)
