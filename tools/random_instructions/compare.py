"""Runs tests here and on the reference, and judges the results."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import capstone
import numpy as np

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Protection, StopReason
from tools.random_instructions.layout import CODE, DATA, KEPT, REGION, SLOT, Field, Layout, built

_ILL, _TRAP, _BUS, _FPE, _SEGV = 4, 5, 7, 8, 11
_SIGNALS = {
    StopReason.INVALID_INSTRUCTION: _ILL,
    StopReason.BREAKPOINT: _TRAP,
    StopReason.UNALIGNED: _BUS,
    StopReason.ARITHMETIC: _FPE,
    StopReason.READ_UNMAPPED: _SEGV,
    StopReason.WRITE_UNMAPPED: _SEGV,
    StopReason.FETCH_UNMAPPED: _SEGV,
    StopReason.READ_PROTECTED: _SEGV,
    StopReason.WRITE_PROTECTED: _SEGV,
    StopReason.FETCH_PROTECTED: _SEGV,
}
_TRAPS = 0x7000_0000
_KILLED = -1
VERDICTS = ("right", "refused", "both fault", "only here", "faults differ", "wrong", "kills")


@dataclass(frozen=True)
class Test:
    group: str
    code: bytes
    data: bytes
    second: bytes = b""  #: the last instruction of two


@dataclass
class Tally:
    """Verdicts by group and mnemonic, and the first examples of what is not right."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)


