"""Running the real dynamic linker: builds the probe for a target, runs it, and reads its output.

    with Oracle(VARIANTS["riscv64-clang"]) as oracle:
        oracle.observe(scenario)

Nothing is installed and nothing needs root: the dynamic linker is Debian's, unpacked in the cache (musl's for
RISC-V 32), and is run by name, under qemu-user unless it is this host's own.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from emu.fetch.apt import run as run_tool
from toolchains.build import BUILT
from toolchains.engine import Zig
from toolchains.manifest import sha256_of
from toolchains.oracle.answer import Answer
from toolchains.oracle.interpreters import OracleFailed, emulator, interpreter
from toolchains.oracle.scenarios import VOID, Scenario, ignored
from toolchains.oracle.words import Describer, Elf, read_elf
from toolchains.recipe import Kind
from toolchains.recipes import RECIPES
from toolchains.targets import Role, Variant

STAND_IN_RESULT = 42
_SECONDS = 60
_HERE = Path(__file__).resolve().parent
# zig's freestanding triples, with the thread pointer read by an instruction on Arm.
_CFLAGS = ("-ffreestanding", "-nostdinc", "-O1", "-fno-stack-protector", "-Wall")
_CFLAGS_ON: Mapping[str, tuple[str, ...]] = {"arm": ("-mtp=cp15",)}
_NEW, _FREE = re.compile(r"_Zn[aw][jm]$"), re.compile(r"_Zd[la]Pv[jm]?$")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a scenario under a dynamic linker.

    words    module → {link-time address: description}, only of words that differ from the file's
    results  what the called functions returned, in order; "absent" for one that is not there
    refused  what the dynamic linker said when it would not load it
    fault    the signal that ended the load: a constructor or resolver that faults
    files    module → sha256 of its file
    hosts    the symbols a stand-in library answered, since neither the fixture's needs nor libc has them
    compared words compared, those that are the file's included
    """

    words: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    results: tuple[tuple[str, str], ...] = ()
    refused: str | None = None
    fault: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    compared: int = 0


