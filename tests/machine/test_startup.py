"""Constructors, destructors, ifunc resolvers, thread-local storage: what happens around a load."""

from __future__ import annotations

import re
import struct

import pytest

from emu import Machine
from emu.errors import ConstructorFault, GuestFault
from emu.library import Library
from relink.errors import LinkError
from tests.fixtures import arch_of, fixture, targets_of
from tests.machine.conftest import MakeMachine


def words(machine: Machine, library: Library, name: str, count: int) -> list[int]:
    """`count` C ints of an exported array."""
    return list(struct.unpack(f"<{count}i", machine.memory.read(library.symbols[name].address, 4 * count)))


def test_constructors_run_in_the_order_of_the_gabi(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "ctors"))
    # 1 is DT_INIT's, which ld.so does not run on RISC-V and LoongArch.
    expected = [1, 2, 3, 4] if machine.arch.runs_init_fini else [2, 3, 4]
    assert library.symbols["ctor_count"].read("int") == len(expected)
    assert words(machine, library, "order", len(expected)) == expected


def test_constructors_receive_arguments_and_environment(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(arguments=["program", "one", "zwei"], environment={"HOME": "/root", "LANG": "C"})
    library = machine.load(fixture(target, "ctors"))
    size = machine.arch.word_size

    def strings(table: float) -> list[str]:
        assert isinstance(table, int)
        found = []
        while pointer := machine.memory.read_uint(table, size):
            found.append(machine.memory.read_cstring(pointer).decode())
            table += size
        return found

    assert library.symbols["seen_argc"].read("int") == 3
    assert strings(library.symbols["seen_argv"].read("char **")) == ["program", "one", "zwei"]
    assert strings(library.symbols["seen_envp"].read("char **")) == ["HOME=/root", "LANG=C"]


def test_destructors_run_in_reverse_when_the_library_goes(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "ctors"))
    machine.initialisers.destruct(library.image)
    expected = [1, 2, 3, 4, 5, 6, 7, 8] if machine.arch.runs_init_fini else [2, 3, 4, 5, 6, 7]
    assert words(machine, library, "order", len(expected)) == expected


def test_dependencies_start_first_and_stop_last(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    top = machine.load(fixture(target, "startup/app"))
    count = log.symbols["startup_count"].read("int")
    assert isinstance(count, int)
    started = words(machine, log, "startup_order", count)
    needs = {image.soname: [d.soname for d in image.dependencies] for image in top.plan.images}
    assert len(started) == len(top.plan.images) + 1
    assert started[0] == 1, "what everybody needs starts first"
    top.close()
    ended = words(machine, log, "startup_order", 2 * count - 1)[count:]
    assert ended == [-number for number in reversed(started[1:])], needs


def test_an_executable_is_asked_before_everything_else(machine: Machine, target: str) -> None:
    """exe/pie notes 1 in its DT_PREINIT_ARRAY and 2 in a constructor."""
    program = machine.load(fixture(target, "exe/pie"))
    assert words(machine, program, "startup_log", 3) == [1, 2, 0]


def test_a_constructor_that_faults_undoes_the_load(machine: Machine, target: str) -> None:
    log = machine.load(fixture(target, "startup/liblog"))
    regions, images = machine.memory.regions, list(machine.linker.images)
    with pytest.raises(ConstructorFault, match=r"libctor_fault.*init_array\[1\]") as caught:
        machine.load(fixture(target, "startup/libctor_fault"))
    assert isinstance(caught.value.__cause__, GuestFault)
    assert machine.memory.regions == regions
    assert machine.linker.images == images
    assert machine.linker.global_scope == images
    count = log.symbols["startup_count"].read("int")
    assert isinstance(count, int)
    ran = words(machine, log, "startup_order", count)
    assert ran[-1] == 60, "the constructor before it had run, the one after it had not"
    assert machine.load(fixture(target, "ctors")).symbols["ctor_count"].read("int") in (3, 4)


# ---------------------------------------------------------------- ifunc


def test_ifuncs_answer_by_every_route(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "ifunc"))

    def call(name: str) -> object:
        return library.function(name, "int(void)")()

    assert call("call_ifunc") == 2001
    assert call("call_ifunc_hidden") == 2002
    assert call("call_ifunc_pointer") == 2003
    assert call("call_ifunc_hidden_pointer") == 2004
    assert library.function("indirect", "int(int)")(5) == 2005


def test_each_resolver_is_asked_once_per_load(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "ifunc"))
    distinct = {r for calls in library.plan.ifuncs for r in calls.resolver.tolist()}
    assert library.symbols["resolver_calls"].read("int") == len(distinct)


