"""How costs grow: series of sizes, with the exponent fitted to what the sizes add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import inputs, peers
from benchmarks.measure import Absent, Contender, Row, Run, Series, alternately, child, settle
from benchmarks.subject import Context, Results, subject

#: ld.so keeps nothing from one load to the next but the kernel's pages of the files.
_LD_SO = "fresh processes, CPU time; ours the second or third load in it, each in a new machine"

_LINKED = (
    "ours from the file to code that runs, nothing kept from one load to the next; "
    "lld's whole process, its output discarded"
)
_NOTHING_KEPT = ("--no-cache",)


def series(
    context: Context,
    name: str,
    what: str,
    sizes: Sequence[int],
    make: Callable[[int], Path],
    peer_name: str,
    peer_of: Callable[[Path], Contender],
    *,
    arguments: Sequence[str] = (),
    goals: dict[int, float] | None = None,
    most: dict[int, float] | None = None,
    how: str = _LD_SO,
) -> Results:
    """Rows for all sizes, then the series. `make(0)` is the input that has nothing."""
    costs: dict[str, list[float]] = {"ours": [], "ours, first": [], peer_name: []}
    paths = {size: make(size) for size in (0, *sizes)}
    settle()
    for size, path in paths.items():
        contenders: dict[str, Contender] = {"ours": _loads(path, arguments), peer_name: peer_of(path)}
        runs = alternately(contenders, context.rounds)
        costs["ours"].append(runs.least("ours", "warm"))
        costs["ours, first"].append(runs.least("ours", "first"))
        if (theirs := runs.of_peer(peer_name)) is not None:
            costs[peer_name].append(theirs)
        if not size:
            continue
        resident = runs.least("ours", "rss")
        for who in ("ours", "ours, first") if size == sizes[-1] or size in (goals or {}) else ("ours",):
            yield Row(
                name,
                f"{what.format(size)}{', first in the process' if who != 'ours' else ''}",
                costs[who][-1],
                peer_name=peer_name,
                peer=theirs,
                absent=runs.reason(peer_name),
                goal=(goals or {}).get(size) if who == "ours" else None,
                most=(most or {}).get(size) if who == "ours" else None,
                how=how,
                note=f"{resident:.0f} MB resident",
            )
    present = {who: found for who, found in costs.items() if len(found) == 1 + len(sizes)}
    yield Series(
        name,
        what.format(0).replace("0 ", "", 1),
        tuple(sizes),
        {who: tuple(found[1:]) for who, found in present.items()},
        {who: found[0] for who, found in present.items()},
    )


def _loads(path: Path, arguments: Sequence[str] = ()) -> Run:
    return lambda: child("benchmarks.child", path, "--count", 3, *arguments)


def _dlopen(path: Path) -> Contender:
    return peers.ld_so("dlopen", path)


def _sizes(context: Context, *sizes: int) -> tuple[int, ...]:
    """The sizes, or a hundredth of them."""
    return tuple(max(2, size // 100) for size in sizes) if context.small else sizes


@subject()
def chain(context: Context) -> Results:
    """Libraries each of which needs the next, with a function and a variable of it: dlopen."""
    sizes = (3, 6, 10) if context.small else (10, 30, 100, 300)
    made = inputs.chain(context.folder, sizes[-1])
    goals = {100: 3.0, 300: 10.0}

    def make(size: int) -> Path:
        return made[max(size, 1) - 1]

    yield from series(context, "chain", "chain of {:,} libraries", sizes, make, "dlopen", _dlopen, goals=goals)
    size = sizes[-2]
    contenders = {
        "ours": _loads(make(size)),
        "CLE": peers.in_python(context.peers, "cle", make(size), context.folder),
    }
    runs = alternately(contenders, 1)
    how = "CLE loads and relocates the same files, in a fresh process"
    yield runs.row("chain", f"chain of {size} libraries, first in the process", "CLE", "first", how=how)


@subject()
def flat(context: Context) -> Results:
    """A library that needs many, which need nothing: dlopen."""
    sizes = (3, 6, 10) if context.small else (10, 30, 100, 300)

    def make(size: int) -> Path:
        return inputs.flat(context.folder, size)

    yield from series(context, "flat", "{:,} libraries side by side", sizes, make, "dlopen", _dlopen)


def _assembled(context: Context, name: str, text: Callable[[int], str], *, shared: bool) -> Callable[[int], Path]:
    """Files of assembler text by size."""
    return lambda size: inputs.assembled(context.folder, f"{name}{size}", text(size), shared=shared)


@subject()
def relocations(context: Context) -> Results:
    """Words that need rebasing: dlopen."""
    sizes = _sizes(context, 30_000, 100_000, 300_000, 1_000_000)
    make = _assembled(context, "words", lambda n: f".data\nbase: .rept {n}\n.quad base\n.endr\n", shared=True)
    yield from series(context, "relocations", "{:,} relative relocations", sizes, make, "dlopen", _dlopen)


@subject()
def symbols(context: Context) -> Results:
    """Exported functions, each with a word of the library that refers to it by name: dlopen."""
    sizes = _sizes(context, 10_000, 30_000, 100_000, 200_000)

    def text(size: int) -> str:
        functions = "".join(f".globl s{n}\n.type s{n},@function\ns{n}: ret\n" for n in range(size))
        return f".text\n{functions}.data\n" + "".join(f".quad s{n}\n" for n in range(size))

    make = _assembled(context, "symbols", text, shared=True)
    yield from series(context, "symbols", "{:,} words bound by name", sizes, make, "dlopen", _dlopen)


@subject()
def exports(context: Context) -> Results:
    """A library with many exports, none of which is used: dlopen."""
    sizes = _sizes(context, 20_000, 60_000, 200_000, 600_000)

    def text(size: int) -> str:
        return ".data\n" + "".join(f".globl s{n}\ns{n}: .byte 0\n" for n in range(size))

    make = _assembled(context, "exports", text, shared=True)
    yield from series(context, "exports", "{:,} exports, nothing asked", sizes, make, "dlopen", _dlopen)


@subject()
def sections(context: Context) -> Results:
    """Objects with many sections: lld -r."""
    sizes = _sizes(context, 3_000, 10_000, 30_000, 100_000)

    def text(size: int) -> str:
        one = '.section .text.f{0},"ax",@progbits\n.globl f{0}\nf{0}: ret\n'
        return "".join(one.format(n) for n in range(size))

    make = _assembled(context, "sections", text, shared=False)
    yield from series(
        context,
        "sections",
        "{:,} sections in an object",
        sizes,
        make,
        "lld -r",
        _lld,
        arguments=_NOTHING_KEPT,
        goals={100_000: 2.0},
        how=_LINKED,
    )


@subject()
def members(context: Context) -> Results:
    """Archives of many small members, all of them and one: lld -r."""
    sizes = _sizes(context, 2_000, 5_000, 15_000, 50_000)
    text = ".globl fn_0000000\nfn_0000000: ret\n"
    one = inputs.assembled(context.folder, "member", text, shared=False).read_bytes()

    def make(size: int) -> Path:
        path = context.folder / f"members{size}.a"
        names = [b"fn_%07d" % number for number in range(max(size, 1))]
        path.write_bytes(inputs.archive([one.replace(b"fn_0000000", name) for name in names], names))
        return path

    yield from series(
        context,
        "members",
        "archive of {:,} members, all of them",
        sizes,
        make,
        "lld -r --whole-archive",
        lambda path: _lld(path, "--whole-archive"),
        arguments=_NOTHING_KEPT,
        most={50_000: 1000.0},
        how=_LINKED,
    )
    yield from series(
        context,
        "members",
        "one of the {:,} members of an archive",
        sizes,
        make,
        "lld -r -u",
        lambda path: _lld(path, "-u", "fn_0000000"),
        arguments=(*_NOTHING_KEPT, "--undefined", "fn_0000000"),
        how=_LINKED,
    )


def _lld(path: Path, *flags: str) -> Contender:
    command = peers.lld()
    if isinstance(command, Absent):
        return command
    words = [*command, "-r", "-o", "/dev/null", *flags, str(path)]
    return lambda: peers.run(words)