class Oracle:
    """One variant's dynamic linker, with the probe built for it. A context manager: it owns a folder."""

    def __init__(self, variant: Variant, *, fetched: bool = False) -> None:
        self.variant = variant
        self.target = variant.target
        self.folder = BUILT / variant.name
        self.interpreter = interpreter(self.target, fetched=fetched)
        self._work = tempfile.TemporaryDirectory(prefix="relink-oracle-")
        self._stand_ins: dict[tuple[str, ...], Path] = {}
        self._engine = Zig()
        libraries = [path for path in (self.interpreter.mathematics, self.interpreter.library) if path]
        self._probe = self._link("probe.so", "-shared", self._compile(_HERE / "probe.c"), *self._needed())
        self._host = self._link(
            "host", "-pie", "--no-as-needed", self._compile(_HERE / "host.c", "-fPIE"), *libraries
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.cleanup()

    # ------------------------------------------------------------ building

    def _needed(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.interpreter.library, self.interpreter.path)))

    def _compile(self, source: Path, pic: str = "-fPIC") -> Path:
        output = Path(self._work.name) / f"{source.stem}.o"
        flags = (*self.target.cflags, *_CFLAGS_ON.get(self.target.arch, ()), *_CFLAGS, pic)
        run_tool([self._engine.path, "clang", "-target", self.target.triple, *flags, "-c", source, "-o", output])
        return output

    def _link(self, name: str, *words: str | Path) -> Path:
        output = Path(self._work.name) / name
        soname = ("-soname", name) if "-shared" in words else ()
        run_tool([self._engine.path, "ld.lld", "-m", self.target.emulation, *soname, *words, "-o", output])
        return output

    def _stand_in(self, names: tuple[str, ...]) -> Path:
        """A library that defines `names`: functions that return 42, and C++'s allocation."""
        if names not in self._stand_ins:
            digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:12]
            source = Path(self._work.name) / f"stand_in_{digest}.c"
            source.write_text("extern void *malloc(__SIZE_TYPE__);\n" + "".join(map(_definition, names)))
            self._stand_ins[names] = self._link(
                f"stand_in_{digest}.so", "-shared", self._compile(source), self.interpreter.library
            )
        return self._stand_ins[names]

    # ------------------------------------------------------------ asking

    def observe(self, scenario: Scenario) -> Outcome:
        """Run `scenario` under the dynamic linker. Raises `OracleFailed`, `ToolchainError`."""
        main = self.folder / scenario.recipe.file
        files = _files(self.folder, scenario)
        program_itself = scenario.recipe.kind is Kind.EXECUTABLE
        hosts = self._hosts(files)
        orders = [] if program_itself or scenario.at_start else [f"{'lazy' if scenario.lazy else 'open'} {main}"]
        elves = {path: read_elf(path, self.target.arch) for path in files}
        orders += self._names(elves.values(), hosts)
        orders += ["modules -", f"dump {self.folder}/"]
        orders += ["dump -"] * program_itself
        orders += [
            f"descriptor {_prefix(main, program_itself) if path == main else path} {place:x}"
            for path, elf in elves.items()
            for place, row in elf.places.items()
            if row.role is Role.TLS_DESC
        ]
        orders += [f"call {call}" for call in scenario.calls]
        preload = [
            self._probe,
            *([self._stand_in(tuple(sorted(hosts)))] if hosts else []),
            *(self.folder / RECIPES[name].file for name in scenario.preload),
            *([main] if scenario.at_start and not program_itself else []),
        ]
        paths = [self.folder / folder for folder in scenario.path]
        host = main if program_itself else self._host
        status, output = self._run(preload, paths, host, orders, now=not scenario.lazy)
        told = {str(path.relative_to(self.folder).with_suffix("")): sha256_of(path) for path in files}
        if status < 0 or status >= 128:
            return Outcome(fault=-status if status < 0 else status - 128, files=told, hosts=tuple(sorted(hosts)))
        return self._outcome(Answer(output), scenario, told, tuple(sorted(hosts)), status)

    def observe_library(self, path: Path) -> dict[int, str]:
        """Every relocated word of a real library opened in the oracle, in words: what it imports by name, whoever
        has it. Raises `OracleFailed`."""
        elf = read_elf(path, self.target.arch)
        orders = [f"open {path}", *self._names([elf], set()), "modules -", f"dump {path}"]
        status, output = self._run([self._probe], [path.parent], self._host, orders)
        answer = Answer(output)
        if status or not answer.ended:
            raise OracleFailed(f"{path.name}: status {status}, {answer.refused or answer.last}")
        return Describer(answer.loaded(path.parent, False, "", path, only=path), self.target.arch).relocated_of(
            path
        )

    def results(self, path: Path, functions: Sequence[str]) -> tuple[int | None, ...] | None:
        """The results of a library's functions; None where the dynamic linker refuses it, or a load of it ends."""
        orders = [f"open {path}", *(f"call {name}" for name in functions)]
        status, output = self._run([self._probe], [path.parent], self._host, orders)
        answer = Answer(output)
        if status or answer.refused is not None or not answer.ended:
            return None
        return tuple(value for _, value in answer.results)

    def _libraries(self) -> tuple[Path, ...]:
        mathematics = self.interpreter.mathematics
        return (*self._needed(), *((mathematics,) if mathematics else ()))

    def _names(self, elves: Iterable[Elf], hosts: set[str]) -> list[str]:
        """Orders to tell where each imported symbol is, in every version there is of it: a reference without a
        version is given the oldest one, and dlsym the newest."""
        there = [read_elf(path, self.target.arch).versions for path in self._libraries()]
        wanted = dict.fromkeys(name for elf in elves for name in elf.undefined)
        return [
            f"name {name} {version}"
            for name in wanted
            for version in sorted({"-"}.union(*(table.get(name, ()) for table in there if name not in hosts)))
        ]

    def _hosts(self, files: Iterable[Path]) -> set[str]:
        elves = [read_elf(path, self.target.arch) for path in files]
        known = {name for elf in elves for name in elf.defined}
        known |= {name for path in self._libraries() for name in read_elf(path, self.target.arch).defined}
        wanted = {name for elf in elves for name, weak in elf.undefined.items() if not weak}
        return wanted - known

    def _run(
        self,
        preload: Sequence[Path],
        paths: Sequence[Path],
        host: Path,
        orders: Sequence[str],
        *,
        now: bool = True,
    ) -> tuple[int, bytes]:
        folders = ":".join(map(str, (*paths, self.interpreter.library.parent)))
        words = (
            *emulator(self.target),
            str(self.interpreter.path),
            "--library-path",
            folders,
            "--preload",
            ":".join(map(str, preload)),
            str(host),
        )
        environment = {"ORACLE": "\n".join(orders), "PATH": os.defpath} | ({"LD_BIND_NOW": "1"} if now else {})
        try:
            done = subprocess.run(
                words, capture_output=True, env=environment, timeout=_SECONDS, check=False, cwd=self._work.name
            )
        except subprocess.TimeoutExpired:
            raise OracleFailed(f"the oracle did not finish within {_SECONDS} seconds: {' '.join(words)}") from None
        complaint = done.stderr
        if 0 < done.returncode < 128 and not done.stdout and complaint:
            return 0, b"refused " + complaint.replace(b"\n", b" ").strip() + b"\n"
        return done.returncode, done.stdout

    def _outcome(
        self, answer: Answer, scenario: Scenario, files: Mapping[str, str], hosts: tuple[str, ...], status: int
    ) -> Outcome:
        if answer.refused is not None:
            short = answer.refused.replace(f"{self.folder}/", "").replace(str(self.interpreter.path), "ld.so")
            return Outcome(refused=short.replace(self._work.name, ""), files=files, hosts=hosts)
        if status or not answer.ended:
            raise OracleFailed(
                f"{self.variant.name} {scenario.key}: the probe ended with status {status} and "
                f"told no end; the last line is {answer.last!r}"
            )
        loaded = answer.loaded(
            self.folder,
            scenario.recipe.kind is Kind.EXECUTABLE,
            scenario.fixture,
            self.folder / scenario.recipe.file,
        )
        describer = Describer(loaded, self.target.arch)
        words, compared = {}, 0
        for module in loaded.modules:
            words[module.name], count = describer.module(module, ignored(module.name, self.variant))
            compared += count
        unseen = ignored(scenario.fixture, self.variant)
        results = tuple(
            (name, told_result(describer, name, value)) for name, value in answer.results if name not in unseen
        )
        return Outcome(words, results, None, None, {name: files[name] for name in words}, hosts, compared)


