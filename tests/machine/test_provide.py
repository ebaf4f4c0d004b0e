"""Libraries of host functions: found where a file of that name would be, and refused where one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink.errors import LibraryNotFound, LinkError, LinkErrors, UnresolvedSymbol, UnsupportedRelocation
from relink.relocate.lazy import BindMode
from tests.fixtures import fixture
from tests.machine.dl import Guest, library
from tests.objects.build import compiled, linked
from tests.toolcache import text_file

#: A provider to link against, and what needs it: a function, an address, and a function of the C library's name.
PROVIDER = "int foo(int x) { return x; } char marked[1]; int abs(int x) { return x; }\n"
CLIENT = """
int foo(int); extern char marked[]; int abs(int);
int call(int x) { return foo(x) + 1; }
void *mark(void) { return marked; }
int absolute(int x) { return abs(x); }
int (*pointer)(int) = foo;
int indirect(int x) { return pointer(x); }
"""
FLAGS = ("-fPIC", "-fno-builtin")


def client(target: str, versions: str = "") -> Path:
    script = ("--version-script", str(text_file(versions, ".map"))) if versions else ()
    provider = linked(target, [compiled(target, PROVIDER, *FLAGS)], "-soname", "libfoo.so.1", *script)
    return linked(target, [compiled(target, CLIENT, *FLAGS), provider], "-soname", "libclient.so")


def provide(machine: Machine) -> None:
    foo = (lambda x: x * 3, "int(int)")
    machine.provide("libfoo.so.1", {"foo": foo, "marked": 0x1234, "abs": (lambda x: 99, "int(int)")})


@pytest.mark.parametrize("binding", list(BindMode))
def test_what_is_needed_is_found(machine: Machine, target: str, binding: BindMode) -> None:
    for file in (client(target), client(target, "V1 { global: *; };\n")):
        with Machine(machine.arch) as own:
            with pytest.raises((LibraryNotFound, LinkErrors)):
                own.load(file)
            provide(own)
            loaded = own.load(file, binding=binding)
            assert loaded.function("call", "int(int)")(5) == 16
            assert loaded.function("indirect", "int(int)")(5) == 15
            assert loaded.function("mark", "unsigned long(void)")() == 0x1234
            assert loaded.function("absolute", "int(int)")(-5) == 99, "before the hosted C library"


def test_who_does_not_need_it_does_not_find_it(machine: Machine, target: str) -> None:
    machine.provide("libother.so", {"my_host_function": 0x1000})
    with pytest.raises((UnresolvedSymbol, LinkErrors), match="my_host_function"):
        machine.load(fixture(target, "basic"))


def test_names_that_are_taken_are_refused(machine: Machine, target: str) -> None:
    traps = len(machine.traps)
    provide(machine)
    with pytest.raises(LinkError, match=r"libfoo\.so\.1: is provided already"):
        provide(machine)
    with pytest.raises(LinkError, match=r"libfoo\.so\.1: is provided by the host"):
        machine.load("libfoo.so.1")
    file = linked(target, [compiled(target, PROVIDER, *FLAGS)], "-soname", "libfoo.so.1")
    with pytest.raises(LinkError, match=r"has the SONAME libfoo\.so\.1, which is provided by the host"):
        machine.load(file)
    machine.load(library(target, "borrower"), symbols={"one_value": 0x1000})
    with pytest.raises(LinkError, match=r"libborrower\.so: is already loaded"):
        machine.provide("libborrower.so", {"foo": abs})
    assert len(machine.traps) == traps + 2, "a refusal leaves nothing"


def test_dlopen_finds_it(target: str) -> None:
    with Guest(target) as guest:
        value = guest.machine.define("value", (lambda: 7, "int(void)"))
        guest.machine.provide("libfoo.so.1", {"foo": value, "empty": 0x40})
        guest.machine.provide("libbar.so.1", {"foo": 0x50})
        guest.machine.provide("libnone.so.1", {})
        foo, bar, none = (guest.open(f"lib{name}.so.1") for name in ("foo", "bar", "none"))
        assert len({foo, bar, none, 0}) == 4
        assert guest.call(foo, "foo") == 7
        assert (guest.symbol(foo, "empty"), guest.symbol(bar, "foo")) == (0x40, 0x50)
        for handle, name, asked in ((bar, "bar", "empty"), (none, "none", "foo"), (foo, "foo", "strlen")):
            assert guest.symbol(handle, asked) == 0
            assert guest.error() == f"lib{name}.so.1: undefined symbol: {asked}"
        assert guest.any("empty") == 0, "opened for itself alone"
        assert guest.open("libfoo.so.1", 0x102)
        assert guest.open("libfoo.so.1", 0x102), "again, which adds nothing"
        assert list(guest.machine.linker.provided_to_all) == ["libfoo.so.1"]
        assert guest.any("empty") == 0x40, "RTLD_GLOBAL"
        assert guest.symbol(guest.open("libc.so.6"), "strlen") == guest.any("strlen") != 0


def test_dlsym_looks_where_the_images_do(target: str) -> None:
    with Guest(target, libraries={"libclient.so": client(target)}) as guest:
        provide(guest.machine)
        handle = guest.open("libclient.so")
        assert handle, guest.error()
        assert guest.symbol(handle, "marked") == 0x1234
        assert guest.any("marked") == 0


def test_a_program_copies_no_number() -> None:
    copier = fixture("x86_64-gcc", "exe/copy")
    with Machine("x86_64") as machine:
        machine.provide("libleaf.so", {"leaf_value": 0x1234})
        with pytest.raises(UnsupportedRelocation, match="defines it as the number 0x1234, where there is no data"):
            machine.load(copier, allow_unresolved=True)
    with Machine("x86_64") as machine:
        at = machine.memory.map_anonymous(4096)
        machine.memory.write_uint(at, 4, 77)
        machine.provide("libleaf.so", {"leaf_value": at})
        image = machine.load(copier, allow_unresolved=True).image
        assert machine.memory.read_uint(image.symbol("leaf_value").address, 4) == 77
