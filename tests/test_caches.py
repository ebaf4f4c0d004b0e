"""What is kept between loads, calls and runs is bounded: it goes with its object, is of a finite number, or the
oldest goes. All that a process keeps is named here: functions that remember, and the containers of modules.

Only the cache of decoded files depends on files outside of this project, and what is kept with a decoded file goes
with that. It has its own tests (tests/linker/test_decoded_cache.py), as have threads that share what it keeps
(tests/calls/test_several_threads.py), and memory that is used again (tests/machine/test_released_memory.py). The
environment variable RELINK_EMU_NO_CACHE turns off these two.
"""

from __future__ import annotations

import ast
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from emu import Machine
from emu.calls import declared
from emu.debug import call_frames
from emu.debug.coverage import sources
from emu.errors import GuestFault
from emu.patch import imports
from emu.saved import graph
from relink import HostMemory
from relink.elf import dwarf, dwarf_inlined, dwarf_lines
from relink.memory import host_pages
from relink.memory.once import make_room
from relink.resolve import local_symbols, nearest, reference_kind
from relink.resolve.bindings import Bindings
from relink.resolve.few_references import Few, Found
from relink.search.decoded_cache import CACHE
from tests.counting import objects_left
from tests.linker.craft import DATA, FUNC, Library, Rel, Sym
from tests.linker.numbers import SYMBOLIC
from tests.objects.build import compiled, linked

_ROOT = Path(__file__).parent.parent
#: Functions that remember all that they were asked, and why that is little.
UNBOUNDED = {
    "_page": "architectures",
    "_prototype": "sizes of a word",
    "align_types": "architectures",
    "names": "architectures",
    "host_function": "functions in machine code",
    "host_code": "hosts that there is code for",
    "register_number": "registers of engines",
    "clock": "libraries of engines",
    "_slot": "libraries of engines",
    "leaving_function": "functions of engines",
    "constants": "ISAs of engines",
    "_computation": "instructions of LSX",
    "_triples": "tables of instructions in files of this project",
    "_table": "tables of instructions in files of this project",
    "index": "folders of this project",
    "_code_of": "modules of Python",
    "_places": "modules of Python",
    "_pagemap_file": "one in each process: the number of its forks",
    "_headers": "compilers, targets and languages",
    "box_singles": "architectures",
    "tables_of": "architectures",
    "declared": "classes of this project",
    "_own_types": "classes of this project",
    "guarded": "classes of this project",
    "_source": "modules of this project",
    "_text_of": "modules of this project",
    "tree_of": "modules of this project",
}


def remembering() -> Iterator[tuple[str, str]]:
    """(function, decorator) of all functions with parameters that remember results."""
    for folder in ("relink", "emu"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if "cache" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.FunctionDef) and node.args.args:
                    for decorator in map(ast.unparse, node.decorator_list):
                        if decorator.removeprefix("functools.").split("(")[0] in ("cache", "lru_cache"):
                            yield node.name, decorator


def test_functions_remember_a_limited_number_of_results() -> None:
    found = dict(remembering())
    assert "classify" in found, "the search finds some"
    unbounded = {name for name, decorator in found.items() if "maxsize=" not in decorator or "None" in decorator}
    assert not unbounded - set(UNBOUNDED), "give them a maxsize, or say in UNBOUNDED what limits them"


#: Containers of modules that are empty at first, and what limits them.
CONTAINERS = {
    "emu/cli/interrupts.py:_interrupts": "one signal: the second ends the process",
    "relink/arch/special.py:_ALONE": "the page of an architecture",
    "relink/arch/special.py:_ONLY_BEYOND": "the page of an architecture",
    "relink/arch/special.py:_ONLY_IF_UNDEFINED": "the page of an architecture",
    "relink/arch/special.py:_READS": "the page of an architecture",
    "relink/elf/debug_lock.py:_kept": "modules of this project",
    "relink/load/load.py:_STEPS": "the phases of a load",
    "relink/log.py:_waiting": "functions of this project",
    "relink/records/generated_constructors.py:CONSTRUCTORS": "records of this project",
    "relink/memory/host_pages.py:_spare": "make_room, and so many of each size",
    "emu/calls/plan.py:_recent": "cleared when it is full",
    "emu/cli/command.py:COMMANDS": "commands",
    "emu/cpu/icicle/engine.py:_idle": "two engines of each thread",
    "emu/cpu/unicorn/cpu.py:_SET_UP": "ISAs and models of engines",
    "emu/differential/host_child.py:_STRUCTS": "the one call of its process",
    "emu/differential/host_child.py:_kept": "the one call of its process",
    "emu/libc/libm.py:_computed": "functions of libm",
    "emu/libc/table.py:_functions": "functions of the C library",
    "emu/libc/table.py:_data": "variables of the C library",
    "emu/linux/syscalls/kernel.py:REGISTERED": "system calls",
    "emu/linux/syscalls/kernel.py:_arities": "system calls",
    "emu/saved/declared.py:_partial_types": "classes of this project",
    "emu/saved/fits.py:attribute_types": "one function",
}


