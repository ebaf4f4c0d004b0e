"""Flash models: what a datasheet says of erase, program and wear, listeners and torn operations, states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emu.boards import flash as flash_models
from emu.boards.errors import NotModelled
from emu.boards.flash import (
    Eeprom,
    FlashError,
    FlashGeometryError,
    FlashStatus,
    NandFlash,
    NorFlash,
    SectorMap,
)
from emu.boards.peripherals import SpiNor

BASE = 0x0800_0000
UNCHECKED: Any = flash_models  #: for arguments that a type checker refuses
STM32F4 = [(4, 16 << 10), (1, 64 << 10), (7, 128 << 10)]


def nor(**options: object) -> NorFlash:
    return NorFlash([(4, 64), (2, 128)], base=BASE, **options)  # type: ignore[arg-type]


def refused(operation: Callable[[], object]) -> FlashError:
    with pytest.raises(FlashError) as caught:
        operation()
    return caught.value


# ---------------------------------------------------------------- geometry


def test_a_sector_map_may_be_uneven() -> None:
    sectors = SectorMap.of(*STM32F4)
    assert (len(sectors), sectors.size) == (12, 1 << 20)
    assert [sectors.index(offset) for offset in (0, 0x3FFF, 0x4000, 0x1_0000, 0x2_0000, 0xF_FFFF)] == [
        0, 0, 1, 4, 5, 11
    ]  # fmt: skip
    assert sectors.whole(0x1_0000, 0x3_0000)
    assert not sectors.whole(0x1_0000, 0x2_0000)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: NorFlash([]), "without sectors"),
        (lambda: NorFlash([(0, 4096)]), "without sectors"),
        (lambda: NorFlash([(1, 0)]), "sector of 0 bytes"),
        (lambda: NorFlash([(1 << 40, 4096)]), "more than 0x100000000 bytes"),
        (lambda: NorFlash([(4, 100)], write_size=8), "unit of writing, 8 bytes"),
        (lambda: NorFlash([(4, 64)], write_size=0), "unit of writing, 0 bytes"),
        (lambda: NorFlash([(4, 64)], erased=0x55), "erased value of 0x55"),
        (lambda: NorFlash([(4, 64)], read_only=(4,)), "no sector 4"),
        (lambda: UNCHECKED.NorFlash(4096), r"sectors 4096: give a list of pairs \(number, size in bytes\)"),
        (lambda: UNCHECKED.NorFlash([4096]), r"sectors 4096: give pairs \(number, size in bytes\)"),
        (lambda: UNCHECKED.NorFlash([(4,)]), r"sectors \(4,\): give pairs"),
        (lambda: UNCHECKED.NorFlash((4, 4096)), "sectors 4: give pairs"),
        (lambda: UNCHECKED.NorFlash([(4, "4K")]), r"sectors \(4, '4K'\): give pairs"),
        (lambda: UNCHECKED.NorFlash("4K"), "sectors '4': give pairs"),
        (lambda: UNCHECKED.NorFlash([(4, 64)], write_size="8"), "write_size='8' is no whole number"),
        (lambda: UNCHECKED.NorFlash([(4, 64)], base="0x8000000"), "base='0x8000000' is no whole number"),
        (lambda: UNCHECKED.NorFlash([(4, 64)], endurance=-1), "an endurance of -1 erases"),
        (lambda: UNCHECKED.NandFlash(blocks="8"), "blocks='8' is no whole number"),
        (lambda: UNCHECKED.Eeprom(1e3), r"size=1000.0 is no whole number"),
        (lambda: NorFlash([(4, 64)], page_size=24, write_size=16), "page of 24 bytes"),
        (lambda: NorFlash([(4, 64)], read_disturb=0), "read disturb after 0 reads"),
        (lambda: NandFlash(blocks=0), "0 blocks"),
        (lambda: NandFlash(blocks=4, bad=(4,)), "no block 4"),
        (lambda: NandFlash(blocks=4, max_programs=0), "0 programs of a unit"),
        (lambda: Eeprom(100, page_size=32), "100 bytes in pages of 32"),
        (lambda: nor().lock(6), "no sector 6"),
    ],
)
def test_a_device_that_cannot_be_is_refused(make: Callable[[], object], problem: str) -> None:
    with pytest.raises(FlashGeometryError, match=problem):
        make()


# ---------------------------------------------------------------- NOR


@pytest.mark.parametrize("erased", [0xFF, 0])
def test_a_program_moves_bits_away_from_the_erased_value_until_an_erase(erased: int) -> None:
    flash = nor(erased=erased)
    first, second = (b"\xf0\x0f", b"\xf0\x00") if erased else (b"\x0f\xf0", b"\x0f\xff")
    flash.program(BASE + 3, first)
    flash.program(BASE + 3, second)
    assert flash.read(BASE + 3, 2) == second
    error = refused(lambda: flash.program(BASE + 3, first))
    assert (error.device, error.operation, error.address, error.size) == ("nor", "program", BASE + 3, 2)
    assert (error.reason, error.culprit) == (FlashStatus.NOT_ERASED, BASE + 4)
    assert flash.read(BASE + 3, 2) == second
    flash.erase(BASE, 64)
    assert flash.read(BASE, 64) == bytes([erased]) * 64
    assert flash.wear.tolist() == [1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("operation", "reason", "status"),
    [
        (lambda f: f.program(BASE + 4, b"abc"), FlashStatus.UNALIGNED, "a unit"),
        (lambda f: f.program(BASE + 2, b"abcd"), FlashStatus.UNALIGNED, "a unit"),
        (lambda f: f.program(BASE - 4, b"abcd"), FlashStatus.OUTSIDE, "before it"),
        (lambda f: f.program(BASE + f.size - 4, b"abcdefgh"), FlashStatus.OUTSIDE, "past its end"),
        (lambda f: f.program(0, b"abcd"), FlashStatus.OUTSIDE, "elsewhere"),
        (lambda f: f.program(BASE + 64, b"abcd"), FlashStatus.READ_ONLY, "read-only"),
        (lambda f: f.program(BASE + 60, b"abcdefgh"), FlashStatus.READ_ONLY, "from the sector before"),
        (lambda f: f.program(BASE + 128, b"abcd"), FlashStatus.LOCKED, "locked"),
        (lambda f: f.erase(BASE, 128), FlashStatus.READ_ONLY, "read-only"),
        (lambda f: f.erase(BASE + 4, 60), FlashStatus.NOT_SECTORS, "part of a sector"),
        (lambda f: f.erase(BASE, 60), FlashStatus.NOT_SECTORS, "part of a sector"),
        (lambda f: f.erase(BASE + f.size, 64), FlashStatus.OUTSIDE, "past its end"),
        (lambda f: f.erase(BASE, -64), FlashStatus.OUTSIDE, "negative"),
        (lambda f: f.erase_sector(6), FlashStatus.OUTSIDE, "no such sector"),
        (lambda f: f.program(BASE + 192, b"efgh"), FlashStatus.PROGRAMMED, "twice"),
        (lambda f: f.erase(BASE + 256, 128), FlashStatus.WORN_OUT, "worn out"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_device_refuses_changes_nothing(
    operation: Callable[[NorFlash], object], reason: FlashStatus, status: str
) -> None:
    flash = nor(write_size=4, program_once=True, read_only=(1,), endurance=2)
    flash.program(BASE + 192, b"\xff\xff\xff\xff")  # a unit programmed with ones has its code programmed too
    flash.erase_sector(4)
    flash.erase_sector(4)
    flash.lock(2)
    before, count = flash.state(), flash.operations
    assert refused(lambda: operation(flash)).reason is reason
    assert flash.status is reason
    flash.strict = False
    if reason is not FlashStatus.NOT_SECTORS:
        assert operation(flash) is reason
    assert flash.state() == before
    assert flash.operations == count


def test_a_device_that_is_not_strict_does_what_hardware_does() -> None:
    flash = nor(strict=False, page_size=16)
    assert flash.program(BASE, b"\xf0") is FlashStatus.OK
    assert flash.program(BASE, b"\x0f") is FlashStatus.NOT_ERASED
    assert flash.read(BASE, 1) == b"\0"
    assert flash.program(BASE + 30, b"abcd") is FlashStatus.CROSSES_PAGE
    assert flash.read(BASE + 16, 18) == b"cd" + b"\xff" * 12 + b"ab" + b"\xff" * 2
    assert flash.erase(BASE + 65, 1) is FlashStatus.NOT_SECTORS
    assert flash.wear.tolist() == [0, 1, 0, 0, 0, 0]
    assert flash.erase(BASE + 250, 10) is FlashStatus.NOT_SECTORS
    assert flash.wear.tolist() == [0, 1, 0, 1, 1, 0]


def test_a_write_may_span_sectors_and_an_empty_one_is_nothing() -> None:
    flash = nor()
    data = bytes(range(200))
    flash.program(BASE + 30, data)
    assert flash.read(BASE + 30, 200) == data
    assert flash.program(BASE, b"") is FlashStatus.OK
    assert flash.erase(BASE, 0) is FlashStatus.OK
    assert flash.operations == 1
    assert flash.sector_of(BASE + 256) == 4


def test_locks_end_with_the_power_and_read_only_sectors_do_not() -> None:
    flash = nor(read_only=(0,))
    flash.lock(1, 2)
    flash.unlock(1)
    flash.erase_sector(1)
    flash.power_cycle()
    flash.erase_sector(2)
    assert refused(lambda: flash.erase_sector(0)).reason is FlashStatus.READ_ONLY


def test_reads_disturb_a_sector_that_is_not_erased() -> None:
    one, other = (nor(read_disturb=100) for _ in range(2))
    for flash in (one, other):
        for _ in range(99):
            flash.read(BASE + 60, 8)  # two sectors
        assert flash.read(BASE, flash.size) != b"\xff" * flash.size or flash.reads.tolist()[0] == 100
    flipped = np.flatnonzero(one.contents != 0xFF)
    assert (flipped < 128).all()
    assert len(flipped) == 2
    assert one.contents.tolist() == other.contents.tolist()


def test_contents_are_one_array_that_only_operations_change() -> None:
    flash = nor()
    view = flash.contents
    flash.program(BASE, b"\x12")
    assert view[0] == 0x12
    assert flash.pages.ctypes.data % 4096 == 0
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


# ---------------------------------------------------------------- NAND, EEPROM


def test_nand_pages_are_programmed_in_order_and_so_often() -> None:
    nand = NandFlash(blocks=4, pages_per_block=4, page_size=16, spare_size=4, max_programs=2, bad=(2,))
    nand.program_page(0, b"data", b"ok")
    assert nand.read_page(0) == (b"data" + b"\xff" * 12, b"ok\xff\xff")
    nand.program_page(0, b"more", column=8)
    assert nand.read_page(0) == (b"data\xff\xff\xff\xffmore\xff\xff\xff\xff", b"ok\xff\xff")
    assert refused(lambda: nand.program_page(0, b"x", column=15)).reason is FlashStatus.TOO_MANY_PROGRAMS
    nand.program_page(2, b"later")
    assert refused(lambda: nand.program_page(1, b"x")).reason is FlashStatus.PAGE_ORDER
    nand.program_page(4, b"next block")
    assert refused(lambda: nand.program_page(4, b"xx")).reason is FlashStatus.NOT_ERASED
    nand.erase_block(0)
    nand.program_page(0, b"x")
    assert refused(lambda: nand.program_page(0, b"x" * 17)).reason is FlashStatus.CROSSES_PAGE
    assert refused(lambda: nand.program_page(16, b"x")).reason is FlashStatus.OUTSIDE


def test_nand_blocks_marked_by_the_factory_are_refused_and_seen() -> None:
    nand = NandFlash(blocks=4, pages_per_block=4, page_size=16, spare_size=4, bad=(2,))
    assert [nand.is_marked_bad(block) for block in range(4)] == [False, False, True, False]
    assert refused(lambda: nand.erase_block(2)).reason is FlashStatus.BAD_BLOCK
    assert refused(lambda: nand.program_page(8, b"x")).reason is FlashStatus.BAD_BLOCK


def test_an_eeprom_replaces_bytes_of_one_page_and_wears_it() -> None:
    eeprom = Eeprom(64, page_size=16, endurance=3)
    eeprom.program(4, b"\x0f")
    eeprom.program(4, b"\xf0")
    assert eeprom.read(4, 1) == b"\xf0"
    assert refused(lambda: eeprom.program(14, b"abcd")).reason is FlashStatus.CROSSES_PAGE
    eeprom.write(14, b"abcd" * 5)
    assert eeprom.read(14, 20) == b"abcd" * 5
    assert eeprom.wear.tolist() == [3, 1, 1, 0]
    assert refused(lambda: eeprom.program(0, b"x")).reason is FlashStatus.WORN_OUT
    wraps = Eeprom(64, page_size=16, strict=False)
    assert wraps.program(14, b"abcd") is FlashStatus.CROSSES_PAGE
    assert wraps.read(0, 16) == b"cd" + b"\xff" * 12 + b"ab"


def test_a_serial_flash_protects_no_blocks() -> None:
    """A status register without protection is written; write-enable is then over, as after all changes."""
    flash = SpiNor(NorFlash([(4, 4096)], base=0))

    def command(*sent: int) -> int:
        flash.select()
        received = [flash.transfer(byte) for byte in sent]
        flash.deselect()
        return received[-1]

    command(0x01, 0x04)  # without write-enable
    command(0x06)
    assert command(0x05, 0) == 2
    command(0x01, 0x00)
    assert command(0x05, 0) == 0
    command(0x06)
    with pytest.raises(NotModelled, match=r"protection of blocks of a serial flash: status register 0x04"):
        command(0x01, 0x04)
    assert command(0x05, 0) == 0


@pytest.mark.parametrize("data", [4, "text", None])
def test_what_is_no_bytes_is_not_programmed(data: object) -> None:
    flash = nor()
    with pytest.raises(FlashGeometryError, match="data is bytes or an array of them, not "):
        flash.program(BASE, data)  # type: ignore[arg-type]
    assert flash.operations == 0
