"""Frames for host functions, so that C++ exceptions pass through qsort, dlopen or a user's callable.

When a host function calls the guest, the call returns to a trap, one for each depth. The unwinder treats the trap
as code: `_dl_find_object` returns a table made here (LSB Core, section 10.6), by which the frame's caller is the
guest function that called the host function.

The frame's personality routine (Itanium C++ ABI: Exception Handling, section 1.6) continues in the search phase.
In the cleanup phase it stops: first the Python frames are unwound by `GuestUnwinding`, which undoes a dlopen in
progress. Then the unwinder continues in the guest function, as if that had called `_Unwind_Resume` instead of the
host function.

The frame of the outermost call has no caller: the search ends there, and an uncaught exception terminates.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

from emu.debug.synthetic_headers import UnwindTable
from emu.errors import GuestUnwinding
from emu.host.functions import HostFunction
from emu.isa.registry import ISAS
from relink.arrays import U8
from relink.image import Image
from relink.memory.address_space import PAGE, Protection

if TYPE_CHECKING:
    from emu.cpu.protocol import Cpu
    from emu.debug.link_maps import Arena
    from emu.debug.symbolizer import Symbolizer
    from emu.host.symbols import HostSymbols
    from emu.isa.convention import CallingConvention
    from emu.memory.guest_memory import GuestMemory
    from emu.run.runner import Runner
    from emu.run.traps import TrapTable

_SEARCH_PHASE = 1  #: _UA_SEARCH_PHASE
INSTALL_CONTEXT, CONTINUE_UNWIND = 7, 8  #: of _Unwind_Reason_Code
_PERSONALITY = "int host_frame(int version, int actions, uint64_t kind, void *exception, void *context)"
#: An .eh_frame_hdr: version 1; .eh_frame pc-relative in 4 bytes, directly after it; no count, no search table.
_INDEX_HEADER = bytes((1, 0x1B, 0xFF, 0xFF, 4, 0, 0, 0))
_DEF_CFA, _DEF_CFA_EXPRESSION, _EXPRESSION, _UNDEFINED, _OFFSET = 0x0C, 0x0F, 0x10, 0x07, 0x80  #: DW_CFA_*
_ADDR, _DEREF = b"\x03", b"\x06"  #: DW_OP_*
_COVERED = 2  #: bytes: the return address and the byte before it, which unwinders look up


class HostFrames:
    """The frames of one machine's host functions; base class for the kinds of unwind tables."""

    def __init__(
        self,
        convention: CallingConvention,
        cpu: Cpu,
        memory: GuestMemory,
        traps: TrapTable,
        runner: Runner,
        host_symbols: HostSymbols,
        symbolizer: Symbolizer,
        arena: Arena,
    ) -> None:
        self._convention = convention
        self._cpu = cpu
        self._memory = memory
        self._traps = traps
        self._runner = runner
        self._host_symbols = host_symbols
        self._symbolizer = symbolizer
        self._arena = arena  #: the memory of the tables
        self._prepare()
        self.personality = self.define_personality()
        self.landing = traps.add("host frame", self._landed)
        self._pending: GuestUnwinding | None = None

    def _prepare(self) -> None:
        """Set up additional data for a kind of table."""

    def define_personality(self) -> int:
        """The trap that is the frames' personality routine."""
        raise NotImplementedError

    def covers(self, address: int) -> bool:
        """Whether `address` is a return address into a host function, or an entry to one."""
        raise NotImplementedError

    def table(self, address: int) -> UnwindTable:
        """The guest address and size of the table for the frame at `address`, for the current calls."""
        raise NotImplementedError

    def resume(self, unwinding: GuestUnwinding) -> int:
        """The address at which the guest function that called the host continues: in the unwinder, with its
        registers restored.
        """
        first = self._convention.first_argument
        assert first is not None
        self._cpu.write_register(first, unwinding.exception)
        return unwinding.resume_at

    def unwinder(self) -> Image:
        """The image that called the personality routine."""
        image = self._symbolizer.image_at(self._runner.return_address())
        assert image is not None, "an unwinder is guest code"
        return image

    def land(self, unwinder: Image, exception: int) -> None:
        """The unwinder will jump to `landing`."""
        resume = unwinder.symbol("_Unwind_Resume").address
        self._pending = GuestUnwinding(exception, self._runner.depth, resume)

    def _landed(self) -> int:
        assert self._pending is not None
        unwinding, self._pending = self._pending, None
        raise unwinding


