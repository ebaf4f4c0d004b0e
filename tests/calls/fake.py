"""A machine without a CPU: registers in a dictionary, memory in a bytearray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from emu.isa.registry import convention

TOP = 0x4_0000  #: where the stack begins
HEAP = 0x10_0000
RETURN_TO = 0x1234_5678


class FakeMachine:
    """What `emu.calls.plan` needs, and no more. `heap` never reuses an address and counts live blocks."""

    def __init__(self, arch: str) -> None:
        self.rules = convention(arch)
        self.registers: dict[str, int] = {"fpsw": 0, "fptag": 0xFFFF}
        self.bytes = bytearray(0x40_0000)
        self.live: dict[int, int] = {}
        self._next = HEAP
        self.cpu: Any = self
        self.callbacks: Any = None
        self.depth, self.lent = 1, list[Any]()
        self.memory: Any = self
        self.heap: Any = SimpleNamespace(malloc=self._malloc, free=self.live.pop)

    def _malloc(self, size: int) -> int:
        address, self._next = self._next, self._next + size
        self.live[address] = size
        return address

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.bytes[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.bytes[address : address + len(data)] = data

    def read_register(self, name: str) -> int:
        return self.registers.get(name, 0)

    def write_register(self, name: str, value: int) -> None:
        self.registers[name] = value

    def read_registers(self, names: Sequence[str]) -> list[int]:
        return [self.registers.get(name, 0) for name in names]

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        self.registers |= dict(values)

    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        self.write_registers(zip(names, values, strict=True))

    def enter(self, plan: Any, *args: object) -> Any:
        """Do what the machine does up to the function's first instruction."""
        entry = plan.enter(self, args, TOP, RETURN_TO)
        self.write(entry.sp, entry.stack)
        self.set_registers(entry.names, entry.values)
        return entry

    def finish(self, *, copy_back: bool) -> None:
        """End the last call that was entered."""
        self.lent.pop().finish(copy_back=copy_back)
