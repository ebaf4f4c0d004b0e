"""The part of Unicorn's C API (unicorn/unicorn.h) that this project uses.

The C library is called through ctypes with preallocated buffers: for a short run the Python binding's methods
would take four times as long as the engine.

**Hooks are not Python code.** A ctypes callback in Python runs pending signal handlers, whose exceptions (Ctrl-C's
KeyboardInterrupt) would be printed and lost during the guest's run. So the callbacks that record events are
built-in functions (`struct`'s `pack_into`), which do not run handlers. `uc_emu_stop` itself, installed as a second
hook, stops the engine after them, and machine code stops it on request (`emu.cpu.hooks.stop_hook`).
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final

from emu.cpu.hooks.stop_hook import MULTIPLIER, StopRequest, exception_hook
from emu.cpu.protocol import Protection, StopReason
from emu.cpu.unicorn.bad_stores import leaving_function, recording_hook
from emu.cpu.unicorn.isas import UnicornIsa
from emu.cpu.unicorn.library import constants, uc, uc_class, uclib
from relink.errors import AddressSpaceError

__all__ = [
    "EMU_STOP",
    "FAULTS",
    "MEM_READ",
    "NO_COUNT",
    "NO_TIMEOUT",
    "PROTECTION",
    "REG_READ",
    "REG_WRITE",
    "Context",
    "RegisterSlots",
    "Seen",
    "add_hook",
    "check",
    "control",
    "emu_start",
    "install_recorders",
    "native",
    "open_engine",
    "raise_from_hooks",
    "record_bad_accesses",
    "reg_read",
    "reg_read_batch",
    "reg_write",
    "reg_write_batch",
    "register_number",
    "stop_request",
    "uc",
    "uclib",
]

#: The engine drops translated code only when its buffer is full: by default a gigabyte.
_TRANSLATED: Final = 32 << 20
# uc_ctl's encoding of a call that writes one argument.
_SET_TRANSLATION_BUFFER: Final = uc.UC_CTL_TCG_BUFFER_SIZE | 1 << 26 | uc.UC_CTL_IO_WRITE << 30
NO_TIMEOUT: Final = ctypes.c_uint64(0)
NO_COUNT: Final = ctypes.c_size_t(0)
_SYSCALL_INSTRUCTION: Final = 0x80  # syscall and sysenter, under the number of the i386 system call

# The binding's prototypes convert every argument on every call. These have none, because the arguments already
# have C types.
emu_start = uclib["uc_emu_start"]
#: The same library for calls that are too short to let other threads run meanwhile.
_short = ctypes.PyDLL(uclib._name, handle=uclib._handle)
reg_read, reg_write = _short["uc_reg_read"], _short["uc_reg_write"]
reg_read_batch, reg_write_batch = _short["uc_reg_read_batch"], _short["uc_reg_write_batch"]
EMU_STOP: Final = ctypes.cast(uclib["uc_emu_stop"], ctypes.c_void_p)
MEM_READ: Final = ctypes.cast(uclib["uc_mem_read"], ctypes.c_void_p)
REG_READ: Final = ctypes.cast(uclib["uc_reg_read"], ctypes.c_void_p)
REG_WRITE: Final = ctypes.cast(uclib["uc_reg_write"], ctypes.c_void_p)

#: Protection (ELF's bit order) -> UC_PROT_*.
PROTECTION: Final = tuple(
    (uc.UC_PROT_READ if p & Protection.R else 0)
    | (uc.UC_PROT_WRITE if p & Protection.W else 0)
    | (uc.UC_PROT_EXEC if p & Protection.X else 0)
    for p in range(8)
)

FAULTS: Final[Mapping[int, StopReason]] = {
    uc.UC_ERR_READ_UNMAPPED: StopReason.READ_UNMAPPED,
    uc.UC_ERR_WRITE_UNMAPPED: StopReason.WRITE_UNMAPPED,
    uc.UC_ERR_FETCH_UNMAPPED: StopReason.FETCH_UNMAPPED,
    uc.UC_ERR_READ_PROT: StopReason.READ_PROTECTED,
    uc.UC_ERR_WRITE_PROT: StopReason.WRITE_PROTECTED,
    uc.UC_ERR_FETCH_PROT: StopReason.FETCH_PROTECTED,
    uc.UC_ERR_READ_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_WRITE_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_FETCH_UNALIGNED: StopReason.UNALIGNED,
    uc.UC_ERR_INSN_INVALID: StopReason.INVALID_INSTRUCTION,
    uc.UC_ERR_EXCEPTION: StopReason.EXCEPTION,
}


class UnicornError(AddressSpaceError):
    """Unicorn refused a request for memory or set-up; the message is Unicorn's."""


