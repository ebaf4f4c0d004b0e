"""Methods that only one thread may execute at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from emu.run.reserved import Reserved
from emu.run.runner import Runner


class _Owner(Protocol):
    runner: Runner


_S = TypeVar("_S", bound=_Owner)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def exclusive(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Make a method raise MachineInUse while another thread uses the machine, or during a call (`Runner.used`)."""

    @wraps(method)
    def refused_if_in_use(owner: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with Reserved(owner.runner):
            return method(owner, *args, **kwargs)

    return refused_if_in_use


def exclusive_operation(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """`exclusive`, for a method whose outermost calls share one budget (`Runner.one_budget`)."""

    @wraps(method)
    def refused_if_in_use(owner: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with Reserved(owner.runner, one_budget=True):
            return method(owner, *args, **kwargs)

    return refused_if_in_use
