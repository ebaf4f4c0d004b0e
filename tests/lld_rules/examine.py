"""One call of ld.lld, and whether this linker comes to the same.

- What ld.lld refuses must be an error here.
- What it links must be linked here: each global symbol from the same section of the same object, and, where the
  inputs are objects alone, every section with the same bytes (`tests.objects.side_by_side`).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from relink import HostMemory, Image, Linker, LoadOptions
from relink.arch import architecture
from relink.errors import LibraryNotFound, LinkErrors, RelinkError, UnsupportedElf
from relink.resolve.sources import DefinedSymbols
from relink.search.search_path import SearchPath
from tests.lld_rules.categories import by_options, by_refusal
from tests.lld_rules.shell import Invocation
from tests.objects.side_by_side import TheyRefuse, decode, is_fit, link_both

#: Options followed by a word of their own.
_VALUED = frozenset((
    "-o", "-m", "-e", "--entry", "-z", "-soname", "--soname", "-h", "-init", "-fini", "-rpath", "--rpath",
    "-dynamic-linker", "--dynamic-linker", "-L", "-l", "-u", "--undefined", "-defsym", "--defsym", "-wrap",
    "--wrap", "-O", "-f", "-F", "-auxiliary", "-filter", "--filter", "--auxiliary", "-Bsymbolic-functions",
    "-rpath-link", "-mllvm", "--hash-style", "-hash-style", "-y", "-Ttext",
))  # fmt: skip
_MACHINES = {62: "x86_64", 3: "i386", 183: "aarch64", 40: "arm", 243: "riscv", 258: "loongarch64"}


_STRANGE = (
    "Bstatic",
    "static",
    "undefined-glob",
    "just-symbols",
    "remap-inputs",
    "library",
    "dn",
    "non_shared",
    "dy",
)


@dataclass
class Link:
    """What a command line gives, in terms of this linker."""

    files: list[Path] = field(default_factory=list)
    libraries: list[Path] = field(default_factory=list)
    undefined: list[str] = field(default_factory=list)
    wrap: list[str] = field(default_factory=list)
    symbols: dict[str, int] = field(default_factory=dict)
    shared: bool = False
    whole: bool = False
    complete: bool = False  #: -z defs
    library: list[Path] | None = None  #: since --start-lib
    strange: str | None = None  #: an option that has no counterpart


@dataclass(frozen=True)
class Verdict:
    """`kind` is held, refused by name, wrong, or a category of what does not apply."""

    kind: str
    detail: str = ""


_PROGRAM, _LIBRARIES, _STEP = 0x100_0000, 0x400_0000, 0x40_0000  #: guest addresses in reach of each other
_TLS_SIZE = 1 << 26
_OF_THE_MACHINE = dict.fromkeys(("__tls_get_addr", "___tls_get_addr"), 0x8000)
HELD, REFUSED, WRONG = "held", "refused by name", "wrong"


def examine(call: Invocation, lld: Sequence[str]) -> tuple[int, Verdict]:
    """(exit status of ld.lld, verdict). Writes ld.lld's output where the test wants it."""
    done = subprocess.run(
        [*lld, *call.arguments],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=call.folder,
        timeout=120,
        check=False,
    )
    category = by_options(call.arguments)
    if category is None and done.returncode:
        category = by_refusal(done.stderr)
    if category is not None:
        return done.returncode, Verdict(category)
    link = understood(call)
    arch = next((found for path in link.files if (found := _architecture(path))), None)
    if link.strange or not link.files or arch is None:
        return done.returncode, Verdict(f"no counterpart: {link.strange or 'inputs'}")
    if done.returncode:
        return done.returncode, _must_fail(link, arch, done.stderr)
    return 0, _must_hold(link, arch, call, lld)


