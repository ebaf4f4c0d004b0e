"""Atomic operations by call: __atomic_*, __sync_*, and AArch64's outline atomics.

Guest code runs one instruction at a time, and host functions run between instructions, so a plain read and write
is atomic under every memory order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.isa.spec import Helpers, Isa
from emu.libc.table import export, register, wide

if TYPE_CHECKING:
    from emu.libc.library import Libc

_TYPES = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "unsigned __int128"}
_Combine = Callable[[int, int], int]

_OPERATIONS: dict[str, _Combine] = {
    "add": lambda old, value: old + value,
    "sub": lambda old, value: old - value,
    "and": lambda old, value: old & value,
    "or": lambda old, value: old | value,
    "xor": lambda old, value: old ^ value,
    "nand": lambda old, value: ~(old & value),
}


def _load(libc: Libc, address: int, size: int) -> int:
    return int.from_bytes(libc.memory.read(address, size), "little")


def _store(libc: Libc, address: int, size: int, value: int) -> None:
    libc.memory.write(address, (value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))


def _modify(libc: Libc, address: int, size: int, value: int, combine: _Combine) -> tuple[int, int]:
    """(old, new)"""
    old = _load(libc, address, size)
    new = combine(old, value) & ((1 << 8 * size) - 1)
    _store(libc, address, size, new)
    return old, new


def _compare_exchange(libc: Libc, address: int, expected: int, desired: int, size: int) -> int:
    old, wanted = _load(libc, address, size), _load(libc, expected, size)
    if old == wanted:
        _store(libc, address, size, desired)
        return 1
    _store(libc, expected, size, old)
    return 0


def _swap_if(libc: Libc, address: int, expected: int, desired: int, size: int) -> int:
    old = _load(libc, address, size)
    if old == expected:
        _store(libc, address, size, desired)
    return old


def _export_sized(size: int) -> None:
    value_type = _TYPES[size]
    on = wide if size == 16 else None
    reading, writing = f"const volatile {value_type} *at", f"volatile {value_type} *at"

    def add(name: str, prototype: str, call: Callable[..., int | None]) -> None:
        full = f"{name}_{size}"
        register(full, prototype.replace("NAME", full).replace("T", value_type), call, on)

    add("__atomic_load", f"T NAME({reading}, int order)", lambda libc, at, order: _load(libc, at, size))
    add(
        "__atomic_store",
        f"void NAME({writing}, T value, int order)",
        lambda libc, at, value, order: _store(libc, at, size, value),
    )
    add(
        "__atomic_exchange",
        f"T NAME({writing}, T value, int order)",
        lambda libc, at, value, order: _modify(libc, at, size, value, lambda old, new: new)[0],
    )
    add(
        "__sync_lock_test_and_set",
        f"T NAME({writing}, T value)",
        lambda libc, at, value: _modify(libc, at, size, value, lambda old, new: new)[0],
    )
    add("__sync_lock_release", f"void NAME({writing})", lambda libc, at: _store(libc, at, size, 0))
    add(
        "__atomic_compare_exchange",
        f"_Bool NAME({writing}, {value_type} *expected, T desired, int success, int failure)",
        lambda libc, at, expected, desired, *_: _compare_exchange(libc, at, expected, desired, size),
    )
    add(
        "__sync_val_compare_and_swap",
        f"T NAME({writing}, T expected, T desired)",
        lambda libc, at, expected, desired: _swap_if(libc, at, expected, desired, size),
    )
    add(
        "__sync_bool_compare_and_swap",
        f"_Bool NAME({writing}, T expected, T desired)",
        lambda libc, at, old, new: int(_swap_if(libc, at, old, new, size) == old),
    )
    _export_modifying(size, writing, add)


def _export_modifying(size: int, writing: str, add: Callable[[str, str, Callable[..., int | None]], None]) -> None:
    for stem, combine in _OPERATIONS.items():
        spellings = ((f"fetch_{stem}", f"fetch_and_{stem}"), (f"{stem}_fetch", f"{stem}_and_fetch"))
        for order, (form, other) in enumerate(spellings):

            def modify(
                libc: Libc, at: int, value: int, model: int = 0, *, pick: int = order, combine: _Combine = combine
            ) -> int:
                return _modify(libc, at, size, value, combine)[pick]

            add(f"__atomic_{form}", f"T NAME({writing}, T value, int order)", modify)
            add(f"__sync_{other}", f"T NAME({writing}, T value)", modify)


for _size in _TYPES:
    _export_sized(_size)


@export("void __atomic_load(size_t size, const void *at, void *result, int order)")
def atomic_load(libc: Libc, size: int, at: int, result: int, order: int) -> None:
    libc.memory.write(result, libc.memory.read(at, size))


@export("void __atomic_store(size_t size, void *at, const void *value, int order)")
def atomic_store(libc: Libc, size: int, at: int, value: int, order: int) -> None:
    libc.memory.write(at, libc.memory.read(value, size))


@export("void __atomic_exchange(size_t size, void *at, const void *value, void *result, int order)")
def atomic_exchange(libc: Libc, size: int, at: int, value: int, result: int, order: int) -> None:
    old, new = libc.memory.read(at, size), libc.memory.read(value, size)
    libc.memory.write(result, old)
    libc.memory.write(at, new)


@export("_Bool __atomic_compare_exchange(size_t n, void *at, void *expected, const void *desired, int s, int f)")
def atomic_compare_exchange(libc: Libc, n: int, at: int, expected: int, desired: int, s: int, f: int) -> int:
    old = libc.memory.read(at, n)
    if old == libc.memory.read(expected, n):
        libc.memory.write(at, libc.memory.read(desired, n))
        return 1
    libc.memory.write(expected, old)
    return 0


@export("_Bool __atomic_is_lock_free(size_t size, const void *at)")
def atomic_is_lock_free(libc: Libc, size: int, at: int) -> int:
    return int(size in (1, 2, 4, libc.word))


@export("void __sync_synchronize(void)", alias=("__atomic_thread_fence", "__atomic_signal_fence"))
def synchronize(libc: Libc) -> None:
    """A barrier; does nothing, as memory accesses are never reordered."""


# ---------------------------------------------------------------- AArch64 outline atomics
# GCC and LLVM call these unless told -mno-outline-atomics: __aarch64_<operation><bytes>_<order>.

_OUTLINE: dict[str, _Combine] = {
    "swp": lambda old, value: value,
    "ldadd": lambda old, value: old + value,
    "ldclr": lambda old, value: old & ~value,
    "ldeor": lambda old, value: old ^ value,
    "ldset": lambda old, value: old | value,
}


def _outlined(isa: Isa) -> bool:
    return Helpers.OUTLINE_ATOMICS in isa.libc.helpers


def _export_outline() -> None:
    for order in ("relax", "acq", "rel", "acq_rel", "sync"):
        for size, ctype in _TYPES.items():

            def cas(libc: Libc, expected: int, desired: int, at: int, *, size: int = size) -> int:
                return _swap_if(libc, at, expected, desired, size)

            name = f"__aarch64_cas{size}_{order}"
            register(name, f"{ctype} {name}({ctype} expected, {ctype} desired, void *at)", cas, _outlined)
            if size == 16:
                continue
            for stem, combine in _OUTLINE.items():

                def modify(
                    libc: Libc, value: int, at: int, *, size: int = size, combine: _Combine = combine
                ) -> int:
                    return _modify(libc, at, size, value, combine)[0]

                name = f"__aarch64_{stem}{size}_{order}"
                register(name, f"{ctype} {name}({ctype} value, void *at)", modify, _outlined)


_export_outline()
