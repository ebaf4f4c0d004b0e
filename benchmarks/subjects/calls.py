"""Crossings between Python and the guest."""

from __future__ import annotations

from functools import partial

from benchmarks import lazy as first_calls
from benchmarks.bare_unicorn import BARE, NO_LOONGARCH
from benchmarks.guest_calls import BareUnicorn, ThroughCpu, structure_call, whole_call
from benchmarks.measure import Contender, Row, alternately, microseconds
from benchmarks.subject import Context, Results, subject
from benchmarks.subjects.hosted_functions import HostedFunctions
from tests.cpu.guests import CODE, GUESTS, Guest
from toolchains.targets import TARGETS

_COUNT = 2000
_FIRST = "a first call of a function less"
_MEDIAN = "median of 400 functions, elapsed time"
_UNTIL = "bare: registers and stack by the binding, emu_start with until"


@subject()
def calls(context: Context) -> Results:
    """Guest functions called from Python: bare Unicorn with `until`."""
    for guest in GUESTS.values():
        ours = ThroughCpu(guest)
        code = guest.code("return")
        ours.cpu.write(CODE, code)
        target = f"{guest.name}-clang"
        contenders: dict[str, Contender] = {
            "bare Unicorn": _bare_call(guest),
            "cpu": partial(microseconds, ours.call, _COUNT),
            "function": partial(whole_call, target),
            "struct": partial(structure_call, target),
        }
        figures = alternately(contenders, context.rounds)
        for kind, title, goal in (
            ("function", "add(20, 22)", 1.1),
            ("struct", "structure by value", None),
            ("cpu", "the engine alone", None),
        ):
            work = f"{title}, {guest.name}"
            yield figures.row("calls", work, "bare Unicorn", ours=kind, unit="µs", goal=goal, how=_UNTIL)


@subject()
def hosted(context: Context) -> Results:
    """Calls of the guest into Python and the hosted C library: one crossing by bare Unicorn."""
    peer = "bare Unicorn's crossing"
    how = "in a loop of the guest; the crossing: read an argument, write a result, go on"
    for guest in GUESTS.values():
        with HostedFunctions(guest.name) as functions:
            contenders: dict[str, Contender] = {peer: _bare_crossing(guest)}
            for name in functions.names:
                contenders[name] = partial(functions.cost, name)
            figures = alternately(contenders, context.rounds)
        for name in functions.names:
            work, goal = f"{name}, {guest.name}", 1.1 if name == "host function" else 1.0
            yield figures.row("hosted", work, peer, ours=name, unit="µs", goal=goal, how=how)


def _bare_call(guest: Guest) -> Contender:
    if guest.name not in BARE:
        return NO_LOONGARCH
    bare = BareUnicorn(guest)
    bare.uc.mem_write(CODE, guest.code("return"))
    return lambda: microseconds(bare.call, _COUNT)


def _bare_crossing(guest: Guest) -> Contender:
    if guest.name not in BARE:
        return NO_LOONGARCH
    bare = BareUnicorn(guest)
    bare.uc.mem_write(CODE, guest.code("call forever"))
    bare.call_forever()
    return lambda: microseconds(bare.trap, _COUNT)


@subject()
def lazy(context: Context) -> Results:
    """First calls through the PLT: ld.so's lazy binding, and bare Unicorn where code is translated."""
    rounds = max(2, context.rounds)  # elapsed time: some are of a moment when others had the processor
    theirs = first_calls.native()
    native = None if theirs is None else max(theirs[0].median - theirs[1].median, 0.01)
    missing = "" if theirs else "this host is not Linux on x86_64"
    for name, target in TARGETS.items():
        both = [[first_calls.measured(name, target.arch, how) for how in ("lazy", "now")] for _ in range(rounds)]
        binds, bound = (min(pair[which][0].median for pair in both) for which in (0, 1))
        mean = [min(pair[which][0].mean for pair in both) for which in (0, 1)]
        later = min(pair[1][1].median for pair in both)
        for work, figure, goal, how in (
            (
                "binding at the first call",
                binds - bound,
                12.0,
                f"{_FIRST} one through a slot bound before, {_MEDIAN}",
            ),
            ("the same, mean", mean[0] - mean[1], None, f"{_FIRST} one through a slot bound before, mean of 400"),
        ):
            yield Row(
                "lazy", f"{work}, {name}", max(figure, 0.0), "µs", "ld.so", native, missing, most=goal, how=how
            )
        peer, absent = None, NO_LOONGARCH.reason
        if name in BARE:
            bare = [first_calls.bare(name, target.arch) for _ in range(rounds)]
            peer, absent = min(run[0].median for run in bare) - min(run[1].median for run in bare), ""
        for work, figure, how in (
            ("a first call with the translation of its code", binds, "which binds"),
            ("the same, its slot bound before", bound, "which does not bind"),
        ):
            how = f"{_FIRST} a later one, {_MEDIAN}; {how}, there a slot bound before"
            yield Row("lazy", f"{work}, {name}", figure - later, "µs", "bare Unicorn", peer, absent, how=how)
