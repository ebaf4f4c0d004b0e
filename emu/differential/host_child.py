"""The child process of `host`: a request a line on standard input, an outcome a line on standard output.

A type is ["void"], ["bool", ...], ["integer", size, signed], ["float", size], ["text"], ["pointer"],
["array", type, count] or ["struct", [[name, type, bits], ...], size]. This file is run as a script and imports
nothing of the project.
"""

from __future__ import annotations

import base64
import ctypes
import json
import mmap
import os
import resource
import signal
import sys
from typing import Any

_FLOATS = {4: ctypes.c_float, 8: ctypes.c_double}
_SIGNED = {1: ctypes.c_int8, 2: ctypes.c_int16, 4: ctypes.c_int32, 8: ctypes.c_int64}
_UNSIGNED = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}
_BYTE_KINDS = ("text", "bytes")


_STRUCTS: dict[str, Any] = {}
_kept: list[mmap.mmap] = []  #: memory of the arguments of this process's one call


def made(spec: list[Any]) -> Any:
    """The ctypes type of a specification."""
    kind = spec[0]
    if kind == "void":
        return None
    if kind == "bool":
        return ctypes.c_bool
    if kind == "integer":
        return (_SIGNED if spec[2] else _UNSIGNED)[spec[1]]
    if kind == "float":
        return _FLOATS[spec[1]]
    if kind == "array":
        return made(spec[1]) * spec[2]
    if kind == "struct":
        key = json.dumps(spec)
        if key in _STRUCTS:
            return _STRUCTS[key]
        fields = [(name, made(each)) if bits is None else (name, made(each), bits) for name, each, bits in spec[1]]
        struct = type("struct", (ctypes.Structure,), {"_fields_": fields})
        if ctypes.sizeof(struct) != spec[2]:
            raise TypeError(
                f"ctypes lays a structure out in {ctypes.sizeof(struct)} bytes, the compiler in {spec[2]}"
            )
        _STRUCTS[key] = struct
        return struct
    return ctypes.c_void_p


def stored(spec: list[Any], value: Any) -> Any:
    """A value of a type."""
    kind = made(spec)
    if spec[0] == "struct":
        return kind(**{name: stored(each, value[name]) for name, each, _ in spec[1]})
    if spec[0] == "array":
        return kind(*(stored(spec[1], each) for each in value))
    return kind(value).value


def plain(spec: list[Any], value: Any) -> Any:
    """A result as plain values, tagged for JSON as in `values`."""
    if spec[0] == "struct":
        return ["d", {name: plain(each, getattr(value, name)) for name, each, _ in spec[1]}]
    if spec[0] == "array":
        return ["t", [plain(spec[1], each) for each in value]]
    return int(value) if isinstance(value, bool) else value


def untagged(value: Any) -> Any:
    """A value out of JSON."""
    if not isinstance(value, list):
        return value
    tag, content = value
    if tag == "b":
        return base64.b64decode(content)
    return [untagged(each) for each in content] if tag == "t" else {k: untagged(v) for k, v in content.items()}


def text(data: bytes) -> Any:
    """Bytes, tagged for JSON."""
    return ["b", base64.b64encode(data).decode()]


def limit_memory(size: int) -> None:
    """Let this process have so many bytes more than it has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE + size, hard))


def placed(kind: Any, place: list[int]) -> Any:
    """An object whose memory ends where an inaccessible page begins, as the guests' does."""
    limit, alignment = place
    if ctypes.sizeof(kind) > limit:
        return kind()
    size = -(-ctypes.sizeof(kind) // alignment) * alignment
    pages = mmap.mmap(-1, limit + 2 * mmap.PAGESIZE)
    _kept.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    end = start + mmap.PAGESIZE + limit
    for guard in (start, end):
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(guard), mmap.PAGESIZE, 0):
            raise OSError("mprotect failed")
    return kind.from_address(end - size)


