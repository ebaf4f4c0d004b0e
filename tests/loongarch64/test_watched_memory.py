"""Watched memory on LoongArch: each instruction of the specification that accesses memory is decoded."""

from __future__ import annotations

import re
from importlib.resources import files

from emu.cpu.events import Access, Watch
from emu.cpu.protocol import StopReason
from tests.cpu.guests import CODE, DATA, GUESTS, Bench, words

_LANGUAGE = files("emu.cpu.loongarch64") / "Ghidra/Processors/RISCV/data/languages"
_LINKED = {"sc": 0x2200_00AC, "screl": 0x3857_88AC}  #: ll.d r12, r5, 0; llacq.d r12, r5
#: Those that the host computes.
_COMPUTED = {
    **{f"vldrepl.{size}": 0x3000_0000 | 1 << bit for size, bit in zip("dwhb", range(20, 24), strict=True)},
    **{f"vstelm.{size}": 0x3100_0000 | 1 << bit for size, bit in zip("dwhb", range(20, 24), strict=True)},
}
_RETURN = 0x4C00_0020


def _instructions() -> dict[str, int]:
    """Name and place in the text -> the word, of integer register 4 or vector register 4 and the address in r5."""
    found = {name: word | 5 << 5 | 4 for name, word in _COMPUTED.items()}
    for source in ("memory.sinc", "vector.sinc"):
        for line in (_LANGUAGE / source).read_text().splitlines():
            shown = re.match(r":((?:v?ld|v?st|fld|fst|ll|sc|am)\S*) .* is (.*?)[{\[]", line)
            if shown is None or shown[1] == "vldi":
                continue
            fields = re.findall(r"\b(op(\d+)|bit(\d+))=(0x[0-9a-f]+|\d)", shown[2])
            bits = sum(int(value, 0) << int(bit) for _, op, bit, value in fields if not op)
            for name, op, _, value in fields:
                if op:
                    found[f"{shown[1]} {name}={value}"] = int(value, 0) << int(op) | bits | 5 << 5 | 4
    return found


def test_each_instruction_that_accesses_memory_is_seen() -> None:
    instructions, unseen = _instructions(), []
    assert len(instructions) > 90
    for name, word in instructions.items():
        bench = Bench(GUESTS["loongarch64"])
        if "le." in name:  # no higher than r5
            word |= 5 << 10
        linked = next((one for prefix, one in _LINKED.items() if name.split(".")[0] == prefix), None)
        code = [word] if linked is None else [linked, word]
        bench.cpu.write(CODE, words(*code, _RETURN))
        bench.cpu.write(DATA, bytes(range(1, 33)))
        bench.cpu.events.watch(Watch(DATA, 1, read=True, write=True))
        bench.prepare(value=3, address=DATA)
        stop, met = bench.cpu.run(CODE), list[Access]()
        while stop.reason is StopReason.WATCH and len(met) < 5:
            met += bench.cpu.events.accesses
            stop = bench.cpu.run(stop.pc)
        place = CODE + 4 * (len(code) - 1)
        if stop.reason is not StopReason.TRAP or not any(one.pc == place for one in met):
            unseen.append((name, hex(word), stop.reason))
    assert not unseen
