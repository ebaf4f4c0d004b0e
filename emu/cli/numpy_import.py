"""The import of numpy by a command: a third of the time of a small load, much of it for what no command uses.

Left out are the threads of its BLAS. What numpy imports and needs only when asked is run at its first use:
docstrings of functions written in C, four modules of the standard library, and `numpy._typing` but for one alias.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

_LOCK = RLock()


def import_numpy() -> None:
    """Import numpy. The variable for its BLAS is not for processes that a command starts, such as a compiler."""
    threads = "OPENBLAS_NUM_THREADS"
    given = threads in os.environ
    os.environ.setdefault(threads, "1")
    sys.meta_path.insert(0, _Finder)
    try:
        import numpy  # noqa: F401
    finally:
        sys.meta_path.remove(_Finder)
        if not given:
            os.environ.pop(threads, None)


class _Array:
    """`NDArray[scalar]`, as numpy defines it."""

    def __class_getitem__(cls, scalar: Any) -> Any:
        from numpy import dtype, ndarray

        return ndarray[tuple[Any, ...], dtype[scalar]]


#: Modules that wait for their first use, and what each has before.
_WAITING: dict[str, dict[str, Any]] = {
    "numpy._core._add_newdocs": {},
    "numpy._core._add_newdocs_scalars": {},
    "numpy._typing": {"NDArray": _Array},  # numpy.linalg annotates with it
    **{name: {} for name in ("pickle", "platform", "textwrap", "tokenize")},
}


class _Finder(PathFinder):
    """Finds the modules that wait."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = super().find_spec(name, path, target) if name in _WAITING else None
        if found is not None and found.loader is not None:
            found.loader_state, found.loader = found.loader, _WaitingLoader()  # type: ignore[assignment]
        return found


class _WaitingLoader:
    """Makes a module and does not run it. Its protocol without the base class, whose import costs more than this
    module saves.
    """

    def create_module(self, _spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_WAITING[module.__name__])
        module.__class__ = _WaitingModule


class _WaitingModule(ModuleType):
    """A module that is run when somebody asks for something it does not have. `LazyLoader` of the standard library
    runs one as soon as it is imported a second time, and lets other threads see it half run.
    """

    def __getattr__(self, name: str) -> Any:
        spec = self.__spec__
        assert spec is not None
        with _LOCK:
            loader, spec.loader_state = spec.loader_state, None
            if loader is not None:
                try:
                    loader.exec_module(self)
                except BaseException:
                    spec.loader_state = loader
                    raise
        if name in vars(self):
            return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
