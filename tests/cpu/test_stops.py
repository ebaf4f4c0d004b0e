"""What stops an engine on request: the hook in host code, limits, and what signal handlers meet meanwhile."""

from __future__ import annotations

import signal
import struct
import threading

import pytest

from emu import Machine
from emu.cpu.protocol import Stop, StopReason
from emu.cpu.stop_hook import HOST_CODE
from relink.errors import MachineInUse
from relink.memory.address_space import Protection

from .guests import CODE, Bench


@pytest.mark.parametrize("host", HOST_CODE)
def test_the_hook_of_every_host_counts_down_and_stops(host: str) -> None:
    """Run as a guest, on the project's own machine: `uc_emu_stop` is a host function here."""
    stops: list[int] = []
    with Machine(host) as machine:
        memory = machine.memory
        hook = memory.map_anonymous(4096, Protection.R | Protection.X)
        memory.write(hook, HOST_CODE[host])
        request = machine.heap.malloc(24)
        stop = machine.define("uc_emu_stop", (stops.append, "void uc_emu_stop(void *)"))
        memory.write(request, struct.pack("<qixxxxQ", 3, 0, stop))

        def come_to_a_block() -> tuple[int, int, int]:
            machine.call(hook, "void(void *, uint64_t, uint32_t, void *)", 0x1234, CODE, 4, request)
            left, stopped, _ = struct.unpack("<qixxxxQ", memory.read(request, 24))
            return left, stopped, len(stops)

        assert [come_to_a_block() for _ in range(4)] == [(2, 0, 0), (1, 0, 0), (1, 1, 1), (1, 1, 2)]
        assert stops == [0x1234] * 2
        memory.write(request, bytes(12))
        assert [come_to_a_block() for _ in range(3)] == [(0, 0, 2)] * 3


def test_an_instruction_limit_counts_on_behind_a_stop_that_is_none(bench: Bench) -> None:
    """Arm's hints leave the engine's loop, and a watchdog's look does; of the limit nothing is lost or won."""
    entry = bench.load("hints" if bench.guest.has("hints") else "nops")
    bench.prepare()
    needed = next(
        limit for limit in range(1, 30) if bench.cpu.run(entry, max_instructions=limit).reason is StopReason.TRAP
    )
    bench.cpu._every = 2  # type: ignore[attr-defined]  # as under --stop-every 1
    for limit, reason in ((needed, StopReason.TRAP), (needed - 1, StopReason.INSTRUCTION_LIMIT)):
        bench.prepare()
        assert bench.cpu.run(entry, max_instructions=limit).reason is reason


@pytest.mark.parametrize("bench", ["x86_64", "i386"], indirect=True)
def test_a_limit_behind_a_byte_that_looks_like_hlt_is_a_limit(bench: Bench) -> None:
    bench.cpu.write(CODE, bytes.fromhex("b0f490ebfd"))  # mov al, 0xf4; nop; jmp back to the nop
    bench.prepare()
    assert bench.cpu.run(CODE, max_instructions=1) == Stop(StopReason.INSTRUCTION_LIMIT, CODE + 2)
    assert bench.cpu.run(CODE, timeout=0.01).reason is StopReason.TIMEOUT


@pytest.mark.parametrize("bench", ["x86_64", "i386", "riscv64", "loongarch64"], indirect=True)
def test_what_a_signal_handler_raises_is_not_lost_in_the_engine(bench: Bench) -> None:
    """Hooks run as the guest faults and asks the kernel; a handler that ran in one could raise to nobody."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread, and this is another")
    entry, raised, caught = bench.load("syscall"), 0, 0

    def handle(number: int, frame: object) -> None:
        nonlocal raised
        raised += 1
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handle)
    try:
        while raised < 50:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0003)
                while True:
                    bench.prepare()
                    assert bench.cpu.run(entry).reason is StopReason.SYSCALL
            except TimeoutError:
                caught += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught == raised


def test_nothing_of_a_run_that_a_signal_handler_ended_is_left_over(bench: Bench) -> None:
    """Neither a stop that was asked for nor one that has come: the next run ends where it should, and says why."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread, and this is another")
    spin, asking = bench.load("spin"), bench.load("syscall", CODE + 0x200)

    def handle(number: int, frame: object) -> None:
        if bench.cpu._running:  # type: ignore[attr-defined]
            raise TimeoutError

    before = signal.signal(signal.SIGALRM, handle)
    try:
        bench.prepare()
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        with pytest.raises(TimeoutError):
            bench.cpu.run(spin, timeout=5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    bench.prepare()
    assert bench.cpu.run(asking) == Stop(StopReason.SYSCALL, CODE + 0x200 + bench.guest.nop)


def test_a_cpu_that_runs_cannot_be_run_or_closed_by_a_signal_handler(bench: Bench) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals arrive in the main thread, and this is another")
    entry = bench.load("spin")
    refused: list[str] = []

    def handle(number: int, frame: object) -> None:
        if not bench.cpu._running or refused:  # type: ignore[attr-defined]
            return
        for use in (lambda: bench.cpu.run(entry, max_instructions=1), bench.cpu.close):
            with pytest.raises(MachineInUse) as caught:
                use()
            refused.append(str(caught.value))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        bench.prepare()
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        assert bench.cpu.run(entry, timeout=0.3) == Stop(StopReason.TIMEOUT, CODE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(refused) >= 2
