"""Finding a library by name: every place tried, in ld.so's order, and why it was rejected.

    1. the explicit mapping; the user's finders
    2. RPATH of the image that needs it, then of the images that need that one (only without RUNPATH)
    3. the library path
    4. RUNPATH of the image that needs it
    5. the default folders of the sysroot
    6. the user's last finders

The order is ld.so(8)'s (glibc elf/dl-load.c, `_dl_map_object`).

An image cannot name arbitrary files of the host:

- Absolute paths in an image (RPATH, RUNPATH, a DT_NEEDED with a slash) are paths of the guest's file system.
  Without a sysroot they are rejected.
- With a sysroot, `..` and absolute symbolic links stop at its root, as under chroot.
- `$ORIGIN` of an image loaded by its path is the image's folder. It is used for the image's DT_NEEDED only: not
  for folders above it, and not for dlopen in a running guest.
- ld.so takes a relative path with a slash from the working directory. The guest has none, so such a path is taken
  from the folders of the library path, and otherwise rejected.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import DynamicFlag1
from relink.errors import printable, reason
from relink.records import dataclass, field
from relink.records.tuples import NamedTuple

#: A library: a path, its bytes, a binary file object, or a decoded image (for example from memory).
Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Decoded"

#: (name, image that needs it or None for a user's request) -> the library, or None. See `SearchPath`.
Finder: TypeAlias = "Callable[[str, Decoded | None], Source | None]"

EXPLICIT = "explicit mapping"  #: the rule of `SearchPath.libraries`
FINDER = "finder"  #: the rule of finders
_NO_DEFAULT = int(DynamicFlag1.NODEFLIB)
_NO_FILES = frozenset({"", ".", ".."})  #: names that are no file's
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP})  #: errors where there is no file
_MAX_LINKS = 40  # the kernel's own limit
_PATH_MAX = 4096  # bytes of a path, its NUL included (Linux, include/uapi/linux/limits.h)
_SURELY_SHORT = 1000  # characters of a path that is no longer than that in any encoding
_MOST_FOLDERS = 256  #: maximum number of folders used of one RPATH or RUNPATH
#: $NAME ends where an identifier would (glibc elf/dl-load.c, `is_dst`): $LIBS is no token.
_TOKEN = r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))"


class Candidate(NamedTuple):
    """A place to look for a library."""

    place: str  #: the place, for messages
    rule: str  #: the search rule: "library path", "RUNPATH of libtop.so", …
    source: Source | None  #: what to open, or None when there is nothing to open
    problem: str = ""  #: why it is rejected, if already known
    status: os.stat_result | None = None  #: of the file at the path `source`, when that has been asked for


@dataclass(frozen=True)
class SearchPath:
    """The places where libraries are searched."""

    libraries: Mapping[str, Source] = field(default_factory=dict)  #: SONAME -> file or bytes
    library_path: Sequence[str | os.PathLike[str]] = ()  #: folders of the host, in order
    sysroot: str | os.PathLike[str] | None = None  #: the guest's file system on the host
    finders: Sequence[Finder] = ()  #: finders called before every rule except the explicit mapping, for any name
    last_finders: Sequence[Finder] = ()  #: finders called after all rules

    def __post_init__(self) -> None:
        lists = (
            ("library_path", self.library_path), ("finders", self.finders), ("last_finders", self.last_finders)
        )  # fmt: skip
        for name, value in lists:
            if value.__class__ in (tuple, list):
                continue
            if name == "library_path" and isinstance(value, str | bytes | os.PathLike):
                raise TypeError(f"{name}={value!r} is one folder: give a list of folders")
            if not isinstance(value, Sequence):
                raise TypeError(f"{name}={value!r} is no list")
        for finder in (*self.finders, *self.last_finders):
            if not callable(finder):
                raise TypeError(f"a finder {finder!r} is no function")

    @property
    def folders(self) -> tuple[str | os.PathLike[str], ...]:
        """The folders of the host that the caller has named."""
        return (*self.library_path, *(() if self.sysroot is None else (self.sysroot,)))

    def candidates(
        self,
        name: str,
        chain: Sequence[Decoded],
        arch: Architecture,
        *,
        needed: bool = True,
        rpaths: Sequence[Decoded] | None = None,
    ) -> Iterator[Candidate]:
        """The places to look for `name`, in order.

        `chain` is the image that needs the library, the image that needs that one, and so on; empty for a user's
        request. `needed` is False for dlopen in a running guest: the folder of an image loaded by its path is
        searched for that image's DT_NEEDED only. `rpaths` are those of the chain whose RPATH counts, if known.
        """
        if name in self.libraries:
            yield Candidate(f"explicit mapping of {name}", EXPLICIT, self.libraries[name])
        asking = chain[0] if chain else None
        for finder in self.finders:
            yield _asked(finder, name, asking)
        if len(name) >= _SURELY_SHORT and len(os.fsencode(name)) >= _PATH_MAX:
            yield Candidate(printable(name), "a name", None, f"longer than PATH_MAX ({_PATH_MAX} bytes)")
        else:
            yield from self._by_rules(name, asking, chain if rpaths is None else rpaths, arch, needed=needed)
        for finder in self.last_finders:
            yield _asked(finder, name, asking)

    def _by_rules(
        self, name: str, asking: Decoded | None, chain: Sequence[Decoded], arch: Architecture, *, needed: bool
    ) -> Iterator[Candidate]:
        if "/" in name:
            if not name.startswith(("/", "$")):
                yield from (self._below(Path(folder), name) for folder in self.library_path)
            rule = "path in DT_NEEDED" if needed else "path given to dlopen"
            yield self._from_image(name, rule, asking, needed=needed)
            return
        if asking is not None and asking.runpath is None:
            for loader in chain:
                if loader.rpath and loader.runpath is None:
                    yield from self._listed(
                        loader.rpath, name, f"RPATH of {loader.name}", loader, arch, needed=needed
                    )
        for folder in self.library_path:
            yield _in_folder(folder, name)
        if asking is not None and asking.runpath:
            rule = f"RUNPATH of {asking.name}"
            yield from self._listed(asking.runpath, name, rule, asking, arch, needed=needed)
        if asking is not None and asking.flags_1 & _NO_DEFAULT:
            problem = f"{asking.name} excludes them (DF_1_NODEFLIB)"
            yield Candidate("default folders", "default folder", None, problem)
            return
        if self.sysroot is None:
            yield Candidate("default folders", "default folder", None, "no sysroot was given")
            return
        for folder_name in _default_folders(arch):
            yield self._from_image(f"{folder_name}/{name}", "default folder of the sysroot", None)

    def _listed(
        self, folders: str, name: str, rule: str, loader: Decoded, arch: Architecture, *, needed: bool
    ) -> Iterator[Candidate]:
        """A colon-separated list with $ORIGIN, $LIB and $PLATFORM (ld.so(8), "Dynamic string tokens").

        Repeated folders are used once; only the first `_MOST_FOLDERS` are used.
        """
        listed = list(dict.fromkeys(folders.split(":", _MOST_FOLDERS)))
        for folder in listed[:_MOST_FOLDERS]:
            for expanded in _expand_lib(folder, arch) if "$" in folder.replace("$ORIGIN", "") else (folder,):
                yield self._from_image(f"{expanded or '.'}/{name}", rule, loader, needed=needed)
        if len(listed) > _MOST_FOLDERS:
            yield Candidate("more folders", rule, None, f"only the first {_MOST_FOLDERS} of a list are searched")

    def _from_image(self, path: str, rule: str, loader: Decoded | None, *, needed: bool = True) -> Candidate:
        """The candidate for a path that an image names: a path of the guest, unless it begins with `$ORIGIN`."""
        if needed and self.sysroot is None and (plain := _plainly_beside(path, rule, loader)) is not None:
            return plain
        if len(os.fsencode(path)) >= _PATH_MAX:
            return Candidate(printable(path), rule, None, f"longer than PATH_MAX ({_PATH_MAX} bytes)")
        origin = loader.path.absolute().parent if loader is not None and loader.path is not None else None
        path = _normalise_tokens(path)
        root = Path(self.sysroot).resolve() if self.sysroot is not None else None
        if path == "$ORIGIN" or path.startswith("$ORIGIN/"):
            if origin is None:
                return Candidate(path, rule, None, "$ORIGIN of an image that did not come from a file")
            rest = path.removeprefix("$ORIGIN").lstrip("/")
            if root is None or not (real_origin := origin.resolve()).is_relative_to(root):
                return self._beside(origin, rest, rule, needed=needed)
            path = "/" + str(real_origin.relative_to(root) / rest)
        elif not path.startswith("/"):
            return Candidate(path, rule, None, "relative to a working directory, which the guest does not have")
        if root is None:
            return Candidate(path, rule, None, "a path of the guest's file system, but no sysroot was given")
        found = resolve_in_root(root, path)
        if found is None:
            return Candidate(f"{root}{path}", rule, None, "too many levels of symbolic links, or too long")
        return _existing(found, rule)

    def _below(self, folder: Path, path: str) -> Candidate:
        """A relative path, taken from a folder that the caller gave; `..` and symbolic links must not leave it.

        ld.so takes it from the working directory, which a guest without a kernel does not have.
        """
        try:
            real = (folder / path).resolve()
            named = any(real.is_relative_to(Path(other).resolve()) for other in self.library_path)
        except (OSError, RuntimeError, ValueError) as error:
            return Candidate(str(folder / path), "library path", None, reason(error))
        if ".." in path.split("/") or not named:
            return Candidate(
                str(folder / path), "library path", None, "resolves to a path outside the library path"
            )
        return _existing(folder / path, "library path")

    def _beside(self, origin: Path, rest: str, rule: str, *, needed: bool) -> Candidate:
        """`$ORIGIN` of an image outside any sysroot.

        The path must be in the image's own folder (for DT_NEEDED only) or in a folder that the caller gave.
        """
        path = origin / rest
        if needed and "/" not in rest and rest not in ("", ".", "..") and not os.path.islink(path):
            return _existing(path, rule)  # in the folder, wherever that is
        try:
            real = path.resolve()
            named = any(real.is_relative_to(Path(folder).resolve()) for folder in self.library_path)
            below = real.is_relative_to(origin.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            return Candidate(str(path), rule, None, reason(error))
        if named or (below and needed):
            return _existing(path, rule)
        problem = "resolves to a path outside the sysroot and the image's own folder"
        if below:
            problem = "the folder of an image loaded by its path is searched for its DT_NEEDED, not for dlopen"
        return Candidate(str(path), rule, None, problem)


def _plainly_beside(path: str, rule: str, loader: Decoded | None) -> Candidate | None:
    """The usual case: `$ORIGIN/name` is a file in the image's own folder, and no link."""
    origin, _, name = path.partition("/")
    if origin != "$ORIGIN" or loader is None or loader.path is None or "/" in name or name in _NO_FILES:
        return None
    place = f"{str(loader.path).rpartition('/')[0]}/{name}"
    if place[0] != "/" or "$" in name or len(place) > _SURELY_SHORT:
        return None
    try:  # not `suppress`, which is three calls
        status = os.lstat(place)
    except (OSError, ValueError):
        return None
    return Candidate(place, rule, place, "", status) if stat.S_ISREG(status.st_mode) else None


