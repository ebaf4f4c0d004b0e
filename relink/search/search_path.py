"""Finding a library by name: every place considered, in ld.so's order, and why each was passed over.

    1. the explicit mapping; a user's finders
    2. RPATH of the image that needs it, then of those that led to it (only where there is no RUNPATH)
    3. the library path
    4. RUNPATH of the image that needs it
    5. the default folders of the sysroot
    6. a user's last finders

The order is ld.so(8)'s (glibc elf/dl-load.c, `_dl_map_object`).

The host's own folders never serve a guest by accident: absolute paths inside an image (RPATH, RUNPATH, a
DT_NEEDED with a slash) mean the guest's file system, so without a sysroot they are passed over. With one,
nothing an image says leads outside it: `..` and absolute symbolic links stop at its root, as under chroot.
The folder of an image loaded by its path serves what it needs by `$ORIGIN`, never what lies above it, and never a
running guest's dlopen. A relative path with a slash is ld.so's working directory's: there is none, so it is taken
from the folders of the library path, and otherwise refused with that reason.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, TypeAlias

from relink.arch import Architecture
from relink.elf import Decoded
from relink.elf.constants import DynamicFlag1
from relink.errors import printable
from relink.records import dataclass, field

#: A library: a path, its bytes, a binary file object, or what has been decoded already (from memory, say).
Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Decoded"

#: Given a name and the image that needs it (None: a user's request), the library, or None. See `SearchPath`.
Finder: TypeAlias = "Callable[[str, Decoded | None], Source | None]"

EXPLICIT = "explicit mapping"  #: the rule of `SearchPath.libraries`
FINDER = "finder"  #: the rule of finders
_MAX_LINKS = 40  # the kernel's own limit
_PATH_MAX = 4096  # bytes of a path, its NUL included (Linux, include/uapi/linux/limits.h)
_MOST_FOLDERS = 256  #: of one RPATH or RUNPATH that are looked at
#: $NAME ends where an identifier would (glibc elf/dl-load.c, `is_dst`): $LIBS is no token.
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")


class Candidate(NamedTuple):
    """A place where a library might be."""

    place: str  #: for people
    rule: str  #: which rule names it: "library path", "RUNPATH of libtop.so", …
    source: Source | None  #: what to open, or None when there is nothing to open
    problem: str = ""  #: why not, if already known


@dataclass(frozen=True)
class SearchPath:
    """Where libraries may come from."""

    libraries: Mapping[str, Source] = field(default_factory=dict)  #: SONAME -> file or bytes
    library_path: Sequence[str | os.PathLike[str]] = ()  #: folders of the host, in order
    sysroot: str | os.PathLike[str] | None = None  #: the guest's file system on the host
    finders: Sequence[Finder] = ()  #: asked before every rule but the explicit mapping, for any name
    last_finders: Sequence[Finder] = ()  #: asked after all rules

    def candidates(
        self, name: str, chain: Sequence[Decoded], arch: Architecture, *, needed: bool = True
    ) -> Iterator[Candidate]:
        """The places to look for `name`, in order.

        `chain` is the image that needs it, then the one that needed that, and so on; empty for a user's
        own request. `needed` is False for what a running guest asks for (dlopen): the folder of an image that was
        loaded by its path serves that image's DT_NEEDED alone.
        """
        if name in self.libraries:
            yield Candidate(f"explicit mapping of {name}", EXPLICIT, self.libraries[name])
        asking = chain[0] if chain else None
        yield from (_asked(finder, name, asking) for finder in self.finders)
        if len(os.fsencode(name)) >= _PATH_MAX:
            yield Candidate(printable(name), "a name", None, f"longer than a path may be ({_PATH_MAX} bytes)")
        else:
            yield from self._by_rules(name, chain, arch, needed=needed)
        yield from (_asked(finder, name, asking) for finder in self.last_finders)

    def _by_rules(
        self, name: str, chain: Sequence[Decoded], arch: Architecture, *, needed: bool
    ) -> Iterator[Candidate]:
        if "/" in name:
            if not name.startswith(("/", "$")):
                yield from (self._below(Path(folder), name) for folder in self.library_path)
            rule = "path in DT_NEEDED" if needed else "path given to dlopen"
            yield self._from_image(name, rule, chain[0] if chain else None, needed=needed)
            return
        if chain and chain[0].runpath is None:
            for loader in chain:
                if loader.rpath and loader.runpath is None:
                    yield from self._listed(
                        loader.rpath, name, f"RPATH of {loader.name}", loader, arch, needed=needed
                    )
        for folder in self.library_path:
            yield _existing(Path(folder) / name, "library path")
        if chain and chain[0].runpath:
            rule = f"RUNPATH of {chain[0].name}"
            yield from self._listed(chain[0].runpath, name, rule, chain[0], arch, needed=needed)
        if chain and chain[0].flags_1 & DynamicFlag1.NODEFLIB:
            problem = f"{chain[0].name} wants none of them (DF_1_NODEFLIB)"
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

        Each folder counts once, and of very many the first.
        """
        listed = list(dict.fromkeys(folders.split(":", _MOST_FOLDERS)))
        for folder in listed[:_MOST_FOLDERS]:
            for expanded in _expand_lib(folder, arch):
                yield self._from_image(f"{expanded or '.'}/{name}", rule, loader, needed=needed)
        if len(listed) > _MOST_FOLDERS:
            yield Candidate("more folders", rule, None, f"only the first {_MOST_FOLDERS} of a list are looked at")

    def _from_image(self, path: str, rule: str, loader: Decoded | None, *, needed: bool = True) -> Candidate:
        """A path an image names: the guest's, unless it starts at the image's own folder."""
        if len(os.fsencode(path)) >= _PATH_MAX:
            return Candidate(printable(path), rule, None, f"longer than a path may be ({_PATH_MAX} bytes)")
        origin = loader.path.absolute().parent if loader is not None and loader.path is not None else None
        path = _normalise_tokens(path)
        root = Path(self.sysroot).resolve() if self.sysroot is not None else None
        if path == "$ORIGIN" or path.startswith("$ORIGIN/"):
            if origin is None:
                return Candidate(path, rule, None, "$ORIGIN of an image that did not come from a file")
            rest = path.removeprefix("$ORIGIN").lstrip("/")
            real_origin = origin.resolve()
            if root is None or not real_origin.is_relative_to(root):
                return self._beside(origin, rest, rule, needed=needed)
            path = "/" + str(real_origin.relative_to(root) / rest)
        elif not path.startswith("/"):
            return Candidate(path, rule, None, "relative to a working directory the guest does not have")
        if root is None:
            return Candidate(path, rule, None, "a path of the guest's file system, and no sysroot was given")
        found = resolve_in_root(root, path)
        if found is None:
            return Candidate(f"{root}{path}", rule, None, "too many levels of symbolic links, or too long")
        return _existing(found, rule)

    def _below(self, folder: Path, path: str) -> Candidate:
        """A relative path, taken from a folder the caller has named; `..` and links lead to no other folder.

        ld.so takes it from the working directory, which a guest without a kernel does not have.
        """
        try:
            real = (folder / path).resolve()
            named = any(real.is_relative_to(Path(other).resolve()) for other in self.library_path)
        except (OSError, RuntimeError, ValueError) as error:
            return Candidate(str(folder / path), "library path", None, str(error))
        if ".." in path.split("/") or not named:
            return Candidate(str(folder / path), "library path", None, "leads outside the library path")
        return _existing(folder / path, "library path")

    def _beside(self, origin: Path, rest: str, rule: str, *, needed: bool) -> Candidate:
        """$ORIGIN of an image that lies in no sysroot: its own folder counts, for what it needs, and so do the
        folders the caller has named; nothing that leads out of them."""
        path = origin / rest
        try:
            real = path.resolve()
            named = any(real.is_relative_to(Path(folder).resolve()) for folder in self.library_path)
            below = real.is_relative_to(origin.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            return Candidate(str(path), rule, None, str(error))
        if named or (below and needed):
            return _existing(path, rule)
        problem = "leads outside the sysroot and the image's own folder"
        if below:
            problem = "the folder of an image loaded by its path serves what it needs, not dlopen"
        return Candidate(str(path), rule, None, problem)


def _asked(finder: Finder, name: str, asking: Decoded | None) -> Candidate:
    who = f"finder {getattr(finder, '__qualname__', None) or repr(finder)}"
    found = finder(name, asking)
    return Candidate(who, FINDER, found, "does not know it" if found is None else "")


def _existing(path: Path, rule: str) -> Candidate:
    place = str(path)
    try:
        if path.is_file():
            return Candidate(place, rule, path)
        if path.is_dir():
            return Candidate(place, rule, None, "is a folder")
    except (OSError, ValueError) as error:
        return Candidate(place, rule, None, str(error))
    return Candidate(place, rule, None, "no such file")


def _expand_lib(folder: str, arch: Architecture) -> Iterator[str]:
    folder = _substitute(folder, "PLATFORM", arch.platform)
    expanded = [_substitute(folder, "LIB", name) for name in arch.library_names]
    yield from expanded if expanded[0] != folder else [folder]


def _substitute(text: str, token: str, value: str) -> str:
    return _TOKEN.sub(lambda match: value if token in match.groups() else match[0], text)


def _normalise_tokens(path: str) -> str:
    return _TOKEN.sub(lambda m: "$" + (m[1] or m[2]), path)


def _default_folders(arch: Architecture) -> Iterator[str]:
    for name in arch.library_names:
        yield f"/{name}"
        yield f"/usr/{name}"


def resolve_in_root(root: Path, path: str) -> Path | None:
    """`path` of the guest as a path of the host, every symbolic link followed as if `root` were `/`.

    Components that do not exist are kept as they are. None if the links never end, or the path grows too long.
    """
    pending = [part for part in reversed(PurePosixPath(path).parts) if part != "/"]
    top = str(root)
    done: list[str] = []  # the way so far, each element with all before it
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
