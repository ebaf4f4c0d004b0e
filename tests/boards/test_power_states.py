"""Power cuts: runs that end early, several starts, boot loops, wear, several devices and processes."""

from __future__ import annotations

from functools import partial

import pytest

from emu import Machine, NorFlash
from emu.boards import BoardError, Exploration, PowerCuts, Trouble, Workers
from tests.boards.test_power_cuts import EXAMPLE, cuts_of


def updater(early: bool) -> PowerCuts:
    """The power cuts of the own updater; importable by other processes."""
    cuts: PowerCuts = EXAMPLE.Updater("x86_64").cuts(early=early)
    return cuts


@pytest.mark.parametrize("target", ["x86_64", "thumb", "loongarch64"])
@pytest.mark.parametrize("fault", ["SOUND", "LATE_FLUSH"])
def test_runs_that_end_early_find_the_same(target: str, fault: str) -> None:
    results = []
    for early in (False, True):
        device = EXAMPLE.Updater(target, fault)
        try:
            sweep = device.cuts(early=early).sweep()
            device.flash.restore(device.start)
            found = device.cuts(early=early).explore(most_cuts=2)
        finally:
            device.machine.close()
        assert (found.early > 0) == early
        results.append((sweep.outcomes, sweep.states, found.states, found.bad, found.bad_states, found.closed))
    assert results[0] == results[1]


def test_processes_find_the_same_in_the_same_order() -> None:
    alone = updater(early=True).explore()
    with Workers(partial(updater, early=True), 2) as workers:
        cuts = updater(early=True)
        sweep = cuts.sweep(workers=workers)
        shared = cuts.explore(workers=workers)
    assert (alone.states, alone.bad, alone.longest, alone.closed) == (
        shared.states, shared.bad, shared.longest, shared.closed
    )  # fmt: skip
    assert sweep.outcomes == updater(early=True).sweep().outcomes


def test_shares_of_a_sweep_are_the_sweep() -> None:
    whole = updater(early=False).sweep()
    shares = [updater(early=False).sweep(share=(number, 3)) for number in range(3)]
    assert {each.cuts for share in shares for each in share.outcomes} == {each.cuts for each in whole.outcomes}
    assert sum(len(share.outcomes) for share in shares) == len(whole.outcomes)
    assert sum(share.states for share in shares) == whole.states
    assert min(share.states for share in shares) > 0
    with pytest.raises(BoardError, match="no part 3 of 3"):
        updater(early=False).sweep(share=(3, 3))
    with pytest.raises(BoardError, match="part 999 has no cut"):
        updater(early=False).sweep(share=(999, 1000))


def broken() -> PowerCuts:
    """A device whose recovery has a mistake in Python."""
    flash = NorFlash([(2, 64)])
    return cuts_of(flash, lambda: flash.program(0, b"abcd"), recover=lambda: [][1])


def test_a_process_that_fails_says_so() -> None:
    with Workers(broken, 1) as workers, pytest.raises(BoardError, match="IndexError"):
        broken().sweep(workers=workers)
    with pytest.raises(BoardError, match="0 processes"):
        Workers(broken, 0)


def test_contents_that_are_declared_the_same_are_one_state() -> None:
    """A counter that rises with every start leads to ever new contents."""
    flash = NorFlash([(3, 64)])

    def recover() -> None:
        count = int.from_bytes(flash.read(64, 4), "little") + 1
        flash.erase(64, 64)
        flash.program(64, (count & 0xFFFF_FFFF).to_bytes(4, "little"))

    def explored(**more: object) -> Exploration:
        flash.erase(0, 192)
        cuts = cuts_of(
            flash, lambda: flash.program(0, b"abcd"), recover=recover, modes=("before", "after"), **more
        )
        return cuts.explore(most_cuts=6)

    found = explored()
    assert not found.closed
    assert len(found.new) == found.longest == 6
    assert found.new[-1] > 0
    assert sum(found.new) == found.states
    assert f"(new with each number: {found.new[0]}, " in str(found)
    found = explored(same=lambda: flash.read(0, 64))
    assert (found.closed, found.states, found.new) == (True, 2, (2,))


# ---------------------------------------------------------------- starts


def counting(flash: NorFlash, needed: int, **more: object) -> PowerCuts:
    """A device that is well again after `needed` starts: each marks its progress in flash."""

    def recover() -> None:
        marks = flash.read(64, needed).count(0)
        if flash.read(0, 4) != b"abcd" and marks < needed:
            flash.program(64 + marks, b"\0")

    def check() -> str | None:
        done = flash.read(0, 4) == b"abcd" or flash.read(64, needed) == bytes(needed)
        return None if done else "not yet"

    return cuts_of(flash, lambda: flash.program(0, b"abcd"), recover=recover, check=check, **more)


def test_a_device_may_need_several_starts() -> None:
    flash = NorFlash([(2, 64)])
    assert {o.problem for o in counting(flash, 3, starts=2).sweep().bad} == {"not yet"}
    flash.erase(0, 128)
    found = counting(flash, 3, starts=3).explore()
    assert (found.closed, found.bad) == (True, ())
    flash.erase(0, 128)
    marks = {cut.start for o in counting(flash, 3, starts=3, modes=("after",)).sweep().outcomes for cut in o.cuts}
    assert marks == {1}