def _asked(finder: Finder, name: str, asking: Decoded | None) -> Candidate:
    who = f"finder {getattr(finder, '__qualname__', None) or repr(finder)}"
    found = finder(name, asking)
    return Candidate(who, FINDER, found, "does not know it" if found is None else "")


def _in_folder(folder: str | os.PathLike[str], name: str) -> Candidate:
    """The candidate for a name without a slash in a folder that the caller gave."""
    rule, place = "library path", _prefix(os.fspath(folder)) + name
    if name not in _NO_FILES:
        try:
            status = os.stat(place)
            if stat.S_ISREG(status.st_mode):  # the usual case
                return Candidate(place, rule, place, "", status)
        except (OSError, ValueError):
            pass  # `_existing` says what there is
    return _existing(Path(folder) / name, rule)


@lru_cache(maxsize=64)
def _prefix(folder: str) -> str:
    """The text of a path in a folder, up to the file's name."""
    return str(Path(folder) / "x")[:-1]


def _existing(path: Path, rule: str) -> Candidate:
    place = str(path)
    try:
        status = os.stat(place)
    except (OSError, ValueError) as error:
        absent = isinstance(error, ValueError) or error.errno in _ABSENT
        return Candidate(place, rule, None, "no such file" if absent else reason(error))
    if stat.S_ISREG(status.st_mode):
        return Candidate(place, rule, path, "", status)
    return Candidate(place, rule, None, "is a folder" if stat.S_ISDIR(status.st_mode) else "no such file")


