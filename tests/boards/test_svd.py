"""Devices from SVD files."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu.boards import BoardError
from emu.boards.svd import Svd
from tests.boards.guests import HERE, board, ldr, load, store
from tests.boards.programs import HERE as FOLDER

pytest.importorskip("cmsis_svd", reason="cmsis-svd is not installed")

FILE = FOLDER / "sources" / "chip.svd"


def test_registers_and_fields_have_the_names_of_the_file() -> None:
    chip = Svd(FILE)
    assert (chip.names, chip.irq("UART0"), chip.address("UART1")) == (["UART0", "UART1"], 5, 0x4000_5000)
    uart = chip.device("UART0")
    assert [register.name for register in uart.registers.values()] == ["DATA", "STATE", "CH0", "CH1", "CH2", "CH3"]
    uart.write(4, 4, 0xFF)  # read-only
    uart.write(0x14, 4, 7)
    assert (uart.STATE, uart.STATE_TXE, uart.CH1, uart.read(0x800, 4)) == (2, 1, 7, 0)  # type: ignore[attr-defined]


def test_a_class_of_the_file_is_derived_and_fields_follow_others() -> None:
    chip = Svd(FILE)
    written: list[int] = []

    class Uart(chip.device_class("UART0")):  # type: ignore[misc]
        def on_write_DATA(self, value: int) -> None:  # noqa: N802
            written.append(value)
            self.STATE_ERR = value & 15

        def on_read_CH0(self) -> int:  # noqa: N802
            return 99

    devices = chip.devices(
        {"UART0": Uart(irq=5), "UART1": chip.device("UART1", follows={"STATE_TXE": "STATE_ERR"})}
    )
    code = [*load(1, 0x4000_4000), *load(0, 0x1234), store(0, 1), ldr(2, 1, 4), ldr(3, 1, 0x10)]
    guest = board([*code, *load(1, 0x4000_5000), ldr(4, 1, 4), HERE], devices)
    guest.run(max_instructions=20)
    assert written == [0x1234]
    assert guest.machine.cpu.read_registers(("r2", "r3", "r4")) == [0x42, 99, 0]


_ARRAYS = """
<register><name>MODE</name><description>d</description><addressOffset>0x20</addressOffset><fields><field>
<dim>4</dim><dimIncrement>2</dimIncrement><name>PIN%s</name><bitOffset>0</bitOffset><bitWidth>2</bitWidth>
</field></fields></register>
<register><dim>1024</dim><dimIncrement>4</dimIncrement><name>MEM%s</name><description>d</description>
<addressOffset>0x800</addressOffset></register>
</registers>"""


def test_arrays_of_fields_and_of_registers_that_reach_the_next_peripheral(tmp_path: Path) -> None:
    file = tmp_path / "chip.svd"
    file.write_text(FILE.read_text().replace("</registers>", _ARRAYS, 1))
    devices = Svd(file).devices()
    first = devices[0x4000_4000]
    assert (first.size, devices[0x4000_5000].size) == (0x1000, 0x1800)
    first.write(0x20, 4, 0xFFFF_FF93)
    assert [getattr(first, f"MODE_PIN{number}") for number in range(4)] == [3, 0, 1, 2]
    assert first.values["MODE"] == 0x93
    board([HERE], devices)


def test_what_the_file_has_not_is_an_error(tmp_path: object) -> None:
    chip = Svd(FILE)
    with pytest.raises(BoardError, match="no peripheral 'SPI'; it has UART0, UART1"):
        chip.device("SPI")
    with pytest.raises(BoardError, match="no field 'X'"):
        chip.device("UART0", follows={"X": "STATE_ERR"})
    with pytest.raises(BoardError, match=r"guests\.py"):
        Svd(FOLDER / "guests.py")
