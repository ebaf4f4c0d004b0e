"""Modules without a static place: blocks per thread on first use, descriptors, late moves, unloading.

What is expected is what ld.so does with a library that dlopen brings (glibc, elf/dl-tls.c, elf/dl-reloc.c).
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from emu import Library, Machine
from emu.errors import GuestAbort
from relink.errors import LinkErrors, RelinkError, TlsError
from relink.image import Image
from relink.linker import LoadOptions
from tests.fixtures import ARCHES, arch_of, fixture, targets_of, variant_of
from tests.grouping import by, each
from tests.linker.craft import Library as Crafted
from tests.machine.conftest import MakeMachine
from tests.objects.build import TARGETS, compiled, linked

#: How clang is asked for descriptors, where it must be.
_DESCRIPTORS = {
    "x86_64": ("-mtls-dialect=gnu2",),
    "i386": ("-mtls-dialect=gnu2",),
    "riscv64": ("-mtls-dialect=desc",),
    "riscv32": ("-mtls-dialect=desc",),
    "loongarch64": ("-mtls-dialect=desc",),
}
WITH_DESCRIPTORS = [target for target in TARGETS if target not in ("arm", "thumb")]
MODES = each("dynamic", [False, True], ids=["static", "dynamic"])


def library(target: str, source: str, *flags: str) -> Path:
    """A shared object of C source, with descriptors where the compiler has them."""
    options = _DESCRIPTORS.get(target, ())
    return linked(target, [compiled(target, source, "-fPIC", *options)], *flags)


def available(target: str, name: str) -> Path:
    if target not in targets_of(name):
        pytest.skip(f"{name} is not built for {target}: its compiler has no descriptors")
    return fixture(target, name)


def is_static(image: Image) -> bool:
    assert image.tls is not None
    return image.tls.static


def state(machine: Machine) -> tuple[object, ...]:
    """What a load and its undoing must leave as they were."""
    return (
        [region.address for region in machine.memory.regions if region.name not in ("[heap]", "[ifunc]")],
        machine.heap.live_blocks,
        machine.heap.live_bytes,
        len(machine.traps),
        dict(machine.linker.tls.modules),
        [image.name for image in machine.linker.images],
    )


# ---------------------------------------------------------------- the models


@each("name", ["tls_dynamic", "tls_dynamic_desc"])
def test_general_and_local_dynamic_and_descriptors_reach_a_dynamic_block(
    make_machine: MakeMachine, target: str, name: str
) -> None:
    machine = make_machine(dynamic_tls=True)
    lib = machine.load(available(target, name))
    assert not is_static(lib.image)
    get, local = lib.function("dynamic_get", "int(void)"), lib.function("dynamic_local_get", "int(void)")
    assert (get(), local()) == (71, 72)
    lib.function("dynamic_set", "void(int)")(5)
    assert (get(), local()) == (5, 6)
    address = lib.function("dynamic_address", "unsigned long(void)")()
    assert (
        address
        == lib.symbols["dynamic_variable"].address
        == lib.image.symbol("dynamic_variable").value + (machine.tls_block(lib.image))
    )
    assert lib.symbols["dynamic_variable"].read("int") == 5
    assert lib.symbols["dynamic_block"].read_bytes(1000) == bytes(1000)
    assert lib.symbols["dynamic_block"].address in range(*heap_range(machine, lib))


def heap_range(machine: Machine, lib: Library) -> tuple[int, int]:
    """The heap's block that holds the library's."""
    block = machine.tls_block(lib.image)
    ranges = ((start, start + size) for start, size in machine.heap.blocks().items())
    return next((start, end) for start, end in ranges if start <= block < end)


@each("name", ["tls", "tls_desc"])
def test_initial_exec_makes_the_modules_it_names_static(make_machine: MakeMachine, target: str, name: str) -> None:
    machine = make_machine(dynamic_tls=True)
    lib = machine.load(available(target, name))
    assert all(map(is_static, machine.linker.images))
    calls = ("tls_gd", "tls_ld", "tls_ie", "tls_other_gd", "tls_other_ie")
    assert [lib.function(call, "int(void)")() for call in calls] == [11, 43, 63, 41, 51]


@each("name", ["tls", "tls_desc"])
def test_a_dynamic_module_no_thread_has_used_becomes_static_for_a_later_load(
    make_machine: MakeMachine, target: str, name: str
) -> None:
    machine = make_machine(dynamic_tls=True)
    path = available(target, name)
    other = machine.load(fixture(target, "libtls_other"))
    thread = machine.new_thread()
    before = other.image.tls
    assert not is_static(other.image)
    lib = machine.load(path)
    assert is_static(other.image)
    assert before is not None
    assert other.image.tls is not None
    assert other.image.tls.id == before.id
    for _ in range(2):
        assert [lib.function(f, "int(void)")() for f in ("tls_other_gd", "tls_other_ie")] == [41, 51]
        address = lib.function("tls_other_ie_address", "unsigned long(void)")()
        assert address == lib.function("tls_other_gd_address", "unsigned long(void)")() + (
            other.image.symbol("other_ie").value - other.image.symbol("other_gd").value
        )
        assert address == other.function("other_ie_address", "unsigned long(void)")()
        with machine.use_thread(thread):
            assert [lib.function(f, "int(void)")() for f in ("tls_other_gd", "tls_other_ie")] == [41, 51]


def test_a_dynamic_module_in_use_cannot_become_static(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(dynamic_tls=True)
    other = machine.load(fixture(target, "libtls_other"))
    other.symbols["other_gd"].write(7, "int")
    before = state(machine)
    with pytest.raises(RelinkError) as caught:
        machine.load(fixture(target, "tls"))
    text = str(caught.value)
    assert (
        "cannot allocate memory in static TLS block: libtls_other.so is already in use as a dynamic module" in text
    )
    assert "against other_ie" in text
    assert machine.arch.prefix in text
    assert ".rel" in text
    assert isinstance(caught.value, TlsError) or all(isinstance(e, TlsError) for e in caught.value.exceptions)  # type: ignore[attr-defined]
    assert state(machine) == before
    assert not is_static(other.image)
    assert other.symbols["other_gd"].read("int") == 7


def test_a_failed_load_makes_no_older_module_static(make_machine: MakeMachine, target: str) -> None:
    target = variant_of(target).target.name
    user = library(
        target,
        """
        extern __thread int other_ie __attribute__((tls_model("initial-exec")));
        extern int nobody(void);
        int *where(void) { return &other_ie + nobody(); }
    """,
    )
    machine = make_machine(dynamic_tls=True)
    other = machine.load(fixture(target, "libtls_other"))
    before = state(machine)
    with pytest.raises(RelinkError, match="nobody"):
        machine.load(user)
    assert state(machine) == before
    assert not is_static(other.image)


@pytest.mark.parametrize("target", WITH_DESCRIPTORS)
def test_a_function_for_descriptors_stays_for_what_was_loaded_by_a_load_that_fails(target: str) -> None:
    user = library(target, "extern __thread int variable; int *where(void) { return &variable; }\n")
    outer = library(target, "extern __thread int variable; int *outer(void) { return &variable; }\n")
    with Machine(arch_of(target), dynamic_tls=True) as machine:
        lib = machine.load(library(target, "__thread int variable = 3;\n"))
        found: list[Library] = []

        def load() -> None:
            with machine.linker.begin(outer, options=LoadOptions(dynamic_tls=True)) as outer_load:
                outer_load.run_to("relocate")
                found.append(machine.load(user))
                raise KeyError("outer")

        with pytest.raises(KeyError, match="outer"):
            load()
        where = found[0].function("where", "unsigned long(void)")
        assert not is_static(lib.image)
        assert where() == lib.symbols["variable"].address
        with machine.use_thread(machine.new_thread()):
            assert where() == lib.symbols["variable"].address


@pytest.mark.parametrize("target", WITH_DESCRIPTORS)
def test_a_failed_load_leaves_no_function_for_descriptors(target: str) -> None:
    user = library(
        target,
        """
        extern __thread int variable;
        extern int nobody(void);
        int *where(void) { return &variable + nobody(); }
    """,
    )
    with Machine(arch_of(target), dynamic_tls=True) as machine:
        lib = machine.load(library(target, "__thread int variable = 3;\n"))
        before = state(machine)
        with pytest.raises(RelinkError, match="nobody"):
            machine.load(user)
        assert state(machine) == before
        late = machine.load(user, symbols={"nobody": lambda: 1})
        where = late.function("where", "unsigned long(void)")()
        assert where == lib.symbols["variable"].address + 4


def test_a_spent_static_area_makes_modules_dynamic_but_those_that_cannot_be(
    make_machine: MakeMachine, target: str
) -> None:
    machine = make_machine(tls_size=64)
    lib = machine.load(fixture(target, "tls_dynamic"))
    assert not is_static(lib.image)
    assert lib.function("dynamic_get", "int(void)")() == 71
    before = state(machine)
    with pytest.raises(RelinkError) as caught:
        machine.load(fixture(target, "tls_static"))
    errors = caught.value.exceptions if isinstance(caught.value, LinkErrors) else [caught.value]
    for error in errors:
        assert isinstance(error, TlsError)
        for part in (".rel", machine.arch.prefix, "against", "needs", "of 64 are in use", "tls_static.so"):
            assert part in str(error)
    assert state(machine) == before


@pytest.mark.parametrize("target", TARGETS)
def test_blocks_are_aligned_as_their_segment_says_wherever_it_begins(target: str) -> None:
    path = library(
        target,
        """
        __thread char odd = 3;
        __thread int wide __attribute__((aligned(1024))) = 9;
        __thread char zero[3000];
        unsigned long wide_at(void) { return (unsigned long)&wide; }
    """,
    )
    with Machine(arch_of(target), dynamic_tls=True) as machine:
        machine.heap.malloc(48)
        lib = machine.load(path)
        at = lib.function("wide_at", "unsigned long(void)")()
        assert isinstance(at, int)
        assert at % 1024 == 0
        assert (lib.symbols["wide"].read("int"), lib.symbols["odd"].read("char")) == (9, 3)
        assert lib.symbols["zero"].read_bytes() == bytes(3000)


@pytest.mark.parametrize("arch", ARCHES)
def test_a_block_whose_segment_begins_off_its_alignment_keeps_the_distance(arch: str) -> None:
    """p_vaddr need not be a multiple of p_align: the block is congruent to it (gABI, "Program Header")."""
    data = Crafted(arch, "libodd.so", tls=(b"abc", 40, 64)).image()
    with Machine(arch, dynamic_tls=True) as machine:
        lib = machine.load(data, name="libodd.so")
        segment = lib.image.decoded.tls
        assert segment is not None
        for _ in range(2):
            block = machine.tls_block(lib.image)
            assert block % 64 == segment.vaddr % 64
            assert machine.memory.read(block, 40) == b"abc".ljust(40, b"\0")


def test_an_executable_comes_first_or_not_at_all(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(dynamic_tls=True)
    program = machine.load(fixture(target, "exe/tls"))
    assert is_static(program.image)
    assert program.function("exe_data_get", "int(void)")() == 101
    assert program.function("exe_other_get", "int(void)")() == 41
    machine = make_machine()
    machine.load(fixture(target, "tls_static"))
    before = state(machine)
    with pytest.raises(TlsError, match="an executable's block must be the first"):
        machine.load(fixture(target, "exe/tls"))
    assert state(machine) == before


# ---------------------------------------------------------------- relocatable objects

OBJECTS = [
    (target, model)
    for model in ("general_dynamic", "local_dynamic", "initial_exec", "local_exec", "descriptors")
    for target in targets_of(f"objects/tls/{model}")
]


@by(("target", "model"), OBJECTS)
def test_objects_are_dynamic_where_their_code_allows(target: str, model: str) -> None:
    source, arch = fixture(target, f"objects/tls/{model}"), variant_of(target).target.name
    other = compiled(arch, "other.c", *(() if model == "local_exec" else ("-fPIC",)))
    with Machine(arch_of(target), dynamic_tls=True) as machine:
        lib = machine.load([source, other])
        # A linker turns Arm's descriptor sequences into local-exec code; see the ISA's page.
        needs = model in ("initial_exec", "local_exec") or (model == "descriptors" and arch in ("arm", "thumb"))
        assert is_static(lib.image) is needs
        assert [lib.function(f, "int()")() for f in ("get_own", "get_both", "get_other")] == [11, 45, 31]
        lib.function("set_all", "void(int)")(60)
        assert [lib.function(f, "int()")() for f in ("get_own", "get_other")] == [60, 62]
        assert lib.function("own_address", "uintptr_t()")() == lib.symbols["tls_own"].address


@by(("target", "model"), [row for row in OBJECTS if row[1] in ("initial_exec", "local_exec")])
def test_objects_that_need_a_static_place_say_where(target: str, model: str) -> None:
    source, arch = fixture(target, f"objects/tls/{model}"), variant_of(target).target.name
    other = compiled(arch, "other.c", *(() if model == "local_exec" else ("-fPIC",)))
    with Machine(arch_of(target), tls_size=32) as machine:
        before = state(machine)
        with pytest.raises(RelinkError) as caught:
            machine.load([source, other], name="plugin.o")
        assert "plugin.o: " in str(caught.value)
        assert "cannot allocate memory in static TLS block: needs" in str(caught.value)
        # gcc names its variables by their section's anchor.
        assert re.search(r"against (tls_own|\.LANCHOR\d): |TLS_IE slot of tls_own: ", str(caught.value))
        assert state(machine) == before


# ---------------------------------------------------------------- unloading


@each("name", ["tls_dynamic", "tls_dynamic_desc"])
@MODES
def test_loads_and_closes_leave_nothing(make_machine: MakeMachine, target: str, name: str, dynamic: bool) -> None:
    machine = make_machine(dynamic_tls=dynamic)
    path = available(target, name)
    thread = machine.new_thread()

    def use() -> None:
        with machine.load(path) as lib:
            lib.function("dynamic_set", "void(int)")(5)
            with machine.use_thread(thread):
                assert lib.function("dynamic_get", "int(void)")() == 71
            assert lib.function("dynamic_get", "int(void)")() == 5

    use()
    before, mapped = state(machine), machine.heap.mapped
    for _ in range(5):
        use()
    assert state(machine) == before
    assert machine.heap.mapped == mapped


@pytest.mark.parametrize("arch", ARCHES)
def test_forty_modules_at_once_and_none(arch: str) -> None:
    with Machine(arch, tls_size=0x1000) as machine:
        before = state(machine)
        loads = [
            machine.load(Crafted(arch, f"lib{n}.so", tls=(bytes([n]), 300, 16)).image(), name=f"lib{n}.so")
            for n in range(40)
        ]
        assert {is_static(lib.image) for lib in loads} == {True, False}
        blocks = [machine.tls_block(lib.image) for lib in loads]
        assert [machine.memory.read(block, 300)[0] for block in blocks] == list(range(40))
        order = sorted(blocks)
        assert all(low + 300 <= high for low, high in pairwise(order))
        for lib in loads[::2] + loads[1::2]:
            lib.close()
        assert state(machine) == before


def test_a_reused_module_id_finds_the_new_module_s_block(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(dynamic_tls=True)
    thread = machine.new_thread()
    old = machine.load(fixture(target, "tls_dynamic"))
    assert old.image.tls is not None
    number = old.image.tls.id
    for used in (machine.threads.main, thread):
        with machine.use_thread(used):
            old.function("dynamic_set", "void(int)")(5)
    old.close()
    with pytest.raises(GuestAbort, match=f"TLS module {number} does not belong to a loaded image"):
        machine.threads.address(number, 0)
    new = machine.load(fixture(target, "libtls_other"))
    assert new.image.tls is not None
    assert new.image.tls.id == number
    for used in (machine.threads.main, thread):
        with machine.use_thread(used):
            where = new.function("other_gd_address", "unsigned long(void)")()
            assert where == new.symbols["other_gd"].address
            assert new.symbols["other_gd"].read("int") == 41


def test_no_memory_for_a_block_aborts_the_guest_naming_the_library(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(dynamic_tls=True)
    lib = machine.load(fixture(target, "tls_dynamic"))
    machine.heap.limit = machine.heap.mapped
    while machine.heap.malloc(1000):
        pass
    with pytest.raises(GuestAbort, match=r"tls_dynamic\.so: cannot allocate memory for thread-local data"):
        lib.function("dynamic_get", "int(void)")()
    machine.heap.limit = 1 << 24
    assert lib.function("dynamic_get", "int(void)")() == 71
