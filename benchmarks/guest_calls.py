"""What a crossing costs, beside bare Unicorn doing the same by hand in the same run.

    python benchmarks/guest_calls.py

Four things, in microseconds, best of several rounds, per ISA:

call        set two registers and the return address, run a function that returns at once, learn that it returned,
            read its result;
trap        the guest calls a host function, the host reads its argument, writes a result and lets the guest go on
            (the second half of one outer call, repeated in a guest loop);
function    what a user writes: `add(20, 22)` on a function of a loaded library, with all that prototypes, argument
            checks and the machine's own loop cost; its ratio is to the bare call.
struct      the same with a structure of 12 or 16 bytes as argument and result; its ratio is to `function`.

"bare" is what a careful user of the Unicorn binding writes: `reg_write`, `emu_start` with `until`, `reg_read`.
It knows beforehand where the guest will stop; whatever else it calls would be a fault. LoongArch64 runs on icicle
and has no bare counterpart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import unicorn
from unicorn import arm64_const, arm_const, riscv_const, x86_const

from emu import Machine
from emu.cpu.protocol import StopReason
from tests.cpu.guests import CODE, GUESTS, PAGE, STACK, TRAPS, Bench, Guest
from tests.fixtures import arch_of, fixture

ROUNDS, CALLS = 7, 3000
#: UC_ARCH, UC_MODE, UC_CPU, the module of register constants and its prefix.
BARE: dict[str, tuple[int, int, int | None, Any, str]] = {
    "x86_64": (unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, None, x86_const, "X86"),
    "i386": (unicorn.UC_ARCH_X86, unicorn.UC_MODE_32, None, x86_const, "X86"),
    "aarch64": (
        unicorn.UC_ARCH_ARM64,
        unicorn.UC_MODE_ARM,
        arm64_const.UC_CPU_ARM64_MAX,
        arm64_const,
        "ARM64",
    ),
    "arm": (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_ARM, arm_const.UC_CPU_ARM_MAX, arm_const, "ARM"),
    "thumb": (unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB, arm_const.UC_CPU_ARM_MAX, arm_const, "ARM"),
    "riscv64": (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV64, None, riscv_const, "RISCV"),
    "riscv32": (unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32, None, riscv_const, "RISCV"),
}


def microseconds(action: Callable[[], None]) -> float:
    """The best mean of several rounds, of this process's own time: other work on the machine does not count."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            action()
        rounds.append((time.process_time() - started) / CALLS)
    return min(rounds) * 1e6


class BareUnicorn:
    """The same two crossings with the binding and nothing else."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        arch, mode, model, constants, prefix = BARE[guest.name]

        def register(name: str) -> int:
            return int(getattr(constants, f"UC_{prefix}_REG_{name.upper()}"))

        stack = {"x86_64": "rsp", "i386": "esp"}.get(guest.name, "sp")
        self.sp, self.value = register(stack), register(guest.value)
        self.link = register(guest.link) if guest.link else None
        self.uc = unicorn.Uc(arch, mode)
        if model is not None:
            self.uc.ctl_set_cpu_model(model)
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
    """The crossings through `emu.cpu.Cpu`."""

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

    def trap(self) -> None:
        cpu, guest = self.cpu, self.guest
        cpu.write_register(guest.value, cpu.read_register(guest.value) + 1)
        if guest.link is not None:
            back = cpu.read_register(guest.link)
        else:
            sp = cpu.read_register("sp")
            back = int.from_bytes(cpu.read(sp, guest.word), "little")
            cpu.write_register("sp", sp + guest.word)
        assert cpu.run(back).reason is StopReason.TRAP


def whole_call(target: str) -> float:
    """Microseconds of a guest function called as a user does."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic"), allow_unresolved=True)
        add = library.function("add", "int(int, int)")
        assert add(20, 22) == 42
        return microseconds(lambda: add(20, 22))  # type: ignore[arg-type,return-value]


def structure_call(target: str) -> float:
    """Microseconds of a function that takes and gives a `struct { int; double; }`, typed by DWARF."""
    with Machine(arch_of(target)) as machine:
        library = machine.load(fixture(target, "basic-dwarf"), allow_unresolved=True)
        point_by_value = library.point_by_value
        assert point_by_value((1, 2.0)) == (2, 2.0)
        return microseconds(lambda: point_by_value((1, 2.0)))


def main() -> None:
    titles = [f"{title:>8} {'bare':>8} {'ratio':>6}" for title in ("call", "trap")]
    print(f"{'µs':12} {'   '.join(titles)}   {'function':>8} {'ratio':>6}   {'struct':>8} {'ratio':>6}")
    for guest in GUESTS.values():
        ours = ThroughCpu(guest)
        bare = BareUnicorn(guest) if guest.name in BARE else None
        cells = []
        bare_call = None
        for crossing, program in (("call", "return"), ("trap", "call forever")):
            code = guest.code(program)
            ours.cpu.write(CODE, code)
            theirs = None
            if bare is not None:
                bare.uc.mem_write(CODE, code)
                bare.uc.ctl_remove_cache(CODE, CODE + len(code))
                (bare.call if crossing == "call" else bare.call_forever)()
                theirs = microseconds(getattr(bare, crossing))
                bare_call = bare_call or theirs
            ours.call()
            mine = microseconds(getattr(ours, crossing))
            beside = f"{theirs:8.2f} {mine / theirs:6.2f}" if theirs else f"{'-':>8} {'-':>6}"
            cells.append(f"{mine:8.2f} {beside}")
        whole = whole_call(f"{guest.name}-clang")
        cells.append(f"{whole:8.2f} {whole / bare_call:6.2f}" if bare_call else f"{whole:8.2f} {'-':>6}")
        typed = structure_call(f"{guest.name}-clang")
        cells.append(f"{typed:8.2f} {typed / whole:6.2f}")
        print(f"{guest.name:12} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
