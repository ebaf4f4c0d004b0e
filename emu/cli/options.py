"""Options shared by several commands, defined once.

A group is a frozen dataclass whose fields are options. A command with a parameter of that class gets all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from emu.cli.command import Option, Usage
from relink.log import Log
from relink.records import dataclass, field

if TYPE_CHECKING:
    from emu.library import Library
    from emu.machine import Machine
    from relink.arch import Architecture, FloatAbi
    from relink.load.plan import Plan
    from relink.search.search_path import SearchPath

_log = Log(__name__)
#: The values of `relink.relocate.lazy.BindMode`, without importing the linker for --help.
_BINDINGS = ("now", "lazy", "faithful")


@dataclass(frozen=True)
class Output:
    """Options for the output."""

    json: Annotated[bool, Option("--json", help="Print one JSON object instead.")] = False
    demangle: Annotated[bool, Option("--demangle/--no-demangle", help="Show C++ and Rust names demangled.")] = True
    debug: Annotated[bool, Option("--debug", hidden=True)] = False
    verbose: Annotated[
        int,
        Option("--verbose", "-v", count=True, help="Log to standard error; -vv: in detail."),
    ] = 0

    def __post_init__(self) -> None:
        from emu.cli.log import set_output

        set_output(self.verbose, as_json=self.json)


@dataclass(frozen=True)
class Target:
    """The architecture of the code."""

    arch: Annotated[
        str | None,
        Option("--arch", "-a", metavar="NAME", help="Architecture (see arches); taken from the file if omitted."),
    ] = None

    def architecture(self) -> Architecture | None:
        """The given architecture, or None. Raises Usage for an unknown name."""
        from relink.arch import UnknownArchitecture, architecture

        if self.arch is None:
            return None
        try:
            return architecture(self.arch)
        except UnknownArchitecture as error:
            raise Usage(str(error), param_hint="'--arch'") from None

    def of(self, library: str, search: Search) -> Architecture:
        """The given architecture, else that of the file `library`.

        Raises Usage for an unknown name, or when a library must be searched and no architecture is given; ElfError
        for a file that cannot be read or is for an unsupported machine. A mismatch between the two is reported by
        the load.
        """
        named = self.architecture()
        if named is not None:
            return named
        if search.somewhere and "/" not in library and not Path(library).exists():
            raise Usage(
                f"{library} is not a file here; to search for it, give the architecture",
                param_hint="'--arch'",
            )
        from relink.elf.machines import supported
        from relink.errors import LibraryNotFound
        from relink.objects.archive_members import header_of

        if "/" not in library and ".so" in library and not Path(library).exists():
            places = [("the working directory", "no such file"), ("default folders", "no sysroot was given")]
            raise LibraryNotFound(library, None, places)

        header = header_of(library)
        return supported(library, header.machine, header.bits)


@dataclass(frozen=True)
class Search:
    """Options for finding libraries."""

    library_path: Annotated[
        list[Path] | None,
        Option("--library-path", "-L", metavar="FOLDER", help="Folder to search for libraries. May be repeated."),
    ] = None
    sysroot: Annotated[
        Path | None, Option("--sysroot", metavar="FOLDER", help="Root folder of the guest's file system.")
    ] = None
    preload: Annotated[
        list[str] | None,
        Option("--preload", metavar="LIB", help="Library to load before all others. May be repeated."),
    ] = None
    libc: Annotated[bool, Option("--libc/--no-libc", help="Provide the C library from the host.")] = True

    def __post_init__(self) -> None:
        for option, folder in (*(("-L", f) for f in self.library_path or ()), ("--sysroot", self.sysroot)):
            if folder is not None and not folder.is_dir():
                raise Usage(f"{folder} is not a folder", param_hint=f"'{option}'")

    @property
    def somewhere(self) -> bool:
        """Whether there is any place to search for a library name."""
        return bool(self.library_path) or self.sysroot is not None

    @property
    def path(self) -> SearchPath:
        from relink.search.search_path import SearchPath

        return SearchPath({}, self.library_path or (), self.sysroot)

    def find(self, library: str, arch: Architecture) -> Path | None:
        """The file that a load of `library` would open; None without one, which the load reports."""
        if "/" in library or os.path.exists(library):
            return Path(library)
        from relink.search.graph import SearchContext, find

        decoded = find(library, SearchContext(arch, self.path)).decoded
        return None if decoded is None else decoded.path


@dataclass(frozen=True)
class Running:
    """Options for the guest: symbols, addresses, limits."""

    define: Annotated[
        list[str] | None,
        Option(
            "--define",
            "-D",
            metavar="NAME=VALUE",
            help="Define an imported symbol as this address. May be repeated.",
        ),
    ] = None
    allow_unresolved: Annotated[
        bool, Option("--allow-unresolved", help="Accept undefined symbols; calling one is an error.")
    ] = False
    base: Annotated[
        str | None, Option("--base", metavar="ADDRESS", help="Guest address of the image's first page.")
    ] = None
    binding: Annotated[
        str,
        Option(
            "--binding",
            metavar="WHEN",
            help="When calls through the PLT are bound: now, lazy (at the first call), faithful (as by ld.so).",
        ),
    ] = "now"
    float_abi: Annotated[
        str | None,
        Option(
            "--float-abi",
            metavar="NAME",
            help="How calls pass floating point: soft-float, single-float, hard-float; taken from the file if "
            "omitted.",
        ),
    ] = None
    timeout: Annotated[
        float,
        Option("--timeout", min=0, metavar="SECONDS", help="Time limit for each call or load; 0: none."),
    ] = 60.0
    max_instructions: Annotated[
        int,
        Option(
            "--max-instructions",
            min=0,
            metavar="COUNT",
            help="Likewise, counted in instructions; 0: none.",
        ),
    ] = 0
    tls_size: Annotated[
        int,
        Option(
            "--tls-size",
            min=0,
            metavar="BYTES",
            help="Static thread-local storage per thread; 0: the default, or what a program needs.",
        ),
    ] = 0
    #: `define`, parsed.
    definitions: dict[str, int] = field(init=False, default_factory=dict)
    #: `base`, parsed.
    address: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        for text in self.define or ():
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise Usage(f"{text!r} is not of the form NAME=VALUE", param_hint="'--define'")
            self.definitions[name.strip()] = _integer(value, "--define", text)
        if self.binding not in _BINDINGS:
            problem = f"{self.binding!r} is not one of {', '.join(_BINDINGS)}"
            raise Usage(problem, param_hint="'--binding'")
        if self.base is not None:
            object.__setattr__(self, "address", _integer(self.base, "--base", self.base))

    def machine(
        self,
        arch: Architecture,
        search: Search,
        sources: Sequence[str],
        *,
        files: dict[str, bytes | bytearray] | None = None,
        stdin: bytes | Callable[[int], bytes] = b"",
        tls_size: int = 0,
    ) -> Machine:
        """A machine with these options, for loading `sources`.

        Raises Usage for a definition that does not fit the architecture's addresses and for an unavailable float
        ABI, ElfError for sources that cannot be read.
        """
        from emu.machine import Machine
        from relink.tls import DEFAULT_STATIC_SIZE

        for name, value in self.definitions.items():
            if value > arch.address_mask:
                problem = f"{name}={value:#x} does not fit the {arch.bits} bits of {arch.name}"
                raise Usage(problem, param_hint="'--define'")
        machine = Machine(
            arch,
            library_path=search.library_path or (),
            sysroot=search.sysroot,
            hosted_libc=search.libc,
            symbols=self.definitions,
            timeout=self.timeout,
            max_instructions=self.max_instructions,
            binding=self.binding,
            float_abi=self._float_abi(arch, search, sources),
            files=files,
            stdin=stdin,
            tls_size=self.tls_size or tls_size or DEFAULT_STATIC_SIZE,
        )
        machine.loader.on_load.append(_show_warnings)
        return machine

    def _float_abi(self, arch: Architecture, search: Search, sources: Sequence[str]) -> FloatAbi | None:
        """The given float ABI, else that of the first of `sources` that has one and was found."""
        from emu.isa.registry import float_convention
        from relink.arch import FloatAbi

        had = {abi.value: abi for abi in FloatAbi if float_convention(arch.name, abi) is not None}
        if self.float_abi is not None:
            if self.float_abi not in had:
                problem = f"{self.float_abi!r} is not a float ABI of {arch.name}: {', '.join(had)}"
                raise Usage(problem, param_hint="'--float-abi'")
            return had[self.float_abi]
        if len(had) == 1:
            return None
        from relink.objects.float_abi import first_float_abi

        files = (search.find(source, arch) for source in sources)
        found = first_float_abi([file for file in files if file is not None], arch)
        return found if found in had.values() else None


@dataclass(frozen=True)
class Loading(Running):
    """Options for loading a library."""

    beside: Annotated[
        list[str] | None,
        Option(
            "--with",
            metavar="FILE",
            help="Object or archive to link with the object LIB, as one image. May be repeated.",
        ),
    ] = None
    undefined: Annotated[
        list[str] | None,
        Option("--undefined", "--want", "-u", metavar="NAME", help="Symbol to look up in archives. Repeatable."),
    ] = None
    whole_archive: Annotated[bool, Option("--whole-archive", help="Load all members of archives.")] = False
    wrap: Annotated[
        list[str] | None,
        Option(
            "--wrap",
            metavar="NAME",
            help="Let objects that refer to NAME refer to __wrap_NAME, and to __real_NAME for NAME. Repeatable.",
        ),
    ] = None

    def sources(self, library: str) -> list[str]:
        """The library and the files linked with it."""
        return [library, *(self.beside or ())]

    def load(
        self,
        machine: Machine,
        library: str,
        search: Search,
        undefined: Sequence[str] = (),
        *,
        run_initialisers: bool = True,
        allow_unresolved: bool = False,
    ) -> Library:
        """Load `library` with these options; `undefined` also selects archive members. Raises RelinkError."""
        return machine.load(
            self.sources(library) if self.beside else library,
            base=self.address,
            preload=search.preload or (),
            allow_unresolved=self.allow_unresolved or allow_unresolved,
            undefined=[*(self.undefined or ()), *undefined],
            whole_archive=self.whole_archive,
            wrap=self.wrap or (),
            run_initialisers=run_initialisers,
        )


def _show_warnings(plan: Plan) -> None:
    """Log the warnings about loaded files."""
    for image in plan.images:
        _log.info("loaded %s at %#x", image.name, image.base)
        for warning in image.decoded.warnings:
            _log.warning("%s", warning)


def _integer(text: str, option: str, whole: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise Usage(f"{whole!r}: {text!r} is not a number (12, 0x1f00)", param_hint=f"'{option}'") from None
    if not 0 <= value < 1 << 64:
        raise Usage(f"{whole!r}: {text} is not between 0 and 2^64", param_hint=f"'{option}'")
    return value
