"""musl's dynamic linker for RISC-V 32, which Debian does not support: compiled from Debian's source of musl.

The steps are those of musl's makefile, which needs a configured cross gcc; here the wheel's clang and lld are
used, with zig's compiler-rt for compiler helpers. The result is libc and dynamic linker in one file, as musl is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emu.fetch.apt import PrivateApt, require, run, unpack
from toolchains.engine import Zig
from toolchains.targets import Target

_FOLDERS = ("ldso", "src/*", "src/malloc/mallocng", "crt")
_FLAGS = (
    "-std=c99",
    "-nostdinc",
    "-ffreestanding",
    "-fPIC",
    "-Os",
    "-w",
    "-fno-strict-aliasing",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-frounding-math",
    "-fno-ident",
    "-D_XOPEN_SOURCE=700",
)


def sources(folder: Path, arch: str) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder's source files as musl's makefile picks them: the architecture's own replace the general."""
    for pattern in _FOLDERS:
        for place in sorted(path for path in folder.glob(pattern) if path.is_dir()):
            if place.name == "crt" or (place.parent.name == "malloc" and place.name != "mallocng"):
                continue
            own = {
                path.stem: path for path in sorted((place / arch).glob("*")) if path.suffix in (".c", ".s", ".S")
            }
            general = {path.stem: path for path in sorted(place.glob("*.c"))}
            if chosen := list((general | own).values()):
                yield place, chosen


def _generated_headers(folder: Path, arch: str, into: Path) -> None:
    bits, internal = into / "include/bits", into / "internal"
    bits.mkdir(parents=True)
    internal.mkdir()
    kinds = (folder / "arch" / arch / "bits/alltypes.h.in", folder / "include/alltypes.h.in")
    (bits / "alltypes.h").write_text(run(["sed", "-f", folder / "tools/mkalltypes.sed", *kinds]))
    calls = (folder / "arch" / arch / "bits/syscall.h.in").read_text()
    lines = [line.replace("__NR_", "SYS_") for line in calls.splitlines() if "__NR_" in line]
    (bits / "syscall.h").write_text(calls + "\n".join(lines) + "\n")
    (internal / "version.h").write_text(f'#define VERSION "{(folder / "VERSION").read_text().strip()}"\n')


def _compiler_rt(engine: Zig, target: Target, work: Path) -> Path:
    """compiler-rt as an archive. It also has strlen and similar functions, weak and hidden. Hidden ones would
    prevent the export of musl's, so they are made visible here, and --exclude-libs hides the helpers.
    """
    triple = target.triple.replace("-gnu", "-musl")
    library, source = engine.path.parent / "lib", work / "compiler_rt.zig"
    shutil.copytree(library / "compiler_rt", work / "compiler_rt")
    source.write_text(
        (library / "compiler_rt.zig").read_text().replace(".visibility = .hidden", ".visibility = .default")
    )
    caches = (word for kind in ("cache", "global-cache") for word in (f"--{kind}-dir", str(work / kind)))
    run(
        [
            engine.path,
            "build-lib",
            "-fPIC",
            "-OReleaseSmall",
            "-fstrip",
            source,
            "-target",
            triple,
            "--name",
            "rt",
            *caches,
        ],
        cwd=work,
    )
    return work / "librt.a"


def _compile(engine: Zig, target: Target, folder: Path, work: Path) -> list[str]:
    """Compiles the sources in `folder`; returns the object files, each folder's in `work/objects`."""
    generated = work / "generated"
    _generated_headers(folder, target.arch, generated)
    includes = (
        folder / "arch" / target.arch,
        folder / "arch/generic",
        generated / "internal",
        folder / "src/include",
        folder / "src/internal",
        generated / "include",
        folder / "include",
    )
    flags = (*target.cflags, *_FLAGS, *(f"-I{path}" for path in includes))

    def compile_folder(place: Path, files: Sequence[Path]) -> list[str]:
        objects = work / "objects" / str(place.relative_to(folder)).replace("/", "_")
        objects.mkdir(parents=True)
        run([engine.path, "clang", "-target", target.triple, *flags, "-c", *files], cwd=objects)
        return [str(path) for path in sorted(objects.glob("*.o"))]

    with ThreadPoolExecutor(max_workers=2) as pool:
        compiled = list(pool.map(lambda pair: compile_folder(*pair), sources(folder, target.arch)))
    return [path for group in compiled for path in group]


def _link(engine: Zig, target: Target, objects: Sequence[str | Path], folder: Path, output: Path) -> None:
    """Links what musl's makefile links, with the list of symbols in `folder` that stay open to interposition."""
    run(
        [
            engine.path,
            "ld.lld",
            "-m",
            target.emulation,
            "-shared",
            "-soname=libc.so",
            "-e",
            "_dlstart",
            f"--dynamic-list={folder / 'dynamic.list'}",
            "--hash-style=both",
            "--exclude-libs=ALL",
            "--strip-debug",
            "--build-id=none",
            *objects,
            "-o",
            output,
        ]
    )


def build(target: Target, apt: PrivateApt, work: Path, into: Path) -> str:
    """Compiles musl for `target` into the file `into`; returns the version. Uses `work` for what it needs.

    Raises `FetchError`, `CompilerMissing`.
    """
    require("sed")
    archive = next(path for path in apt.source("musl", work / "download") if path.name.endswith((".gz", ".xz")))
    folder = unpack(archive, work / "unpacked")
    engine = Zig()
    objects = _compile(engine, target, folder, work)
    linked = work / "libc.so"
    _link(engine, target, [*objects, _compiler_rt(engine, target, work)], folder, linked)
    into.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(linked, into)
    into.chmod(0o755)
    return (folder / "VERSION").read_text().strip()
