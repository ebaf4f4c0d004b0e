"""The emulated machine: loads what `relink` links, and runs it.

from emu import Machine

with Machine("riscv64") as machine:
    library = machine.load("lib.so", symbols={"my_host_function": lambda value: value * 2})
    library.function("awesome_func", "int(int)")(42)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.host.functions import HostFunction
    from emu.library import Function, Library, Variable
    from emu.linux.process import Process
    from emu.machine import Machine

__all__ = ["Function", "HostFunction", "Library", "Machine", "Process", "Variable"]

_HOMES = {
    "Function": "library",
    "HostFunction": "host.functions",
    "Library": "library",
    "Machine": "machine",
    "Process": "linux.process",
    "Variable": "library",
}


def __getattr__(name: str) -> object:
    """The names above, imported when first asked for: `relink-emu --help` needs no machine (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"emu.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
