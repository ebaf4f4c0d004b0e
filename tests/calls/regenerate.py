"""Where clang puts arguments and results, found out by running what it compiles.

    python -m tests.calls.regenerate        # writes tests/calls/placement.json

For every signature and target, a function that stores each of its arguments to memory is compiled by the
clang in the `ziglang` wheel and run with every argument register and stack byte holding a pattern of its own.
The bytes it stores then tell where each argument was. Nothing of `emu.isa` or `emu.calls.plan` takes part, so the
table is an independent witness; only the engines behind `emu.cpu` are shared.

The table maps architecture -> signature -> one entry an argument, as `rdi[0:4]` or `a7[0:8] stack[0:8]`:
bytes start:end of a register, or from the first stacked argument. Variadic signatures are written
`void(int, ...) <- double, int`.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from elftools.elf.elffile import ELFFile

from emu.cpu.create import create_cpu
from emu.cpu.protocol import Cpu, Protection
from toolchains.engine import find_zig
from toolchains.targets import TARGETS

TABLE = Path(__file__).with_name("placement.json")
ARCHES = ("x86_64", "i386", "aarch64", "arm", "riscv64", "riscv32", "loongarch64")

_CODE, _OUT, _STACK, _TRAP = 0x1000_0000, 0x2000_0000, 0x3000_0000, 0x4000_0000
_STACK_BYTES = 512  #: above sp that hold patterns
_SLOT = 16  #: bytes of _OUT for each argument

#: Register -> bytes that can carry an argument, and where the return address goes.
_REGISTERS: dict[str, dict[str, int]] = {
    "x86_64": dict.fromkeys(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), 8) | {f"xmm{n}": 16 for n in range(8)},
    "i386": dict.fromkeys(("eax", "edx", "ecx"), 4),
    "aarch64": {f"x{n}": 8 for n in range(9)} | {f"v{n}": 16 for n in range(8)},
    "arm": {f"r{n}": 4 for n in range(4)} | {f"d{n}": 8 for n in range(8)},
    "riscv64": {f"a{n}": 8 for n in range(8)} | {f"fa{n}": 8 for n in range(8)},
    "riscv32": {f"a{n}": 4 for n in range(8)} | {f"fa{n}": 8 for n in range(8)},
    "loongarch64": {f"a{n}": 8 for n in range(8)} | {f"fa{n}": 8 for n in range(8)},
}
_RESULTS: dict[str, tuple[tuple[str, int], ...]] = {
    "x86_64": (("rax", 8), ("rdx", 8), ("xmm0", 16), ("xmm1", 16), ("st0", 10)),
    "i386": (("eax", 4), ("edx", 4), ("ecx", 4), ("xmm0", 16), ("st0", 10)),
    "aarch64": (("x0", 8), ("x1", 8), ("v0", 16)),
    "arm": (("r0", 4), ("r1", 4), ("d0", 8)),
    "riscv64": (("a0", 8), ("a1", 8), ("fa0", 8), ("fa1", 8)),
    "riscv32": (("a0", 4), ("a1", 4), ("fa0", 8), ("fa1", 8)),
    "loongarch64": (("a0", 8), ("a1", 8), ("fa0", 8), ("fa1", 8)),
}
_LINK = {"aarch64": "x30", "arm": "lr", "riscv64": "ra", "riscv32": "ra", "loongarch64": "ra"}

_SCALARS = ("char", "short", "int", "long", "long long", "float", "double", "void *")
_PROMOTED = ("int", "long", "long long", "double", "void *")
#: Types some targets lack, or pass in a way that is refused.
_MISSING = {
    "__int128": {"i386", "arm", "riscv32"},
    "long double": {"riscv32"},
}

_CHOSEN = """
void(int)
void(char, short, int, long, long long, void *)
void(int, int, int, int, int, int, int, int, int, int, int, int)
void(long long, long long, long long, long long, long long, long long, long long, long long, long long, long long)
void(float, float, float, float, float, float, float, float, float, float, float, float, float, float, float, float, float, float)
void(double, double, double, double, double, double, double, double, double, double)
void(int, long long)
void(int, int, long long, int)
void(int, int, int, long long, int)
void(int, long long, int, int)
void(int, int, int, int, int, int, int, long long, int)
void(int, int, int, int, int, int, int, int, int, long long, char, long long)
void(float, double, float)
void(float, double, float, double, float, float)
void(double, float, double, double, double, double, double, double, float, double, float)
void(float, double, double, double, double, double, double, double, double, float)
void(int, float, int, float, int, float, int, float, int, float, int, float, int, float, int, float, int, float)
void(double, double, double, double, double, double, double, double, double, int, double, int)
void(float, float, float, float, float, float, float, float, int, float, int, float, long long)
void(int, int, int, int, int, int, int, int, double, float, int)
void(int, int, int, int, int, int, int, double, double, double, double, double, double, double, double, double, int)
void(char, double, char, double, char, double, char, double, char, double, char)
void(int, __int128, int)
void(int, int, int, int, int, __int128, int)
void(int, int, int, int, int, int, int, __int128, int, int)
void(__int128, __int128, __int128, __int128, __int128)
void(long double)
void(int, long double, int, long double, double)
void(long double, long double, long double, long double, long double, long double, long double, long double, long double, int)
void(int, ...) <- int, int
void(int, ...) <- double
void(int, ...) <- long long
void(int, ...) <- int, double, int, double
void(int, ...) <- double, double, double, double, double, double, double, double, double
void(int, ...) <- long long, int, long long, int, long long, int, long long
void(int, ...) <- int, int, int, int, int, int, int, int, double, long long
void(void *, void *, ...) <- int, double, void *, long long
void(double, int, ...) <- double, int, double
void(float, float, ...) <- double, int
void(float, double, long long, ...) <- int, double
void(int, int, int, ...) <- double, int
void(int, int, int, int, int, int, int, ...) <- double, long long, double
void(int, int, int, int, int, int, int, int, int, ...) <- int, double
void(int, ...) <- long double, int
void(int, int, int, int, int, int, int, ...) <- long double, int
void(int, ...) <- __int128, int
void(int, int, ...) <- __int128
void(int, int, int, int, int, int, ...) <- int, __int128, int
"""  # noqa: E501

_RESULT_SIGNATURES = (
    *(f"{name}(void)" for name in (*_SCALARS, "__int128", "long double")),
    "double(int, ...)",
    "float(int, ...)",
    "long long(int, ...)",
)


def signatures(seed: int = 7, count: int = 40) -> list[str]:
    """The chosen signatures and `count` random ones, the same for the same seed."""
    dice = random.Random(seed)
    made = []
    for number in range(count):
        parameters = [dice.choice(_SCALARS) for _ in range(dice.randint(1, 16))]
        if number % 4:
            made.append(f"void({', '.join(parameters)})")
        else:
            extras = [dice.choice(_PROMOTED) for _ in range(dice.randint(1, 12))]
            made.append(f"void({', '.join(parameters[:6])}, ...) <- {', '.join(extras)}")
    return [line for line in _CHOSEN.splitlines() if line] + made


def split(signature: str) -> tuple[list[str], list[str]]:
    """Types of the named parameters and of those that match the ellipsis."""
    head, _, extras = signature.partition(" <- ")
    named = head[head.index("(") + 1 : -1].split(", ")
    return [name for name in named if name not in ("...", "void")], extras.split(", ") if extras else []


def available(signature: str, arch: str) -> bool:
    """Whether the target has all the types."""
    return not any(name in signature and arch in missing for name, missing in _MISSING.items())


def _callee(number: int, signature: str) -> str:
    named, extras = split(signature)
    parameters = ", ".join(f"{ctype} p{i}" for i, ctype in enumerate(named)) + ", ..." * bool(extras)
    lines = [f"STORE({ctype}, {i}, p{i});" for i, ctype in enumerate(named)]
    if extras:
        lines += ["__builtin_va_list list;", f"__builtin_va_start(list, p{len(named) - 1});"]
        lines += [
            f"STORE({ctype}, {i}, __builtin_va_arg(list, {ctype}));" for i, ctype in enumerate(extras, len(named))
        ]
    return f"void f{number}({parameters}) {{ {' '.join(lines)} }}\n"


def _returner(number: int, signature: str) -> str:
    ctype, _, rest = signature.partition("(")
    parameters = rest.replace("int,", "int unused,")
    return f"{ctype} r{number}({parameters} {{ return *({ctype} volatile *){_OUT:#x}; }}\n"


def _compile(arch: str, source: str) -> tuple[bytes, dict[str, int]]:
    """The text section and the offset of each function in it."""
    target = TARGETS[arch]
    with tempfile.TemporaryDirectory() as folder:
        path, output = Path(folder, "a.c"), Path(folder, "a.o")
        path.write_text(f"#define STORE(T, i, v) *(T volatile *)({_OUT:#x} + {_SLOT} * (i)) = (v)\n" + source)
        subprocess.run(
            [
                find_zig(),
                "clang",
                "-target",
                target.triple,
                *target.cflags,
                "-O1",
                "-ffreestanding",
                "-nostdinc",
                "-fno-pic",
                "-mno-relax" if "riscv" in arch or "loong" in arch else "-O1",
                "-fno-stack-protector",
                "-fno-asynchronous-unwind-tables",
                "-w",
                "-c",
                path,
                "-o",
                output,
            ],
            check=True,
        )
        with output.open("rb") as file:
            elf: Any = ELFFile(file)
            text = elf.get_section_by_name(".text")
            assert elf.get_section_by_name(".rel.text") is None, "code must not need relocation"
            assert elf.get_section_by_name(".rela.text") is None, "code must not need relocation"
            index = elf.get_section_index(".text")
            symbols = {
                symbol.name: symbol["st_value"] & ~1
                for symbol in elf.get_section_by_name(".symtab").iter_symbols()
                if symbol["st_shndx"] == index and symbol["st_info"]["type"] == "STT_FUNC"
            }
            return text.data(), symbols


class _Bench:
    """A CPU with code, an output page and a stack."""

    def __init__(self, arch: str, code: bytes) -> None:
        self.arch = arch
        self.cpu: Cpu = create_cpu(arch)
        self.word = TARGETS[arch].bits // 8
        self.cpu.set_trap_range(_TRAP, 4096)
        everything = Protection.R | Protection.W | Protection.X
        self._room = [
            self._map(address, size, everything)
            for address, size in (
                (_CODE, -(-len(code) // 4096) * 4096),
                (_OUT, 4096),
                (_STACK, 16384),
            )
        ]
        self.cpu.write(_CODE, code)

    def _map(self, address: int, size: int, protection: Protection) -> np.ndarray:
        room = np.zeros(size + 4096, np.uint8)
        aligned = room[-room.ctypes.data % 4096 :][:size]
        self.cpu.map(address, size, protection, aligned)
        return room

    def run(self, function: int, values: dict[str, int], stacked: bytes) -> None:
        sp = _STACK + 8192
        if self.arch in _LINK:
            self.cpu.write_register(_LINK[self.arch], _TRAP)
        else:
            sp -= self.word
            self.cpu.write(sp, _TRAP.to_bytes(self.word, "little"))
        self.cpu.write(_STACK + 8192, stacked)
        self.cpu.write_register("sp", sp)
        if self.arch == "x86_64":
            self.cpu.write_register("rax", 8)
        for name, value in values.items():
            self.cpu.write_register(name, value)
        stop = self.cpu.run(_CODE + function, max_instructions=10_000)
        assert stop.pc == _TRAP, stop

    def output(self, size: int) -> bytes:
        return self.cpu.read(_OUT, size)


def _sources(arch: str) -> list[tuple[str, int]]:
    """Every byte an argument can come from."""
    registers = [(name, i) for name, size in _REGISTERS[arch].items() for i in range(size)]
    return registers + [("stack", i) for i in range(_STACK_BYTES)]


#: Patterns are digits in this base: bytes 1…0x6f, so that no float is a NaN, which a load might change.
_BASE = 0x6F


def _ranges(places: Iterable[tuple[str, int]]) -> str:
    """`rdi[0:4]`-style text for a run of bytes."""
    runs: list[list[object]] = []
    for name, at in places:
        if runs and runs[-1][0] == name and runs[-1][2] == at:
            runs[-1][2] = at + 1
        else:
            runs.append([name, at, at + 1])
    return " ".join(f"{name}[{start}:{end}]" for name, start, end in runs)


def sizes(arch: str) -> dict[str, int]:
    """Bytes of each type that carry its value."""
    word = TARGETS[arch].bits // 8
    long_double = {"x86_64": 10, "i386": 10, "arm": 8}.get(arch, 16)
    return {
        "char": 1,
        "short": 2,
        "int": 4,
        "long": word,
        "long long": 8,
        "float": 4,
        "double": 8,
        "void *": word,
        "__int128": 16,
        "long double": long_double,
    }


def arguments_of(arch: str) -> dict[str, list[str]]:
    """The part of the table about arguments, for one architecture."""
    wanted = [text for text in signatures() if available(text, arch)]
    code, symbols = _compile(arch, "".join(_callee(n, text) for n, text in enumerate(wanted)))
    bench = _Bench(arch, code)
    sources = _sources(arch)
    patterns = [[number // _BASE**digit % _BASE + 1 for number in range(len(sources))] for digit in range(2)]
    width = sizes(arch)
    table = {}
    for number, text in enumerate(wanted):
        named, extras = split(text)
        types = named + extras
        stored = []
        for pattern in patterns:
            at = dict(zip(sources, pattern, strict=True))
            values = {
                name: int.from_bytes(bytes(at[name, i] for i in range(size)), "little")
                for name, size in _REGISTERS[arch].items()
            }
            stacked = bytes(at["stack", i] for i in range(_STACK_BYTES))
            bench.run(symbols[f"f{number}"], values, stacked)
            stored.append(bench.output(_SLOT * len(types)))
        table[text] = [
            _ranges(
                sources[(stored[0][at] - 1) + (stored[1][at] - 1) * _BASE]
                for at in range(_SLOT * i, _SLOT * i + width[ctype])
            )
            for i, ctype in enumerate(types)
        ]
    return table


def results_of(arch: str) -> dict[str, str]:
    """The part of the table about results: the places of the value's bytes, or the register converted to."""
    wanted = [text for text in _RESULT_SIGNATURES if available(text, arch)]
    code, symbols = _compile(arch, "".join(_returner(n, text) for n, text in enumerate(wanted)))
    bench = _Bench(arch, code)
    table = {}
    for number, text in enumerate(wanted):
        ctype = text.partition("(")[0]
        value = bytes(range(0x21, 0x21 + _SLOT))
        bench.cpu.write(_OUT, value)
        if arch in ("x86_64", "i386"):
            bench.cpu.write_register("fptag", 0xFFFF)
            bench.cpu.write_register("fpsw", 0)
        bench.run(symbols[f"r{number}"], {name: 0 for name, _ in _RESULTS[arch]}, b"")
        if arch in ("x86_64", "i386") and bench.cpu.read_register("fptag") != 0xFFFF:
            table[text] = "st0"
            continue
        places: dict[int, tuple[str, int]] = {}
        for name, size in _RESULTS[arch]:
            for at, byte in enumerate(bench.cpu.read_register(name).to_bytes(size, "little")):
                if byte in value:
                    places.setdefault(byte, (name, at))
        table[text] = _ranges(places[byte] for byte in value[: sizes(arch)[ctype]])
    return table


def main() -> None:
    """Write the table."""
    table = {arch: {"arguments": arguments_of(arch), "results": results_of(arch)} for arch in ARCHES}
    TABLE.write_text(_layout(table) + "\n")


def _layout(value: object, depth: int = 0) -> str:
    """JSON with a signature on a line, so that a difference can be read."""
    if not isinstance(value, dict):
        return json.dumps(value)
    indent = " " * (depth + 1)
    rows = (f"{indent}{json.dumps(key)}: {_layout(item, depth + 1)}" for key, item in value.items())
    return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"


if __name__ == "__main__":
    main()
