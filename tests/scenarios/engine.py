"""Scenarios of loading, calling and closing: played on a machine of any target, and by the host's own ld.so.

A scenario is a few small libraries and a list of steps; playing it gives one answer for each step. What glibc
answers on the host is what every emulated target has to answer, and what the scenario expects is checked against
both.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from emu import Library, Machine, Snapshot
from relink import BindMode, RelinkError
from relink.resolve.bindings import UNRESOLVED
from tests.fixtures import arch_of
from tests.objects.build import compiled, linked
from tests.state import differences, guest_state_of, state_of
from tests.toolcache import text_file

Answer: TypeAlias = "int | str | tuple[int, ...]"

#: What constructors and destructors tell, in order; every library may use it.
TRACE = """
static int events[64], count;
void trace(int event) { events[count++] = event; }
int traced(int index) { return index < count ? events[index] : 0; }
void forget(void) { count = 0; }
"""
HEADER = """
void trace(int event);
#define LIFE(event) \\
    __attribute__((constructor)) static void up(void) { trace(event); } \\
    __attribute__((destructor)) static void down(void) { trace(-(event)); }
"""
_FLAGS = ("-fPIC", "-fsemantic-interposition")
_FOLDER = TemporaryDirectory(prefix="relink-scenarios-")


@dataclass(frozen=True)
class Lib:
    """A library: C text, the names of those it needs, flags for lld (`VERSIONS` stands for the version script)."""

    name: str
    text: str
    needs: tuple[str, ...] = ()
    flags: str = ""
    versions: str = ""


def value(name: str, number: int, extra: str = "", **options: object) -> Lib:
    """A library whose `value_of` is `number`."""
    return Lib(name, f"int value_of(int n) {{ return {number} + n; }}\n{extra}", **options)  # type: ignore[arg-type]


def asks(name: str, number: int = 0, **options: object) -> Lib:
    """A library that calls `value_of`, whoever defines it."""
    text = f"int value_of(int); int ask_{name}(int n) {{ return value_of(n) + {number}; }}"
    return Lib(name, text, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Step:
    """One thing to do, and the answer that is expected."""

    do: str  #: "load", "close", "call", "find", "trace"
    handle: str
    name: str = ""  #: of the library or function
    argument: int = 0
    flags: str = ""
    answer: Answer = 0


def load(handle: str, library: str = "", flags: str = "now", answer: Answer = "loaded") -> Step:
    """dlopen; `flags` are lower-case names of RTLD_…; "failed" is an answer."""
    return Step("load", handle, library or handle, flags=flags, answer=answer)


def close(handle: str) -> Step:
    """dlclose."""
    return Step("close", handle, answer="closed")


def call(handle: str, function: str, answer: Answer, argument: int = 0) -> Step:
    """Call `int function(int)`, found by the handle ("": RTLD_DEFAULT); "missing" where there is none."""
    return Step("call", handle, function, argument, answer=answer)


def trace(*events: int) -> Step:
    """What constructors and destructors have told since the last look."""
    return Step("trace", "", answer=events)


@dataclass(frozen=True, eq=False)
class Scenario:
    """Libraries and steps. `libtrace.so` is loaded before everything else, globally."""

    name: str
    libraries: tuple[Lib, ...]
    steps: tuple[Step, ...]
    native: bool = True  #: whether glibc plays it to the end

    @property
    def identifier(self) -> str:
        """The name as one word."""
        return "-".join(re.findall(r"\w+", self.name))


@cache
def built(scenario: Scenario, target: str) -> Path:
    """A folder with the scenario's libraries for a target."""
    folder = Path(_FOLDER.name, target, scenario.identifier)
    folder.mkdir(parents=True, exist_ok=True)
    for lib in (Lib("libtrace", TRACE), *scenario.libraries):
        part = compiled(target, lib.text if lib.name == "libtrace" else HEADER + lib.text, *_FLAGS)
        flags = ["-rpath", "$ORIGIN", "-soname", f"{lib.name}.so", *shlex.split(lib.flags)]
        if lib.versions:
            flags.append(f"--version-script={text_file(lib.versions, '.map')}")
        needs = [folder / f"{need}.so" for need in lib.needs]
        shutil.copyfile(linked(target, [part, *needs], *flags), folder / f"{lib.name}.so")
    return folder


# ---------------------------------------------------------------- on a machine


def message(scenario: Scenario, target: str, library: str) -> str:
    """What a machine says of a library that cannot be loaded; "" where it can."""
    folder = built(scenario, target)
    with Machine(arch_of(target)) as machine:
        machine.load(folder / "libtrace.so")
        try:
            machine.load(folder / f"{library}.so")
        except RelinkError as error:
            return str(error)
    return ""


def played(scenario: Scenario, target: str, binding: BindMode = BindMode.LAZY) -> list[Answer]:
    """The answers of a machine; `binding` is what "lazy" means."""
    folder = built(scenario, target)
    with Machine(arch_of(target)) as machine:
        player = _Player(machine, folder, binding)
        return [player.play(step) for step in scenario.steps]


