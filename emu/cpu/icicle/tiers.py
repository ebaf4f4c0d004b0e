"""The engine of an IcicleCpu, which interprets or compiles, and how it is rebuilt without translations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from emu.cpu.closed import Closed
from emu.cpu.icicle import hot_code
from emu.cpu.icicle.compiled import CompiledEngine
from emu.cpu.icicle.engine import Engine, is_idle, nonzero_blocks
from emu.cpu.icicle.first_writes import SavedEngine
from emu.cpu.icicle.hot_code import HotCode
from emu.cpu.icicle.registers import Context, IcicleRegisters
from emu.cpu.loongarch64.registers import ENGINE_REGISTERS
from emu.cpu.spans import Span, SpanMap
from relink.errors import MachineInUse
from relink.memory.address_space import Protection

if TYPE_CHECKING:
    from emu.cpu.icicle.events import IcicleEvents


class _Carried(NamedTuple):
    """The state of an engine before a refresh: (span, non-zero blocks) of all memory, and registers."""

    contents: list[tuple[Span, list[tuple[int, bytes]]]]
    registers: Context
    late_writes: list[tuple[int, bytes]]


class EngineTiers(SavedEngine, IcicleRegisters):
    """The part of an IcicleCpu that chooses its engine."""

    _observed: IcicleEvents | None

    def __init__(self) -> None:
        self._thread = get_ident()
        self._carried: _Carried | None = None  # state during a refresh
        self._engine_here = Engine()
        self._words = self._engine_here.words
        self._pages = SpanMap()
        #: Pages that were executable during a run: the engine may have translations of them.
        self._ran = SpanMap()
        self._ran_current = False
        self._stale = False
        self._rebuilt = 0  #: number of refreshes
        #: What signal handlers write while memory is being saved for a refresh.
        self._late_writes: list[tuple[int, bytes]] | None = None
        self._unprotected = False  #: whether the engine is new, and first writes are not yet noticed
        self._hot = HotCode(hot_code.default_jit)

    @property
    def jit(self) -> bool | None:
        """Whether code is compiled: at once, never, or (None) when it is hot."""
        return self._hot.jit

    @jit.setter
    def jit(self, jit: bool | None) -> None:
        self._hot = HotCode(jit)
        if jit is False:
            self.interpret()

    @property
    def engine(self) -> Engine:
        """The engine in use."""
        return self._engine

    @property
    def compiled(self) -> bool:
        """Whether code is being compiled."""
        return self._engine_here.jit

    @property
    def _engine(self) -> Engine:
        """The engine. Raises MachineError in another thread than the one that created it, where the engine would
        panic.
        """
        if get_ident() != self._thread:
            raise MachineInUse("icicle runs LoongArch64 only in the thread that created the machine")
        if self._carried is not None:
            self._refill()
        return self._engine_here

    def _leave(self) -> None:
        """Free the engines, or leave them to other CPUs of this thread."""
        engine, self._engine_here = self._engine_here, cast(Any, Closed())
        if not isinstance(engine, Closed) and get_ident() == self._thread:
            engine.release(self._hot.compilation)
            if isinstance(engine, CompiledEngine):
                engine.source.release()

    # ---------------------------------------------------------------- one engine or the other

    def interpret(self) -> None:
        """Go on interpreting, at least until the next run."""
        if self._engine.jit:
            self._refresh()

    def _look(self, pc: int) -> None:
        """A number of instructions has been run: change the engine, if that is better."""
        hot = self._hot
        engine = self._engine
        if isinstance(engine, CompiledEngine):
            if not hot.is_worth_it():
                hot.give_up()
                self._refresh()
            elif hot.is_full:
                self._refresh()
            elif hot.is_to_be_joined:
                started = time.perf_counter()
                engine.join()
                hot.joined(time.perf_counter() - started)
        elif self._observed is not None and self._observed.active:
            hot.wait()
        elif hot.sampled(pc, self._seconds_to_begin()):
            self._compile()

    def _seconds_to_begin(self) -> float:
        code = sum(span.end - span.start for span in self._pages.spans if span.protection & Protection.X)
        begin = hot_code.START if is_idle(jit=True) else hot_code.CREATION
        return begin + code / (1 << 20) * hot_code.MIB_COST

    def _compile(self) -> None:
        """Let an engine that compiles take over."""
        engine = CompiledEngine(self._engine, self._pages.spans)
        self._unprotected, self._ran_current = True, False
        self._engine_here = engine
        self._prepare()
        self._hot.begin_compiled(engine.compilation)

    # ---------------------------------------------------------------- translated code

    def _forget(self, start: int, end: int) -> None:
        """Mark code in [start, end) as changed, for which the engine may have translations."""
        if self._ran.overlapping(start, end):
            self._stale = True
            if self._observed is not None:
                self._observed.forget_blocks()

    def _became_executable(self, start: int) -> None:
        """Handle new executable pages: a block that ran off the end of the page before was translated with a fetch
        fault at its end.
        """
        self._ran_current = False
        if self._ran.find(start - 1):
            self._stale = True

    def _prepare(self, *, refresh: bool = False) -> None:
        """Before a run: drop stale translations, and record the pages that may be translated from now on."""
        if self._stale or refresh:
            if self._engine.jit:
                self._hot.give_up()
            self._refresh()
        if self._unprotected:
            self._engine.take_code()
            if self._first_writes is not None:
                self._first_writes.protect_all()
            self._unprotected = False
        self._ran.spans = [span for span in self._pages.spans if span.protection & Protection.X]
        self._ran_current = True

    def _refresh(self) -> None:
        """Rebuild the engine without translations, with the same memory and registers. It interprets."""
        if self._carried is None:
            self._late_writes, rebuilt = (late := list[tuple[int, bytes]]()), self._rebuilt
            try:
                contents = [(span, list(self._nonzero_memory(span))) for span in self._pages.spans]
                carried = _Carried(contents, self.save(), late)
                # If a signal handler has changed code, that has rebuilt the engine.
                self._carried = carried if self._rebuilt == rebuilt else None
            finally:
                if self._carried is None:
                    self._late_writes = None
        if self._carried is not None:
            self._refill()

    def _refill(self) -> None:
        """Restore the saved state in the engine. If a signal handler raises during this, the next use of the
        engine starts over; if it uses the engine, that completes it.
        """
        engine, carried = self._engine_here, self._carried
        if carried is None:  # a handler has just done it
            return
        if isinstance(engine, CompiledEngine):
            self._engine_here = engine.source
            engine.release(self._hot.compilation)
            engine = self._engine_here
        for step in self._steps_to(engine, carried, self._words.protections):
            _ = self._carried is carried and step()  # a handler cannot run within the statement
        if self._carried is not carried:
            return
        self._carried = self._late_writes = None
        self._rebuilt += 1
        self._hot.begin()
        self._stale = self._ran_current = False
        self._ran = SpanMap()
        if self._first_writes is not None:
            self._first_writes.protect_all()
        if self._observed is not None:
            self._observed.rebuilt()

    @staticmethod
    def _steps_to(
        engine: Engine, carried: _Carried, protections: Mapping[int, Any]
    ) -> Iterator[Callable[[], object]]:
        """The calls that bring the engine to a state."""
        raw = engine.raw
        yield engine.nothing_is_mapped
        yield raw.reset
        for (start, end, protection), blocks in carried.contents:
            yield partial(raw.mem_map, start, end - start, protections[int(protection)])
            for offset, block in blocks:
                yield partial(raw.mem_write, start + offset, block)
        for address, data in carried.late_writes:
            yield partial(raw.mem_write, address, data)
        for name, value in zip(ENGINE_REGISTERS, carried.registers.values, strict=True):
            yield partial(raw.reg_write, name, value)

    def _nonzero_memory(self, span: Span) -> Iterator[tuple[int, bytes]]:
        """(offset, block) of the non-zero blocks of a span, read in pieces of 1 MiB; most of a stack or heap
        is zero.
        """
        for start in range(span.start, span.end, 1 << 20):
            piece = memoryview(self._engine.mem_read(start, min(1 << 20, span.end - start)))
            for offset, block in nonzero_blocks(piece):
                yield start - span.start + offset, block
