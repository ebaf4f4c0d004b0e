"""Snapshots in files: another process continues from one, and what is no snapshot is refused."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from emu import Machine
from emu.errors import SnapshotError, SnapshotFileError
from emu.saved.file import assembled
from emu.saved.functions import _walk
from relink import Image
from relink.elf.source import FileMode, reading
from relink.errors import LinkError, LinkErrors, MalformedElf, RelinkError
from tests.elf.build_notes import linked_to_debug
from tests.fixtures import fixture
from tests.machine.conftest import MakeMachine
from tests.sampling import examples
from tests.state import differences, state_of

pytestmark = [pytest.mark.sample(2), pytest.mark.one_compiler]


def _prepared(make_machine: MakeMachine, target: str) -> Machine:
    machine = make_machine(symbols={"my_host_function": lambda value: value * 2}, binding="lazy")
    library = machine.load(fixture(target, "basic"))
    assert library.function("awesome_func", "int(int)")(20) == 40
    machine.load(fixture(target, "libcuser"))
    machine.libc.files["/etc/motd"] = b"hello"
    block = machine.heap.malloc(3000)
    machine.memory.write(block, b"content of the heap")
    return machine


def test_a_file_holds_the_whole_state(make_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    machine = _prepared(make_machine, target)
    address = machine.linker.images[0].symbol("awesome_func").address
    state = state_of(machine)
    with machine.snapshot() as snapshot:
        machine.heap.malloc(10)
        snapshot.save(tmp_path / "file")
    read = Machine.from_snapshot(tmp_path / "file", symbols={"my_host_function": lambda value: value * 3})
    assert not differences(state, state_of(read))
    for image, same in zip(machine.linker.images, read.linker.images, strict=True):
        for name in image.exports:
            assert same.symbol(name).address == image.symbol(name).address
    assert read.call(address, "int(int)", 20) == 60
    assert machine.call(address, "int(int)", 20) == 40
    loaded = read.load(fixture(target, "bss"))
    read.unload(loaded.image)
    with read.snapshot() as again:
        again.save(tmp_path / "again")
    read.close()


def test_a_machine_that_was_observed_is_written_too(
    make_machine: MakeMachine, target: str, tmp_path: Path
) -> None:
    machine = make_machine()
    address = machine.load(fixture(target, "basic"), allow_unresolved=True).image.symbol("add").address
    with machine.breakpoint("add"), machine.trace():
        assert machine.call(address, "int(int, int)", 20, 22) == 42
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    with Machine.from_snapshot(tmp_path / "file") as read:
        with read.breakpoint("add") as met, read.coverage() as coverage:
            assert read.call(address, "int(int, int)", 20, 22) == 42
        assert met.hits == 1
        assert coverage.blocks


def test_linked_objects_are_in_it(make_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    machine = make_machine()
    libraries = [
        machine.load(fixture(target, f"objects/{name}"), allow_unresolved=True)
        for name in ("libchain", "debug", "ctors")
    ]
    sections = [dict(library.image.decoded.debug_sections or {}) for library in libraries]
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    with Machine.from_snapshot(tmp_path / "file") as read:
        assert [image.decoded.debug_sections for image in read.linker.images] == sections
        assert read.call(libraries[0].symbols["archive_top"].address, "int(int)", 4) == 36
        for image in (*read.linker.images,):
            read.unload(image)


def test_names_that_were_asked_for_are_no_part_of_it(
    make_machine: MakeMachine, target: str, tmp_path: Path
) -> None:
    machine = make_machine()
    image = machine.load(fixture(target, "basic-dwarf"), allow_unresolved=True).image
    texts = image.decoded.symbols.names.texts()
    assert "known_texts" in vars(image.decoded.symbols.names)
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    with Machine.from_snapshot(tmp_path / "file") as read:
        assert read.linker.images[0].decoded.symbols.names.texts() == texts


@pytest.mark.sample(1)
@pytest.mark.parametrize("target", ["x86_64-clang", "arm-gcc", "loongarch64-clang"])
def test_another_process_reads_it(make_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    machine = _prepared(make_machine, target)
    address = machine.linker.images[0].symbol("awesome_func").address
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    program = (
        "from emu import Machine\n"
        f"machine = Machine.from_snapshot({str(tmp_path / 'file')!r}, symbols={{'my_host_function': abs}})\n"
        f"print(machine.call({address}, 'int(int)', 20), machine.libc.files, machine.heap.live_blocks)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"20 {{'/etc/motd': b'hello'}} {machine.heap.live_blocks}\n"


def test_places_of_functions_are_those_of_any_python() -> None:
    """Since Python 3.12 a comprehension's code is that of the function around it."""
    source = "def f():\n first = {n: (lambda: n) for n in 'ab'}\n second = lambda: 2\n return [[lambda: 3]]\n"
    found = [(place, code.co_firstlineno) for code, place in _walk(compile(source, "<source>", "exec"), ())]
    lambdas = [((("f", 0), ("<lambda>", number)), number + 2) for number in range(3)]
    assert found == [((("f", 0),), 1), *lambdas]