class Here:
    """One ISA, here."""

    def __init__(self, layout: Layout, stub: bytes, slot: int) -> None:
        self.layout, self.slot = layout, slot
        self.stub = stub.ljust(REGION, b"\0")
        self._pages = [_page(self.stub), _page(bytes(REGION))]
        self._cpu = self._fresh()
        arch, modes = layout.capstone
        mode = sum(getattr(capstone, f"CS_MODE_{name}") for name in modes)
        self.disassembler = capstone.Cs(getattr(capstone, f"CS_ARCH_{arch}"), mode)
        self.disassembler.detail = True

    def _fresh(self) -> Any:
        cpu = create_cpu(self.layout.arch)
        every = Protection.R | Protection.W | Protection.X
        cpu.map(CODE, REGION, every, self._pages[0])
        cpu.map(DATA, REGION, Protection.R | Protection.W, self._pages[1])
        cpu.set_trap_range(_TRAPS, REGION)
        return cpu

    def decoded(self, code: bytes) -> tuple[int, str, str]:
        """(size, mnemonic, text) of the first instruction; size 0 where capstone knows none."""
        rows = self.disassembler.disasm_lite(code, CODE + self.slot, 1)
        return next(((row[1], row[2], f"{row[2]} {row[3]}") for row in rows), (0, "?", "?"))

    def padded(self, code: bytes) -> bytes:
        return code + self.layout.nop * ((SLOT - len(code)) // len(self.layout.nop))

    def here(self, test: Test) -> tuple[int, bytes]:
        cpu, page = self._cpu, self._pages[1]
        page[:KEPT] = np.frombuffer(test.data, np.uint8)
        page[:8] = np.frombuffer((_TRAPS).to_bytes(8, "little"), np.uint8)
        cpu.write(CODE + self.slot, self.padded(test.code))
        stop = cpu.run(CODE | self.layout.thumb, timeout=20.0)
        data = page[:KEPT].tobytes()
        if stop.reason is StopReason.TRAP:
            return 0, data
        cpu.close()
        self._cpu = self._fresh()
        return _SIGNALS.get(stop.reason, 99), data


class Bench(Here):
    """One ISA here, and the reference."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self._folder = folder
        stub, slot, self._runner = built(layout, folder)
        super().__init__(layout, stub, slot)
        (folder / "code.bin").write_bytes(self.stub)

    def reference(self, tests: Sequence[Test]) -> list[tuple[int, bytes]]:
        """Signal and data of each. An instruction that ends the reference counts as an illegal one."""
        given, made = self._folder / "tests.bin", self._folder / "results.bin"
        files = [
            str(self._folder / "code.bin"),
            str(given),
            str(made),
            hex(self.slot),
            str(int(self.layout.thumb)),
        ]
        results: list[tuple[int, bytes]] = []
        while len(results) < len(tests):
            left = tests[len(results) :]
            given.write_bytes(b"".join(self.padded(test.code) + test.data for test in left))
            command = [*self.layout.emulator, str(self._runner), *files]
            status = subprocess.run(command, check=False, timeout=600, stderr=subprocess.DEVNULL).returncode
            content, size = made.read_bytes(), SLOT + KEPT
            rows = [content[at : at + size] for at in range(0, len(content) // size * size, size)]
            results += [(int.from_bytes(row[:4], "little"), row[SLOT:]) for row in rows]
            if status:
                results.append((_ILL, bytes(KEPT)))
            elif len(rows) < len(left):
                raise RuntimeError(f"the reference left out {left[len(rows)].code.hex()}")
        return results

    def all_here(self, tests: Sequence[Test]) -> list[tuple[int, bytes]]:
        """Signal and data of each; run in another process, since the engine may end that."""
        results: list[tuple[int, bytes]] = []
        while len(results) < len(tests):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                os.close(reader)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                with open(writer, "wb") as out:
                    for test in tests[len(results) :]:
                        signal, data = self.here(test)
                        out.write(signal.to_bytes(16, "little") + data)
                        out.flush()
                os._exit(0)
            os.close(writer)
            with open(reader, "rb") as content:
                while len(row := content.read(16 + KEPT)) == 16 + KEPT:
                    results.append((int.from_bytes(row[:16], "little"), row[16:]))
            if os.waitpid(child, 0)[1]:
                results.append((_KILLED, bytes(KEPT)))
        return results


def _page(content: bytes) -> Any:
    room = np.zeros(len(content) + 4096, np.uint8)
    page = room[-room.ctypes.data % 4096 :][: len(content)]
    page[:] = np.frombuffer(content, np.uint8)
    return page


def judge(
    bench: Bench, tests: Sequence[Test], tally: Tally, ignored: Callable[[Here, bytes], dict[str, int]]
) -> None:
    """`ignored` says which bits of which fields an instruction leaves undefined."""
    pairs = zip(bench.reference(tests), bench.all_here(tests), strict=True)
    for test, ((signal, right), (mine, data)) in zip(tests, pairs, strict=True):
        size, mnemonic, text = bench.decoded(test.code)
        details, also = "", f" and then {test.second.hex()}" if test.second else ""
        if signal or mine:
            verdict = (
                "kills"
                if mine == _KILLED
                else "both fault"
                if signal == mine
                else "refused"
                if mine == _ILL
                else "only here"
                if signal == _ILL
                else "faults differ"
            )
            details = f"signal {signal} there, {mine} here"
        else:
            mask = ignored(bench, test.code)
            details = "; ".join(_differences(bench.layout, test.data, right, data, mask))
            verdict = "wrong" if details else "right"
        key = test.group, mnemonic, verdict
        tally.counts[key] += 1
        if verdict not in ("right", "both fault") and len(tally.examples.setdefault(key, [])) < 3:
            tally.examples[key].append(f"{(test.code[:size] or test.code).hex()} {text}{also}: {details}")


def _differences(layout: Layout, before: bytes, right: bytes, mine: bytes, mask: dict[str, int]) -> list[str]:
    found = []
    for each in layout.fields:
        one, other = (_value(each, data) for data in (right, mine))
        care = ~(each.ignored | mask.get(each.name, 0))
        if (one ^ other) & care:
            found.append(f"{each.name} {_value(each, before):#x} -> {one:#x} there, {other:#x} here")
    if right[0x1000:] != mine[0x1000:] and not mask.get("memory"):
        at = next(at for at in range(0x1000, KEPT) if right[at] != mine[at])
        spans = (data[at & ~15 : (at & ~15) + 16].hex() for data in (before, right, mine))
        found.append("memory at {:#x}: {} -> {} there, {} here".format(at & ~15, *spans))
    return found


def _value(field: Field, data: bytes) -> int:
    return int.from_bytes(data[field.offset : field.offset + field.size], "little")