def check(status: int, action: str, address: int | None = None, size: int | None = None) -> None:
    """Raise UnicornError unless `status` is UC_ERR_OK."""
    if status != uc.UC_ERR_OK:
        reason = uclib.uc_strerror(status).decode("ascii", "replace")
        raise UnicornError(f"Unicorn cannot {action}: {reason}", address=address, size=size)


def control(handle: ctypes.c_void_p, kind: int, *values: int) -> int:
    """uc_ctl for writing: UC_CTL_WRITE(kind, number of arguments)."""
    request = kind | len(values) << 26 | uc.UC_CTL_IO_WRITE << 30
    return int(uclib.uc_ctl(handle, ctypes.c_int(request), *(ctypes.c_uint64(value) for value in values)))


def open_engine(arch: str, isa: UnicornIsa) -> ctypes.c_void_p:
    """A new engine with a bounded cache of translated code. Raises UnicornError."""
    if isa.engine == "RISCV":
        from emu.cpu.unicorn.nan_boxing import box_singles

        box_singles(f"_{isa.mode.lower()}")
    elif isa.engine == "X86":
        from emu.cpu.unicorn.denormal_operands import notice_denormals
        from emu.cpu.unicorn.x87 import execute_x87

        notice_denormals()
        execute_x87()
    handle = ctypes.c_void_p()
    engine, mode = getattr(uc, f"UC_ARCH_{isa.engine}"), getattr(uc, f"UC_MODE_{isa.mode}")
    check(uclib.uc_open(engine, mode, ctypes.byref(handle)), f"open {arch}")
    size = ctypes.c_uint32(_TRANSLATED)
    check(uclib.uc_ctl(handle, _SET_TRANSLATION_BUFFER, size), "bound the cache of translated code")
    if isa.model:
        model = getattr(constants(isa.constants), f"UC_CPU_{isa.model}")
        check(control(handle, uc.UC_CTL_CPU_MODEL, model), "choose the CPU model")
    return handle


def native(handle: ctypes.c_void_p, isa: UnicornIsa, owner: object) -> Any:
    """The engine as a `unicorn.Uc`, which does not close it, and keeps its owner alive."""
    arch, mode = getattr(uc, f"UC_ARCH_{isa.engine}"), getattr(uc, f"UC_MODE_{isa.mode}")
    kind = uc_class()
    engine = kind.__new__(kind, arch, mode)
    # What Uc.__init__ does, except that this opens another engine.
    vars(engine).update(_uch=handle, _arch=arch, _mode=mode, _callbacks={}, _mmio_callbacks={}, _owner=owner)
    engine._hook_exception = None
    return engine


def raise_from_hooks(engine: Any) -> None:
    """Raise what a callback of `native`'s hooks has raised; the binding keeps it and stops the engine."""
    error, engine._hook_exception = engine._hook_exception, None
    if error is not None:
        raise error


# ---------------------------------------------------------------- registers


class _Wide(ctypes.Structure):
    """A 128-bit register buffer whose `value` is an int, like ctypes integers."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))

    @property
    def value(self) -> int:
        return int(self.low) | int(self.high) << 64

    @value.setter
    def value(self, value: int) -> None:
        self.low, self.high = value, value >> 64  # ctypes integers truncate too


#: A register's width in bytes -> the type of its buffer.
_BUFFERS: Mapping[int, Any] = {
    2: ctypes.c_uint16,
    4: ctypes.c_uint32,
    8: ctypes.c_uint64,
    10: _Wide,
    16: _Wide,
}


@cache
def register_number(module: str, constant: str) -> int:
    """Unicorn's number of a register, by the names in `UnicornIsa`."""
    return int(getattr(constants(module), f"UC_{module.upper()}_REG_{constant}"))


class RegisterSlots(dict[str, tuple[int, Any, Any]]):
    """Name -> (Unicorn's number, a buffer of the register's width, a reference to the buffer).

    Each is made when it is first used, since a machine uses few of them; `UnicornIsa.names` has all names.
    """

    def __init__(self, isa: UnicornIsa) -> None:
        self._isa = isa

    def __missing__(self, name: str) -> tuple[int, Any, Any]:
        constant, size = self._isa.names[name]
        buffer = _BUFFERS[size]()
        slot = self[name] = register_number(self._isa.constants, constant), buffer, ctypes.byref(buffer)
        return slot