def played_again(scenario: Scenario, target: str) -> list[list[Answer]]:
    """The answers of one machine that plays it, returns to the beginning, plays it again, and plays its second
    half again from a snapshot in the middle. Raises AssertionError where memory or registers differ then.
    """
    folder = built(scenario, target)
    begins = (0, len(scenario.steps) // 2)
    with Machine(arch_of(target), stack_size=1 << 16) as machine:  # all of it is compared after each step
        player = _Player(machine, folder, BindMode.LAZY)
        saved: dict[int, tuple[Snapshot, dict[str, Any], dict[str, Library]]] = {}
        guest_states, answers = list[dict[str, Any]](), list[Answer]()
        for number in range(len(scenario.steps) + 1):
            if number:
                answers.append(player.play(scenario.steps[number - 1]))
            snapshot = machine.snapshot()
            if number in begins:
                saved[number] = snapshot, state_of(machine), dict(player.handles)
            guest_states.append(guest_state_of(machine))
        played = [answers]
        for begin in begins:
            snapshot, state, handles = saved[begin]
            machine.restore(snapshot)
            assert not differences(state, state_of(machine)), begin
            player.handles = dict(handles)
            again = answers[:begin]
            for number, step in enumerate(scenario.steps[begin:], begin + 1):
                again.append(player.play(step))
                assert not differences(guest_states[number], guest_state_of(machine)), step
            played.append(again)
        return played


class _Player:
    def __init__(self, machine: Machine, folder: Path, binding: BindMode) -> None:
        self.machine, self.folder, self.binding = machine, folder, binding
        self.handles: dict[str, Library] = {"trace": machine.load(folder / "libtrace.so")}

    def play(self, step: Step) -> Answer:
        if step.do == "load":
            return self._load(step)
        if step.do == "close":
            self.handles.pop(step.handle).close()
            return "closed"
        if step.do == "call":
            return self._call(step)
        library = self.handles["trace"]
        traced, events = library.function("traced", "int(int)"), list[int]()
        while event := traced(len(events)):
            events.append(int(event))
        library.function("forget", "void(void)")()
        return tuple(events)

    def _load(self, step: Step) -> Answer:
        flags = step.flags.split()
        try:
            self.handles[step.handle] = self.machine.load(
                self.folder / f"{step.name}.so",
                local="global" not in flags,
                deep_bind="deepbind" in flags,
                no_load="noload" in flags,
                no_delete="nodelete" in flags,
                binding=self.binding if "lazy" in flags else BindMode.NOW,
            )
        except RelinkError:
            return "failed"
        return "loaded"

    def _call(self, step: Step) -> Answer:
        linker, prototype = self.machine.linker, "int(int)"
        scope = self.handles[step.handle].image.scope if step.handle else linker.global_scope
        found = linker.resolver.find(step.name, None, scope)
        if found.provider[0] == UNRESOLVED:
            return "missing"
        image = found.images[int(found.provider[0])]
        address = int(found.address[0])
        if found.type[0] == 10:  # STT_GNU_IFUNC
            address = self.machine.initialisers.ifunc_target(image, address)
        answer = self.machine.call(address, prototype, step.argument)
        assert isinstance(answer, int)
        return answer


# ---------------------------------------------------------------- under the host's ld.so

_NATIVE = r"""
import ctypes, json, sys
folder, steps = sys.argv[1], json.loads(sys.argv[2])
libc = ctypes.CDLL(None)
for name, result, types in (("dlopen", ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]),
                            ("dlsym", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
                            ("dlerror", ctypes.c_char_p, []), ("dlclose", ctypes.c_int, [ctypes.c_void_p])):
    function = getattr(libc, name)
    function.restype, function.argtypes = result, types
FLAGS = {"lazy": 1, "now": 2, "noload": 4, "deepbind": 8, "global": 0x100, "nodelete": 0x1000}
def opened(library, flags):
    return libc.dlopen(f"{folder}/{library}.so".encode(), sum(FLAGS[flag] for flag in flags.split()))
handles = {"": None, "trace": opened("libtrace", "now global")}
def function(handle, name):
    address = libc.dlsym(handles[handle], name.encode())
    return address and ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)
answers = []
for do, handle, name, argument, flags in steps:
    if do == "load":
        handles[handle] = opened(name, flags)
        answers.append("loaded" if handles[handle] else "failed")
        if not handles[handle]:
            print((libc.dlerror() or b"").decode(), file=sys.stderr)
    elif do == "close":
        assert libc.dlclose(handles.pop(handle)) == 0
        answers.append("closed")
    elif do == "call":
        callee = function(handle, name)
        answers.append(callee(argument) if callee else "missing")
    else:
        events = []
        while event := function("trace", "traced")(len(events)):
            events.append(event)
        function("trace", "forget")(0)
        answers.append(events)
print(json.dumps(answers), flush=True)
__import__("os")._exit(0)
"""


def played_natively(scenario: Scenario) -> Sequence[Answer]:
    """The answers of the host's own dynamic linker, an x86-64 one."""
    folder = built(scenario, "x86_64")
    steps = [(step.do, step.handle, step.name, step.argument, step.flags) for step in scenario.steps]
    command = [sys.executable, "-c", _NATIVE, str(folder), json.dumps(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(answer) if isinstance(answer, list) else answer for answer in json.loads(done.stdout)]


def message_of_the_host(scenario: Scenario, library: str) -> str:
    """What the host's own dynamic linker says of it."""
    path = built(scenario, "x86_64") / f"{library}.so"
    script = "import ctypes, sys\ntry: ctypes.CDLL(sys.argv[1])\nexcept OSError as error: print(error, end='')"
    return subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True).stdout
