"""The part of a machine for debuggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from relink.errors import MachineError

if TYPE_CHECKING:
    from emu.debug.gdb.server import Debugger
    from emu.isa.spec import Isa
    from emu.parts import Parts
    from emu.personality import Personality
    from emu.snapshot import SnapshotGuest

#: AT_PAGESZ, of an auxiliary vector (Linux, include/uapi/linux/auxvec.h).
_PAGE_SIZE = {6: 4096}


class DebuggedGuest:
    """The methods of `emu.machine.Machine` for GDB: see docs/debugging.md."""

    parts: Parts
    isa: Isa
    os: Personality

    def debug(self, *, port: int = 0) -> Debugger:
        """Put the calls of the machine under GDB, until `close` of the result or the end of its `with` block.

            with machine.debug() as debugger:
                print(debugger.command)              # what to type in another terminal
                library.parse("a b")                 # waits for GDB, which stops at its first instruction

        GDB connects to `port` of the loopback interface; 0: any free one. Calls have no time limit meanwhile.
        Raises OSError for a port that is in use, MachineError when a debugger has the machine already.
        """
        from emu.debug.gdb.server import Debugger

        if isinstance(getattr(self.parts.runner.call_planned, "__self__", None), Debugger):
            raise MachineError("the machine is under a debugger already")
        program = getattr(self.os, "program", None)
        vector = dict(program.auxv) if program is not None else _PAGE_SIZE
        size = self.parts.memory.architecture.word_size
        words = [word for pair in (*vector.items(), (0, 0)) for word in pair]
        path = program.image.decoded.path if program is not None else None
        return Debugger(
            self.parts,
            self.isa,
            cast("SnapshotGuest", self),
            b"".join(word.to_bytes(size, "little") for word in words),
            "" if path is None else str(path.absolute()),
            port,
        )