def answer(library: ctypes.CDLL, request: dict[str, Any]) -> dict[str, Any]:
    """Make one call."""
    function = library[request["function"]]
    function.restype = made(request["result"])
    types, passed, buffers = [], [], []
    for name, kind, const, spec, tagged in request["parameters"]:
        value = untagged(tagged)
        if kind in ("value", "length"):
            types.append(made(spec))
            passed.append(stored(spec, value))
            continue
        if kind in _BYTE_KINDS:
            data = value + b"\0" if kind == "text" else value
            memory: Any = placed(ctypes.c_uint8 * max(len(data), 1), request["place"])
            ctypes.memmove(memory, data, len(data))
            width, count, spec = 1, len(data), None
        else:
            memory = placed(made(spec) * max(len(value), 1), request["place"])
            memory[: len(value)] = [stored(spec, each) for each in value]
            width, count = ctypes.sizeof(made(spec)), len(value)
        types.append(ctypes.c_void_p)
        passed.append(ctypes.addressof(memory))
        buffers.append((name, const, memory, width, count, spec))
    function.argtypes = types
    result = function(*passed)
    value = _result(request["result"], result, buffers)
    memory_after = [
        ["t", [name, _contents(memory, count, spec)]]
        for name, const, memory, _, count, spec in buffers
        if not const
    ]
    return {"kind": "returned", "value": value, "memory": ["t", memory_after], "detail": ""}


def _contents(memory: Any, count: int, spec: Any) -> Any:
    if spec is None or (spec[0] == "integer" and spec[1] == 1):
        return text(bytes(memory)[:count])
    return ["t", [plain(spec, memory[index]) for index in range(count)]]


def _result(spec: list[Any], result: Any, buffers: list[Any]) -> Any:
    if spec[0] not in ("text", "pointer"):
        return ["t", []] if spec[0] == "void" else plain(spec, result)
    if not result:
        return None
    for name, _, memory, width, count, _ in buffers:
        offset = result - ctypes.addressof(memory)
        if 0 <= offset <= count * width:
            return f"{name} + {offset // width}"
    return text(ctypes.string_at(result)) if spec[0] == "text" else "a pointer"


def attempted(library: ctypes.CDLL, request: dict[str, Any]) -> Any:
    """The outcome of a call, or why ctypes cannot make it."""
    try:
        return ["d", answer(library, request)]
    except Exception as error:
        return ["d", {"problem": f"{type(error).__name__}: {error}"}]


def main() -> None:
    """Answer requests until standard input ends, each in a process of its own: the library's state is always that
    after its load, and a fault ends only one call.
    """
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what the library prints
    nothing = os.open(os.devnull, os.O_RDONLY)
    # Its own definitions come first, as in the guests.
    library = ctypes.CDLL(sys.argv[1], os.RTLD_LAZY | os.RTLD_DEEPBIND)
    for line in sys.stdin:
        answer_file = os.memfd_create("answer")  # no pipe: a process may end after its answer, or fork
        child = os.fork()
        if not child:
            os.dup2(nothing, 0)
            request = json.loads(line)
            signal.setitimer(signal.ITIMER_REAL, request["seconds"])
            limit_memory(request["memory"])
            found = attempted(library, request)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.pwrite(answer_file, json.dumps(found).encode(), 0)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        written = os.pread(answer_file, os.fstat(answer_file).st_size, 0)
        os.close(answer_file)
        if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) or not written:
            written = json.dumps(["d", _died(status)]).encode()
        os.write(answers, written + b"\n")


def _died(status: int) -> dict[str, Any]:
    """The outcome of a call that has ended its process."""
    how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    kind = "time" if how == signal.SIGALRM else "fault"
    name = signal.Signals(how).name if how else f"exit status {os.WEXITSTATUS(status)}"
    return {"kind": kind, "value": None, "memory": ["t", []], "detail": f"{kind}: {name}"}


if __name__ == "__main__":
    main()
