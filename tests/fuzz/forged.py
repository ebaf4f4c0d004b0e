"""Forged snapshot files: one place is changed, the checksum is right. Each is refused, or a machine that works.

"Works" means that whatever is done with the machine then ends well or in a typed error.
"""

from __future__ import annotations

import json
import random
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from emu import Machine
from emu.errors import SnapshotFileError
from emu.libc import table
from emu.saved.file import assembled
from relink import Image
from relink.errors import RelinkError
from tests.fixtures import arch_of, fixture
from tests.fuzz.state import SECONDS
from tests.machine.static_programs import static_program
from toolchains.targets import TARGETS

#: What an integer or a text may be changed to.
_VALUES: tuple[Any, ...] = (
           -1, 0, 1, 2, 7, 8, 4095, 4096, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1, 1 << 90,
           -(1 << 63), 1.5, float("inf"), True, False, None, "", "x", "basic", "/etc/motd", "\ud800", [], [[]], {},
           [0, 1], [1 << 70], ["x"])  # fmt: skip
_BAD: tuple[Any, ...] = (
        ["x", "os.system"], ["x", "cpu"], ["x", "own"], ["c", "os", "system"], ["c", "builtins", "int"],
        ["o", "os", "_wrap_close", {}], ["l", []], ["t", []], ["d", "dict", [], None], ["s", []], [],
        5)  # fmt: skip
_FUNCTIONS = {"hosted": abs, "my_host_function": lambda value: value * 2}


class Original(NamedTuple):
    """A good file, taken apart."""

    header: dict[str, Any]
    state: dict[str, Any]
    content: bytes


def _hosted(machine: Machine, name: str, *values: int) -> Any:
    """The result of a function of the hosted library."""
    rows = {row.name: row for row in table.functions(machine.isa)}
    address = machine.define("hosted", (lambda: rows[name].call(machine.libc, *values), "long(void)"))
    return machine.call(address, "long(void)")


def _library(target: str) -> Machine:
    machine = Machine(arch_of(target), symbols={"my_host_function": abs}, binding="lazy")
    library = machine.load(fixture(target, "basic"))
    library.function("awesome_func", "int(int)")(20)
    machine.load(fixture(target, "libcuser"))
    machine.load(fixture(target, "tls_dynamic"), allow_unresolved=True)
    machine.libc.files["/etc/motd"] = b"hello"
    block = machine.heap.malloc(3000)
    machine.memory.write(block, b"/etc/motd\0r+\0")
    _hosted(machine, "fgetc", _hosted(machine, "fopen", block, block + 10))
    _hosted(machine, "mmap", 0, 20_000, 3, 0x22, -1, 0)
    with machine.use_thread(machine.new_thread()):
        library.function("awesome_func", "int(int)")(20)
    machine.heap.free(machine.heap.malloc(30))
    return machine


def _objects(target: str) -> Machine:
    machine = Machine(arch_of(target))
    for name in ("libchain", "debug", "ctors"):
        machine.load(fixture(target, f"objects/{name}"), allow_unresolved=True)
    return machine


def _program(target: str) -> Machine:
    """A program with musl in it, that has been run: kernel state."""
    machine = Machine(arch_of(target), stdin=b"text\n")
    machine.start(static_program(target))
    machine.snapshot()
    with suppress(RelinkError):
        machine.os.program.run(max_instructions=20_000)  # type: ignore[attr-defined]
    return machine


def _patched(target: str) -> Machine:
    """Patches and host functions in a machine with open files."""
    machine = _library(target)
    function = machine.linker.images[0].symbol("awesome_func")
    machine.patch(function, abs)
    machine.provide("libx.so.1", {"my_host_function": abs})
    return machine


_MADE: dict[str, Callable[[str], Machine]] = {
    "library": _library, "objects": _objects, "program": _program, "patched": _patched,
}  # fmt: skip
#: Machines by name: each sort on each target.
KINDS = {f"{target} {name}": (target, make) for name, make in _MADE.items() for target in TARGETS}


@cache
def original(kind: str) -> Original:
    """The file of a machine of this kind."""
    target, make = KINDS[kind]
    with tempfile.NamedTemporaryFile() as file, make(target) as machine:
        machine.snapshot().save(file.name)
        _, header, body = Path(file.name).read_bytes().split(b"\n", 2)
    whole = json.loads(header)
    text, content = (zlib.decompress(part) for part in (body[: whole["records"]], body[whole["records"] :]))
    return Original(whole, json.loads(text), content)


# ---------------------------------------------------------------- changes


