"""C++ across images with Debian's own libstdc++ and libgcc_s: thrown in one library, caught in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import Machine
from emu.errors import GuestAbort
from emu.library import Library
from tests.fixtures import ARCHES
from tests.objects.build import compiled, linked
from tests.real import real_library, real_root

#: Debian has no RISC-V 32; its libraries for tests are compiled, and libstdc++ is not among them.
pytestmark = [
    pytest.mark.real, pytest.mark.parametrize("arch", [arch for arch in ARCHES if arch != "riscv32"])
]  # fmt: skip
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
    "nothing": (0, 1000), "int": (1, 42), "std::runtime_error": (2, 2000), "own type": (3, 3130),
    "derived as its base": (4, 3240), "type both have": (5, 4100), "anything": (6, 5000),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_one_library_throws_another_catches(arch: str, catcher: Library, case: str) -> None:
    what, expected = CASES[case]
    assert catcher.function("catches", "int(int)")(what) == expected
    assert catcher.symbols["cleaned"].read("int") == 2, "the frame between was cleaned up"


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
        address = machine.dynamic.symbol(handle, "catches", None)
        assert machine.call(address, "int(int)", 3) == 3130
        assert dlclose.call(handle) == 0
        assert not [image for image in machine.linker.images if image.short_name.startswith("libstdc")]
