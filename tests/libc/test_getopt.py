"""getopt and its long forms, step by step against the host's glibc; and their messages."""

from __future__ import annotations

import ctypes
import random

import pytest

from emu.libc.getopt import Progress
from tests.libc.fake import Harness

_LONGS = (
    (b"alpha", 0, 1000),
    (b"alps", 0, 1001),
    (b"beta", 1, 1002),
    (b"be", 2, 1003),
    (b"colour", 1, ord("c")),
)
_WORDS = (
    b"-a", b"-b", b"-bx", b"-c", b"-cx", b"-ab", b"-xa", b"-", b"--", b"file", b"other", b"--alpha", b"--al",
    b"--alpha=1", b"--beta", b"--beta=2", b"--be", b"--be=3", b"--bet", b"--nothing", b"-alpha", b"-beta=4",
    b"--c", b"", b"-W", b"-Wbet=4", b"-Wnothing", b"-W:",
)  # fmt: skip
_LETTERS = (b"ab:c::", b"+ab:c::", b"-ab:c::", b":ab:c::", b"+:a", b"aW;b:", b":W;")


class _Option(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("argument", ctypes.c_int),
        ("flag", ctypes.c_void_p),
        ("value", ctypes.c_int),
    )


def theirs(glibc: ctypes.CDLL, name: str, words: list[bytes], letters: bytes) -> list[object]:
    """(result, optind, optarg, index) of every call, then the words as they lie at last."""
    argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    options = (_Option * (len(_LONGS) + 1))(*(_Option(n, a, None, v) for n, a, v in _LONGS), _Option())
    position, argument = ctypes.c_int.in_dll(glibc, "optind"), ctypes.c_char_p.in_dll(glibc, "optarg")
    ctypes.c_int.in_dll(glibc, "opterr").value = 0
    position.value = 0
    told: list[object] = []
    for _ in range(40):
        index = ctypes.c_int(-1)
        more = () if name == "getopt" else (options, ctypes.byref(index))
        result = getattr(glibc, name)(len(words), argv, letters, *more)
        told.append((result, position.value, argument.value, index.value))
        if result == -1:
            break
    return [*told, list(argv)[:-1]]


def ours(host: Harness, name: str, words: list[bytes], letters: bytes) -> list[object]:
    libc, word = host.libc, host.libc.word
    placed = [host.text(text) for text in words]
    argv = host.place(b"".join(at.to_bytes(word, "little") for at in [*placed, 0]))
    table = b"".join(
        part.to_bytes(word, "little") for n, a, v in _LONGS for part in (host.text(n), a, 0, v)
    ) + bytes(4 * word)
    options = host.place(table)
    position, argument = libc.data_symbol("optind") or 0, libc.data_symbol("optarg") or 0
    host.memory.write_uint(libc.data_symbol("opterr") or 0, 4, 0)
    host.memory.write_uint(position, 4, 0)
    told: list[object] = []
    for _ in range(40):
        index = host.place(b"\xff" * 4)
        more = () if name == "getopt" else (options, index)
        result = host.call(name, len(words), argv, letters, *more)
        given = libc.pointer(argument)
        at = int.from_bytes(host.memory.read(index, 4), "little", signed=True)
        told.append((result, host.memory.read_uint(position, 4), host.string(given) if given else None, at))
        if result == -1:
            break
    left = [host.string(libc.pointer(argv + word * n)) for n in range(len(words))]
    return [*told, left]


@pytest.mark.parametrize("name", ["getopt", "getopt_long", "getopt_long_only"])
def test_every_step_is_what_glibc_does(glibc: ctypes.CDLL, name: str) -> None:
    dice = random.Random(name)
    for _ in range(400):
        words = [b"program", *dice.choices(_WORDS, k=dice.randrange(7))]
        letters = dice.choice(_LETTERS)
        assert ours(Harness(), name, words, letters) == theirs(glibc, name, words, letters), (words, letters)


@pytest.mark.parametrize("arch", ["i386", "aarch64"])
def test_options_that_set_a_flag_and_say_their_place(arch: str) -> None:
    host = Harness(arch)
    word, flag = host.libc.word, host.place(bytes(4))
    entry = (host.text(b"loud"), 0, flag, (1 << 32) - 7)
    table = host.place(b"".join(part.to_bytes(word, "little") for part in entry) + bytes(4 * word))
    argv = host.place(b"".join(host.text(t).to_bytes(word, "little") for t in (b"p", b"--loud")) + bytes(word))
    index = host.place(b"\xff" * 4)
    assert host.call("getopt_long", 2, argv, b"", table, index) == 0
    assert int.from_bytes(host.memory.read(flag, 4), "little", signed=True) == -7
    assert host.memory.read_uint(index, 4) == 0


MESSAGES = {
    b"-x": b"invalid option -- 'x'",
    b"-b": b"option requires an argument -- 'b'",
    b"--nothing": b"unrecognized option '--nothing'",
    b"--alpha=1": b"option '--alpha' doesn't allow an argument",
    b"--beta": b"option '--beta' requires an argument",
    b"--al": b"option '--al' is ambiguous; possibilities: '--alpha' '--alps'",
}


@pytest.mark.parametrize("argument", MESSAGES)
def test_messages_are_glibcs(argument: bytes) -> None:
    host = Harness()
    host.libc.data_symbol("opterr")
    word = host.libc.word
    argv = host.place(b"".join(host.text(t).to_bytes(word, "little") for t in (b"prog", argument)) + bytes(word))
    table = b"".join(part.to_bytes(word, "little") for n, a, v in _LONGS for part in (host.text(n), a, 0, v))
    assert host.call("getopt_long", 2, argv, b"ab:", host.place(table + bytes(4 * word)), 0) == ord("?")
    assert host.libc.stderr.getvalue() == b"prog: " + MESSAGES[argument] + b"\n"
    assert host.libc.state(Progress).next == 0 or argument == b"-x"
