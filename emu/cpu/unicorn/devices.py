"""Memory-mapped devices on Unicorn.

`uc_mmio_map` calls a function for each access, in the middle of an instruction. Unicorn knows the place of that
instruction only where a hook is called for the access too. A hook on accesses, in whatever range, would make all
loads and stores of the guest slow (`tcg_uc_has_hookmem`: none may use the TLB). So devices are mapped without
permissions, and the hook is one on forbidden accesses, which permits them. It is machine code which stores the
address and size of the access, because unaligned accesses call the function for each aligned part.

`uc_emu_stop` in such a call ends the run inside the instruction: it has made this access and perhaps others, but
not all of its effects are there (verified; docs/stops.md). So the call first saves all registers, which are those
before the instruction, and they are restored when the engine has returned. To finish the instruction it runs
again, and its accesses so far, which are kept, are answered from memory.

An instruction in a run is known by its address and by the budget of `emu.cpu.hooks.meter`, which falls at each
block.

Python runs signal handlers at the start of a call, before anything can catch what they raise; ctypes then reports
it to `sys.unraisablehook`. So this hook is set during runs, ends the run, and the exception leaves it.
"""

from __future__ import annotations

import ctypes
import sys
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import starmap
from typing import Any, Final, NoReturn, TypeAlias

from emu.cpu.hooks.first_call_hook import FirstCalls
from emu.cpu.hooks.inspector import Inspector
from emu.cpu.hooks.limit_hooks import LimitHooks
from emu.cpu.hooks.stop_hook import AccessPlace, StopRequest, access_hook, stop_hook
from emu.cpu.misrun import Finder
from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Access, Deferred, DevicePort, NoDevice, Stop, StopReason
from emu.cpu.unicorn import api
from emu.cpu.unicorn.api import reg_read
from emu.cpu.unicorn.isas import CPSR_IT
from emu.cpu.unicorn.limits import UnicornLimits
from emu.cpu.unicorn.watched import Watched
from relink.errors import AddressSpaceError, MachineError

_READ = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint, ctypes.c_size_t)
_WRITE = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_size_t)
_Made: TypeAlias = tuple[bool, int, int]  #: (write, address, value) of an access that was made
_MASKS: Final = {size: (1 << 8 * size) - 1 for size in (1, 2, 4, 8)}
_ONCE: Final = ((),)  #: arguments for one call
EVER: Final = 1 << 62  #: the limit of a run without one: devices need the counter


