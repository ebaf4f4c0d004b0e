"""Generated prototypes called both ways against what gcc and clang compile, bit for bit.

    python -m tests.calls.both_ways --count 10000 [--target aarch64 ...] [--compiler clang|gcc] [--abi soft-float]

A row for each target, ABI and compiler: how many prototypes were tried, how many of them differed.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from emu import Machine
from emu.calls.describe import definition
from emu.calls.records import unpacker
from emu.calls.store import Store, View
from emu.calls.types import CType, Struct, Void, sized
from emu.isa.registry import float_convention
from relink.arch import FloatAbi
from tests.calls.compiler_bugs import is_hit
from tests.calls.generator import Case, Generator, mask_of, source, value_of
from tests.fixtures import arch_of, variant_of
from tests.objects.build import TARGETS, zig
from tests.toolcache import OUTPUT, folder, made, text_file, use_fresh_folder

_FLAGS = ("-w", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-fno-ident")
#: GNU compilers of Debian, by (target, float ABI), with flags that say the rest.
_GCC = {
    ("x86_64", "hard-float"): ("gcc", "-m64"),
    ("i386", "hard-float"): ("i686-linux-gnu-gcc", "-msse2"),
    ("aarch64", "hard-float"): ("aarch64-linux-gnu-gcc",),
    ("arm", "hard-float"): ("arm-linux-gnueabihf-gcc", "-marm", "-mfpu=neon", "-mfp16-format=ieee"),
    ("thumb", "hard-float"): ("arm-linux-gnueabihf-gcc", "-mthumb", "-mfpu=neon", "-mfp16-format=ieee"),
    ("arm", "soft-float"): ("arm-linux-gnueabi-gcc", "-marm", "-mfloat-abi=soft"),
    ("riscv64", "hard-float"): ("riscv64-linux-gnu-gcc", "-march=rv64gc", "-mabi=lp64d"),
    ("riscv64", "soft-float"): ("riscv64-linux-gnu-gcc", "-march=rv64imac", "-mabi=lp64"),
    ("riscv64", "single-float"): ("riscv64-linux-gnu-gcc", "-march=rv64imafc", "-mabi=lp64f"),
    ("riscv32", "hard-float"): ("riscv64-linux-gnu-gcc", "-march=rv32gc", "-mabi=ilp32d"),
    ("riscv32", "soft-float"): ("riscv64-linux-gnu-gcc", "-march=rv32imac", "-mabi=ilp32"),
    ("riscv32", "single-float"): ("riscv64-linux-gnu-gcc", "-march=rv32imafc", "-mabi=ilp32f"),
}
_CLANG = {
    ("arm", "soft-float"): ("-mfloat-abi=soft",),
    ("thumb", "soft-float"): ("-mfloat-abi=soft",),
    ("riscv64", "soft-float"): ("-march=rv64imac", "-mabi=lp64"),
    ("riscv64", "single-float"): ("-march=rv64imafc", "-mabi=lp64f"),
    ("riscv32", "soft-float"): ("-march=rv32imac", "-mabi=ilp32"),
    ("riscv32", "single-float"): ("-march=rv32imafc", "-mabi=ilp32f"),
    ("loongarch64", "soft-float"): ("-mabi=lp64s",),
    ("loongarch64", "single-float"): ("-msingle-float", "-mabi=lp64f"),
}
HARD = "hard-float"
#: Every ABI there is: (target, float ABI).
ABIS = [*((target, HARD) for target in TARGETS), *_CLANG]


class Way(NamedTuple):
    """One ABI and a compiler for it."""

    target: str
    abi: str
    compiler: str

    @property
    def available(self) -> bool:
        command = _GCC.get((self.target, self.abi))
        return self.compiler == "clang" or (command is not None and shutil.which(command[0]) is not None)

    def compile(self, text: str, level: str) -> Path:
        file = text_file(text, ".c")
        if self.compiler == "gcc":
            name, *flags = _GCC[self.target, self.abi]
            command = [str(shutil.which(name)), *flags]
        else:
            row = variant_of(self.target).target
            command = [
                zig(),
                "clang",
                "-target",
                row.triple,
                *row.cflags,
                *_CLANG.get((self.target, self.abi), ()),
            ]
            if self.target in ("arm", "thumb") and self.abi == HARD:
                command += ["-mfpu=neon"]
        return made([*command, *_FLAGS, level, "-c", file, "-o", OUTPUT], [file])


def cases_of(way: Way, count: int, seed: object) -> list[Case]:
    """The same cases for the same seed."""
    rules = float_convention(arch_of(way.target), FloatAbi(way.abi))
    assert rules is not None
    dice = random.Random(f"{way.target} {way.abi} {seed}")
    # _Float16: gcc 12 has none on RISC-V and, without SSE2 or with soft floats, elsewhere.
    known = ("x86_64", "aarch64", "arm", "thumb", *(("riscv64", "riscv32") if way.compiler == "clang" else ()))
    float16 = way.abi == HARD and way.target in known
    vectors = not (way.target in ("arm", "thumb") and way.abi != HARD)
    generator = Generator(rules, dice, float16=float16, vectors=vectors)
    cases: list[Case] = []
    while len(cases) < count:
        case = generator.case(len(cases))
        if not is_hit(way.compiler, way.target, case):
            cases.append(case)
    return cases


def mismatches(way: Way, cases: list[Case], level: str) -> Iterator[str]:
    """What differs between Python and compiled code, one sentence a case."""
    path = way.compile(source(cases), level)
    run = _Run(way)
    with Machine(arch_of(way.target), float_abi=way.abi) as machine:
        symbols = {f"host_{case.number}": (run.host(case), case.prototype) for case in cases}
        library = machine.load(path, symbols=symbols)
        for case in cases:
            if problems := run.check(machine, library, case):
                extras = ", ".join(map(str, case.extras))
                types = "\n".join(definition(struct, offsets=True) for struct in case.structs)
                yield "\n    ".join([f"{case.prototype} <- {extras}", *problems, types])


class _Run:
    def __init__(self, way: Way) -> None:
        rules = float_convention(arch_of(way.target), FloatAbi(way.abi))
        assert rules is not None
        self._rules = rules
        self._dice = random.Random("values")
        self._arguments: list[bytes] = []
        self._result = b""
        self._problems: list[str] = []

    def _python(self, ctype: CType, data: bytes) -> Any:
        value = unpacker(self._rules, ctype)(Store(bytearray(data)), 0)
        return plain(value) if self._dice.random() < 0.5 else value

    def host(self, case: Case) -> Any:
        def reached(*arguments: Any) -> Any:
            values = list(arguments)
            if case.prototype.variadic:
                rest = values.pop()
                values += [rest.take(ctype) for ctype in case.extras]
            for number, (value, ctype, data) in enumerate(zip(values, case.types, self._arguments, strict=True)):
                self._compare(f"host argument {number} ({ctype})", ctype, _bytes(self._rules, ctype, value), data)
            if isinstance(case.prototype.result, Void):
                return None
            return self._python(case.prototype.result, self._result)

        return reached

    def _compare(self, what: str, ctype: CType, found: bytes, wanted: bytes) -> None:
        mask = mask_of(ctype)
        one, two = (int.from_bytes(data, "little") & mask for data in (found, wanted))
        if one != two:
            self._problems.append(f"{what} is {found.hex()}, not {wanted.hex()}")

    def check(self, machine: Machine, library: Any, case: Case) -> list[str]:
        self._problems = []
        dice, memory = self._dice, machine.memory
        seen, given, answer = (library.image.symbol(name).address for name in ("seen", "given", "answer"))
        self._arguments = [value_of(ctype, dice) for ctype in case.types]
        self._result = value_of(case.prototype.result, dice)
        memory.write(answer, self._result)
        arguments = [self._python(ctype, data) for ctype, data in zip(case.types, self._arguments, strict=True)]
        named = len(case.prototype.parameters)
        arguments[named:] = [(ctype, value) for ctype, value in zip(case.extras, arguments[named:], strict=True)]
        try:
            result = machine.call(library.image.symbol(f"take_{case.number}").address, case.prototype, *arguments)
            for number, (ctype, at) in enumerate(zip(case.types, case.offsets, strict=True)):
                found = memory.read(seen + at, sized(ctype).size)
                self._compare(f"argument {number} ({ctype})", ctype, found, self._arguments[number])
            self._check_result("result", case, result)
            for at, data in zip(case.offsets, self._arguments, strict=True):
                memory.write(given + at, data)
            memory.write(seen, bytes(64))
            machine.call(library.image.symbol(f"give_{case.number}").address, "void(void)")
            if not isinstance(case.prototype.result, Void):
                found = memory.read(seen, len(self._result))
                self._compare("result given", case.prototype.result, found, self._result)
        except Exception as error:
            self._problems.append(f"{type(error).__name__}: {error}")
        return self._problems

    def _check_result(self, what: str, case: Case, result: Any) -> None:
        ctype = case.prototype.result
        if not isinstance(ctype, Void):
            self._compare(what, ctype, _bytes(self._rules, ctype, result), self._result)


def _bytes(rules: Any, ctype: CType, value: Any) -> bytes:
    from emu.calls.codec import packer

    return packer(rules, ctype, "value")(value, None)


def plain(value: Any) -> Any:
    """Records as tuples, arrays as lists."""
    if isinstance(value, View) and not getattr(value._ctype_, "is_union", False):
        items = [plain(each) for each in value]  # type: ignore[attr-defined]
        return tuple(items) if isinstance(value._ctype_, Struct) else items
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--target", action="append")
    parser.add_argument("--abi", action="append")
    parser.add_argument("--compiler", action="append")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--show", type=int, default=5)
    options = parser.parse_args()
    use_fresh_folder()
    failed = 0
    for target, abi in ABIS:
        for compiler in options.compiler or ("clang", "gcc"):
            way = Way(target, abi, compiler)
            if (
                target not in (options.target or [target])
                or abi not in (options.abi or [abi])
                or not way.available
            ):
                continue
            started, wrong = time.perf_counter(), 0
            for first in range(0, options.count, options.batch):
                cases = cases_of(way, min(options.batch, options.count - first), f"{options.seed} {first}")
                level = ("-O1", "-O0", "-O2")[first // options.batch % 3]
                if options.verbose:
                    print(f"{way} {level} {first}", flush=True)
                for problem in mismatches(way, cases, level):
                    wrong += 1
                    if wrong <= options.show:
                        print(f"    {level} batch {first}: {problem}", flush=True)
                for file in folder().iterdir():
                    file.unlink()
            seconds = time.perf_counter() - started
            print(
                f"{target:12} {abi:12} {compiler:6} {options.count:6} tried, {wrong:4} differ, {seconds:.0f} s",
                flush=True,
            )
            failed += wrong
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
