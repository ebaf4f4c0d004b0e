"""A whole static library, linked: lld and JITLink."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from benchmarks import inputs, peers
from benchmarks.measure import Absent, Contender, Run, alternately, child, settle
from benchmarks.subject import Context, Results, subject
from emu.fetch.errors import FetchError
from relink.elf.archive import Archive
from toolchains.archives import FLAVOURS
from toolchains.archives import archives as fetched

_HOW = "all members, externals at one address; the peer's whole process"


@subject()
def archive(context: Context) -> Results:
    """All of libcrypto.a: lld -r, lld -shared, llvm-jitlink."""
    yield from _linked(context, "archive", "x86_64", "libcrypto.a")


@subject(asked=True)
def archives(context: Context) -> Results:
    """The same on the other architectures that Debian has: lld -r, lld -shared."""
    for arch, row in FLAVOURS.items():
        if arch != "x86_64" and "libcrypto.a" in row.files:
            yield from _linked(context, "archives", arch, f"libcrypto.a, {arch}")


def _linked(context: Context, subject_name: str, arch: str, what: str) -> Results:
    path = next((found for found in _places(arch) if found.exists()), None)
    if path is None:
        return
    count = len(Archive.open(path).objects)
    named = {
        "lld -r": _lld(arch, path, context.folder, "-r"),
        "lld -shared": _lld(
            arch, path, context.folder, "-shared", "-z", "notext", "--unresolved-symbols=ignore-all"
        ),
    }
    if arch == "x86_64":
        named["llvm-jitlink"] = _jitlink(path, context.folder)
    settle()
    options = ("--arch", arch, "--link", "--no-cache", "--count", 3)
    ours: Run = lambda: child("benchmarks.child", path, *options)  # noqa: E731
    figures = alternately({"ours": ours, **named}, context.rounds)
    note = f"{figures.least('ours', 'relocations'):,.0f} relocations"
    for name in named:
        goals = (2.0 if name == "lld -shared" else None, None)
        yield from figures.loads(subject_name, f"{what}, {count} members", name, goals=goals, how=_HOW, note=note)


def _places(arch: str) -> Iterator[Path]:
    """The host's own, or Debian's, which is fetched."""
    if arch == "x86_64":
        yield Path("/usr/lib/x86_64-linux-gnu/libcrypto.a")
    try:
        yield from fetched(arch, "libcrypto.a")
    except FetchError:
        return


def _lld(arch: str, path: Path, folder: Path, *flags: str) -> Contender:
    command = peers.lld(arch)
    if isinstance(command, Absent):
        return command
    words: list[str | Path] = [*command, *flags, "--whole-archive", path, "-o", folder / "linked"]
    return lambda: peers.run(words)


def _jitlink(path: Path, folder: Path) -> Contender:
    """JITLink links what its entry needs: one object that names a function of each member."""
    command = peers.jitlink()
    if isinstance(command, Absent):
        return command
    members = folder / "members"
    members.mkdir()
    subprocess.run(["ar", "x", path], cwd=members, check=True)
    objects = sorted(members.glob("*.o"))
    words = "".join(f".quad {name}\n" for name in _one_of_each(objects))
    root = inputs.assembled(folder, "every", f".data\n.globl every\nevery:\n{words}", shared=False)
    line: list[str | Path] = [command, "-noexec", "-phony-externals", "-entry=every", root, *objects]
    return lambda: peers.run(line)


def _one_of_each(objects: list[Path]) -> Iterator[str]:
    """A global symbol that each object defines."""
    for path in objects:
        with path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            symbols = table.iter_symbols() if isinstance(table, SymbolTableSection) else ()
            yield from islice((found.name for found in symbols if _is_exported(found.entry)), 1)


def _is_exported(entry: Mapping[str, Any]) -> bool:
    return bool(entry["st_info"]["bind"] == "STB_GLOBAL" and entry["st_shndx"] != "SHN_UNDEF")
