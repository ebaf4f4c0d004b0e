"""The MCUboot example, with a boot loader of our own that has MCUboot's interface, everywhere and on a board."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.build.build import build
from emu.build.compilers import find
from emu.build.recipe import Recipe
from emu.build.store import Store, default_folder
from emu.build.targets import targets_of
from tests.boards.examples import example
from tests.objects.build import TARGETS

pytest.importorskip("ziglang", reason="the boot loader is compiled with the ziglang wheel")
_SOURCE = Path(__file__).with_name("sources") / "swap_loader.c"


EXAMPLE = example("mcuboot/device.py")
#: Whole pages, as a board needs; in the last sector of a slot the loader keeps its notes.
LAYOUT = EXAMPLE.Layout(((7, 512),), ((7, 512),), ((2, 512),))
UPGRADE = EXAMPLE.Upgrade(900, 1300, layout=LAYOUT)


def loader(target: str, board: str = "", fault: int = 0) -> list[Path]:
    (found,) = targets_of(target)
    flags = (f"-mcpu={board}", "-mfloat-abi=soft", "-DBARE") if board else ()
    recipe = Recipe(
        "loader",
        (_SOURCE,),
        _SOURCE.parent,
        kind="o",
        cflags=("-O2", "-ffreestanding", *flags),
        defines=(("FAULT", str(fault)),),
    )
    return build(recipe, find(found), Store(default_folder()))


@pytest.mark.sample(2)
@pytest.mark.parametrize(("target", "board"), [*((target, "") for target in TARGETS), ("thumb", "cortex-m3")])
def test_a_sound_loader_survives_every_cut(target: str, board: str) -> None:
    device = EXAMPLE.Device(loader(target, board), UPGRADE, board)
    try:
        sweep = device.cuts(seeds=range(2)).sweep()
        assert sweep.bad == []
        assert sweep.modes["torn"] == 2 * sweep.modes["before"] > 100
        assert sweep.early > 0
    finally:
        device.close()


def test_a_fault_is_found_with_one_cut_and_can_be_replayed() -> None:
    device = EXAMPLE.Device(loader("aarch64", fault=1), UPGRADE)
    try:
        cuts = device.cuts(modes=("before", "after"))
        bad = cuts.sweep().bad
        assert bad
        assert "slot has" in str(bad[0].problem)
        assert cuts.replay([str(cut) for cut in bad[0].cuts]) == bad[0].problem
    finally:
        device.close()
