"""Nothing that has state is left out of snapshots: every object of a machine is saved, or known not to change."""

from __future__ import annotations

import ast
import functools
import importlib
import io
import itertools
import random
import types
from collections import deque
from pathlib import Path

import numpy as np
import pytest

import emu
import relink
from emu import Machine
from emu.host.functions import HostFunction
from emu.linux.personality import Linux
from emu.saved.graph import Walk, full_name, kind_of, passed_through
from emu.saved.kinds import SomeAttributes
from emu.saved.rules import CONSTANT, GUARDED, UNSAVED
from relink.records import ASSIGNMENTS, Assigned
from tests.fixtures import fixture

#: Classes of objects that have no state of a machine, and are not looked into.
STATELESS = {
    "builtins.function", "builtins.method", "builtins.builtin_function_or_method", "builtins.method-wrapper",
    "builtins.type", "builtins.NoneType", "builtins.range", "builtins.memoryview", "builtins.mappingproxy",
    "functools.partial", "weakref.WeakKeyDictionary", "pathlib.PosixPath", "numpy.ndarray",
    "builtins.wrapper_descriptor", "builtins.getset_descriptor", "re.Pattern", "builtins.module",
}  # fmt: skip


def left_out(machine: Machine) -> set[str]:
    """Classes of objects that a machine refers to and that no snapshot saves, but those known to be constant."""
    seen: dict[int, object] = {}
    waiting: deque[object] = deque([*vars(machine.parts).values(), machine.parts, machine.os, vars(machine)])
    found = set()
    while waiting:
        value = waiting.popleft()
        if id(value) in seen or isinstance(value, type):
            continue
        seen[id(value)] = value
        cls = type(value)
        kind = kind_of(cls)
        if kind is not None:
            waiting.extend(kind.referred(kind.content(value)))
            continue
        waiting.extend(passed_through(value))
        plain = isinstance(value, int | float | complex | str | bytes | tuple | frozenset | np.generic)
        ours = cls.__module__.partition(".")[0] in ("emu", "relink")  # constant, or frozen
        if not plain and not ours and full_name(cls) not in STATELESS:
            found.add(full_name(cls))
    return found


def _full_machine() -> Machine:
    """A machine with something in most of its parts."""
    machine = Machine(
        "x86_64", files={"/a": b"1"}, symbols={"my_host_function": lambda value: value}, binding="lazy"
    )
    library = machine.load(fixture("x86_64", "basic"))
    library.function("awesome_func", "int(int)")(1)
    machine.load(fixture("x86_64", "libcuser"))
    for name in ("tls_dynamic", "ctors", "ifunc"):
        machine.load(fixture("x86_64", name))
    machine.new_thread()
    machine.patch(library.function("awesome_func", "int(int)"), lambda value: 7)
    for name in ("strtok", "lrand48", "setlocale", "signal", "getenv", "localtime", "fopen"):
        assert machine.libc.function(name) is not None
    machine.syscalls  # noqa: B018
    return machine


def test_every_object_is_saved_or_constant() -> None:
    with _full_machine() as machine:
        assert not left_out(machine)


@pytest.mark.parametrize(
    "state",
    [
        random.Random(1),
        io.BytesIO(b"1"),
        itertools.count(),
        iter([1]),
        types.SimpleNamespace(a=1),
        (x for x in "a"),
    ],
    ids=lambda state: type(state).__name__,
)
def test_a_part_with_state_that_is_not_saved_is_found(state: object) -> None:
    """The test before fails for a part of any kind that snapshots do not save."""
    with Machine("riscv64") as machine:
        for place in (
            state,
            [state],
            {"a": (state,)},
            functools.partial(print, state),
            HostFunction(print, state),  # type: ignore[arg-type]
        ):
            machine.libc.state(lambda libc, place=place: place)  # type: ignore[misc]
            assert left_out(machine) == {full_name(type(state))}
            machine.libc._states.clear()


class Part(Linux):
    """A part of which no snapshot has been told."""

    def __init__(self) -> None:
        super().__init__()
        self.number, self.text, self.nothing = 1, "one", None
        self.table: dict[str, object] = {"list": [1, {2}], "bytes": bytearray(b"3"), "queue": deque([4], 5)}
        self.array = np.arange(6)
        self.itself = self


def test_a_new_part_is_saved_without_being_told() -> None:
    part = Part()
    with Machine("riscv64", os=part) as machine:
        snapshot, before = machine.snapshot(), (part.table, part.table["list"])
        part.number, part.text, part.nothing, part.itself = 2, "two", part, Part()  # type: ignore[assignment]
        part.table["list"][1].add(7)  # type: ignore[index]
        part.table["bytes"][0] = 0  # type: ignore[index]
        part.table["queue"].clear()  # type: ignore[attr-defined]
        part.table["new"] = part.new = 1  # type: ignore[attr-defined]
        part.array += 1
        machine.restore(snapshot)
        assert (part.number, part.text, part.nothing, part.itself) == (1, "one", None, part)
        assert (part.table, part.table["list"]) == before
        assert part.table == {"list": [1, {2}], "bytes": bytearray(b"3"), "queue": deque([4], 5)}
        assert part.array.tolist() == [0, 1, 2, 3, 4, 5]
        assert not hasattr(part, "new")


