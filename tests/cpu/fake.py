"""CPUs for tests: one without an engine, and one that records every crossing into another.

`FakeCpu` has real memory and registers, and instead of executing code follows a script: the n-th `run` performs
the n-th step. `RecordingCpu` wraps any `Cpu` and writes down each call with its
arguments, so that a test can state what a load or a guest call costs, or that it did not touch the guest at all:

    cpu = RecordingCpu(FakeCpu("riscv64"))
    ...
    assert cpu.crossings == []
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from emu.cpu.events import Events
from emu.cpu.hooks.first_call_hook import FirstCalls
from emu.cpu.hooks.heap_hook import HeapCalls
from emu.cpu.pages import PAGE_SIZE, PageMap, map_each
from emu.cpu.protocol import Cpu, CpuContext, Pages, Protection, Stop
from emu.cpu.unicorn.isas import ISAS
from relink.errors import AddressSpaceError

#: What the guest does in one run: changes registers and memory as it likes, and says how it stopped.
Step = Callable[["FakeCpu"], Stop]


@dataclass(frozen=True)
class _Registers(CpuContext):
    values: Mapping[str, int]


def _register_file(arch: str) -> tuple[Mapping[str, tuple[str, int]], tuple[str, ...]]:
    """Name -> (the register it is a name of, its bits), and the names worth printing."""
    if arch == "loongarch64":
        from emu.cpu.loongarch64.registers import ALIASES, INTEGER_REGISTERS

        return {name: (register, 64) for name, register in ALIASES.items()}, (*INTEGER_REGISTERS, "pc")
    isa = ISAS[arch]
    return {name: (constant, 8 * size) for name, (constant, size) in isa.names.items()}, isa.printed


class FakeCpu:
    """A `Cpu` without an engine. Registers start at zero; aliases agree, overlapping registers do not."""

    page_size = page_cost = PAGE_SIZE
    shares_memory = True
    executed = 0
    heap_calls = first_calls = None

    def __init__(self, arch: str, script: Iterable[Step] = ()) -> None:
        self.arch = arch
        self.script = deque(script)
        self.closed = False
        self._names, self.registers = _register_file(arch)
        self._values: dict[str, int] = {}
        self._pages = PageMap()
        self._traps = range(0)

    @property
    def events(self) -> Events:
        raise NotImplementedError("a fake has no events")

    @property
    def native(self) -> None:
        """No engine."""

    def set_trap_range(self, start: int, size: int) -> None:
        self._traps = range(start, start + size)

    def map(
        self, address: int, size: int, protection: Protection, buffer: NDArray[np.uint8], *, zeroed: bool = False
    ) -> None:
        if buffer.nbytes != size:
            raise AddressSpaceError("the buffer does not fit the mapping", address=address, size=size)
        if self._traps and address < self._traps.stop and self._traps.start < address + size:
            raise AddressSpaceError("mapping overlaps the trap range", address=address, size=size)
        self._pages.add(address, buffer.data, protection)

    def map_all(self, regions: Sequence[tuple[int, NDArray[np.uint8], Sequence[Pages]]]) -> None:
        map_each(self.map, regions)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        self._pages.protect(address, size, protection)

    def unmap(self, address: int, size: int) -> None:
        self._pages.remove(address, size)

    def read(self, address: int, size: int) -> bytes:
        return self._pages.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._pages.write(address, data)

    def load(self, address: int, size: int) -> bytes:
        return self._pages.read(address, size, Protection.R)

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._pages.write(address, data, Protection.W)

    def extent(self, address: int, needed: Protection) -> int:
        return self._pages.extent(address, needed)

    def protection_at(self, address: int) -> Protection | None:
        """The permissions of a mapped address; None where nothing is mapped."""
        piece = self._pages.at(address)
        return None if piece is None else piece.protection

    def read_register(self, name: str) -> int:
        return self._values.get(self._names[name][0], 0)

    def write_register(self, name: str, value: int) -> None:
        register, bits = self._names[name]
        self._values[register] = value & (1 << bits) - 1

    def read_registers(self, names: Sequence[str]) -> list[int]:
        return [self.read_register(name) for name in names]

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        for name, value in dict(values).items():
            self.write_register(name, value)

    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        self.write_registers(zip(names, values, strict=True))

    def set_thread_pointer(self, address: int) -> None:
        self._values["thread pointer"] = address

    @property
    def thread_pointer(self) -> int:
        return self._values.get("thread pointer", 0)

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        """Perform the next step of the script, with `pc` set. Raises AssertionError if there is none left."""
        if not self.script:
            raise AssertionError(f"the guest was run at {pc:#x}, and the script has nothing left")
        self.write_register("pc", pc)
        stop = self.script.popleft()(self)
        self.write_register("pc", stop.pc)
        return stop

    def step(self, pc: int) -> Stop:
        return self.run(pc)

    def discontinue(self, *, outermost: bool) -> None:
        return

    def save(self) -> CpuContext:
        return _Registers(dict(self._values))

    def restore(self, context: CpuContext) -> None:
        assert isinstance(context, _Registers)
        self._values = dict(context.values)

    def save_state(self) -> object:
        return self.save()

    def restore_state(self, state: object) -> None:
        self.restore(cast(_Registers, state))

    def register_values(self) -> list[int]:
        return list(self._values.values())

    def set_register_values(self, values: Sequence[int]) -> None:
        self._values = dict(zip(self._values, values, strict=True))

    def take_host_writes(self) -> list[tuple[int, int]]:
        return []

    def written(self) -> dict[int, bytes]:
        return {}

    def settle(self, contents: Iterable[tuple[int, bytes]]) -> None:
        return

    def forget(self, address: int, size: int) -> None:
        return

    def close(self) -> None:
        self.closed = True


class Crossing(NamedTuple):
    """One call into the engine."""

    operation: str  #: the name of the `Cpu` method
    arguments: tuple[object, ...]  #: as given; buffers and written bytes as their length


class RecordingCpu:
    """Any `Cpu`, with each call written to `crossings`."""

    def __init__(self, inner: Cpu) -> None:
        self.inner = inner
        self.crossings: list[Crossing] = []
        self.arch, self.page_size, self.page_cost = inner.arch, inner.page_size, inner.page_cost
        self.shares_memory, self.registers = inner.shares_memory, inner.registers

    @property
    def executed(self) -> int:
        return self.inner.executed

    @executed.setter
    def executed(self, number: int) -> None:
        self.inner.executed = number

    @property
    def events(self) -> Events:
        return self.inner.events

    @property
    def heap_calls(self) -> HeapCalls | None:
        return self.inner.heap_calls

    @property
    def first_calls(self) -> FirstCalls | None:
        return self.inner.first_calls

    @property
    def native(self) -> Any:
        return self.inner.native

    def counts(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(crossing.operation for crossing in self.crossings)

    def _note(self, operation: str, *arguments: object) -> None:
        self.crossings.append(Crossing(operation, arguments))

    def set_trap_range(self, start: int, size: int) -> None:
        self._note("set_trap_range", start, size)
        self.inner.set_trap_range(start, size)

    def map(
        self, address: int, size: int, protection: Protection, buffer: NDArray[np.uint8], *, zeroed: bool = False
    ) -> None:
        self._note("map", address, size, protection, buffer.nbytes)
        self.inner.map(address, size, protection, buffer, zeroed=zeroed)

    def map_all(self, regions: Sequence[tuple[int, NDArray[np.uint8], Sequence[Pages]]]) -> None:
        map_each(self.map, regions)

    def protect(self, address: int, size: int, protection: Protection) -> None:
        self._note("protect", address, size, protection)
        self.inner.protect(address, size, protection)

    def unmap(self, address: int, size: int) -> None:
        self._note("unmap", address, size)
        self.inner.unmap(address, size)

    def read(self, address: int, size: int) -> bytes:
        self._note("read", address, size)
        return self.inner.read(address, size)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._note("write", address, memoryview(data).nbytes)
        self.inner.write(address, data)

    def load(self, address: int, size: int) -> bytes:
        self._note("load", address, size)
        return self.inner.load(address, size)

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self._note("store", address, memoryview(data).nbytes)
        self.inner.store(address, data)

    def extent(self, address: int, needed: Protection) -> int:
        self._note("extent", address)
        return self.inner.extent(address, needed)

    def read_register(self, name: str) -> int:
        self._note("read_register", name)
        return self.inner.read_register(name)

    def write_register(self, name: str, value: int) -> None:
        self._note("write_register", name, value)
        self.inner.write_register(name, value)

    def read_registers(self, names: Sequence[str]) -> list[int]:
        self._note("read_registers", tuple(names))
        return self.inner.read_registers(names)

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        pairs = dict(values)
        self._note("write_registers", tuple(pairs.items()))
        self.inner.write_registers(pairs)

    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        self._note("set_registers", tuple(zip(names, values, strict=True)))
        self.inner.set_registers(names, values)

    def set_thread_pointer(self, address: int) -> None:
        self._note("set_thread_pointer", address)
        self.inner.set_thread_pointer(address)

    def run(self, pc: int, *, max_instructions: int = 0, timeout: float = 0.0) -> Stop:
        self._note("run", pc)
        return self.inner.run(pc, max_instructions=max_instructions, timeout=timeout)

    def step(self, pc: int) -> Stop:
        self._note("step", pc)
        return self.inner.step(pc)

    def discontinue(self, *, outermost: bool) -> None:
        self._note("discontinue")
        self.inner.discontinue(outermost=outermost)

    def save(self) -> CpuContext:
        self._note("save")
        return self.inner.save()

    def restore(self, context: CpuContext) -> None:
        self._note("restore")
        self.inner.restore(context)

    def save_state(self) -> object:
        self._note("save_state")
        return self.inner.save_state()

    def restore_state(self, state: object) -> None:
        self._note("restore_state")
        self.inner.restore_state(state)

    def register_values(self) -> list[int]:
        return self.inner.register_values()

    def set_register_values(self, values: Sequence[int]) -> None:
        self.inner.set_register_values(values)

    def take_host_writes(self) -> list[tuple[int, int]]:
        return self.inner.take_host_writes()

    def written(self) -> Mapping[int, bytes]:
        return self.inner.written()

    def settle(self, contents: Iterable[tuple[int, bytes]]) -> None:
        self.inner.settle(contents)

    def forget(self, address: int, size: int) -> None:
        self._note("forget", address, size)
        self.inner.forget(address, size)

    def close(self) -> None:
        self._note("close")
        self.inner.close()
