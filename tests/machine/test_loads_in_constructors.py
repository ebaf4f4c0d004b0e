"""Loads and unloads in constructors, in destructors, and at the exit of a program: who is initialised when, what
stays, and where libraries of a program are looked up. As glibc does; `test_dl_against_glibc.py` compares more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from emu.errors import UnresolvedCall
from tests.fixtures import arch_of
from tests.machine.dl import Guest
from tests.objects.build import TARGETS, compiled, linked, program

pytestmark = [pytest.mark.sample(4), pytest.mark.parametrize("target", TARGETS)]
SOURCES = Path(__file__).with_name("sources")
OPENS = """
#include "start.h"
typedef void action(void);
extern int __libc_start_main(int (*)(int, char **, char **), int, char **, action *, action *, action *, void *);
extern void *dlopen(const char *, int);
static int body(int argc, char **argv, char **envp) {
    void **self = dlopen("libself.so", 2);
    return self ? 3 : 4;
}
__attribute__((used)) void begin(word *stack, action *finish) {
    __libc_start_main(body, (int)stack[0], (char **)(stack + 1), 0, 0, finish, stack);
}
"""
CLOSES_ITSELF = """
void *dlopen(const char *, int); int dlclose(void *); int puts(const char *);
__attribute__((destructor)) static void end(void) {
    void *self = dlopen("libself.so", 2 | 4);
    int first = dlclose(self), second = dlclose(self);
    puts(first || second ? "refused" : "closed");
}
"""


def test_a_library_opened_by_the_destructor_of_what_it_needs_finds_that_initialised(target: str) -> None:
    """Its constructors run again, as under glibc (elf/dl-call_fini.c), and with its end the destructors."""
    with Guest(target, "reviver", "revived") as guest:
        guest.close(guest.open("libreviver.so"))
        assert guest.notes == [60, -60, 60, 62, -61]
        handle = guest.open("librevived.so")
        assert guest.call(handle, "turns_of") == 2
    assert guest.notes == [60, -60, 60, 62, -61, -60, -61]


def test_constructors_left_for_later_run_once_though_they_load_what_needs_their_library(target: str) -> None:
    with Guest(target, "one", "two") as guest:
        guest.when_noted[1] = lambda: guest.machine.load("libtwo.so")
        one = guest.machine.load("libone.so", run_initialisers=False)
        one.run_initialisers()
        assert guest.notes == [1, 2]


def test_a_library_that_closes_itself_at_exit_is_there_until_its_destructor_returns(target: str) -> None:
    flags = ("-fPIC", "-fno-builtin")
    names = "void __libc_start_main(void) {} void *dlopen(void) { return 0; }\n"
    libc = linked(target, [compiled(target, names, *flags)], "-soname", "libc.so.6")
    code = compiled(target, OPENS, f"-I{SOURCES}", "-fpie", "-fno-direct-access-external-data")
    path = program(target, [code, libc], "--dynamic-linker=/x", "-pie")
    own = linked(target, [compiled(target, CLOSES_ITSELF, *flags)], "-soname", "libself.so")
    with Machine(arch_of(target), libraries={"libself.so": own}) as machine:
        assert machine.run(path) == 3
        assert machine.libc.stdout.getvalue() == b"closed\n"
        assert machine.linker.loaded("libself.so") is None


def test_libraries_of_a_program_do_not_search_what_later_loads_bring(target: str) -> None:
    """glibc extends the scopes of libraries that were opened only (elf/dl-open.c, `resize_scopes`)."""
    asks = linked(target, [compiled(target, "int given(int);\nint ask(int n) { return given(n); }\n", "-fPIC")],
                  "-soname", "libasks.so", "-z", "lazy")  # fmt: skip
    later = linked(target, [compiled(target, "int given(int n) { return n; }\n", "-fPIC"), asks], "--no-as-needed")
    code = "int ask(int);\nvoid _start(void) { ask(1); }\n"
    path = program(
        target, [compiled(target, code, "-fpie"), asks], "-pie", "--dynamic-linker=/x", "--allow-shlib-undefined"
    )
    with Machine(arch_of(target), binding="lazy", libraries={"libasks.so": asks}) as machine:
        machine.load(path)
        machine.load(later, local=True)
        ask = machine.load("libasks.so").function("ask", "int(int)")
        with pytest.raises(UnresolvedCall, match="given"):
            ask(1)
    with Machine(arch_of(target), binding="lazy", libraries={"libasks.so": asks}) as machine:
        ask = machine.load("libasks.so").function("ask", "int(int)")
        machine.load(later, local=True)
        assert ask(1) == 1
