"""Streams: opening, characters, lines, blocks, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.cpu.protocol import Protection
from emu.libc import filesystem as fs
from emu.libc.descriptors import (
    LARGEST_FILE,
    O_APPEND,
    O_CREAT,
    O_EXCL,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
)
from emu.libc.errno import Errno, message
from emu.libc.memory import overflow_abort
from emu.libc.open_streams import (
    END_SEEN,
    ERROR_SEEN,
    Streams,
    clear_marks,
    find_stream,
    has_mark,
    line_pieces,
    new_stream,
    read_stream,
    standard_stream,
    write_stream,
    write_stream_from,
)
from emu.libc.table import export, export_data
from emu.memory.guest_view import PIECE

if TYPE_CHECKING:
    from emu.libc.library import Libc

EOF = -1
INT_MAX = (1 << 31) - 1
_MOST_PUSHED_BACK = 1 << 16  #: maximum number of bytes pushed back by ungetc
_MODES = {
    "r": 0,
    "w": O_WRONLY | O_CREAT | O_TRUNC,
    "a": O_WRONLY | O_CREAT | O_APPEND,
}


for _number, _name in enumerate(("stdin", "stdout", "stderr")):

    def _stream_variable(libc: Libc, number: int = _number) -> bytes:
        return standard_stream(libc, number).to_bytes(libc.word, "little")

    export_data(_name)(_stream_variable)


# ---------------------------------------------------------------- characters and lines


@export("int fputc(int c, void *stream)", alias=("putc", "_IO_putc", "putc_unlocked", "fputc_unlocked"))
def fputc(libc: Libc, c: int, stream: int) -> int:
    return EOF if write_stream(libc, stream, bytes([c & 255])) < 0 else c & 255


@export("int __overflow(void *stream, int c)")
def overflow(libc: Libc, stream: int, c: int) -> int:
    return fputc(libc, c, stream)


@export("int putchar(int c)", alias=("putchar_unlocked",))
def putchar(libc: Libc, c: int) -> int:
    return fputc(libc, c, standard_stream(libc, 1))


@export("int fputs(const char *s, void *stream)", alias=("fputs_unlocked",))
def fputs(libc: Libc, s: int, stream: int) -> int:
    return EOF if write_stream_from(libc, stream, s, libc.memory.length(s)) < 0 else 1


@export("int puts(const char *s)")
def puts(libc: Libc, s: int) -> int:
    size = libc.memory.length(s)
    if size <= PIECE:
        written = write_stream(libc, standard_stream(libc, 1), libc.memory.read(s, size) + b"\n")
    else:
        written = write_stream_from(libc, standard_stream(libc, 1), s, size)
        written += write_stream(libc, standard_stream(libc, 1), b"\n") if written == size else 0
    return EOF if written < 0 else min(written, INT_MAX)


@export("size_t fwrite(const void *data, size_t size, size_t count, void *stream)", alias=("fwrite_unlocked",))
def fwrite(libc: Libc, data: int, size: int, count: int, stream: int) -> int:
    if not size or not count:
        return 0
    return max(0, write_stream_from(libc, stream, data, size * count)) // size


@export("size_t fread(void *dest, size_t size, size_t count, void *stream)", alias=("fread_unlocked",))
def fread(libc: Libc, dest: int, size: int, count: int, stream: int) -> int:
    if not size or not count:
        return 0
    found = find_stream(libc, stream)
    total, wanted = 0, size * count
    while total < wanted:
        room = libc.memory.available(dest + total, min(PIECE, wanted - total), Protection.W)
        libc.memory.require(dest + total, max(room, 1), Protection.W)
        data = read_stream(libc, found, room)
        libc.memory.write(dest + total, data)
        total += len(data)
        if len(data) < room:
            break
        libc.check_budget()
    return total // size


@export("int fgetc(void *stream)", alias=("getc", "_IO_getc", "getc_unlocked", "fgetc_unlocked", "__uflow"))
def fgetc(libc: Libc, stream: int) -> int:
    data = read_stream(libc, find_stream(libc, stream), 1)
    return data[0] if data else EOF


@export("int getchar(void)")
def getchar(libc: Libc) -> int:
    return fgetc(libc, standard_stream(libc, 0))


@export("int ungetc(int c, void *stream)")
def ungetc(libc: Libc, c: int, stream: int) -> int:
    found = find_stream(libc, stream)
    if c == EOF or len(found.pushed_back) >= _MOST_PUSHED_BACK:
        return EOF
    found.pushed_back.insert(0, c & 255)
    clear_marks(libc, found, END_SEEN)
    return c & 255


@export("char *fgets(char *dest, int size, void *stream)", alias=("fgets_unlocked",))
def fgets(libc: Libc, dest: int, size: int, stream: int) -> int:
    end = dest
    for piece in line_pieces(libc, find_stream(libc, stream), size - 1):
        libc.memory.write(end, piece)
        end += len(piece)
    if end == dest and size > 1:
        return 0
    libc.memory.write(end, b"\0")
    return dest


@export("ssize_t getdelim(char **line, size_t *size, int stop, void *stream)", alias=("__getdelim",))
def getdelim(libc: Libc, line: int, size: int, stop: int, stream: int) -> int:
    buffer, room, used = libc.pointer(line), libc.pointer(size), 0
    for piece in line_pieces(libc, find_stream(libc, stream), LARGEST_FILE, stop & 255):
        if not buffer or room <= used + len(piece):
            room = max(120, 2 * used, used + len(piece) + 1)
            buffer = libc.heap.realloc(buffer, room)
            if not buffer:
                return libc.fail(Errno.ENOMEM)
            libc.set_pointer(line, buffer)
            libc.set_pointer(size, room)
        libc.memory.write(buffer + used, piece)
        used += len(piece)
    if not used:
        return -1
    libc.memory.write(buffer + used, b"\0")
    return used


@export("ssize_t getline(char **line, size_t *size, void *stream)")
def getline(libc: Libc, line: int, size: int, stream: int) -> int:
    return getdelim(libc, line, size, 10, stream)


@export("void perror(const char *what)")
def perror(libc: Libc, what: int) -> None:
    text = libc.bounded_string(what, PIECE) if what else b""
    prefix = text + b": " if text else b""
    write_stream(libc, standard_stream(libc, 2), prefix + message(libc.errno) + b"\n")


# ---------------------------------------------------------------- opening and positions


def open_flags(libc: Libc, mode: int) -> int | None:
    """Linux's O_ flags for a mode of fopen; None for an invalid mode."""
    text = libc.bounded_string(mode, 64).decode("latin-1")
    if text[:1] not in _MODES:
        return None
    flags = _MODES[text[:1]] | (O_EXCL if "x" in text else 0)
    return flags & ~3 | O_RDWR if "+" in text else flags


