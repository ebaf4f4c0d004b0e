"""The registers that each x87 instruction reads, pushes and pops; stack faults, which Unicorn does not know.

Reading an empty register, or pushing onto one that is not, is an invalid operation: the status word's IE and SF
are set, C1 says which of the two it was, and the result is the indefinite NaN. Unicorn uses whatever is there.
Exceptions that are to trap are refused elsewhere (`emu.cpu.corrections.find_x87`), so this is the masked response.

Source: Intel SDM volume 1, 8.1.2 and 8.5.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from emu.cpu.misrun import Guest, Outcome, Then

Run: TypeAlias = Callable[[Guest], "Outcome | Then"]

INDEFINITE: Final = 0xFFFF_C000_0000_0000_0000
_STACK_FAULT, _OVERFLOW, _FLAGS = 0x41, 0x200, 0xFF  #: IE and SF; C1
_QUOTIENT, _INCOMPLETE = 0x4500, 0x400  #: C3, C2 and C0
_TOP: Final = 11
_EMPTY: Final = 3


class Effect(NamedTuple):
    """One instruction's use of registers, which are numbered from the stack's top, before it."""

    reads: tuple[int, ...] = ()
    pushes: bool = False
    pops: int = 0
    result: int | None = None  #: the register of an arithmetic result
    fills: int | None = None  #: a register that is copied to, whose tag Unicorn leaves as it is
    frees: int | None = None
    exchanges: bool = False  #: fxch, after which none of the two is empty
    turns: int = 0  #: of the stack's top
    looks: bool = False  #: fxam, for which an empty register is a class of its own
    empties: bool = False  #: afterwards all registers are empty
    remainder: bool = False  #: fprem and fprem1, which on a fault clear C2 and leave C0 and C3
    unknown: bool = False  #: what is empty afterwards depends on memory, or on the operand


_NONE: Final = Effect()
_PUSH, _STORE, _STORE_POP = Effect(pushes=True), Effect((0,)), Effect((0,), pops=1)
_ONE, _TWO, _TWO_POP = Effect((0,), result=0), Effect((0, 1), result=0), Effect((0, 1), pops=1, result=1)
_REMAINDER: Final = Effect((0, 1), result=0, remainder=True)
_TWICE: Final = Effect((0,), pushes=True, result=0, unknown=True)
_COMPARE_POP_POP: Final = Effect((0, 1), pops=2)

_IN_MEMORY: Final = {
    "a": _ONE,
    "s": _STORE,
    "S": _STORE_POP,
    "l": _PUSH,
    "u": Effect(unknown=True),
    "r": Effect(empties=True),
    "-": _NONE,
}
#: First byte -> a letter for bits 3 to 5 of the next byte, from 0 to 7, where it names memory.
_MEMORY: Final = {
    0xD8: "aasSaaaa",
    0xD9: "l-sSu---",
    0xDA: "aasSaaaa",
    0xDB: "lSsS-l-S",
    0xDC: "aasSaaaa",
    0xDD: "lSsSu-r-",
    0xDE: "aasSaaaa",
    0xDF: "lSsSllSS",
}
#: The same where it names a register; "*": each register has an instruction of its own.
_REGISTERS: Final = {
    0xD8: "AAcCAAAA",
    0xD9: "Lx-W****",
    0xDA: "AAAA-*--",
    0xDB: "AAAA*cc-",
    0xDC: "BBcCBBBB",
    0xDD: "fxwWcC--",
    0xDE: "PPC*PPPP",
    0xDF: "FxWW*CC-",
}
_SINGLE: Final = {
    (0xD9, 0xE0): _ONE, (0xD9, 0xE1): _ONE, (0xD9, 0xE4): _STORE, (0xD9, 0xE5): Effect(looks=True),
    **{(0xD9, second): _PUSH for second in range(0xE8, 0xEF)},
    (0xD9, 0xF0): _ONE, (0xD9, 0xF1): _TWO_POP, (0xD9, 0xF2): _TWICE, (0xD9, 0xF3): _TWO_POP,
    (0xD9, 0xF4): _TWICE, (0xD9, 0xF5): _REMAINDER, (0xD9, 0xF6): Effect(turns=-1), (0xD9, 0xF7): Effect(turns=1),
    (0xD9, 0xF8): _REMAINDER, (0xD9, 0xF9): _TWO_POP, (0xD9, 0xFA): _ONE, (0xD9, 0xFB): _TWICE, (0xD9, 0xFC): _ONE,
    (0xD9, 0xFD): _TWO, (0xD9, 0xFE): _ONE, (0xD9, 0xFF): _ONE, (0xDA, 0xE9): _COMPARE_POP_POP,
    (0xDB, 0xE3): Effect(empties=True), (0xDE, 0xD9): _COMPARE_POP_POP,
}  # fmt: skip
FIRST: Final = range(0xD8, 0xE0)  #: first bytes of x87 instructions


def effect(first: int, second: int) -> Effect:
    """The stack effect of the instruction with these bytes."""
    group, number = second >> 3 & 7, second & 7
    if second < 0xC0:
        return _IN_MEMORY[_MEMORY[first][group]]
    both, letter = (0, number), _REGISTERS[first][group]
    match letter:
        case "A":
            return Effect(both, result=0)
        case "B":
            return Effect(both, result=number)
        case "P":
            return Effect(both, pops=1, result=number)
        case "c" | "x":
            return Effect(both, exchanges=letter == "x")
        case "C":
            return Effect(both, pops=1)
        case "L":
            return Effect((number,), pushes=True)
        case "w" | "W":
            return Effect((0,), pops=int(letter == "W"), fills=number)
        case "f" | "F":
            return Effect(frees=number, pops=int(letter == "F"))
    return _SINGLE.get((first, second), _NONE)


class _Stack:
    """The registers' tags."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.status, self._tags = guest.read_register("fpsw"), guest.read_register("fptag")

    def _place(self, number: int) -> int:
        return 2 * ((self.status >> _TOP) + number & 7)

    def empty(self, number: int) -> bool:
        return self._tags >> self._place(number) & _EMPTY == _EMPTY

    def set_empty(self, number: int, empty: bool) -> None:
        self._tags = self._tags & ~(_EMPTY << self._place(number)) | _EMPTY * empty << self._place(number)
        self._guest.write_register("fptag", self._tags)