def _is_reference(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1 and type(value[0]) is int


def _places(value: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of all values in a record or table."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in list(items):
        yield value, key
        if isinstance(each, list | dict) and not _is_reference(each):
            yield from _places(each, depth + 1)


def _changed_value(value: object, records: list[Any], dice: random.Random) -> object:
    choice = dice.random()
    if choice < 0.4:
        return [dice.randrange(len(records))]
    if choice < 0.5 and isinstance(value, int):
        return value + dice.choice((-4096, -8, -1, 1, 8, 4096))
    return dice.choice(_VALUES)


def forged(one: Original, seed: int) -> bytes:
    """A file in which one place is changed."""
    dice = random.Random(seed)
    state = dict(one.state)
    records = state["records"] = list(state["records"])
    if dice.random() < 0.05:
        name = dice.choice([name for name in state if name != "records"])
        state[name] = json.loads(json.dumps(state[name]))
        holder, key = dice.choice(
            [*_places(state[name]), (state, name)] if state[name] is not None else [(state, name)]
        )
    else:
        number = dice.randrange(len(records))
        if dice.random() < 0.1:
            records[number] = dice.choice((records[dice.randrange(len(records))], dice.choice(_BAD)))
            return assembled(one.header, json.dumps(state).encode(), one.content)
        records[number] = json.loads(json.dumps(records[number]))
        holder, key = dice.choice(list(_places(records[number])))
    choice = dice.random()
    if choice < 0.1:
        del holder[key]
    elif choice < 0.2 and isinstance(holder, list):
        holder.insert(key, _changed_value(holder[key], records, dice))
    else:
        holder[key] = _changed_value(holder[key], records, dice)
    return assembled(one.header, json.dumps(state).encode(), one.content)


# ---------------------------------------------------------------- use


def _uses_of_image(machine: Machine, image: Image) -> Iterator[Callable[[], object]]:
    yield image.link_map
    yield partial(repr, image)
    yield lambda: str(image.link_map())
    names = list[str]()
    yield lambda: names.extend(image.exports)
    yield lambda: [image.symbol(name).address for name in names][:20]
    yield lambda: [repr(image.symbol(name)) for name in names][:3]
    yield lambda: machine.symbolize(image.base + 0x100)
    yield lambda: image.symbol_at(image.base + 0x100)
    yield lambda: [image.dependencies, image.scope, image.references, image.soname, image.float_abi, image.objects]
    yield lambda: [image.relocation_counts, image.modinfo, image.deferred, image.kernel_module]
    yield lambda: [repr(each) for each in image.bindings()]
    yield lambda: image.chunks()
    for name in names:
        if name.startswith(("awesome", "use_", "dynamic", "call_", "set_", "archive_top")):
            yield partial(_call, machine, image, name)


def _call(machine: Machine, image: Image, name: str) -> object:
    return machine.call(image.symbol(name).address, "int(int)", 20)


def _looks(machine: Machine) -> Iterator[Callable[[], object]]:
    """What a user may look at."""
    yield partial(repr, machine)
    for part in (*vars(machine.parts).values(), machine.os, *machine.threads.alive):
        yield partial(repr, part)
    yield lambda: machine.libc.stdout.getvalue()
    yield lambda: machine.memory.read(machine.stack.top - 64, 64)
    yield lambda: [(each.name, each.end, each.pages) for each in machine.memory.regions]
    yield lambda: machine.syscalls
    yield lambda: machine.state_hash()


def _uses(machine: Machine, target: str) -> Iterator[Callable[[], object]]:
    """What a user may do with a machine."""
    yield from _looks(machine)
    images = list[Image]()
    yield lambda: images.extend(machine.linker.images)
    for image in list(images):
        yield from _uses_of_image(machine, image)
    yield lambda: machine.heap.free(machine.heap.malloc(100))
    yield lambda: machine.memory.map_anonymous(8192)
    yield lambda: machine.restore(machine.snapshot())
    yield lambda: machine.exit_thread(machine.new_thread())
    text = machine.stack.top - 64
    calls: dict[str, tuple[int, ...]] = {
        "getenv": (text,), "malloc": (60,), "tmpfile": (), "fflush": (0,), "lrand48": (), "open": (text, 0),
    }  # fmt: skip
    for name, values in calls.items():
        yield partial(_hosted, machine, name, *values)
    yield lambda: _run_on(machine)
    yield lambda: machine.load(fixture(target, "bss")).close()
    with tempfile.NamedTemporaryFile() as file:
        yield lambda: _written_again(machine, file.name)
    for image in images:
        yield partial(machine.unload, image)
    yield lambda: machine.snapshot().close()


def _run_on(machine: Machine) -> None:
    if (program := machine.os.program) is not None:  # type: ignore[attr-defined]
        program.run(max_instructions=20_000)


def _written_again(machine: Machine, path: str) -> None:
    with machine.snapshot() as snapshot:
        snapshot.save(path)
    Machine.from_snapshot(path, symbols=_FUNCTIONS).close()


class Snapshots:
    """Reads forged files, and every tenth as it was, and uses their machines."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile()  # noqa: SIM115

    def __call__(self, seed: int) -> bool:
        """Whether the file was taken for one of a machine."""
        kind = [*KINDS][seed % len(KINDS)]
        path = Path(self._file.name)
        one = original(kind)
        whole = assembled(one.header, json.dumps(one.state).encode(), one.content)
        path.write_bytes(forged(one, seed) if seed % 10 else whole)  # so that a short run uses some machines
        try:
            machine = Machine.from_snapshot(path, symbols=_FUNCTIONS)
        except SnapshotFileError:
            return False
        machine.runner.timeout, machine.runner.max_instructions = SECONDS, 20_000
        try:
            for use in _uses(machine, KINDS[kind][0]):
                with suppress(RelinkError):
                    use()
        finally:
            with suppress(RelinkError):
                machine.close()
        return True