@export("void *fopen(const char *path, const char *mode)", alias=("fopen64",))
def fopen(libc: Libc, path: int, mode: int) -> int:
    flags = open_flags(libc, mode)
    if flags is None:
        return libc.fail(Errno.EINVAL, 0)
    try:
        files = fs.file_system(libc)
        number = files.open(fs.path_at(libc, path), flags)
        if flags & O_APPEND and not flags & O_RDWR and (opened := files.get(number)).data is not None:
            opened.seek(0, SEEK_END)  # as glibc does; "a+" reads from the beginning
        return new_stream(libc, number)
    except fs.FileError as error:
        return libc.fail(error.errno, 0)


@export("void *fdopen(int number, const char *mode)")
def fdopen(libc: Libc, number: int, mode: int) -> int:
    """EINVAL if the descriptor is not open for what `mode` asks; for "a" it becomes one that appends (glibc)."""
    flags = open_flags(libc, mode)
    try:
        descriptor = fs.file_system(libc).get(number)
        access = descriptor.flags & 3
        if flags is None or access not in (O_RDWR, flags & 3):
            return libc.fail(Errno.EINVAL, 0)
        descriptor.flags |= flags & O_APPEND
        return new_stream(libc, number)
    except fs.FileError as error:
        return libc.fail(error.errno, 0)


@export("int fclose(void *stream)")
def fclose(libc: Libc, stream: int) -> int:
    found = find_stream(libc, stream)
    streams = libc.state(Streams)
    del streams.by_address[stream]
    if stream not in streams.standard.values():
        streams.closed.append(stream)
    try:
        fs.file_system(libc).close(found.number)
    except fs.FileError as error:
        return libc.fail(error.errno, EOF)
    return 0


@export("int fflush(void *stream)", alias=("fflush_unlocked",))
def fflush(libc: Libc, stream: int) -> int:
    return 0


@export("int fseek(void *stream, long offset, int whence)")
def fseek(libc: Libc, stream: int, offset: int, whence: int) -> int:
    found = find_stream(libc, stream)
    if whence == SEEK_CUR:
        offset -= len(found.pushed_back)
    try:
        fs.file_system(libc).get(found.number).seek(offset, whence)
    except fs.FileError as error:
        return libc.fail(error.errno)
    found.pushed_back.clear()
    clear_marks(libc, found, END_SEEN)
    return 0


