"""Guests that misbehave end in a typed error or an answer, within their limits, and the machine goes on."""

from __future__ import annotations

import pickle
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emu import Library, Machine
from emu.cpu.protocol import StopReason
from emu.errors import BudgetExceeded, ConstructorFault, Frame, GuestAbort, GuestExit, GuestFault
from relink.errors import (
    AddressSpaceError,
    GuestAccessError,
    LibraryNotFound,
    LinkErrors,
    MalformedElf,
    RelinkError,
    RelocationOverflow,
    UnresolvedSymbol,
    UseAfterUnload,
    printable,
)
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled, linked
from tests.owners import machine_of

SOURCE = Path(__file__).parent / "sources" / "hostile.c"
SECONDS, LATE = 0.15, 0.6  #: the limit of a call, and by how much it may be late on a busy machine
PATIENT = 5.0
MEMORY = 64 << 20
#: guest -> how it ends: a fault's reason, an error, or its answer (None: any).
ENDS: dict[str, object] = {
    "fill_far": StopReason.WRITE_UNMAPPED, "fill_negative": StopReason.WRITE_UNMAPPED,
    "copy_far": StopReason.READ_UNMAPPED, "fill_constant": StopReason.WRITE_PROTECTED,
    "pad_far": StopReason.WRITE_UNMAPPED, "sort_far": StopReason.READ_UNMAPPED, "no_end": StopReason.READ_UNMAPPED,
    "no_wide_end": StopReason.READ_UNMAPPED, "sort_long": BudgetExceeded, "tokens": BudgetExceeded,
    "numbers": BudgetExceeded, "compare_long": BudgetExceeded, "calls": BudgetExceeded, "sleeps": BudgetExceeded,
    "spin": BudgetExceeded, "flood_output": -1, "flood_file": -1, "grow_file": -1, "flood_files": 1,
    "far_descriptor": -1, "flood_pages": 1, "flood_heap": None, "flood_environment": None,
    "sort_deep": StopReason.STACK_EXHAUSTED, "unmap_stack": None, "protect_stack": None,
    "unmap_heap": GuestFault, "wild_jump": GuestAbort, "long_position": -1, "host_files": 0,
}  # fmt: skip