def test_resolvers_are_passed_what_their_abi_says(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "ifunc"))
    hwcap = library.symbols["resolver_hwcap"].read("unsigned long")
    assert isinstance(hwcap, int)
    if arch_of(target) in ("x86_64", "i386"):
        assert hwcap == 0xDEAD, "x86 passes nothing"
    elif arch_of(target) == "aarch64":
        assert hwcap & (1 << 62), "_IFUNC_ARG_HWCAP says there is a second argument"
        block = library.symbols["resolver_second"].read("unsigned long")
        assert isinstance(block, int)
        size, first = struct.unpack("<QQ", machine.memory.read(block, 16))
        assert size >= 24
        assert first == hwcap & ~(1 << 62)
    else:
        assert hwcap != 0xDEAD


def test_an_ifunc_of_another_library_is_called_and_compared(machine: Machine, target: str) -> None:
    machine.load(fixture(target, "ifunc"))
    client = machine.load(fixture(target, "ifunc_client"))
    assert client.function("client_call", "int(int)")(7) == 2007
    assert client.function("client_call_pointer", "int(int)")(8) == 2008
    assert client.function("client_address", "void *(void)")() == client.symbols["client_pointer"].read("void *")


def test_a_resolver_that_faults_undoes_the_load(machine: Machine, target: str) -> None:
    regions = machine.memory.regions
    with pytest.raises(ConstructorFault, match="ifunc resolver"):
        machine.load(fixture(target, "ifunc_fault"))
    # The arguments of resolvers may have got their page by now; nothing of the library is left.
    assert [r for r in machine.memory.regions if r not in regions and r.name != "[ifunc]"] == []
    assert machine.linker.images == []


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize("name", ["tls", "tls_desc"])
def test_every_tls_model_reaches_the_same_variables(machine: Machine, target: str, name: str) -> None:
    if target not in targets_of(name):
        pytest.skip(f"{name} is not built for {target}: its compiler has no descriptors")
    library = machine.load(fixture(target, name))

    def call(function: str) -> object:
        return library.function(function, "int(void)")()

    first = ("tls_gd", "tls_ld", "tls_ie", "tls_other_gd", "tls_other_ie")
    assert [call(f) for f in first] == [11, 43, 63, 41, 51]
    library.function("tls_set", "void(int)")(100)
    then = ("tls_gd", "tls_ld", "tls_ie", "tls_other_gd", "tls_zero")
    assert [call(f) for f in then] == [100, 203, 207, 105, 106]
    address = library.function("tls_gd_address", "unsigned long(void)")()
    assert address == library.symbols["gd_variable"].address
    mixed = library.function("tls_mixed", "double(int, double, long, float)")
    assert mixed(1, 2.5, 3, 0.5) == (2.5 * 2 + 0.5) + 100 + 1 + 3 + 101 + 2.5


@pytest.mark.parametrize("name", ["tls_aligned", "tls_aligned_desc"])
def test_tls_blocks_are_aligned_as_their_segment_says(machine: Machine, target: str, name: str) -> None:
    if target not in targets_of(name):
        pytest.skip(f"{name} is not built for {target}: its compiler has no descriptors")
    machine.load(fixture(target, "tls_static"))  # so that the block before it ends somewhere odd
    library = machine.load(fixture(target, name))
    assert library.function("tls_misalignment", "unsigned long(void)")() == 0


@pytest.mark.parametrize("name", ["tls_dynamic", "tls_dynamic_desc", "tls_static"])
def test_tls_of_late_modules(machine: Machine, target: str, name: str) -> None:
    if target not in targets_of(name):
        pytest.skip(f"{name} is not built for {target}: its compiler has no descriptors")
    library = machine.load(fixture(target, name))
    getter, setter = ("static_get", "static_set") if name == "tls_static" else ("dynamic_get", "dynamic_set")
    get, put = library.function(getter, "int(void)"), library.function(setter, "void(int)")
    assert get() == (81 if name == "tls_static" else 71)
    put(5)
    assert get() == (10 if name == "tls_static" else 5)


def test_a_tls_block_is_fresh_after_a_reload(machine: Machine, target: str) -> None:
    before = dict(machine.linker.tls.modules)
    for _ in range(3):
        with machine.load(fixture(target, "tls_static")) as library:
            assert library.function("static_get", "int(void)")() == 81
            library.function("static_set", "void(int)")(7)
    assert machine.linker.tls.modules == before


def test_an_undefined_weak_tls_variable_does_no_harm(machine: Machine, target: str) -> None:
    library = machine.load(fixture(target, "tls_weak"))
    assert library.function("weak_tls_value", "int(int)")(0) == 1


def test_static_tls_that_is_spent_is_an_error(make_machine: MakeMachine, target: str) -> None:
    machine = make_machine(tls_size=64)
    with pytest.raises(LinkError) as caught:
        machine.load(fixture(target, "tls_static"))
    assert re.search(r"in static TLS block: needs \d+ bytes; \d+ of 64 are in use", str(caught.value))
    assert machine.linker.images == []
