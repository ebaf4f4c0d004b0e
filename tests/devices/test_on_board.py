"""Firmware linked by a script, stored in a flash model, and run there by its own start-up code."""

from __future__ import annotations

from contextlib import suppress

import pytest

from emu import FlashEvent, NorFlash
from emu.boards import Board, CortexM, FlashMemory, Ram
from relink import Image
from tests.devices.firmware import APP, FAR, linked_for, script
from tests.objects.build import compiled

START = """
typedef unsigned long word;
extern const word __copy_table_start[], __copy_table_end[], __zero_table_start[], __zero_table_end[];
extern void (*__init_array_start[])(void), (*__init_array_end[])(void);
extern char _estack[];
int main_loop(int);
int answer;
void reset(void) {
    for (const word *row = __copy_table_start; row < __copy_table_end; row += 3)
        for (word n = 0; n < row[2]; n++) ((volatile char *)row[1])[n] = ((volatile char *)row[0])[n];
    for (const word *row = __zero_table_start; row < __zero_table_end; row += 2)
        for (word n = 0; n < row[1]; n++) ((volatile char *)row[0])[n] = 0;
    for (void (**f)(void) = __init_array_start; f < __init_array_end; f++) (*f)();
    answer = main_loop(5);
    for (;;) ;
}
__attribute__((section(".isr_vector"), used)) void *const vectors[4] = { _estack, reset };
"""
FLAGS = ("-fcommon", "-fno-asynchronous-unwind-tables", "-march=armv7m")


def version(number: int) -> Image:
    """A firmware whose code, and so its answer, differs by its number."""
    app = APP.replace("squares[n % 5] +", f"squares[n % 5] + {1000 * number} +")
    return linked_for("thumb", [compiled("thumb", source, *FLAGS) for source in (START, app)], script(FAR))


class PowerCut(Exception):
    pass


class Programmed:
    """A board with a firmware in flash."""

    def __init__(self) -> None:
        self.nor = NorFlash([(16, 4096)], base=FAR[0], write_size=4, program_once=True)
        profile = CortexM("cortex-m3", vectors=FAR[0])
        self.board = Board(profile, memory=[FlashMemory(self.nor), Ram(FAR[1], 0x4000)])

    def program(self, image: Image) -> None:
        with suppress(PowerCut):
            self.nor.erase(FAR[0], self.nor.size)
        for address, data in image.chunks():
            padding = -len(data) % self.nor.write_size
            with suppress(PowerCut):
                self.nor.program(address, data + b"\xff" * padding)

    def cut(self, event: FlashEvent) -> None:
        """The power is cut when all bits have changed, before the operation has ended."""
        assert self.nor.tear(event, at=event.size) == event.size
        raise PowerCut

    def answer(self, image: Image) -> int:
        """What the firmware computes after power-on; its RAM begins with anything."""
        self.board.power_cycle(fill=0xAA)
        self.board.run(max_instructions=4000)
        return self.board.machine.memory.read_uint(image.link_map().symbol("answer").address, 4)


def test_start_up_code_copies_and_clears_what_the_tables_say() -> None:
    device, image = Programmed(), version(0)
    device.program(image)
    assert device.answer(image) == 0 + 4 + 12 + 11
    device.board.load(image.exported("elf"))
    assert device.board.call("quick", "int(int)", 1) == 1 + 4 + 13


@pytest.mark.parametrize("how", ["restore", "snapshot", "tear", "flip"])
def test_code_that_has_changed_in_flash_is_what_runs(how: str) -> None:
    """However it has changed: the engine keeps translations of code that has run."""
    device, one, two = Programmed(), version(1), version(2)
    device.program(one)
    states = [device.nor.state()]
    assert device.answer(one) == 1027
    snapshot = device.board.machine.snapshot()
    device.program(two)
    states.append(device.nor.state())
    assert device.answer(two) == 2027
    if how == "restore":
        for state, expected in zip([*states, *states], [1027, 2027] * 2, strict=True):
            device.nor.restore(state)
            assert device.answer(one) == expected
    elif how == "snapshot":
        device.board.machine.restore(snapshot)
        assert device.answer(one) == 1027
    elif how == "tear":
        device.nor.before.append(device.cut)
        device.program(one)
        assert device.answer(one) == 1027
    else:
        address = two.symbol("square").address & ~1
        differing = [n for n in range(80) if device.nor.read(address + n, 1) != _byte(states[0], address + n)]
        for place in differing:
            mask = device.nor.read(address + place, 1)[0] ^ _byte(states[0], address + place)[0]
            for bit in range(8):
                if mask >> bit & 1:
                    device.nor.flip(address + place, bit)
        assert device.answer(one) == 1027


def _byte(state: object, address: int) -> bytes:
    contents = b"".join(sector.content for sector in state.sectors)  # type: ignore[attr-defined]
    return contents[address - FAR[0] : address - FAR[0] + 1]
