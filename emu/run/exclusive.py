"""Methods that only one thread may execute at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from emu.run.reserved import used_out_of_turn
from emu.run.runner import Runner


class _Owner(Protocol):
    runner: Runner


_S = TypeVar("_S", bound=_Owner)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def exclusive(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Make a method raise MachineInUse while another thread uses the machine, or during a call (`Runner.used`)."""
    return _exclusive(method, one_budget=False)


def exclusive_operation(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """`exclusive`, for a method whose outermost calls share one budget (`Runner.one_budget`)."""
    return _exclusive(method, one_budget=True)


def _exclusive(
    method: Callable[Concatenate[_S, _P], _R], *, one_budget: bool
) -> Callable[Concatenate[_S, _P], _R]:
    @wraps(method)
    def refused_if_in_use(owner: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        runner = owner.runner
        runner.reserve()  # as in `Runner.used`, without the calls of its generator: small loads go through here
        outermost = False  # of those that share a budget
        try:
            if runner.depth and not runner.in_host:
                raise used_out_of_turn()
            outermost = one_budget and not (runner.depth or runner.in_operation)
            if outermost:
                runner.in_operation = True
            return method(owner, *args, **kwargs)
        except Exception as error:
            runner.refuse(error)
            raise
        finally:
            if outermost:
                runner.in_operation, runner.shared = False, None
            runner.uses -= 1

    return refused_if_in_use