class _Windows:
    """The calls of one engine. `request` is that of its meter."""

    def __init__(
        self,
        handle: ctypes.c_void_p,
        pc_slot: tuple[int, Any, Any],
        cpsr_slot: tuple[int, Any, Any] | None,
        request: StopRequest,
    ) -> None:
        self._handle, self._request, self._cpsr_slot = handle, request, cpsr_slot
        self._pc_number, self._pc, self._pc_reference = pc_slot
        self._registers = api.Context(handle)
        self.place = AccessPlace()  #: written by the hook on memory accesses
        self._budget = self._at = 0  #: the budget and the address of the instruction that made the last access
        self._made: list[_Made] = []  #: accesses of that instruction
        self._answers: deque[_Made] = deque()  #: of an instruction that runs again
        self._pausing = False
        self.deferred: Access | None = None
        self.inside = False
        self.otherwise: Callable[[Any], object] = sys.unraisablehook  #: what is set outside runs
        self.ended_by: BaseException | None = None  #: why a call has ended the run
        self.held: BaseException | None = None  #: what a signal handler raised while the engine ran
        self.access: Access | None = None  #: the last access
        self._first_calls: FirstCalls | None = None

    def call(self, port: DevicePort, write: bool, address: int, size: int, value: int) -> int:
        """One access of the guest; the value for a read."""
        if self.ended_by is not None:  # the engine stops only after an IT block, which will run again
            return 0
        value = self._call(port, write, address, size, value)
        if self._cpsr_slot is not None and self.ended_by is None:
            self._leave_it_block(*self._cpsr_slot)
        return value

    def _leave_it_block(self, number: int, cpsr: Any, reference: Any) -> None:
        """Arm: clear the state of the IT block that the engine has noted with the place of the instruction.

        Translated code takes it as clear until the block of code ends; otherwise instructions after an IT block
        with an access would be conditional.
        """
        reg_read(self._handle, number, reference)
        if cpsr.value & CPSR_IT:
            cpsr.value &= ~CPSR_IT
            api.reg_write(self._handle, number, reference)

    def _call(self, port: DevicePort, write: bool, address: int, size: int, value: int) -> int:
        reg_read(self._handle, self._pc_number, self._pc_reference)
        budget, pc, made = self._request.budget, self._pc.value, self._made
        if budget != self._budget or pc != self._at:
            self._budget, self._at = budget, pc
            made.clear()
        if self._answers:
            known = self._answers.popleft()
            if known[:2] == (write, address):
                made.append(known)
                return known[2]
            self._answers.clear()
        self.inside = True
        try:
            place = self.place
            if place.size and place.address & place.size - 1:  # this is one of its parts
                port.unaligned(write, place.address, place.size)
            else:
                place.size = 0
            if write:
                port.write(address, size, value)
            else:
                value = port.read(address, size) & _MASKS[size]
            made += [(write, address, value)]  # without a call, so that no signal handler comes before
        except BaseException as error:
            self.end(error, Access(write, address, size, value))
            return 0
        finally:
            self.inside = False
            if self._first_calls is not None:  # what they follow from may have changed: the next run checks it
                self._first_calls.close()
        if self._pausing:
            self.end(Deferred(), None)
        return value

    def end(self, error: BaseException, access: Access | None) -> None:
        """End the run with all registers as they are, which is before the instruction."""
        if self.ended_by is None:
            api.uclib.uc_context_save(self._handle, self._registers.pointer)
            self.ended_by, self.access = error, access
        api.uclib.uc_emu_stop(self._handle)

    def catch(self, unraisable: Any) -> None:
        """Called by ctypes with what a signal handler raised (`sys.unraisablehook`)."""
        if "ctypes callback" not in str(unraisable.err_msg) or unraisable.exc_value is None:
            self.otherwise(unraisable)
        else:
            self.end(unraisable.exc_value, None)

    def pause(self) -> None:
        self._pausing = True

    def restore(self) -> None:
        """After a run that a call has ended: the registers before the instruction; keep its accesses so far."""
        api.uclib.uc_context_restore(self._handle, self._registers.pointer)
        self._answers.extend(self._made)
        self._budget = self.place.size = 0
        self._made.clear()

    def begin(self, first_calls: FirstCalls | None) -> None:
        """A run begins; exceptions of signal handlers in devices' calls end it. Such a call ends the binding of
        `first_calls` inside the engine.
        """
        self._first_calls = first_calls
        self.otherwise, sys.unraisablehook = sys.unraisablehook, self.catch
        if self._made or self.ended_by is not None:
            self._pausing, self.ended_by, self._budget = False, None, 0
            self._made.clear()

    def finish(self) -> None:
        """A run is over, and the hook for exceptions no longer set. Unless a call has ended the run, answers that
        were left are of an instruction that is done.
        """
        if self._answers and self.ended_by is None:
            self._answers.clear()

    def forget(self) -> None:
        """The guest will not continue from where it was."""
        self._answers.clear()
        self.deferred = None

    def repeats(self, pc: int) -> bool:
        """Keep the accesses of the instruction at `pc`, which will run again; whether there are any."""
        if not self._made or self._at != pc:
            return False
        self._answers.extend(self._made)
        self._made.clear()
        return True

    def answer(self, access: Access) -> None:
        self._answers.append((access.write, access.address, access.value))


def _call_signal_handlers() -> None:
    """The interpreter calls those of pending signals where a function begins."""


