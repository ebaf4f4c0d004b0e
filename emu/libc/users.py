"""Users and groups, from the guest's /etc/passwd and /etc/group; without these files there is one user and one
group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_DEFAULT = {
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    "/etc/group": b"root:x:0:\nuser:x:1000:\n",
}
_ROOM = 4096  #: bytes of the static buffer for the result of getpwnam and related functions


class Database:
    """One of the two tables: the address of its static result, and the position of getpwent or getgrent."""

    def __init__(self, libc: Libc) -> None:
        self.buffer = libc.allocate(_ROOM)
        self.position = 0


class Users(Database):
    """struct passwd."""


class Groups(Database):
    """struct group."""


def _rows(libc: Libc, path: str) -> list[list[bytes]]:
    """The fields of each line that has all of them."""
    text = bytes(libc.files.get(path, _DEFAULT[path]))
    fields = {"/etc/passwd": 7, "/etc/group": 4}[path]
    rows = (line.split(b":") for line in text.splitlines())
    return [
        row for row in rows if len(row) == fields and row[2].isdigit() and row[(fields > 4 and 3) or 2].isdigit()
    ]


def _layout(libc: Libc, at: int, parts: Sequence[bytes | int | list[bytes]], room: int) -> bool:
    """Write a structure of pointers and 32-bit integers, followed by the data pointed at. False where it does not
    fit.
    """
    word, head, tail = libc.word, b"", b""
    size = 0
    for part in parts:
        size = (size + 3 & -4) + 4 if isinstance(part, int) else (size + word - 1 & -word) + word
    start = size + word - 1 & -word
    for part in parts:
        if isinstance(part, int):
            head = head.ljust(len(head) + 3 & -4, b"\0") + part.to_bytes(4, "little")
            continue
        head = head.ljust(len(head) + word - 1 & -word, b"\0")
        if isinstance(part, list):  # a vector of strings that ends with NULL
            tail = tail.ljust(len(tail) + word - 1 & -word, b"\0")
            vector = at + start + len(tail)
            texts = vector + word * (len(part) + 1)
            pointers = b""
            for text in part:
                pointers += texts.to_bytes(word, "little")
                texts += len(text) + 1
            tail += pointers + bytes(word) + b"".join(text + b"\0" for text in part)
            head += vector.to_bytes(word, "little")
        else:
            head += (at + start + len(tail)).to_bytes(word, "little")
            tail += part + b"\0"
    block = head.ljust(start, b"\0") + tail
    if len(block) > room:
        return False
    libc.memory.write(at, block)
    return True


def _user(row: list[bytes]) -> list[bytes | int | list[bytes]]:
    name, password, uid, gid, gecos, home, shell = row
    return [name, password, int(uid), int(gid), gecos, home, shell]


def _group(row: list[bytes]) -> list[bytes | int | list[bytes]]:
    name, password, gid, members = row
    return [name, password, int(gid), [member for member in members.split(b",") if member]]


_Parts = Callable[[list[bytes]], "list[bytes | int | list[bytes]]"]


def _find(libc: Libc, path: str, key: bytes | int) -> list[bytes] | None:
    def matches(row: list[bytes]) -> bool:
        return int(row[2]) == key if isinstance(key, int) else row[0] == key

    return next((row for row in _rows(libc, path) if matches(row)), None)


def _put(
    libc: Libc, content: list[bytes | int | list[bytes]] | None, place: int, buffer: int, size: int, result: int
) -> int:
    """Write the structure of an entry to `place`, its texts to `buffer`. 0 or an error number; `result` is NULL
    without an entry and after an error.
    """
    libc.set_pointer(result, 0)
    if content is None:
        return 0
    # The structure goes to `place`, so pointers are computed for texts in `buffer`.
    if not _layout(libc, buffer, content, size):
        return Errno.ERANGE
    libc.memory.write(place, libc.memory.read(buffer, _structure_size(libc, content)))
    libc.set_pointer(result, place)
    return 0


def _export(path: str, structure: str, stem: str, state: type[Database], parts: _Parts) -> None:
    def found(libc: Libc, row: list[bytes] | None) -> int:
        database = libc.state(state)
        if row is None:
            return 0
        return database.buffer if _layout(libc, database.buffer, parts(row), _ROOM) else libc.fail(Errno.ERANGE, 0)

    def by_name(libc: Libc, name: int) -> int:
        return found(libc, _find(libc, path, libc.string(name)))

    def by_number(libc: Libc, number: int) -> int:
        return found(libc, _find(libc, path, number))

    def by_name_r(libc: Libc, name: int, *where: int) -> int:
        row = _find(libc, path, libc.string(name))
        return _put(libc, None if row is None else parts(row), *where)

    def by_number_r(libc: Libc, number: int, *where: int) -> int:
        row = _find(libc, path, number)
        return _put(libc, None if row is None else parts(row), *where)

    def following(libc: Libc) -> int:
        rows, database = _rows(libc, path), libc.state(state)
        database.position += 1
        return found(libc, rows[database.position - 1] if database.position <= len(rows) else None)

    def following_r(libc: Libc, *where: int) -> int:
        rows, database = _rows(libc, path), libc.state(state)
        row = rows[database.position] if database.position < len(rows) else None
        error = _put(libc, None if row is None else parts(row), *where)
        database.position += row is not None and not error
        return error if row else Errno.ENOENT

    def rewind(libc: Libc) -> None:
        libc.state(state).position = 0

    tail = "void *place, char *buffer, size_t size, void **result"
    identifier = {"pw": "getpwuid", "gr": "getgrgid"}[stem]
    register(f"get{stem}nam", f"void *get{stem}nam(const char *name)", by_name)
    register(identifier, f"void *{identifier}(unsigned number)", by_number)
    register(f"get{stem}nam_r", f"int get{stem}nam_r(const char *name, {tail})", by_name_r)
    register(f"{identifier}_r", f"int {identifier}_r(unsigned number, {tail})", by_number_r)
    register(f"get{stem}ent", f"void *get{stem}ent(void)", following)
    register(f"get{stem}ent_r", f"int get{stem}ent_r({tail})", following_r)
    for verb in ("set", "end"):
        register(f"{verb}{stem}ent", f"void {verb}{stem}ent(void)", rewind)


def _structure_size(libc: Libc, parts: Sequence[object]) -> int:
    size = 0
    for part in parts:
        size = (size + 3 & -4) + 4 if isinstance(part, int) else (size + libc.word - 1 & -libc.word) + libc.word
    return size


_export("/etc/passwd", "passwd", "pw", Users, _user)
_export("/etc/group", "group", "gr", Groups, _group)


@export("int getgroups(int size, unsigned *groups)")
def getgroups(libc: Libc, size: int, groups: int) -> int:
    if size:
        libc.memory.write_uint(groups, 4, 1000)
    return 1


@export("int getgrouplist(const char *user, unsigned group, unsigned *groups, int *count)")
def getgrouplist(libc: Libc, user: int, group: int, groups: int, count: int) -> int:
    room = libc.memory.read_uint(count, 4)
    libc.memory.write_uint(count, 4, 1)
    if not room:
        return -1
    libc.memory.write_uint(groups, 4, group)
    return 1


@export("char *getlogin(void)", alias=("cuserid",))
def getlogin(libc: Libc) -> int:
    row = _find(libc, "/etc/passwd", 1000)
    buffer = libc.state(Users).buffer
    libc.put_string(buffer, row[0] if row else b"user")
    return buffer


@export("int getlogin_r(char *buffer, size_t size)")
def getlogin_r(libc: Libc, buffer: int, size: int) -> int:
    row = _find(libc, "/etc/passwd", 1000)
    name = row[0] if row else b"user"
    if len(name) >= size:
        return Errno.ERANGE
    libc.put_string(buffer, name)
    return 0
