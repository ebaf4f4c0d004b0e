"""Loading the library of a marker on a new machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from emu import Machine
from emu.build.errors import BuildError
from emu.build.targets import Target
from emu.pytest_plugin.marks import Wanted
from emu.pytest_plugin.pool import Loaded

_T = TypeVar("_T")


def load(want: Wanted, target: Target, files: list[Path], timeout: float) -> Loaded:
    """A machine with the library in `files` (none: a bare machine), as the marker asks for it.

    Functions that nothing defines are bound to traps, so that tests can mock them; a call of one that is not
    mocked raises UnresolvedCall. Raises as `Machine.load` does.
    """
    needs = want.needed(target)
    options = {"timeout": timeout, **_mapping(want, "machine")}
    folders = [*(path if path.is_dir() else path.parent for path in needs), *options.pop("library_path", ())]
    machine = _accepted("machine", Machine, target.arch, library_path=folders, **options)
    try:
        library = declared = None
        if files:
            source: Any = files[0] if len(files) == 1 else files
            keywords = {"allow_unresolved": True, "symbols": want.values.get("symbols"), **_mapping(want, "load")}
            if len(files) == 1:  # the folders of the cache tell nobody anything
                keywords.setdefault("name", files[0].name)
            if want.values.get("kind") == "o":  # objects do not name what they need
                for path in want.needed_files(target):
                    machine.load(path, allow_unresolved=True)
            library = _accepted("load", machine.load, source, **keywords)
            if (header := want.values.get("header")) is not None:
                paths = want.files("header", str(header), target)
                declared = machine.types(paths[0], **_preprocessing(want, target))
                library.declare(declared)
        if (prepare := want.values.get("prepare")) is not None:
            prepare(machine if library is None else library)
        return Loaded(machine, library, target, files, declared)
    except BaseException:
        machine.close(run_destructors=False)
        raise


def _accepted(key: str, function: Callable[..., _T], *args: Any, **options: Any) -> _T:
    """What a function makes of the arguments in the marker. Raises BuildError for one that it does not take."""
    try:
        return function(*args, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise BuildError(f"the marker relink has {key}= with a wrong argument: {error}") from None


def _mapping(want: Wanted, key: str) -> dict[str, Any]:
    value = want.values.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BuildError(f"the marker relink has {key}={value!r}, which is no mapping of keyword arguments")
    return dict(value)


def _preprocessing(want: Wanted, target: Target) -> dict[str, Any]:
    """The folders and macros that the library is compiled with, for its header."""
    recipe = want.recipe(target, ())
    if recipe is None:
        return {}
    found: dict[str, Any] = {"include": recipe.include}
    if recipe.defines:
        found["defines"] = {name: 1 if value is None else value for name, value in recipe.defines}
    return found
