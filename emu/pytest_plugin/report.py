"""The report of a failed test: what the guest did, without the frames of this project."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from emu.errors import Frame, GuestFault
from emu.pytest_plugin.pool import GuestCall, Loaded

_LONGEST = 4000  #: characters of the guest's output that are shown, from its end
_WIDEST = 100  #: characters of a value
_AROUND = 3  #: source lines before and after the one of a fault


def prune(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remove the frames of `emu` and `relink` from the traceback of a test.

    They stay with --full-trace, and where the exception is neither one of this project's nor raised by the user's
    code: then they show a bug.
    """
    if call.excinfo is None or item.config.getoption("fulltrace", False):
        return
    changed = [_pruned(error) for error in _related(call.excinfo.value)]
    if any(changed):
        call.excinfo = pytest.ExceptionInfo.from_exception(call.excinfo.value)


def _related(first: BaseException) -> Iterator[BaseException]:
    """An exception, its causes, and the parts of groups."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [first]
    while pending:
        error = pending.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        pending.append(error.__cause__ or (None if error.__suppress_context__ else error.__context__))
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions


def _pruned(error: BaseException) -> bool:
    """Remove the project's frames from an exception's own traceback; whether there were any."""
    entries = list(_entries(error.__traceback__))
    own = [_is_own(entry) for entry in entries]
    ours = type(error).__module__.partition(".")[0] in ("emu", "relink")
    if not any(own) or not (ours or not own[-1]):
        return False
    kept = [entry for entry, hidden in zip(entries, own, strict=True) if not hidden]
    error.with_traceback(_chained(kept))
    return True


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_own(entry: TracebackType) -> bool:
    name = str(entry.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in ("emu", "relink") or name == "unittest.mock"


def _chained(entries: list[TracebackType]) -> TracebackType | None:
    trace: TracebackType | None = None
    for entry in reversed(entries):
        trace = TracebackType(trace, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trace


# ---------------------------------------------------------------- sections


def add_sections(item: pytest.Item, call: pytest.CallInfo[None], made: Any, loaded: Loaded) -> None:
    """Add the guest's part to the report of a test that failed."""
    if not made.failed or call.excinfo is None or call.when == "teardown":  # the machine is another test's then
        return
    loaded.spent = True
    fault = _fault(call.excinfo.value)
    if fault is not None:
        made.sections.append(("guest fault", "\n".join([fault.report(), *_source(fault)])))
    if loaded.calls:
        made.sections.append(("last calls of the guest", "\n".join(_shown(each, loaded) for each in loaded.calls)))
    if (libc := getattr(loaded.machine.os, "libc", None)) is not None:
        for name in ("stdout", "stderr"):
            if content := getattr(libc, name).getvalue():
                made.sections.append((f"guest {name}", content.decode(errors="replace")[-_LONGEST:]))
    made.sections.append(("to run this test again", "\n".join(_commands(item, loaded))))


def _fault(error: BaseException) -> GuestFault | None:
    """The guest's fault among an exception and its causes."""
    return next((each for each in _related(error) if isinstance(each, GuestFault)), None)


def _source(fault: GuestFault) -> Iterator[str]:
    """The lines of source around the fault: of the innermost frame that has them."""
    for frame in (fault.frame, *fault.backtrace):
        if (lines := list(_lines(frame))) and frame.file is not None:
            yield from ("", f"{frame.file}:{frame.line}", *lines)
            return


def _lines(frame: Frame) -> Iterator[str]:
    if frame.file is None or frame.line is None:
        return
    try:
        text = Path(frame.file).read_text(errors="replace").splitlines()
    except OSError:
        return
    for number in range(max(frame.line - _AROUND, 1), min(frame.line + _AROUND, len(text)) + 1):
        yield f"{'=>' if number == frame.line else '  '} {number:5} {text[number - 1]}"


def _name(call: GuestCall, loaded: Loaded) -> str:
    frame = loaded.machine.symbolize(call.address & loaded.machine.arch.code_address_mask, source=False)
    return frame.symbol if frame.symbol is not None and not frame.offset else str(frame)


def _shown(call: GuestCall, loaded: Loaded) -> str:
    text = f"{_name(call, loaded)}({', '.join(map(_value, call.arguments))})"
    if call.error is not None:
        return f"{text} raised {type(call.error).__name__}"
    return f"{text} -> {_value(call.result)}"


def _value(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a user's repr, or a view of memory that is gone
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _commands(item: pytest.Item, loaded: Loaded) -> Iterator[str]:
    """A command for this test, from the folder pytest was started in; and one that looks at the library."""
    root, here = item.config.rootpath, item.config.invocation_params.dir
    path, _, rest = item.nodeid.partition("::")
    words = ["pytest", f"{os.path.relpath(root / path, here)}::{rest}"]
    for option in ("compiler", "build_cache"):
        if given := item.config.getoption(f"relink_{option}"):
            words.append(f"--relink-{option.replace('_', '-')}={given}")
    words += [f"--relink-cflags={text}" for text in item.config.getoption("relink_cflags") or ()]
    yield shlex.join(words)
    if len(loaded.files) == 1:
        words = ["relink-emu", "call", "--arch", loaded.target.arch, "--allow-unresolved", str(loaded.files[0])]
        calls = [_in_c(each, loaded) for each in loaded.calls]
        if calls and calls[-1] is not None:
            yield shlex.join([*words, *(text for text in calls if text is not None)])


def _in_c(call: GuestCall, loaded: Loaded) -> str | None:
    """A call as `relink-emu call` reads it; None for arguments that it does not."""
    name = _name(call, loaded)
    arguments = [_literal(each) for each in call.arguments]
    if not name.isidentifier() or None in arguments:
        return None
    return f"{name}({', '.join(map(str, arguments))})"


def _literal(value: object) -> str | None:
    if value is None:
        return "NULL"
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str) and value.isascii() and value.isprintable() and not set(value) & set('"\\'):
        return f'"{value}"'
    return None
