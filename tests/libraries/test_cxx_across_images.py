"""C++ across images with Debian's own libstdc++ and libgcc_s: thrown in one library, caught in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import HostFunction, Machine
from emu.errors import GuestAbort
from emu.libc.encoding import LC_CTYPE, Locales
from emu.library import Library
from emu.linux.personality import Linux
from tests.fixtures import ARCHES
from tests.grouping import each
from tests.objects.build import compiled, linked
from tests.real import real_library, real_root

#: Debian has no RISC-V 32; its libraries for tests are compiled, and libstdc++ is not among them.
pytestmark = [
    pytest.mark.real,
    pytest.mark.sample(1),
    pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch != "riscv32"]),
]
SOURCES = Path(__file__).with_name("cxx")
FLAGS = (
    "-fPIC", "-std=c++17", "-nostdinc++", "-fexceptions", "-fcxx-exceptions", "-frtti", "-funwind-tables",
    "-Wno-unused-value", f"-I{SOURCES}",
)  # fmt: skip


def built(arch: str, name: str, *needed: Path) -> Path:
    """lib`name`.so, linked with the target's real C++ run time."""
    source = compiled(arch, (SOURCES / f"{name}.cpp").read_text(), *FLAGS, language="c++")
    real = [real_library(arch, soname) for soname in ("libstdc++.so.6", "libgcc_s.so.1")]
    return linked(arch, [source, *needed, *real], "-soname", f"lib{name}.so", "--eh-frame-hdr")


@pytest.fixture
def libraries(arch: str) -> dict[str, Path]:
    thrower = built(arch, "thrower")
    middle = built(arch, "middle", thrower)
    catcher = built(arch, "catcher", middle, thrower)
    return {"libthrower.so": thrower, "libmiddle.so": middle, "libcatcher.so": catcher}


@pytest.fixture
def machine(arch: str, libraries: dict[str, Path]) -> Iterator[Machine]:
    with Machine(arch, sysroot=real_root(arch), libraries=libraries) as machine:
        yield machine


@pytest.fixture
def catcher(machine: Machine) -> Library:
    return machine.load("libcatcher.so")


CASES = {
    "nothing": (0, 1000),
    "int": (1, 42),
    "std::runtime_error": (2, 2000),
    "own type": (3, 3130),
    "derived as its base": (4, 3240),
    "type both have": (5, 4100),
    "anything": (6, 5000),
}


@each("case", CASES)
def test_what_one_library_throws_another_catches(arch: str, catcher: Library, case: str) -> None:
    what, expected = CASES[case]
    before = catcher.symbols["cleaned"].read("int")
    assert catcher.function("catches", "int(int)")(what) == expected
    assert catcher.symbols["cleaned"].read("int") == before + 2, "the frame between was cleaned up"


def test_a_caught_exception_is_thrown_on(arch: str, catcher: Library) -> None:
    again = catcher.function("catches_rethrown", "int(int)")
    assert [again(what) for what in range(5)] == [1000, 42, 2000, 3131, 3141]


def test_the_exception_of_the_standard_library_says_what(arch: str, machine: Machine, catcher: Library) -> None:
    address = catcher.function("what_of", "void *(int)")(2)
    assert isinstance(address, int)
    assert machine.memory.read_cstring(address) == b"the thrower is at fault"
    assert catcher.function("catches", "int(int)")(2) == 2000
    assert catcher.symbols["last_length"].read("int") == len("the thrower is at fault")


def test_one_is_caught_while_another_is_on_its_way(arch: str, catcher: Library) -> None:
    assert catcher.function("nested", "int(void)")() == 42 + 30


def test_casts_and_type_ids_agree_across_images(arch: str, catcher: Library) -> None:
    assert catcher.function("casts", "int(void)")() == 0b111111


def test_what_must_not_throw_terminates_and_says_what_was_thrown(
    arch: str, machine: Machine, catcher: Library
) -> None:
    with pytest.raises(GuestAbort):
        catcher.function("terminates", "int(int)")(2)
    said = machine.libc.stderr.getvalue().decode()
    assert "terminate called after throwing an instance of 'std::runtime_error'" in said
    assert "what():  the thrower is at fault" in said


def test_nobody_to_catch_terminates(arch: str, machine: Machine, catcher: Library) -> None:
    with pytest.raises(GuestAbort):
        catcher.function("throws", "int(int)")(1)
    assert b"'int'" in machine.libc.stderr.getvalue()
    assert catcher.function("catches", "int(int)")(1) == 42, "the machine goes on"


def test_exceptions_leave_nothing_on_the_heap(arch: str, machine: Machine, catcher: Library) -> None:
    catches = catcher.function("catches", "int(int)")
    for what in (1, 2, 3, 4, 5):
        catches(what)
    before = machine.heap.live_blocks
    for what in (1, 2, 3, 4, 5):
        catches(what)
    assert machine.heap.live_blocks == before


def test_libraries_opened_by_the_guest_throw_too(arch: str, machine: Machine, libraries: dict[str, Path]) -> None:
    """The frames of what dlopen brings are found, and those of what dlclose takes are not asked for again."""
    dlopen, dlclose = machine.libc.function("dlopen"), machine.libc.function("dlclose")
    assert dlopen is not None
    assert dlclose is not None
    name = machine.libc.new_string(b"libcatcher.so")
    for _ in range(2):
        handle = dlopen.call(name, 2)
        assert isinstance(handle, int)
        assert handle
        assert isinstance(machine.os, Linux)
        address = machine.os.dynamic.symbol(handle, "catches", None)
        assert machine.call(address, "int(int)", 3) == 3130
        assert dlclose.call(handle) == 0
        assert not [image for image in machine.linker.images if image.short_name.startswith("libstdc")]


