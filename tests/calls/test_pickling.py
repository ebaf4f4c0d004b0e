"""Results of calls in another process: structures, arrays and pointers are pickled with their values and types."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from typing import Any

from emu import Machine
from emu.calls.prototypes import parse_prototype
from emu.calls.records import unpacker
from emu.calls.store import GuestStore
from tests.fixtures import fixture
from tests.grouping import each

HEADER = """
struct node { struct node *next; struct leaf *leaf; int value; };
struct leaf { struct node *owner; char text[8]; short bits : 5; };
union number { double d; unsigned char bytes[8]; };
struct tail { int count; int items[]; };
"""


@each("arch", ["x86_64", "arm", "riscv32"])
def test_records_arrays_and_pointers_keep_values_and_types(arch: str) -> None:
    with Machine(arch) as machine:
        types = machine.types(HEADER)
        for value in (
            types.node(value=3),
            types.leaf(text=b"leaf", bits=-3),
            types.number(d=2.5),
            types.number(d=2.5).bytes,
            types.tail(2, [7, 8, 9]),
        ):
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                again = pickle.loads(pickle.dumps(value, protocol))
                assert again == value
                assert repr(again) == repr(value)
                assert again.address is None
        again = pickle.loads(pickle.dumps(types.node(value=3)))
        again.value = 5
        assert again == types.node(value=5)
        assert [*pickle.loads(pickle.dumps(types.tail(2, [7, 8, 9]))).items] == [7, 8, 9]


def test_a_view_of_the_guest_is_pickled_with_the_values_of_now_and_no_machine() -> None:
    with Machine("x86_64") as machine:
        types = machine.types(HEADER)
        place = machine.memory.map_anonymous(4096)
        machine.memory.write(place, bytes(types.node(next=place, value=4)))
        view: Any = unpacker(machine.convention, types.ctype("struct node"))(GuestStore(machine.memory, place), 0)
        assert view.next.contents.value == 4
        content = pickle.dumps([view, view.next])
        assert len(content) < 1000
    record, pointer = pickle.loads(content)
    assert record == (place, 0, 4)
    assert type(pointer) is int
    assert pointer == place


def _work(arch: str) -> tuple[Any, Any]:
    with Machine(arch) as machine:
        library = machine.load(fixture(arch, "basic-dwarf5"), allow_unresolved=True)
        return library.point_by_value((1, 2.5)), library.types.point(x=5)


def test_a_worker_returns_structures() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result, made = pool.map(_work, ["riscv64"])[0]
    assert result == (2, 2.5)
    assert (made.x, made.y) == (5, 0)
    with Machine("riscv64") as machine:
        library = machine.load(fixture("riscv64", "basic-dwarf5"), allow_unresolved=True)
        assert made == library.types.point(x=5)
        assert library.point_by_value(made) == (6, 0)


def test_a_prototype_of_another_process_is_found_by_an_equal_one() -> None:
    """Hashes of strings differ from process to process."""
    text = "double mean(const double *values, int count)"
    program = f"""
import pickle, sys
from emu.calls.prototypes import parse_prototype
sys.stdout.buffer.write(pickle.dumps(parse_prototype({text!r}, "arm")))
"""
    dumped = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
        capture_output=True,
    ).stdout
    here = parse_prototype(text, "arm")
    assert {here: "found"}[pickle.loads(dumped)] == "found"