def test_a_boot_loop_is_told_from_a_start_that_may_still_help() -> None:
    flash = NorFlash([(2, 64)])
    stuck = cuts_of(
        flash, lambda: flash.program(0, b"ab"), check=lambda: None if flash.read(0, 1) == b"a" else "x"
    )
    assert {o.trouble for o in stuck.sweep().bad} == {Trouble.STUCK}
    flash.erase(0, 128)
    assert {o.trouble for o in counting(flash, 3).sweep().bad} == {Trouble.WRONG}
    circle = NorFlash([(2, 64)])

    def recover() -> None:  # erases, then programs, then erases …
        if circle.read(0, 2) != b"ab":
            if circle.read(64, 1) == b"\0":
                circle.erase(64, 64)
            else:
                circle.program(64, b"\0")

    def check() -> str | None:
        return None if circle.read(0, 2) == b"ab" else "no image"

    cuts = cuts_of(circle, lambda: circle.program(0, b"ab"), recover=recover, check=check, starts=10)
    found = cuts.explore()
    assert found.troubles == {Trouble.STUCK: found.bad_states}
    assert found.bad_states > 0


def test_a_start_without_end_is_proven_by_its_state() -> None:
    """The whole state is the same again, so no budget is needed to tell."""
    device = EXAMPLE.Updater("x86_64", "ENDLESS")
    try:
        device.machine.runner.max_instructions = 0
        found = device.cuts(early=True).explore(most_cuts=1)
        assert Trouble.ENDLESS in found.troubles
    finally:
        device.machine.close()


# ---------------------------------------------------------------- devices, wear


def test_two_devices_are_cut_in_one_update() -> None:
    inner, outer = NorFlash([(1, 64)], name="inner"), NorFlash([(2, 16), (1, 96)], name="outer")
    for flash in (inner, outer):
        flash.program(0, bytes(16))

    def update() -> None:
        outer.erase_sector(0)
        outer.program(0, b"new version")
        inner.erase_sector(0)
        inner.program(0, b"runs outer")
        outer.erase_sector(2)

    def recover() -> None:
        if inner.read(0, 10) != b"runs outer":
            update()

    def check() -> str | None:
        return None if outer.read(0, 11) == b"new version" else "no new version"

    cuts = PowerCuts(
        [inner, outer], update=update, restart=lambda: None, recover=recover, check=check, seeds=range(3)
    )
    sweep = cuts.sweep()
    assert {outcome.cuts[0].event.device for outcome in sweep.outcomes} == {"inner", "outer"}
    assert sweep.bad == []
    found = cuts.explore()
    assert (found.closed, found.bad) == (True, ())
    assert cuts.replay([str(sweep.outcomes[-1].cuts[0])]) is None
    with pytest.raises(BoardError, match="two flash devices are called 'inner'"):
        PowerCuts([inner, inner], update=update, restart=update, recover=update, check=lambda: None)


def test_wear_that_ends_a_device_is_found_when_it_counts() -> None:
    def cuts(endurance: int | None, **more: object) -> PowerCuts:
        flash = NorFlash([(1, 64), (1, 32)], endurance=endurance)

        def update() -> None:
            flash.erase_sector(0)
            flash.program(0, b"v2")

        def check() -> str | None:
            return None if flash.read(0, 2) == b"v2" else "no version"

        def recover() -> None:
            if check():
                update()

        return cuts_of(flash, update, recover=recover, check=check, **more)

    assert cuts(None).explore().bad == ()
    assert cuts(5).explore().bad == ()  # contents alone do not tell
    found = cuts(5, wear_counts=True).explore()
    assert found.closed
    assert len(found.bad) == 1
    assert "erased as often as it can be" in str(found.bad[0].problem)
    assert len(found.bad[0].cuts) == 5
    assert found.wear == 5


@pytest.mark.parametrize(
    "wrong", [{"modes": ()}, {"seeds": ()}, {"starts": 0}], ids=lambda wrong: next(iter(wrong))
)
def test_what_would_try_nothing_is_refused(wrong: dict[str, object]) -> None:
    flash = NorFlash([(2, 64)])
    with pytest.raises(BoardError, match="power cuts need"):
        cuts_of(flash, lambda: None, **wrong)
    with pytest.raises(BoardError, match="no cuts to repeat"):
        cuts_of(flash, lambda: flash.program(0, b"a")).replay([])


# ---------------------------------------------------------------- the hash of a state


def test_a_state_hash_tells_states_apart_during_a_call() -> None:
    with Machine("aarch64") as machine:
        assert machine.state_hash() is None
        address = machine.heap.malloc(64)
        before = machine.snapshot()
        first = machine.state_hash()
        machine.memory.write(address, b"x")
        changed = machine.state_hash()
        assert None not in (first, changed)
        assert first != changed
        machine.memory.write(address, b"\0")
        assert machine.state_hash() == first
        machine.cpu.write_register("x19", 5)
        assert machine.state_hash() != first
        machine.restore(before)
        assert machine.state_hash() == first
        machine.memory.map_anonymous(4096)
        assert machine.state_hash() is None


def test_a_state_hash_is_told_while_the_call_has_lent_a_buffer() -> None:
    """What is copied back after the call is kept outside of the machine."""
    hashes: list[bytes | None] = []

    def note(text: int) -> int:
        hashes.append(machine.state_hash())
        return text

    with Machine("aarch64") as machine:
        address = machine.define("note", (note, "long(long)"))
        snapshot = machine.snapshot()
        for content in (b"one", b"two", b"one"):
            machine.call(address, "long(void *)", bytearray(content))
            machine.restore(snapshot)
    assert None not in hashes
    assert hashes[0] == hashes[2] != hashes[1]
