"""The same guest program on qemu-loongarch64 and on the project's CPU.

A program is a set of segments and an entry address; it leaves its results in one of the segments, and its last
instruction is `syscall`, entered with what `write` and then `exit` need (see `finish`). QEMU gets it as a
static ELF file written here byte by byte; the CPU gets the segments mapped.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from emu.cpu.icicle.cpu import IcicleCpu
from emu.cpu.protocol import Protection, Stop, StopReason
from tests.loongarch64.assembler import A0, A1, A2, A7, ZERO, code, insn, load_immediate, syscall

QEMU = shutil.which("qemu-loongarch64")
needs_qemu = pytest.mark.skipif(
    QEMU is None, reason="qemu-loongarch64 is not installed (Debian: qemu-user); it is the reference here"
)

#: Pages of 16 KiB, as QEMU has them for this target.
PAGE = 0x4000
EM_LOONGARCH = 258
WRITE, EXIT = 64, 93


@dataclass(frozen=True)
class Segment:
    address: int
    data: bytes
    protection: Protection

    @property
    def size(self) -> int:
        return -(-len(self.data) // PAGE) * PAGE


@dataclass(frozen=True)
class Program:
    """`results` is the segment that holds the outcome when the program ends."""

    segments: tuple[Segment, ...]
    entry: int
    results: Segment


def finish(results: int, size: int) -> list[int]:
    """Write the results to standard output and exit; the project's CPU stops at the first system call."""
    return [
        *load_immediate(A1, results),
        *load_immediate(A2, size),
        insn("ori", A0, ZERO, 1),
        insn("ori", A7, ZERO, WRITE),
        syscall(),
        # a short write (a pipe) goes on with the rest
        insn("add.d", A1, A1, A0),
        insn("sub.d", A2, A2, A0),
        insn("ori", A0, ZERO, 1),
        0x44000000 | (-4 & 0xFFFF) << 10 | A2 << 5 | 0x1F,  # bnez a2, to the syscall
        insn("ori", A0, ZERO, 0),
        insn("ori", A7, ZERO, EXIT),
        syscall(),
    ]


def program_of(words: list[int], records: Iterable[bytes], size: int, code_at: int, records_at: int) -> Program:
    """Instructions that work on records, each padded to `size` bytes, and then write these as the results."""
    state = b"".join(record.ljust(size, b"\0") for record in records)
    results = Segment(records_at, state, Protection.R | Protection.W)
    content = code(*words, *finish(records_at, len(state)))
    return Program((Segment(code_at, content, Protection.R | Protection.X), results), code_at, results)


def elf(program: Program) -> bytes:
    """A static executable with one PT_LOAD a segment."""
    count = len(program.segments)
    offset = -(-(64 + 56 * count) // PAGE) * PAGE
    headers, body = [], b""
    for segment in program.segments:
        place = offset + len(body)
        headers.append(
            struct.pack(
                "<IIQQQQQQ",
                1,
                int(segment.protection),
                place,
                segment.address,
                segment.address,
                segment.size,
                segment.size,
                PAGE,
            )
        )
        body += segment.data.ljust(segment.size, b"\0")
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, EM_LOONGARCH, 1, program.entry, 64, 0, 0x43, 64, 56, count, 64, 0, 0
    )
    return (header + b"".join(headers)).ljust(offset, b"\0") + body


def run_on_qemu(program: Program, directory: Path, qemu: str | None = QEMU) -> bytes:
    assert qemu is not None
    path = directory / "program"
    path.write_bytes(elf(program))
    path.chmod(0o755)
    done = subprocess.run([qemu, str(path)], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"qemu ended with {done.returncode}: {done.stderr.decode()}"
    assert len(done.stdout) == len(program.results.data)
    return done.stdout


def mapped(program: Program) -> IcicleCpu:
    cpu = IcicleCpu("loongarch64")
    cpu.set_trap_range(0x7FFF_0000_0000, 0x10000)
    for segment in program.segments:
        buffer = np.frombuffer(segment.data.ljust(segment.size, b"\0"), np.uint8)
        cpu.map(segment.address, segment.size, segment.protection, buffer)
    return cpu


def run_on_cpu(program: Program) -> bytes:
    cpu = mapped(program)
    stop: Stop = cpu.run(program.entry)
    assert stop.reason is StopReason.SYSCALL, stop
    assert cpu.read_register("a7") == WRITE
    results = cpu.read(program.results.address, len(program.results.data))
    cpu.close()
    return results
