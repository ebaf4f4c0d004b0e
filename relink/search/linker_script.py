"""Finding the files that a linker script names; `relink.elf.linker_script` parses the scripts.

A path in a script is a path of the target: with a sysroot it never leaves the sysroot; without one a script can
name only files in its own folder and in the library path.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from relink.elf.constants import FileType
from relink.elf.headers import read_header
from relink.elf.linker_script import ScriptInput, is_script_file, script_inputs
from relink.elf.source import is_archive, map_file
from relink.errors import LibraryNotFound, UnsupportedElf, printable
from relink.records.tuples import NamedTuple
from relink.search.search_path import SearchPath, Source, resolve_in_root

_DEEPEST = 8  #: nesting limit for scripts that name scripts
_START = 64  #: number of bytes that contain an ELF header


class ScriptFiles(NamedTuple):
    """The files that replace linker scripts."""

    root: Source | list[Source]  #: the root: objects and archives, linked into one image, or a shared object
    beside: list[Path]  #: shared objects to load with it


def script_files(source: object, search: SearchPath) -> ScriptFiles | None:
    """Replace the linker scripts in `source`, a path or a list of files; None when it has none.

    Raises ElfError, UnsupportedElf for a script with unsupported commands, LibraryNotFound for a file that a
    script names.
    """
    listed: Sequence[Source] = source if isinstance(source, list | tuple) else [source]  # type: ignore[list-item]
    if not any(is_script_file(item) for item in listed):
        return None
    objects: list[Source] = []
    libraries: list[Path] = []
    for item in listed:
        if isinstance(item, str | os.PathLike) and is_script_file(item):
            for path in _expanded(Path(item), search, 0):
                (libraries if _is_shared(path) else objects).append(path)
        else:
            objects.append(item)
    if libraries and all(_is_archive(source) for source in objects):
        # A shared object is already linked, so it does not need the archives' members.
        return ScriptFiles(libraries[0], libraries[1:])
    return ScriptFiles(objects, libraries)


def _is_archive(source: Source) -> bool:
    return isinstance(source, str | os.PathLike) and is_archive(map_file(Path(source), os.fspath(source)))


def _is_shared(path: Path) -> bool:
    """Whether a file is a shared object, not a relocatable object or an archive."""
    data = map_file(path, str(path))
    return not is_archive(data) and read_header(str(path), data[:_START].tobytes()).type == FileType.DYN


def _expanded(script: Path, search: SearchPath, depth: int) -> Iterator[Path]:
    """The files that a script names, in order; an AS_NEEDED file may be missing."""
    name = str(script)
    if depth > _DEEPEST:
        raise UnsupportedElf(name, f"linker scripts are nested more than {_DEEPEST} deep")
    for wanted in script_inputs(name, map_file(script, name)):
        tried: list[tuple[str, str]] = []
        found = next(_places(wanted, script, search, tried), None)
        if found is None:
            if wanted.as_needed:
                continue
            raise LibraryNotFound(printable(wanted.name), name, tried)
        if is_script_file(found):
            yield from _expanded(found, search, depth + 1)
        elif not (wanted.as_needed and _is_shared(found)):
            yield found


def _places(wanted: ScriptInput, script: Path, search: SearchPath, tried: list[tuple[str, str]]) -> Iterator[Path]:
    """The places of a file that a script names, in search order; rejected places are added to `tried`."""
    root = Path(search.sysroot).resolve() if search.sysroot is not None else None
    for name in wanted.file_names:
        for path in _candidates(name, script, search, root):
            if path is None:
                tried.append((name, "outside the script's own folder, and no sysroot was given"))
            elif path.is_file():
                yield path
            else:
                tried.append((str(path), "no such file"))


def _candidates(name: str, script: Path, search: SearchPath, root: Path | None) -> Iterator[Path | None]:
    folder = script.resolve().parent
    inside = root is not None and folder.is_relative_to(root)
    name = name.removeprefix("$SYSROOT").removeprefix("=")  # both prefixes mean the sysroot (GNU ld, `INPUT`)
    if name.startswith("/"):
        if root is not None:
            yield resolve_in_root(root, name)
        else:
            yield _within(Path(name), folder)
        return
    if inside:
        assert root is not None
        yield resolve_in_root(root, f"/{folder.relative_to(root)}/{name}")
    else:
        yield _within(folder / name, folder)
    for named in search.library_path:
        yield _within(Path(named) / name, Path(named).resolve())


def _within(path: Path, folder: Path) -> Path | None:
    """The path if it resolves to a place below `folder`, else None."""
    return path if Path(os.path.realpath(path)).is_relative_to(folder) else None
