"""What the marker `relink` asks for, with the defaults of the ini file, for one test."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from emu.build.errors import BuildError, NoSources
from emu.build.recipe import Recipe
from emu.build.targets import ALL, TARGETS, Target, targets_of
from emu.build.words import split
from emu.pytest_plugin.options import INI
from relink.records import dataclass, field

#: The keys of the marker. docs/pytest.md describes them.
KEYS = frozenset({*INI, "cflags", "symbols", "prepare", "machine", "load"})
_BUILDING = ("kind", "cflags", "ldflags", "defines", "include")
_LIBRARY = ("sources", "binary", "header")


@dataclass(frozen=True)
class Wanted:
    """The values of one test, by key; `bases` are the folders that each key's paths are relative to."""

    values: Mapping[str, Any]
    bases: Mapping[str, tuple[Path, ...]]
    identity: tuple[object, ...] = field(default=(), repr=False)  #: equal for tests that want the same

    @property
    def words(self) -> list[str]:
        """The names of architectures."""
        given = self.values.get("arches", "all")
        return given.replace(",", " ").split() if isinstance(given, str) else _each("arches", given)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets to run on. Raises BuildError for unknown names."""
        return targets_of(self.words)

    @property
    def has_files(self) -> bool:
        """Whether there is a library to load."""
        return bool(self.values.get("sources") or self.values.get("binary"))

    # ------------------------------------------------------------ files

    def recipe(self, target: Target, cflags: Sequence[str]) -> Recipe | None:
        """How to build the library for a target, with more `cflags`; None when it is built already.

        Raises NoSources, BuildError.
        """
        if not self.values.get("sources"):
            return None
        if self.values.get("binary"):
            raise BuildError("the marker relink has sources= and binary=: give one of them")
        sources = tuple(path for pattern in _several(self.values["sources"]) for path in self.files(
            "sources", pattern, target
        ))  # fmt: skip
        base = self.bases["sources"][0]
        return Recipe(
            name=sources[0].stem,
            sources=tuple(dict.fromkeys(sources)),
            base=base,
            kind=str(self.values.get("kind") or "so"),
            cflags=(*_flags(self.values.get("cflags"), target), *cflags),
            ldflags=(*_flags(self.values.get("ldflags"), target), *map(str, self.needed_files(target))),
            defines=_defines(self.values.get("defines")),
            include=tuple(path for text in _several(self.values.get("include")) for path in self.paths(
                "include", text, target
            )),
        )  # fmt: skip

    def binary(self, target: Target) -> list[Path]:
        """The files of a library that is built already. Raises NoSources, BuildError."""
        for key in _BUILDING:
            if self.values.get(key):
                raise BuildError(f"the marker relink has {key}=, which needs sources=: binary= is not built")
        return [
            path for pattern in _several(self.values["binary"]) for path in self.files("binary", pattern, target)
        ]

    def needed(self, target: Target) -> list[Path]:
        """The files and folders of libraries that this one needs. Raises NoSources."""
        return [path for text in _several(self.values.get("needs")) for path in self.files("needs", text, target)]

    def needed_files(self, target: Target) -> list[Path]:
        """The members of `needed` that are files."""
        return [path for path in self.needed(target) if path.is_file()]

    def files(self, key: str, pattern: str, target: Target) -> list[Path]:
        """What a pattern matches: in the folder of the test file, or else in the root folder. Raises NoSources."""
        text = _filled(pattern, target)
        for base in self.bases[key]:
            exact = base / text
            found = [exact] if exact.exists() else [
                base / name for name in sorted(glob.glob(text, root_dir=base, recursive=True))
            ]  # fmt: skip
            if key != "needs":
                found = [path for path in found if path.is_file()]
            if found:
                return [Path(os.path.abspath(path)) for path in found]
        where = " or ".join(str(base) for base in dict.fromkeys(self.bases[key]))
        raise NoSources(f"{key}={pattern!r} matches no file for {target.name}: there is no {text} in {where}")

    def paths(self, key: str, text: str, target: Target) -> list[Path]:
        """A folder, in both bases: a compiler may search several."""
        return [Path(os.path.abspath(base / _filled(text, target))) for base in dict.fromkeys(self.bases[key])]

    def elsewhere(self, target: Target) -> bool:
        """Whether the files that a target lacks are there for another target: a library of some architectures."""
        others = {name: TARGETS[name] for name in ALL} | {each.name: each for each in self.targets}
        others.pop(target.name, None)
        for other in others.values():
            try:
                for key in ("sources", "binary", "needs"):
                    for pattern in _several(self.values.get(key)):
                        self.files(key, pattern, other)
            except NoSources:
                continue
            return True
        return False


def wanted(node: pytest.Item | Any, config: pytest.Config) -> Wanted:
    """What a test wants: each key of the closest marker that has it, or of the ini file.

    Raises BuildError for a key that no marker has.
    """
    values: dict[str, Any] = {}
    bases: dict[str, tuple[Path, ...]] = {}
    here = (node.path.parent, config.rootpath)
    there = (config.inipath.parent if config.inipath is not None else config.rootpath,)
    from_ini = {key: found for key in INI if (found := config.getini(f"relink_{key}"))}
    layers = [(_given(mark), here) for mark in node.iter_markers("relink")]
    for given, folders in [*layers, (from_ini, there)]:
        # What names another library, or says how to build it, is not about the one of a closer marker.
        other = {*_LIBRARY, *(_BUILDING if "binary" in values else ())} if _named(values) else ()
        for key, value in given.items():
            if key not in values and key not in other:
                values[key], bases[key] = value, folders
    return Wanted(values, bases, tuple(_identity(values, bases)))


def _named(values: Mapping[str, Any]) -> bool:
    return "sources" in values or "binary" in values


def _given(mark: pytest.Mark) -> dict[str, Any]:
    given = dict(mark.kwargs)
    if mark.args:
        if "sources" in given:
            raise BuildError("the marker relink has sources twice: by position and as sources=")
        given["sources"] = [text for value in mark.args for text in _several(value)]
    unknown = sorted(given.keys() - KEYS)
    if unknown:
        raise BuildError(f"the marker relink has no {', '.join(unknown)}; it has {', '.join(sorted(KEYS))}")
    return {key: value for key, value in given.items() if value is not None}


def _identity(values: Mapping[str, Any], bases: Mapping[str, tuple[Path, ...]]) -> Iterator[object]:
    for key in sorted(values.keys() - {"arches"}):
        value = values[key]
        plain = key not in ("symbols", "prepare", "machine", "load")
        yield key, repr(value) if plain else id(value), bases[key]


def _several(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str | os.PathLike):
        return [os.fspath(value)]
    if isinstance(value, Iterable):
        return [os.fspath(each) for each in value]
    raise BuildError(f"the marker relink has {value!r} where it needs a path, or several")


def _each(what: str, value: object) -> list[str]:
    if isinstance(value, Iterable):
        return [str(each) for each in value]
    raise BuildError(f"the marker relink has {value!r} where it needs {what}: text, or several words")


def _filled(text: str, target: Target) -> str:
    for name, value in (("arch", target.arch), ("target", target.name), ("triple", target.gnu)):
        text = text.replace(f"{{{name}}}", value)
    return text


def _flags(value: object, target: Target) -> list[str]:
    """Words of options: text, a sequence of words, or a mapping from names of architectures ("all") to these."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        chosen = [flags for name, flags in value.items() if target in targets_of(str(name))]
        return [word for flags in chosen for word in _flags(flags, target)]
    if isinstance(value, str):
        return [_filled(word, target) for word in split(value)]
    return [_filled(word, target) for word in _each("options", value)]


def _defines(value: object) -> tuple[tuple[str, str | None], ...]:
    """Macros: a mapping to values (None and True: defined without one, False: not defined), or words NAME, or
    NAME=VALUE.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        given = ((str(name), each) for name, each in value.items() if each is not False)
        return tuple((name, None if each is None or each is True else str(each)) for name, each in given)
    words = split(value) if isinstance(value, str) else _each("defines", value)
    return tuple((name, text if sign else None) for name, sign, text in (word.partition("=") for word in words))