def understood(call: Invocation) -> Link:
    """The command line's inputs and options."""
    link, words, folders = Link(), list(call.arguments), [call.folder]
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        bare = name.lstrip("-")
        if not word.startswith("-"):
            _add(link, call.folder / word)
            continue
        if name in _VALUED and not value and words and (word in ("-l", "-L", "-O") or bare not in ("l", "L", "O")):
            value = words.pop(0)
        if bare in ("u", "undefined"):
            link.undefined.append(value)
        elif bare == "wrap":
            link.wrap.append(value)
        elif bare == "defsym":
            left, _, right = value.partition("=")
            if not re.fullmatch(r"(0x)?[0-9a-fA-F]+", right):
                link.strange = "--defsym of an expression"
            else:
                link.symbols[left] = int(right, 0)
        elif bare in ("z", "no-undefined") and value in ("", "defs", "undefs"):
            link.complete = value != "undefs"
        elif bare in ("shared", "Bshareable"):
            link.shared = True
        elif bare == "whole-archive":
            link.whole = True
        elif word.startswith("-L"):
            folders.append(call.folder / (word[2:] or value))
        elif word.startswith("-l") and bare != "lto":
            wanted = word[2:] or value
            found = [f / n for f in folders for n in (f"lib{wanted}.so", f"lib{wanted}.a", wanted.lstrip(":"))]
            path = next((path for path in found if path.is_file()), None)
            if path is None:
                link.strange = "-l before -L"
            else:
                _add(link, path)
        elif bare in ("start-lib", "end-lib"):
            _close_library(link, call.folder)
            link.library = [] if bare == "start-lib" else None
        elif bare in _STRANGE:
            link.strange = f"--{bare}"
    _close_library(link, call.folder)
    return link


def _close_library(link: Link, folder: Path) -> None:
    """Objects between --start-lib and --end-lib: an archive."""
    if link.library:
        archive = folder / f"lib{len(link.files)}.a"
        archive.unlink(missing_ok=True)
        subprocess.run(["llvm-ar", "rcs", archive, *link.library], check=True)
        link.files.append(archive)


def _add(link: Link, path: Path) -> None:
    if path.is_dir():
        link.strange = "a folder"
    elif path.is_file() and path.read_bytes()[:1] not in (b"\x7f", b"!"):
        link.strange = "a linker script"
    if link.library is not None and not _is_shared(path):
        link.library.append(path)
    else:
        (link.libraries if _is_shared(path) else link.files).append(path)


def _is_shared(path: Path) -> bool:
    try:
        head = path.read_bytes()[:20]
    except OSError:
        return False
    return head[:4] == b"\x7fELF" and int.from_bytes(head[16:18], "little") == 3


def _architecture(path: Path) -> str | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if data[:7] == b"!<arch>" and (at := data.find(b"\x7fELF")) > 0:
        data = data[at:]
    if data[:4] != b"\x7fELF" or data[5] != 1:
        return None
    name = _MACHINES.get(int.from_bytes(data[18:20], "little"))
    return name if name != "riscv" else f"riscv{64 if data[4] == 2 else 32}"


def _linked(link: Link, arch: str, *, lenient: bool = True) -> Image:
    """The image. `lenient`: what libraries lack is deferred, and the machine's functions are there."""
    folders = [str(path.parent) for path in link.libraries]
    linker = Linker(HostMemory(arch), tls_size=_TLS_SIZE, search=SearchPath(library_path=folders))
    for number, library in enumerate(link.libraries):
        linker.load(
            library,
            options=LoadOptions(
                allow_deferred=lenient,
                base=_LIBRARIES + number * _STEP,
            ),
        )
    options = LoadOptions(
        base=None if link.shared else _PROGRAM,
        late_sources=[DefinedSymbols(_OF_THE_MACHINE)] if lenient else (),
        undefined=link.undefined,
        wrap=link.wrap,
        whole_archive=link.whole,
        sources=[DefinedSymbols(link.symbols)] if link.symbols else (),
        allow_deferred=link.shared and not link.complete,
    )
    return linker.load(link.files, options=options)


def _must_fail(link: Link, arch: str, theirs: str) -> Verdict:
    for lenient in (True, False):
        try:
            _linked(link, arch, lenient=lenient)
        except RelinkError as error:
            return Verdict(HELD, f"{theirs[:300]} -- {str(error)[:300]}")
    return Verdict(WRONG, f"linked, but ld.lld says: {theirs[:400]}")


def _must_hold(link: Link, arch: str, call: Invocation, lld: Sequence[str]) -> Verdict:
    try:
        image = _linked(link, arch)
    except UnsupportedElf as error:
        return Verdict(REFUSED, str(error))
    except LinkErrors as errors:
        if all(isinstance(error, UnsupportedElf) for error in errors.exceptions):
            return Verdict(REFUSED, str(errors))
        return Verdict(WRONG, str(errors)[:600])
    except LibraryNotFound:
        return Verdict("no counterpart: a dependency that is not given")
    except RelinkError as error:
        return Verdict(WRONG, f"{type(error).__name__}: {error}"[:600])
    wrong = _symbols_elsewhere(image, call, lld) or _other_bytes(link, arch, call, lld)
    return Verdict(WRONG, wrong) if wrong else Verdict(HELD)