def _calls(windows: _Windows, port: DevicePort, base: int) -> tuple[Any, Any]:
    """The two functions for Unicorn. The engine must not keep its CPU alive, which the port may know."""
    the_windows, the_port = weakref.ref(windows), weakref.ref(port)

    def read(_engine: int, offset: int, size: int, _data: int) -> int:
        windows, port = the_windows(), the_port()
        return 0 if windows is None or port is None else windows.call(port, False, base + offset, size, 0)

    def write(_engine: int, offset: int, size: int, value: int, _data: int) -> None:
        windows, port = the_windows(), the_port()
        if windows is not None and port is not None:
            windows.call(port, True, base + offset, size, value)

    return _READ(read), _WRITE(write)


class UnicornDevices(UnicornLimits):
    """The part of a `UnicornCpu` for devices: the protocol `DeviceCpu`."""

    _windows: _Windows | None = None
    _first_calls: FirstCalls | None
    _cuts: int  #: of `_limit_hooks`
    _unlimited = 0  #: the limit of runs without one: with devices all are counted
    _ports: list[DevicePort]
    _kept: list[object]  #: what the engine refers to
    kept: tuple[object, Stop] | None = None
    _statuses: list[int]  #: of the engine, one

    @property
    def deferred(self) -> Access | None:
        return None if self._windows is None else self._windows.deferred

    @property
    def in_access(self) -> bool:
        return self.in_misrun or (self._windows is not None and self._windows.inside)

    def map_device(self, address: int, size: int, port: DevicePort) -> None:
        """See `DeviceCpu.map_device`. Raises AddressSpaceError, MachineError on a host that cannot count."""
        windows = self.count_always()
        if address % PAGE_SIZE or size % PAGE_SIZE or size <= 0:
            raise AddressSpaceError("devices are mapped in whole pages", address=address, size=size)
        self._isa.check_reach(address, size)
        read, write = _calls(windows, port, address)
        self._kept += read, write  # first: a signal handler may raise right after the engine has them
        status = api.uclib.uc_mmio_map(
            self._handle, ctypes.c_uint64(address), ctypes.c_size_t(size), read, None, write, None
        )
        api.check(status, "map a device", address, size)
        self._ports.append(port)
        status = api.uclib.uc_mem_protect(self._handle, ctypes.c_uint64(address), ctypes.c_size_t(size), 0)
        api.check(status, "protect a device", address, size)
        kinds = api.uc.UC_HOOK_MEM_READ_PROT | api.uc.UC_HOOK_MEM_WRITE_PROT
        hook, place = ctypes.c_void_p(access_hook()), ctypes.byref(windows.place)
        api.add_hook(self._handle, kinds, hook, place, place=(address, address + size - 1))
        self._stores.record_all()

    def count_always(self) -> _Windows:
        """See `DeviceCpu.count_always`."""
        self._need_hook("the time of devices")
        self._late.end()
        if self._windows is None:
            cpsr = self._slots["cpsr"] if self._interworking else None
            self._windows, self._ports = _Windows(self._handle, self._pc_slot, cpsr, self._look), []
            self._statuses = []
            self._kept.append(self._windows.place)
            self._unlimited, self.has_devices = EVER, True
            self._quick = self._code_pages is None and not self._every
            self._limit_hooks = LimitHooks(self._hook_instruction, self._translate_again, self.read)
            self._cuts = self._limit_hooks.cuts
            self._metered(EVER).knows_all = not self._watch.runs
        return self._windows

    def inspect(self, find: Finder) -> None:
        """See `DeviceCpu.inspect`."""
        hook = self._need_hook("an inspection of code")
        if self._watched is None:
            self._watched = Watched(self._handle, hook, self._slots, self._look)
        self._watched.stop_at_all()
        self._inspector = Inspector(find, self._watched, self.read, align=2 if self._interworking else 1)

    def inspect_again(self) -> None:
        if self._inspector is not None:
            self._inspector.find_again()
        self.drop_all_translations()

    @abstractmethod
    def drop_all_translations(self) -> None:
        """Have all code translated again."""

    def _hook_instruction(self, address: int) -> StopRequest:
        request = api.stop_request()
        self._kept.append(request)
        hook = ctypes.c_void_p(stop_hook())
        api.add_hook(self._handle, api.uc.UC_HOOK_CODE, hook, ctypes.byref(request), place=(address, address))
        return request

    def _translate_again(self, low: int, high: int) -> None:
        api.control(self._handle, api.uc.UC_CTL_TB_REMOVE_CACHE, low, high)

    def _device_stop(self, windows: _Windows) -> Stop:
        """The Stop of a run that a device's call has ended. Raises what the call has raised."""
        windows.restore()
        self._at_stop = None
        error, access = windows.ended_by, windows.access
        pc = self.read_register("pc") & ~self._thumb_bit()
        assert self._meter is not None
        self._meter.interrupted(pc, bool(self.code_state))
        windows.deferred = None
        if isinstance(error, NoDevice):
            assert access is not None
            reason = StopReason.WRITE_UNMAPPED if access.write else StopReason.READ_UNMAPPED
            return Stop(reason, pc, access.address)
        if isinstance(error, Deferred):
            windows.deferred = access
            return Stop(StopReason.DEVICE, pc, None if access is None else access.address)
        assert error is not None
        windows.forget()
        stop = Stop(StopReason.INSTRUCTION_LIMIT, pc)
        if self._observed is not None:
            self._observed.left(pc)
        self.kept = error, stop
        raise error

    def repeats_accesses(self, pc: int) -> bool:
        return self._windows is not None and self._windows.repeats(pc)

    def answer(self, value: int) -> None:
        assert self._windows is not None
        assert self._windows.deferred is not None
        self._windows.answer(self._windows.deferred._replace(value=value))
        self._windows.deferred = None

    def pause(self) -> None:
        if self.in_misrun:
            self.pausing = True
        else:
            self._in_call().pause()

    def end_after(self, instructions: int) -> None:
        if self.in_misrun:
            self.pausing = True
            return
        windows = self._in_call()
        assert self._meter is not None
        if not self._meter.shorten(instructions):
            windows.pause()

    def run_on(self) -> None:
        if not self.in_misrun:
            self.stops_at_blocks, self._look.left = False, self._every

    def position(self) -> int:
        if not self._running or self._meter is None:
            raise MachineError("the guest does not run, so it is at no instruction")
        _, pc, _ = self._pc_slot
        return self._meter.position(pc.value, bool(self._interworking and self._thumb_bit()))

    def _in_call(self) -> _Windows:
        if self._windows is None or not self._windows.inside:
            raise MachineError("only a device can do this, during an access of the guest")
        return self._windows

    def _enter_with_devices(self, pc: int) -> tuple[int, int]:
        windows = self._windows
        assert windows is not None
        try:
            windows.begin(self._first_calls)
            return self._enter(pc)
        finally:
            if sys.unraisablehook == windows.catch:
                sys.unraisablehook = windows.otherwise  # without a call, in which a signal handler may raise
            windows.finish()

    # ------------------------------------------------------------ signal handlers

    def _start_engine(self) -> tuple[int, int]:
        return super()._start_engine() if self._windows is None else self._holding()

    def _holding(self) -> tuple[int, int]:
        """Run the engine, and return its status and the pc; see `kept`."""
        statuses, windows = self._statuses, self._windows
        assert windows is not None
        del statuses[:]
        self.kept = None
        try:
            statuses[:] = starmap(self._engine_run.run, _ONCE)  # which is stored before a signal handler is called
            _call_signal_handlers()
        except BaseException as error:
            if not statuses:
                raise
            windows.held = error
            self._look.left = 1  # as of a time limit that has passed
            self._watch.fired = True
        return statuses[0], self._unpack_place()

    def _let_go(self, stop: Stop) -> NoReturn:
        """Raise what has been held, at the end of a run that has come to `stop`."""
        windows = self._windows
        assert windows is not None
        assert windows.held is not None
        error, windows.held = windows.held, None
        self.kept = error, stop
        raise error
