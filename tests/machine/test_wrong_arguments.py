"""Mistakes in arguments are named where they are made, and leave the machine and the linker as they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from emu import CallError, Library, Linux, Machine
from relink import ARCHITECTURES, HostMemory, Linker, LinkError, LoadOptions, architecture
from relink.errors import AddressSpaceError, ElfError, MachineError, UnresolvedSymbol
from relink.events import Event
from relink.search.search_path import SearchPath
from tests.fixtures import fixture
from tests.grouping import each

LIBRARY, OTHER = fixture("riscv64", "basic"), fixture("riscv64", "datarel")
PROGRAM = "tests/machine/musl/riscv64.elf"
PROVIDED = {"my_host_function": 0x1000}


def machine_with_library() -> tuple[Machine, Library]:
    machine = Machine("riscv64")
    return machine, machine.load(LIBRARY, symbols=PROVIDED)


def linked(options: LoadOptions | None = None, events: list[Event] | None = None) -> Linker:
    linker = Linker(HostMemory("riscv64"))
    linker.observers += [] if events is None else [events.append]
    linker.load(LIBRARY, options=options or LoadOptions(unresolved=lambda image, symbol: 0))
    return linker


Use = Callable[[Any, Any], object]
#: What is done with a machine and its library, and the beginning of the message.
WRONG: list[tuple[type[Exception], str, Use]] = [
    (TypeError, "stack_size='8M' is no number", lambda m, lib: Machine("arm", stack_size="8M")),  # type: ignore
    (TypeError, "limits are numbers: max_instructions=0, timeout='5'", lambda m, lib: Machine("arm", timeout="5")),  # type: ignore
    (ValueError, "limits are not negative: .*timeout=-5", lambda m, lib: Machine("arm", timeout=-5)),
    (ValueError, "binding='no' is none of 'now', 'lazy'", lambda m, lib: Machine("arm", binding="no")),
    (TypeError, "os='linux' is no Personality", lambda m, lib: Machine("arm", os="linux")),  # type: ignore
    (TypeError, "libc= is an argument of Linux", lambda m, lib: Machine("arm", libc="target")),  # type: ignore
    (TypeError, "stdin='text' is no bytes", lambda m, lib: Linux(stdin="text")),  # type: ignore
    (TypeError, r"files=\['/a'\] is no table", lambda m, lib: Linux(files=["/a"])),  # type: ignore
    (TypeError, "files\\['/a'\\] is 'text': give bytes", lambda m, lib: Linux(files={"/a": "text"})),  # type: ignore
    (TypeError, "arguments='a b' is one text", lambda m, lib: Linux(arguments="a b")),
    (TypeError, r"symbols=\['f'\] is neither a table", lambda m, lib: m.load(OTHER, symbols=["f"])),
    (TypeError, r"symbols=\['f'\] is no table by name", lambda m, lib: m.provide("libf.so", ["f"])),
    (TypeError, "base='0x1000' is no address", lambda m, lib: m.load(OTHER, base="0x1000")),
    (TypeError, "preload='liba.so' is one text", lambda m, lib: m.load(OTHER, preload="liba.so")),
    (TypeError, "undefined='main' is one text", lambda m, lib: m.load(OTHER, undefined="main")),
    (TypeError, "wrap='main' is one text", lambda m, lib: m.load(OTHER, wrap="main")),
    (ValueError, "binding='no' is none of 'now', 'lazy'", lambda m, lib: m.load(OTHER, binding="no")),
    (ValueError, "mapping='no' is none of 'copy', 'file'", lambda m, lib: m.load(OTHER, mapping="no")),
    (TypeError, "arguments='a b' is one text", lambda m, lib: m.run(PROGRAM, "a b")),
    (TypeError, r"environment=\['A=1'\] is no table", lambda m, lib: m.run(PROGRAM, ["a"], ["A=1"])),
    (TypeError, "expected str, bytes or os.PathLike object, not int", lambda m, lib: m.run(PROGRAM, ["a", 5])),
    (TypeError, "'libbasic.so' is no library", lambda m, lib: m.unload("libbasic.so")),
    (TypeError, "None is no library", lambda m, lib: m.swap(None, OTHER)),
    (TypeError, "5 is no library", lambda m, lib: m.redirect(5, "add", 0)),
    (ElfError, "<file>: is an open file: give its path", lambda m, lib: Machine.for_file(BytesIO(b"..."))),  # type: ignore
    (TypeError, "5 is no thread", lambda m, lib: m.use_thread(5).__enter__()),
    (TypeError, "'int f' is no header", lambda m, lib: lib.declare("int f")),
    (TypeError, "5 is no name of a function", lambda m, lib: lib.function(5)),
    (KeyError, "5", lambda m, lib: lib.symbols[5]),
    (KeyError, ".*basic.so: undefined symbol: nosuch", lambda m, lib: lib.symbols["nosuch"]),
    (CallError, "None is no prototype", lambda m, lib: m.call(lib.base, None)),
    (CallError, "5 is no prototype", lambda m, lib: m.callback(print, 5)),
    (CallError, "'x' is no address", lambda m, lib: m.view("x", "int")),
    (ValueError, "a size is not negative: -4", lambda m, lib: m.memory.read(lib.base, -4)),
    (ValueError, "limits are not negative", lambda m, lib: lib.function("add", "int(int, int)")(1, 2, timeout=-1)),
    (TypeError, "'riscv64' is no memory to link into: give HostMemory", lambda m, lib: Linker("riscv64")),  # type: ignore
    (TypeError, "Architecture.* is no memory", lambda m, lib: Linker(architecture("riscv64"))),  # type: ignore
    (TypeError, "options={'base': 5}: give a relink.LoadOptions", lambda m, lib: linked({"base": 5})),  # type: ignore
    (TypeError, "binding='lazy' is no relink.BindMode", lambda m, lib: LoadOptions(binding="lazy")),  # type: ignore
    (ValueError, "a size is not negative", lambda m, lib: (k := linked()).memory.read(k.images[0].base, -1)),
]  # fmt: skip


def test_a_wrong_argument_is_named_and_changes_nothing() -> None:
    machine, library = machine_with_library()
    with machine:
        before = [*machine.linker.images], machine.memory.regions
        for error, message, use in WRONG:
            with pytest.raises(error, match=f"^[\"']?{message}"):
                use(machine, library)
            assert ([*machine.linker.images], machine.memory.regions) == before, message
        assert library.function("add", "int(int, int)")(1, 2) == 3


def test_a_loaded_library_is_not_loaded_at_another_base() -> None:
    machine, library = machine_with_library()
    with machine:
        elsewhere = library.base + 0x100_0000
        for options in (
            {"base": elsewhere},
            {"place": {LIBRARY.name: elsewhere}},
            {"place": lambda file: elsewhere},
        ):
            with pytest.raises(LinkError, match=rf"is loaded at {library.base:#x} already, not at {elsewhere:#x}"):
                machine.load(LIBRARY, **options)
            assert library.image.references == 1
        again = machine.load(LIBRARY, base=library.base)
        assert again.image is library.image
        machine.unload(again)
        machine.unload(library)
        assert machine.load(LIBRARY, symbols=PROVIDED, base=elsewhere).base == elsewhere


def test_a_function_that_is_not_there_is_told_with_names_like_it() -> None:
    machine, library = machine_with_library()
    with machine:
        with pytest.raises(UnresolvedSymbol, match=r"awesome_fun \(.*; similar: awesome_func\)$"):
            library.function("awesome_fun")
        with pytest.raises(AttributeError, match=r"awesome_fun \(.*; similar: awesome_func\)$"):
            _ = library.awesome_fun
        with pytest.raises(UnresolvedSymbol, match=r"nosuch \(looked up in the image and its dependencies\)$"):
            library.function("nosuch")


def test_a_base_that_is_not_aligned_is_told_with_the_file_and_the_alignment() -> None:
    problem = r"libleaf\.so needs a base aligned to 0x1000 at 0x5"
    with Machine("riscv64") as machine, pytest.raises(AddressSpaceError, match=problem):
        machine.load(fixture("riscv64", "deps/libleaf"), base=5)


def test_arguments_of_a_program_may_be_paths() -> None:
    with Machine("riscv64") as machine:
        assert machine.start(PROGRAM, [LIBRARY, b"bytes"]).arguments == (str(LIBRARY), "bytes")  # type: ignore


def test_an_architecture_is_pickled_and_copied_as_itself() -> None:
    for each_one in ARCHITECTURES.values():
        for duplicated in (pickle.loads(pickle.dumps(each_one)), copy.copy(each_one), copy.deepcopy(each_one)):
            assert duplicated is each_one
    options = LoadOptions(local=True)
    assert pickle.loads(pickle.dumps(options)) == options


def test_an_empty_path_is_named() -> None:
    with Machine("riscv64") as machine, pytest.raises(ElfError, match=r"^'': cannot be read: No such file"):
        machine.load("")


@each("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickled", "copied", "copied deeply"])
def test_what_lives_in_a_machine_is_neither_pickled_nor_copied(duplicate: Callable[[object], object]) -> None:
    machine, library = machine_with_library()
    with machine, machine.snapshot() as snapshot:
        function, variable = library.function("add", "int(int, int)"), library.symbols["counter"]
        events: list[Event] = []
        linker = linked(events=events)
        of_process = machine, library, function, variable, snapshot, linker, linker.images[0]
        for value in (*of_process, library.image.decoded):
            with pytest.raises(TypeError, match=rf"^<.*{type(value).__name__}.*> cannot be pickled or copied: \w"):
                duplicate(value)
    if duplicate is not copy.copy:
        for holder in (linker.images[0].symbol("add"), events[-1]):
            with pytest.raises(TypeError, match=r"^<Image .*basic.so .*> cannot be pickled or copied"):
                duplicate(holder)


def test_a_closed_machine_says_so() -> None:
    machine, library = machine_with_library()
    base = library.base
    machine.close()
    for use in (
        lambda: machine.load(LIBRARY, symbols=PROVIDED),
        lambda: machine.load(OTHER),
        lambda: machine.run(PROGRAM),
        lambda: machine.call(base, "void(void)"),
        lambda: machine.unload(library),
        lambda: machine.provide("libf.so", {}),
        lambda: machine.new_thread(),
        lambda: machine.snapshot(),
        lambda: machine.breakpoint(base),
        lambda: machine.trace().__enter__(),
    ):
        with pytest.raises(MachineError, match=r"^the (machine|CPU) has been closed$"):
            use()
    machine.close()


@pytest.mark.parametrize("name", ["library_path", "finders", "last_finders"])
def test_places_that_are_no_list_are_refused(name: str) -> None:
    wrong: Any = {name: 5}
    with pytest.raises(TypeError, match=rf"^{name}=5 is no list$"):
        SearchPath(**wrong)


def test_a_finder_that_cannot_be_called_is_refused() -> None:
    wrong: Any = ["libtop.so"]
    with pytest.raises(TypeError, match=r"^a finder 'libtop.so' is no function$"):
        SearchPath(finders=wrong)
