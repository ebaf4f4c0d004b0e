"""The files that are measured, made by clang and lld of the ziglang wheel. Small ones are kept between runs."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.measure import ROOT
from tests.toolcache import OUTPUT, made, text_file
from toolchains.engine import find_zig
from toolchains.targets import TARGETS

_FLAGS = ("-O1", "-ffreestanding", "-nostdinc", "-fno-stack-protector", "-fno-ident", "-w")
_LINK = ("-shared", "-z", "max-page-size=4096", "-z", "now", "--hash-style=gnu")


def _clang(target: str) -> list[str]:
    row = TARGETS[target]
    return [str(find_zig()), "clang", "-target", row.triple, *row.cflags]


def _lld(target: str) -> list[str]:
    return [str(find_zig()), "ld.lld", "-m", TARGETS[target].emulation]


def object_of(source: str, *flags: str, target: str = "x86_64") -> Path:
    """An object of C text, from the cache."""
    text = text_file(source, ".c")
    return made([*_clang(target), *_FLAGS, "-fPIC", *flags, "-c", text, "-o", OUTPUT], [text])


def library(source: str, soname: str = "", libraries: Sequence[Path] = (), target: str = "x86_64") -> Path:
    """A shared object of C text, from the cache."""
    code = object_of(source, target=target)
    flags = (*_LINK, *(["-soname", soname] if soname else []), "-rpath", "$ORIGIN")
    return made([*_lld(target), *flags, code, *libraries, "-o", OUTPUT], [code, *libraries], "lib{}.so")


def assembled(folder: Path, name: str, text: str, *, shared: bool) -> Path:
    """An object of assembler text, or a shared object: large ones, which are not kept."""
    source, code = folder / f"{name}.s", folder / f"{name}.o"
    source.write_text(text)
    subprocess.run([*_clang("x86_64"), "-c", source, "-o", code], check=True)
    source.unlink()
    if not shared:
        return code
    linked = folder / f"{name}.so"
    subprocess.run([*_lld("x86_64"), *_LINK, code, "-o", linked], check=True)
    code.unlink()
    return linked


def chain(folder: Path, count: int) -> list[Path]:
    """Libraries each of which needs the one before it, with a function and a variable of it; each has five
    relocations."""
    libraries: list[Path] = []
    previous: Path | None = None
    for number in range(1, count + 1):
        before = f"f{number - 1}", f"v{number - 1}"
        uses = f"extern int {before[0]}(int), {before[1]};" if previous else ""
        body = f"{before[0]}(x) + {before[1]}" if previous else "x"
        source = (
            f"{uses} int v{number} = 5; int *p{number} = &v{number}; int f{number}(int x) {{ return {body}; }}"
        )
        previous = library(source, f"c{number}.so", [previous] if previous else [])
        libraries.append(_placed(previous, folder / f"c{number}.so"))
    return libraries


def flat(folder: Path, count: int) -> Path:
    """A library that needs `count` others, with a function of each; they need nothing."""
    leaves = [library(f"int g{n}(int x) {{ return x + {n}; }}", f"leaf{n}.so") for n in range(count)]
    for number, leaf in enumerate(leaves):
        _placed(leaf, folder / f"leaf{number}.so")
    uses = "".join(f"extern int g{n}(int);\n" for n in range(count))
    words = ", ".join(f"g{n}" for n in range(count))
    root = library(f"{uses}int (*all[])(int) = {{{words}}};", f"flat{count}.so", leaves)
    return _placed(root, folder / f"flat{count}.so")


def _placed(path: Path, place: Path) -> Path:
    if not place.exists():
        shutil.copy(path, place)
    return place


def without_constructors(path: Path, folder: Path) -> Path:
    """A copy of a 64-bit library whose dynamic section names no constructors and destructors.

    So both sides do the same: ld.so cannot be asked to leave them out. DT_INIT and DT_FINI become DT_DEBUG, which
    means nothing in a library; the arrays get the size 0.
    """
    copy = folder / path.name
    shutil.copy(path, copy)
    copy.chmod(0o644)
    with copy.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for at in _dynamic(data):
            (tag,) = struct.unpack_from("<Q", data, at)
            if tag in (12, 13):  # DT_INIT, DT_FINI
                struct.pack_into("<QQ", data, at, 21, 0)
            elif tag in (27, 28):  # DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ
                struct.pack_into("<Q", data, at + 8, 0)
    return copy


def _dynamic(data: mmap.mmap) -> Iterator[int]:
    """Offsets of the entries of a 64-bit file's PT_DYNAMIC."""
    (headers,) = struct.unpack_from("<Q", data, 32)
    (count,) = struct.unpack_from("<H", data, 56)
    for number in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, headers + 56 * number)
        if kind == 2:
            yield from range(offset, offset + size, 16)


def archive(members: Sequence[bytes], symbols: Sequence[bytes]) -> bytes:
    """An archive with an index: one symbol of each member."""

    def header(name: str, size: int) -> bytes:
        return f"{name:<16}{0:<12}{0:<6}{0:<6}{644:<8}{size:<10}`\n".encode()

    names = b"".join(name + b"\0" for name in symbols)
    size = 4 + 4 * len(members) + len(names)
    names += bytes(size & 1)
    place, places, body = 8 + 60 + size + (size & 1), [], []
    for number, member in enumerate(members):
        places.append(place)
        body += [header(f"m{number:07}.o/", len(member)), member, b"\n" * (len(member) & 1)]
        place += 60 + len(member) + (len(member) & 1)
    index = struct.pack(f">{1 + len(members)}I", len(members), *places) + names
    return b"!<arch>\n" + header("/", len(index)) + index + b"".join(body)


def work(target: str, kind: str, rounds: int = 0) -> Path:
    """A library with `work(rounds)` of one kind (sources/work.c), or a static program that does it once."""
    sources, loops = Path(__file__).with_name("sources"), ROOT / "tests" / "machine" / "sources"
    read = [sources / "work.c", loops / "loops.c", loops / "start.h"]
    flags = ["-O2", "-fPIC", "-ffreestanding", "-fno-builtin", "-fno-vectorize", "-fno-slp-vectorize", "-w"]
    flags += [
        "-fno-stack-protector",
        f"-I{loops}",
        f"-DWORK={kind}",
        *([f"-DPROGRAM={rounds}u"] if rounds else []),
    ]
    if target == "aarch64":
        flags.append("-mno-outline-atomics")
    code = made([*_clang(target), *flags, "-c", read[0], "-o", OUTPUT], read)
    if rounds:
        return made([*_lld(target), "-static", code, "-o", OUTPUT], [code], "{}.elf")
    return made([*_lld(target), *_LINK, code, "-o", OUTPUT], [code], "lib{}.so")
