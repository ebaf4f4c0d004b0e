"""Temporary files, and freopen. Names come from a counter in base 62, so that runs are repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc import filesystem as fs
from emu.libc.descriptors import O_CREAT, O_EXCL, O_RDWR
from emu.libc.errno import Errno
from emu.libc.open_streams import END_SEEN, ERROR_SEEN, clear_marks, find_stream, new_stream
from emu.libc.stdio import open_flags
from emu.libc.table import export

if TYPE_CHECKING:
    from emu.libc.library import Libc

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_MOST_NAMES = 10_000  #: names tried before EEXIST
_L_TMPNAM = 20


class Names:
    """The counter of names, and the buffer for tmpnam's result."""

    def __init__(self, libc: Libc) -> None:
        self.count = 0
        self.buffer = libc.allocate(_L_TMPNAM)

    def next(self) -> bytes:
        """Six characters that were not returned before."""
        self.count += 1
        number, letters = self.count * 0x9E37_79B1 % 62**6, ""
        for _ in range(6):
            number, digit = divmod(number, 62)
            letters += _LETTERS[digit]
        return letters.encode()


def _exists(libc: Libc, path: bytes) -> bool:
    try:
        fs.file_system(libc).status(path)
    except fs.FileError:
        return False
    return True


def _unused(libc: Libc, prefix: bytes, suffix: bytes = b"") -> bytes:
    """Return a name that no file has. Raises FileError where none was found."""
    names = libc.state(Names)
    for _ in range(_MOST_NAMES):
        name = prefix + names.next() + suffix
        if not _exists(libc, name):
            return name
    raise fs.FileError(Errno.EEXIST)


def _from_template(libc: Libc, template: int, suffix_size: int) -> bytes:
    """Replace the XXXXXX of a template in guest memory and return the name. Raises FileError."""
    text = libc.string(template)
    end = len(text) - suffix_size
    if suffix_size < 0 or end < 6 or text[end - 6 : end] != b"XXXXXX":
        raise fs.FileError(Errno.EINVAL)
    name = _unused(libc, text[: end - 6], text[end:])
    libc.memory.write(template, name)
    return name


@export("int mkostemps(char *template_name, int suffix_size, int flags)", alias=("mkostemps64",))
def mkostemps(libc: Libc, template: int, suffix_size: int, flags: int) -> int:
    try:
        name = _from_template(libc, template, suffix_size)
        return fs.file_system(libc).open(name, flags & ~3 | O_RDWR | O_CREAT | O_EXCL)
    except fs.FileError as error:
        return libc.fail(error.errno)


@export("int mkstemps(char *template_name, int suffix_size)", alias=("mkstemps64",))
def mkstemps(libc: Libc, template: int, suffix_size: int) -> int:
    return mkostemps(libc, template, suffix_size, 0)


@export("int mkostemp(char *template_name, int flags)", alias=("mkostemp64",))
def mkostemp(libc: Libc, template: int, flags: int) -> int:
    return mkostemps(libc, template, 0, flags)


@export("int mkstemp(char *template_name)", alias=("mkstemp64",))
def mkstemp(libc: Libc, template: int) -> int:
    return mkostemps(libc, template, 0, 0)


@export("char *mkdtemp(char *template_name)")
def mkdtemp(libc: Libc, template: int) -> int:
    try:
        fs.file_system(libc).make_directory(_from_template(libc, template, 0))
    except fs.FileError as error:
        return libc.fail(error.errno, 0)
    return template


@export("char *mktemp(char *template_name)")
def mktemp(libc: Libc, template: int) -> int:
    """Store the empty string where no name is free."""
    try:
        _from_template(libc, template, 0)
    except fs.FileError as error:
        libc.errno = error.errno
        libc.put_string(template, b"")
    return template


@export("char *tmpnam(char *buffer)", alias=("tmpnam_r",))
def tmpnam(libc: Libc, buffer: int) -> int:
    buffer = buffer or libc.state(Names).buffer
    libc.put_string(buffer, _unused(libc, b"/tmp/file"))
    return buffer


@export("char *tempnam(const char *folder, const char *prefix)")
def tempnam(libc: Libc, folder: int, prefix: int) -> int:
    where = libc.string(folder) if folder else b"/tmp"
    start = libc.bounded_string(prefix, 5) if prefix else b"file"
    return libc.new_string(_unused(libc, where + b"/" + start))


@export("void *tmpfile(void)", alias=("tmpfile64",))
def tmpfile(libc: Libc) -> int:
    """Return a stream for a new file that has been unlinked, and so has no name."""
    files = fs.file_system(libc)
    try:
        name = _unused(libc, b"/tmp/tmpf")
        number = files.open(name, O_RDWR | O_CREAT | O_EXCL)
        files.unlink(name)
        return new_stream(libc, number)
    except fs.FileError as error:
        return libc.fail(error.errno, 0)


@export("void *freopen(const char *path, const char *mode, void *stream)", alias=("freopen64",))
def freopen(libc: Libc, path: int, mode: int, stream: int) -> int:
    """Open another file on the stream and its descriptor. Without a path it is the same file with another mode; a
    stream without a file stays as it is.
    """
    found = find_stream(libc, stream)
    flags = open_flags(libc, mode)
    if flags is None:
        return libc.fail(Errno.EINVAL, 0)
    found.pushed_back.clear()
    clear_marks(libc, found, END_SEEN | ERROR_SEEN)
    files = fs.file_system(libc)
    try:
        name = fs.path_at(libc, path) if path else files.get(found.number).path.encode("utf-8", "surrogateescape")
        if not path and files.get(found.number).node is None:
            return stream
        number = files.open(name, flags)
    except fs.FileError as error:
        return libc.fail(error.errno, 0)
    if number != found.number:
        files.duplicate(number, found.number)
        files.close(number)
    return stream