@export("int fseeko(void *stream, off_t offset, int whence)")
def fseeko(libc: Libc, stream: int, offset: int, whence: int) -> int:
    return fseek(libc, stream, offset, whence)


@export("int fseeko64(void *stream, off64_t offset, int whence)")
def fseeko64(libc: Libc, stream: int, offset: int, whence: int) -> int:
    return fseek(libc, stream, offset, whence)


@export("long ftell(void *stream)")
def ftell(libc: Libc, stream: int) -> int:
    found = find_stream(libc, stream)
    try:
        return fs.file_system(libc).get(found.number).seek(0, SEEK_CUR) - len(found.pushed_back)
    except fs.FileError as error:
        return libc.fail(error.errno)


@export("off_t ftello(void *stream)")
def ftello(libc: Libc, stream: int) -> int:
    return ftell(libc, stream)


@export("off64_t ftello64(void *stream)")
def ftello64(libc: Libc, stream: int) -> int:
    return ftell(libc, stream)


@export("int fgetpos(void *stream, void *position)")
def fgetpos(libc: Libc, stream: int, position: int) -> int:
    return _get_position(libc, stream, position, libc.word)


@export("int fgetpos64(void *stream, void *position)")
def fgetpos64(libc: Libc, stream: int, position: int) -> int:
    return _get_position(libc, stream, position, 8)


def _get_position(libc: Libc, stream: int, position: int, size: int) -> int:
    if (found := ftell(libc, stream)) < 0:
        return -1
    libc.memory.write_uint(position, size, found)
    return 0


@export("int fsetpos(void *stream, const void *position)")
def fsetpos(libc: Libc, stream: int, position: int) -> int:
    return fseek(libc, stream, libc.memory.read_uint(position, libc.word), SEEK_SET)


@export("int fsetpos64(void *stream, const void *position)")
def fsetpos64(libc: Libc, stream: int, position: int) -> int:
    return fseek(libc, stream, libc.memory.read_uint(position, 8), SEEK_SET)


@export("void rewind(void *stream)")
def rewind(libc: Libc, stream: int) -> None:
    fseek(libc, stream, 0, SEEK_SET)
    clear_marks(libc, find_stream(libc, stream), ERROR_SEEN)


@export("int feof(void *stream)", alias=("feof_unlocked",))
def feof(libc: Libc, stream: int) -> int:
    return int(has_mark(libc, find_stream(libc, stream), END_SEEN))


@export("int ferror(void *stream)", alias=("ferror_unlocked",))
def ferror(libc: Libc, stream: int) -> int:
    return int(has_mark(libc, find_stream(libc, stream), ERROR_SEEN))


@export("void clearerr(void *stream)", alias=("clearerr_unlocked",))
def clearerr(libc: Libc, stream: int) -> None:
    clear_marks(libc, find_stream(libc, stream), END_SEEN | ERROR_SEEN)


@export("int fileno(void *stream)", alias=("fileno_unlocked",))
def fileno(libc: Libc, stream: int) -> int:
    return find_stream(libc, stream).number


@export("int setvbuf(void *stream, char *buffer, int mode, size_t size)")
def setvbuf(libc: Libc, stream: int, buffer: int, mode: int, size: int) -> int:
    """Streams have no buffers; -1 for a mode that is none of the three."""
    return 0 if 0 <= mode <= 2 else EOF


@export("void setbuf(void *stream, char *buffer)")
def setbuf(libc: Libc, stream: int, buffer: int) -> None:
    """Streams have no buffers."""


@export("void setbuffer(void *stream, char *buffer, size_t size)")
def setbuffer(libc: Libc, stream: int, buffer: int, size: int) -> None:
    """Streams have no buffers."""


@export("void setlinebuf(void *stream)")
def setlinebuf(libc: Libc, stream: int) -> None:
    """Streams have no buffers."""


@export("void flockfile(void *stream)", alias=("funlockfile",))
def flockfile(libc: Libc, stream: int) -> None:
    """There is one thread."""


@export("char *__fgets_chk(char *dest, size_t room, int size, void *stream)", alias=("__fgets_unlocked_chk",))
def fgets_chk(libc: Libc, dest: int, room: int, size: int, stream: int) -> int:
    if size > room:
        raise overflow_abort(size, room, "fgets")
    return fgets(libc, dest, size, stream)


@export(
    "size_t __fread_chk(void *dest, size_t room, size_t size, size_t count, void *stream)",
    alias=("__fread_unlocked_chk",),
)
def fread_chk(libc: Libc, dest: int, room: int, size: int, count: int, stream: int) -> int:
    if size * count > room:
        raise overflow_abort(size * count, room, "fread")
    return fread(libc, dest, size, count, stream)
