"""Where tests find the built fixtures: `fixture("riscv64-gcc", "basic")` is a path.

A *target* is what a fixture was compiled for and with (`TARGETS`: the seven architectures and `thumb`, each by
clang and by gcc; without a compiler's name, clang's is meant); its *architecture* (`arch_of`) is what a machine
is made of, and several targets share one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchains.build import BUILT
from toolchains.recipe import LINKED, Kind
from toolchains.recipes import RECIPES
from toolchains.targets import TARGETS as _TARGETS
from toolchains.targets import VARIANTS, Variant

TARGETS: tuple[str, ...] = tuple(VARIANTS)
ARCHES: tuple[str, ...] = tuple(dict.fromkeys(target.arch for target in _TARGETS.values()))
DEFAULT_COMPILER = "clang"


class FixtureMissing(LookupError):
    """There is no such fixture, or not for that target, or it has not been built."""


def variant_of(target: str) -> Variant:
    """The row of `target`: `variant_of("thumb-gcc").compiler == "gcc"`. Raises `FixtureMissing`."""
    name = f"{target}-{DEFAULT_COMPILER}" if target in _TARGETS else target
    if name not in VARIANTS:
        raise FixtureMissing(f"no target {target}; there are {', '.join(TARGETS)}")
    return VARIANTS[name]


def arch_of(target: str) -> str:
    """The canonical architecture of `target`: `arch_of("thumb-gcc") == "arm"`. Raises `FixtureMissing`."""
    return variant_of(target).target.arch


def targets_of(name: str) -> tuple[str, ...]:
    """The targets fixture `name` is built for, to parametrise over. Raises `FixtureMissing`."""
    if name not in RECIPES:
        raise FixtureMissing(f"no fixture {name}; there are {', '.join(RECIPES)}")
    return RECIPES[name].variants


def each_target() -> Any:
    """A fixture: each target once, without a compiler's name, for tests that compile sources of their own."""

    @pytest.fixture(params=tuple(_TARGETS))
    def target(request: pytest.FixtureRequest) -> str:
        return str(request.param)

    return target


def fixture(target: str, name: str) -> Path:
    """The file of fixture `name` (as in `toolchains.recipes`) for `target`.

    Skips the test, with the reason, where that target's toolchain cannot make it. Raises `FixtureMissing`.
    """
    variant = variant_of(target)
    if variant.name not in targets_of(name):
        if RECIPES[name].wanted(variant):
            pytest.skip(f"{name} cannot be built for {variant.name}: {RECIPES[name].lacking(variant)}")
        raise FixtureMissing(f"{name} is not built for {target}, only for {', '.join(targets_of(name))}")
    path = BUILT / variant.name / RECIPES[name].file
    if not path.is_file():
        place = path.relative_to(BUILT.parent)
        engine = "" if variant.compiler == DEFAULT_COMPILER else " --engine docker"
        command = f"python -m toolchains build{engine} --arch {variant.target.name}"
        raise FixtureMissing(f"{place} is missing: {command}")
    return path


def all_fixtures(kinds: tuple[Kind, ...] = LINKED) -> list[tuple[str, str]]:
    """Every (target, name) there is, in a stable order: shared objects and executables unless told."""
    chosen = [(name, recipe.variants) for name, recipe in RECIPES.items() if recipe.kind in kinds]
    return [(target, name) for name, targets in chosen for target in targets]