def test_missing_host_functions_are_named(make_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    machine = _prepared(make_machine, target)
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    with pytest.raises(SnapshotFileError, match="my_host_function"):
        Machine.from_snapshot(tmp_path / "file")
    with pytest.raises(SnapshotError, match="closed"):
        snapshot.save(tmp_path / "other")


def _saved(library: str, path: Path) -> bytes:
    with Machine("riscv64") as machine:
        machine.load(fixture("riscv64", library))
        machine.snapshot().save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a machine with a library that calls 200 functions of the hosted C library."""
    return _saved("libcuser", tmp_path_factory.mktemp("saved") / "file")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file a third as large, of a library that calls nothing."""
    return _saved("bss", tmp_path_factory.mktemp("small") / "file")


def _refused(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(SnapshotFileError) as refused:
        Machine.from_snapshot(path).close()
    assert str(path) in str(refused.value)
    return str(refused.value)


def test_damaged_files_are_refused(saved: bytes, tmp_path: Path) -> None:
    chance = random.Random(7)
    path = tmp_path / "file"
    for size in (0, 5, 40, 200, len(saved) // 2, len(saved) - 1):
        _refused(saved[:size], path)
    for place in [*range(0, 300, 23), *(chance.randrange(len(saved)) for _ in range(20))]:
        changed = bytearray(saved)
        changed[place] ^= 1 << chance.randrange(8)
        _refused(bytes(changed), path)
    assert "format" in _refused(b"\x7fELF" + bytes(100), path)


def test_other_versions_and_engines_are_refused(saved: bytes, tmp_path: Path) -> None:
    magic, header, body = saved.split(b"\n", 2)
    for name, value in (("version", "0.0.0"), ("engine", "unicorn 1.0.0"), ("arch", "vax"), ("records", 10**30)):
        other = json.dumps({**json.loads(header), name: value}).encode()
        _refused(b"\n".join((magic, other, body)), tmp_path / "file")


def test_forged_files_are_refused(saved: bytes, tmp_path: Path) -> None:
    """Files with a right checksum whose records say something else: refused, or a machine whose parts may not fit.

    Such a machine raises exceptions of Python; it runs no code but the project's.
    """

    chance = random.Random(3)
    _, header, body = saved.split(b"\n", 2)
    size = json.loads(header)["records"]
    text, content = (zlib.decompress(part) for part in (body[:size], body[size:]))
    numbers = range(len(json.loads(text)["records"]))
    bad: tuple[object, ...] = (
        ["x", "os.system"],
        ["c", "os", "system"],
        ["o", "os", "_wrap_close", {}],
        ["p", [0], [], []],
        [],
        5,
    )
    path, refused = tmp_path / "file", 0
    rounds = examples(60)
    for _ in range(rounds):
        forged = json.loads(text)
        for _ in range(3):
            one, other = chance.choice(numbers), chance.choice(numbers)
            forged["records"][one] = chance.choice((forged["records"][other], *bad))
        path.write_bytes(assembled(json.loads(header), json.dumps(forged).encode(), content))
        try:
            machine = Machine.from_snapshot(path)
        except SnapshotFileError:
            refused += 1
        else:
            with suppress(AttributeError, TypeError, RelinkError):
                machine.close(run_destructors=False)
    assert refused > rounds // 2


def test_small_files_take_little_memory(small: bytes, tmp_path: Path) -> None:
    """Parts that inflate to more than the header says, headers that say too much, depth, and circles."""
    _, header, body = small.split(b"\n", 2)
    facts = json.loads(header)
    content = zlib.decompress(body[facts["records"] :])
    state = json.loads(zlib.decompress(body[: facts["records"]]))
    zeros = zlib.compress(bytes(200 << 20), 1)

    def with_parts(records: bytes, contents: bytes, plain: list[Any]) -> bytes:
        whole = {**facts, "records": len(records), "plain": plain}
        whole["sha256"] = hashlib.sha256(records + contents).hexdigest()
        return b"".join((small.split(b"\n", 1)[0], b"\n", json.dumps(whole).encode(), b"\n", records, contents))

    def with_records(more: list[object]) -> bytes:
        changed = {**state, "records": [*state["records"], *more], "patcher": [len(state["records"])]}
        return assembled(facts, json.dumps(changed).encode(), content)

    records, contents = body[: facts["records"]], zlib.compress(content)
    sizes, first, huge = facts["plain"], len(state["records"]), 1 << 40
    announced = json.dumps({**state, "blobs": [huge]}).encode()
    files = [
        with_parts(records, zeros, sizes),
        with_parts(zeros, contents, sizes),
        with_parts(zlib.compress(announced), zeros, [len(announced), huge]),
        with_parts(zeros, contents, [huge, sizes[1]]),
        with_parts(records, contents, ["1", None]),
        with_parts(zlib.compress(b"[" * 100_000), contents, [100_000, sizes[1]]),
        with_parts(records, contents + contents, sizes),
        with_records([["t", [[first + 1]]], ["t", [[first]]]]),
        with_records([["p", [first + 1 + each], [], []] for each in range(5000)]),
        small + small,
        assembled(facts, json.dumps({**state, "buffers": [1 << 36] * 2000}).encode(), content),
    ]
    tracemalloc.start()
    try:
        for file in files:
            _refused(file, tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()


def test_contents_beyond_a_limit_are_refused(tmp_path: Path) -> None:
    with Machine("riscv64") as machine:
        block = machine.heap.malloc(5 << 20)
        machine.memory.write(block, random.Random(1).randbytes(5 << 20))
        machine.snapshot().save(tmp_path / "file")
        with pytest.raises(SnapshotFileError, match="for contents, more than"):
            Machine.from_snapshot(tmp_path / "file", memory_limit=4 << 20)
        with Machine.from_snapshot(tmp_path / "file", memory_limit=6 << 20) as read:
            assert read.memory.read(block, 5 << 20) == machine.memory.read(block, 5 << 20)


def test_a_machine_with_mapped_files_is_read(tmp_path: Path) -> None:
    with Machine("riscv64") as machine:
        machine.load(fixture("riscv64", "bss"), mapping="file")
        machine.snapshot().save(tmp_path / "file")
    with Machine.from_snapshot(tmp_path / "file") as read:
        read.snapshot().save(tmp_path / "again")
    Machine.from_snapshot(tmp_path / "again").close()


def test_parts_of_another_class_are_refused(small: bytes, tmp_path: Path) -> None:
    _, header, body = small.split(b"\n", 2)
    size = json.loads(header)["records"]
    text, content = (zlib.decompress(part) for part in (body[:size], body[size:]))
    plain = json.loads(text)
    records = plain["records"]
    parts = records[plain["machine"]["parts"][0]][3]
    linker = records[parts["linker"][0]][3]
    images = records[linker["images"][0]][1]
    image = records[images[0][0]][3]
    places: list[tuple[dict[Any, Any] | list[Any], Any]] = [
        *((parts, name) for name in ("heap", "threads", "runner", "loader", "linker", "memory")),
        *((plain["machine"], name) for name in ("os", "parts", "heap", "cpu")),
        *((image, name) for name in ("lifetime", "scopes", "decoded", "relocated")),
        (images, 0), (plain, "patcher"), (linker, "images"), (plain, "registers"), (plain, "buffers"),
    ]  # fmt: skip
    for holder, name in places:
        others: tuple[object, ...] = ("text", plain["machine"]["parts"], [])
        for other in others:
            right, holder[name] = holder[name], other
            if other != right:
                _refused(assembled(json.loads(header), json.dumps(plain).encode(), content), tmp_path / "file")
            holder[name] = right


def test_files_that_are_mapped_are_in_it(make_machine: MakeMachine, target: str, tmp_path: Path) -> None:
    """As larger libraries are: their files, too, are not needed by the reader."""
    path = tmp_path / "mapped.so"
    path.write_bytes(fixture(target, "libcuser").read_bytes())
    machine = make_machine()
    with reading(FileMode.FILE):
        image = machine.load(path).image
    assert image.decoded.mapping is not None
    assert len(image.decoded.symbols.names.texts()) > 100  # which it keeps
    assert machine.link_maps.debug  # their memory has a defaultdict of deques
    state = state_of(machine)
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")
    path.unlink()
    with Machine.from_snapshot(tmp_path / "file") as read:
        assert not differences(state, state_of(read))
        assert read.linker.images[0].decoded.mapping is None


def test_warnings_of_an_odd_image_are_in_it(tmp_path: Path) -> None:
    (tmp_path / "odd.so").write_bytes(linked_to_debug())
    machine = Machine.for_file(tmp_path / "odd.so")
    with machine, machine.snapshot() as snapshot:
        machine.load(tmp_path / "odd.so")
        machine.snapshot().save(tmp_path / "file")
        warnings = [str(each) for each in machine.linker.images[0].decoded.warnings]
        machine.restore(snapshot)
    with Machine.from_snapshot(tmp_path / "file") as read:
        found = read.linker.images[0].decoded.warnings
        assert [str(each) for each in found] == warnings != []
        assert {type(each) for each in found} == {MalformedElf}


def test_what_no_file_can_hold_is_named(tmp_path: Path) -> None:
    class Strange:
        pass

    with Machine("riscv64") as machine:
        for strange, name in ((Strange(), "Strange"), (LinkErrors("x", [LinkError("x", "y")]), "LinkErrors")):
            machine.libc.files["/x"] = strange  # type: ignore[assignment]
            with machine.snapshot() as snapshot, pytest.raises(SnapshotFileError, match=name):
                snapshot.save(tmp_path / "file")
        machine.libc.files.clear()


@pytest.mark.parametrize("target", ["riscv64"])
def test_parts_that_do_not_fit_together_later_are_a_typed_error(
    make_machine: MakeMachine, target: str, tmp_path: Path
) -> None:
    machine = _prepared(make_machine, target)
    address = machine.linker.images[0].symbol("awesome_func").address
    with machine.snapshot() as snapshot:
        snapshot.save(tmp_path / "file")

    def failing(value: int) -> int:
        raise KeyError(value)

    with Machine.from_snapshot(tmp_path / "file", symbols={"my_host_function": failing}) as read:
        with pytest.raises(KeyError):  # a user's own
            read.call(address, "int(int)", 20)
        for broken, expected in ((machine, AttributeError), (read, SnapshotFileError)):
            with patch.dict(vars(broken), loader=None), pytest.raises(expected):
                broken.load(fixture(target, "bss"))
        image = read.linker.images[0]
        assert type(image).__name__ == "Image"
        assert isinstance(image, Image)
        with patch.dict(vars(image), relocated=None), pytest.raises(SnapshotFileError, match="fit together"):
            image.link_map()
        with pytest.raises(TypeError):  # a user's own error
            image.symbol()  # type: ignore[call-arg]
        with patch.dict(vars(read.heap), small=None), pytest.raises(SnapshotFileError):
            read.heap.malloc(30)
        with read.snapshot() as again:  # objects of guarded classes are written like others
            again.save(tmp_path / "again")
    with Machine.from_snapshot(tmp_path / "again", symbols={"my_host_function": lambda value: value * 2}) as third:
        assert third.call(address, "int(int)", 20) == 40
