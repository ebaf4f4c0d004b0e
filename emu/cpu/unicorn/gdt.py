"""i386's descriptor table, in a page of the engine's own: the segment of thread-local storage."""

from __future__ import annotations

import ctypes

import numpy as np

from emu.cpu.pages import PAGE_SIZE
from emu.cpu.protocol import Protection
from emu.cpu.unicorn import api
from emu.cpu.unicorn.isas import CODE, GDT_CODE, GDT_FLAT, GDT_PAGE, GDT_TLS, GDT_USER, gdt_entry
from relink.arrays import U8


class DescriptorTable(ctypes.Structure):
    """uc_x86_mmr: GDTR, IDTR, LDTR or TR."""

    _fields_ = (
        ("selector", ctypes.c_uint16),
        ("base", ctypes.c_uint64),
        ("limit", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )
    selector: int
    base: int
    limit: int
    flags: int


def load_table(handle: ctypes.c_void_p, register: str, table: DescriptorTable) -> None:
    """Write GDTR, IDTR, LDTR or TR."""
    number = api.register_number("x86", register)
    api.check(api.uclib.uc_reg_write(handle, number, ctypes.byref(table)), f"load {register}")


def read_table(handle: ctypes.c_void_p, register: str) -> DescriptorTable:
    """The value of one of them."""
    table, number = DescriptorTable(), api.register_number("x86", register)
    api.check(api.uclib.uc_reg_read(handle, number, ctypes.byref(table)), f"read {register}")
    return table


class Gdt:
    """i386: a page with a GDT: flat segments (loading %gs makes the engine read them all) and %gs's segment."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle = handle
        room = np.zeros(2 * PAGE_SIZE, np.uint8)
        self._page: U8 = room[-room.ctypes.data % PAGE_SIZE :][:PAGE_SIZE]
        host = ctypes.c_void_p(self._page.ctypes.data)
        status = api.uclib.uc_mem_map_ptr(handle, GDT_PAGE, PAGE_SIZE, api.PROTECTION[Protection.R], host)
        api.check(status, "map the descriptor table", GDT_PAGE, PAGE_SIZE)
        self._describe(GDT_FLAT, gdt_entry(0, 0))
        self._describe(GDT_USER, gdt_entry(0, 3))
        self._load(GDT_USER)
        self._select("SS", GDT_FLAT, 0)
        for segment in ("DS", "ES"):
            self._select(segment, GDT_USER, 3)

    def _load(self, last: int) -> None:
        """Load the table, up to an entry."""
        load_table(self._handle, "GDTR", DescriptorTable(0, GDT_PAGE, 8 * (last + 1) - 1, 0))

    def begin_privileged(self) -> None:
        """Begin with all segments, CS too, which software loads again when it returns from an interrupt; without
        an interrupt table, a task, a local table.
        """
        self._describe(GDT_CODE, gdt_entry(0, 0, CODE))
        self._load(GDT_TLS)
        for segment in ("SS", "DS", "ES", "FS", "GS"):
            self._select(segment, GDT_FLAT, 0)
        self._select("CS", GDT_CODE, 0)
        for register in ("IDTR", "LDTR", "TR"):
            load_table(self._handle, register, DescriptorTable(0, 0, 0, 0))

    def set_thread_pointer(self, address: int) -> None:
        """Have %gs select a segment at `address`."""
        self._describe(GDT_TLS, gdt_entry(address, 3))
        self._select("GS", GDT_TLS, 3)

    @property
    def content(self) -> bytes:
        """The table's entries."""
        return self._page[: 8 * (GDT_USER + 1)].tobytes()

    @content.setter
    def content(self, entries: bytes) -> None:
        self._page[: len(entries)] = np.frombuffer(entries, np.uint8)

    def _describe(self, index: int, entry: bytes) -> None:
        self._page[8 * index : 8 * index + 8] = np.frombuffer(entry, np.uint8)

    def _select(self, segment: str, index: int, privilege: int) -> None:
        selector = ctypes.c_uint16(index << 3 | privilege)
        register = api.register_number("x86", segment)
        api.check(api.uclib.uc_reg_write(self._handle, register, ctypes.byref(selector)), f"load {segment}")