def told_result(describer: Describer, name: str, value: int | None) -> str:
    """The result of a call as a golden file has it; None stands for a function that is not there."""
    if value is None:
        return "absent"
    return "done" if name in VOID else describer.result(value)


def _prefix(path: Path, program_itself: bool) -> str:
    return "-" if program_itself else str(path)


def _definition(name: str) -> str:
    if _NEW.match(name):
        return f"void *{name}(__SIZE_TYPE__ size) {{ return malloc(size); }}\n"
    if _FREE.match(name):
        return f"void {name}(void *block) {{ }}\n"
    return f"int {name}(void) {{ return {STAND_IN_RESULT}; }}\n"


def _files(folder: Path, scenario: Scenario) -> list[Path]:
    """The fixtures a scenario may load: its own, what it was linked with, and what comes before it."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            found[name] = None
            for need in RECIPES[name].needs:
                age = (
                    need.startswith("versions/")
                    and scenario.path
                    and scenario.fixture.startswith("versions/client")
                )
                add(f"{scenario.path[0]}/libversions" if age else need)
            for stub in RECIPES[name].stubs:
                beside = f"{name.rpartition('/')[0]}/{stub.removesuffix('.so')}".lstrip("/")
                if beside in RECIPES:
                    add(beside)

    for name in (*scenario.preload, scenario.fixture):
        add(name)
    return [folder / RECIPES[name].file for name in found]
