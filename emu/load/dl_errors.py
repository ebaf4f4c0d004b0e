"""The messages of dlerror for refused requests and failed loads, with glibc's wording."""

from __future__ import annotations

import re
from collections.abc import Iterable

from relink.arch import ARCHITECTURES
from relink.elf import Decoded
from relink.elf.constants import DynamicFlag1, FileType
from relink.errors import (
    LibraryNotFound,
    LinkErrors,
    NotElf,
    RelinkError,
    Truncated,
    UnresolvedSymbol,
    VersionNotFound,
)
from relink.search.graph import Node

_NO_SUCH_FILE = "cannot open shared object file: No such file or directory"
_NOT_FOR_DLOPEN = "shared object cannot be dlopen()ed"
_IS_A_FOLDER = "cannot read file data: Is a directory"


class DlError(Exception):
    """A refused request; the text is the dlerror message."""


def check_openable(path: str, decoded: Decoded) -> None:
    """Raise DlError for a file that a running program cannot open (glibc, elf/dl-load.c)."""
    if decoded.header.type == FileType.EXEC:
        raise DlError(f"{path}: cannot dynamically load executable")
    if decoded.flags_1 & DynamicFlag1.PIE:
        raise DlError(f"{path}: cannot dynamically load position-independent executable")
    if decoded.flags_1 & DynamicFlag1.NOOPEN:
        raise DlError(f"{path}: {_NOT_FOR_DLOPEN}")


def check_may_open(libraries: Iterable[Decoded]) -> None:
    """Raise DlError when dlopen may not add one of these, be it as a dependency (`ld -z nodlopen`)."""
    for decoded in libraries:
        if decoded.flags_1 & DynamicFlag1.NOOPEN:
            raise DlError(f"{decoded.soname or decoded.name}: {_NOT_FOR_DLOPEN}")


def missing(node: Node, bits: int) -> str:
    """glibc's message for a library that was not found, in a program with `bits`-bit words."""
    for place, problem in node.tried:
        if place in node.foreign:
            return f"{place}: invalid ELF header"
        if problem == "is a folder" and "/" in node.name:
            return f"{node.name}: {_IS_A_FOLDER}"
        if "fixed-address executable" in problem:
            return f"{place}: cannot dynamically load executable"
        foreign = re.match(r"is for (\w+),", problem)
        other = ARCHITECTURES.get(foreign[1]) if foreign is not None else None
        if other is not None and other.bits != bits:
            return f"{node.name}: wrong ELF class: ELFCLASS{other.bits}"
    return f"{node.name}: {_NO_SUCH_FILE}"


def wording(error: RelinkError) -> str:
    """The dlerror message for a failed load, with glibc's wording where it has one; for several errors the
    first.
    """
    match error:
        case LinkErrors() if isinstance(first := error.exceptions[0], RelinkError):
            return wording(first)
        case LibraryNotFound():
            return f"{error.name}: {_NO_SUCH_FILE}"
        case VersionNotFound():
            return str(error)
        case UnresolvedSymbol():
            wanted = f"{error.symbol}, version {error.version}" if error.version else error.symbol
            return f"{error.image}: undefined symbol: {wanted}"
        case NotElf():
            return f"{error.source}: invalid ELF header"
        case Truncated() if "file is empty" in error.problem or "header is cut short" in error.problem:
            return f"{error.source}: file too short"
        case _:
            return str(error)