class Context:
    """Saved registers, freed with the object."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self.pointer = ctypes.c_void_p()
        self.owner = handle
        check(uclib.uc_context_alloc(handle, ctypes.byref(self.pointer)), "allocate a context")
        self._size = int(uclib.uc_context_size(handle))
        self.beside: Sequence[tuple[str, int]] = ()  #: registers that the engine leaves out of its contexts
        weakref.finalize(self, uclib.uc_context_free, self.pointer)

    def content(self, handle: ctypes.c_void_p) -> bytes:
        """Save the engine's state and return it as bytes."""
        check(uclib.uc_context_save(handle, self.pointer), "save a context")
        return ctypes.string_at(self.pointer, self._size)

    def put(self, handle: ctypes.c_void_p, values: Mapping[int, int]) -> None:
        """Change bytes of what was saved, and restore it."""
        assert self.pointer.value is not None
        for offset, value in values.items():
            assert 0 <= offset < self._size
            ctypes.c_uint8.from_address(self.pointer.value + offset).value = value
        check(uclib.uc_context_restore(handle, self.pointer), "restore a context")


# ---------------------------------------------------------------- hooks

_HOOK_ARGUMENTS = ctypes.c_size_t  # engine and user data, which are not used
_MEMORY_HOOK = ctypes.CFUNCTYPE(
    ctypes.c_bool, _HOOK_ARGUMENTS, ctypes.c_int, ctypes.c_uint64, ctypes.c_int, ctypes.c_int64, _HOOK_ARGUMENTS
)
_INTERRUPT_HOOK = ctypes.CFUNCTYPE(None, _HOOK_ARGUMENTS, ctypes.c_uint32, _HOOK_ARGUMENTS)
_INSTRUCTION_HOOK = ctypes.CFUNCTYPE(None, _HOOK_ARGUMENTS, _HOOK_ARGUMENTS)


class _Record:
    """The arguments of a callback's last call, stored in a buffer by a C hook."""

    def __init__(self, layout: str, more: int = 0) -> None:
        """`more`: bytes behind the arguments."""
        described = struct.Struct(layout)
        self.unpack, self.buffer = described.unpack_from, bytearray(described.size + more)
        self.engine = memoryview(self.buffer)[:8].cast("Q")  #: 0: there was no call
        self.write = partial(described.pack_into, self.buffer, 0)

    @property
    def place(self) -> ctypes.c_void_p:
        """The address of the buffer."""
        return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(self.buffer)))

    def peek(self) -> tuple[int, ...]:
        """The arguments, which remain; zeros if there was no call since they were taken."""
        arguments = self.unpack(self.buffer)
        return arguments if arguments[0] else (0,) * len(arguments)

    def take(self) -> tuple[int, ...] | None:
        """Take the arguments; None if there was no call since. The first, the engine, is never 0."""
        if not self.engine[0]:
            return None
        arguments = self.unpack(self.buffer)
        self.engine[0] = 0
        return arguments