def _symbols_elsewhere(image: Image, call: Invocation, lld: Sequence[str]) -> str:
    """Global symbols that come from another place than ld.lld's, by its map."""
    report, output = call.folder / "map.txt", call.folder / "mapped.out"
    subprocess.run(
        [*lld, *call.arguments, f"-Map={report}", "-o", output],
        capture_output=True,
        cwd=call.folder,
        timeout=120,
        check=False,
    )
    if not report.is_file() or not output.is_file():
        return ""
    theirs = _from_map(report.read_text(errors="replace"))
    link_map = image.link_map()
    ours: dict[str, set[str]] = {}
    for symbol in link_map.symbols:
        if symbol.binding != "LOCAL":
            ours.setdefault(symbol.name, set()).add(_plain_name(symbol.object or ""))
    with output.open("rb") as stream:
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        rows = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
        local = {s.name for s in rows if s["st_info"]["bind"] == "STB_LOCAL"}
        bound = {s.name for s in rows if s["st_info"]["bind"] != "STB_LOCAL" and _is_loaded(elf, s["st_shndx"])}
    wrong = []
    for name, origin in theirs.items():
        known = {found.rpartition("(")[2].rstrip(")") for found in ours.get(name, set())} | ours.get(name, set())
        if name in bound and name not in local and origin and origin not in known:
            wrong.append(f"{name}: theirs from {origin}, ours from {ours.get(name)}")
    return "; ".join(wrong)


def _is_loaded(elf: ELFFile, section: int | str) -> bool:
    return isinstance(section, int) and bool(elf.get_section(section)["sh_flags"] & 2)


def _from_map(text: str) -> dict[str, str]:
    """Name of each symbol → name of its object, from ld.lld's -Map."""
    origin, found = "", {}
    for line in text.splitlines()[1:]:
        columns = re.match(r"\s*[0-9a-f]+\s+[0-9a-f]+\s+[0-9a-f]+\s+\d+ (\s*)(.*)", line)
        if columns is None:
            continue
        depth, name = len(columns[1]), columns[2]
        if depth == 8:
            origin = _plain_name(name.partition(":(")[0])
        elif depth == 16 and not origin.startswith("<internal>"):
            found[name] = origin
    return found


def _plain_name(path: str) -> str:
    archive, _, member = path.partition("(")
    return f"{Path(archive).name}({member}" if member else Path(archive).name


def _other_bytes(link: Link, arch: str, call: Invocation, lld: Sequence[str]) -> str:
    if link.libraries or link.wrap or link.symbols or any(not _is_object(path) for path in link.files):
        return ""
    members = [(path.name, path.read_bytes()) for path in link.files]
    if not all(is_fit(decode(name, data)) for name, data in members):
        return ""
    folder = call.folder / f"sides{call.line}"
    folder.mkdir(exist_ok=True)
    command = [*lld, "-static", "-O0", "-z", "norelro"]
    try:
        relaxes = frozenset({"GOT_PC_HI20", "GOT_PC_LO12"}) if arch == "loongarch64" else frozenset[str]()
        sides = link_both(architecture(arch), members, command, folder, relaxes=relaxes)
        differences = sides.differences()
    except (TheyRefuse, AssertionError, RelinkError, ValueError, KeyError) as error:
        return (
            ""
            if isinstance(error, (TheyRefuse, RelinkError))
            else f"cannot compare: {type(error).__name__} {error}"[:200]
        )
    differences = [found for found in differences if not (arch == "arm" and _is_veneer(found.entry))]
    return "; ".join(str(difference) for difference in differences[:3])


def _is_veneer(entry: str) -> bool:
    """Arm: calls between instruction sets and out of range; each linker has veneers of its own."""
    return not entry or re.search(r"R_ARM_(THM_)?(CALL|JUMP\d+|PC24|PLT32)", entry) is not None


def _is_object(path: Path) -> bool:
    head = path.read_bytes()[:18]
    return head[:4] == b"\x7fELF" and head[16] == 1
