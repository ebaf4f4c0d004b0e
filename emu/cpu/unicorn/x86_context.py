"""The part of x86's privileged state that Unicorn shows in no register: the privilege level, and what it knows of
the last exception beside its number.

A saved context contains them. Their offsets are found once per process by a test: exceptions whose error codes are
known, and a return to another privilege level.
"""

from __future__ import annotations

import ctypes
import functools
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from emu.cpu.unicorn import api
from emu.cpu.unicorn.experiment import one_page, run_bytes
from emu.cpu.unicorn.gdt import DescriptorTable, load_table
from emu.cpu.unicorn.isas import CODE, DATA, ISAS, gdt_entry
from relink.arrays import U8
from relink.errors import MachineError

_CODE, _TABLE, _STACK, _LINE = 0x1000, 0x1800, 0x1C00, 0x40
_USER_CODE, _USER_DATA = 0x1B, 0x23
_NONE: Final = 0xFFFF_FFFF
#: Code, and what it ends with: the exception that counts for double faults, the error code, whether it is a
#: software interrupt.
_EXPERIMENT: Final = (
    ("90", _NONE, 0, 0),
    ("66b888008ed8", 13, 0x88, 0),  # mov ax, 0x88; mov ds, ax: beyond the table
    ("cd31", 13, 0, 1),  # int 0x31
    ("cc", 13, 0, 1),
)


class Places(NamedTuple):
    """Offsets of words of 32 bits in a context."""

    privilege: int  #: in its two lowest bits
    former: int  #: the exception that makes another one a double fault; `_NONE`: none
    error: int
    software: int


@functools.cache
def places() -> Places:
    """Find the offsets. Raises MachineError when this version of Unicorn does not have them."""
    *states, kernel, user = _experiment()
    former, error, software = (
        _only(states, partial(operator.eq, wanted)) for wanted in list(zip(*_EXPERIMENT, strict=True))[1:]
    )
    level = _only([kernel, user], lambda values: values[0] ^ values[1] == 3 and values[1] & 3 == 3)
    return Places(level, former, error, software)


class X86State:
    """The privileged state of one engine."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._handle, self._context, self._places = handle, api.Context(handle), places()

    def last_exception(self) -> tuple[int, bool]:
        """The error code of the last exception, and whether it was a software interrupt (or int3, into)."""
        content, places = self._context.content(self._handle), self._places
        return _word(content, places.error), bool(_word(content, places.software))

    def forget_exception(self) -> None:
        """Have the next exception be no double fault."""
        self._context.content(self._handle)
        self._put(self._places.former, _NONE)

    def set_privilege(self, level: int) -> None:
        """Set the current privilege level. Segments are loaded afterwards."""
        content, place = self._context.content(self._handle), self._places.privilege
        self._put(place, _word(content, place) & ~3 | level)

    def _put(self, place: int, value: int) -> None:
        self._context.put(self._handle, {place + at: value >> 8 * at & 0xFF for at in range(4)})


def _unknown() -> MachineError:
    return MachineError("this version of Unicorn does not show the privileged state of x86")


def _word(content: bytes, offset: int) -> int:
    return int.from_bytes(content[offset : offset + 4], "little")


def _only(states: list[bytes], matches: Callable[[tuple[int, ...]], bool]) -> int:
    at = [
        offset
        for offset in range(0, len(states[0]) - 3, 4)
        if matches(tuple(_word(state, offset) for state in states))
    ]
    if len(at) != 1:
        raise _unknown()
    return at[0]


def _experiment() -> Iterator[bytes]:
    """Run the test; returns the context after each step, and then before and after a return to user code."""
    with one_page("i386", _CODE) as (handle, page):
        seen = api.Seen()
        api.install_recorders(handle, ISAS["i386"], seen)
        table = b"".join(gdt_entry(0, level, kind) for level in (0, 3) for kind in (CODE, DATA))
        _put(page, _TABLE + 8, table)
        load_table(handle, "GDTR", DescriptorTable(0, _TABLE, len(table) + 7, 0))
        for name, selector in (("SS", 0x10), ("CS", 8), ("ESP", _STACK)):
            value = ctypes.c_uint32(selector)
            number = api.register_number("x86", name)
            api.check(api.uclib.uc_reg_write(handle, number, ctypes.byref(value)), f"load {name}")
        context = api.Context(handle)
        for number, (code, *_) in enumerate(_EXPERIMENT):
            _run(handle, page, number, bytes.fromhex(code))
            seen.forget()
            yield context.content(handle)
        begin = _CODE + _LINE * len(_EXPERIMENT)
        frame = b"".join(
            b"\x68" + value.to_bytes(4, "little") for value in (_USER_DATA, _STACK, 2, _USER_CODE, begin + 26)
        )
        yield context.content(handle)
        _run(handle, page, len(_EXPERIMENT), frame + b"\xcf\x90")
        yield context.content(handle)


def _put(page: U8, address: int, data: bytes) -> None:
    page[address - _CODE : address - _CODE + len(data)] = np.frombuffer(data, np.uint8)


def _run(handle: ctypes.c_void_p, page: U8, number: int, code: bytes) -> None:
    begin = _CODE + _LINE * number
    _put(page, begin, code)
    run_bytes(handle, begin, len(code), "run privileged code")
