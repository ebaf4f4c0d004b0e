"""An engine that compiles, which takes over from one that interprets.

Engines do not share memory, so it is moved: code at once, the rest, `CHUNK` bytes at a time, when the guest or the
host first uses it. Until then the guest has no access to it in this engine, and the other engine has the content.
Faults of icicle leave everything as before the access, in the middle of an instruction too, and it goes on from
there.

A signal handler may read and write memory at any time. What it writes while memory is being copied goes to the
other engine, and the copy is made again.
"""

from __future__ import annotations

from collections.abc import Iterable

from emu.cpu.icicle import joined
from emu.cpu.icicle.engine import Engine, nonzero_blocks
from emu.cpu.loongarch64.registers import ENGINE_REGISTERS
from emu.cpu.spans import Span, SpanMap
from relink.memory.address_space import Protection

CHUNK = 1 << 16
#: An access of an instruction is at most this many bytes.
_WIDEST = 16


class CompiledEngine(Engine):
    """Takes over the registers of `source` and its memory, which is mapped as `spans` say; the code only with
    `take_code`.
    """

    jit = True

    def __init__(self, source: Engine, spans: Iterable[Span]) -> None:
        super().__init__()
        self.source = source
        self._absent = SpanMap()  #: memory that `source` still has, with the guest's permissions
        self._moving: Span | None = None  #: has been moved, but for its permissions
        self._copying = 0, 0  #: what is being copied
        self._changes = 0  #: number of changes of that by the host
        for span in spans:
            super().mem_map(span.start, span.end - span.start, Protection.NONE)
        self._absent.spans = list(spans)
        for name in ENGINE_REGISTERS:
            self.reg_write(name, source.reg_read(name))

    def take_code(self) -> None:
        """Move the code: compiled code would keep the fault that memory which has not been moved causes."""
        for span in self._absent.spans:
            if span.protection & Protection.X:
                self._move(span.start, span.end)

    def _move(self, start: int, end: int) -> None:
        self.complete()
        while found := self._absent.overlapping(start, end):
            span, changes = found[0], self._changes
            self._copying = span.start, span.end
            size = span.end - span.start
            for offset, block in nonzero_blocks(memoryview(self.source.mem_read(span.start, size))):
                self.raw.mem_write(span.start + offset, block)
            rest = SpanMap()
            rest.spans = self._absent.spans
            rest.remove(span.start, span.end)
            # A handler cannot run within the statement.
            self._absent, self._moving = (rest, span) if self._changes == changes else (self._absent, None)
            if self._absent is rest:
                self.complete()
                self.source.mem_unmap(span.start, size)

    def join(self) -> None:
        """Compile the guest's code once more, as a whole, where that can be (`emu.cpu.icicle.joined`)."""
        if (clock := joined.clock(self.words.library)) is not None:
            self.reusable = False  # it would not join the code of the next CPU
            joined.join(self.raw, clock)

    def _changed(self, start: int, end: int) -> None:
        self._changes += start < self._copying[1] and self._copying[0] < end

    def complete(self) -> None:
        if self._moving is not None:
            start, end, protection = self._moving
            super().mem_protect(start, end - start, protection)
            self._moving = None

    def _use(self, start: int, end: int) -> None:
        if self._absent.spans:
            self._move(start & -CHUNK, (end + CHUNK - 1) & -CHUNK)

    def admit(self, address: int) -> bool:
        """Move the memory of an access at `address` that was refused; False if it has been moved before."""
        places = (address, (address + _WIDEST - 1) & (1 << 64) - 1)
        absent = [place for place in places if self._absent.find(place) is not None]
        for place in absent:
            self._use(place, place + 1)
        return bool(absent)

    # ---------------------------------------------------------------- the interface of Engine

    def mem_read(self, address: int, size: int) -> bytes:
        data = self.raw.mem_read(address, size)
        if not (absent := self._absent.spans and self._absent.overlapping(address, address + size)):
            return bytes(data)
        whole = bytearray(data)
        for span in absent:
            whole[span.start - address : span.end - address] = self.source.mem_read(
                span.start, span.end - span.start
            )
        return bytes(whole)

    def mem_write(self, address: int, data: bytes) -> None:
        self._changed(address, address + len(data))
        for span in self._absent.overlapping(address, address + len(data)):
            self.source.mem_write(span.start, data[span.start - address : span.end - address])
        super().mem_write(address, data)  # what is not here will be moved over it

    def mem_protect(self, address: int, size: int, protection: Protection) -> None:
        end = address + size
        self._changed(address, end)
        self.complete()
        if protection & Protection.X or size <= CHUNK:
            self._use(address, end)
        position = address
        for span in self._absent.overlapping(address, end):
            if position < span.start:
                super().mem_protect(position, span.start - position, protection)
            changed = SpanMap()
            changed.spans = self._absent.spans
            changed.remove(span.start, span.end)
            changed.add(span.start, span.end, protection)
            self._absent = changed
            position = span.end
        if position < end:
            super().mem_protect(position, end - position, protection)

    def mem_unmap(self, address: int, size: int) -> None:
        self.complete()
        for span in self._absent.overlapping(address, address + size):
            self._absent.remove(span.start, span.end)
            self.source.mem_unmap(span.start, span.end - span.start)
        super().mem_unmap(address, size)
