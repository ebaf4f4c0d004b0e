"""The syntax of GNU's regular expressions: the variable, and its functions; the expressions are compiled code.

The compiled code asks for the value with a function, because a program may have its own copy of the variable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.table import export, export_data

if TYPE_CHECKING:
    from emu.libc.library import Libc


@export_data("re_syntax_options")
def _syntax(libc: Libc) -> bytes:
    return bytes(libc.isa.data.pointer_size)


@export("unsigned long __relink_regex_syntax(void)")
def regex_syntax(libc: Libc) -> int:
    """The value of the variable `re_syntax_options`."""
    address = libc.data_symbol("re_syntax_options")
    assert address is not None
    return libc.memory.read_uint(address, libc.isa.data.pointer_size)


@export("unsigned long re_set_syntax(unsigned long syntax)")
def re_set_syntax(libc: Libc, syntax: int) -> int:
    """Set the syntax of expressions compiled from now on; the one before."""
    before = regex_syntax(libc)
    address = libc.data_symbol("re_syntax_options")
    assert address is not None
    libc.memory.write_uint(address, libc.isa.data.pointer_size, syntax)
    return before