#: Those that keep something with an object, for as long as that lives.
KEPT: dict[str, object] = {
    "relink/elf/dwarf.py:_KNOWN": dwarf._KNOWN,
    "relink/elf/dwarf_inlined.py:_KNOWN": dwarf_inlined._KNOWN,
    "relink/elf/dwarf_lines.py:_KNOWN": dwarf_lines._KNOWN,
    "relink/resolve/local_symbols.py:_KNOWN": local_symbols._KNOWN,
    "relink/resolve/nearest.py:_all_values": nearest._all_values,
    "relink/resolve/nearest.py:_by_value": nearest._by_value,
    "relink/resolve/reference_kind.py:_known": reference_kind._known,
    "emu/calls/declared.py:_KNOWN": declared._KNOWN,
    "emu/patch/imports.py:_BY_SYMBOL": imports._BY_SYMBOL,
    "emu/debug/call_frames.py:_TABLES": call_frames._TABLES,
    "emu/debug/coverage/sources.py:_KNOWN": sources._KNOWN,
}


def _begins_empty(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and not value.args and not value.keywords:
        made = ast.unparse(value.func).partition("[")[0].rpartition(".")[2]
        return made in {"dict", "list", "set", "deque", "OrderedDict", "local", "WeakKeyDictionary"}
    return ast.unparse(value) in ("{}", "[]")


def test_containers_of_modules_are_limited() -> None:
    found = set[str]()
    for folder in ("relink", "emu"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                match node:
                    case (
                        ast.Assign(targets=[target], value=value)
                        | ast.AnnAssign(target=target, value=ast.expr() as value)
                    ) if _begins_empty(value):
                        found.add(f"{path.relative_to(_ROOT)}:{ast.unparse(target)}")
    assert found == {*CONTAINERS, *KEPT}, "say in CONTAINERS what limits them"


_SOURCE = "static inline int in(int *p) { return *p; } int get(int *p) { return in(p) + 1; }"


def test_what_is_kept_with_a_file_goes_with_it() -> None:
    path = linked("x86_64", [compiled("x86_64", _SOURCE, "-g", "-O1", "-fPIC")])

    def use() -> list[weakref.ref[object]]:
        with Machine("x86_64") as machine:
            library = machine.load(path)
            image = library.image
            with machine.coverage(), pytest.raises(GuestFault) as fault:
                library.function("get")(16)
            assert fault.value.report()
            dwarf_inlined.inlined_functions(image.decoded)
            sources.source_ranges(image.decoded)
            nearest.nearest_symbol(image, image.base)
            nearest.any_within(image, image.base, image.base + 1)
            imports._by_symbol(image.decoded)
            local_symbols.local_symbols(image.decoded, "get")
            reference_kind.reference_kind(image, 0)
            assert all(KEPT.values())
            return [weakref.ref(each) for each in (image.decoded, image, machine)]

    objects = use()
    CACHE.clear()
    gc.collect()
    assert [each() for each in objects] == [None] * 3


def test_loading_one_library_after_the_other_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All with other names and symbols."""
    monkeypatch.setattr(CACHE, "enabled", False)
    arch = "x86_64"

    def content(number: int) -> bytes:
        own = [Sym(f"f{number}_{each}", DATA, type=FUNC) for each in range(5)]
        words = [Rel(DATA + 16 + 8 * at, SYMBOLIC[arch], symbol) for at, symbol in enumerate(own)]
        return Library(arch, f"lib{number}.so", symbols=own, relocations=words).image()

    with Machine(arch) as machine:

        def load(first: int, count: int) -> None:
            for number in range(first, first + count):
                machine.load(content(number)).close()

        load(0, 50)
        assert objects_left(lambda: load(50, 100)) < 400
        assert objects_left(lambda: load(150, 200)) < 400


def _meanwhile(change: Callable[[], object], action: Callable[[], object]) -> None:
    """Do an action while another thread does its changes: one after each call of a built-in function."""

    def called(frame: FrameType, event: str, argument: object) -> None:
        if event == "c_call":
            change()

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        action()
    finally:
        sys.setprofile(before)


def _others(kept: dict[int, None], count: int) -> Callable[[], None]:
    """Adds so many entries to a dictionary, one at a time."""
    left = iter(range(1000, 1000 + count))

    def change() -> None:
        if (number := next(left, None)) is not None:
            kept[number] = None

    return change


def test_room_is_made_while_other_threads_keep_more() -> None:
    kept = dict.fromkeys(range(9))
    _meanwhile(_others(kept, 20), lambda: make_room(kept, 4))
    assert len(kept) < 4
    assert set(kept) < set(range(1000, 1020)), "the oldest go"


def test_what_threads_share_is_kept_while_others_keep_more(monkeypatch: pytest.MonkeyPatch) -> None:
    spare: dict[int, object] = {-size: [] for size in range(1, host_pages._MOST_SIZES + 1)}
    monkeypatch.setattr(host_pages, "_spare", spare)
    memory = HostMemory("x86_64")
    region = memory.reserve(0x5000)
    _meanwhile(_others(spare, 8), lambda: memory.release(region))  # type: ignore[arg-type]
    assert 0x5000 in spare
    few, found = Few.of([]), Found((), Bindings.empty(0, ()), None)
    for number in range(8):
        few.keep((number,), found)
    _meanwhile(_others(few.known, 4), lambda: few.keep((9,), found))  # type: ignore[arg-type]
    assert (9,) in few.known


@pytest.mark.not_taken_back("which looks at classes too")
def test_snapshots_do_not_keep_the_classes_of_a_users_objects() -> None:
    def use() -> weakref.ref[type]:
        class Files(dict[str, bytes | bytearray]):
            """A user's."""

        with Machine("x86_64", files=Files(name=b"content")) as machine, machine.snapshot() as snapshot:
            machine.restore(snapshot)
        return weakref.ref(Files)

    seen = use()
    for number in range(graph.MOST_CLASSES):
        graph.kind_of(type(f"Other{number}", (list,), {}))
    gc.collect()
    assert seen() is None
