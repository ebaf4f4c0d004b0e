"""A signal handler at a chosen point of an operation, as if a signal had come there."""

from __future__ import annotations

import dis
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from inspect import CO_GENERATOR
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import emu
import relink

_CALLS = {"CALL", "CALL_KW", "CALL_FUNCTION_EX", "RESUME"}
_OURS = tuple(module.__path__[0] for module in (emu, relink))


@cache
def _points(code: CodeType) -> dict[int, set[int]]:
    """The offsets of instructions before which CPython may run signal handlers: after calls, at the start of
    functions and of loops' rounds (also when their condition was just found to be true); each with the offsets of
    the instructions that lead there. Not where the exception would have other handlers than that of the call.
    """
    bytecode: Any = dis.Bytecode(code)  # typeshed has no exception_entries
    instructions = list(bytecode)

    def handler(offset: int) -> int | None:
        return next(
            (entry.target for entry in bytecode.exception_entries if entry.start <= offset < entry.end), None
        )

    points = defaultdict[int, set[int]](set)
    for before, following in pairwise(instructions):
        if before.opname in _CALLS and handler(before.offset) == handler(following.offset):
            points[following.offset].add(before.offset)
    for jump in instructions:
        if "JUMP_BACKWARD" in jump.opname and not jump.opname.endswith("NO_INTERRUPT"):
            points[jump.argval].add(jump.offset)
    return dict(points)


def _raise() -> None:
    raise KeyboardInterrupt


class _Interrupt:
    def __init__(
        self, number: int, starts: bool, handler: Callable[[], object], counts: Callable[[], object]
    ) -> None:
        self._number, self._starts, self._handler, self._counts = number, starts, handler, counts
        #: Where the last instruction was: no handler runs at a function's return.
        self._in: FrameType | None = None
        self._last = -1
        self.passed = 0
        #: Code by its id, which is quicker to look up (its hash is that of its content), and its points.
        self._found: dict[int, tuple[CodeType, dict[int, set[int]]]] = {}
        self._step = self._stepped  # one object for all functions: garbage would be searched for in the middle

    def entered(self, frame: FrameType, event: str, argument: object) -> Any:
        self._in = None
        code = frame.f_code
        if self.passed == self._number > 0 or not code.co_filename.startswith(_OURS):
            return None
        if self._starts and not code.co_flags & CO_GENERATOR:
            self._pass()
        if id(code) not in self._found:
            self._found[id(code)] = code, _points(code)
        frame.f_trace = self._step  # before: Python 3.13 then traces the first run of a function too
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _stepped(self, frame: FrameType, event: str, argument: object) -> Any:
        if event != "opcode":
            self._in = None
            return self._step
        at = frame.f_lasti
        if frame is self._in:
            leading = self._found[id(frame.f_code)][1].get(at)
            if leading is not None and self._last in leading:
                self._pass()
        self._in, self._last = frame, at
        return self._step

    def _pass(self) -> None:
        if not self._counts():
            return
        self.passed += 1
        if self.passed == self._number:
            sys.settrace(None)
            self._handler()


def _always() -> bool:
    return True


def interrupted(
    operation: Callable[[], object],
    number: int,
    *,
    starts: bool = False,
    handler: Callable[[], object] = _raise,
    counts: Callable[[], object] = _always,
) -> int:
    """Run `operation`, with a KeyboardInterrupt, or a call of `handler`, at the `number`-th point of relink's and
    emu's code where a signal handler can run; with `starts`, also where functions start. Points at which `counts`
    is false are not counted. Returns how many were passed: all, if there are fewer.
    """
    interrupt = _Interrupt(number, starts, handler, counts)
    # CPython 3.11 calls it once more after `settrace(None)` in a finaliser, where the start of a function has had
    # garbage collected, and holds no reference to it then.
    entered = interrupt.entered
    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # from Python 3.12 on `settrace` looks whether there is such a frame
    sys.settrace(entered)
    try:
        operation()
    except KeyboardInterrupt:
        if interrupt.passed != number:
            raise
    finally:
        sys.settrace(before)
    return interrupt.passed
