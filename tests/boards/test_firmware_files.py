"""Files that are no firmware for a board: damaged, cut short, of another architecture; and what a load leaves."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.boards import Board, FirmwareError, FlashMemory, Ram, Rom
from emu.boards.firmware import Firmware, Symbol
from emu.boards.firmware_files import read_firmware
from emu.boards.flash import NorFlash
from emu.errors import PatchError
from tests.boards.guests import HERE, RAM, board, halfwords
from tests.boards.programs import HERE as FOLDER

BUILT = FOLDER / "built"
NAMES = ("exceptions-m3", "modes-a7-thumb", "el1-a53", "user_mode-rv32imac", "protected-i386")
FLASH = 0x0800_0000


def read(name: str) -> bytes:
    return (BUILT / f"{name}.elf").read_bytes()


def changed(name: str, offset: int, format: str, value: int) -> bytes:
    data = bytearray(read(name))
    struct.pack_into(f"<{format}", data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed("exceptions-m3", 18, "H", 62), r"e_machine 62, 32 bits"),
        (changed("el1-a53", 18, "H", 8), r"e_machine 8, 64 bits"),
        (changed("exceptions-m3", 5, "B", 2), "big-endian"),
        (changed("exceptions-m3", 4, "B", 3), "EI_CLASS is 3"),
        (changed("exceptions-m3", 16, "H", 1), "is ET_REL: only executables"),
        (read("exceptions-m3")[:40], "header is cut short"),
        (read("exceptions-m3")[:60], "reach past the end"),
        (changed("exceptions-m3", 32, "I", 0)[:600], "cut short at 0x258"),  # without section headers
        (changed("exceptions-m3", 52 + 20, "I", 4), "takes 0x4 in memory"),
        (changed("exceptions-m3", 32, "I", 0xFFFF_0000), "tables of sections, symbols or build attributes"),
    ],
)
def test_elf_files_that_cannot_be_loaded_say_why(data: bytes, words: str) -> None:
    with pytest.raises(FirmwareError, match=words):
        read_firmware(data)


def test_segments_with_different_bytes_for_one_address_are_refused() -> None:
    data = bytearray(read("exceptions-m3"))
    header = bytearray(data[52:84])
    struct.pack_into("<I", header, 4, 0)  # another part of the file for the same address
    data[84:116] = header
    struct.pack_into("<H", data, 44, 2)
    with pytest.raises(FirmwareError, match="different bytes for 0x0"):
        read_firmware(bytes(data))


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_files_are_read_or_refused_as_firmware(name: str, data: st.DataObject) -> None:
    content = bytearray(read(name))
    header = struct.unpack_from("<Q" if content[4] == 2 else "<I", content, 40 if content[4] == 2 else 32)[0]
    places = st.integers(0, 200) | st.integers(header, len(content) - 1) | st.integers(0, len(content) - 1)
    for place in data.draw(st.lists(places, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(len(content) // 2, len(content)))
    made = Board("cortex-m3", memory=[Rom(0, 0x1000)])
    with suppress(FirmwareError):
        made.load(bytes(content[:size]))


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (None, {}, "a path, bytes or a Firmware, not None"),
        (4, {"at": 0}, "a path, bytes or a Firmware, not 4"),
        ("fir\0mware", {}, "null"),
        (b"\0" * 4, {"at": "0x0"}, "is a number, not at='0x0'"),
        (b"\0" * 4, {"at": -4}, "is a number, not at=-4"),
        (read("exceptions-m3"), {"at": 0}, r"addresses of its own \(ELF\)"),
        (b":0400000001020304F2\n:00000001FF\n", {"at": 0}, r"addresses of its own \(hex\)"),
    ],
)
def test_what_is_no_firmware_is_refused(source: object, options: dict[str, int], words: str) -> None:
    with pytest.raises(FirmwareError, match=words):
        board([HERE]).load(source, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_all_kinds_are_loaded_also_over_regions_that_touch(kind: Callable[[bytes], bytes]) -> None:
    made = Board("cortex-m3", memory=[Rom(0, 0x1000), Rom(0x1000, 0x1000), Ram(0x3000, 0x1000)])
    made.load(kind(b"\x5a" * 0x1800), at=0)
    assert made.machine.memory.read(0xFFC, 8) == b"\x5a" * 8
    for size in (0x2001, 0x3800):
        with pytest.raises(FirmwareError, match="no memory of the board holds"):
            made.load(bytes(size), at=0)


def test_a_refused_load_changes_neither_entry_nor_convention() -> None:
    made = Board("rv32imac", memory=[Ram(RAM, 0x1000)])
    made.profile.entry = None  # type: ignore[attr-defined]
    made.load(Firmware("good", ((RAM, b"\x73\0\x50\x10"),), entry=RAM))  # wfi
    for bad in (
        Firmware("bad", ((0, b"\0"),), entry=RAM + 64),
        Firmware("bad", (), arch="riscv32", float_abi="soft-float", entry=RAM + 64),
        Firmware("bad", ((RAM, b"\0"),), arch="arm", entry=RAM + 64),
    ):
        with pytest.raises(FirmwareError):
            made.load(bad)
    made.reset()
    assert made.pc == RAM
    fresh = Board("rv32imac", memory=[Ram(RAM, 0x1000)])
    with pytest.raises(FirmwareError, match="nothing to load"):
        fresh.load(Firmware("bad", (), arch="riscv32", float_abi="hard-float"))
    assert fresh.float_abi is None


def test_bytes_leave_what_the_firmware_before_has_told() -> None:
    made = Board("cortex-a7", memory=[Ram(RAM, 0x4000)])
    symbols = {"start": Symbol("start", RAM + 8, 4, True)}
    told = Firmware("app", ((RAM, bytes(16)),), ((RAM, 0x1000),), "arm", RAM + 8, None, symbols)
    made.load(told)
    made.load(b"settings", at=RAM + 0x2000)
    assert (made.firmware, made.address_of("start")) == (told, RAM + 8)
    assert made.profile.free_ram == (RAM + 0x1000, RAM + 0x4000)
    made.reset()
    assert made.pc == RAM + 8


def flash_board() -> tuple[Board, NorFlash]:
    nor = NorFlash([(4, 4096)], base=FLASH)
    return Board("cortex-m3", memory=[FlashMemory(nor), Ram(RAM, 0x1000)]), nor


WRITES: list[Callable[[Board], object]] = [
    lambda made: made.load(halfwords([0x2001, 0x4770]), at=FLASH),
    lambda made: made.machine.memory.write(FLASH, halfwords([0x2001, 0x4770])),
    lambda made: made.machine.memory.write_uint(FLASH, 4, 0x4770_2001),
]


@pytest.mark.parametrize("write", WRITES)
def test_flash_knows_what_the_host_writes_to_its_memory(write: Callable[[Board], object]) -> None:
    made, nor = flash_board()
    empty, snapshot = nor.state(), made.machine.snapshot()
    digest, told = nor.digest(), list[tuple[int, int]]()
    nor.changed.append(lambda address, size: told.append((address, size)))
    write(made)
    assert told == [(FLASH, 4)]
    assert nor.digest() != digest
    assert made.call(FLASH | 1, "int(void)") == 1  # movs r0, #1; bx lr
    nor.restore(empty)
    assert nor.read(FLASH, 4) == made.machine.memory.read(FLASH, 4) == b"\xff" * 4
    write(made)
    made.machine.restore(snapshot)
    assert nor.read(FLASH, 4) == made.machine.memory.read(FLASH, 4) == b"\xff" * 4
    assert nor.digest() == digest


def test_a_patch_that_an_update_of_flash_has_replaced_is_not_undone_there() -> None:
    made, nor = flash_board()
    made.load(halfwords([0x2001, 0x4770] + [0xBF00] * 16), at=FLASH)  # movs r0, #1; bx lr
    digest = nor.digest()
    with made.machine.patch(FLASH | 1, (lambda: 3, "int(void)"), size=16):
        assert made.call(FLASH | 1, "int(void)") == 3
    assert (made.call(FLASH | 1, "int(void)"), nor.digest()) == (1, digest)
    patch = made.machine.patch(FLASH | 1, (lambda: 3, "int(void)"), size=16)
    nor.erase_sector(0)
    nor.program(FLASH, halfwords([0x2002, 0x4770]))
    assert made.call(FLASH | 1, "int(void)") == 2
    patch.undo()
    assert made.call(FLASH | 1, "int(void)") == 2
    assert nor.read(FLASH + 4, 32) == b"\xff" * 32


def test_a_cortex_m_has_no_function_at_an_even_address() -> None:
    made, _ = flash_board()
    made.load(halfwords([0x2001, 0x4770] + [0xBF00] * 16), at=FLASH)  # movs r0, #1; bx lr
    with pytest.raises(PatchError, match=f"no function at {FLASH:#x}: on this CPU its address is {FLASH | 1:#x}"):
        made.machine.patch(FLASH, (lambda: 3, "int(void)"), size=16)
    assert made.call(FLASH | 1, "int(void)") == 1


def test_writes_beside_a_flash_leave_it_alone() -> None:
    nor = NorFlash([(1, 4096)], base=FLASH)
    made = Board("cortex-m3", memory=[Ram(FLASH - 0x1000, 0x1000), FlashMemory(nor), Ram(FLASH + 0x1000, 0x1000)])
    made.load(b"\x11" * 0x2000, at=FLASH - 0x800)
    assert nor.read(FLASH, 4096) == b"\x11" * 4096
    digest = nor.digest()
    made.machine.memory.write(FLASH - 4, bytes(4))
    made.machine.memory.write(FLASH + 4096, bytes(4))
    assert nor.digest() == digest


def test_functions_at_odd_addresses_are_where_they_are() -> None:
    symbols = {"odd": Symbol("odd", 0x1001, 4, True), "thumb": Symbol("thumb", 0x2001, 4, True, True)}
    firmware = Firmware("app", (), symbols=symbols)
    assert firmware.symbol_at(0x1000) is None
    assert firmware.symbol_at(0x1004) is symbols["odd"]
    assert firmware.symbol_at(0x2000) is symbols["thumb"]


@pytest.mark.parametrize(("value", "words"), [(ord("A"), "the A profile"), (0x20_0041, "profile 0x200041")])
@pytest.mark.parametrize("cpu", ["cortex-m3", "cortex-r5"])
def test_code_of_another_profile_is_refused(cpu: str, value: int, words: str) -> None:
    made = Board(cpu, memory=[Ram(RAM, 0x1000)])
    attributes = {"TAG_CPU_ARCH_PROFILE": value}
    with pytest.raises(FirmwareError, match=f"is for {words}.*, not for {cpu}"):
        made.load(Firmware("app", ((RAM, b"\0"),), attributes=attributes))


def test_a32_code_is_refused_by_a_cortex_m() -> None:
    def firmware(*functions: tuple[int, bool]) -> Firmware:
        symbols = {f"f{at:x}": Symbol(f"f{at:x}", at, 2, True, thumb) for at, thumb in functions}
        return Firmware("app", ((RAM, bytes(16)),), arch="arm", symbols=symbols)

    made = Board("cortex-m3", memory=[Ram(RAM, 0x1000)])
    with pytest.raises(FirmwareError, match="app has functions in A32 code alone, cortex-m3 runs Thumb"):
        made.load(firmware((RAM, False), (RAM + 8, False)))
    made.load(firmware((RAM, False), (RAM + 9, True)))
    Board("cortex-a7", memory=[Ram(RAM, 0x1000)]).load(firmware((RAM, False)))


def test_a_path_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="directory"):
        board([HERE]).load(tmp_path)
