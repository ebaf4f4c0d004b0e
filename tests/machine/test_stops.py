"""Runs that are stopped from outside and go on, or end: limits, signals, threads, forks. See docs/stops.md."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu import watchdog
from emu.cpu.protocol import Stop, StopReason
from emu.errors import BudgetExceeded
from relink.errors import MachineInUse
from tests.alarms import alarms
from tests.fixtures import arch_of, each_target
from tests.machine.loops import Loops, build_loops, check, followed, load_loops
from tests.real import real_library

_IN_MAIN_THREAD = pytest.mark.skipif(
    "threading.current_thread() is not threading.main_thread()", reason="signals arrive in the main thread alone"
)
#: What follows depends on the engine, not on the ISA it runs.
_BOTH_ENGINES = pytest.mark.parametrize("target", ["x86_64", "loongarch64"], indirect=True)


target = each_target()


@pytest.fixture
def library_path(target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loops for the target, compiled once a run."""
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"loops-{target}.so"
    return path if path.exists() else build_loops(target, folder)


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the watchdog look thousands of times a second, once it is called."""

    def look() -> None:
        pace = watchdog.LOOK_SECONDS
        monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0.0003)
        time.sleep(pace)  # the last look at the old pace

    return look


# ---------------------------------------------------------------- going on


def test_a_run_stopped_at_every_block_computes_the_same(
    target: str, library_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "stop_every", 1)
    with Machine(arch_of(target)) as machine:
        loops = Loops(machine, load_loops(machine, library_path), 1000, 1000)
        assert loops.computed() == loops.expected()


def test_a_run_stopped_thousands_of_times_a_second_computes_the_same(
    target: str, library_path: Path, machine: Machine, looking: Callable[[], None]
) -> None:
    library = load_loops(machine, library_path)
    slow = target == "loongarch64"
    loops = Loops(machine, library, 4000 if slow else 1 << 15, 3000 if slow else 60_000)
    expected = loops.expected()
    looking()
    assert loops.computed() == expected


@pytest.mark.parametrize(
    ("timeout", "max_instructions", "rounds"),
    [(0.0001, 0, 100_000), (0, 10_007, 3000)],
    ids=["time", "instructions"],
)
def test_a_run_goes_on_from_every_limit(
    target: str, library_path: Path, machine: Machine, timeout: float, max_instructions: int, rounds: int
) -> None:
    library = load_loops(machine, library_path)
    run, reached = machine.cpu.run, 0

    def in_pieces(pc: int) -> Stop:
        nonlocal reached
        while True:
            stop = run(pc, timeout=timeout, max_instructions=max_instructions)
            if stop.reason not in (StopReason.TIMEOUT, StopReason.INSTRUCTION_LIMIT):
                return stop
            reached += 1
            pc = machine.cpu.read_register("pc")

    machine.cpu.run = in_pieces  # type: ignore[method-assign, assignment]
    loops = Loops(machine, library, 1 << 12, 5000 if target == "loongarch64" else rounds)
    assert loops.computed() == loops.expected()
    assert reached or timeout  # how often time is up depends on how busy the host is


@pytest.mark.real
@pytest.mark.parametrize("arch", ["x86_64", "i386", "aarch64", "arm", "riscv64", "loongarch64"])
def test_the_targets_own_zlib_sums_megabytes_while_it_is_stopped(arch: str, looking: Callable[[], None]) -> None:
    import zlib

    path = real_library(arch, "libz.so.1")
    data = bytes(range(256)) * (1 << (10 if arch == "loongarch64" else 15))
    with Machine(arch, library_path=[path.parent]) as machine:
        library = machine.load(path)
        place = machine.heap.malloc(len(data))
        machine.memory.write(place, data)
        looking()
        for name, expected in (("adler32", zlib.adler32(data, 1)), ("crc32", zlib.crc32(data))):
            start = 1 if name == "adler32" else 0
            prototype = "unsigned long(unsigned long, const void *, unsigned)"
            assert library.function(name, prototype)(start, place, len(data)) == expected


# ---------------------------------------------------------------- time limits


@_BOTH_ENGINES
def test_after_a_time_limit_the_machine_goes_on_with_other_calls(library_path: Path, machine: Machine) -> None:
    library = load_loops(machine, library_path)
    progress = machine.heap.malloc(4)
    spin = library.function("spin", "void(uint32_t *)")
    for seconds in (0.01, 0.05, 0.5, 5):
        before = time.monotonic()
        with pytest.raises(BudgetExceeded, match=f"{seconds:g} seconds.*spin"):
            spin(progress, timeout=seconds)
        assert time.monotonic() - before > seconds * 0.9
        if seconds > 0.01 and machine.memory.read_uint(progress, 4):  # on a busy machine the guest may not run
            break
    else:
        pytest.fail("the guest never ran")
    check(machine, library)


@_BOTH_ENGINES
def test_a_time_limit_reached_in_a_nested_call_ends_the_outer_too(library_path: Path, machine: Machine) -> None:
    ended: list[str] = []

    def host(_: int) -> int:
        with pytest.raises(BudgetExceeded):
            library.function("spin", "void(uint32_t *)")(machine.heap.malloc(4))
        ended.append("inner")
        return 0

    library = load_loops(machine, library_path, host)
    for seconds in (0.05, 0.5, 5):  # on a busy machine its time may be up before the inner call
        if not ended:
            with pytest.raises(BudgetExceeded):
                library.function("ask", "int(int)")(2, timeout=seconds)
    assert ended == ["inner"]
    check(machine, library)


# ---------------------------------------------------------------- signals


@_IN_MAIN_THREAD
def test_signal_handlers_that_return_do_not_change_what_the_guest_computes(
    target: str, library_path: Path, machine: Machine, looking: Callable[[], None]
) -> None:
    library = load_loops(machine, library_path)
    loops = Loops(machine, library, 4000, 3000 if target == "loongarch64" else 60_000)
    expected, come = loops.expected(), [0]
    looking()

    def handle() -> None:
        come[0] += 1

    with alarms(handle, 0.001, 0.001):
        assert loops.computed() == expected
    assert come[0] > 3


@_IN_MAIN_THREAD
@_BOTH_ENGINES
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_run_and_the_machine_can_be_used_again(library_path: Path, machine: Machine) -> None:
    def host(_: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    library = load_loops(machine, library_path, host)
    with pytest.raises(KeyboardInterrupt), alarms(lambda: os.kill(os.getpid(), signal.SIGINT), 0.02):
        library.function("spin", "void(uint32_t *)")(machine.heap.malloc(4))
    check(machine, library)
    with pytest.raises(KeyboardInterrupt):  # between two runs of the engine
        library.function("ask", "int(int)")(3)
    with pytest.raises(KeyboardInterrupt), alarms(lambda: os.kill(os.getpid(), signal.SIGINT), 0.02):
        library.function("spin", "void(uint32_t *)")(machine.heap.malloc(4), timeout=600)
    with pytest.raises(KeyboardInterrupt), alarms(lambda: os.kill(os.getpid(), signal.SIGINT), 0.02):
        library.function("spin", "void(uint32_t *)")(machine.heap.malloc(4), max_instructions=1 << 60)
    check(machine, library)


@_IN_MAIN_THREAD
@_BOTH_ENGINES
def test_a_signal_handler_may_look_and_write_memory_but_not_call(library_path: Path, machine: Machine) -> None:
    library = load_loops(machine, library_path)
    stop = machine.heap.malloc(4)
    machine.memory.write_uint(stop, 4, 0)
    # What the handler uses is imported: it may be called again before it has returned.
    check(machine, library)
    machine.symbolize(library.image.symbol("wait_for").address)
    refused: list[str] = []

    def handle() -> None:
        if not machine.cpu._running or refused:  # type: ignore[attr-defined]
            return
        if machine.symbolize(machine.cpu.read_register("pc") & ~1).symbol != "wait_for":
            return  # the engine has not begun
        for use in (
            lambda: library.function("count", "uint32_t(uint32_t)")(3),
            lambda: machine.load(library_path, name="another"),
            lambda: machine.unload(library.image),
            machine.close,
        ):
            with pytest.raises(MachineInUse) as caught:
                use()
            refused.append(str(caught.value))
        machine.memory.write_uint(stop, 4, 1)

    with alarms(handle, 0.02, 0.02):
        assert library.function("wait_for", "uint32_t(uint32_t *)")(stop) > 0
    assert len(refused) >= 4
    check(machine, library)


@_IN_MAIN_THREAD
@_BOTH_ENGINES
def test_a_signal_handler_may_call_the_guest_where_a_host_function_runs(
    library_path: Path, machine: Machine
) -> None:
    called: list[object] = []

    def host(value: int) -> int:
        with alarms(lambda: called.append(library.function("follow", "uint32_t(uint32_t)")(200)), 0.01):
            while not called:
                time.sleep(0.001)
        return value

    library = load_loops(machine, library_path, host)
    answer = library.function("around_host", "uint32_t(uint32_t)")(50)
    assert called == [followed(200)]
    assert answer == (31 * (followed(50) + 7) + followed(50)) & 0xFFFF_FFFF


# ---------------------------------------------------------------- threads


def in_thread(action: Callable[[], object]) -> Callable[[], object]:
    """Start it in a thread; the result waits for it, and is what it returned or raised."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(action())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def wait() -> object:
        thread.join(30)
        return outcome[0]

    return wait