def execute(found: Effect, inner: Run | None, guest: Guest) -> Outcome | Then:
    """Run the instruction, which the engine executes, or `inner`."""
    stack = _Stack(guest)
    if found.looks and stack.empty(0):
        return _examine(stack, guest)
    below = {number: guest.read_register(f"st{number}") for number in found.reads if stack.empty(number)}
    above = found.pushes and not stack.empty(-1)
    for number in below:
        _put(guest, stack, number)
    fills = found.fills is not None and stack.empty(found.fills)
    outcome = inner(guest) if inner is not None else Outcome.PREPARED
    if not (below or above or fills) or outcome is Outcome.REFUSED:
        return outcome
    finish = partial(_finish, found, below, above, stack.status)
    if outcome is Outcome.DONE:
        finish(guest)
        return outcome
    before = outcome.run if isinstance(outcome, Then) else None

    def after(guest: Guest) -> None:
        if before is not None:
            before(guest)
        finish(guest)

    return Then(after)


def _put(guest: Guest, stack: _Stack, number: int) -> None:
    """Put the indefinite NaN in an empty register."""
    stack.set_empty(number, False)
    guest.write_register(f"st{number}", INDEFINITE)


def _finish(found: Effect, below: Mapping[int, int], above: bool, before: int, guest: Guest) -> None:
    """After an instruction that read the empty registers `below`, with their contents before it, or pushed onto a
    full one, or filled one.

    `before`: the status word then.
    """
    stack = _Stack(guest)
    if found.fills is not None and (found.fills or not found.pops):
        stack.set_empty(found.fills - found.pops, False)
    if not (below or above):
        return
    status = stack.status & ~(_OVERFLOW | _FLAGS) | before & _FLAGS | _STACK_FAULT
    if found.remainder:
        status = status & ~_QUOTIENT | before & _QUOTIENT & ~_INCOMPLETE
    guest.write_register("fpsw", status | (0 if below else _OVERFLOW))
    moved = found.pushes - found.pops
    for number, content in below.items():
        kept = number + moved & 7 or not found.pushes  # not the one that was pushed onto
        if kept and not found.exchanges and number not in (found.result, found.fills):
            stack.set_empty(number + moved, True)
            guest.write_register(f"st{number + moved & 7}", content)
    if found.pushes:
        guest.write_register("st0", INDEFINITE)
    if found.result is not None and found.result + moved >= 0:
        guest.write_register(f"st{found.result + moved}", INDEFINITE)


def _examine(stack: _Stack, guest: Guest) -> Outcome:
    """fxam of an empty register: C3 and C0, and the sign it holds in C1."""
    sign = guest.read_register("st0") >> 79
    guest.write_register("fpsw", stack.status & ~0x4700 | 0x4100 | sign << 9)
    return Outcome.DONE


class Segment:
    """Instructions that run one after the other, and what they need of the registers at their beginning.

    `full` and `empty` have two bits for each register from the top of the stack. `always`: they fault anyhow.
    """

    def __init__(self) -> None:
        self.full = self.empty = 0
        self.always = self.ends = False
        self._turn = 0
        self._known: dict[int, bool] = {}  #: register from the first top -> whether it is empty

    def add(self, found: Effect) -> None:
        """The next instruction."""
        if self.ends:
            return
        for number in (*found.reads, *([0] if found.looks else []), *([found.fills] if found.fills else [])):
            self._needs(number, empty=False)
        if found.pushes:
            self._needs(-1, empty=True)
            self._turn -= 1
            self._set(0, empty=False)
        if found.frees is not None:
            self._set(found.frees, empty=True)
        for _ in range(found.pops):
            self._set(0, empty=True)
            self._turn += 1
        self._turn += found.turns
        if found.empties:
            self.all(empty=True)
        self.ends |= found.unknown

    def all(self, *, empty: bool) -> None:
        """All registers become empty, or full."""
        self._known = dict.fromkeys(range(8), empty)

    def _needs(self, number: int, *, empty: bool) -> None:
        place = self._turn + number & 7
        known = self._known.get(place)
        if known is None:
            if empty:
                self.empty |= 1 << 2 * place
            else:
                self.full |= 1 << 2 * place
            self._known[place] = empty
        elif known != empty:
            self.always = True

    def _set(self, number: int, *, empty: bool) -> None:
        self._known[self._turn + number & 7] = empty
