"""Where tests find the built fixtures: `fixture("riscv64", "basic")` is a path.

A *target* is what a fixture was compiled for (`TARGETS`: the seven architectures and `thumb`); its
*architecture* (`arch_of`) is what a machine is made of, and two targets may share one.
"""

from __future__ import annotations

from pathlib import Path

from toolchains.build import BUILT
from toolchains.recipes import RECIPES
from toolchains.targets import TARGETS as _TARGETS

TARGETS: tuple[str, ...] = tuple(_TARGETS)
ARCHES: tuple[str, ...] = tuple(dict.fromkeys(target.arch for target in _TARGETS.values()))


class FixtureMissing(LookupError):
    """There is no such fixture, or not for that target, or it has not been built."""


def arch_of(target: str) -> str:
    """The canonical architecture of `target`: `arch_of("thumb") == "arm"`. Raises `FixtureMissing`."""
    if target not in _TARGETS:
        raise FixtureMissing(f"no target {target}; there are {', '.join(TARGETS)}")
    return _TARGETS[target].arch


def targets_of(name: str) -> tuple[str, ...]:
    """The targets fixture `name` is built for, to parametrise over. Raises `FixtureMissing`."""
    if name not in RECIPES:
        raise FixtureMissing(f"no fixture {name}; there are {', '.join(RECIPES)}")
    return RECIPES[name].targets


def fixture(target: str, name: str) -> Path:
    """The file of fixture `name` (as in `toolchains.recipes`) for `target`. Raises `FixtureMissing`."""
    arch_of(target)
    if target not in targets_of(name):
        raise FixtureMissing(f"{name} is not built for {target}, only for {', '.join(targets_of(name))}")
    path = BUILT / target / RECIPES[name].file
    if not path.is_file():
        place = path.relative_to(BUILT.parent)
        raise FixtureMissing(f"{place} is missing: python -m toolchains build --arch {target}")
    return path


def all_fixtures() -> list[tuple[str, str]]:
    """Every (target, name) there is, in a stable order."""
    return [(target, name) for name in RECIPES for target in RECIPES[name].targets]
