"""Libraries compiled from Debian's source packages, for RISC-V 32, which Debian does not support.

They are compiled with the wheel's clang and zig's glibc headers, and linked without a C library: their imports
stay undefined, with glibc's names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emu.build.compilers import find_zig
from emu.build.compilers import run as compile_with
from emu.build.targets import Target
from emu.fetch.apt import PrivateApt, require, run, unpack
from emu.fetch.errors import ToolMissing

LIBRARY_FOLDER = "usr/lib"


@dataclass(frozen=True)
class Source:
    """One library: its Debian source package, the files to compile, and how.

    sources   globs within the unpacked archive; `without` takes files out again
    defines   preprocessor definitions, as after -D
    includes  folders within the archive
    needs     binary packages (keys of `SOURCES`) whose headers and library it wants
    script    a version script within the archive
    headers   what to install for the libraries that need this one
    prepare   what to do to the archive first
    tools     programs of the host that `prepare` wants
    """

    source: str
    soname: str
    sources: tuple[str, ...]
    without: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    includes: tuple[str, ...] = (".",)
    headers: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    script: str | None = None
    prepare: Callable[[Path, Path], None] | None = None
    tools: tuple[str, ...] = ()
    cflags: tuple[str, ...] = ("-O2",)


@dataclass(frozen=True)
class Made:
    """A compiled library in a separate tree, with its source archive."""

    tree: Path
    version: str
    archive: Path


def _prebuilt_png_configuration(folder: Path, zig: Path) -> None:
    shutil.copy(folder / "scripts/pnglibconf.h.prebuilt", folder / "pnglibconf.h")


def _amalgamate_sqlite(folder: Path, zig: Path) -> None:
    """Generates sqlite3.c with SQLite's own makefile; its generators are compiled for the host first."""
    compiler = f"{zig} cc -O0 -w -fno-sanitize=undefined"
    run(
        ["make", "-s", "-f", "main.mk", "TOP=.", f"BCC={compiler}", "TCC=false", "TCLSH=tclsh", "sqlite3.c"],
        cwd=folder,
    )


_LZMA_FOLDERS = ("api", "common", "check", "lz", "rangecoder", "lzma", "delta", "simple")
_LZMA_FILTERS = (
    "LZMA1",
    "LZMA2",
    "DELTA",
    "X86",
    "ARM",
    "ARM64",
    "ARMTHUMB",
    "POWERPC",
    "IA64",
    "SPARC",
    "RISCV",
)

SOURCES: Mapping[str, Source] = {
    "zlib1g": Source(
        "zlib",
        "libz.so.1",
        ("*.c",),
        defines=("HAVE_UNISTD_H", "HAVE_STDARG_H", "HAVE_HIDDEN"),
        headers=("zlib.h", "zconf.h"),
        script="zlib.map",
    ),
    "libpng16-16t64": Source(
        "libpng1.6",
        "libpng16.so.16",
        ("png*.c",),
        without=("pngtest.c",),
        defines=("PNG_HARDWARE_OPTIMIZATIONS=0",),
        headers=("png.h", "pngconf.h", "pnglibconf.h"),
        needs=("zlib1g",),
        prepare=_prebuilt_png_configuration,
    ),
    "liblzma5": Source(
        "xz-utils",
        "liblzma.so.5",
        (
            "src/common/tuklib_physmem.c",
            "src/common/tuklib_cpucores.c",
            *(f"src/liblzma/{folder}/*.c" for folder in _LZMA_FOLDERS),
        ),
        without=("*_tablegen.c", "*_small.c", "stream_*_mt.c", "outqueue.c", "crc*_clmul*.c"),
        defines=(
            "HAVE_STDBOOL_H",
            "HAVE_STDINT_H",
            "HAVE_INTTYPES_H",
            "HAVE_VISIBILITY=1",
            "NDEBUG",
            "ASSUME_RAM=128",
            "HAVE_ENCODERS",
            "HAVE_DECODERS",
            "HAVE_LZIP_DECODER",
            "TUKLIB_SYMBOL_PREFIX=lzma_",
            "SIZEOF_SIZE_T=4",
            *(f"HAVE_CHECK_{name}" for name in ("CRC32", "CRC64", "SHA256")),
            *(f"HAVE_MF_{finder}" for finder in ("HC3", "HC4", "BT2", "BT3", "BT4")),
            *(f"HAVE_{side}CODER_{name}" for side in ("EN", "DE") for name in _LZMA_FILTERS),
        ),
        includes=("src/common", *(f"src/liblzma/{folder}" for folder in _LZMA_FOLDERS)),
        script="src/liblzma/liblzma_generic.map",
    ),
    "libsqlite3-0": Source(
        "sqlite3",
        "libsqlite3.so.0",
        ("sqlite3.c",),
        prepare=_amalgamate_sqlite,
        tools=("make", "tclsh"),
        defines=("SQLITE_THREADSAFE=0", "SQLITE_OMIT_LOAD_EXTENSION", "HAVE_USLEEP"),
        cflags=("-O1",),
    ),
}
"""Every library that can be compiled, by the name of the Debian package that holds it elsewhere."""


