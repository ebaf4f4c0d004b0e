"""Registering a function of libm for each of C's real types.

Where a long double is passed by reference (RISC-V 32), a result is stored at the address in a hidden first
argument (RISC-V psABI, "Integer Calling Convention").
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.calls.values import WideFloat
from emu.libc.ieee import exact, long_double
from emu.libc.table import long_double_by_value, register

if TYPE_CHECKING:
    from emu.isa.spec import Isa
    from emu.libc.library import Libc

WIDTHS = (("double", ""), ("float", "f"), ("long double", "l"))
_VALUE = re.compile(r"\bT (?=\w)")


def _by_reference(isa: Isa) -> bool:
    return not isa.long_double_by_value


def export_widths(
    name: str, result: str, parameters: str, make: Callable[[str], Callable[..., object]], aliases: str = ""
) -> None:
    """Register `make(ctype)` for each width: `name` with its suffix, before "_r" if it ends so.

    T stands for the type. `aliases` are patterns such as "__{}" of the name.
    """
    stem = name.removesuffix("_r")
    for ctype, suffix in WIDTHS:
        call = make(ctype)
        for pattern in ("{}", *aliases.split()):
            full = pattern.format(stem + suffix + name[len(stem) :])
            register_real(full, result, parameters, ctype, call)


def register_real(full: str, result: str, parameters: str, ctype: str, call: Callable[..., object]) -> None:
    """Register one function, T being `ctype`."""
    prototype = f"{result} {full}({parameters})".replace("T", ctype) if ctype != "T" else ""
    wide = ctype == "long double" and "T" in f"{result} {parameters}"
    register(full, prototype, call, long_double_by_value if wide else None)  # type: ignore[arg-type]
    if not wide:
        return
    hidden = "void *result, " if result == "T" else ""
    referred = _VALUE.sub("const void *", parameters).replace("T *", "void *")
    values = [bool(_VALUE.search(parameter)) for parameter in parameters.split(", ")]
    returned = "void *" if result == "T" else result + " "
    adapted = _through_memory(call, values, stores=result == "T")
    register(full, f"{returned}{full}({hidden}{referred})", adapted, _by_reference, family=_family(call))


def _family(call: Callable[..., object]) -> str:
    return call.__module__.rpartition(".")[2]


def _through_memory(
    call: Callable[..., object], values: list[bool], *, stores: bool
) -> Callable[..., int | float | None]:
    def adapted(libc: Libc, *args: int) -> int | float | None:
        form, _ = long_double(libc.isa.data)
        given = args[1:] if stores else args
        fetched = [
            WideFloat.of(int.from_bytes(libc.memory.read(word, form.size), "little"), libc.isa.data.long_double)
            if wide
            else word
            for word, wide in zip(given, values, strict=True)
        ]
        answer = call(libc, *fetched)
        if not stores:
            return answer  # type: ignore[return-value]
        assert isinstance(answer, float)
        libc.memory.write(args[0], form.round(exact(answer)).to_bytes(form.size, "little"))
        return args[0]

    return adapted
