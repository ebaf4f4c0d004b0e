"""The emulated machine: loads what `relink` links, and runs it.

    from emu import Machine

    with Machine("riscv64") as machine:
        library = machine.load("lib.so", symbols={"my_host_function": lambda value: value * 2})
        library.function("awesome_func", "int(int)")(42)
"""

from __future__ import annotations

from emu.host import HostFunction
from emu.library import Function, Library, Variable
from emu.machine import Machine

__all__ = ["Function", "HostFunction", "Library", "Machine", "Variable"]
