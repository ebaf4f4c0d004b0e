"""Values of a trace as short texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from emu.calls.types import Pointer, Prototype, VaListType, Void
from relink.errors import AddressSpaceError

if TYPE_CHECKING:
    from emu.calls.types import CType

_LONGEST_STRING: Final = 40
_LONGEST_VALUE: Final = 80
_CHARACTERS: Final = frozenset({"char", "signed char", "unsigned char"})

ReadString = Callable[[int, int], bytes]


def shown(value: Any, ctype: CType | None, read: ReadString) -> str:
    """A value of a C type: strings that pointers to characters lead to, addresses in hexadecimal, short."""
    if isinstance(ctype, VaListType):
        return "..."
    if isinstance(ctype, Pointer):
        return _pointer(int(value or 0), ctype, read)
    if isinstance(value, bool) or value is None:
        return str(value)
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def _pointer(address: int, ctype: Pointer, read: ReadString) -> str:
    if not address:
        return "NULL"
    if str(ctype.target) not in _CHARACTERS:
        return hex(address)
    try:
        data = read(address, _LONGEST_STRING + 1)
    except AddressSpaceError:
        return hex(address)
    text = data[:_LONGEST_STRING].decode("utf-8", "backslashreplace")
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    return quoted + "…" if len(data) > _LONGEST_STRING else quoted


def result_shown(value: Any, prototype: Prototype, read: ReadString) -> str | None:
    """A result; None for void."""
    return None if isinstance(prototype.result, Void) else shown(value, prototype.result, read)
