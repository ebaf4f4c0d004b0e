"""Memory in snapshots: pages, code, mappings, hosts of other kinds, and what many snapshots take."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from emu import Machine
from emu.library import Library
from emu.saved import host_pages
from relink.memory.address_space import PAGE, Protection
from tests.machine.conftest import MakeMachine
from tests.objects.build import compiled, linked
from tests.state import differences, state_of

pytestmark = [pytest.mark.sample(2), pytest.mark.one_compiler]

SOURCE = """
static int counter = 5;
static unsigned char pages[300 * 4096];
int count(int by) { return counter += by; }
int touch(int n) { for (int i = 0; i < n; i++) pages[i * 4096]++; return pages[(n - 1) * 4096]; }
__attribute__((noinline, aligned(64))) int one(void) { return 1; }
__attribute__((noinline, aligned(64))) int two(void) { return 2; }
int call(int (*code)(void)) { return code(); }
void copy(volatile unsigned char *to, const unsigned char *from, int n) { while (n--) *to++ = *from++; }
"""


def _library(target: str) -> Path:
    return linked(target, [compiled(target, SOURCE, "-fPIC")], "-soname", "libpages.so")


@pytest.fixture
def library(make_machine: MakeMachine, target: str) -> Library:
    return make_machine().load(_library(target))


def test_changed_pages_return(library: Library) -> None:
    machine = library._machine
    assert isinstance(machine, Machine)
    touch, count = library.function("touch", "int(int)"), library.function("count", "int(int)")
    snapshots = [machine.snapshot()]
    for pages in (1, 10, 300):
        touch(pages)
        count(pages)
        snapshots.append(machine.snapshot())
    for number, expected in ((3, 317), (1, 7), (0, 6), (2, 17), (0, 6), (3, 317)):
        for _ in range(2):
            machine.restore(snapshots[number])
            assert count(1) == expected
    machine.restore(snapshots[0])
    assert touch(300) == 1


def test_snapshots_around_a_mapping_that_is_gone(library: Library) -> None:
    """Later snapshots know nothing of it: its host memory is somebody else's."""
    machine = library._machine
    assert isinstance(machine, Machine)
    count = library.function("count", "int(int)")
    for mapped in (True, False, True, True, False):
        with machine.snapshot() as outer:
            block = machine.memory.map_anonymous(2 * PAGE) if mapped else 0
            with machine.snapshot() as inner:
                for _ in range(2):
                    if mapped:
                        assert machine.memory.read(block, 3) == bytes(3)
                        machine.memory.write(block, b"abc")
                    assert count(1) == 6
                    machine.restore(inner)
            machine.restore(outer)


def test_code_returns_however_it_was_changed(library: Library, target: str) -> None:
    machine = library._machine
    assert isinstance(machine, Machine)
    call, copy = library.function("call", "int(void *)"), library.function("copy", "void(void *, void *, int)")
    mask = machine.arch.code_address_mask
    one, two = (library.image.symbol(name).address for name in ("one", "two"))
    page = machine.memory.map_anonymous(PAGE, Protection.R | Protection.W | Protection.X)
    code = page | one & ~mask & 1
    copy(page, one & mask, 64)
    assert call(code) == 1
    snapshot = machine.snapshot()
    for change in (
        lambda: copy(page, two & mask, 64),
        lambda: machine.memory.write(page, machine.memory.read(two & mask, 64)),
    ):
        change()
        assert call(code) == 2
        machine.restore(snapshot)
        assert call(code) == 1
    patch = machine.patch(library.function("one", "int(void)"), lambda: 3, size=64)
    assert call(one) == 3
    patched = machine.snapshot()
    machine.restore(snapshot)
    assert call(one) == 1
    assert not patch.active
    machine.restore(patched)
    assert call(one) == 3
    patch.undo()
    assert call(one) == 1
    copy(page, two & mask, 64)
    later = machine.snapshot()
    machine.restore(snapshot)
    assert call(code) == 1
    machine.restore(later)
    assert call(code) == 2


def _change_mappings(machine: Machine, pages: int, other: int) -> None:
    memory = machine.memory
    memory.write(pages + PAGE, b"\xff" * PAGE)
    memory.protect_pages(pages, PAGE, Protection.R)
    memory.unmap_pages(pages + 2 * PAGE, PAGE)
    memory.map_over(pages + 4 * PAGE, 2 * PAGE, Protection.R | Protection.W)
    memory.write(pages + 4 * PAGE, b"new")
    memory.unmap(other)