@_BOTH_ENGINES
def test_a_machine_in_use_is_refused_to_other_threads(target: str, library_path: Path, machine: Machine) -> None:
    refusals: list[object] = []

    def host(value: int) -> int:
        uses: list[Callable[[], object]] = [
            lambda: library.function("count", "uint32_t(uint32_t)")(3),
            lambda: machine.load(library_path, name="another"),
            lambda: machine.unload(library.image),
            lambda: machine.new_thread(),
            machine.close,
        ]
        refusals.extend(in_thread(use)() for use in uses)
        return value

    library = load_loops(machine, library_path, host)
    assert library.function("around_host", "uint32_t(uint32_t)")(50) > 0
    assert [type(refusal) for refusal in refusals] == [MachineInUse] * 5
    assert "another thread is using the machine, so Thread-" in str(refusals[0])
    check(machine, library)


@_BOTH_ENGINES
def test_a_cpu_that_runs_is_refused_to_other_threads(target: str, library_path: Path, machine: Machine) -> None:
    if target == "loongarch64":
        pytest.skip("icicle is bound to its thread, and holds on to the interpreter while it runs")
    library = load_loops(machine, library_path)
    stop = machine.heap.malloc(4)
    machine.memory.write_uint(stop, 4, 0)
    wait = in_thread(lambda: library.function("wait_for", "uint32_t(uint32_t *)")(stop, timeout=60))
    cpu = machine.cpu
    while not cpu._running:  # type: ignore[attr-defined]
        time.sleep(0.001)
    for use in (
        lambda: cpu.read_register("pc"),
        lambda: cpu.write_registers({"sp": 0}),
        lambda: cpu.write(stop, b"\1"),
        lambda: cpu.unmap(stop & -4096, 4096),
        lambda: cpu.run(0),
        cpu.save,
        cpu.close,
        machine.new_thread,
    ):
        with pytest.raises(MachineInUse):
            use()
    region = machine.memory.region_at(stop)
    assert region is not None
    assert machine.memory.read_uint(stop, 4) == 0
    region.buffer[stop - region.address] = 1
    wait()  # raises what the call raised; it may have looped no time at all
    check(machine, library)


