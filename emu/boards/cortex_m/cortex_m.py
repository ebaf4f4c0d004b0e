"""The Cortex-M profile: exception entry and return, priorities, faults (ARMv7-M ARM, B1.5; ARMv6-M ARM, B1.5).

The engine stops at SVC, at faults, at instructions that wait, and where a handler branches to an EXC_RETURN value.
Everything else of exceptions is done here, between two instructions: frames are written to the guest's stack,
banked registers change, handlers are taken from the vector table.

Floating-point registers are saved at entry where the code has used them (FPCA): stacking is never lazy, so FPCAR
is not written. The stack is aligned to 8 bytes (STKALIGN), always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from emu.boards.cortex_m import nvic as n
from emu.boards.cortex_m.debug_blocks import private_devices
from emu.boards.cortex_m.faults import Fault, Faults, fault_of
from emu.boards.cortex_m.frames import FAULTMASK, USUAL, Frames, Pushed, State
from emu.boards.cortex_m.inspection import Inspection
from emu.boards.cortex_m.model import ALIASES, MODELS, CortexModel
from emu.boards.cortex_m.nvic import LOWEST, Nvic, name_of
from emu.boards.cortex_m.semihosting import BREAKPOINT, Semihosting
from emu.boards.cortex_m.system_control import SystemControl
from emu.boards.errors import BoardError, FirmwareError, Lockup
from emu.boards.profile import BaseProfile, Interrupts, check_options
from emu.cpu.protocol import Stop, StopReason
from emu.ports import Layout
from relink.errors import AddressSpaceError
from relink.records import dataclass, replace

if TYPE_CHECKING:
    from emu.boards.clock import Clock
    from emu.boards.device import Device
    from emu.boards.firmware import Firmware
    from emu.cpu.protocol import DeviceCpu
    from emu.ports import Memory

SYSTEM_CONTROL = 0xE000_E000
_WFE = (b"\x20\xbf", b"\xaf\xf3\x02\x80")
_MASK = 0xFFFF_FFFF
_TAG_CPU_ARCH, _TAG_PROFILE = "TAG_CPU_ARCH", "TAG_CPU_ARCH_PROFILE"


@dataclass(frozen=True)
class Taken:
    """An exception that was entered (or returned from, with `enters` False)."""

    exception: int
    pc: int  #: where the guest was, or continues
    time: int
    enters: bool = True
    tail_chained: bool = False

    def __str__(self) -> str:
        what = "enters" if self.enters else "returns from"
        return f"{self.time}: {what} {name_of(self.exception)} at {self.pc:#x}"


class CortexM(BaseProfile):
    """A Cortex-M CPU (`emu.boards.profile.Profile`).

    `irqs` is the number of interrupt lines, `priority_bits` that of bits of a priority (the chip's; 4 on most
    STM32). `reference` is the number of instructions for a tick of SysTick's other clock. `faults` says who gets
    faults of a firmware that runs: "firmware", its handlers; "raise", the caller of `Board.run` as GuestFault.
    With `semihosting` the guest has a console (`bkpt 0xab`).
    """

    arch, address_mask = "arm", _MASK
    float_abi: str | None = "soft-float"
    model: str | None

    def __init__(
        self,
        name: str | CortexModel,
        *,
        irqs: int = 64,
        priority_bits: int | None = None,
        vectors: int = 0,
        reference: int = 1,
        faults: str = "firmware",
        semihosting: Semihosting | None = None,
    ) -> None:
        model = MODELS.get(ALIASES.get(name, name)) if isinstance(name, str) else name
        if model is None:
            raise BoardError(f"unknown CPU {name!r}; known are {', '.join(MODELS)}")
        numbers = {"irqs": (irqs, 0, 496), "priority_bits": (priority_bits, 1, 8), "vectors": (vectors, 0, _MASK)}
        check_options(model.name, faults, reference=(reference, 1, _MASK), **numbers)
        if priority_bits is not None:
            model = replace(model, priority_bits=priority_bits)
        self.cortex, self.name, self.model = model, model.name, model.engine
        self.layout = Layout((0x9F80_0000, 0x80_0000), (0x8000_0000, 0x1F00_0000), code_bits=1)
        self.vectors = vectors  #: the address of the vector table after a reset
        self.faults_to, self.semihosting = faults, semihosting
        self.nvic = Nvic(irqs, model.priority_bits)
        self.system = SystemControl(self, reference)
        self.observers: list[Callable[[Taken], object]] = []  #: called at each exception entry and return
        self.free_ram, self.in_run = (0, 0), False
        self._last_fault = ""
        self.changed = self.resetting = self.started = False
        self.event = False  #: the event register of WFE
        self._waits_for_event = False
        self.faults = Faults()
        baseline = model.architecture == "v8-M baseline"
        self.inspection = Inspection(self._event, has_fpu=model.has_fpu, baseline=baseline)
        self.inspection.floats_enabled = True  # until a firmware starts, which enables it
        self._inspect_again = False
        self._handler_at = 0, 0  #: the last handler that was entered, and when
        self._best: int  #: the exception that `interrupts` has found, and the registers that it has read
        self._state: State

    def _event(self) -> None:
        """SEV."""
        self.event = True

    def watch_instructions(self, *, divide_traps: bool | None = None, floats: bool | None = None) -> None:
        """CCR.DIV_0_TRP or CPACR has been written."""
        inspection = self.inspection
        before = inspection.divide_traps, inspection.floats_enabled
        if divide_traps is not None:
            inspection.divide_traps = divide_traps
        if floats is not None:
            inspection.floats_enabled = floats
        if before != (inspection.divide_traps, inspection.floats_enabled):
            self._inspect_again = self.changed = True
            if self.cpu.in_access:
                self.cpu.pause()

    def devices(self) -> Mapping[int, Device]:
        return {SYSTEM_CONTROL: self.system, **private_devices(self.cortex)}

    def connect(self, cpu: DeviceCpu, memory: Memory, clock: Clock, stop: Callable[[], None]) -> None:
        if self.semihosting is not None:
            self.semihosting.stop = stop
        self.cpu, self.memory, self.clock = cpu, memory, clock
        self.frames = Frames(cpu, self.cortex.has_fpu)
        cpu.inspect(self.inspection.find)

    def check_firmware(self, firmware: Firmware) -> None:
        if firmware.arch not in (None, "arm"):
            raise FirmwareError(f"{firmware.name} is for {firmware.arch}, the board's CPU is {self.name}")
        firmware.check_arm_profile("M", self.name)
        tag = firmware.attributes.get(_TAG_CPU_ARCH)
        if tag is not None and firmware.attributes.get(_TAG_PROFILE) and tag not in self.cortex.tags and tag > 9:
            theirs = f"another architecture (Tag_CPU_arch {tag})"
            raise FirmwareError(f"{firmware.name} is for {theirs} than {self.name}")

    # ------------------------------------------------------------ reset

    def initial_stack(self) -> int | None:
        """The first word of the vector table."""
        try:
            return self.memory.read_uint(self.vectors, 4) & ~3 or None
        except AddressSpaceError:
            return None

    def reset(self) -> int:
        try:
            stack, entry = self.memory.read_uint(self.vectors, 4), self.memory.read_uint(self.vectors + 4, 4)
        except AddressSpaceError:
            raise FirmwareError(f"no memory at {self.vectors:#x}, where the vector table must be") from None
        if not entry & 1:
            where = f"the reset vector at {self.vectors + 4:#x}"
            raise FirmwareError(f"{where} is {entry:#x}, not an address in Thumb code")
        return self._begin(entry, stack)

    def start(self, entry: int, stack: int) -> int:
        """A reset without a vector table, with the FPU enabled, as a debugger does for its programs."""
        if self.cortex.has_fpu:
            self.system.write(0xD88, 4, 0xF << 20)  # CPACR
        return self._begin(entry, stack)

    def _begin(self, entry: int, stack: int) -> int:
        self.nvic.reset()
        self.faults.clear()
        self.frames.reset(stack & ~3)
        self.resetting, self.started, self.event, self.sleeps = False, True, False, False
        self.changed = True
        return entry | 1

    # ------------------------------------------------------------ interrupts

    def set_line(self, number: int, level: bool) -> None:
        if not 0 <= number < self.nvic.lines:
            raise BoardError(f"{self.name} has the interrupts 0 to {self.nvic.lines - 1}, not {number}")
        if self.nvic.set_line(number, level):
            self.attend()

    def pend(self, exception: int) -> None:
        """Make an exception pending."""
        if exception not in self.nvic.pending:
            self.nvic.pending.add(exception)
            self.attend()

    def attend(self) -> None:
        """Pending exceptions or priorities have changed: look at them after the current instruction."""
        self.changed = True
        if not self.event and self.system.send_event_on_pend and self.nvic.pending:
            self.event = True
        looks = self.clock.in_run and self.cpu.in_access and not self.cpu.stops_at_blocks
        if looks and self.interrupts() is not Interrupts.NONE:
            self.cpu.pause()

    def interrupts(self) -> Interrupts:
        nvic = self.nvic
        if self._inspect_again and not self.cpu.in_access:
            self._inspect_again = False
            self.cpu.inspect_again()
        if not nvic.pending:
            return Interrupts.NONE
        best = nvic.most_urgent() if self.started else None
        if best is None:
            return Interrupts.NONE
        priority, running = nvic.urgency(best), nvic.running
        if priority >= running:
            return Interrupts.NONE
        state = self.frames.read()
        if (state[2] or state[3] or state[4]) and priority >= self._boosted(running, state):
            return Interrupts.MASKED
        self._best, self._state = best, state
        return Interrupts.READY

    def execution_priority(self, *, with_primask: bool = True) -> int:
        """The priority of the code that runs (B1.5.4, ExecutionPriority)."""
        return self._boosted(self.nvic.running, self.frames.read(), with_primask=with_primask)

    def _boosted(self, priority: int, state: State, *, with_primask: bool = True) -> int:
        """A priority with the masks applied."""
        primask, basepri, faultmask = state[2:5] if self.cortex.is_mainline else (state[2], 0, 0)
        if basepri:
            priority = min(priority, self.nvic.group(basepri))
        if primask and with_primask:
            priority = min(priority, 0)
        return min(priority, -1) if faultmask else priority

    def take(self, pc: int) -> int:
        """Take the exception that `interrupts` has just found."""
        return self._enter(self._best, pc & ~1, self._state)

    def _enter(self, exception: int, pc: int, state: State | None = None) -> int:
        """Exception entry: push a frame and start the handler. `state`: the registers, if they are known."""
        before = self.frames.push(pc, state or self.frames.read())
        if not before[1]:
            exception = self._derived(exception, Fault(n.BUS_FAULT, "STKERR"), pc)
        return self._start_handler(exception, before, pc)

    def _start_handler(self, exception: int, before: Pushed | int, pc: int) -> int:
        """Start a handler. `before` is the frame just pushed, or LR of the handler that ends (tail-chaining)."""
        vector = self.system.vector_table + 4 * exception
        try:
            (handler,) = self.cpu.load_words(vector, 1)
        except AddressSpaceError:
            if exception in (n.HARD_FAULT, n.NMI):
                raise Lockup(pc, f"no memory at {vector:#x}, the vector of {name_of(exception)}") from None
            self.faults.hard |= 1 << 1  # HFSR.VECTTBL
            self.nvic.pending.discard(exception)
            return self._start_handler(n.HARD_FAULT, before, pc)
        self.nvic.acknowledge(exception)
        self._handler_at = handler & ~1, self.clock.time
        if tail_chained := isinstance(before, int):
            self.frames.chain(exception, before)
        else:
            self.frames.enter_handler(exception, before)
        self.cpu.continue_at(handler)  # the state of IT blocks has been cleared
        self.event, self.changed = True, bool(self.nvic.pending)
        for observer in self.observers:
            observer(Taken(exception, pc, self.clock.now, tail_chained=tail_chained))
        return handler

    # ------------------------------------------------------------ exceptions of instructions

    def stopped(self, stop: Stop) -> int | None:
        if not self.started:
            return None
        fetch = stop.reason in (StopReason.FETCH_PROTECTED, StopReason.FETCH_UNMAPPED)
        if fetch and stop.pc >= 0xF000_0000 and self._handler_at != (stop.pc, self.clock.time):
            ending = self.frames.ending()
            if ending[0] & 0x1FF:
                return self._return(ending, stop.pc | ending[0] >> 24 & 1)
        if stop.reason is StopReason.SYSCALL:
            return self._synchronous(n.SVCALL, stop.pc + 2)
        console = self.semihosting if stop.reason is StopReason.BREAKPOINT else None
        if console is not None and self.memory.read(stop.pc, 2) == BREAKPOINT:
            console.call(self.cpu, self.memory, self.clock.now, self.free_ram)
            return stop.pc + 2 | 1
        fault = fault_of(stop, self.cortex, self.memory, thumb=bool(self.frames.thumb()))
        if fault is None or self.faults_to == "raise" or not self.in_run:
            return None
        return self._fault(fault, stop.pc)

    def _synchronous(self, exception: int, pc: int) -> int:
        """An exception that cannot wait: it is taken, or becomes a HardFault."""
        nvic = self.nvic
        if nvic.urgency(exception) < self.execution_priority():
            nvic.pending.add(exception)
            return self._enter(self._most_urgent_of(exception), pc & ~1)
        return self._fault(Fault(n.HARD_FAULT, "FORCED"), pc)

    def _fault(self, fault: Fault, pc: int) -> int:
        exception = self._escalated(fault, pc)
        self.nvic.pending.add(exception)
        return self._enter(self._most_urgent_of(exception), pc)

    def _most_urgent_of(self, exception: int) -> int:
        best = self.nvic.most_urgent()
        return exception if best is None else best

    def _escalated(self, fault: Fault, pc: int) -> int:
        """Record a fault; the exception that it becomes. Raises Lockup."""
        nvic = self.nvic
        self.faults.record(fault)
        exception = fault.exception
        current = self.execution_priority()
        configurable = exception != n.HARD_FAULT and exception in nvic.enabled
        if configurable and nvic.urgency(exception) < current:
            return exception
        if current <= -1:
            raise Lockup(pc, fault.describe() + self._last_fault)
        self._last_fault = f" (after {fault.describe()} at {pc:#x})"
        if exception != n.HARD_FAULT or fault.status == "FORCED":
            self.faults.hard |= 1 << 30  # HFSR.FORCED
        return n.HARD_FAULT

    def _derived(self, exception: int, fault: Fault, pc: int) -> int:
        """A fault during the entry of `exception`: which of the two is taken; the other one stays pending."""
        derived = self._escalated(fault, pc)
        self.nvic.pending.add(derived)
        first = min(exception, derived, key=lambda each: (self.nvic.priority_of(each), each))
        if exception is not first:
            self.nvic.pending.add(exception)
        return first

    # ------------------------------------------------------------ return

    def _return(self, ending: State, exc_return: int) -> int:
        """A handler branched to an EXC_RETURN value (B1.5.8, ExceptionReturn)."""
        nvic, frames, exception = self.nvic, self.frames, ending[0] & 0x1FF
        was_active = exception in nvic.active
        if ending[FAULTMASK] and exception != n.NMI and self.cortex.is_mainline:
            frames.clear_faultmask()
        nvic.finish(exception)
        self.event, self.changed = True, bool(nvic.pending)
        to_thread = bool(exc_return & 8)
        bad = (
            not was_active
            or not (exc_return in USUAL or frames.is_exc_return(exc_return, self.cortex))
            or (to_thread and nvic.active and not self.system.non_base_thread)
        )
        if bad:
            return self._bad_return(exc_return)
        for observer in self.observers:
            observer(Taken(exception, exc_return, self.clock.now, enters=False))
        if nvic.pending and self.interrupts() is Interrupts.READY:
            return self._start_handler(self._best, exc_return, exc_return)
        pc, status = frames.pop(exc_return, ending)
        if status == "UNSTKERR":
            fault = Fault(n.BUS_FAULT, status)
            return self._chained_fault(fault, exc_return)
        if status:
            return self._bad_return(exc_return)
        if to_thread and self.system.sleeps_on_exit:
            self.sleeps, self.changed, self._waits_for_event = True, True, False
        return pc

    def _bad_return(self, exc_return: int) -> int:
        """INVPC: the fault's handler starts as if tail-chained."""
        return self._chained_fault(Fault(n.USAGE_FAULT, "INVPC"), exc_return)

    def _chained_fault(self, fault: Fault, exc_return: int) -> int:
        if not self.cortex.is_mainline:
            fault = Fault(n.HARD_FAULT, fault.status)
        exception = self._escalated(fault, exc_return)
        self.nvic.pending.add(exception)
        return self._start_handler(self._most_urgent_of(exception), exc_return | 0xF000_0000, exc_return)

    # ------------------------------------------------------------ waiting, places

    def wakes(self) -> bool:
        if self._waits_for_event and self.event:
            self.event = False
            return True
        best = self.nvic.most_urgent()
        if best is None or not self.started:
            return False
        return self.nvic.urgency(best) < self.execution_priority(with_primask=False)

    def after_wait(self, stop: Stop) -> int:
        narrow = self.memory.read(stop.pc, 2)
        code = narrow if narrow[1] == 0xBF else self.memory.read(stop.pc, 4)
        self._waits_for_event = code in _WFE
        return stop.pc + len(code) | 1

    def code_address(self, pc: int) -> int:
        return pc & ~1


__all__ = ["LOWEST", "CortexM", "Taken"]