class Seen:
    """The events recorded by hooks during a run. Hooks refer to this instead of the Cpu, so that the Cpu can be
    freed at once.
    """

    def __init__(self) -> None:
        self._memory = _Record("=QiQiqQ", 8)
        self._leave = memoryview(self._memory.buffer)[-8:].cast("Q")  #: a function's address
        self._exception = _Record("=QIQ")
        self._syscall = _Record("=QQ")
        self.memory_hooks: list[ctypes.c_size_t] = []  #: of bad memory accesses
        #: The callbacks, kept as long as the engine. Their result None means "not handled".
        self.callbacks = (
            _MEMORY_HOOK(self._memory.write),
            _INTERRUPT_HOOK(self._exception.write),
            _INSTRUCTION_HOOK(self._syscall.write),
        )

    def exception_recorder(self) -> tuple[ctypes.c_void_p, ctypes.c_void_p | None]:
        """The hook for exceptions and its data; in machine code where the host allows it."""
        hook = exception_hook()
        if hook is None:
            return ctypes.cast(self.callbacks[1], ctypes.c_void_p), None
        return ctypes.c_void_p(hook), self._exception.place

    def memory_recorder(self) -> tuple[ctypes.c_void_p, ctypes.c_void_p | None]:
        """The hook for bad memory accesses and its data; in machine code where the host allows it."""
        hook = recording_hook()
        if hook is None:
            return ctypes.cast(self.callbacks[0], ctypes.c_void_p), None
        return ctypes.c_void_p(hook), self._memory.place

    def leave_stores(self, function: int) -> None:
        """Have the engine leave an instruction at a bad store by this function; 0: as Unicorn has it."""
        self._leave[0] = function

    def access(self) -> tuple[int, int]:
        """(address, bytes) of the memory fault last recorded, which remains; (0, 0) if there is none."""
        arguments = self._memory.peek()
        return arguments[2], arguments[3]

    def fault(self) -> tuple[int, int]:
        """(kind, address) of the memory fault last recorded, which remains; (0, 0) if there is none."""
        arguments = self._memory.peek()
        return arguments[1], arguments[2]

    def note_closed(self, address: int, size: int, *, write: bool) -> None:
        """Record an access of a page that does not permit it, as the engine does."""
        self._memory.write(1, uc.UC_MEM_WRITE_PROT if write else uc.UC_MEM_READ_PROT, address, size, 0, 0)

    def exception(self) -> int | None:
        """The number of the exception last recorded, which remains; None if there is none."""
        record = self._exception
        return record.unpack(record.buffer)[1] if record.engine[0] else None

    def take(self) -> tuple[int | None, int | None]:
        """The data address of a memory fault, and the number of an exception, or that of the i386 system call,
        each once.
        """
        memory, exception = self._memory, self._exception
        address = memory.take()[2] if memory.engine[0] else None  # type: ignore[index]
        if exception.engine[0]:
            exception.engine[0] = 0
            return address, exception.unpack(exception.buffer)[1]
        return address, _SYSCALL_INSTRUCTION if self._syscall.take() else None

    def forget(self) -> None:
        """Discard the events of an abandoned run."""
        for record in (self._memory, self._exception, self._syscall):
            record.take()


_EVERYWHERE = (1, 0)


def add_hook(
    handle: ctypes.c_void_p,
    kind: int,
    callback: ctypes.c_void_p,
    data: Any = None,
    *extra: int,
    place: tuple[int, int] = _EVERYWHERE,
) -> ctypes.c_size_t:
    """uc_hook_add for the addresses in `place` (first, last); returns the hook. Raises UnicornError."""
    hook = ctypes.c_size_t()
    arguments = [*map(ctypes.c_uint64, place), *map(ctypes.c_int, extra)]
    try:
        status = uclib.uc_hook_add(handle, ctypes.byref(hook), kind, callback, data, *arguments)
        check(status, "install a hook")
    except BaseException:
        if hook:  # a signal handler raised right after that: nobody would keep `data`
            uclib.uc_hook_del(handle, hook)
        raise
    return hook


def record_bad_accesses(handle: ctypes.c_void_p, seen: Seen, places: Iterable[tuple[int, int]]) -> None:
    """Record bad memory accesses, which stop the engine by themselves, in `places` (first, last). The hooks come
    after all others for these: those may permit an access.
    """
    while seen.memory_hooks:  # a signal handler may raise anywhere: one hook too many does no harm
        check(uclib.uc_hook_del(handle, seen.memory_hooks.pop()), "remove a hook")
    hook, data = seen.memory_recorder()
    kinds = uc.UC_HOOK_MEM_INVALID & ~uc.UC_HOOK_MEM_FETCH_INVALID
    for place in places:
        seen.memory_hooks.append(add_hook(handle, kinds, hook, data, place=place))


def install_recorders(handle: ctypes.c_void_p, isa: UnicornIsa, seen: Seen) -> None:
    """Install hooks that record bad memory accesses, exceptions, and system calls without an exception, and stop
    the engine.
    """
    syscall = ctypes.cast(seen.callbacks[2], ctypes.c_void_p)
    seen.leave_stores(leaving_function(isa.engine, isa.mode))
    record_bad_accesses(handle, seen, (_EVERYWHERE,))
    add_hook(handle, uc.UC_HOOK_INTR, *seen.exception_recorder())
    add_hook(handle, uc.UC_HOOK_INTR, EMU_STOP)
    for name in isa.syscalls:
        for callback in (syscall, EMU_STOP):
            add_hook(handle, uc.UC_HOOK_INSN, callback, None, getattr(constants("x86"), f"UC_{name}"))


def stop_request() -> StopRequest:
    """Make a request for `emu.cpu.hooks.stop_hook` that stops Unicorn. It must live as long as the engine."""
    return StopRequest(stop=EMU_STOP, multiplier=MULTIPLIER)