@pytest.fixture(scope="module", params=TARGETS)
def guest_file(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The guests, compiled for a target."""
    flags = (
        "-fPIC",
        "-fno-builtin",
        "-w",
        "-Wno-error",
        *(("-mno-lsx",) if request.param == "loongarch64" else ()),
    )
    built = compiled(request.param, SOURCE.read_text(), *flags)
    return request.param, linked(request.param, [built])


@pytest.fixture
def guests(guest_file: tuple[str, Path]) -> Iterator[Library]:
    target, path = guest_file
    machine = Machine(arch_of(target), timeout=SECONDS, memory_limit=MEMORY, files={"/file": b"content"})
    yield machine.load(path)
    machine.close(run_destructors=False)


def resident() -> int:
    """Bytes of memory this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.sample(2)
def test_guests_that_misbehave_end_within_their_limits(guests: Library, guest_file: tuple[str, Path]) -> None:
    target, path = guest_file
    before = resident()
    machine = machine_of(guests)
    for name, end in ENDS.items():
        # Those that end by themselves are given the time a busy machine may need for it.
        seconds = SECONDS if end is BudgetExceeded or end is None else PATIENT
        address = guests.symbols[name].address
        begin, raised, result = time.process_time(), None, None
        try:
            result = machine.call(address, "int(void)", timeout=seconds)
        except RelinkError as error:
            raised = error
        assert time.process_time() - begin < seconds + LATE, name
        if end is StopReason.STACK_EXHAUSTED and isinstance(raised, BudgetExceeded):
            pass  # so deep that on a busy machine its time is up first
        elif isinstance(end, StopReason):
            assert isinstance(raised, GuestFault), (name, raised, result)
            assert raised.reason is end, name
        elif isinstance(end, type):
            assert isinstance(raised, end), (name, raised, result)
        else:
            # On a busy machine its time may be up before its answer.
            expected = (BudgetExceeded, GuestAbort, GuestFault) if end is None else (BudgetExceeded,)
            assert raised is None or isinstance(raised, expected), (name, raised)
            assert raised is not None or end is None or result == end, (name, result)
        # The machine serves on, its stack, heap and output too.
        machine.libc.stdout.clear()
        five = machine.define("five", (lambda: 5, "int(void)"))
        assert machine.call(five, "int(void)", timeout=PATIENT) == 5, name
        if name.startswith("flood"):  # what it took is not given back, so that a fresh machine goes on
            machine.close(run_destructors=False)
            machine = Machine(arch_of(target), timeout=SECONDS, memory_limit=MEMORY, files={"/file": b"content"})
            guests = machine.load(path)
    assert resident() - before < MEMORY + (100 << 20)
    machine.close(run_destructors=False)


def test_handlers_that_register_themselves_again_do_not_outlive_a_close(guest_file: tuple[str, Path]) -> None:
    target, path = guest_file
    machine = Machine(arch_of(target), timeout=SECONDS)
    machine.load(path).function("never_ends", "int(void)")()
    begin = time.process_time()
    with pytest.raises(BudgetExceeded):
        machine.close()
    assert time.process_time() - begin < SECONDS + LATE


def test_constructors_share_what_a_load_may_take(guest_file: tuple[str, Path]) -> None:
    """A hundred that take a little less than the limit each do not take a hundred times as long."""
    target, _ = guest_file
    source = "void slow(void) { for (volatile long i = 0; i < 200000000; i++); }\n"
    source += "".join(
        f"void c{n}(void) __attribute__((constructor)); void c{n}(void) {{ slow(); }}\n" for n in range(9)
    )
    path = linked(target, [compiled(target, source, "-fPIC", "-Wno-missing-prototypes")])
    with Machine(arch_of(target), timeout=SECONDS) as machine:
        begin = time.process_time()
        with pytest.raises(ConstructorFault) as fault:
            machine.load(path)
        assert isinstance(fault.value.__cause__, BudgetExceeded)
        assert time.process_time() - begin < SECONDS + LATE


def test_a_reservation_without_permissions_is_not_charged_until_it_can_be_used() -> None:
    with Machine("x86_64", memory_limit=MEMORY) as machine:
        memory, used = machine.memory, machine.memory_limit.used
        from relink.memory.address_space import Protection

        start = memory.map_anonymous(8 * MEMORY, Protection.NONE)
        assert machine.memory_limit.used == used
        memory.protect_pages(start, 1 << 20, Protection.R | Protection.W)
        memory.protect_pages(start, 1 << 20, Protection.NONE)  # which keeps what was written
        assert machine.memory_limit.used == used + (1 << 20)
        with pytest.raises(AddressSpaceError, match="memory limit"):
            memory.protect_pages(start, MEMORY, Protection.R)
        memory.unmap_pages(start, 8 * MEMORY)
        assert machine.memory_limit.used == used


ERRORS: tuple[Callable[[], RelinkError], ...] = (
    lambda: GuestFault(StopReason.READ_UNMAPPED, 1, 2, registers={"pc": 1}, frame=Frame(1, "a", "b")),
    lambda: BudgetExceeded("3 seconds", Frame(1)),
    lambda: ConstructorFault("a.so", "init", GuestAbort("x")),
    lambda: GuestExit(3),
    lambda: UnresolvedSymbol("a.so", "f", "V1"),
    lambda: LibraryNotFound("l.so", "a.so", [("here", "no")]),
    lambda: LinkErrors("a.so", [UnresolvedSymbol("a.so", "f"), UnresolvedSymbol("a.so", "g")]),
    lambda: RelocationOverflow("a.so", "p", section=".text", offset=4, type_name="R", symbol="s", formula="S + A"),
    lambda: MalformedElf("f", "p", 7),
    lambda: GuestAccessError(5, 8, write=True),
    lambda: UseAfterUnload("a.so", "f"),
)


@pytest.mark.parametrize("make", ERRORS, ids=[str(n) for n in range(len(ERRORS))])
def test_errors_cross_processes_with_their_facts(make: Callable[[], RelinkError]) -> None:
    error = make()
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert {k: str(v) for k, v in copy.__dict__.items()} == {k: str(v) for k, v in error.__dict__.items()}


@pytest.mark.parametrize("text", ["\x1b]0;x\x07", "a\nb", "\udcff", "\u202e", "\x9b31m", "\x00"])
def test_no_name_of_a_file_reaches_a_terminal_as_it_is(text: str) -> None:
    error = UnresolvedSymbol(f"lib{text}.so", f"f{text}", f"V{text}")
    assert str(error).isprintable()
    str(error).encode()
    assert error.symbol == f"f{text}"
    assert printable("plain \N{GREEK SMALL LETTER ALPHA}") == "plain \N{GREEK SMALL LETTER ALPHA}"
    assert len(printable("n" * 10_000_000)) < 400


def test_machines_in_different_threads_stay_apart() -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        with Machine("aarch64") as machine:
            five = machine.define("f", (lambda: number, "int(void)"))
            wrong.extend(number for _ in range(200) if machine.call(five, "int(void)") != number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
