"""A machine without a CPU: memory is a dictionary of bytearrays, guest functions are Python callables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from emu.cpu.protocol import Protection
from emu.libc import Libc
from emu.memory.guest_view import GuestView
from emu.memory.heap import Heap
from relink.arch import architecture
from relink.errors import AddressSpaceError, GuestAccessError
from relink.memory.address_space import Region


class FakeMemory:
    """Regions with gaps between them, so that running off one is an error."""

    def __init__(self, base: int = 0x10_0000) -> None:
        self._mapped: dict[int, bytearray] = {}
        self._next = base

    @property
    def regions(self) -> Sequence[Region]:
        """The regions with names: none."""
        return ()

    def map_anonymous(self, size: int, *, name: str = "") -> int:
        size = (size + 4095) & -4096
        address = self._next
        self._next += size + 4096
        self._mapped[address] = bytearray(size)
        return address

    def unmap(self, address: int) -> None:
        if self._mapped.pop(address, None) is None:
            raise AddressSpaceError("not mapped", address=address)

    def _find(self, address: int, size: int) -> tuple[bytearray, int]:
        for start, data in self._mapped.items():
            if start <= address and address + size <= start + len(data):
                return data, address - start
        raise GuestAccessError(address, size, write=False)

    def extent(self, address: int, needed: Protection) -> int:
        for start, data in self._mapped.items():
            if start <= address < start + len(data):
                return start + len(data) - address
        return 0

    def load(self, address: int, size: int) -> bytes:
        data, offset = self._find(address, size)
        return bytes(data[offset : offset + size])

    def store(self, address: int, data: bytes | bytearray | memoryview) -> None:
        region, offset = self._find(address, len(data))
        region[offset : offset + len(data)] = data

    def zero(self, address: int, size: int) -> None:
        self.store(address, bytes(size))

    read, write = load, store

    def read_uint(self, address: int, size: int) -> int:
        return int.from_bytes(self.load(address, size), "little")

    def write_uint(self, address: int, size: int, value: int) -> None:
        self.store(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def read_cstring(self, address: int, limit: int = 1 << 24) -> bytes:
        data, offset = self._find(address, 1)
        return bytes(data[offset : offset + limit]).partition(b"\0")[0]


class FakeRegisters:
    """Registers that hold what was last written."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def read_register(self, name: str) -> int:
        return self.values.get(name, 0)

    def write_register(self, name: str, value: int) -> None:
        self.values[name] = value


class FakeMachine:
    """Enough of a machine for the hosted library."""

    thread_pointer = 0x7000
    depth = 1

    def check_budget(self) -> None:
        """Nothing is bounded here."""

    def __init__(self, arch: str = "x86_64") -> None:
        self.arch = architecture(arch)
        self.memory = FakeMemory()
        self.cpu = FakeRegisters()
        self.heap = Heap(self.memory, self.arch)
        self.functions: dict[int, Callable[..., int | float | None]] = {}

    def function(self, body: Callable[..., int | float | None]) -> int:
        """The address of a "guest" function."""
        address = 0x1000 + 16 * len(self.functions)
        self.functions[address] = body
        return address

    def call(self, address: int, prototype: str, *args: int | float) -> int | float | None:
        return self.functions[address](*args)


class Values:
    """Variadic arguments given by a test; checks that each is taken as the kind it is."""

    def __init__(self, *values: int | float) -> None:
        self._values = list(values)

    def take(self, ctype: str) -> int | float:
        value = self._values.pop(0)
        assert isinstance(value, float) == (ctype in ("double", "long double")), f"{value!r} taken as {ctype}"
        return value


class Harness:
    """A library on a fake machine, its functions called by name, bytes arguments placed in guest memory."""

    def __init__(self, arch: str = "x86_64", **options: object) -> None:
        self.machine = FakeMachine(arch)
        machine = self.machine
        self.memory = GuestView(machine.memory, machine.check_budget)
        self.libc = Libc(
            machine.arch,
            self.memory,
            machine.memory,  # type: ignore[arg-type]
            machine.cpu,  # type: ignore[arg-type]
            machine.heap,
            machine,  # type: ignore[arg-type]
            machine,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )

    def place(self, data: bytes) -> int:
        address = self.machine.heap.malloc(len(data))
        self.memory.write(address, data)
        return address

    def text(self, data: bytes) -> int:
        return self.place(data + b"\0")

    def wide(self, text: str) -> int:
        return self.place(text.encode("utf-32-le") + bytes(4))

    def buffer(self, size: int) -> int:
        return self.place(bytes(size))

    def call(self, name: str, *args: object) -> Any:
        """Call by name; bytes become the address of a C string."""
        function = self.libc.function(name)
        assert function is not None, name
        return function.call(*(self.text(a) if isinstance(a, bytes) else a for a in args))

    def string(self, address: int) -> bytes:
        return self.memory.read_cstring(address)
