"""Arguments no caller should give, for every hosted function and system call: none gets out but typed.

A call is made as a guest's: within a call under way, with its time and memory bounded. Values are of the
parameter's kind: addresses in, at the end of, just past, and far from memory that can be read, written or neither;
strings without an end, formats, paths; sizes and numbers at the ends of their ranges.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from emu import Machine
from emu.calls.prototypes import CType, Floating, Integer, Prototype, VaListType, parse_prototype
from emu.errors import BadGuestPointer, BudgetExceeded, GuestAbort, GuestExit, GuestFault, StackExhausted
from emu.host.guard import guarded
from emu.isa.registry import ISAS
from emu.libc import table

SECONDS, LATE = 0.3, 0.7  #: a call's time limit, and by how much it may be late, of the processor's time
MEMORY = 32 << 20
#: What a guest may be given for a call that cannot be done.
TYPED = (BadGuestPointer, BudgetExceeded, GuestAbort, GuestExit, GuestFault, StackExhausted)
#: These take the caller's registers, and are tested with compiled code.
_OF_THE_CALLER = frozenset({"setjmp", "longjmp", "sigsetjmp", "siglongjmp"})
_TEXTS = (
    b"", b"a", b"%s%n%d", b"%*.*f", b"%99999999999d", b"%9999$d", b"%[", b"%ms", b"%1000000000c", b"/\xff\xfe/..",
    b"a/" * 3000, b"0x" + b"f" * 5000, b"9" * 6000, b"1e999999999", b"nan(" + b"x" * 400, b"%Y%E%O", b"NAME=value",
    b"\xe2\x82", b"r+x", b"-.5e+", b"%-+ #0'I*.*hhd", b"C.UTF-8",
)  # fmt: skip
_FLOATS = (0.0, -1.5, 1e308, float("inf"), float("nan"))
_NUMBERS = (0, 1, 2, 3, 7, 8, 16, 31, 64, 255, 256, 1000, 4095, 4096, 4097, 1 << 20, (1 << 31) - 1)


class Probe:
    """One machine, memory of every kind in it, and calls with values drawn by dice."""

    def __init__(self, arch: str) -> None:
        self.machine = machine = Machine(arch, timeout=SECONDS, memory_limit=MEMORY, files={"/f": b"12 ab\n" * 40})
        memory = machine.memory
        self.mask = machine.arch.address_mask
        page = machine.arch.page_size
        self.writable = memory.map_anonymous(16 * page)
        memory.write(self.writable, b"A" * (16 * page))  # without an end
        self.readable = memory.map_anonymous(16 * page)
        places = {}
        position = self.readable
        for text in _TEXTS:
            places[text] = position
            memory.write(position, text + b"\0")
            position += len(text) + 1
        assert position < self.readable + 16 * page
        self.texts = list(places.values())
        self._inside: Callable[[], int] = lambda: 0
        self._trap = machine.define("probe", (lambda: self._inside(), "int(void)"))
        callback = machine.define("callback", (lambda a, b: (a > b) - (a < b), "int(long, long)"))
        self.addresses = [
            0, 1, self.mask, self.mask - 7, self.mask // 2, self.writable, self.writable + 8, callback,
            self.writable + 16 * page - 1, self.writable + 16 * page, self.readable + 3, page,
            machine.stack.top - 64,
        ]  # fmt: skip

    def call(self, name: str, body: Callable[[], object]) -> None:
        """Do a call within a guest's. Raises AssertionError for what is not typed, or too late."""

        def inside() -> int:
            body()
            return 0

        self._inside = guarded(name, inside, self.machine.runner)
        begin = time.process_time()
        problem = ""
        try:
            self.machine.call(self._trap, "int(void)")
        except TYPED as error:
            problem = str(error)
        assert "failed on the host" not in problem, f"{name}: {problem}"
        assert time.process_time() - begin < SECONDS + LATE, f"{name} took {time.process_time() - begin:.1f} s"

    def pointer(self, dice: random.Random) -> int:
        return dice.choice(self.texts if dice.random() < 0.4 else self.addresses)

    def number(self, dice: random.Random, bits: int, *, signed: bool) -> int:
        value = dice.choice(_NUMBERS) * dice.choice((1, 1, 1, -1)) if dice.random() < 0.8 else dice.getrandbits(64)
        value &= (1 << bits) - 1
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    def value(self, ctype: CType, dice: random.Random) -> object:
        """A value for a parameter, as the machine would hand it over."""
        if isinstance(ctype, VaListType):
            return Arguments(self, dice)
        if isinstance(ctype, Floating):
            return dice.choice(_FLOATS)
        if isinstance(ctype, Integer):
            return self.number(dice, 8 * ctype.size, signed=ctype.signed)
        return self.pointer(dice)


class Arguments:
    """What matches an ellipsis or a va_list."""

    def __init__(self, probe: Probe, dice: random.Random) -> None:
        self._probe, self._dice = probe, dice

    def take(self, ctype: str) -> int | float:
        if ctype in ("double", "long double", "float"):
            return self._dice.choice(_FLOATS)
        if "*" in ctype:
            return self._probe.pointer(self._dice)
        return self._probe.number(self._dice, 32, signed=True)


def functions(probe: Probe) -> Iterator[tuple[str, Callable[[random.Random], None]]]:
    """Every hosted function of the probe's ISA."""
    arch = probe.machine.arch.name
    libc = probe.machine.libc
    for row in table.functions(ISAS[arch]):
        if row.name.strip("_").removesuffix("_chk") in _OF_THE_CALLER:
            continue
        prototype = parse_prototype(row.prototype, arch)

        def run(dice: random.Random, row: table.Export = row, prototype: Prototype = prototype) -> None:
            values = [probe.value(parameter.type, dice) for parameter in prototype.parameters]
            if prototype.variadic:
                values.append(Arguments(probe, dice))
            probe.call(row.name, lambda: row.call(libc, *values))

        yield row.name, run


def system_calls(probe: Probe) -> Iterator[tuple[str, Callable[[random.Random], None]]]:
    """Every system call of the probe's ISA, known or not."""
    kernel = probe.machine.syscalls
    for number, name in [*kernel._names.items(), (1 << 31, "none")]:

        def run(dice: random.Random, number: int = number, name: str = name) -> None:
            words = [
                (probe.pointer(dice) if dice.random() < 0.5 else probe.number(dice, 64, signed=False)) & probe.mask
                for _ in range(6)
            ]
            probe.call(name, lambda: kernel.perform(kernel.name_of(number), words))

        yield name, run
