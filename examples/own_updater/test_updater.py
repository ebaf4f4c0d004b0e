"""The updater and the device in pytest: `pytest -n auto test_updater.py` shares each sweep among its processes."""

import pytest
from board import Device
from updater import Updater


@pytest.mark.parametrize("arch", ["thumb", "aarch64", "riscv32"])
def test_the_updater_survives_every_cut(arch, power_cuts):
    power_cuts(Updater(arch).cuts())


@pytest.mark.parametrize("mistake", ["NONE", "HANGS"])
def test_the_device_goes_back_to_a_module_that_works(mistake, power_cuts):
    power_cuts(Device("cortex-m3", mistake=mistake).cuts())
