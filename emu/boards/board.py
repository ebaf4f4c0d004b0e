"""A board: a CPU, memory and devices at fixed addresses, and no operating system.

    board = Board(
        "cortex-m3",
        memory=[Rom(0x0000_0000, 64 << 10), Ram(0x2000_0000, 16 << 10)],
        devices={0x4000_4000: Uart(irq=0)},
    )
    board.load("firmware.elf")
    board.reset()
    board.run(max_instructions=100_000)
    board.call("checksum", "unsigned(void *, unsigned)", 0x2000_0000, 16)

A board is the personality of a machine (`board.machine`, or `Machine(arch, os=board)`): modules are loaded,
called, patched and unloaded with that as everywhere else, see `emu.machine`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from emu.boards.bus import Bus, SystemBus
from emu.boards.clock import Clock
from emu.boards.device import Device, nowhere
from emu.boards.errors import BoardError, FirmwareError
from emu.boards.execution import BoardStopped, Execution
from emu.boards.firmware import Firmware, check_start
from emu.boards.firmware_files import read_firmware
from emu.boards.mapping import keep_alike
from emu.boards.memory_map import Region, check, check_kinds, check_layout, check_ports, device_pages, hold
from emu.boards.models import profile_for
from emu.cpu.create import create_device_cpu
from emu.errors import BudgetExceeded, Frame
from emu.memory.guest_memory import GuestMemory
from emu.personality import Personality
from emu.ports import Layout
from relink.memory.address_space import HostMemory, Pages, Protection
from relink.records import cached_property
from relink.resolve.sources import DefinedSymbols

if TYPE_CHECKING:
    from emu.boards.profile import Profile
    from emu.cpu.protocol import Access, Cpu, DeviceCpu
    from emu.machine import Machine
    from emu.parts import Parts
    from relink.arch import Architecture
    from relink.arrays import Bools
    from relink.elf.names import Names
    from relink.resolve.sources import SymbolRequest


class Ended(enum.Enum):
    """Why `Board.run` returned."""

    LIMIT = "the instructions are used up"
    STOPPED = "a device or event called Board.stop"
    UNTIL = "the condition given as `until` is met"


class Board(Personality):
    """One board, for one machine.

    `cpu` is a name in `emu.boards.models`, or a `Profile`. `memory` and `devices` (by address) are its memory map,
    `ports` the devices by I/O port of a CPU that has them.
    Of a machine's own memory `window` (start, size) is where modules, the heap and thread-local storage go,
    `stack` where calls from Python have their stack (None: what the firmware has, see `load`), `traps` a range of
    unmapped addresses that stand for host functions; the CPU's profile has defaults for all three.

    Raises MemoryMapError, and BoardError for an unknown CPU or interrupt line.
    """

    def __init__(
        self,
        cpu: str | Profile,
        *,
        memory: Sequence[Region],
        devices: Mapping[int, Device] | None = None,
        ports: Mapping[int, Device] | None = None,
        window: tuple[int, int] | None = None,
        stack: tuple[int, int] | None = None,
        traps: tuple[int, int] | None = None,
        float_abi: str | None = None,
    ) -> None:
        if not isinstance(cpu, str) and not hasattr(cpu, "layout"):
            raise BoardError(f"the CPU of a board is a name or a Profile, not {cpu!r}")
        self.profile = profile_for(cpu) if isinstance(cpu, str) else cpu
        check_kinds(memory, {} if devices is None else devices, Device)
        self.devices = {**(devices or {}), **self.profile.devices()}
        for address in devices or {}:
            if address in self.profile.devices():
                raise BoardError(f"{address:#x} belongs to the CPU's own {self.devices[address].name}")
        self.regions = tuple(sorted(memory, key=lambda region: region.start))
        check(self.regions, self.devices, self.profile.address_mask)
        check_ports(ports or {}, self.profile.own_ports, self.profile.name, Device)
        self.ports = {**(ports or {}), **(self.profile.own_ports or {})}
        for device in self._all_devices():
            if device.irq is not None:
                self.profile.set_line(device.irq, False)  # raises for a line that the CPU does not have
        ours = self.profile.layout
        self.layout = Layout(traps or ours.traps, window or ours.window, stack or ours.stack, ours.code_bits)
        check_layout(self.layout, self.regions, self.profile.address_mask)
        self.firmware: Firmware | None = None  #: the last one loaded, see `load`
        self.profile.free_ram = self._free_ram()
        self.float_abi = float_abi
        self.resets = 0  #: number of resets, those by the guest included
        self._parts: Parts | None = None
        self._symbols = DefinedSymbols({})

    def _all_devices(self) -> Iterator[Device]:
        yield from self.devices.values()
        yield from self.ports.values()

    # ------------------------------------------------------------ the machine

    def machine_for(self, **options: Any) -> Machine:
        """The machine of this board, with options of `Machine`. Raises BoardError when there is one already."""
        from emu.machine import Machine

        defaults: dict[str, Any] = {"stack_size": 64 << 10, "tls_size": 4096}
        if (float_abi := self.float_abi or self.profile.float_abi) is not None:
            defaults["float_abi"] = float_abi
        return Machine(self.profile.arch, os=self, **{**defaults, **options})

    @cached_property
    def machine(self) -> Machine:
        """The machine of this board; made at the first use, unless `Machine(arch, os=board)` has made it."""
        return self.machine_for()

    def cpu(self, arch: Architecture) -> Cpu:
        if self._parts is not None or "clock" in vars(self):
            raise BoardError("this board has a machine already")
        if arch.name != self.profile.arch:
            raise BoardError(f"{self.profile.name} is {self.profile.arch}, not {arch.name}")
        self._cpu: DeviceCpu = create_device_cpu(arch.name, self.profile.model)
        self.clock = Clock(self._cpu)  #: time in instructions, and events to come
        self.bus = Bus(self.devices)
        return self._cpu

    def execution(self, cpu: Cpu) -> Execution:
        self._execution = Execution(self._cpu, self.clock, self.bus, self.profile)
        self._execution.reset = self._reset
        return self._execution

    def _free_ram(self, firmware: Firmware | None = None) -> tuple[int, int]:
        """The part of the last RAM that the firmware does not use."""
        ram = next((region for region in reversed(self.regions) if region.protection & Protection.W), None)
        if ram is None:
            return 0, 0
        taken = firmware.extents if firmware is not None else ()
        ends = [address + size for address, size in taken if ram.start <= address < ram.end]
        return -(-max(ends, default=ram.start) // 16) * 16, ram.end

    def map_memory(self, memory: HostMemory) -> None:
        assert isinstance(memory, GuestMemory)
        for region in self.regions:
            mapped = memory.reserve(region.size, at=region.start, name=region.name)
            if region.contents is not None:
                mapped.buffer, mapped.foreign = region.contents, True
            elif region.erased:
                mapped.buffer[:] = region.erased
            memory.publish(mapped, [Pages(0, region.size, region.protection)])
            if region.flash is not None:
                keep_alike(memory, self._cpu, region.flash, region.start)
        for low, high in device_pages(self.devices):
            memory.reserve(high - low, at=low, name="devices")
            self._cpu.map_device(low, high - low, self.bus)
        if self.ports:
            self.profile.set_ports(self.ports)
        self.profile.connect(self._cpu, memory, self.clock, self.stop)
        bus = SystemBus(self.bus, self._cpu)
        for address, device in (*self.devices.items(), *self.ports.items()):
            line = partial(self.profile.set_line, device.irq) if device.irq is not None else nowhere
            device.connect(self.clock, address, line, bus)

    def attach(self, parts: Parts) -> None:
        self._parts = parts
        self._execution.perform = self._perform
        parts.runner.at_call = self._interrupt
        parts.linker.resolver.after.append(self)
        parts.symbolizer.others.append(self._frame)

    def _perform(self, access: Access) -> int:
        """An access of a device that calls the guest."""
        runner = self._attached.runner
        runner.in_host = runner.between_instructions = True
        try:
            return self.bus.perform(access)
        finally:
            runner.in_host = runner.between_instructions = False

    @property
    def _attached(self) -> Parts:
        if self._parts is None:
            self.machine  # noqa: B018 (makes it)
        assert self._parts is not None
        return self._parts

    # ------------------------------------------------------------ firmware

    def load(
        self, source: str | PathLike[str] | bytes | bytearray | memoryview | Firmware, *, at: int | None = None
    ) -> Firmware:
        """Write a firmware into memory: an ELF executable, a hex file, or raw bytes for the address `at`. Flash
        models get it as by `Flash.preset`.

        Its symbols are those of `call` and of modules loaded afterwards; a file of bytes alone leaves those of the
        one before. Raises FirmwareError, with the board as it was: for a damaged file, code of another CPU, and
        where the board has no memory.
        """
        firmware = source if isinstance(source, Firmware) else read_firmware(source, at=at)
        self.profile.check_firmware(firmware)
        self._check_float_abi(firmware)
        if not any(data for _, data in firmware.pieces):
            raise FirmwareError(f"{firmware.name} has nothing to load")
        for address, data in firmware.pieces:
            if not hold(self.regions, address, len(data)):
                where = f"[{address:#x}, {address + len(data):#x})"
                raise FirmwareError(f"{firmware.name}: no memory of the board holds {where}")
        free, symbols = self._free_ram(firmware), DefinedSymbols(firmware.addresses)
        if self._parts is None:
            self.float_abi = self.float_abi or firmware.float_abi
        memory = self._attached.memory
        for address, data in firmware.pieces:
            memory.write(address, data)
        if self.firmware is None or not firmware.is_bytes:
            self.firmware, self._symbols, self.profile.free_ram = firmware, symbols, free
            self.profile.loaded(firmware)
        return firmware

    def _check_float_abi(self, firmware: Firmware) -> None:
        theirs = firmware.float_abi
        ours = self.float_abi or theirs if self._parts is None else self._parts.convention.float_abi.value
        if theirs is not None and theirs != ours:
            raise FirmwareError(f"{firmware.name} passes floating-point values as {theirs}, the board as {ours}")

    def lookup(self, request: SymbolRequest) -> int | None:
        """The firmware's symbols, for modules (a `relink` symbol source)."""
        return self._symbols.lookup(request)

    def may_know(self, names: Names) -> Bools | None:
        return self._symbols.may_know(names)

    def address_of(self, name: str | int) -> int:
        """The address of a symbol of the firmware. Raises FirmwareError."""
        if isinstance(name, int):
            return name
        if self.firmware is None:
            raise FirmwareError(f"no firmware is loaded that could have {name!r}")
        return self.firmware.symbol(name).address

    def _frame(self, address: int) -> Frame | None:
        firmware = self.firmware
        if firmware is None or (symbol := firmware.symbol_at(address)) is None:
            return None
        return Frame(address, firmware.name, symbol.name, address - symbol.start)

    # ------------------------------------------------------------ running

    def reset(self, *, entry: str | int | None = None, stack: int | None = None) -> None:
        """Reset the CPU and all devices; `run` then starts the firmware. Memory keeps its contents.

        With `entry`, a symbol or an address, it starts there with `stack` (the end of the last RAM by default),
        for programs without a vector table. Raises FirmwareError.
        """
        if stack is not None and entry is None:
            raise FirmwareError("`stack` needs an `entry`: without it a reset takes both from the firmware")
        with self._attached.runner.used():
            execution = self._execution
            torn, execution.torn = execution.torn, True  # until it is complete
            try:
                execution.pc = self._reset() if entry is None else self._start(self.address_of(entry), stack)
            except FirmwareError:
                execution.torn = torn
                raise
            self._attached.runner.unfinished, execution.torn = None, False

    def _start(self, entry: int, stack: int | None) -> int:
        if stack is None and not (stack := self.profile.free_ram[1]):
            raise FirmwareError("there is no RAM for a stack")
        check_start(entry, stack, self.profile.address_mask)
        self._reset_devices()
        return self.profile.start(entry, stack)

    def _reset(self) -> int:
        self._reset_devices()
        return self.profile.reset()

    def _reset_devices(self) -> None:
        for device in self._all_devices():
            device.reset()
        self.resets += 1

    def request_reset(self) -> None:
        """In a device or event: reset the board after the current instruction."""
        self.profile.resetting = True
        if self._cpu.in_access:
            self._cpu.pause()

    def power_cycle(self, fill: int = 0) -> None:
        """Switch the board off and on: RAM is lost (every byte is `fill`), other memory is kept.
        Raises BoardError, with everything as it was, for a `fill` that is no byte.
        """
        if not (isinstance(fill, int) and 0 <= fill < 256):
            raise BoardError(f"the byte that fills RAM is a number from 0 to 255, not {fill!r}")
        memory = self._attached.memory
        self._execution.torn = True
        for region in self.regions:
            if region.protection & Protection.W and region.contents is None:
                memory.write(region.start, bytes((fill,)) * region.size)
        self.reset()

    def stop(self) -> None:
        """In a device or event: end `run` after the current instruction."""
        self._execution.stopping = True
        if self._cpu.in_access:
            self._cpu.pause()

    def run(
        self,
        *,
        until: Callable[[], bool] | str | int | None = None,
        max_instructions: int | None = None,
        timeout: float | None = None,
    ) -> Ended:
        """Run the firmware from where it is, after `reset` from its start.

        `until` is a symbol or an address at which to stop, before its instruction; or a function that is asked
        whenever the engine is between two pieces of the run (after events and interrupts). Raises
        what devices and events raise, GuestFault, Deadlock, Lockup, NotModelled, and BudgetExceeded for `timeout`.
        The firmware can continue after all of them, unless a signal handler raised in the CPU's model: PlaceLost.
        """
        execution, parts = self._execution_ready(), self._attached
        if isinstance(until, str | int):
            return self._run_to(self.profile.code_address(self.address_of(until)), max_instructions, timeout)
        execution.until = until
        self.profile.in_run = True
        try:
            parts.runner.run_program(execution.pc, {}, max_instructions, timeout)
        except BoardStopped:
            return Ended.UNTIL if until is not None and until() else Ended.STOPPED
        except BudgetExceeded as error:
            place = error.frame.address  # after a host function the machine knows where the guest continues
            if self.profile.code_address(place) != self.profile.code_address(execution.pc):
                execution.pc = place
            if max_instructions is None or not error.limit.endswith("instructions"):
                raise
        finally:
            execution.until = None
            self.profile.in_run = False
        return Ended.LIMIT

    def _run_to(self, address: int, max_instructions: int | None, timeout: float | None) -> Ended:
        """Run up to the instruction at an address; one that is there runs first."""
        if self.profile.code_address(self.pc) == address:
            self._cpu.events.pass_over(self.pc)
        with self.machine.breakpoint(address, action=lambda hit: self.stop()) as place:
            ended = self.run(max_instructions=max_instructions, timeout=timeout)
            return Ended.UNTIL if place.hits and ended is Ended.STOPPED else ended

    def _execution_ready(self) -> Execution:
        self._attached.runner.finish()
        if not self.resets:
            raise BoardError("the board was never reset, so its firmware has no place to run from: call reset()")
        return self._execution

    @property
    def pc(self) -> int:
        """Where the firmware continues."""
        return self._execution_ready().pc

    def call(self, function: str | int, prototype: str, *args: object, **limits: Any) -> Any:
        """Call a function of the firmware, by name or address, on the stack of the firmware below what is in use;
        see `Machine.call`. After any call from Python, a firmware that was running continues as if nothing had
        happened to its registers.
        """
        return self.machine.call(self.address_of(function), prototype, *args, **limits)

    def _interrupt(self) -> None:
        """Keep the registers of a firmware that was running, and its stack, during a call."""
        cpu, stack = self._cpu, self._attached.stack
        before = top = stack.top
        pc, context = self._execution.pc, cpu.save()
        if self.layout.stack is None:
            if self.resets:
                top = cpu.read_register("sp") & -16
            else:
                top = self.profile.initial_stack() or before

        def finish() -> None:
            stack.top = before
            cpu.restore(context)
            cpu.continue_at(pc)
            self._execution.pc = pc

        self._attached.runner.unfinished = finish
        stack.top = top