class DwarfHostFrames(HostFrames):
    """Frames described by .eh_frame."""

    def _prepare(self) -> None:
        self._word = self._convention.word_size
        isa = ISAS[self._memory.architecture.name]
        dwarf, self._unwinding = isa.dwarf, isa.unwinding
        self._sp = dwarf.sp
        self._return_column = len(dwarf.names) - 1 if dwarf.link is None else dwarf.link
        self._table = UnwindTable(0, 0)
        self._cells: list[int] = []  #: for each depth from 2: the frame's CFA and return address
        self._readable: dict[int, U8] = {}  #: pages of traps made readable
        self._entry = self._entered = 0  #: guest code of a `StackEntry`, and the unwinder that it calls

    def define_personality(self) -> int:
        return self._host_symbols.define("host frame", HostFunction(self._decide, _PERSONALITY))

    def covers(self, address: int) -> bool:
        traps = self._traps
        if self._entry and self._entry <= address < self._entry + PAGE:
            return True
        return traps.is_return(address) or traps.is_return(address + 1)

    def table(self, address: int) -> UnwindTable:
        """An .eh_frame_hdr for all calls."""
        callers = self._runner.host_callers()
        arena = self._arena
        if not self._table.size or len(callers) > len(self._cells):
            self._cells += [arena.allocate(2 * self._word) for _ in callers[len(self._cells) :]]
            self._place(_INDEX_HEADER + self._frames())
            self._make_readable()
        for cell, (cfa, return_address) in zip(self._cells, callers, strict=False):
            self._memory.write(cell, self._address(cfa) + self._address(return_address))
        return self._table

    def resume(self, unwinding: GuestUnwinding) -> int:
        entry = self._unwinding.entry
        if entry is None:
            return super().resume(unwinding)
        self._prepare_entry(entry.code, unwinding.resume_at)
        self._cpu.write_register(entry.register, unwinding.exception)
        return self._entry

    def _decide(self, version: int, actions: int, kind: int, exception: int, context: int) -> int:
        """The personality routine: continues the search phase; in the cleanup phase it lands in the host."""
        if actions & _SEARCH_PHASE:
            return CONTINUE_UNWIND
        unwinder = self.unwinder()
        self.land(unwinder, exception)
        set_ip = unwinder.symbol("_Unwind_SetIP").address
        self._runner.call(set_ip, "void(void *, void *)", context, self.landing)
        return INSTALL_CONTEXT

    # ------------------------------------------------------------ the table

    def _place(self, content: bytes) -> None:
        arena = self._arena
        if self._table.size:
            arena.free(self._table.address)
        self._table = UnwindTable(arena.place(content), len(content))

    def _frames(self) -> bytes:
        """.eh_frame: a CIE and the FDE of the outermost call, those of host functions, the end."""
        traps, column = self._traps, self._return_column
        ends = bytes((_DEF_CFA, self._sp, 0, _UNDEFINED, column))
        out = self._record(0, self._description(b"zR", b"\0") + ends)
        out += self._function(len(out), 0, traps.return_to(1) - 1, _COVERED, b"")
        if self._entry and self._unwinding.entry is not None:
            rules = bytes((_DEF_CFA, self._sp, self._unwinding.entry.stack, _OFFSET | column, 1))
            out += self._function(len(out), 0, self._entry, PAGE, rules)
        inner = len(out)
        out += self._record(0, self._description(b"zPR", b"\0" + self._address(self.personality) + b"\0"))
        for depth, cell in enumerate(self._cells, 2):
            cfa = _ADDR + self._address(cell) + _DEREF
            place = _ADDR + self._address(cell + self._word)
            rules = bytes((_DEF_CFA_EXPRESSION, len(cfa))) + cfa + bytes((_EXPRESSION, column, len(place))) + place
            out += self._function(len(out), inner, traps.return_to(depth) - 1, _COVERED, rules)
        return out + bytes(4)

    def _description(self, augmentation: bytes, data: bytes) -> bytes:
        """A CIE's contents up to its instructions; data is aligned to words downwards."""
        alignments = bytes((1, -self._word & 0x7F, self._return_column))
        return bytes((1,)) + augmentation + b"\0" + alignments + bytes((len(data),)) + data

    def _function(self, at: int, description: int, start: int, size: int, rules: bytes) -> bytes:
        """The FDE at offset `at` of .eh_frame, of the CIE at another."""
        return self._record(at + 4 - description, self._address(start) + self._address(size) + b"\0" + rules)

    def _record(self, identifier: int, content: bytes) -> bytes:
        content += bytes(-(4 + len(content)) % self._word)  # DW_CFA_nop
        return (4 + len(content)).to_bytes(4, "little") + identifier.to_bytes(4, "little") + content

    def _address(self, value: int) -> bytes:
        return value.to_bytes(self._word, "little")

    def _make_readable(self) -> None:
        """Map the pages of the return addresses, where unwinders read the code there."""
        if not self._unwinding.reads_code:
            return
        for depth in range(1, len(self._cells) + 2):
            page = self._traps.return_to(depth) & -PAGE
            if page not in self._readable:
                self._readable[page] = np.frombuffer(mmap.mmap(-1, PAGE), np.uint8)
                self._cpu.map(page, PAGE, Protection.R, self._readable[page])

    def _prepare_entry(self, code: bytes, unwinder: int) -> None:
        memory = self._memory
        if not self._entry:
            self._entry = memory.map_anonymous(PAGE, Protection.R | Protection.X, name="[unwind]")
            self._table = self._table._replace(size=0)  # to be built again, with an FDE for this depth
        if self._entered != unwinder:
            after = self._entry + len(code) + 4
            memory.write(self._entry, code + self._address((unwinder - after) & 0xFFFF_FFFF))
            self._entered = unwinder
