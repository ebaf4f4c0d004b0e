"""Attributes of mutexes, condition variables and read-write locks: what a program sets it can read again.

Of a single thread only a mutex's type has an effect. They are kept as bits in the first 4 bytes of the guest's
structure, a mutex's where glibc has them (nptl/pthreadP.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from emu.libc.errno import Errno
from emu.libc.table import register

if TYPE_CHECKING:
    from emu.libc.library import Libc


class _Field(NamedTuple):
    """Bits of an attribute's word, and the values that they may have."""

    lowest: int
    width: int
    allowed: range


#: structure -> attribute -> its bits.
_FIELDS = {
    "mutexattr": {
        "type": _Field(0, 2, range(4)),
        "prioceiling": _Field(12, 12, range(1, 100)),
        "protocol": _Field(28, 2, range(3)),
        "robust": _Field(30, 1, range(2)),
        "pshared": _Field(31, 1, range(2)),
    },
    "condattr": {"pshared": _Field(0, 1, range(2)), "clock": _Field(1, 1, range(2))},
    "rwlockattr": {"pshared": _Field(0, 1, range(2)), "kind_np": _Field(1, 2, range(3))},
    "barrierattr": {"pshared": _Field(0, 1, range(2))},
}


def _register() -> None:
    for structure, fields in _FIELDS.items():
        for verb in ("init", "destroy"):

            def clear(libc: Libc, attributes: int) -> int:
                libc.memory.write_uint(attributes, 4, 0)
                return 0

            register(f"pthread_{structure}_{verb}", f"int pthread_{structure}_{verb}(void *attributes)", clear)
        for name, field in fields.items():

            def get(libc: Libc, attributes: int, target: int, *, field: _Field = field) -> int:
                word = libc.memory.read_uint(attributes, 4)
                libc.memory.write_uint(target, 4, word >> field.lowest & (1 << field.width) - 1)
                return 0

            def put(libc: Libc, attributes: int, value: int, *, field: _Field = field) -> int:
                if value not in field.allowed:
                    return Errno.EINVAL
                mask = (1 << field.width) - 1 << field.lowest
                word = libc.memory.read_uint(attributes, 4) & ~mask
                libc.memory.write_uint(attributes, 4, word | value << field.lowest)
                return 0

            stem = f"pthread_{structure}"
            register(f"{stem}_get{name}", f"int {stem}_get{name}(const void *attributes, int *value)", get)
            register(f"{stem}_set{name}", f"int {stem}_set{name}(void *attributes, int value)", put)


_register()
