"""The registers of a CPU on Unicorn, by name: one at a time, several with one call of the engine, all as a
context.
"""

from __future__ import annotations

import ctypes
import struct
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast

from emu.cpu.protocol import CpuContext
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import reg_read, reg_read_batch, reg_write_batch
from emu.cpu.unicorn.batches import Batch, GroupData
from emu.cpu.unicorn.float_state import FloatState
from emu.cpu.unicorn.gdt import Gdt
from emu.cpu.unicorn.isas import UnicornIsa
from relink.errors import AddressSpaceError, MachineError, MachineInUse

if TYPE_CHECKING:
    from emu.cpu.unicorn.quick_run import QuickRun

_SETTLED = frozenset({"mxcsr"})  #: x86's register with exception flags that the engine keeps elsewhere
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")
_FS = 0x6000  #: mstatus: the floating-point unit is on. While it is off, the engine reads anything for fcsr
#: Values of cpsr's lowest five bits: user, FIQ, IRQ, supervisor, monitor, abort, hypervisor, undefined, system.
_MODES = frozenset({0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x1A, 0x1B, 0x1F})


def _check_mode(cpsr: int) -> None:
    """Raise MachineError for a mode that Arm does not have: the engine would end the process."""
    if cpsr & 0x1F not in _MODES:
        raise MachineError(f"cpsr {cpsr:#x} has the mode {cpsr & 0x1F:#x}, which Arm does not have")


class UnicornGroup:
    """Some registers of a CPU, as wide as its integer registers (`RegisterGroup`)."""

    def __init__(self, cpu: UnicornRegisters, data: GroupData) -> None:
        self._cpu, self._array, self._count = cpu, data.array, data.count
        self._numbers, self._places, self._unpack, self._pack = data.numbers, data.places, data.unpack, data.pack

    def read(self) -> tuple[int, ...]:
        cpu = self._cpu
        if cpu._running:
            cpu._refuse_other_threads()
        reg_read_batch(cpu._handle, self._numbers, self._places, self._count)
        return self._unpack(self._array)

    def write(self, *values: int) -> None:
        cpu = self._cpu
        if cpu._running:
            cpu._refuse_other_threads()
        cpu._at_stop = None
        self._pack(self._array, 0, *values)
        reg_write_batch(cpu._handle, self._numbers, self._places, self._count)


class StopGroup(UnicornGroup):
    """Registers that are read in one batch with the pc at each stop of the engine, and kept until the next run."""

    def read(self) -> tuple[int, ...]:
        cpu = self._cpu
        if cpu._at_stop is None or cpu._running or cpu._native is not None:
            return super().read()
        return cpu._at_stop[cpu._before_state :]


