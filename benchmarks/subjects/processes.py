"""Whole processes, and small pieces of work in one that is running."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import inputs, peers
from benchmarks.bare_unicorn import BARE, NO_LOONGARCH, engine
from benchmarks.fragments import HELPERS
from benchmarks.fragments import fragments as fragments_of
from benchmarks.measure import Absent, Contender, Row, alternately, child, microseconds, process, settle
from benchmarks.subject import Context, Results, subject
from emu import Machine
from relink.search.decoded_cache import CACHE
from tests.fixtures import fixture
from tests.machine.static_programs import static_program
from toolchains.targets import TARGETS

_ADD = "int add(int a, int b) { return a + b; }"
_ANY = range(256)  #: a program's own exit status


@subject()
def startup(context: Context) -> Results:
    """`relink-emu load small.so`, the whole process: an interpreter that does nothing."""
    small = inputs.library(_ADD)
    command: list[str | Path] = [sys.executable, "-c", "from emu.cli import main; main()", "load", small]
    nothing = [sys.executable, "-c", "pass"]
    process(command)  # writes the compiled modules
    contenders: dict[str, Contender] = {
        "ours": lambda: process(command),
        "python -c pass": lambda: process(nothing),
    }
    figures = alternately(contenders, 3 * context.rounds)
    how = "CPU time of the process; compiled modules on disk"
    yield figures.row("startup", "load small.so, whole process", "python -c pass", goal=5.5, how=how)


@subject()
def program(context: Context) -> Results:
    """Small static programs from their start to their exit: qemu-user, Qiling."""
    programs = {
        "static program with musl": static_program("x86_64"),
        "static program that only exits": inputs.work("x86_64", "nothing", 1),
    }
    for what, path in programs.items():
        yield from _program(context, what, path)


def _program(context: Context, what: str, path: Path) -> Results:
    text = "import sys; from emu import Machine; sys.exit(Machine('x86_64', stdin=b'').run(sys.argv[1]))"
    command: list[str | Path] = [sys.executable, "-c", text, path]
    qemu = peers.qemu("x86_64")
    contenders: dict[str, Contender] = {
        "ours": lambda: process(command, accepted=_ANY),
        "qemu-user": qemu if isinstance(qemu, Absent) else lambda: peers.run([qemu, path], _ANY),
        "ours, running": lambda: child("benchmarks.child", path, "--run")["first"],
        "Qiling": peers.in_python(context.peers, "qiling", path),
    }
    figures = alternately(contenders, context.rounds)
    for ours, name, part, how in (
        ("ours", "qemu-user", "whole process", "ours with Python's start and imports"),
        ("ours, running", "Qiling", "imports done", "both make their machine, load and run the program"),
    ):
        goal = 1.0 if name == "Qiling" else None
        yield figures.row("program", f"{what}, {part}", name, ours=ours, goal=goal, how=how)


_MARK = 0x5EED_1234
_MARKED = f"unsigned mark(void) {{ return {_MARK}u; }}"


def _others(content: bytes) -> Iterator[bytes]:
    """As many files as wanted, each with another number in its code."""
    mark = _MARK.to_bytes(4, "little")
    assert content.count(mark) == 1
    return (content.replace(mark, number.to_bytes(4, "little")) for number in itertools.count())


@subject()
def small(context: Context) -> Results:
    """Small files loaded and closed in a process that is running: dlopen and dlclose."""
    library = inputs.library(_MARKED)
    content, fragment = library.read_bytes(), inputs.object_of(_MARKED).read_bytes()
    libraries, fragments, different = _others(content), _others(fragment), fragments_of()
    settle()
    with Machine("x86_64") as machine:

        def uncached() -> None:
            CACHE.clear()
            machine.load(library).close()

        machine.load(inputs.library(HELPERS))
        works: dict[str, Callable[[], None]] = {
            "path": lambda: machine.load(library).close(),
            "uncached": uncached,
            "bytes": lambda: machine.load(content).close(),
            "other bytes": lambda: machine.load(next(libraries)).close(),
            "object": lambda: machine.load(fragment).close(),
            "other object": lambda: machine.load(next(fragments)).close(),
            "different object": lambda: machine.load(next(different)).close(),
        }
        contenders: dict[str, Contender] = {"dlopen": peers.ld_so("reopen", library)}
        for name, work in works.items():
            contenders[name] = partial(_after_one, work, 200)
        figures = alternately(contenders, context.rounds)
    for name, what, most in (
        ("path", ".so again, load and close", 0.15),
        ("uncached", ".so, its decoded form not kept, load and close", 0.4),
        ("bytes", ".so from bytes again, load and close", 0.15),
        ("other bytes", ".so from bytes, each another, load and close", 0.4),
        ("object", "small .o from bytes again, load and close", 0.1),
        ("other object", "small .o from bytes, each another (a number), load and close", 0.1),
        ("different object", "small .o from bytes, each different, load and close", 0.1),
    ):
        alone = "object" in name
        yield Row(
            "small",
            what,
            figures.least(name) / 1000,
            peer_name="" if alone else "ctypes dlopen, dlclose",
            peer=None if alone else figures.of_peer("dlopen"),
            absent=figures.reason("dlopen"),
            most=most,
            how="mean of 200 in a running process, after one that is not counted",
        )


def _after_one(work: Callable[[], None], count: int) -> float:
    """Microseconds of each of `count`, after one by which what others have driven out is there again."""
    work()
    return microseconds(work, count)


@subject()
def machine(context: Context) -> Results:
    """A machine and a first library in a process that is running: bare Unicorn with the same bytes."""
    for target in TARGETS.values():
        if target.name != target.arch:
            continue
        path = fixture(f"{target.name}-clang", "basic")
        figures = alternately(_machines(target.name, target.arch, path), context.rounds)
        theirs = figures.of_peer("bare")
        yield Row(
            "machine",
            f"Machine() and load of basic.so, {target.name}",
            figures.least("ours") / 1000,
            peer_name="bare Unicorn",
            peer=None if theirs is None else theirs / 1000,
            absent=figures.reason("bare"),
            most=2.0 if target.arch == "loongarch64" else 0.5,
            how="bare: an engine, one mapping, the segments written; nothing is relocated or run; ours makes its "
            "engine at the first call, Icicle's at once",
        )
        yield Row(
            "machine",
            f"Machine(), load of basic.so and a call, {target.name}",
            figures.least("called") / 1000,
            how="the same, and add(20, 22): with the engine",
        )


def _machines(name: str, arch: str, path: Path) -> dict[str, Contender]:
    bare: Contender = NO_LOONGARCH
    if name in BARE:
        bare = partial(_after_one, partial(_bare, name, path), 100)
    return {
        "ours": partial(_after_one, partial(_machine, arch, path), 100),
        "called": partial(_after_one, partial(_machine, arch, path, call=True), 20),
        "bare": bare,
    }


def _machine(arch: str, path: Path, *, call: bool = False) -> None:
    with Machine(arch) as made:
        library = made.load(path, allow_unresolved=True)
        if call:
            library.function("add", "int(int, int)")(20, 22)


def _bare(name: str, path: Path) -> None:
    made = engine(name)
    made.mem_map(0x10_0000, 0x10_0000)
    made.mem_write(0x10_0000, path.read_bytes())
