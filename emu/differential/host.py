"""Running a call on the host's own CPU: ctypes in a child process, each call in a fork of it."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emu.calls.types import Array, CType, Floating, Integer, Pointer, Prototype, Struct, Void
from emu.differential.guest import ALIGNMENT, HEAP, PLACE
from emu.differential.inputs import Argument, Untestable
from emu.differential.values import Outcome, from_json, to_json
from relink.arch import UnknownArchitecture, architecture
from relink.errors import MachineError


def is_native(arch: str) -> bool:
    """Whether this process can run a library of that architecture."""
    try:
        return sys.platform == "linux" and arch == architecture(platform.machine()).name
    except UnknownArchitecture:
        return False


class Host:
    """A library in a child process."""

    name = "host"

    def __init__(self, file: Path) -> None:
        self._file = file
        self._child: subprocess.Popen[str] | None = None

    def call(
        self,
        function: str,
        prototype: Prototype,
        arguments: Sequence[Argument],
        values: Sequence[Any],
        seconds: float,
    ) -> Outcome:
        """Call a function, for at most `seconds`. Raises Untestable for types that ctypes cannot pass.

        An exception of a signal handler ends the child: its answer would be taken for that to the next call.
        """
        request = {
            "function": function,
            "seconds": seconds,
            "memory": 2 * HEAP,
            "place": [PLACE, ALIGNMENT],
            "result": specified(prototype.result),
            "parameters": [
                [
                    argument.name,
                    argument.kind,
                    argument.const,
                    specified(_of(argument, parameter.type)),
                    to_json(value),
                ]
                for argument, parameter, value in zip(arguments, prototype.parameters, values, strict=True)
            ],
        }
        text = json.dumps(request) + "\n"
        try:
            line = self._answer(text)
        except BaseException:
            self.close()
            raise
        facts = from_json(json.loads(line))
        if "problem" in facts:
            raise Untestable(facts["problem"])
        return Outcome(**facts)

    def _answer(self, request: str) -> str:
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(request)
            child.stdin.flush()
        if line := child.stdout.readline():
            return line
        raise MachineError(f"{self._file.name} cannot be loaded on the host: exit status {child.wait()}")

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            self.close()
            program = Path(__file__).with_name("host_child.py")
            command = [sys.executable, str(program), str(self._file)]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        return self._child

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _of(argument: Argument, ctype: CType) -> CType:
    """The element type of a pointer to an array; else the type of the parameter."""
    return ctype.target if isinstance(ctype, Pointer) and argument.kind in ("array", "length in memory") else ctype


def specified(ctype: CType) -> list[Any]:
    """A type for the child: see `host_child`. Raises Untestable for one that ctypes cannot pass."""
    match ctype:
        case Void():
            return ["void"]
        case Integer():
            return ["bool" if ctype.is_bool else "integer", ctype.size, ctype.signed]
        case Floating():
            return ["float", ctype.size]
        case Pointer():
            target = ctype.target
            return ["text" if isinstance(target, Integer) and target.is_character else "pointer"]
        case Array():
            return ["array", specified(ctype.target), ctype.count or 0]
        case Struct() if ctype.members is not None and not ctype.packed:
            if any(not member.name or member.align for member in ctype.members):
                raise Untestable(f"ctypes cannot pass {ctype}, which has unnamed or aligned members")
            bits = [None if member.bits is None else member.bits[1] for member in ctype.members]
            members = zip(ctype.members, bits, strict=True)
            return [
                "struct",
                [[member.name, specified(member.type), width] for member, width in members],
                ctype.size,
            ]
    raise Untestable(f"ctypes cannot pass {ctype}")
