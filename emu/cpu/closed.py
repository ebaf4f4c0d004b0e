"""The object that takes the place of a closed CPU's engine."""

from __future__ import annotations

from typing import NoReturn

from relink.errors import MachineError


class Closed:
    """Replaces the engine, and what belongs to it, of a closed CPU."""

    def _refuse(self, *_: object) -> NoReturn:
        raise MachineError("the CPU has been closed")

    __getattr__ = __setattr__ = __getitem__ = _refuse

    @property
    def _as_parameter_(self) -> NoReturn:  # ctypes calls this for an argument
        raise MachineError("the CPU has been closed")
