"""The example's whole device: packages through a UART, versions on trial, a watchdog; and the report of it all."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from emu import NorFlash
from emu.boards import BoardError, PowerCuts
from emu.boards.power import Chapter, history, picture, report
from tests.boards.examples import example

pytest.importorskip("ziglang", reason="the updater is compiled with the ziglang wheel")
pytest.importorskip("cryptography", reason="packages are signed with cryptography (the extra `packages`)")

EXAMPLE = example("own_updater/simulate.py")
MODULES = example("own_updater/modules.py")


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("cpu", "mistake"), [(cpu, ("HANGS", "NONE", "FAILS")[n % 3]) for n, cpu in enumerate(EXAMPLE.CPUS)]
)
def test_a_sound_device_survives_every_cut(cpu: str, mistake: str) -> None:
    """A module that hangs is reset by the watchdog, and the old one comes back; a good one is there in the end."""
    device = EXAMPLE.Device(cpu, mistake=mistake)
    try:
        device.run(device.package)
        assert (
            device.host.lines
            == {
                "NONE": ["ready 1", "ready 2"],
                "FAILS": ["ready 1", "rolled back", "ready 1"],
                "HANGS": ["ready 1", "watchdog", "rolled back", "ready 1"],
            }[mistake]
        )
        sweep = device.cuts().sweep()
        assert sweep.bad == []
        assert sweep.modes["torn"] == sweep.modes["before"] >= 7
    finally:
        device.machine.close()


@pytest.mark.sample(1)
@pytest.mark.parametrize(("cpu", "arch"), [("cortex-m3", "thumb"), ("rv32imac", "riscv32")])
def test_each_mistake_of_a_device_is_found(cpu: str, arch: str) -> None:
    bad = {case.name: case for case in EXAMPLE.cases(arch) if case.on == cpu and not case.sound}
    starved = EXAMPLE.explored(bad["STARVES_WATCHDOG"])
    assert {len(outcome.cuts) for outcome in starved.bad} == {1}
    assert "watchdog, ready 1" in str(starved.bad[0].problem)
    confirmed = EXAMPLE.explored(bad["CONFIRMS_FIRST (module FAILS)"])
    assert [str(outcome.problem) for outcome in confirmed.bad] == ["it says: ready 2"]
    with pytest.raises(BoardError, match="without a power cut: the watchdog resets the device for ever"):
        EXAMPLE.explored(bad["TRIES_AGAIN (module HANGS)"])


def test_packages_that_lie_on_the_line_write_nothing() -> None:
    device = EXAMPLE.Device("cortex-m3")
    try:
        device.start()
        before = device.flash.operations, device.flash.digest()
        good = device.package
        lines: list[tuple[str, bytes, int | None]]
        lines = [(name, package, None) for name, package in MODULES.bad_packages(device).items()]
        lines += [(f"{len(good)} bytes said to be {size}", good, size) for size in (0, 1, 100, len(good) - 1)]
        lines += [(f"{len(good)} bytes said to be {size}", good, size) for size in (len(good) + 1, 0xFFFF_FFFF)]
        for name, package, size in lines:
            device.run(package, size)
            assert device.host.lines == ["ready 1", "refused", "ready 1"], name
            assert (device.flash.operations, device.flash.digest()) == before, name
        device.run(good)
        assert device.host.lines == ["ready 1", "ready 2"]
    finally:
        device.machine.close()


@pytest.mark.parametrize("defines", [{"MISTAKE": "CRASHES"}, {"NEEDS_MISSING": 1}], ids=str)
def test_a_module_that_crashes_or_does_not_link_is_rolled_back(defines: dict[str, object]) -> None:
    device = EXAMPLE.Device("rv32imac")
    try:
        device.start()
        device.run(device.packed(2, device.module(2, **defines)))
        assert device.host.lines == ["ready 1", "rolled back", "ready 1"]
    finally:
        device.machine.close()


# ---------------------------------------------------------------- the report


class Page(HTMLParser):
    """Notes what a page has; fails where an end tag has no start tag."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_has_pictures_and_shortest_sequences_and_needs_nothing_else() -> None:
    device = EXAMPLE.Updater("thumb", "TIDIES_UP")
    try:
        found, sweep = device.cuts().explore(most_cuts=2), device.cuts().sweep()
        two = history(device.cuts(), found.bad[0].cuts, device.flash, title="a & b", areas=device.areas)
        one = picture(sweep, device.flash, title="<update>", areas=device.areas)
    finally:
        device.machine.close()
    page = Page()
    chapters = [
        Chapter("tidy <one>", found, (one, two)),
        Chapter("sweep", sweep),
        Chapter("none", "fails & ends"),
    ]
    page.feed(report("cuts & more", chapters))
    assert page.open == []
    assert set(page.links) == {"#c0", "#c1", "#c2"}
    assert {"tidy <one>", "fails & ends", *map(str, found.bad[0].cuts)} <= set(page.texts)
    svg = "{http://www.w3.org/2000/svg}"
    titles = [each.text for each in ElementTree.fromstring(one).iter(f"{svg}title")]
    assert len(titles) == len(set(titles)) > 5
    assert cut_titles(two, found.bad[0].cuts) == [*map(str, found.bad[0].cuts)]


def cut_titles(svg: str, cuts: Sequence[object]) -> list[str | None]:
    """The cuts among the texts of a picture's operations."""
    titles = [each.text for each in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
    return [title for title in titles if title and title in map(str, cuts)]


def test_a_history_of_two_devices_and_of_a_device_that_starts_twice() -> None:
    """Operations are numbered from each start, and a cut may be of the other device."""
    one, two = NorFlash([(2, 64)], name="nor <one>"), NorFlash([(2, 64)], name="two")

    def write() -> None:
        for flash in (one, two):
            if flash.read(0, 2) != b"ab":
                flash.erase(0, 64)
                flash.program(0, b"ab")

    def recover() -> None:
        if two.read(64, 1) != b"\0":
            two.program(64, b"\0")  # in the first start
        else:
            write()

    def check() -> str | None:
        return None if two.read(0, 2) == b"ab" else "text & \0 that no XML has"

    cuts = PowerCuts([one, two], update=write, restart=lambda: None, recover=recover, check=check, starts=2)
    for sequence, shown in (
        (["before nor <one>#1:erase@0x0+64", "after nor <one>#1:erase@0x0+64 in start 2"], 2),
        (["before two#1:erase@0x0+64", "before two#2:program@0x0+2 in start 2"], 0),
        (["before two#1:erase@0x0+64"], 0),
    ):
        drawn = history(cuts, sequence, one, title="two")
        assert cut_titles(drawn, sequence) == sequence[:shown]
        assert drawn.count("stroke-dasharray") == len(sequence)
    for flash in (one, two):
        flash.erase(0, 128)
    never = PowerCuts([one, two], update=write, restart=lambda: None, recover=lambda: None, check=check)
    bad = history(never, ["before two#1:erase@0x0+64"], two, title="two")
    assert "text &amp; \\x00 that" in bad
    ElementTree.fromstring(bad)
