"""Code that runs long: the engines, beside bare Unicorn and qemu-user with the same functions."""

from __future__ import annotations

from functools import partial

from benchmarks import inputs, peers
from benchmarks.bare_unicorn import BARE, NO_LOONGARCH, BareLibraries
from benchmarks.measure import Absent, Contender, Row, alternately, microseconds
from benchmarks.subject import Context, Results, subject
from emu import Machine
from emu.cpu.icicle.cpu import IcicleCpu
from tests.fixtures import arch_of
from tests.machine.loops import load_loops
from toolchains.targets import TARGETS

#: Work → rounds of a program, for about a tenth of a second in qemu-user.
KINDS = {"counting": 20_000_000, "crc": 6_000, "sha": 4_000, "calling": 80_000, "floats": 3_000_000}
#: Of those, the part that is measured here. LoongArch's interpreter takes some 100 times as long.
_OURS = 20
_HOW = {
    "bare Unicorn": "the same bytes by the binding and emu_start with until; code that was translated before",
    "qemu-user": "code that was translated before, here; qemu's process less one that does nothing",
}


@subject()
def loops(context: Context) -> Results:
    """Loops, CRC-32, SHA-256, calls and floating point: bare Unicorn, qemu-user."""
    for target in TARGETS:
        for kind, rounds in KINDS.items():
            rounds = max(rounds // 50, 50) if context.small else rounds
            with Machine(arch_of(target)) as machine:
                ours, bare = _functions(machine, target, kind, rounds // _OURS)
                if not isinstance(ours, Absent):
                    ours()  # on LoongArch, where code is compiled once it is hot
                contenders = {"ours": ours, "bare Unicorn": bare, "qemu-user": _program(target, kind, rounds)}
                figures = alternately(contenders, context.rounds)
            goals = {"bare Unicorn": 1.1, "qemu-user": None if target in BARE else 2.0}
            for name, goal in goals.items():
                theirs = figures.of_peer(name)
                yield Row(
                    "loops",
                    f"{kind}, {target}",
                    figures.least("ours") * _OURS,
                    peer_name=name,
                    peer=None if theirs is None else max(theirs * (1 if name == "qemu-user" else _OURS), 0.1),
                    absent=figures.reason(name),
                    goal=goal,
                    how=_HOW[name],
                )


@subject()
def cold(context: Context) -> Results:
    """Code on LoongArch that runs for the first time, and not for long: the interpreter alone."""
    for kind, rounds in {"counting": 2000, "crc": 1, "sha": 1, "calling": 4, "floats": 1000}.items():
        peer, how = "without compiling", "a new machine each time; only the call is counted"
        runs = {"ours": partial(_first_run, kind, rounds, None), peer: partial(_first_run, kind, rounds, False)}
        figures, work = alternately(runs, 3 * context.rounds), f"{kind}, loongarch64, the first {rounds:,} rounds"
        yield figures.row("cold", work, peer, goal=1.1, how=how)


def _first_run(kind: str, rounds: int, jit: bool | None) -> float:
    """Milliseconds of the first call; `jit` as in docs/cpus.md."""
    with Machine("loongarch64") as machine:
        cpu = machine.cpu
        assert isinstance(cpu, IcicleCpu)
        cpu.jit = jit
        library = load_loops(machine, inputs.work("loongarch64", kind))
        work = library.function("work", "unsigned(unsigned)")
        return microseconds(lambda: work(rounds), 1) / 1000


def _functions(machine: Machine, target: str, kind: str, rounds: int) -> tuple[Contender, Contender]:
    """Milliseconds of a call of the function in a library, whose code has run before; the same by bare Unicorn."""
    loaded = load_loops(machine, inputs.work(target, kind))
    work = loaded.function("work", "unsigned(unsigned)")
    work(2)
    bare: Contender = NO_LOONGARCH
    if target in BARE:
        function = BareLibraries(target, machine, loaded).function(loaded, "work")
        function(2)
        bare = lambda: microseconds(lambda: function(rounds), 1) / 1000  # noqa: E731
    return lambda: microseconds(lambda: work(rounds), 1) / 1000, bare


def _program(target: str, kind: str, rounds: int) -> Contender:
    """Milliseconds of a program under qemu-user, without its start."""
    qemu = peers.qemu(target)
    if isinstance(qemu, Absent):
        return qemu
    path, nothing = inputs.work(target, kind, rounds), inputs.work(target, "nothing", 1)

    return lambda: peers.run([qemu, path]) - peers.run([qemu, nothing])
