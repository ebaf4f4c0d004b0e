"""Errors of a running guest, part of the tree in `relink.errors`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from relink.errors import GuestAccessError, MachineError, printable
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.cpu.protocol import StopReason


class CallError(MachineError):
    """A prototype that cannot be parsed or passed, or an argument that does not fit its parameter."""


class StaticFunctionWarning(UserWarning):
    """A static function is called by name, and nothing tells whether the compiler kept its calling convention."""


class ForeignObject(MachineError):
    """An object of one machine was given to another. `what` is its repr, `owner` and `given_to` the machines'
    architectures ("" where the owner's is not known)."""

    def __init__(self, what: str, owner: str, given_to: str) -> None:
        self.what, self.owner, self.given_to = what, owner, given_to
        there = f"a machine of {owner}" if owner not in ("", given_to) else "another machine"
        super().__init__(f"{what} belongs to {there}, and was given to one of {given_to}")


class Restart(Exception):
    """A call of the guest was interrupted by a signal whose handler has SA_RESTART: it is made again after the
    handler. Caught where system calls and hosted functions are answered.
    """


@dataclass(frozen=True)
class Frame:
    """One line of a backtrace: an address with its image, symbol and source line, if known."""

    address: int
    image: str | None = None
    symbol: str | None = None
    offset: int = 0  #: offset in bytes from `symbol` (without a symbol, from the image's base)
    file: str | None = None  #: the source file, if DWARF has it
    line: int | None = None

    def __str__(self) -> str:
        place = self.symbol or self.image
        if place is None:
            return f"{self.address:#x}"
        image = f" in {printable(self.image)}" if self.symbol and self.image else ""
        source = f" at {printable(self.file)}:{self.line}" if self.file is not None else ""
        return f"{self.address:#x} <{printable(place)}+{self.offset:#x}>{image}{source}"


class GuestFault(MachineError):
    """The guest caused a CPU exception.

    - `reason`: the kind of fault; `pc`: the instruction; `address`: the data address, or None;
    - `registers`: register names -> unsigned values;
    - `frame`: the code at `pc`; `disassembly`: a few lines around it, may be empty;
    - `backtrace`: the callers that were found, innermost first;
    - `touched`: the undefined symbol whose placeholder is at `address`, if any;
    - `stack_overflow`: whether the stack is at its end: a recursion without one, or too large a variable.
    """

    def __init__(
        self,
        reason: StopReason,
        pc: int,
        address: int | None,
        *,
        registers: Mapping[str, int],
        frame: Frame,
        disassembly: tuple[str, ...] = (),
        backtrace: tuple[Frame, ...] = (),
        touched: Frame | None = None,
        stack_overflow: bool = False,
    ) -> None:
        self.touched = touched
        self.stack_overflow = stack_overflow
        self.reason = reason
        self.pc = pc
        self.address = address
        self.registers = dict(registers)
        self.frame = frame
        self.disassembly = disassembly
        self.backtrace = backtrace
        touching = f" at {touched or hex(address)}" if address is not None and address != pc else ""
        overflow = "stack overflow: " if stack_overflow else ""
        super().__init__(f"{overflow}{reason.value}{touching}, pc {frame}")

    def report(self) -> str:
        """The message, registers, disassembly and backtrace as text."""
        width = max((len(name) for name in self.registers), default=0)
        cells = [f"{name:>{width}} {value:016x}" for name, value in self.registers.items()]
        lines = [str(self), "", *("  ".join(cells[i : i + 4]) for i in range(0, len(cells), 4))]
        if self.disassembly:
            lines += ["", *self.disassembly]
        if self.backtrace:
            lines += ["", *(f"#{number} {frame}" for number, frame in enumerate(self.backtrace))]
        return "\n".join(lines)


class UnresolvedCall(MachineError):
    """The guest called an undefined symbol that the load allowed (`allow_unresolved`)."""

    def __init__(self, symbol: str, caller: Frame) -> None:
        self.symbol = symbol
        self.caller = caller
        super().__init__(f"call of unresolved symbol {symbol} from {caller}")


class ConstructorFault(MachineError):
    """A constructor, destructor or ifunc resolver did not return; a load was rolled back. `__cause__` is the
    exception.
    """

    def __init__(self, image: str, function: str, cause: BaseException) -> None:
        self.image = image
        self.function = function
        super().__init__(f"{image}: constructor {function} failed: {cause}")


class DebuggerKilled(MachineError):
    """The debugger ended the call (`kill`)."""

    def __init__(self) -> None:
        super().__init__("the debugger ended the call")


class PatchError(MachineError):
    """A function cannot be replaced, or restored, as requested."""


class SwapRefused(PatchError):
    """A library cannot be swapped now, or not for this version. `reasons` has a sentence for each reason, the
    message the first eight.
    """

    def __init__(self, old: str, new: str, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        named = "; ".join(self.reasons[:8])
        more = f"; and {len(self.reasons) - 8} more" if len(self.reasons) > 8 else ""
        super().__init__(f"{new} cannot take the place of {old}: {named}{more}")


class FunctionTooShort(PatchError):
    """A function has no room for a jump; the message gives both sizes in bytes."""


class AlreadyPatched(PatchError):
    """The bytes to change overlap those of another patch."""


class AssemblyError(PatchError):
    """The text is not valid assembly of the ISA, or the ISA has no assembler."""


class AssemblerMissing(AssemblyError):
    """Assembly text was given, but keystone is not installed or cannot be loaded. `detail` is Python's import
    error.
    """

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(
            f"assembly text needs keystone, which cannot be imported ({detail}): "
            "pip install 'relink-emu[assemble]', or give the code as bytes"
        )


class BudgetExceeded(MachineError):
    """The guest exceeded its `max_instructions` or `timeout`. `executed` is the number of instructions run, if
    they were counted (`max_instructions`), else None.
    """

    def __init__(self, limit: str, frame: Frame, executed: int | None = None) -> None:
        self.limit = limit
        self.frame = frame
        self.executed = executed
        super().__init__(f"stopped after {limit}, pc {frame}")


class BadGuestPointer(MachineError):
    """A hosted function was given an address that its caller must not access; `error` has the details.

    In a guest call it becomes the `GuestFault` that a C library's access would have raised.
    """

    def __init__(self, function: str, error: GuestAccessError) -> None:
        self.function = function
        self.error = error
        super().__init__(f"{function}(): {error}")


class StackExhausted(MachineError):
    """Guest and host functions call each other too deeply for the host's stack; becomes a `GuestFault`."""

    def __init__(self) -> None:
        super().__init__("guest and host functions call each other too deeply")


class GuestUnwinding(BaseException):
    """A guest's C++ exception that leaves a host function and is caught by a guest function.

    It unwinds the Python frames between the two; `finally` and context managers run. Do not catch it: the guest's
    unwinder has already found the handler. `exception` is the address of the guest's exception object, `depth` the
    depth of the call it leaves, `resume_at` the unwinder's entry point for continuing.
    """

    def __init__(self, exception: int, depth: int, resume_at: int) -> None:
        self.exception = exception
        self.depth = depth
        self.resume_at = resume_at
        super().__init__(f"unwinding for the C++ exception at {exception:#x}")


class SnapshotError(MachineError):
    """A snapshot cannot be taken or restored now, or not on this machine, or has been closed."""


class SnapshotFileError(SnapshotError):
    """A file cannot be read as a snapshot: it is damaged, of another version or engine, or needs host functions
    that were not given. Or it cannot be written: the machine has something that no file can hold.
    """


class FuzzError(MachineError):
    """A fuzzer cannot be made or run as requested: the target, the seeds or a limit."""


class HandleOutlived(MachineError):
    """A handle was used that was made after a snapshot, and the machine has gone back to that snapshot since."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} does not exist any more: the machine was restored to a snapshot from before")


class CallAbandoned(MachineError):
    """The guest's calls were ended by `Machine.restore` in a host function. The machine is as in the snapshot."""

    def __init__(self) -> None:
        super().__init__("the call was ended by a return to a snapshot")


class GuestExit(MachineError):
    """The guest called exit (or _exit); `status` is its argument."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"the guest exited with status {status}")


class GuestAbort(MachineError):
    """The guest called abort, or failed an assertion, a stack check or a buffer check; `detail` has the reason."""

    def __init__(self, detail: str = "abort() called") -> None:
        self.detail = detail
        super().__init__(detail)
