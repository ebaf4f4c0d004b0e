"""Libraries for the tests of dlopen and its kin, compiled for each target, and a machine that finds them.

`driver` makes the calls from guest code; the others are small. `note(n)` is a host function that appends to
`Guest.notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from emu import HostFunction, Machine
from emu.library import Library
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked

LAZY, NOW, NOLOAD, DEEPBIND, GLOBAL, NODELETE = 1, 2, 4, 8, 0x100, 0x1000

_DECLARED = """
typedef __SIZE_TYPE__ size_t;
void *dlopen(const char *, int); void *dlsym(void *, const char *); int dlclose(void *); char *dlerror(void);
void *dlvsym(void *, const char *, const char *);
void note(int);
"""

_DRIVER = """
void *open(const char *path, int mode) { return dlopen(path, mode); }
void *symbol(void *handle, const char *name) { return dlsym(handle, name); }
void *versioned(void *handle, const char *name, const char *version) { return dlvsym(handle, name, version); }
int close(void *handle) { return dlclose(handle); }
char *error(void) { return dlerror(); }
void *dlmopen(long, const char *, int);
void *elsewhere(long space, const char *path, int mode) { return dlmopen(space, path, mode); }
void *any(const char *name) { return dlsym(0, name); }
void *next(const char *name) { return dlsym((void *)-1, name); }
int call(void *function) { return ((int (*)(void))function)(); }
int word(void *place) { return *(int *)place; }
int common = 1;
"""

_ONE = """
int one_value = 11;
__thread int one_local = 12;
__attribute__((weak)) extern int nowhere;
int one(void) { return one_local + 1; }
void *address_of_local(void) { return &one_local; }
void *address_of_nowhere(void) { return &nowhere; }
static int hidden_answer(void) { return 77; }
void *chosen_resolver(void) { return (void *)hidden_answer; }
__attribute__((ifunc("chosen_resolver"))) int chosen(void);
__attribute__((constructor)) static void begin(void) { note(1); }
__attribute__((destructor)) static void end(void) { note(-1); }
"""

#: A name -> its source.
SOURCES: Mapping[str, str] = {
    "driver": _DRIVER,
    "one": _ONE,
    # What it needs is closed after it.
    "two": "int one(void); int two(void) { return one() + 1; }\n"
    "__attribute__((constructor)) static void begin(void) { note(2); }\n"
    "__attribute__((destructor)) static void end(void) { note(-2); }\n",
    # Refers to what it does not need: bound by the global scope, and kept by it.
    "borrower": "extern int one_value; int *borrowed = &one_value; int look(void) { return one_value; }\n",
    "global": "int common = 2; int only_global = 3;\n",
    "seeker": "extern int common; int seen(void) { return common; }\n",
    "deep": "int common = 4; int seen(void) { return common; }\n",
    "opener": "void *handle; __attribute__((constructor)) static void begin(void)\n"
    "{ note(30); handle = dlopen(\"libone.so\", 2); note(31); }\n"
    "__attribute__((destructor)) static void end(void) { dlclose(handle); note(-30); }\n",
    "failing_opener": "void *handle = (void *)1; char text[200];\n"
    "__attribute__((constructor)) static void begin(void)\n"
    "{ handle = dlopen(\"libseeker_of_nothing.so\", 2); char *e = dlerror(); int i = 0;\n"
    "  do text[i] = e[i]; while (e[i++]); }\n",
    # Two that are needed by a third; the first one opens the second before its turn.
    "second": "int ready; int second(void) { return ready; }\n"
    "__attribute__((constructor)) static void begin(void) { note(50); ready = 5; }\n"
    "__attribute__((destructor)) static void end(void) { note(-50); }\n",
    "impatient": "int found;\n"
    "__attribute__((constructor)) static void begin(void) { note(51); void *h = dlopen(\"libsecond.so\", 2);\n"
    "  found = ((int (*)(void))dlsym(h, \"second\"))(); note(52); dlclose(h); }\n"
    "int at_once(void) { return found; }\n"
    "__attribute__((destructor)) static void end(void) { note(-51); }\n",
    "pair": "__attribute__((constructor)) static void begin(void) { note(53); }\n",
    # One whose constructor opens what needs it, which is being loaded itself: that only counts.
    "inner": "__attribute__((constructor)) static void begin(void)\n"
    "{ note(54); dlclose(dlopen(\"libouter.so\", 2)); note(55); }\n",
    "outer": "__attribute__((constructor)) static void begin(void) { note(56); }\n",
    # One whose destructor opens what needs it.
    "reviver": "static int turns; int revived(void) { return turns; }\n"
    "__attribute__((constructor)) static void begin(void) { note(60); turns++; }\n"
    "__attribute__((destructor)) static void end(void)\n"
    "{ note(-60); if (turns == 1) dlopen(\"librevived.so\", 2); note(-61); }\n",
    "revived": "int revived(void); int turns_of(void) { return revived(); }\n"
    "__attribute__((constructor)) static void begin(void) { note(62); }\n",
    "seeker_of_nothing": "extern int nothing; int seen(void) { return nothing; }\n",
    "crasher": "__attribute__((constructor)) static void begin(void)\n"
    "{ dlopen(\"libtwo.so\", 2); *(volatile int *)8 = 1; }\n",
    "link1": "int chain(void) { return 1 + 10 * ((int (*)(void))dlsym((void *)-1, \"chain\"))(); }\n",
    "link2": "int chain(void) { return 2 + 10 * ((int (*)(void))dlsym((void *)-1, \"chain\"))(); }\n",
    "link3": "int chain(void) { void *next = dlsym((void *)-1, \"chain\"); return next ? -1 : 3; }\n",
    # What crtbegin.o makes of a C++ library's static objects.
    "registers": "int __cxa_atexit(void (*)(void *), void *, void *); void __cxa_finalize(void *);\n"
    "static void *dso = &dso; static void at_exit(void *n) { note((int)(size_t)n); }\n"
    "__attribute__((constructor)) static void begin(void)\n"
    "{ __cxa_atexit(at_exit, (void *)41, &dso); __cxa_atexit(at_exit, (void *)42, &dso); }\n"
    "__attribute__((destructor)) static void end(void) { note(-40); __cxa_finalize(&dso); note(-43); }\n",
    "registers_too": "int __cxa_atexit(void (*)(void *), void *, void *); void __cxa_finalize(void *);\n"
    "static void *dso = &dso; static void at_exit(void *n) { note((int)(size_t)n); }\n"
    "__attribute__((constructor)) static void begin(void) { __cxa_atexit(at_exit, (void *)51, &dso); }\n"
    "__attribute__((destructor)) static void end(void) { __cxa_finalize(&dso); note(-53); }\n",
    "chained": "int chain(void); int start(void) { return chain(); }\n",
}  # fmt: skip
#: A name -> the libraries it needs.
NEEDED: Mapping[str, Sequence[str]] = {
    "two": ["one"],
    "chained": ["link2", "link3"],
    "failing_opener": [],
    "pair": ["second", "impatient"],
    "outer": ["inner"],
    "revived": ["reviver"],
}
FLAGS = ("-fPIC", "-fno-optimize-sibling-calls", "-fno-builtin")


def library(target: str, name: str, *flags: str) -> Path:
    """lib`name`.so for a target, linked with `flags`."""
    needed = [library(target, needed) for needed in NEEDED.get(name, ())]
    source = compiled(target, _DECLARED + SOURCES[name], *FLAGS)
    return linked(target, [source, *needed], "-soname", f"lib{name}.so", *flags)


class Guest:
    """A machine with `driver` loaded, its calls by name, and what has been noted."""

    def __init__(self, target: str, *names: str, **options: object) -> None:
        self.target = target
        self.notes: list[int] = []
        self.when_noted: dict[int, Callable[[], object]] = {}  #: what the host does at a note
        files = {f"lib{name}.so": library(target, name) for name in names}
        files |= options.pop("libraries", {})  # type: ignore[call-overload]
        note = HostFunction(self._noted, "void(int)")
        self.machine = Machine(arch_of(target), libraries=files, symbols={"note": note}, **options)  # type: ignore[arg-type]
        self.driver: Library = self.machine.load(library(target, "driver"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.machine.close(run_destructors=kind is None)

    def _noted(self, number: int) -> None:
        self.notes.append(number)
        self.when_noted.get(number, int)()

    def _call(self, name: str, prototype: str, *args: object) -> int:
        result = self.driver.function(name, prototype)(*args)
        assert isinstance(result, int)
        return result

    def open(self, path: str | None, mode: int = NOW) -> int:
        return self._call("open", "void *(const char *, int)", path, mode)

    def symbol(self, handle: int, name: str) -> int:
        return self._call("symbol", "void *(void *, const char *)", handle, name)

    def versioned(self, handle: int, name: str, version: str) -> int:
        return self._call("versioned", "void *(void *, const char *, const char *)", handle, name, version)

    def close(self, handle: int) -> int:
        return self._call("close", "int(void *)", handle)

    def error(self) -> str | None:
        address = self._call("error", "void *(void)")
        return self.machine.memory.read_cstring(address).decode() if address else None

    def any(self, name: str) -> int:
        return self._call("any", "void *(const char *)", name)

    def next(self, name: str) -> int:
        return self._call("next", "void *(const char *)", name)

    def call(self, handle: int, name: str) -> int:
        return self._call("call", "int(void *)", self.symbol(handle, name))

    def word(self, handle: int, name: str) -> int:
        return self._call("word", "int(void *)", self.symbol(handle, name))

    def loaded(self, name: str) -> bool:
        return self.machine.linker.loaded(f"lib{name}.so") is not None
