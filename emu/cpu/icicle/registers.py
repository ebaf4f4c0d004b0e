"""The registers of a LoongArch64 hart on icicle, by name: one at a time, several, and all as a context."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from emu.cpu.icicle.engine import Engine
from emu.cpu.loongarch64.registers import (
    ALIASES,
    ENGINE_REGISTERS,
    PLAIN_REGISTERS,
    VECTOR_REGISTERS,
    WRITE_MASKS,
)
from emu.cpu.protocol import CpuContext
from relink.records import dataclass

_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Context(CpuContext):
    """Every register of the engine, in the order of ENGINE_REGISTERS."""

    values: tuple[int, ...]


class IcicleRegisters:
    """The part of a `Cpu` for registers."""

    @property
    @abstractmethod
    def _engine(self) -> Engine:
        """The engine."""

    def read_register(self, name: str) -> int:
        """The register as an unsigned int. Raises KeyError for a name LoongArch64 does not have."""
        if name in PLAIN_REGISTERS:
            return self._engine.reg_read(PLAIN_REGISTERS[name])
        if name in VECTOR_REGISTERS:
            low, high = (int(self._engine.reg_read(half)) for half in VECTOR_REGISTERS[name])
            return low | high << 64
        name = ALIASES[name]
        if name == "zero":
            return 0
        if name == "fcsr":
            self._engine.host.settle_cause()
        return int(self._engine.reg_read(name))

    def write_register(self, name: str, value: int) -> None:
        """Write the implemented bits of the register; `zero` stays 0. Raises KeyError for an unknown name."""
        if name in PLAIN_REGISTERS:
            self._engine.reg_write(PLAIN_REGISTERS[name], value & _WORD)
            return
        if name in VECTOR_REGISTERS:
            for number, half in enumerate(VECTOR_REGISTERS[name]):
                self._engine.reg_write(half, value >> 64 * number & _WORD)
            return
        name = ALIASES[name]
        if name == "zero":
            return
        if name == "fcsr":
            self._engine.host.settle_cause()
        self._engine.reg_write(name, value & WRITE_MASKS.get(name, _WORD))

    def read_registers(self, names: Sequence[str]) -> list[int]:
        return [self.read_register(name) for name in names]

    def write_registers(self, values: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        for name, value in values.items() if isinstance(values, Mapping) else values:
            self.write_register(name, value)

    def set_registers(self, names: tuple[str, ...], values: Sequence[int]) -> None:
        """See `Cpu.set_registers`."""
        write = self._engine.reg_write
        for name, value in zip(names, values, strict=True):
            register = PLAIN_REGISTERS.get(name)
            if register is None:
                self.write_register(name, value)
            else:
                write(register, value & _WORD)

    def set_thread_pointer(self, address: int) -> None:
        """Set `tp` (r2)."""
        self._engine.reg_write("tp", address)

    def save(self) -> Context:
        return Context(tuple(map(self._engine.reg_read, ENGINE_REGISTERS)))

    def restore(self, context: CpuContext) -> None:
        assert isinstance(context, Context)
        if len(context.values) != len(ENGINE_REGISTERS):
            raise ValueError(f"{len(context.values)} registers, not {len(ENGINE_REGISTERS)}")
        deque(map(self._engine.reg_write, ENGINE_REGISTERS, context.values), 0)  # without a loop in Python

    def register_values(self) -> list[int]:
        return list(self.save().values)

    def set_register_values(self, values: Sequence[int]) -> None:
        self.restore(Context(tuple(values)))

    def save_state(self) -> object:
        return self.save()

    def restore_state(self, state: object) -> None:
        self.restore(cast(Context, state))
