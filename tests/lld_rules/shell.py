"""A few commands of lit's shell: enough to assemble what a test of LLVM links, and to see what it asks ld.lld for.

Commands that only read results (FileCheck, llvm-readobj, …) are left out, and anything unknown ends the line it is
on. Nothing is written outside the folder given.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Commands run as they are.
_TOOLS = ("llvm-mc", "llvm-ar", "yaml2obj", "llvm-objcopy", "split-file")
_OPERATORS = "|&;<>"
_SECONDS = 60


@dataclass(frozen=True)
class Invocation:
    """A call of ld.lld: `negated` where the test expects it to fail."""

    line: int
    arguments: tuple[str, ...]
    folder: Path
    negated: bool


class Unrunnable(Exception):
    """The line uses a command or a construct that is not supported."""


class Script:
    """The RUN lines of one test, with `folder` for all it writes."""

    def __init__(self, test: Path, folder: Path, tools: Callable[[str], list[str]]) -> None:
        self._test, self._folder, self._tools = test, folder, tools
        self._cwd = folder
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, link: Callable[[Invocation], int]) -> None:
        """Run all lines; `link` is called for each ld.lld, and returns its exit status."""
        for number, line in self._lines():
            try:
                for command in self._commands(line):
                    if self._run(number, command, link):
                        break
            except (Unrunnable, OSError, ValueError, subprocess.SubprocessError):
                continue

    def _lines(self) -> Iterator[tuple[int, str]]:
        """(line number, text) of each RUN line, continued ones joined and %-words replaced."""
        joined, start = "", 0
        for number, line in enumerate(self._test.read_text(errors="replace").splitlines(), 1):
            found = re.search(r"RUN:(.*)", line)
            if found is None:
                continue
            start = start if joined else number
            joined += found[1].strip()
            if joined.endswith("\\"):
                joined = joined[:-1] + " "
                continue
            yield start, self._replaced(joined)
            joined = ""

    def _replaced(self, text: str) -> str:
        words = {
            "%s": str(self._test),
            "%S": str(self._test.parent),
            "%p": str(self._test.parent),
            "%T": str(self._folder),
            "%t": str(self._folder / "t"),
            "%%": "%",
        }
        return re.sub(r"%/?([sSpTt%])", lambda found: words["%" + found[1]], text)

    def _commands(self, line: str) -> Iterator[list[str]]:
        """The commands between `&&` and `;`, each with its pipes and redirections."""
        lexer = shlex.shlex(line, posix=True, punctuation_chars=_OPERATORS)
        lexer.whitespace_split = True
        lexer.commenters = ""
        command: list[str] = []
        for word in lexer:
            if word in ("&&", ";"):
                yield command
                command = []
            else:
                command.append(word)
        yield command

    def _run(self, number: int, command: list[str], link: Callable[[Invocation], int]) -> bool:
        """Run one pipeline; returns whether it failed where it should not have."""
        given: bytes | None = None
        for part in _split(command, "|"):
            words, target = _redirected(part)
            negated = words[:1] == ["not"]
            words = words[1:] if negated else words
            words = words[1:] if words[:1] == ["--crash"] else words
            if not words:
                return False
            if words[0] in ("ld.lld", "ld.lld2"):
                return link(Invocation(number, tuple(words[1:]), self._cwd, negated)) != 0 and not negated
            given = self._one(words, given)
            if target is not None:
                (self._cwd / target).write_bytes(given)
        return False

    def _one(self, words: Sequence[str], given: bytes | None) -> bytes:
        """Run one command that is not ld.lld; returns its output."""
        name, rest = words[0], list(words[1:])
        if name == "echo":
            plain = [word for word in rest if word not in ("-e", "-n")]
            text = " ".join(plain)
            return (text.encode().decode("unicode_escape") if "-e" in rest else text).encode() + b"\n"
        if name in ("rm", "mkdir", "cp", "cd", "mv", "touch"):
            self._file_command(name, [self._inside(word) for word in rest if not word.startswith("-")])
            return b""
        if name == "cat":
            return b"".join(Path(self._cwd, word).read_bytes() for word in rest)
        if name not in _TOOLS:
            raise Unrunnable(name)
        done = subprocess.run(
            [*self._tools(name), *rest],
            input=given or b"",
            capture_output=True,
            cwd=self._cwd,
            timeout=_SECONDS,
            check=True,
        )
        return done.stdout

    def _file_command(self, name: str, paths: list[Path]) -> None:
        for path in paths if name not in ("cp", "mv") else paths[1:]:
            if self._folder not in [path, *path.parents]:
                raise Unrunnable(f"{name} {path}")
        if name == "rm":
            for path in paths:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        elif name == "mkdir":
            for path in paths:
                path.mkdir(parents=True, exist_ok=True)
        elif name == "touch":
            for path in paths:
                path.touch()
        elif name == "cd":
            self._cwd = paths[0]
        else:
            (shutil.copy if name == "cp" else shutil.move)(paths[0], paths[1])

    def _inside(self, word: str) -> Path:
        return Path(self._cwd, word).resolve()


def _split(words: Sequence[str], operator: str) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word == operator:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def _redirected(words: Sequence[str]) -> tuple[list[str], str | None]:
    """(words, file that `>` names) without redirections."""
    left: list[str] = []
    target, skip = None, 0
    for at, word in enumerate(words):
        if skip:
            skip -= 1
        elif word and set(word) <= set("<>&|"):
            if left and left[-1] == "2":
                left.pop()
            elif word == ">":
                target = words[at + 1]
            skip = 1
        else:
            left.append(word)
    return left, target
