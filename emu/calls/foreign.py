"""Numbers and pointers of ctypes, and truth values of numpy, as what they mean for a guest.

An object of ctypes that is a pointer has an address of this process, which means nothing to the guest: its target
is taken instead.
"""

from __future__ import annotations

import sys


def plain_value(value: object) -> object:
    """The Python number that an argument is: the value of `ctypes.c_int(5)` or of a `numpy.bool_`; others
    unchanged.
    """
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):
        return bool(value)
    ctypes = sys.modules.get("ctypes")
    if ctypes is not None and isinstance(value, ctypes._SimpleCData):
        return value.value
    return value


def pointed_at(value: object) -> object:
    """What a pointer of ctypes means: the text of a `c_char_p`, the number in a `c_void_p`, the object of `byref`
    and `pointer`; others unchanged.
    """
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        return value
    if isinstance(value, ctypes.c_char_p | ctypes.c_wchar_p | ctypes.c_void_p):
        return value.value
    if isinstance(value, ctypes._Pointer):
        return value.contents if value else None
    if type(value).__name__ == "CArgObject":
        return getattr(value, "_obj", value)
    return value
