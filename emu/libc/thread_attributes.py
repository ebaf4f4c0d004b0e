"""Attributes of threads (pthread_attr_t), which have no effect, as there is a single thread.

What a program has set it can read again. They are kept in the guest's structure, of 32 bytes at least (56 with
64-bit words).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.libc.errno import Errno
from emu.libc.table import Implementation, export, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

#: Fields in order: three words, then numbers of 4 bytes.
_STACK_ADDRESS, _STACK_SIZE, _GUARD_SIZE, _DETACHED, _INHERIT, _POLICY, _PRIORITY, _SCOPE = range(8)
_WORDS = 3
_DEFAULT_STACK = 8 << 20  #: RLIMIT_STACK of a usual shell
_DEFAULT_GUARD = 4096
_SMALLEST_STACK = 16384  #: PTHREAD_STACK_MIN


def _place(libc: Libc, attributes: int, field: int) -> tuple[int, int]:
    """(address, bytes) of a field."""
    if field < _WORDS:
        return attributes + field * libc.word, libc.word
    return attributes + _WORDS * libc.word + (field - _WORDS) * 4, 4


def _read(libc: Libc, attributes: int, field: int) -> int:
    return libc.memory.read_uint(*_place(libc, attributes, field))


def _write(libc: Libc, attributes: int, field: int, value: int) -> None:
    address, size = _place(libc, attributes, field)
    libc.memory.write_uint(address, size, value)


@export("int pthread_attr_init(void *attributes)")
def pthread_attr_init(libc: Libc, attributes: int) -> int:
    for field in range(_SCOPE + 1):
        _write(libc, attributes, field, 0)
    _write(libc, attributes, _STACK_SIZE, _DEFAULT_STACK)
    _write(libc, attributes, _GUARD_SIZE, _DEFAULT_GUARD)
    return 0


@export("int pthread_attr_destroy(void *attributes)")
def pthread_attr_destroy(libc: Libc, attributes: int) -> int:
    return 0


@export("int pthread_getattr_np(unsigned long thread, void *attributes)")
def pthread_getattr_np(libc: Libc, thread: int, attributes: int) -> int:
    """The current stack; other attributes are the defaults."""
    region = libc.mappings.region_at(libc.registers.read_register("sp"))
    if region is None:
        return Errno.ENOENT
    pthread_attr_init(libc, attributes)
    _write(libc, attributes, _STACK_ADDRESS, region.address)
    _write(libc, attributes, _STACK_SIZE, region.size)
    return 0


@export("int pthread_attr_getstack(const void *attributes, void **address, size_t *size)")
def pthread_attr_getstack(libc: Libc, attributes: int, address: int, size: int) -> int:
    for field, target in ((_STACK_ADDRESS, address), (_STACK_SIZE, size)):
        libc.memory.write_uint(target, libc.word, _read(libc, attributes, field))
    return 0


@export("int pthread_attr_setstack(void *attributes, void *address, size_t size)")
def pthread_attr_setstack(libc: Libc, attributes: int, address: int, size: int) -> int:
    if size < _SMALLEST_STACK:
        return Errno.EINVAL
    _write(libc, attributes, _STACK_ADDRESS, address)
    _write(libc, attributes, _STACK_SIZE, size)
    return 0


def _getter(field: int) -> Implementation:
    def get(libc: Libc, attributes: int, target: int) -> int:
        _, size = _place(libc, attributes, field)
        libc.memory.write_uint(target, size, _read(libc, attributes, field))
        return 0

    return get


def _setter(field: int, least: int, most: int | None) -> Implementation:
    def set_(libc: Libc, attributes: int, value: int) -> int:
        if value < least or (most is not None and value > most):
            return Errno.EOPNOTSUPP if field == _SCOPE and value == 1 else Errno.EINVAL
        _write(libc, attributes, field, value)
        return 0

    return set_


def _priority(libc: Libc, attributes: int, parameter: int) -> int:
    _write(libc, attributes, _PRIORITY, libc.memory.read_uint(parameter, 4))
    return 0


#: name -> (field, least value, greatest value).
_FIELDS: dict[str, tuple[int, int, int | None]] = {
    "stacksize": (_STACK_SIZE, _SMALLEST_STACK, None),
    "guardsize": (_GUARD_SIZE, 0, None),
    "detachstate": (_DETACHED, 0, 1),
    "inheritsched": (_INHERIT, 0, 1),
    "schedpolicy": (_POLICY, 0, 2),
    "scope": (_SCOPE, 0, 0),
    "schedparam": (_PRIORITY, 0, None),
}
for _name, (_field, _least, _most) in _FIELDS.items():
    _prototype = f"int pthread_attr_get{_name}(const void *attributes, void *value)"
    register(f"pthread_attr_get{_name}", _prototype, _getter(_field), family="thread_attributes")
    if _name != "schedparam":
        _type = "size_t" if _field < _WORDS else "int"
        _prototype = f"int pthread_attr_set{_name}(void *attributes, {_type} value)"
        register(
            f"pthread_attr_set{_name}", _prototype, _setter(_field, _least, _most), family="thread_attributes"
        )
register(
    "pthread_attr_setschedparam",
    "int pthread_attr_setschedparam(void *attributes, const void *parameter)",
    _priority,
    family="thread_attributes",
)