# ---------------------------------------------------------------- through the host


class Crosser:
    """The library whose exceptions cross host functions; `log` says what Python saw."""

    def __init__(self, arch: str, libraries: dict[str, Path]) -> None:
        self.log: list[str] = []
        thrower = libraries["libthrower.so"]
        files = {**libraries, "libfails.so": built(arch, "fails_at_start", thrower)}
        symbols = {"host_calls": HostFunction(self._host_calls, "int host_calls(void *function, int argument)")}
        self.machine = Machine(arch, sysroot=real_root(arch), libraries=files, symbols=symbols)
        self.library = self.machine.load(built(arch, "crosser", thrower))

    def _host_calls(self, function: int, argument: int) -> int:
        self.log.append("enter")
        try:
            result = self.machine.call(function, "int(int)", argument)
            assert isinstance(result, int)
            return result + 100
        finally:
            self.log.append("leave")

    def call(self, name: str, *arguments: object, prototype: str = "int(int)") -> int:
        result = self.library.function(name, prototype)(*arguments)
        assert isinstance(result, int)
        return result

    @property
    def guards(self) -> int:
        return int(self.library.symbols["guards"].read("int"))


@pytest.fixture
def crosser(arch: str, libraries: dict[str, Path]) -> Iterator[Crosser]:
    found = Crosser(arch, libraries)
    yield found
    found.machine.close()


def test_a_comparator_may_throw_out_of_the_host_s_qsort(arch: str, crosser: Crosser) -> None:
    assert crosser.call("sorts", 3) == 1
    for _ in range(3):
        assert crosser.call("sorts", 13) == 101 + 102 + 103 + 104 + 13, "what the caller kept is whole"
    assert crosser.guards == 4
    assert crosser.machine.call_depth == 0


def test_a_constructor_may_throw_out_of_dlopen_and_the_load_is_undone(arch: str, crosser: Crosser) -> None:
    images, regions = list(crosser.machine.linker.images), 0
    for round_ in range(3):
        assert crosser.call("opens", "libfails.so", prototype="int(const char *)") == 1042
        assert crosser.machine.linker.images == images
        if round_:
            assert len(crosser.machine.memory.regions) == regions
        regions = len(crosser.machine.memory.regions)
    assert crosser.guards == 3
    assert crosser.call("opens", "libthrower.so", prototype="int(const char *)") == 1


def test_python_is_unwound_in_between(arch: str, crosser: Crosser) -> None:
    assert crosser.call("across_two", 0) == 0 + 100 + 10 + 100
    crosser.log.clear()
    assert crosser.call("across_two", 1) == 43
    assert crosser.log == ["enter", "enter", "leave", "leave"]
    assert crosser.call("across_two", 2) == 2
    assert crosser.guards == 3


def test_a_host_function_beyond_the_handler_hears_nothing(arch: str, crosser: Crosser) -> None:
    assert crosser.call("across_one", 1) == 42 + 2 + 100
    assert crosser.log == ["enter", "enter", "leave", "leave"]


def test_what_is_thrown_on_crosses_the_host(arch: str, crosser: Crosser) -> None:
    assert crosser.call("across_rethrown", 1) == 45
    assert crosser.guards == 1


def test_what_nobody_catches_terminates_below_the_host(arch: str, crosser: Crosser) -> None:
    with pytest.raises(GuestAbort):
        crosser.call("across_rethrown", 6)
    assert crosser.log == ["enter", "leave"]
    assert crosser.call("across_rethrown", 1) == 45


# ---------------------------------------------------------------- libstdc++ itself, over the hosted C library


def test_streams_format_by_the_c_locale(arch: str) -> None:
    with Machine(arch, sysroot=real_root(arch)) as machine:
        library = machine.load(real_library(arch, "libstdc++.so.6"))
        cout, wide = library.symbols["_ZSt4cout"].address, library.symbols["_ZSt5wcout"].address
        library.function("_ZNSolsEi", "void *(void *, int)")(cout, -42)
        library.function("_ZNSo3putEc", "void *(void *, int)")(cout, ord(" "))
        library.function("_ZNSolsEd", "void *(void *, double)")(cout, 0.1)
        library.function("_ZNSo3putEc", "void *(void *, int)")(cout, ord(" "))
        library.function("_ZNSolsEPKv", "void *(void *, void *)")(cout, 0xBEEF)
        library.function("_ZNSo5flushEv", "void *(void *)")(cout)
        assert machine.libc.stdout.getvalue() == b"-42 0.1 0xbeef"
        machine.libc.state(Locales).names[LC_CTYPE] = b"C.UTF-8"
        library.function("_ZNSt13basic_ostreamIwSt11char_traitsIwEE3putEw", "void *(void *, int)")(wide, ord("€"))
        library.function("_ZNSt13basic_ostreamIwSt11char_traitsIwEElsEi", "void *(void *, int)")(wide, 7)
        assert machine.libc.stdout.getvalue() == "-42 0.1 0xbeef€7".encode()


def test_every_symbol_the_run_time_refers_to_is_there(arch: str) -> None:
    with Machine(arch, sysroot=real_root(arch)) as machine:
        library = machine.load(real_library(arch, "libstdc++.so.6"))
        missing = {
            bound.symbol for image in library.plan.images for bound in image.bindings() if bound.kind == "weak"
        }
        # For transactional memory, profilers, and a program that knows of time zones elsewhere.
        hooks = ("_ITM_", "_ZGTt", "__gmon_start__", "_ZN9__gnu_cxx21zoneinfo_dir_override")
        assert not [name for name in missing if not name.startswith(hooks)]
