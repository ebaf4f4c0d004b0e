"""A device with update slots: what its author writes, and that it survives power cuts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from emu import FlashError, NorFlash
from emu.boards import Board, FlashMemory, Ram
from relink import HostMemory, Linker, LoadOptions, Pages, Region
from tests.devices.own_device import BASE, FLAGS, Device, link_for
from tests.devices.sources_update import APP
from tests.objects.build import compiled


class FlashSpace(HostMemory):
    """An address space whose memory is flash: what a linker publishes there is programmed."""

    def __init__(self, arch: str, flash: NorFlash) -> None:
        super().__init__(arch)
        self.flash = flash

    def publish(self, region: Region, pages: Iterable[Pages]) -> None:
        super().publish(region, pages)
        self.flash.erase(region.address, region.size)
        self.flash.program(region.address, region.buffer)


def test_an_address_space_that_programs_flash_is_ten_lines() -> None:
    nor = NorFlash([(48, 4096)], base=BASE)
    linker = Linker(FlashSpace("arm", nor))
    source = "const int table[3] = {1, 2, 3}; int sum(int n) { return table[0] + table[n]; }\n"
    image = linker.load(compiled("thumb", source, *FLAGS), options=LoadOptions(base=BASE + 0x10000))
    board = Board("cortex-m3", memory=[FlashMemory(nor), Ram(0x2000_0000, 0x4000)])
    assert board.call(image.symbol("sum").address, "int(int)", 2) == 4
    with pytest.raises(FlashError, match="is not in the device"):
        linker.load(compiled("thumb", source, *FLAGS), name="other", options=LoadOptions(base=BASE + 0x30000))
    assert len(linker.images) == 1


def test_an_application_takes_what_it_needs() -> None:
    image = link_for(1, 0)
    blob = image.exported("bin")
    assert len(blob) < 200
    assert image.chunks()[0].address == BASE + 0x10000
    assert image.link_map().symbol("calls").address >= 0x2000_4000


def test_the_device_boots_the_old_or_the_new_application_after_every_cut() -> None:
    device = Device()
    assert device.install(link_for(1, 0).exported("bin")) == 0
    assert device.power_on() == BASE + 0x10000
    before, new = device.nor.state(), link_for(2, 1).exported("bin")
    assert device.install(new) == 1
    last = device.nor.operations
    assert device.power_on() == BASE + 0x20000
    outcomes = []
    for number in range(before.operations + 1, last + 1):
        for seed in (None, 1, 2):
            device.nor.restore(before)
            with device.cut(number, seed):
                device.install(new)
            outcomes.append(device.power_on())
            assert device.install(new) in (0, 1)  # and an update works afterwards
            assert device.power_on() in (BASE + 0x10000, BASE + 0x20000)
    assert 0 not in outcomes
    assert {BASE + 0x10000} <= set(outcomes) <= {BASE + 0x10000, BASE + 0x20000}
    assert "BRICK" not in device.uart.text


def test_the_installed_application_runs_where_it_lies() -> None:
    device, image = Device(), link_for(2, 0)
    device.install(image.exported("bin"))
    assert device.power_on() == BASE + 0x10000
    device.nor.program(0x0800_F000, bytes.fromhex("40007047"))  # board_read: lsls r0, r0, #1; bx lr
    app = device.machine.adopt(BASE + 0x10000, source=image.exported("elf"), relocated=True)
    calls = image.link_map().symbol("calls").address
    device.machine.memory.write(calls, (200).to_bytes(4, "little"))
    assert app.function("version")() == 2  # with its prototype from DWARF
    assert [app.function("tick")(pin) for pin in (3, 4)] == [2 * 6 + 201, 2 * 8 + 202]
    assert device.machine.memory.read_uint(calls, 4) == 202


def test_two_versions_differ_in_what_they_were_compiled_with() -> None:
    assert "VERSION" in APP
    assert link_for(1, 0).exported("bin") != link_for(2, 0).exported("bin")