@_BOTH_ENGINES
def test_machines_of_several_threads_run_at_once(target: str, library_path: Path) -> None:
    def compute() -> bool:
        with Machine(arch_of(target)) as machine:
            loops = Loops(machine, load_loops(machine, library_path))
            return all(loops.computed() == loops.expected() for _ in range(3))

    waiting = [in_thread(compute) for _ in range(3)]
    assert [wait() for wait in waiting] == [True] * 3


def test_a_machine_made_in_one_thread_is_used_in_another(
    target: str, library_path: Path, machine: Machine
) -> None:
    library = load_loops(machine, library_path)
    outcome = in_thread(lambda: check(machine, library))()
    if target == "loongarch64":
        assert isinstance(outcome, MachineInUse)
        assert "thread that created the machine" in str(outcome)
    else:
        assert outcome is None
    check(machine, library)


# ---------------------------------------------------------------- forks


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@_IN_MAIN_THREAD
@_BOTH_ENGINES
def test_a_forked_child_has_time_limits_and_signals_of_its_own(library_path: Path, machine: Machine) -> None:
    def in_child() -> None:
        with pytest.raises(BudgetExceeded):
            library.function("spin", "void(uint32_t *)")(stop, timeout=0.05)
        machine.memory.write_uint(stop, 4, 0)
        with alarms(lambda: machine.memory.write_uint(stop, 4, 1), 0.02):
            library.function("wait_for", "uint32_t(uint32_t *)")(stop, timeout=20)
        check(machine, library)

    def host(value: int) -> int:
        return value if forked(lambda: check(machine, library)) == 0 else -1000

    library = load_loops(machine, library_path, host)
    stop = machine.heap.malloc(4)
    assert forked(in_child) == 0
    assert library.function("ask", "int(int)")(3) == 3
    check(machine, library)


def forked(action: Callable[[], object]) -> int:
    """Run it in a child; its exit status."""
    child = os.fork()
    if not child:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
