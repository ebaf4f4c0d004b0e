"""Exceptions as messages and as JSON."""

from __future__ import annotations

import difflib
import enum
import os
import platform
import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

from emu.cli.output import Address, Json, jsonable
from emu.debug.demangle import demangled
from emu.errors import ConstructorFault, GuestFault
from relink.errors import FloatAbiMismatch, LibraryNotFound, LinkErrors, UnresolvedSymbol, printable
from relink.records import fields, is_dataclass

SCHEMA = "relink-emu/error/1"

_UNRESOLVED_HINT = "\n(--allow-unresolved links anyway, -D NAME=VALUE defines one)"
_SEARCH_HINT = (
    "-L FOLDER searches a folder, --sysroot FOLDER a file system of the target's, such as relink-emu fetch "
    "makes of Debian's packages; --sysroot / --arch {host} takes this host's own libraries"
)
_MANGLED = re.compile(r"\b_[ZR]\w+")
#: Attributes of errors that are guest addresses.
_ADDRESSES = frozenset({"address", "pc"})


def messages(error: BaseException, *, demangle: bool = True) -> Iterator[str]:
    """The messages for an error, one per problem; a message may have several lines. The undefined symbols of an
    image are one message.
    """
    parts = list(_parts(error))
    undefined: dict[str, list[UnresolvedSymbol]] = {}
    for part in parts:
        if isinstance(part, UnresolvedSymbol):
            undefined.setdefault(part.image, []).append(part)
    groups = list(undefined)
    for part in parts:
        if not isinstance(part, UnresolvedSymbol):
            yield _message(part, demangle=demangle)
        elif part is undefined[part.image][0]:
            last = part.image == groups[-1]
            linking = any(not unresolved.detail for group in undefined.values() for unresolved in group)
            hint = _UNRESOLVED_HINT if last and linking else ""
            yield _undefined(undefined[part.image], demangle=demangle) + hint


def _parts(error: BaseException) -> Iterator[BaseException]:
    """The single errors of a group."""
    if isinstance(error, LinkErrors):
        for part in error.exceptions:
            yield from _parts(part)
    else:
        yield error


def _undefined(errors: Sequence[UnresolvedSymbol], *, demangle: bool) -> str:
    """The message for the undefined symbols of one image, one line each if there are several."""
    texts = []
    for error in errors:
        # Both names: --define and link maps use the mangled one.
        readable = demangled(error.symbol) if demangle else None
        texts.append(str(error) if readable is None else f"{error}: {readable}")
    if len(texts) == 1:
        return texts[0]
    start = f"{printable(errors[0].image)}: undefined symbol: "
    lines = "".join(f"\n  {text.removeprefix(start)}" for text in texts)
    return f"{printable(errors[0].image)}: {len(texts)} undefined symbols:{lines}"


def _message(error: BaseException, *, demangle: bool) -> str:
    text = _text(error)
    fault = error.__cause__ if isinstance(error, ConstructorFault) else error
    if isinstance(fault, GuestFault):
        text += fault.report().removeprefix(str(fault))
    return _MANGLED.sub(lambda match: demangled(match[0]) or match[0], text) if demangle else text


def _text(error: BaseException) -> str:
    """An error's message, with advice for the command line instead of Python."""
    if is_of_a_file(error):
        return f"{printable(os.fsdecode(error.filename))}: {error.strerror}"
    if isinstance(error, FloatAbiMismatch):
        hint = f": give --float-abi {error.theirs}" if error.supported else ""
        return (
            f"{printable(error.source)}: makes {error.theirs} calls, this machine makes {error.ours} calls{hint}"
        )
    if isinstance(error, LibraryNotFound) and any("no sysroot" in problem for _, problem in error.tried):
        here = f"{_here(error.name)}; " if error.needed_by is None else ""
        return f"{error}\n({here}{_SEARCH_HINT.format(host=platform.machine())})"
    return str(error) or type(error).__name__


def is_of_a_file(error: BaseException) -> TypeGuard[OSError]:
    """Whether the error names a file that could not be read or written: the user's, not a bug."""
    return isinstance(error, OSError) and isinstance(error.filename, str | bytes)


def _here(library: str) -> str:
    """The files of the working directory that may be meant by a library that was not found."""
    try:
        names = [name for name in os.listdir() if ".so" in name or name.endswith((".o", ".a"))]
    except OSError:
        names = []
    close = difflib.get_close_matches(library, names, n=3)
    return f"the working directory has {', '.join(map(printable, close)) or 'no such file'}"


def described(error: BaseException) -> dict[str, Json]:
    """An error as JSON: its type, message and attributes."""
    facts: dict[str, Json] = {"type": type(error).__name__, "message": _text(error)}
    if isinstance(error, LinkErrors):
        return facts | {"image": error.image, "errors": [described(part) for part in error.exceptions]}
    for name, value in vars(error).items():
        if not name.startswith("_"):
            facts.setdefault(name, _fact(name, value))
    if isinstance(error, UnresolvedSymbol):
        facts["demangled"] = demangled(error.symbol)
    if isinstance(error, LibraryNotFound):
        facts["tried"] = [{"place": place, "problem": problem} for place, problem in error.tried]
    if error.__cause__ is not None:
        facts["cause"] = described(error.__cause__)
    return facts


def _fact(name: str, value: object) -> Json:
    if name in _ADDRESSES and isinstance(value, int):
        return str(Address(value))
    if name == "registers" and isinstance(value, dict):
        return {register: str(Address(content)) for register, content in value.items()}
    if isinstance(value, enum.Enum):
        return value.name
    if is_dataclass(value):
        return {f.name: _fact(f.name, getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_fact("", item) for item in value]
    try:
        return jsonable(value)
    except TypeError:
        return str(value)
