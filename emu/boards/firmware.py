"""A firmware: what lies where, and the names in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emu.boards.errors import FirmwareError
from relink.elf.intervals import Intervals
from relink.records import cached_property, dataclass, field


@dataclass(frozen=True)
class Symbol:
    """A function or variable of a firmware. Functions in Thumb code have bit 0 of their address set."""

    name: str
    address: int
    size: int
    is_function: bool
    is_thumb: bool = False

    @property
    def start(self) -> int:
        """The address of its first byte."""
        return self.address & ~1 if self.is_thumb else self.address


@dataclass(frozen=True)
class Firmware:
    """What a board loads: `pieces` are (address, bytes); the rest is what the file tells of them."""

    name: str
    pieces: tuple[tuple[int, bytes], ...]
    #: (address, size) of all memory that its segments take when it runs
    extents: tuple[tuple[int, int], ...] = ()
    arch: str | None = None  #: the architecture's name, if the file tells
    entry: int | None = None
    float_abi: str | None = None  #: the floating-point calling convention, where the file tells
    symbols: Mapping[str, Symbol] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)  #: Arm's build attributes, by tag

    @property
    def is_bytes(self) -> bool:
        """Whether the file tells nothing else: raw bytes, or a hex file without an address of execution."""
        return not self.symbols and not self.extents and self.entry is None

    @property
    def addresses(self) -> dict[str, int]:
        """The addresses of its symbols by name."""
        return {name: symbol.address for name, symbol in self.symbols.items()}

    def check_arm_profile(self, profile: str, cpu: str) -> None:
        """Raise FirmwareError for code of another profile of Arm (A, R, M), by its build attributes; for a CPU of
        the M profile, which runs no A32 code, also when no function is in Thumb code ("ELF for the Arm
        Architecture", "Symbol Values").
        """
        value = self.attributes.get("TAG_CPU_ARCH_PROFILE", 0)
        if value not in (0, ord("S"), ord(profile)):  # none, A or R, the same
            theirs = f"the {chr(value)} profile of Arm" if value < 128 else f"profile {value:#x}"
            raise FirmwareError(f"{self.name} is for {theirs}, not for {cpu}")
        functions = [symbol for symbol in self.symbols.values() if symbol.is_function]
        if profile == "M" and self.arch and functions and not any(symbol.is_thumb for symbol in functions):
            raise FirmwareError(f"{self.name} has functions in A32 code alone, {cpu} runs Thumb code")

    def symbol(self, name: str) -> Symbol:
        """Raises FirmwareError for a name it does not have."""
        found = self.symbols.get(name)
        if found is None:
            raise FirmwareError(f"{self.name} has no symbol {name!r}")
        return found

    def symbol_at(self, address: int) -> Symbol | None:
        """The symbol that contains an address; None without one."""
        places, symbols = self._by_address
        number = places.at(address)
        return None if number is None else symbols[number]

    @cached_property
    def _by_address(self) -> tuple[Intervals, list[Symbol]]:
        symbols = list(self.symbols.values())
        return Intervals([symbol.start for symbol in symbols], [symbol.size for symbol in symbols]), symbols


def check_start(entry: object, stack: object, mask: int) -> None:
    """Raises FirmwareError for an entry or a stack pointer that is no address; a stack may end at the last one."""
    for what, value, most in (("entry", entry, mask), ("stack pointer", stack, mask + 1)):
        if not (hasattr(value, "__index__") and 0 <= value.__index__() <= most):
            shown = f"{value:#x}" if isinstance(value, int) else repr(value)
            raise FirmwareError(f"the {what} is an address of the CPU, not {shown}")