def test_attributes_that_are_seldom_assigned_are_restored_each_time() -> None:
    """Objects that tell when they change are not compared else: any way to change them has to be told."""
    part = Part()
    with Machine("riscv64", os=part) as machine:
        image = machine.load(fixture("riscv64", "bss")).image
        assert {Part, type(image), type(machine.parts)} <= {*map(type, _assigned(machine))}
        first, name, host_value = machine.snapshot(), image.name, machine.linker.resolver.host_value
        machine.restore(first)
        image.name, machine.linker.resolver.host_value = "other", None  # type: ignore[assignment]
        second = machine.snapshot()
        for snapshot, wanted in (
            (first, (name, host_value)),
            (second, ("other", None)),
            (first, (name, host_value)),
        ):
            machine.restore(snapshot)
            assert (image.name, machine.linker.resolver.host_value) == wanted
        frames = machine.parts.host_frames  # made at its first use
        del image.lifetime
        machine.restore(first)
        assert hasattr(image, "lifetime")
        assert machine.parts.host_frames is not frames


def test_assignments_are_noted_only_while_there_is_a_snapshot() -> None:
    with Machine("riscv64") as machine, Machine("riscv64") as other:
        snapshots = [machine.snapshot(), other.snapshot(), machine.snapshot()]
        for snapshot in snapshots:
            assert "__setattr__" in vars(Assigned)
            snapshot.close()
        assert ASSIGNMENTS.wanted.isdisjoint([id(machine._saved), id(other._saved)])
        assert ("__setattr__" in vars(Assigned)) == bool(ASSIGNMENTS.wanted)
        top = machine.parts.stack.top = machine.parts.stack.top - 16
        snapshot = machine.snapshot()
        machine.parts.stack.top += 16
        machine.restore(snapshot)
        assert machine.parts.stack.top == top


def _assigned(machine: Machine) -> list[object]:
    walk = Walk()
    walk.extend((machine.parts, machine.os))
    return walk.assigned.nodes


class Itself(Linux):
    """A part that saves itself."""

    content = (b"first", b"second")

    def save_state(self) -> object:
        return self.content

    def restore_state(self, state: object) -> None:
        self.content = state  # type: ignore[assignment]


def test_a_part_may_save_itself() -> None:
    part = Itself()
    with Machine("riscv64", os=part) as machine:
        snapshot = machine.snapshot()
        part.content = (b"first", b"changed")
        machine.restore(snapshot)
        assert part.content == (b"first", b"second")


def test_the_rules_name_what_exists() -> None:
    for name in [*UNSAVED, *GUARDED]:
        module, _, cls = name.rpartition(".")
        found = getattr(importlib.import_module(module), cls)
        text = Path(str(importlib.import_module(module).__file__)).read_text()
        for attribute in UNSAVED.get(name, ()):
            assert attribute in text, f"{name}.{attribute}"
        assert kind_of(found) is not None
    roots = {"emu": Path(emu.__file__).parent, "relink": Path(relink.__file__).parent}
    for name in CONSTANT:
        package, _, rest = name.partition(".")
        place = roots[package] / rest.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), name


def test_no_long_lived_closure_changes_its_variables() -> None:
    """The variables that functions share are not saved: only caches may be among them."""
    found = {
        f"{path.parent.name}/{path.name}: {', '.join(node.names)}"
        for package in (emu, relink)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        if "nonlocal " in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Nonlocal)
    }
    known = {
        "linux/process.py: address",  # of a function that returns at once
        "libc/vectored.py: position",  # the same
        "libc/symbol_source.py: handler",  # a cache
    }
    assert found <= known, f"new ones: {found - known}"


def test_attributes_that_are_no_state_do_not_slow_down_a_comparison() -> None:
    class Part:
        def __init__(self) -> None:
            self.one, self.two = 1, 2

    kind, part = SomeAttributes(False, (), frozenset({"cache", "other"})), Part()
    part.cache = 0  # type: ignore[attr-defined]
    live, content = kind.live(part), kind.content(part)
    part.cache = [3]  # type: ignore[attr-defined]
    assert live == content
    part.other = 3  # type: ignore[attr-defined]
    assert live != content  # this once
    assert kind.same(part, content)
    assert live == content
    part.two = 5
    assert live != content
    assert not kind.same(part, content)
    kind.restore(part, content)
    assert vars(part) == {"one": 1, "two": 2, "cache": [3], "other": 3}
    vars(part)["more"] = 4
    assert live != content
    assert not kind.same(part, content)
