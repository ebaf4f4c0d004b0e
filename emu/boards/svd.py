"""Devices from SVD files: the registers and fields of a real chip, by name (`pip install 'relink-emu[boards]'`).

    chip = Svd("STM32F103xx.svd")
    rcc = chip.device("RCC", follows={"CR_HSERDY": "CR_HSEON", "CR_PLLRDY": "CR_PLLON", "CFGR_SWS": "CFGR_SW"})
    board = Board("cortex-m3", memory=..., devices=chip.devices({"RCC": rcc, "USART1": MyUart(irq=37)}))

A device made of a file keeps what is written to it, as far as the file says that it can be written. `follows` has
fields that read as another field, for software that waits until hardware has done what was asked for. For more,
derive a class, whose methods are called like those of `emu.boards.registers`:

    class Usart(chip.device_class("USART1")):
        def on_write_DR(self, value): print(chr(value), end="")
        def on_read_SR(self): return 0xC0

Attributes are the file's names: `usart.CR1` is a register, `usart.CR1_UE` a field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from os import PathLike, fspath
from typing import Any, ClassVar

from emu.boards.device import Device
from emu.boards.errors import BoardError
from emu.boards.registers import Field, Register

_SYSTEM = 0xE000_0000  #: from here on addresses belong to a Cortex-M itself
_READ_ONLY = "read-only"


class SvdDevice(Device):
    """A device whose registers come from a file."""

    reserved = "zero"
    fields: ClassVar[Mapping[str, Field]] = {}
    peripheral: ClassVar[str] = ""  #: the name in the file

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for offset, register in cls.registers.items():
            reader = getattr(cls, f"on_read_{register.name}", None)
            writer = getattr(cls, f"on_write_{register.name}", None)
            if reader is not None or writer is not None:
                own = Register(
                    offset,
                    size=register.size,
                    reset=register.reset,
                    writable=register.writable,
                    clears=register.clears,
                )
                own.name, own.reader, own.writer = register.name, reader, writer
                setattr(cls, register.name, own)
        super().__init_subclass__()  # with the registers just replaced

    def __init__(
        self, *, irq: int | None = None, name: str = "", follows: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(irq=irq, name=name or self.peripheral)
        self.follows: dict[str, list[tuple[Field, Field]]] = {}
        for follower, leader in (follows or {}).items():
            pair = self._field(follower), self._field(leader)
            self.follows.setdefault(pair[0].register.name, []).append(pair)

    def _field(self, name: str) -> Field:
        found = self.fields.get(name)
        if found is None:
            raise BoardError(f"{self.peripheral} has no field {name!r}; fields are named REGISTER_FIELD")
        return found

    def read(self, offset: int, size: int) -> int:
        found = self._find(offset, size)
        if found is not None and found[0].name in self.follows:
            for follower, leader in self.follows[found[0].name]:
                follower.__set__(self, leader.__get__(self, type(self)))
        return super().read(offset, size)


class Svd:
    """The peripherals of one file. Raises BoardError for a file that cannot be read."""

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            from cmsis_svd.parser import SVDParser
        except ImportError:
            raise BoardError("SVD files need cmsis-svd: pip install 'relink-emu[boards]'") from None
        try:
            described = SVDParser.for_xml_file(fspath(path)).get_device()
            self._peripherals: dict[str, Any] = {each.name: each for each in described.get_peripherals()}
        except Exception as error:  # whatever a parser raises for a file that is none
            raise BoardError(f"{fspath(path)}: {type(error).__name__}: {error}") from error
        self._classes: dict[str, type[SvdDevice]] = {}

    @property
    def names(self) -> list[str]:
        """The names of all peripherals."""
        return list(self._peripherals)

    def address(self, name: str) -> int:
        """The base address of a peripheral."""
        return int(self._find(name).base_address)

    def irq(self, name: str) -> int | None:
        """The number of its first interrupt."""
        interrupts = self._find(name).interrupts or ()
        return next((int(each.value) for each in interrupts), None)

    def device_class(self, name: str) -> type[SvdDevice]:
        """A class of devices with the registers of a peripheral."""
        if name not in self._classes:
            self._classes[name] = _class_of(self._find(name))
        return self._classes[name]

    def device(self, name: str, *, follows: Mapping[str, str] | None = None) -> SvdDevice:
        """A device with the registers of a peripheral. Raises BoardError for a name that the file has not."""
        return self.device_class(name)(irq=self.irq(name), follows=follows)

    def devices(self, made: Mapping[str, Device] | None = None) -> dict[int, Device]:
        """All peripherals by address, those of `made` as they are given; a Cortex-M's own are left out."""
        mine = dict(made or {})
        found = {self.address(name): device for name, device in mine.items()}
        for name in self.names:
            if name not in mine and self.address(name) < _SYSTEM and self.address(name) not in found:
                found[self.address(name)] = self.device(name)
        places = sorted(found)
        for address, following in pairwise(places):  # some files have arrays that are too long
            if isinstance(found[address], SvdDevice):
                found[address].size = min(found[address].size, following - address)
        return found

    def _find(self, name: str) -> Any:
        found = self._peripherals.get(name)
        if found is None:
            raise BoardError(f"the SVD file has no peripheral {name!r}; it has {', '.join(self.names)}")
        return found


def _class_of(peripheral: Any) -> type[SvdDevice]:
    members: dict[str, Any] = {"peripheral": peripheral.name}
    fields: dict[str, Field] = {}
    end = 4
    for each in peripheral.get_registers():
        size = (each.size or 32) // 8
        writable = 0 if _access(each) == _READ_ONLY else _writable(each, size)
        register = Register(each.address_offset, size=size, reset=each.reset_value or 0, writable=writable)
        members[each.name] = register
        end = max(end, each.address_offset + size)
        for described in _fields(each):
            name = f"{each.name}_{described.name}"
            fields[name] = members[name] = register.field(described.bit_offset, described.bit_width)
    blocks = [block.offset + block.size for block in peripheral.address_blocks or ()]
    members |= {"fields": fields, "size": max(end, *blocks) if blocks else end}
    return type(peripheral.name, (SvdDevice,), members)


def _fields(register: Any) -> Sequence[Any]:
    """The fields of a register, those of arrays one by one."""
    return list(register.get_fields()) if register.fields else ()


def _access(described: Any) -> str:
    access = described.access
    return "" if access is None else str(access.value)


def _writable(register: Any, size: int) -> int:
    """The bits that software can write: of a register with fields, those in fields that are not read-only."""
    fields = _fields(register)
    if not fields:
        return (1 << 8 * size) - 1
    bits = 0
    for field in fields:
        if _access(field) != _READ_ONLY:
            bits |= (1 << field.bit_width) - 1 << field.bit_offset
    return bits