def in_order(names: Iterable[str]) -> list[str]:
    """`names` and their dependencies, dependencies first."""
    order: list[str] = []
    for name in names:
        order += [need for need in (*in_order(SOURCES[name].needs), name) if need not in order]
    return order


def _files(recipe: Source, folder: Path) -> list[Path]:
    found = (path for pattern in recipe.sources for path in sorted(folder.glob(pattern)))
    return [path for path in found if not any(path.match(pattern) for pattern in recipe.without)]


def _flags(recipe: Source, zig: Path, root: Path) -> tuple[str, ...]:
    libc = zig.parent / "lib/libc/include"
    headers = ("riscv-linux-gnu", "generic-glibc", "riscv-linux-any", "any-linux-any")
    system = (zig.parent / "lib/include", *(libc / name for name in headers), root / "usr/include")
    return (
        "-nostdinc",
        *(word for path in system for word in ("-isystem", str(path))),
        *(f"-I{path}" for path in recipe.includes),
        *(f"-D{define}" for define in recipe.defines),
        "-D__GLIBC_MINOR__=41",
        *recipe.cflags,
        "-fPIC",
        "-w",
        "-fno-ident",
    )


def make(name: str, target: Target, apt: PrivateApt, work: Path, root: Path) -> Made:
    """Fetches and compiles `name` (a key of `SOURCES`), whose needs lie in `root` already.

    Raises `FetchError`, `BuildError`.
    """
    recipe = SOURCES[name]
    zig = find_zig()
    if zig is None:
        raise ToolMissing(
            f"{name} for {target.name} is compiled from source, with the compiler in the ziglang wheel, which is "
            "not installed: pip install 'relink-emu[pytest]'"
        )
    require(*recipe.tools)
    archive = apt.source(recipe.source, work / "download")[0]
    folder = unpack(archive, work / "unpacked")
    if recipe.prepare:
        recipe.prepare(folder, zig)
    command = [str(zig), "clang", "-target", target.triple, *target.cflags, *_flags(recipe, zig, root)]
    objects = []
    for number, path in enumerate(_files(recipe, folder)):
        objects.append(str(work / f"{number}.o"))
        words = [*command, "-c", str(path.relative_to(folder)), "-o", objects[-1]]
        compile_with(target.name, words, folder)
    tree = work / "tree"
    _link(zig, recipe, target, objects, folder, tree / LIBRARY_FOLDER, root)
    (tree / "usr/include").mkdir(parents=True)
    for header in recipe.headers:
        shutil.copy(folder / header, tree / "usr/include")
    version = archive.name.removeprefix(f"{recipe.source}_").split(".orig.tar")[0]
    return Made(tree, version, archive)


def _link(
    zig: Path, recipe: Source, target: Target, objects: Sequence[str], folder: Path, into: Path, root: Path
) -> None:
    into.mkdir(parents=True)
    script = (f"--version-script={recipe.script}", "--undefined-version") if recipe.script else ()
    needed = [str(root / LIBRARY_FOLDER / SOURCES[need].soname) for need in recipe.needs]
    words = [str(zig), "ld.lld", "-m", target.emulation, "-shared", f"-soname={recipe.soname}"]
    words += ["-z", "max-page-size=4096", "--build-id=none", "--strip-debug"]
    compile_with(target.name, [*words, *script, *objects, *needed, "-o", str(into / recipe.soname)], folder)
