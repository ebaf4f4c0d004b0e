"""Watched memory: which accesses are reported, after which instruction, and that they change nothing."""

from __future__ import annotations

from typing import Final

import pytest

from emu.cpu.events import Access, Watch
from emu.cpu.protocol import Protection, StopReason
from tests.assembler import assembled

from .guests import CODE, DATA, GUESTS, PAGE, Bench, page_buffer, words

RWX: Final = Protection.R | Protection.W | Protection.X
_PAGES: Final = 0x6_0000

#: Instructions of which some or all cases are computed on the host, and what they find in memory.
_ONES: Final = (1).to_bytes(4, "little") * 4
_X87: Final = bytes.fromhex("7f03") + bytes(22) + (0x1F80).to_bytes(8, "little")
_X86: Final = {
    "fbstp tbyte ptr [{}]": _ONES, "ldmxcsr [{}]": (0x1F80).to_bytes(16, "little"), "fldenv [{}]": _X87,
    "frstor [{}]": _X87, "fxrstor [{}]": _X87, "dpps xmm0, [{}], 255": _ONES, "cvtpi2ps xmm0, [{}]": _ONES,
    "pcmpestrm xmm0, [{}], 0": _ONES, "movups xmm0, [{}]": _ONES, "add dword ptr [{}], 1": _ONES,
}  # fmt: skip
#: ldsmaxal w0, w2, [x1]; ldsmin w0, w2, [x1]; ldr q0, [x1]
_AARCH64: Final = {0xB8E04022: _ONES, 0xB8205022: _ONES, 0x3DC00020: _ONES}


def _pages(bench: Bench) -> None:
    """Two pages that may be written and executed, with a function that has run on both."""
    for page in (_PAGES, _PAGES + PAGE):
        bench.cpu.map(page, PAGE, RWX, page_buffer())
        entry = bench.load("return", page + 0x400)
        bench.prepare()
        assert bench.cpu.run(entry).reason is StopReason.TRAP


@pytest.mark.parametrize("offset", [0x800, PAGE - 1])
def test_reads_of_pages_that_code_runs_on_are_seen(bench: Bench, offset: int) -> None:
    _pages(bench)
    cpu, place = bench.cpu, _PAGES + offset
    cpu.write(place, b"\x05\x06\x07\x08" + bytes(4))
    watch = Watch(_PAGES + offset + 1, 1, read=True, write=False)
    cpu.events.watch(watch)
    for code in (CODE, _PAGES + 0x100, _PAGES + PAGE + 0x100):
        entry = bench.load("load", code)
        for _ in range(2):
            bench.prepare(address=place)
            stop, met = cpu.run(entry), list[Access]()
            while stop.reason is StopReason.WATCH and len(met) < 2:
                met += [one for one in cpu.events.accesses if not one.write]
                stop = cpu.run(stop.pc | bench.guest.entry_bit)
            assert (stop.reason, bench.value) == (StopReason.TRAP, 0x0807_0605)
            assert [(one.pc - code, one.address <= watch.address) for one in met] == [(bench.guest.nop, True)]
    cpu.events.unwatch(watch)
    bench.prepare(address=place)
    assert cpu.run(entry).reason is StopReason.TRAP


def _computed() -> list[tuple[str, str | int]]:
    return [*((name, one) for name in ("x86_64", "i386") for one in _X86), *(("aarch64", one) for one in _AARCH64)]


@pytest.mark.parametrize(("name", "instruction"), _computed())
def test_accesses_of_computed_instructions_are_seen_once_and_change_nothing(
    name: str, instruction: str | int
) -> None:
    states: list[list[object]] = []
    for watched in (False, True):
        bench = Bench(GUESTS[name])
        cpu, guest = bench.cpu, bench.guest
        if isinstance(instruction, int):
            one, content = words(instruction), _AARCH64[instruction]
        else:
            one, content = assembled(name, instruction.format(guest.address), CODE), _X86[instruction]
        cpu.write(CODE, one + guest.code("return"))
        cpu.write(DATA, content + bytes(512))
        if guest.link is None:  # x86: a number for fbstp
            cpu.write(CODE + 0x100, assembled(name, "fld1; ret", CODE))
            bench.prepare()
            cpu.run(CODE + 0x100)
        if watched:
            cpu.events.watch(Watch(DATA, 1, read=True, write=True))
        bench.prepare(value=3, address=DATA)
        stop, met = cpu.run(CODE), list[tuple[int, list[int]]]()
        while stop.reason is StopReason.WATCH and len(met) < 3:
            met.append((stop.pc, [access.pc for access in cpu.events.accesses]))
            stop = cpu.run(stop.pc)
        assert stop.reason is StopReason.TRAP
        assert [(pc, {*places}) for pc, places in met] == [(CODE + len(one), {CODE})] * watched
        states.append([*cpu.register_values(), cpu.read(DATA, 512)])
    assert states[0] == states[1]
