"""What only compiled code can tell: setjmp in real frames, compilers' helper calls, the headers' struct layouts.

Compiled when the tests run, by the clang in the ziglang wheel; skipped where that is not installed.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from emu import Library, Machine
from emu.errors import GuestAbort
from emu.isa.registry import ISAS
from emu.isa.struct_stat import StructStat
from tests.fixtures import arch_of, each_target
from tests.sections import symbol_table
from toolchains.engine import Zig, find_zig
from toolchains.errors import CompilerMissing
from toolchains.targets import TARGETS

_HERE = Path(__file__).parent


def _zig() -> Path:
    try:
        return find_zig()
    except CompilerMissing as error:
        pytest.skip(str(error))


def _build(target: str, folder: Path) -> Path:
    _zig()
    engine, chosen = Zig(), TARGETS[target]
    flags = ["-O2", "-fPIC", "-fno-builtin", "-ffreestanding"]
    if target == "loongarch64":
        flags.append("-mno-lsx")  # the CPU's vectors are not what is tested here
    engine.run("jumps", engine.compile(chosen, str(_HERE / "jumps.c"), str(folder / "jumps.o"), flags), {}, folder)
    engine.run("jumps", engine.link(chosen, ["jumps.o"], "jumps.so", ["-shared"]), {}, folder)
    return folder / "jumps.so"


target = each_target()


@pytest.fixture
def library(target: str, tmp_path: Path) -> Library:
    return Machine(arch_of(target)).load(_build(target, tmp_path))


def test_longjmp_returns_to_setjmp_with_every_preserved_register(library: Library) -> None:
    jump = library.function("jump", "int(int, double)")
    for n in (0, 3, 30):
        assert jump(n, 2.5) == 42 * 1000 + 200 + 7 + n * 7 + (n ^ 5) + n + 11
    with pytest.raises(GuestAbort, match="out of a call that Python made"):
        library.function("jump_out_of_qsort", "int(void)")()
    assert jump(5, 1.0) == 42 * 1000 + 200 + 3 + 35 + 0 + 16


def test_arithmetic_the_isa_lacks_is_computed_by_helpers(library: Library) -> None:
    a, b = 10**18 + 7, 1009
    assert library.function("divide", "uint64_t(uint64_t, uint64_t)")(a, b) == a // b * 1000 + a % b
    assert library.function("divide_signed", "int64_t(int64_t, int64_t)")(-7, 2) == -3001
    assert library.function("to_double", "double(int64_t)")(-(2**62) - 1) == -(2.0**62)
    assert library.function("from_double", "int64_t(double)")(-1e15) == -(10**15)
    assert library.function("to_float", "float(uint64_t)")(2**63 + 2**39) == 2.0**63


_TRIPLES = {
    "x86_64": "x86_64-linux-gnu",
    "i386": "x86-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
    "riscv32": "riscv32-linux-gnu",
    "loongarch64": "loongarch64-linux-gnu",
}
_VARIANTS = [(arch, suffix) for arch, isa in ISAS.items() for suffix in isa.libc.stat]


@pytest.mark.parametrize(("arch", "suffix"), _VARIANTS)
def test_struct_stat_is_laid_out_as_glibcs_headers_say(arch: str, suffix: str, tmp_path: Path) -> None:
    wide_time = ["-D_TIME_BITS=64", "-D_FILE_OFFSET_BITS=64"] if suffix == "64_time64" else []
    name = "stat64" if suffix == "64" else "stat"
    output = tmp_path / "layout.o"
    subprocess.run(
        [
            _zig(),
            "cc",
            "-target",
            _TRIPLES[arch],
            f"-DSTAT={name}",
            *wide_time,
            "-c",
            _HERE / "stat_layout.c",
            "-o",
            output,
        ],
        check=True,
        capture_output=True,
    )
    with output.open("rb") as file:
        elf = ELFFile(file)
        (symbol,) = symbol_table(elf).get_symbol_by_name("layout") or []
        data = elf.get_section(symbol["st_shndx"]).data()[symbol["st_value"] :]
    words = struct.unpack_from("<24I", data)
    pairs: list[Any] = list(zip(words[::2], words[1::2], strict=True))
    *members, (_, size) = pairs
    assert ISAS[arch].libc.stat[suffix] == StructStat._make((*members, size))
    accessed, seconds = members[-1]
    assert struct.unpack_from("<2I", data, 96) == (accessed + 2 * seconds, accessed + 4 * seconds)