class UnicornRegisters:
    """The part of a `UnicornCpu` for registers."""

    _engine_run: QuickRun
    _native: Any = None  #: a `unicorn.Uc`, once `native` has been used

    def __init__(self, handle: ctypes.c_void_p, isa: UnicornIsa) -> None:
        self._handle = handle
        self._isa = isa
        self.registers = isa.printed
        self._slots = api.RegisterSlots(isa)
        self._pc_slot = self._slots["pc"]
        self._batches: dict[tuple[str, ...], Batch] = {}
        #: Names of the program counter that read with the Thumb bit.
        self._interworking = frozenset({"pc", "r15"} if isa.constants == "arm" else ())
        self._before_state = 2 if self._interworking else 1  #: the registers of a place
        self._place = self._place_with((isa.result,))
        #: The register after those of the place, if `read_register` may take it from `_at_stop`.
        self._result = isa.result
        #: The values of `_place` at the last stop; None: since changed.
        self._at_stop: tuple[int, ...] | None = None
        self._gated = frozenset({"fcsr"} if "fcsr" in isa.names else ())
        self._with_mode = frozenset({"cpsr"} if self._interworking else ())
        #: i386 in protected mode: registers whose write reads and marks a descriptor in memory.
        self._segments = frozenset(_SEGMENTS if "cs" in isa.names else ())
        #: Registers that take more than a call of the engine.
        self._special = _SETTLED | self._interworking | self._gated | self._with_mode | self._segments
        self.code_state = 0  #: Arm: the Thumb bit at the last stop
        self._suspended: int | None = None  # Arm: the address at which a fault or limit may have left an IT block
        self._running = 0  # the thread that runs the guest; 0: none
        self._gdt = Gdt(handle) if isa.thread_pointer is None else None
        self._float_state = FloatState(handle)

    def _place_with(self, names: Sequence[str]) -> GroupData:
        """The place of a stop, and other registers."""
        place = ("pc", "cpsr")[: self._before_state]
        return GroupData([self._slots[name][0] for name in (*place, *names)], self._isa.word)

    def _refuse_other_threads(self) -> None:
        """Called during a run. In the running thread the engine is stopped between two blocks."""
        if self._running != get_ident():
            raise MachineInUse("another thread is running the guest on this CPU")

    def read_register(self, name: str) -> int:
        if self._running:
            self._refuse_other_threads()
        elif name == self._result and self._at_stop is not None and self._native is None:
            return self._at_stop[self._before_state]
        identifier, buffer, reference = self._slots[name]
        special = name in self._special
        if special and name in _SETTLED:
            self._float_state.settle()
        if special and name in self._gated:
            return self._with_float_unit(lambda: self._plain(name))
        reg_read(self._handle, identifier, reference)
        value: int = buffer.value
        return value | self._thumb_bit() if special and name in self._interworking else value

    def write_register(self, name: str, value: int) -> None:
        if self._running:
            self._refuse_other_threads()
        special = name in self._special
        if special and name in self._segments:
            self._write_segment(name, value)
            return
        if special and name in _SETTLED:
            self._float_state.settle()
        if special and name in self._with_mode:
            _check_mode(value)
        self._at_stop = None
        identifier, buffer, reference = self._slots[name]
        buffer.value = value
        if special and name in self._gated:
            self._with_float_unit(lambda: int(api.reg_write(self._handle, identifier, reference)))
            return
        api.reg_write(self._handle, identifier, reference)
        if special and name in _SETTLED:
            self.flush_to_zero(value)

    @abstractmethod
    def load_segment(self, register: str, selector: int) -> None:
        """See `X86Cpu.load_segment`."""

    def _write_segment(self, name: str, selector: int) -> None:
        """Load a segment register. Raises MachineError if the CPU does not take the selector."""
        selector &= 0xFFFF
        try:
            self.load_segment(name, selector)
        except AddressSpaceError as error:
            raise MachineError(f"{name} cannot be {selector:#x}: its descriptor: {error}") from None
        if self._plain(name) != selector:
            raise MachineError(f"{name} cannot be {selector:#x}: no segment for {name} at this privilege level")

    def read_registers(self, names: Sequence[str]) -> list[int]:
        """Several registers with one call of the engine."""
        names = tuple(names)
        if self._running:
            self._refuse_other_threads()
        batch = self._batches.get(names) or self._batch(names)
        if batch.special and not _SETTLED.isdisjoint(names):
            self._float_state.settle()
        api.reg_read_batch(self._handle, batch.numbers, batch.places, batch.count)
        values = batch.get()
        if batch.special and self._gated:
            values[names.index("fcsr")] = self.read_register("fcsr")
        if batch.special and self._interworking:
            values = [
                value | self._thumb_bit() if name in self._interworking else value
                for name, value in zip(names, values, strict=True)
            ]
        return values

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        """Several registers with one call of the engine."""
        pairs = dict(values)
        self.set_registers(tuple(pairs), list(pairs.values()))

    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        """See `Cpu.set_registers`."""
        if self._running:
            self._refuse_other_threads()
        batch = self._batches.get(names) or self._batch(names)
        if batch.special and not self._segments.isdisjoint(names):
            pairs = zip(names, values, strict=True)
            for name, value in sorted(pairs, key=lambda pair: pair[0] not in self._segments):
                self.write_register(name, value)  # segments, which may be refused, before others
            return
        if batch.special and not _SETTLED.isdisjoint(names):
            self._float_state.settle()
        if batch.special and not self._with_mode.isdisjoint(names):
            _check_mode(values[names.index("cpsr")])
        self._at_stop = None
        try:
            batch.put(*values)
        except struct.error:
            batch.put_low_bits(*values)
        api.reg_write_batch(self._handle, batch.numbers, batch.places, batch.count)
        if batch.special:
            for name in self._gated.intersection(names):
                self.write_register(name, values[names.index(name)])
            for name in _SETTLED.intersection(names):
                self.flush_to_zero(values[names.index(name)])

    def _plain(self, name: str) -> int:
        identifier, buffer, reference = self._slots[name]
        reg_read(self._handle, identifier, reference)
        return int(buffer.value)

    def _with_float_unit(self, use: Callable[[], int]) -> int:
        """RISC-V: use a register that can be reached only while the floating-point unit is on."""
        status = self._plain("mstatus")
        if status & _FS:
            return use()
        self.write_register("mstatus", status | _FS)
        try:
            return use()
        finally:
            self.write_register("mstatus", status)

    def register_group(self, names: Sequence[str]) -> UnicornGroup:
        """See `DeviceCpu.register_group`."""
        return UnicornGroup(self, GroupData([self._slots[name][0] for name in names], self._isa.word))

    def state_group(self, names: Sequence[str]) -> UnicornGroup:
        """See `DeviceCpu.state_group`."""
        self._place, self._at_stop, self._result = self._place_with(names), None, ""
        self._engine_run.read_after(self._place)
        return StopGroup(self, GroupData([self._slots[name][0] for name in names], self._isa.word))

    def settle_flags(self) -> None:
        """x86: update MXCSR with the flags of executed instructions."""
        self._float_state.settle()

    def flush_to_zero(self, mxcsr: int) -> None:
        """x86: set whether SSE flushes results to zero, by this value of MXCSR."""
        self._float_state.flush(mxcsr)

    def set_thread_pointer(self, address: int) -> None:
        """Set fs_base, tpidr_el0, tpidruro, tp; on i386 the base of the segment that %gs selects."""
        if self._isa.thread_pointer is not None:
            self.write_register(self._isa.thread_pointer, address)
        elif self._gdt is not None:
            self._gdt.set_thread_pointer(address)

    def _thumb_bit(self) -> int:
        if not self._interworking:
            return 0
        return self._plain("cpsr") >> 5 & 1

    def _batch(self, names: tuple[str, ...]) -> Batch:
        special = not self._special.isdisjoint(names)
        batch = self._batches[names] = Batch([self._slots[name] for name in names], special=special)
        return batch

    def save(self) -> CpuContext:
        """A copy of all registers."""
        if self._running:
            self._refuse_other_threads()
        context = api.Context(self._handle)
        if self._gated:  # the engine keeps the exception flags behind what it saves
            context.beside = [(name, self.read_register(name)) for name in self._gated]
        api.uclib.uc_context_save(self._handle, context.pointer)
        return context

    def restore(self, context: CpuContext) -> None:
        """Restore all registers from `save`."""
        assert isinstance(context, api.Context)
        if context.owner is not self._handle:
            raise MachineError("these registers were saved on another CPU")
        if self._running:
            self._refuse_other_threads()
        self._at_stop = None
        api.uclib.uc_context_restore(self._handle, context.pointer)
        for name, value in context.beside:
            self.write_register(name, value)
        self._suspended = None

    def register_values(self) -> list[int]:
        """See `Cpu.register_values`."""
        descriptors = int.from_bytes(self._gdt.content, "little") if self._gdt is not None else 0
        return [descriptors, *self.read_registers(tuple(self._isa.names))]

    def set_register_values(self, values: Sequence[int]) -> None:
        """See `Cpu.set_register_values`."""
        descriptors, *others = values
        if self._gdt is not None:
            self._gdt.content = descriptors.to_bytes(len(self._gdt.content), "little")
        for name, value in zip(self._isa.names, others, strict=True):
            (self.load_segment if name in self._segments else self.write_register)(name, value)

    def save_state(self) -> object:
        """See `Cpu.save_state`."""
        return self.save(), self._suspended, self._gdt.content if self._gdt is not None else b""

    def restore_state(self, state: object) -> None:
        """See `Cpu.restore_state`."""
        context, suspended, descriptors = cast("tuple[CpuContext, int | None, bytes]", state)
        if self._gdt is not None:
            self._gdt.content = descriptors
        self.restore(context)
        self._suspended = suspended
