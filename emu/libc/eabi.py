"""__aeabi_*: the Run-time ABI for the Arm Architecture (2024Q3), sections 5.1 to 5.4.

Floats are passed in integer registers for every float ABI of the program (section 5.1.1). The memory functions
return nothing, and memset takes its value last. The functions named cd… and cf… set the flags.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from emu.errors import GuestAbort
from emu.libc import memory
from emu.libc.ieee import DOUBLE, SINGLE
from emu.libc.integers import wrapped
from emu.libc.numbers import truncated_division
from emu.libc.softfloat import (
    Exact,
    Side,
    add,
    divide,
    identity,
    multiply,
    negate,
    of_integer,
    subtract,
    three_way,
    truncate,
    unordered,
)
from emu.libc.table import export, has_aeabi, register

if TYPE_CHECKING:
    from emu.libc.library import Libc

_SIDE = Side(has_aeabi, as_bits=True, has_128_bits=False, family="eabi")

# ---------------------------------------------------------------- floating point


def _reverse_subtract(a: Exact, b: Exact) -> Exact:
    return subtract(b, a)


def _test(condition: Callable[[int], bool]) -> Callable[[Exact, Exact], int]:
    return lambda a, b: int(not unordered(a, b) and condition(three_way(a, b)))


_ARITHMETIC = {"add": add, "sub": subtract, "mul": multiply, "div": divide, "rsub": _reverse_subtract}
_TESTS: dict[str, Callable[[Exact, Exact], int]] = {
    "eq": _test(lambda o: o == 0),
    "lt": _test(lambda o: o < 0),
    "le": _test(lambda o: o <= 0),
    "gt": _test(lambda o: o > 0),
    "ge": _test(lambda o: o >= 0),
    "un": lambda a, b: int(unordered(a, b)),
}


def _export_floating_point() -> None:
    for letter, mode in (("f", "sf"), ("d", "df")):
        for name, operation in _ARITHMETIC.items():
            _SIDE.export(f"__aeabi_{letter}{name}", [mode, mode, mode], operation)
        _SIDE.export(f"__aeabi_{letter}neg", [mode, mode], negate)
        for name, test in _TESTS.items():
            _SIDE.export(f"__aeabi_{letter}cmp{name}", ["int", mode, mode], test)
        for integer, bits, letters in (("si", 32, "i"), ("di", 64, "l")):
            for prefix, signed in (("", True), ("u", False)):
                _SIDE.export(
                    f"__aeabi_{letter}2{prefix}{letters}z",
                    [prefix + integer, mode],
                    lambda value, bits=bits, signed=signed: truncate(value, bits, signed=signed),
                )
                _SIDE.export(f"__aeabi_{prefix}{letters}2{letter}", [mode, prefix + integer], of_integer)
    for name, modes in {
        "__aeabi_f2d": ("df", "sf"),
        "__aeabi_d2f": ("sf", "df"),
        "__aeabi_h2f": ("sf", "hf"),
        "__aeabi_f2h": ("hf", "sf"),
        "__aeabi_d2h": ("hf", "df"),
    }.items():
        _SIDE.export(name, modes, identity)


_export_floating_point()

_FLAG_Z, _FLAG_C = 1 << 30, 1 << 29


def _set_flags(libc: Libc, a: Exact, b: Exact) -> None:
    """Z set: equal; C clear: less (section 5.1.2, table 5). Unordered is neither."""
    order = 1 if unordered(a, b) else three_way(a, b)
    cpsr = libc.registers.read_register("cpsr") & ~(_FLAG_Z | _FLAG_C)
    cpsr |= (_FLAG_Z if order == 0 else 0) | (_FLAG_C if order >= 0 else 0)
    libc.registers.write_register("cpsr", cpsr)


for _letter, _form, _type in (("f", SINGLE, "uint32_t"), ("d", DOUBLE, "uint64_t")):
    for _name, _swapped in (("cmpeq", False), ("cmple", False), ("rcmple", True)):

        def _compare(libc: Libc, a: int, b: int, form=_form, swapped: bool = _swapped) -> None:  # type: ignore[no-untyped-def]
            x, y = form.exact(a), form.exact(b)
            _set_flags(libc, *((y, x) if swapped else (x, y)))

        _full = f"__aeabi_c{_letter}{_name}"
        register(_full, f"void {_full}({_type}, {_type})", _compare, has_aeabi)

# ---------------------------------------------------------------- integers


def _divmod(libc: Libc, a: int, b: int) -> int:
    """Quotient in r0 and remainder in r1: one 64-bit result."""
    quotient, remainder = truncated_division(a, b, "__aeabi_idivmod")
    return (remainder & 0xFFFF_FFFF) << 32 | quotient & 0xFFFF_FFFF


def _long_divmod(libc: Libc, a: int, b: int) -> int:
    """Quotient in r0, r1 and remainder in r2, r3. No C type is returned in r2 and r3, so they are written here."""
    quotient, remainder = truncated_division(a, b, "__aeabi_ldivmod")
    libc.registers.write_register("r2", remainder & 0xFFFF_FFFF)
    libc.registers.write_register("r3", remainder >> 32 & 0xFFFF_FFFF)
    return wrapped(quotient, 64, signed=False)


#: name -> (prototype, operation on the Libc and the arguments)
_INTEGERS: dict[str, tuple[str, Callable[..., int]]] = {
    "idiv": (
        "int(int, int)",
        lambda libc, a, b: wrapped(truncated_division(a, b, "__aeabi_idiv")[0], 32, signed=True),
    ),
    "uidiv": ("unsigned(unsigned, unsigned)", lambda libc, a, b: truncated_division(a, b, "__aeabi_uidiv")[0]),
    "idivmod": ("uint64_t(int, int)", _divmod),
    "uidivmod": ("uint64_t(unsigned, unsigned)", _divmod),
    "ldivmod": ("uint64_t(int64_t, int64_t)", _long_divmod),
    "uldivmod": ("uint64_t(uint64_t, uint64_t)", _long_divmod),
    "lmul": ("uint64_t(uint64_t, uint64_t)", lambda libc, a, b: wrapped(a * b, 64, signed=False)),
    "llsl": ("uint64_t(uint64_t, int)", lambda libc, a, n: wrapped(a << (n & 255), 64, signed=False)),
    "llsr": ("uint64_t(uint64_t, int)", lambda libc, a, n: a >> (n & 255)),
    "lasr": ("int64_t(int64_t, int)", lambda libc, a, n: a >> (n & 255)),
    "lcmp": ("int(int64_t, int64_t)", lambda libc, a, b: (a > b) - (a < b)),
    "ulcmp": ("int(uint64_t, uint64_t)", lambda libc, a, b: (a > b) - (a < b)),
    "uread4": ("unsigned(const void *)", lambda libc, at: libc.memory.read_uint(at, 4)),
    "uread8": ("uint64_t(const void *)", lambda libc, at: libc.memory.read_uint(at, 8)),
}  # fmt: skip

for _name, (_prototype, _operation) in _INTEGERS.items():
    register(f"__aeabi_{_name}", _prototype.replace("(", f" __aeabi_{_name}(", 1), _operation, has_aeabi)


def _unaligned_write(libc: Libc, value: int, address: int, size: int) -> int:
    libc.memory.write_uint(address, size, value)
    return value


register(
    "__aeabi_uwrite4",
    "unsigned __aeabi_uwrite4(unsigned value, void *at)",
    lambda libc, value, at: _unaligned_write(libc, value, at, 4),
    has_aeabi,
)
register(
    "__aeabi_uwrite8",
    "uint64_t __aeabi_uwrite8(uint64_t value, void *at)",
    lambda libc, value, at: _unaligned_write(libc, value, at, 8),
    has_aeabi,
)


def _division_by_zero(libc: Libc, result: int) -> int:
    raise GuestAbort("division by zero (__aeabi_idiv0)")


register("__aeabi_idiv0", "int __aeabi_idiv0(int result)", _division_by_zero, has_aeabi)
register("__aeabi_ldiv0", "int64_t __aeabi_ldiv0(int64_t result)", _division_by_zero, has_aeabi)

# ---------------------------------------------------------------- memory


def _memset(libc: Libc, dest: int, n: int, value: int) -> None:
    memory.memset(libc, dest, value, n)


def _memclr(libc: Libc, dest: int, n: int) -> None:
    memory.memset(libc, dest, 0, n)


def _copying(copy: Callable[..., int]) -> Callable[..., None]:
    def call(libc: Libc, dest: int, src: int, n: int) -> None:
        copy(libc, dest, src, n)

    return call


for _alignment in ("", "4", "8"):
    for _name, _parameters, _call in (
        ("memcpy", "void *dest, const void *src, size_t n", _copying(memory.memcpy)),
        ("memmove", "void *dest, const void *src, size_t n", _copying(memory.memmove)),
        ("memset", "void *dest, size_t n, int value", _memset),
        ("memclr", "void *dest, size_t n", _memclr),
    ):
        _full = f"__aeabi_{_name}{_alignment}"
        register(_full, f"void {_full}({_parameters})", _call, has_aeabi)

# ---------------------------------------------------------------- the rest


@export("void *__aeabi_read_tp(void)", on=has_aeabi)
def read_tp(libc: Libc) -> int:
    """May only change r0, which holds for host functions: they change only the registers of their result."""
    return libc.thread_pointer


@export(
    "int __aeabi_unwind_cpp_pr0(int state, void *block, void *context)",
    alias=("__aeabi_unwind_cpp_pr1", "__aeabi_unwind_cpp_pr2"),
    on=has_aeabi,
)
def unwind_cpp_pr(libc: Libc, state: int, block: int, context: int) -> int:
    """A personality routine that every unwind table refers to; returns _URC_FAILURE when an exception unwinds."""
    return 9


@export("int __gnu_unwind_frame(void *block, void *context)", on=has_aeabi)
def gnu_unwind_frame(libc: Libc, block: int, context: int) -> int:
    return 9
