"""The commands, their options and help texts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from emu.cli import log
from emu.cli.command import EXIT_FAILED, Argument, Exit, Option, Usage, command
from emu.cli.fuzzing import USUAL_NAME, Fuzzing
from emu.cli.observing import Observing
from emu.cli.options import Loading, Output, Running, Search, Target
from emu.cli.placing import Placing

Library = Annotated[
    str,
    Argument(metavar="LIB", help="A shared object, object or archive, or the name of a library to search for."),
]


@command()
def load(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    output: Output,
    bindings: Annotated[bool, Option("--bindings", help="List every binding.")] = False,
) -> None:
    """Load a library, and show the result. Its dependencies are loaded too, and constructors run."""
    from emu.cli import load
    from emu.cli.output import emit

    show = partial(load.show, bindings=bindings, demangle=output.demangle)
    emit(load.report(target, search, loading, library), show, as_json=output.json)


@command()
def call(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    observing: Observing,
    output: Output,
    expressions: Annotated[
        list[str],
        Argument(metavar="CALL...", help="Calls to make, in order: 'add(2, 3)', 'double cos(1.0)'."),
    ],
    prototype: Annotated[
        list[str] | None,
        Option(
            "--prototype",
            "-p",
            metavar="C",
            help="C prototype of the functions; with a name, of that function only.",
        ),
    ] = None,
    audit: Annotated[
        bool, Option("--audit", help="Bind lazily, and list the first call of each imported function.")
    ] = False,
) -> None:
    """Call functions of a library and print what they return.

    Arguments are C literals (42, 0x2a, 052, 'c', 1.5, 1.5f, "text\\n", NULL), b"bytes", or names of the library's
    symbols for their addresses (&counter). Types come from --prototype, from the call itself ('double pow(double,
    double)(2, 10)', 'double cos(1.0)'), from DWARF, or else from the arguments: long, double, const char *, with
    an unsigned word as the result.
    """
    from emu.cli import call

    call.run(
        target,
        search,
        loading,
        observing,
        library,
        expressions,
        prototype or [],
        audit=audit,
        as_json=output.json,
    )


@command()
def debug(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    observing: Observing,
    output: Output,
    expressions: Annotated[list[str], Argument(metavar="CALL...", help="Calls to make, as for `call`.")],
    prototype: Annotated[
        list[str] | None, Option("--prototype", "-p", metavar="C", help="C prototype of the functions.")
    ] = None,
    port: Annotated[int, Option("--port", min=0, max=65535, help="Port of the loopback interface; 0: any.")] = 0,
) -> None:
    """Make calls of a library under GDB. It connects to a port of this host: see docs/debugging.md."""
    from emu.cli import call

    given = prototype or []
    call.run(target, search, loading, observing, library, expressions, given, debug_port=port, as_json=output.json)


@command()
def fuzz(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    fuzzing: Fuzzing,
    output: Output,
    function: Annotated[
        str, Argument(metavar="[FUNCTION]", help="It takes a pointer, and perhaps a length.")
    ] = USUAL_NAME,
) -> None:
    """Fuzz a function, and keep the inputs that fail.

    It is called with changed inputs, guided by the code that they reach. The exit status is 1 when one failed. See
    docs/fuzzing.md.
    """
    from emu.cli import fuzz
    from emu.cli.output import emit

    found = fuzz.report(target, search, loading, fuzzing, library, function)
    emit(found, fuzz.show, as_json=output.json)
    if found.failed:
        raise Exit(EXIT_FAILED)


# Everything after the program's name is passed to the program, including options.
@command("run", options_anywhere=False)
def run_program(
    program: Annotated[str, Argument(metavar="PROGRAM", help="An executable, or a name to search for.")],
    target: Target,
    search: Search,
    running: Running,
    observing: Observing,
    arguments: Annotated[list[str] | None, Argument(metavar="[ARGS]...", help="Arguments of the program.")] = None,
    env: Annotated[
        list[str] | None,
        Option("--env", "-e", metavar="NAME=VALUE", help="Environment variable of the program. May be repeated."),
    ] = None,
    file: Annotated[
        list[str] | None,
        Option(
            "--file",
            metavar="PATH[=FILE]",
            help="Host file to put into the guest's file system at PATH. May be repeated.",
        ),
    ] = None,
    argv0: Annotated[str | None, Option("--argv0", metavar="NAME", help="Its argv[0].")] = None,
    verbose: Annotated[
        bool,
        Option("--verbose", "-v", help="Print loaded images and unknown system calls to standard error."),
    ] = False,
) -> None:
    """Run a program; the exit status is the program's. It uses this command's standard input, output and error;
    its files are separate (see --file). The C library is provided by the host; a statically linked program uses a
    small Linux kernel.
    """
    from emu.cli import run

    log.set_output(int(verbose), as_json=False)
    status = run.run(
        target,
        search,
        running,
        observing,
        program,
        arguments or [],
        env or [],
        file or [],
        called=argv0,
        verbose=verbose,
    )
    raise Exit(status)


@command()
def map(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    output: Output,
    every: Annotated[bool, Option("--all", help="Also print the images loaded with it.")] = False,
) -> None:
    """Show addresses of sections, symbols, GOT slots and stubs. For an object or archive as LIB, they are shown
    per input. Constructors are not run.
    """
    from emu.cli import map
    from emu.cli.output import console, emit

    links = map.maps(target, search, loading, library, every=every)
    if output.json:
        emit(map.report(links), lambda report, console: None, as_json=True)
    else:
        map.show(links, console())


@command()
def link(
    objects: Annotated[list[str], Argument(metavar="FILE...", help="Objects and archives.")],
    target: Target,
    placing: Placing,
    output: Output,
    to: Annotated[
        Path, Option("--output", "-o", metavar="FILE", help="File to write: .elf, .hex, .srec, .uf2 or .bin.")
    ] = Path("a.elf"),
    format: Annotated[
        str | None, Option("--format", metavar="NAME", help="Its format; by default that of its suffix.")
    ] = None,
) -> None:
    """Link objects for a device. Sections are placed in memory regions; a file gets what the device stores."""
    from emu.cli import link
    from emu.cli.output import emit

    emit(link.report(target, placing, objects, to, format), link.show, as_json=output.json)


@command()
def types(
    library: Library,
    target: Target,
    search: Search,
    loading: Loading,
    output: Output,
    names: Annotated[list[str] | None, Argument(metavar="[NAME...]", help="Only these.")] = None,
) -> None:
    """Show C types: sizes, offsets of members, holes. They come from debug information, or a header."""
    from emu.cli import types
    from emu.cli.output import emit

    emit(types.report(target, search, loading, library, names or []), types.show, as_json=output.json)


@command("test")
def compare_targets(
    sources: Annotated[list[str], Argument(metavar="SOURCE...", help="C, C++ or assembly files of one library.")],
    output: Output,
    arch: Annotated[str, Option("--arch", "-a", metavar="NAMES", help="Architectures, or all.")] = "all",
    function: Annotated[
        list[str] | None, Option("--function", "-f", metavar="NAME", help="Only this one. May be repeated.")
    ] = None,
    examples: Annotated[int, Option("--examples", min=1, help="Calls of each function.")] = 100,
    seed: Annotated[int, Option("--seed", min=0, help="Start of the random arguments.")] = 0,
    cflags: Annotated[str, Option("--cflags", metavar="FLAGS", help="Further options for the compiler.")] = "",
    compiler: Annotated[str, Option("--compiler", metavar="NAME", help="zig, gcc, clang, or a command.")] = "",
    timeout: Annotated[float, Option("--timeout", min=0, metavar="SECONDS", help="Limit of each call.")] = 1.0,
    host: Annotated[bool, Option("--host/--no-host", help="Also run on this CPU, where it can.")] = True,
) -> None:
    """Compare a library's functions on all architectures.

    It is built for each, and its functions are called with random arguments. The exit status is 1 when a function
    ends differently on two architectures.
    """
    import sys

    from emu.build.errors import BuildError
    from emu.build.words import split
    from emu.cli import differential
    from emu.cli.output import console, emit

    try:
        words = split(cflags)
    except BuildError as error:
        raise Usage(str(error), param_hint="'--cflags'") from None
    request = differential.Request(sources, arch, function or [], examples, seed, words, compiler, timeout, host)
    shown = console()

    def tell(each: differential.Checked, targets: int) -> None:
        if not output.json:
            differential.show_function(each, targets, shown)
            sys.stdout.flush()

    found = differential.report(request, tell)
    emit(found, differential.show, as_json=output.json)
    if found.differs:
        raise Exit(EXIT_FAILED)


@command()
def diff(
    old: Annotated[str, Argument(metavar="OLD", help="A shared object, object or archive.")],
    new: Annotated[str, Argument(metavar="NEW", help="A newer version of it.")],
    target: Target,
    output: Output,
) -> None:
    """Compare the interfaces of two versions of a library.

    These are symbols, sizes, C types and layouts, and what is needed. The exit status has bit 4 when
    they differ, and bit 8 too when users of the old one may fail with the new.
    """
    from emu.cli import diff
    from emu.cli.output import emit

    found = diff.report(target, old, new)
    emit(found, partial(diff.show, demangle=output.demangle), as_json=output.json)
    if found.status:
        raise Exit(found.status)


@command()
def report(
    files: Annotated[list[str], Argument(metavar="FILE...", help="Archives and objects.")],
    output: Output,
) -> None:
    """Count relocation types, and say which are implemented.

    They are counted in archives and objects. The exit status is 1 when a type is refused or unknown.
    """
    from emu.cli import report
    from emu.cli.output import emit

    found = report.report(files)
    emit(found, report.show, as_json=output.json)
    if not found.complete:
        raise Exit(EXIT_FAILED)


@command()
def inspect(
    file: Annotated[
        str, Argument(metavar="FILE", help="A shared object, an executable, an object file or an archive.")
    ],
    target: Target,
    output: Output,
    symbols: Annotated[bool, Option("--symbols", help="List every symbol.")] = False,
) -> None:
    """Show the contents of an ELF file or archive, without loading it."""
    from emu.cli import inspect, inspect_archive, inspect_view
    from emu.cli.output import emit
    from relink.objects.archive_members import is_archive_file

    if is_archive_file(file):
        show_archive = partial(inspect_archive.show, symbols=symbols, demangle=output.demangle)
        emit(inspect_archive.report(target, file), show_archive, as_json=output.json)
        return

    show = partial(inspect_view.show, symbols=symbols, demangle=output.demangle)
    emit(inspect.report(target, file), show, as_json=output.json)


@command()
def tree(library: Library, target: Target, search: Search, output: Output) -> None:
    """Show a library's dependencies, and where they are found. The search rule is shown for each. For a missing
    one the places tried are listed, and the exit status is 1.
    """
    from emu.cli import tree
    from emu.cli.output import emit

    report = tree.report(target, search, library)
    emit(report, tree.show, as_json=output.json)
    if report.missing:
        raise Exit(EXIT_FAILED)


@command()
def fetch(
    output: Output,
    packages: Annotated[
        list[str] | None,
        Argument(metavar="[PACKAGE...]", help="Debian's binary packages; by default zlib1g, libc6 and five more."),
    ] = None,
    arch: Annotated[
        list[str] | None,
        Option("--arch", "-a", metavar="NAME", help="Only this architecture; may be repeated."),
    ] = None,
    cache: Annotated[
        Path | None,
        Option("--cache", metavar="FOLDER", help="Where to keep them, instead of ~/.cache/relink-emu/debian."),
    ] = None,
) -> None:
    """Fetch libraries of Debian for each architecture. They are put into folders for --sysroot; none is installed.

    apt-get and this host's Debian mirror are used. Debian has no RISC-V 32: four libraries are compiled for it.
    """
    from emu.cli import fetch
    from emu.cli.output import emit

    found = fetch.report(packages or [], arch or [], cache)
    emit(found, fetch.show, as_json=output.json)
    if not found.complete:
        raise Exit(EXIT_FAILED)


@command()
def arches(output: Output) -> None:
    """List the architectures."""
    from emu.cli import arches
    from emu.cli.output import emit

    emit(arches.report(), arches.show, as_json=output.json)
