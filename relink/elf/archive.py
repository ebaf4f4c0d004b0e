"""Static archives (`.a`): their members by number, and the member that defines a symbol.

    from relink.elf.archive import Archive

    archive = Archive.open("libz.a")
    [member.name for member in archive.members]
    archive.defining(Names.of(["crc32"]))     # array([2])
    archive.object(2).symbols

Supported formats:

- GNU (System V) archives with long names and 32- or 64-bit symbol indices;
- BSD archives: their member names and indices;
- archives of Microsoft's format, as `llvm-ar --format=coff` writes them;
- thin archives, whose members are separate files, or members of other archives.

Sources: ar(5) of FreeBSD; binutils' `include/aout/ar.h`; the System V ABI, chapter 7, "Archive File".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from relink.arrays import I64, U8
from relink.elf.archive_index import ArchiveIndex, RawIndex, read_bsd_index, read_gnu_index
from relink.elf.constants import ELF_MAGIC, FileType
from relink.elf.foreign import is_bitcode
from relink.elf.headers import read_header
from relink.elf.members import Member, Members
from relink.elf.names import Names
from relink.elf.objects import ObjectFile, decode_opened_object
from relink.elf.source import ARCHIVE, THIN_ARCHIVE, Source, caller_folders, is_archive, map_file, open_source
from relink.errors import MalformedElf, NotElf, Truncated, UnsupportedElf
from relink.records import cached_property, dataclass, field

__all__ = ["Archive", "ArchiveIndex", "Member", "Members"]

_SCRIPT = b"/* GNU ld script"  #: glibc's libm.a is such a script on some targets
_HEADER = 60  #: bytes: name 16, date 12, uid 6, gid 6, mode 8, size 10, terminator 2
_END_OF_HEADER = b"`\n"
_MAX_NESTING = 8  #: limit for thin archives that name members of other archives
# The start of most objects: e_ident without EI_OSABI and its version, and e_type ET_REL.
_PLAIN, _PLAIN_OBJECTS, _REL = 64, (ELF_MAGIC + b"\1\1\1\0", ELF_MAGIC + b"\2\1\1\0"), b"\1\0"
# Entries of the long-name table may overlap. The names together may have at most `_OVERLAP` times the bytes of the
# table; the first `_SLACK` bytes of each name are not counted.
_OVERLAP, _SLACK = 4, 64


@dataclass(frozen=True, eq=False)
class Archive:
    """A decoded archive. `members` are in file order, without the symbol index and the long-name table; a member's
    number is its index in this sequence. A `thin` archive does not contain its members' bytes.
    """

    name: str
    path: Path | None
    data: U8
    thin: bool
    members: Members
    _raw_index: RawIndex | None = field(repr=False)

    @classmethod
    def open(cls, source: Source, *, name: str | None = None) -> Archive:
        """Read the headers of all members.

        `source` and `name` are as in `decode`. The paths of a thin archive's members are relative to the
        archive's. Raises ElfError when the file cannot be read, NotElf when it does not begin with an archive
        magic, and Truncated or MalformedElf for bad member headers.
        """
        return _open(*open_source(source, name), depth=0)

    def object(self, number: int) -> ObjectFile:
        """Decode member `number`. Raises what `decode_object` raises; errors name the archive and the member."""
        return decode_opened_object(self.members.full_name(number), None, self.members.content(number))

    def undecoded(self) -> list[ObjectFile]:
        """All `objects`, not yet decoded nor checked."""
        members = self.members
        return [ObjectFile(members.full_name(number), None, members.content(number)) for number in self.objects]

    @cached_property
    def objects(self) -> tuple[int, ...]:
        """The numbers of the members that are relocatable objects; an archive may also contain other files."""
        return tuple(self._objects())

    @property
    def first_object(self) -> int | None:
        """The number of the first of `objects`, None without one."""
        return next(self._objects(), None)

    def _objects(self) -> Iterator[int]:
        return (number for number in range(len(self.members)) if _is_object(self.members, number))

    @cached_property
    def index(self) -> ArchiveIndex:
        """Every symbol that members define, with the defining member, from the archive's symbol index.

        Without an index, or with an empty one, it is built from the symbol tables of all members that are ELF
        objects. Raises MalformedElf when an index entry is not the offset of a member header.
        """
        if self._raw_index is None or not len(self._raw_index.offset):
            return self._index_of_members()
        return self._raw_index.resolve(self.name, self.members.offsets)

    def _index_of_members(self) -> ArchiveIndex:
        names: list[Names] = []
        numbers: list[I64] = []
        for number in self.objects:
            symbols = self.object(number).symbols
            names.append(symbols.names.take(symbols.defined_globals))
            numbers.append(np.full(len(symbols.defined_globals), number, np.int64))
        return ArchiveIndex(Names.concat(names), np.concatenate([np.empty(0, np.int64), *numbers]))

    def defining(self, names: Names) -> I64:
        """The number of the first member that defines each of `names`, -1 for none; int64[len(names)]."""
        return self.index.defining(names)


def _is_object(members: Members, number: int) -> bool:
    """Whether a member is a relocatable object that this package reads; other members are ignored."""
    start = members.content(number)[:64].tobytes()
    if start[:4] != ELF_MAGIC:
        return is_bitcode(start)  # counted as an object, so that decoding it raises an error that names it
    if len(start) == _PLAIN and start.startswith(_PLAIN_OBJECTS) and start[8:16] == bytes(8):
        return start[16:18] == _REL
    try:
        return read_header(members.full_name(number), start).type == FileType.REL
    except UnsupportedElf:
        return False


# ---------------------------------------------------------------- reading


def _open(name: str, path: Path | None, data: U8, depth: int) -> Archive:
    if not is_archive(data):
        if data[: len(_SCRIPT)].tobytes() == _SCRIPT:
            raise NotElf(name, "a GNU ld script, not an archive: the archives it names can be read", 0)
        raise NotElf(name, "not an archive: it begins with neither !<arch> nor !<thin>", 0)
    thin = data[: len(ARCHIVE)].tobytes() == THIN_ARCHIVE
    reader = _Reader(name, path, data, thin, depth)
    members, index = reader.read()
    return Archive(name, path, data, thin, members, index)


@dataclass(eq=False)
class _Reader:
    """Reads all member headers of an archive in one pass."""

    name: str
    path: Path | None
    data: U8
    thin: bool
    depth: int
    long_names: bytes | None = None
    spent: int = 0
    origins: dict[int, tuple[str, int]] = field(default_factory=dict)
    nested: dict[str, dict[int, Member]] = field(default_factory=dict)
    folders: tuple[Path, ...] = field(default_factory=caller_folders)

    def read(self) -> tuple[Members, RawIndex | None]:
        members = Members(self.name, self.data, self.fetch_file if self.thin else None)
        index: RawIndex | None = None
        view = self.data.data
        at, end = len(ARCHIVE), len(self.data)
        while at < end:
            raw_name, size = self.header(view[at : at + _HEADER].tobytes(), at)
            begin = at + _HEADER
            plain = raw_name[:1] not in _MARKS
            special = not plain and (raw_name in _SPECIAL or raw_name.startswith("__.SYMDEF"))
            held = size if special or not self.thin else 0
            if begin + held > end:
                raise Truncated(self.name, f"the member {raw_name!r} has {size} bytes, {end - begin} are left", at)
            if special:
                content = self.data[begin : begin + size]
                if raw_name != "/" or index is None:  # a second one is Microsoft's, with the same symbols
                    found = self.special(raw_name, content, at)
                    index = index or found
            elif plain:
                members.add(raw_name.removesuffix("/"), at, size, begin)
            else:
                member_name, skipped = self.member_name(raw_name, size, at)
                if member_name.startswith("__.SYMDEF"):
                    content = self.data[begin + skipped : begin + size]
                    index = read_bsd_index(self.name, member_name, content, begin + skipped)
                else:
                    members.add(member_name, at, size - skipped, begin + skipped)
            at = begin + held + (held & 1)
        return members, index

    def header(self, header: bytes, at: int) -> tuple[str, int]:
        """The name field of a member header, which is at offset `at`, without padding, and the member's size."""
        if len(header) < _HEADER:
            raise Truncated(self.name, f"a member header is cut short: {len(header)} of {_HEADER} bytes", at)
        if header[58:] != _END_OF_HEADER:
            raise MalformedElf(self.name, f"a member header ends with {header[58:]!r}, not {_END_OF_HEADER!r}", at)
        digits = header[48:58].rstrip(b" ")
        if not digits.isdigit():
            raise MalformedElf(self.name, f"a member's size is {digits!r}, not a decimal number", at)
        name = header[:16].rstrip(b" ")
        if name[:1] == b"/" and name[-2:] == b" /":  # GNU ar ends the name of a thin archive's member twice
            name = name[:-1].rstrip(b" ")
        return name.decode("utf-8", "surrogateescape"), int(digits)

    def special(self, raw_name: str, content: U8, at: int) -> RawIndex | None:
        """Read an entry that is not a member: return a symbol index, keep a long-name table, ignore others."""
        begin = at + _HEADER
        if raw_name == "//":
            self.long_names = content.tobytes()
        elif raw_name in ("/", "/SYM64/"):
            return read_gnu_index(self.name, content, 8 if raw_name == "/SYM64/" else 4, begin)
        elif raw_name.startswith("__.SYMDEF"):
            return read_bsd_index(self.name, raw_name, content, begin)
        return None

    def member_name(self, raw_name: str, size: int, at: int) -> tuple[str, int]:
        """A member's name, and the number of bytes it occupies at the start of the member's data (BSD; else 0)."""
        if raw_name.startswith("#1/"):
            digits = raw_name[3:]
            if not _is_number(digits) or int(digits) > size or self.thin:
                raise MalformedElf(
                    self.name, f"{raw_name!r} is not a valid BSD name of a member of {size} bytes", at
                )
            begin = at + _HEADER
            name = self.data[begin : begin + int(digits)].tobytes().rstrip(b"\0")
            return name.decode("utf-8", "surrogateescape"), int(digits)
        if raw_name.startswith("/"):
            return self.long_name(raw_name, at), 0
        return raw_name.removesuffix("/"), 0

    def long_name(self, raw_name: str, at: int) -> str:
        """Resolve the name field "/offset": the entry at that offset in the long-name table.

        In a thin archive ":origin" may follow: the name is then that of another archive, and the member is the one
        whose header is at offset `origin` there.
        """
        digits, colon, origin = raw_name[1:].partition(":")
        if not _is_number(digits) or (colon and not _is_number(origin)):
            raise MalformedElf(self.name, f"{raw_name!r} is not a valid offset into the long-name table", at)
        table = self.long_names or b""
        offset = int(digits)
        if offset >= len(table):
            raise MalformedElf(
                self.name,
                f"a member's name is at offset {offset:#x} of the {len(table):#x}-byte long-name table",
                at,
            )
        end = table.find(b"\n" if b"\n" in table else b"\0", offset)  # NUL in Microsoft's
        if end < 0:
            raise MalformedElf(self.name, f"the long name at offset {offset:#x} has no terminator", at)
        self.spent += max(0, end - offset - _SLACK)
        if self.spent > _OVERLAP * len(table):
            raise MalformedElf(self.name, "the long names overlap so much that they exceed their table", at)
        name = table[offset:end].removesuffix(b"/").decode("utf-8", "surrogateescape")
        if colon:
            self.origins[at] = (name, int(origin))
        return f"{name}:{origin}" if colon else name

    # ------------------------------------------------------------ thin archives

    def fetch_file(self, member: Member) -> U8:
        """The bytes of a thin archive's member: a file, or a member of another archive."""
        if member.offset in self.origins:
            return self.fetch_nested(member, *self.origins[member.offset])
        return map_file(self.located(member.name, member), member.full_name)

    def located(self, name: str, member: Member) -> Path:
        """The path of a thin member's file: relative to the archive, or to the working directory when the archive
        has no path.

        Raises UnsupportedElf for one outside of these folders and of those that `reading` names: the names are
        the archive's, and would otherwise reach any file of the host.
        """
        folder = self.path.parent if self.path else Path()
        path = folder / name
        with suppress(OSError, ValueError):  # such a path is refused when it is opened
            real = Path(os.path.realpath(path))
            if not any(real.is_relative_to(os.path.realpath(each)) for each in (folder, Path(), *self.folders)):
                problem = (
                    f"its file {path} lies neither in the archive's folder nor in the working directory, "
                    "nor in the library path or the sysroot"
                )
                raise UnsupportedElf(member.full_name, problem, member.offset)
        return path

    def fetch_nested(self, member: Member, nested_name: str, origin: int) -> U8:
        """The bytes of the member whose header is at offset `origin` of the archive `nested_name`."""
        if self.depth >= _MAX_NESTING:
            raise MalformedElf(member.full_name, f"archives nest more than {_MAX_NESTING} deep", member.offset)
        if nested_name not in self.nested:
            path = self.located(nested_name, member)
            data = map_file(path, member.full_name)
            archive = _open(f"{self.name}({nested_name})", path, data, self.depth + 1)
            self.nested[nested_name] = {inner.offset: inner for inner in archive.members}
        found = self.nested[nested_name].get(origin)
        if found is None:
            raise MalformedElf(
                member.full_name, f"no member of {nested_name} begins at offset {origin:#x}", member.offset
            )
        return found.data


#: Names of the entries that are not members. The last two are written by Microsoft's tools and are ignored.
_SPECIAL = frozenset({"/", "//", "/SYM64/", "/<ECSYMBOLS>/", "/<XFGHASHMAP>/"})
_MARKS = ("", "/", "#", "_")  #: how the names begin that are special, or no plain names


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
