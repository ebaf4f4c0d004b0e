"""Shared objects: real ones, beside ld.so and the loaders in Python."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks import inputs, peers
from benchmarks.measure import Absent, Contender, Row, alternately, child, settle
from benchmarks.subject import Context, Results, subject
from relink import decode

FOLDERS = (Path("/usr/lib/x86_64-linux-gnu"), Path("/usr/lib64"))
#: SONAME → the ratios that are wanted: warm, and the first in a process.
_LIBRARIES = {"libLLVM-14.so.1": (1.0, 1.5), "libcrypto.so.3": (2.0, 3.0)}
_MOST_MEGABYTES = {"libLLVM-14.so.1": 75.0}
_ALONE = (
    "a copy of the file without constructors; what it needs counts as loaded here, is loaded before there; "
    "each in a fresh process, CPU time"
)


def found(name: str) -> Path | None:
    """A library of this host."""
    return next((folder / name for folder in FOLDERS if (folder / name).exists()), None)


@subject()
def library(context: Context) -> Results:
    """Real libraries, warm and first in the process: dlopen, LIEF, CLE."""
    for name, goals in _LIBRARIES.items():
        path = found(name)
        if path is None:
            continue
        bare = inputs.without_constructors(path, context.folder)
        needed = decode(path).needed
        provided = [word for soname in needed for word in ("--provided", soname)]

        settle()
        ours = partial(child, "benchmarks.child", bare, "--count", 6, "--no-initialisers", *provided)
        runs = alternately({"ours": ours, "dlopen": peers.ld_so("dlopen", bare, needed)}, context.rounds)
        note = f"{runs.least('ours', 'relocations'):,.0f} relocations"
        yield from runs.loads("library", name, "dlopen", goals=goals, how=_ALONE, note=note)
        if name in _MOST_MEGABYTES:
            resident, most = runs.least("ours", "rss"), _MOST_MEGABYTES[name]
            yield Row("library", f"{name}, resident", resident, "MB", most=most, how=_ALONE)
        yield from _readers(context, name, path, runs.least("ours", "first"))


def _readers(context: Context, name: str, path: Path, ours: float) -> Results:
    """The peers in Python, once: they take seconds."""
    for title, package, how in (
        ("LIEF", "lief", "LIEF only parses; ours loads"),
        ("CLE", "cle", "CLE without the libraries it needs"),
    ):
        runs = alternately({title: peers.in_python(context.peers, package, path)}, 1 if package == "cle" else 3)
        figure, reason = runs.of_peer(title), runs.reason(title)
        yield Row("library", f"{name}, first in the process", ours, "ms", title, figure, reason, goal=1.0, how=how)


@subject()
def real(context: Context) -> Results:
    """A real library with its real C library, constructors on both sides: dlmopen, and qemu-user's dlopen."""
    path = found("libcrypto.so.3")
    if path is None:
        return
    folders = [word for folder in FOLDERS for word in ("--folder", folder)]
    named: dict[str, Contender] = {
        "dlmopen": peers.ld_so("dlmopen", path),
        "qemu-user, dlmopen": qemu_dlmopen(path),
    }
    ours = partial(child, "benchmarks.child", path, "--count", 5, "--real", *folders)
    runs = alternately({"ours": ours, **named}, context.rounds)
    how = "the library, libc.so.6 and ld.so; constructors run on both sides"
    for name in named:
        yield from runs.loads("real", "libcrypto.so.3 with its libc", name, how=how)


def qemu_dlmopen(path: Path) -> Contender:
    """The host's ld.so under qemu-user: a Python of the host does the same as for dlmopen."""
    if reason := peers.native():
        return Absent(reason)
    qemu = peers.qemu("x86_64")
    if isinstance(qemu, Absent):
        return qemu
    return peers.under(qemu, "dlmopen", path)
