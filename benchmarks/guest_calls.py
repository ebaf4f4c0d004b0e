"""Crossings between Python and the guest, and the same by bare Unicorn.

call        set two registers and the return address, run a function that returns at once, learn that it returned,
            read its result;
trap        the guest calls a host function, the host reads its argument, writes a result and lets the guest go on
            (the second half of one outer call, repeated in a guest loop);
whole call  what a user writes: `add(20, 22)` on a function of a loaded library, with all that prototypes, argument
            checks and the machine's own loop cost;
structure   the same with a structure of 12 or 16 bytes as argument and result.

"bare" is what a careful user of the Unicorn binding writes: `reg_write`, `emu_start` with `until`, `reg_read`.
It knows beforehand where the guest will stop; whatever else it calls would be a fault. LoongArch64 runs on icicle
and has no bare counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.bare_unicorn import engine, register_number
from benchmarks.measure import least_microseconds
from emu import Machine
from emu.cpu.protocol import StopReason
from tests.cpu.guests import CODE, PAGE, STACK, TRAPS, Bench, Guest
from tests.fixtures import arch_of, fixture

ROUNDS, CALLS = 7, 3000


def _microseconds(action: Callable[[], object]) -> float:
    return least_microseconds(action, CALLS, ROUNDS)


class BareUnicorn:
    """A call and a trap by Unicorn's Python binding alone."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        register = partial(register_number, guest.name)
        stack = {"x86_64": "rsp", "i386": "esp"}.get(guest.name, "sp")
        self.sp, self.value = register(stack), register(guest.value)
        self.link = register(guest.link) if guest.link else None
        self.uc = engine(guest.name)
        for start in (CODE, STACK, TRAPS):  # RISC-V's translator reads where it is to stop
            self.uc.mem_map(start, PAGE)
        self.entry, self.top = CODE | guest.entry_bit, STACK + PAGE // 2
        self.registers = [(self.value, 41), (register(guest.address), TRAPS + 8), (self.sp, self.top)]
        if self.link is not None:
            self.registers.append((self.link, TRAPS | guest.entry_bit))
        self.pushed = None if guest.link else TRAPS.to_bytes(guest.word, "little")

    def call(self) -> None:
        self._enter(TRAPS)
        assert self.uc.reg_read(self.value)

    def call_forever(self) -> None:
        """Into the loop that calls the host: the first trap."""
        self._enter(TRAPS + 8)

    def _enter(self, until: int) -> None:
        for register, value in self.registers:  # so few cost less one by one
            self.uc.reg_write(register, value)
        if self.pushed is not None:
            self.uc.mem_write(self.top, self.pushed)
        self.uc.emu_start(self.entry, until)

    def trap(self) -> None:
        """From the trap the guest is in to the next: its loop calls the host again at once."""
        uc = self.uc
        uc.reg_write(self.value, uc.reg_read(self.value) + 1)
        if self.link is not None:
            back = uc.reg_read(self.link)
        else:
            sp = uc.reg_read(self.sp)
            back = int.from_bytes(uc.mem_read(sp, self.guest.word), "little")
            uc.reg_write(self.sp, sp + self.guest.word)
        uc.emu_start(back, TRAPS + 8)


class ThroughCpu:
    """A call through `emu.cpu.Cpu`."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.bench = Bench(guest)
        self.cpu = self.bench.cpu
        self.entry = CODE | guest.entry_bit
        self.registers = {guest.value: 41, guest.address: TRAPS + 8, "sp": STACK + PAGE // 2}
        if guest.link is not None:
            self.registers[guest.link] = TRAPS

    def call(self) -> None:
        self.cpu.write_registers(self.registers)
        if self.guest.link is None:
            self.cpu.write(STACK + PAGE // 2, TRAPS.to_bytes(self.guest.word, "little"))
        assert self.cpu.run(self.entry).reason is StopReason.TRAP
        assert self.cpu.read_register(self.guest.value)


def whole_call(target: str) -> float:
    """Microseconds of a guest function called as a user does."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic"), allow_unresolved=True)
        add = library.function("add", "int(int, int)")
        assert add(20, 22) == 42
        return _microseconds(lambda: add(20, 22))


def structure_call(target: str) -> float:
    """Microseconds of a function that takes and gives a `struct { int; double; }`, typed by DWARF."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf"), allow_unresolved=True)
        point_by_value = library.point_by_value
        assert point_by_value((1, 2.0)) == (2, 2.0)
        return _microseconds(lambda: point_by_value((1, 2.0)))
