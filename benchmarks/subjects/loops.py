"""Code that runs long: the engines, beside qemu-user with the same functions in a program."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import inputs, peers
from benchmarks.measure import Absent, Contender, Row, alternately, microseconds
from benchmarks.subject import Context, Results, subject
from emu import Machine
from tests.fixtures import arch_of
from toolchains.targets import TARGETS

#: Work → rounds of a program, for about a tenth of a second in qemu-user.
KINDS = {"counting": 20_000_000, "crc": 6_000, "sha": 500, "calling": 20_000, "floats": 3_000_000}
#: Of those, the part that is measured here. LoongArch's interpreter takes some 100 times as long.
_OURS = 20


@subject()
def loops(context: Context) -> Results:
    """Loops, CRC-32, SHA-256, calls and floating point: qemu-user."""
    for target in TARGETS:
        for kind, rounds in KINDS.items():
            rounds = max(rounds // 50, 50) if context.small else rounds
            with Machine(arch_of(target)) as machine:
                ours = _function(machine, target, kind, rounds // _OURS)
                figures = alternately({"ours": ours, "qemu": _program(target, kind, rounds)}, context.rounds)
            theirs = figures.of_peer("qemu")
            yield Row(
                "loops",
                f"{kind}, {target}",
                figures.least("ours") * _OURS,
                peer_name="qemu-user",
                peer=None if theirs is None else max(theirs, 0.1),
                absent=figures.reason("qemu"),
                goal=2.0,
                how="code that was translated before, here; qemu's process less one that does nothing",
            )


def _function(machine: Machine, target: str, kind: str, rounds: int) -> Callable[[], float]:
    """Milliseconds of a call of the function in a library, whose code has run before."""
    library = inputs.work(target, kind)
    loaded = machine.load(library, symbols={"host": (lambda value: value, "int host(int)")})
    work = loaded.function("work", "unsigned(unsigned)")
    work(2)
    return lambda: microseconds(lambda: work(rounds), 1) / 1000


def _program(target: str, kind: str, rounds: int) -> Contender:
    """Milliseconds of a program under qemu-user, without its start."""
    qemu = peers.qemu(target)
    if isinstance(qemu, Absent):
        return qemu
    path, nothing = inputs.work(target, kind, rounds), inputs.work(target, "nothing", 1)

    return lambda: peers.run([qemu, path]) - peers.run([qemu, nothing])
