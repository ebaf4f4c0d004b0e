"""Delivery of interrupts and exceptions through the IDT (Intel SDM volume 3, chapter 6).

What the CPU does between two instructions: the gate and the code segment are checked, the stack is that of the
task state segment when the privilege level changes, and a frame is pushed. IRET is the engine's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from emu.boards.errors import Lockup, NotModelled
from relink.errors import AddressSpaceError
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cpu.protocol import X86Cpu
    from emu.ports import Memory

DOUBLE_FAULT, INVALID_TSS, NOT_PRESENT, STACK_FAULT, GENERAL_PROTECTION = 8, 10, 11, 12, 13
ERROR_CODES = frozenset({8, 10, 11, 12, 13, 14, 17})  #: exceptions that push one
_CONTRIBUTORY = frozenset({0, 10, 11, 12, 13})
_INTERRUPT_GATE, _TRAP_GATE, _TASK_GATE, _GATES_16 = 0x0E, 0x0F, 0x05, (0x06, 0x07)
_TRAP, _INTERRUPT, _NESTED, _RESUME, _VIRTUAL = 1 << 8, 1 << 9, 1 << 14, 1 << 16, 1 << 17
#: Bits of an error code: its selector is a vector; what happened was not of an instruction.
_IN_TABLE, _EXTERNAL = 2, 1
_PRESENT, _CONFORMING = 0x80, 0x04
_STACKS = 4  #: offset of ESP and SS for privilege level 0 in a task state segment


class _Faulted(Exception):
    """Delivery causes another exception."""

    def __init__(self, vector: int, code: int) -> None:
        super().__init__()
        self.vector, self.code = vector, code


@dataclass(frozen=True)
class Event:
    """What is delivered. `resumes`: the frame's EFLAGS have RF, as for faults. `software` is the size of an
    instruction that interrupts; 0: it is none.
    """

    vector: int
    code: int | None = None
    software: int = 0
    external: bool = False
    resumes: bool = False


class Gates:
    """Delivers to one CPU."""

    def __init__(self, cpu: X86Cpu, memory: Memory) -> None:
        self._cpu, self._memory = cpu, memory

    def deliver(self, event: Event, pc: int) -> int:
        """Push a frame that returns to `pc`; the handler's address. Raises Lockup for a triple fault, NotModelled.

        An exception that the delivery causes is delivered in its place (SDM volume 3, table 6-5).
        """
        while True:
            try:
                return self._deliver(event, pc)
            except _Faulted as fault:
                before, code = event.vector, fault.code | (0 if event.software else _EXTERNAL)
                pc -= event.software  # a fault of the instruction
                if before == DOUBLE_FAULT:
                    raise Lockup(pc, "a fault while a double fault is delivered: a triple fault") from None
                if before in _CONTRIBUTORY and fault.vector in _CONTRIBUTORY and not event.software:
                    event = Event(DOUBLE_FAULT, 0)
                else:
                    event = Event(fault.vector, code, resumes=True)

    def _deliver(self, event: Event, pc: int) -> int:
        cpu = self._cpu
        cs, ss, esp, flags = cpu.read_registers(("cs", "ss", "esp", "eflags"))
        level = cs & 3
        if flags & _VIRTUAL:
            raise NotModelled(f"an interrupt in virtual-8086 mode at {pc:#x}")
        target, selector, kind = self._gate(event, level)
        access = self._code_segment(selector, level)
        inner = level if access & _CONFORMING else access >> 5 & 3
        words = [flags | (_RESUME if event.resumes else 0), cs, pc]
        if event.code is not None:
            words.append(event.code)
        after = flags & ~(_TRAP | _NESTED | _RESUME | _VIRTUAL | (_INTERRUPT if kind == _INTERRUPT_GATE else 0))
        if inner == level:
            cpu.write_registers((("esp", self._push(esp, words, pc)), ("eflags", after)))
        else:
            stack, segment = self._inner_stack(inner)
            sp = self._push(stack, [ss, esp, *words], pc)
            cpu.set_privilege(inner)
            self._load("ss", segment, pc)
            cpu.write_registers((("esp", sp), ("eflags", after)))
        self._load("cs", selector & ~3 | inner, pc)
        return target

    def _load(self, register: str, selector: int, pc: int) -> None:
        try:
            self._cpu.load_segment(register, selector)
        except AddressSpaceError as error:
            raise Lockup(pc, f"the accessed bit of segment {selector:#x}: {error}") from None

    def _gate(self, event: Event, level: int) -> tuple[int, int, int]:
        """(handler, code selector, kind) of the gate."""
        vector, (_, base, limit) = event.vector, self._cpu.read_table("idtr")
        at_fault = vector << 3 | _IN_TABLE
        if 8 * vector + 7 > limit:
            raise _Faulted(GENERAL_PROTECTION, at_fault)
        gate = int.from_bytes(self._read(base + 8 * vector, 8, f"the gate of interrupt {vector:#x}"), "little")
        access = gate >> 40 & 0xFF
        kind = access & 0x1F
        if kind == _TASK_GATE or kind in _GATES_16:
            what = "task gates" if kind == _TASK_GATE else "16-bit gates"
            raise NotModelled(f"{what} (interrupt {vector:#x}) are not modelled")
        if kind not in (_INTERRUPT_GATE, _TRAP_GATE) or (event.software and access >> 5 & 3 < level):
            raise _Faulted(GENERAL_PROTECTION, at_fault)
        if not access & _PRESENT:
            raise _Faulted(NOT_PRESENT, at_fault)
        return gate & 0xFFFF | gate >> 48 << 16, gate >> 16 & 0xFFFF, kind

    def _code_segment(self, selector: int, level: int) -> int:
        """The access byte of a handler's segment."""
        access = self._access(selector, GENERAL_PROTECTION)
        if access & 0x18 != 0x18 or access >> 5 & 3 > level:
            raise _Faulted(GENERAL_PROTECTION, selector & ~3)
        if not access & _PRESENT:
            raise _Faulted(NOT_PRESENT, selector & ~3)
        return access

    def _access(self, selector: int, fault: int) -> int:
        """The access byte of a segment's descriptor."""
        if not selector & ~3:
            raise _Faulted(fault, 0)
        try:
            descriptor = self._cpu.descriptor(selector)
        except AddressSpaceError as error:
            raise Lockup(
                self._cpu.read_register("pc"), f"the descriptor of segment {selector:#x}: {error}"
            ) from None
        if descriptor is None:
            raise _Faulted(fault, selector & ~3)
        return descriptor[5]

    def _inner_stack(self, level: int) -> tuple[int, int]:
        """ESP and SS for a privilege level, from the task state segment."""
        selector, base, limit = self._cpu.read_table("tr")
        offset = _STACKS + 8 * level
        if offset + 5 > limit:
            raise _Faulted(INVALID_TSS, selector & ~3)
        both = self._read(base + offset, 6, "the task state segment")
        stack, segment = int.from_bytes(both[:4], "little"), int.from_bytes(both[4:], "little")
        access = self._access(segment, INVALID_TSS)
        if segment & 3 != level or access >> 5 & 3 != level or access & 0x1A != 0x12:
            raise _Faulted(INVALID_TSS, segment & ~3)
        if not access & _PRESENT:
            raise _Faulted(STACK_FAULT, segment & ~3)
        return stack, segment

    def _push(self, stack: int, words: Iterable[int], pc: int) -> int:
        data = b"".join(word.to_bytes(4, "little") for word in reversed([*words]))
        stack = stack - len(data) & 0xFFFF_FFFF
        try:
            self._cpu.store(stack, data)
        except AddressSpaceError:
            raise Lockup(pc, f"no memory for an interrupt's frame at {stack:#x}") from None
        return stack

    def _read(self, address: int, size: int, what: str) -> bytes:
        try:
            return self._memory.read(address & 0xFFFF_FFFF, size)
        except AddressSpaceError:
            raise Lockup(self._cpu.read_register("pc"), f"no memory at {address:#x}, {what}") from None