def _expand_lib(folder: str, arch: Architecture) -> Iterator[str]:
    folder = _substitute(folder, "PLATFORM", arch.platform)
    expanded = [_substitute(folder, "LIB", name) for name in arch.library_names]
    yield from expanded if expanded[0] != folder else [folder]


def _substitute(text: str, token: str, value: str) -> str:
    return re.sub(_TOKEN, lambda match: value if token in match.groups() else match[0], text)


def _normalise_tokens(path: str) -> str:
    if path.startswith("$ORIGIN/") and path.count("$") == 1:
        return path
    return re.sub(_TOKEN, lambda m: "$" + (m[1] or m[2]), path)


def _default_folders(arch: Architecture) -> Iterator[str]:
    for name in arch.library_names:
        yield f"/{name}"
        yield f"/usr/{name}"


def resolve_in_root(root: Path, path: str) -> Path | None:
    """Translate a guest path into a host path, following symbolic links as if `root` were `/`.

    Components that do not exist are kept. None when there are too many links, or the path becomes too long.
    """
    pending = [part for part in reversed(PurePosixPath(path).parts) if part != "/"]
    top = str(root)
    done: list[str] = []  # the components resolved so far, each with its prefix
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        here = f"{done[-1] if done else top}/{part}"
        if len(here) >= _PATH_MAX:
            return None
        try:
            target = os.readlink(here)
        except (OSError, ValueError):
            done.append(here)
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        if target.startswith("/"):
            done.clear()
        pending.extend(p for p in reversed(PurePosixPath(target).parts) if p != "/")
    return Path(done[-1] if done else top)
