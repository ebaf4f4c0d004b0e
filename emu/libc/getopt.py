"""getopt, getopt_long and getopt_long_only, with glibc's permutation of arguments and its messages."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from emu.libc.open_streams import standard_stream, write_stream
from emu.libc.table import export
from relink.records import dataclass

if TYPE_CHECKING:
    from emu.libc.library import Libc

_BAD, _MISSING, _END = ord("?"), ord(":"), -1
_REQUIRED = 1  # no_argument is 0, optional_argument 2


class _Order(enum.Enum):
    PERMUTE = enum.auto()
    REQUIRE = enum.auto()  #: stop at the first word that is not an option
    RETURN = enum.auto()  #: each word that is not an option is the argument of an option 1


class Progress:
    """The position of the scan between calls."""

    def __init__(self, libc: Libc) -> None:
        self.next = 0  #: address of the next letter of a group of short options; 0: none
        self.first = self.last = 1  #: argv[first:last] are the words skipped


@dataclass(frozen=True)
class _Long:
    """struct option."""

    index: int
    name: bytes
    argument: int
    flag: int
    value: int


class _Scan:
    """The state of one call."""

    def __init__(self, libc: Libc, argc: int, argv: int, letters: int, longs: int, index_at: int) -> None:
        self.libc = libc
        self.argc, self.argv = argc, argv
        self.longs, self.index_at = longs, index_at
        self.state = libc.state(Progress)
        text = libc.string(letters)
        self.order = _Order.PERMUTE
        if text[:1] in (b"+", b"-"):
            self.order = _Order.REQUIRE if text[:1] == b"+" else _Order.RETURN
            text = text[1:]
        self.quiet = text[:1] == b":"
        self.letters = text

    # ------------------------------------------------------------ the program's variables

    def _variable(self, name: str) -> int:
        address = self.libc.data_symbol(name)
        assert address is not None
        return address

    @property
    def position(self) -> int:
        return self.libc.memory.read_uint(self._variable("optind"), 4)

    @position.setter
    def position(self, value: int) -> None:
        self.libc.memory.write_uint(self._variable("optind"), 4, value)

    def set_argument(self, address: int) -> None:
        self.libc.set_pointer(self._variable("optarg"), address)

    def fail(self, option: int, problem: bytes, result: int = _BAD) -> int:
        """Print the problem, unless opterr is 0, and set optopt to the option."""
        libc = self.libc
        libc.memory.write_uint(self._variable("optopt"), 4, option & 0xFFFF_FFFF)
        if not self.quiet and libc.memory.read_uint(self._variable("opterr"), 4):
            text = libc.string(self.pointer(0)) + b": " + problem + b"\n"
            write_stream(libc, standard_stream(libc, 2), text)
        return result

    def pointer(self, index: int) -> int:
        return self.libc.pointer(self.argv + index * self.libc.word)

    def argument(self, index: int) -> bytes:
        return self.libc.string(self.pointer(index))

    # ------------------------------------------------------------ words

    def step(self, *, long_only: bool) -> int:
        """The next option's letter or value, or -1 at the end."""
        state = self.state
        self.set_argument(0)
        if self.position == 0:
            self.position = state.first = state.last = 1
            state.next = 0
        if not state.next or not self.libc.string(state.next):
            found = self._next_word()
            if found is not None:
                return found
            word = self.argument(self.position)
            if self.longs:
                start = self.pointer(self.position)
                if word.startswith(b"--"):
                    return self._long(start + 2, b"--")
                if long_only and (len(word) > 2 or word[1:2] not in self.letters):
                    known = self._long(start + 1, b"-")
                    if known != _END:
                        return known
            state.next = self.pointer(self.position) + 1
        return self._letter()

    def _next_word(self) -> int | None:
        """Go to the next word that is an option; without one, return getopt's result."""
        state = self.state
        state.last, state.first = min(state.last, self.position), min(state.first, self.position)
        if self.order is _Order.PERMUTE:
            self._exchange()
            while self.position < self.argc and not _is_option(self.argument(self.position)):
                self.position += 1
            state.last = self.position
        if self.position < self.argc and self.argument(self.position) == b"--":
            self.position += 1
            self._exchange()
            state.last = self.position = self.argc
        if self.position >= self.argc:
            if state.first != state.last:
                self.position = state.first
            return _END
        if _is_option(self.argument(self.position)):
            return None
        if self.order is _Order.REQUIRE:
            return _END
        self.set_argument(self.pointer(self.position))
        self.position += 1
        return 1

    def _exchange(self) -> None:
        """Move the skipped words after the options that follow them."""
        state, position = self.state, self.position
        if state.first != state.last and state.last != position:
            passed = [self.pointer(n) for n in range(state.first, state.last)]
            options = [self.pointer(n) for n in range(state.last, position)]
            for index, address in enumerate([*options, *passed], state.first):
                self.libc.set_pointer(self.argv + index * self.libc.word, address)
            state.first += len(options)
            state.last = position
        elif state.last != position or state.first == state.last:
            state.first = position

    # ------------------------------------------------------------ letters

    def _letter(self) -> int:
        state = self.state
        letter = self.libc.string(state.next)[0]
        state.next += 1
        rest = self.libc.string(state.next)
        if not rest:
            self.position += 1
        place = self.letters.find(letter)
        if place < 0 or letter in b":;":
            return self.fail(letter, b"invalid option -- '%c'" % letter)
        if self.longs and self.letters[place : place + 2] == b"W;":
            return self._long_behind_w(state.next if rest else 0)
        if self.letters[place + 1 : place + 2] != b":":
            return letter
        optional = self.letters[place + 2 : place + 3] == b":"
        following, state.next = state.next, 0
        if rest:
            self.set_argument(following)
            self.position += 1
        elif not optional:
            if self.position >= self.argc:
                return self._without_argument(letter)
            self.set_argument(self.pointer(self.position))
            self.position += 1
        return letter

    def _without_argument(self, letter: int) -> int:
        result = _MISSING if self.quiet else _BAD
        return self.fail(letter, b"option requires an argument -- '%c'" % letter, result)

    def _long_behind_w(self, rest: int) -> int:
        """-W foo and -Wfoo, which mean --foo where the letters have `W;` (POSIX leaves W to implementations)."""
        if not rest and self.position >= self.argc:
            return self._without_argument(ord("W"))
        return self._long(rest or self.pointer(self.position), b"-W ")

    # ------------------------------------------------------------ long options

    def _options(self) -> list[_Long]:
        libc, found = self.libc, list[_Long]()
        word = libc.word
        at = self.longs
        while name := libc.pointer(at):
            argument = libc.memory.read_uint(at + word, 4)
            flag, value = libc.pointer(at + 2 * word), libc.memory.read_uint(at + 3 * word, 4)
            value -= (value >> 31) << 32
            found.append(_Long(len(found), libc.string(name), argument, flag, value))
            at += 4 * word
        return found

    def _long(self, start: int, prefix: bytes) -> int:
        """The long option at `start`, in the word at `optind`; _END behind a single dash where it is a letter."""
        text = self.libc.string(start)
        name, equals, _ = text.partition(b"=")
        options = self._options()
        chosen = [option for option in options if option.name == name] or [
            option for option in options if option.name.startswith(name)
        ]
        if not chosen and prefix == b"-" and text[:1] in self.letters:
            return _END
        self.state.next = 0
        self.position += 1
        if not chosen:
            return self.fail(0, b"unrecognized option '%s%s'" % (prefix, text))
        if len({(option.argument, option.flag, option.value) for option in chosen}) > 1:
            same = b"".join(b" '%s%s'" % (prefix, option.name) for option in chosen)
            problem = b"option '%s%s' is ambiguous; possibilities:%s"
            return self.fail(0, problem % (prefix, text, same))
        return self._take(chosen[0], prefix, start + len(name) + 1 if equals else 0)

    def _take(self, option: _Long, prefix: bytes, given: int) -> int:
        """Process an option with its argument: the text after `=`, or the next word."""
        what = (prefix, option.name)
        if given and not option.argument:
            return self.fail(option.value, b"option '%s%s' doesn't allow an argument" % what)
        if given:
            self.set_argument(given)
        elif option.argument == _REQUIRED:
            if self.position >= self.argc:
                result = _MISSING if self.quiet else _BAD
                return self.fail(option.value, b"option '%s%s' requires an argument" % what, result)
            self.set_argument(self.pointer(self.position))
            self.position += 1
        if self.index_at:
            self.libc.memory.write_uint(self.index_at, 4, option.index)
        if not option.flag:
            return option.value
        self.libc.memory.write_uint(option.flag, 4, option.value & 0xFFFF_FFFF)
        return 0


def _is_option(word: bytes) -> bool:
    return word.startswith(b"-") and word != b"-"


@export("int getopt(int argc, void *argv, const char *letters)", alias=("__posix_getopt",))
def getopt(libc: Libc, argc: int, argv: int, letters: int) -> int:
    return _Scan(libc, argc, argv, letters, 0, 0).step(long_only=False)


@export("int getopt_long(int argc, void *argv, const char *letters, const void *longs, int *index)")
def getopt_long(libc: Libc, argc: int, argv: int, letters: int, longs: int, index: int) -> int:
    return _Scan(libc, argc, argv, letters, longs, index).step(long_only=False)


@export("int getopt_long_only(int argc, void *argv, const char *letters, const void *longs, int *index)")
def getopt_long_only(libc: Libc, argc: int, argv: int, letters: int, longs: int, index: int) -> int:
    return _Scan(libc, argc, argv, letters, longs, index).step(long_only=True)