def _returns_through_mappings(machine: Machine) -> None:
    memory = machine.memory
    pages, other = memory.map_anonymous(8 * PAGE), memory.map_anonymous(4 * PAGE)
    for address in (pages, other):
        memory.write(address, bytes(range(1, 251)) * 50)
    before, state = machine.snapshot(), state_of(machine)
    _change_mappings(machine, pages, other)
    after, changed = machine.snapshot(), state_of(machine)
    memory.map_anonymous(2 * PAGE, at=other)
    for _ in range(2):
        machine.restore(before)
        assert not differences(state, state_of(machine))
        machine.restore(after)
        assert not differences(changed, state_of(machine))
    machine.restore(before)
    _change_mappings(machine, pages, other)
    assert not differences(changed, state_of(machine))


def test_mappings_and_permissions_return(machine: Machine) -> None:
    _returns_through_mappings(machine)


@pytest.mark.parametrize("lacking", ["memfd", "process_madvise", "scan", "pagemap"])
def test_hosts_of_other_kinds(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    if lacking == "memfd":
        monkeypatch.setattr(host_pages, "has_memfd", lambda: False)
    if lacking == "process_madvise":
        monkeypatch.setattr(host_pages, "_together", False)
    if lacking in ("scan", "pagemap"):
        monkeypatch.setattr(host_pages, "_scan", lambda start, end: None)
    if lacking == "pagemap":
        monkeypatch.setattr(host_pages, "_pagemap", lambda address, size: None)
    with Machine("x86_64") as machine:
        library = machine.load(_library("x86_64"))
        _returns_through_mappings(machine)
        count = library.function("count", "int(int)")
        with machine.snapshot() as snapshot:
            assert count(1) == 6
            machine.restore(snapshot)
            assert count(1) == 6


_FORKED = """
import os, sys
from emu import Machine
machine = Machine("x86_64")
count = machine.load(sys.argv[1]).function("count", "int(int)")
first = machine.snapshot()
count(1)
second = machine.snapshot()
child = os.fork()
for turn in range(3):
    count(10 if child else 100)
    with machine.snapshot() as third:
        machine.restore(first)
        assert count(0) == 5, count(0)
        machine.restore(second)
        assert count(0) == 6, count(0)
        machine.restore(third)
assert count(0) == (36 if child else 306), count(0)
machine.restore(first)
assert count(1) == 6
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the host has no fork")
def test_a_forked_process_has_snapshots_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", _FORKED, str(_library("x86_64"))], check=True)


def test_a_replaced_file_does_not_change_what_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(_library("x86_64").read_bytes())
    with Machine("x86_64") as machine:
        library = machine.load(path, mapping="file")
        count, snapshot = library.function("count", "int(int)"), machine.snapshot()
        expected = machine.memory.read(library.base, library.image.region.size)
        with path.open("r+b") as file:
            file.write(b"\xcc" * path.stat().st_size)
        count(3)
        machine.restore(snapshot)
        assert machine.memory.read(library.base, len(expected)) == expected
        snapshot.close()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the host does not tell how much memory is used")
@pytest.mark.parametrize("arch", ["x86_64", "loongarch64"])
def test_many_snapshots_take_little_memory(arch: str) -> None:
    """10,000 take less than a gigabyte."""
    with Machine(arch) as machine:
        count = machine.load(_library(arch)).function("count", "int(int)")
        snapshots = [machine.snapshot()]
        gc.collect()
        before = _resident()
        for _ in range(400):
            count(1)
            snapshots.append(machine.snapshot())
        assert _resident() - before < 400 * 100_000
        for number in (400, 7, 123):
            machine.restore(snapshots[number])
            assert count(0) == 5 + number


def test_snapshots_free_what_only_they_use(target: str, make_machine: MakeMachine) -> None:
    machine = make_machine()
    library = machine.load(_library(target))
    with machine.snapshot():
        machine.unload(library.image)
    image = weakref.ref(library.image)
    del library
    gc.collect()
    assert image() is None


def test_what_the_host_has_zeroed_returns(make_machine: MakeMachine) -> None:
    """As for `calloc` and `madvise`: large ranges get other pages, of which the engine knows nothing."""
    machine, size = make_machine(), 1 << 20
    address = machine.memory.map_anonymous(size)
    content = b"content!" * (size // 8)
    machine.memory.write(address, content)
    block = machine.heap.malloc(size)
    machine.memory.write(block, content)
    snapshot = machine.snapshot()
    for _ in range(2):
        machine.memory.zero(address, size)
        machine.heap.free(block)
        assert machine.heap.calloc(1, size) == block
        assert not any(machine.memory.read(block, size))
        machine.restore(snapshot)
        assert machine.memory.read(address, size) == machine.memory.read(block, size) == content
