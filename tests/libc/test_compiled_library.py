"""Compiled functions of the hosted library: helpers against exact arithmetic, memory and strings against Python.

A driver in C applies each operation to arrays, compiled for every target by the clang of the ziglang wheel.
"""

from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from emu import Library, Machine
from emu.errors import GuestFault
from emu.isa.registry import ISAS
from emu.libc import softfloat
from emu.libc.compiled import CompiledLibrary, index
from emu.libc.ieee import DOUBLE, HALF, QUAD, SINGLE, Format
from tests.fixtures import arch_of
from tests.toolcache import OUTPUT, made
from toolchains.compiled_library import VARIANTS
from toolchains.engine import find_zig
from toolchains.errors import CompilerMissing
from toolchains.targets import TARGETS

_SOURCE = Path(__file__).with_name("helpers.c")
_FORMATS: dict[str, Format] = {"hf": HALF, "sf": SINGLE, "df": DOUBLE, "tf": QUAD}
_INTEGERS = {"si": 4, "di": 8, "ti": 16}
_SOFT = {
    "soft-riscv64": ("riscv64", ("-march=rv64imac", "-mabi=lp64")),
    "soft-arm": ("arm", ("-mfloat-abi=soft",)),
}


@cache
def _driver(name: str) -> tuple[Machine, Library]:
    """The driver, loaded; the machine lives as long as the tests."""
    try:
        zig = find_zig()
    except CompilerMissing as error:
        pytest.skip(str(error))
    target, soft = _SOFT.get(name, (name, ()))
    row = TARGETS[target]
    own = tuple(flag for flag in row.cflags if flag.partition("=")[0] not in {f.partition("=")[0] for f in soft})
    triple = "arm-linux-gnueabi" if name == "soft-arm" else row.triple
    more = ("-msse2",) if row.arch == "i386" else ()
    flags = ("-O1", "-fPIC", "-ffreestanding", "-fno-builtin", "-ffp-contract=off", *own, *soft, *more)
    command = (str(zig), "clang", "-target", triple, *flags, "-c", str(_SOURCE), "-o", OUTPUT)
    machine = Machine(arch_of(target), float_abi="soft-float" if soft else None)
    return machine, machine.load(made(command, (_SOURCE,)))


def _patterns(mode: str, seed: int) -> list[int]:
    """Bit patterns of a mode: of every class for floats, and near the ends of the range for integers."""
    rng = random.Random(f"{mode} {seed}")
    size = _size(mode)
    if mode.removeprefix("u") in _INTEGERS:
        edges = [0, 1, (1 << 8 * size - 1) - 1, 1 << 8 * size - 1, (1 << 8 * size) - 1]
        return edges + [rng.getrandbits(rng.randint(1, 8 * size)) for _ in range(100)]
    form = _FORMATS[mode]
    top = form.infinity
    special = [0, form.sign_bit, 1, top, form.sign_bit | top, form.nan, top - 1, 1 << form.fraction_bits]
    near = [
        (form.bias + rng.randint(-130, 130)) % (2 * form.bias) << form.fraction_bits
        | rng.getrandbits(form.fraction_bits) >> rng.choice((0, 0, form.fraction_bits // 2)) << rng.choice((0, 1))
        for _ in range(80)
    ]
    near = [bits & (form.sign_bit - 1) | rng.choice((0, form.sign_bit)) for bits in near]
    return special + near + [rng.getrandbits(8 * size) for _ in range(60)]


def _size(mode: str) -> int:
    return _FORMATS[mode].size if mode in _FORMATS else _INTEGERS[mode.removeprefix("u")]


def _apply(
    driver: tuple[Machine, Library], name: str, modes: tuple[str, str, str], left: list[int], right: list[int]
) -> list[int]:
    """The results' bits of one operation on the arrays."""
    result, first, second = modes
    machine, library = driver
    memory, heap = machine.memory, machine.heap
    count = len(left)
    places = []
    for mode, values in ((first, left), (second, right), (result, [0] * count)):
        places.append(heap.malloc(count * _size(mode) + 16))
        memory.write(places[-1], b"".join(v.to_bytes(_size(mode), "little") for v in values))
    library.function(name, "void(int, void *, void *, void *)")(count, *places)
    out = memory.read(places[2], count * _size(result))
    for place in places:
        heap.free(place)
    size = _size(result)
    return [int.from_bytes(out[at : at + size], "little") for at in range(0, len(out), size)]


def _value(mode: str, bits: int) -> object:
    if mode in _FORMATS:
        return _FORMATS[mode].exact(bits)
    size = 8 * _size(mode)
    return bits - (1 << size) if not mode.startswith("u") and bits >> (size - 1) else bits


_BINARY: dict[str, Callable[..., object]] = {
    "add": softfloat.add,
    "subtract": softfloat.subtract,
    "multiply": softfloat.multiply,
    "divide": softfloat.divide,
}


def _expected(name: str, result: str, first: str, second: str, a: int, b: int) -> int | None:
    """The bits there should be; None where C or the ISA leaves them open (a NaN, an integer out of range)."""
    operation = name.partition("_")[2]
    x, y = _value(first, a), _value(second, b)
    if operation in _BINARY and first in _FORMATS:
        exact = _BINARY[operation](x, y)
    elif first in _FORMATS and result in _FORMATS:
        exact = x
    elif first in _FORMATS:
        size, signed = 8 * _size(result), not result.startswith("u")
        if isinstance(x, float) and x:
            return None
        whole = softfloat.truncate(x, size + 2, signed=True)  # type: ignore[arg-type]
        low, high = (-(1 << size - 1), (1 << size - 1) - 1) if signed else (0, (1 << size) - 1)
        return whole & (1 << size) - 1 if low <= whole <= high else None
    elif result in _FORMATS:
        exact = softfloat.of_integer(x)  # type: ignore[arg-type]
    else:
        return _integer_result(operation, 8 * _size(result), x, y)  # type: ignore[arg-type]
    return None if exact != exact else _FORMATS[result].round(exact)  # type: ignore[arg-type]


def _integer_result(operation: str, bits: int, x: int, y: int) -> int | None:
    if operation == "multiply":
        return x * y & (1 << bits) - 1
    if not y or y == -1:
        return None
    quotient = abs(x) // abs(y) * (-1 if (x < 0) != (y < 0) else 1)
    if not -(1 << bits - 1) <= quotient < 1 << bits:
        return None
    return (quotient if operation == "divide" else x - quotient * y) & (1 << bits) - 1


def _rows(floats: str, integers: str = "si di usi udi") -> list[tuple[str, tuple[str, str, str]]]:
    mode = floats
    rows = [(f"{mode}_{name}", (mode, mode, mode)) for name in _BINARY]
    rows += [(f"{mode}_to_{n}", (n, mode, mode)) for n in integers.split()]
    return rows + [(f"{mode}_of_{n}", (mode, n, n)) for n in integers.split()]


_QUAD = [
    *_rows("tf"),
    ("tf_to_df", ("df", "tf", "tf")),
    ("tf_to_sf", ("sf", "tf", "tf")),
    ("tf_of_df", ("tf", "df", "df")),
    ("tf_of_sf", ("tf", "sf", "sf")),
]
_QUAD_AND_WIDE = [*_QUAD, *((f"tf_to_{n}", (n, "tf", "tf")) for n in ("ti", "uti"))]
_QUAD_AND_WIDE += [(f"tf_of_{n}", ("tf", n, n)) for n in ("ti", "uti")]
_HALF = [("hf_to_sf", ("sf", "hf", "hf")), ("hf_of_sf", ("hf", "sf", "sf")), ("hf_of_df", ("hf", "df", "df"))]
_DOUBLE = [(f"df_{name}", ("df", "df", "df")) for name in _BINARY]
_DOUBLE += [(f"sf_{name}", ("sf", "sf", "sf")) for name in ("add", "multiply", "divide")]
_DOUBLE += [("df_to_di", ("di", "df", "df")), ("df_of_di", ("df", "di", "di")), ("df_to_sf", ("sf", "df", "df"))]
_WIDE = [(f"ti_{name}", ("ti", "ti", "ti")) for name in ("divide", "modulo", "multiply")]
_WIDE += [("uti_divide", ("uti", "uti", "uti"))]
_NARROW = [
    (f"{name}", (name[: name.index("_")],) * 3) for name in ("di_divide", "di_modulo", "udi_divide", "si_divide")
]

_CASES = {
    **{f"{name}-tf": (name, _QUAD_AND_WIDE) for name in ("x86_64", "aarch64", "riscv64", "loongarch64")},
    "riscv32-tf": ("riscv32", _QUAD),
    **{f"{name}-hf": (name, _HALF) for name in TARGETS},
    **{f"{name}-df": (name, _DOUBLE) for name in _SOFT},
    **{f"{name}-ti": (name, _WIDE) for name in ("x86_64", "aarch64", "riscv64", "loongarch64")},
    **{f"{name}-di": (name, _NARROW) for name in ("i386", "arm", "thumb", "riscv32")},
}


@pytest.mark.parametrize("case", _CASES)
def test_helpers_round_as_exact_arithmetic_does(case: str) -> None:
    name, rows = _CASES[case]
    driver = _driver(name)
    wrong = []
    for operation, modes in rows:
        left, right = _patterns(modes[1], 1), _patterns(modes[2], 2)
        pairs = [(a, b) for a in left[:8] for b in right[:8]] + list(zip(left, right, strict=True))
        found = _apply(driver, operation, modes, *map(list, zip(*pairs, strict=True)))
        for (a, b), got in zip(pairs, found, strict=True):
            wanted = _expected(operation, *modes, a, b)
            if wanted is not None and got != wanted:
                wrong.append(f"{operation}({a:#x}, {b:#x}) is {got:#x}, not {wanted:#x}")
    assert wrong == []


@pytest.mark.parametrize("name", [*TARGETS, "soft-riscv64", "soft-arm"])
def test_complex_products_and_quotients(name: str) -> None:
    machine, library = _driver(name)
    inf, nan = float("inf"), float("nan")
    rows = {  # annex G: an infinity times what is not 0 is infinite, whatever its other part
        ("dc_multiply", (1.5, 2.5), (3.5, -4.25)): (15.875, 2.375),
        ("dc_multiply", (inf, nan), (1.0, 1.0)): (inf, inf),
        ("dc_divide", (15.875, 2.375), (3.5, -4.25)): (1.5, 2.5),
        ("dc_divide", (1e300, 1e300), (1e300, 1e300)): (1.0, 0.0),
        ("dc_divide", (4e-320, 0.0), (2e-320, 0.0)): (2.0, 0.0),
        ("dc_divide", (1.0, 1.0), (0.0, 0.0)): (inf, inf),
        ("dc_divide", (1.0, 1.0), (inf, nan)): (0.0, 0.0),
        ("sc_multiply", (1.5, 2.5), (3.5, -4.25)): (15.875, 2.375),
    }
    memory = machine.memory
    place = machine.heap.malloc(96)
    for (function, a, b), wanted in rows.items():
        code = "<2f" if function.startswith("sc") else "<2d"
        memory.write(place, struct.pack(code, *a).ljust(32, b"\0") + struct.pack(code, *b))
        library.function(function, "void(int, void *, void *, void *)")(1, place, place + 32, place + 64)
        assert struct.unpack(code, memory.read(place + 64, struct.calcsize(code))) == wanted, (function, a, b)


@pytest.mark.parametrize("arch", ISAS)
def test_memory_and_string_functions_agree_with_python(arch: str) -> None:
    rng = random.Random(5)
    with Machine(arch) as machine:
        compiled: CompiledLibrary = machine.linker.resolver.after[-1].compiled  # type: ignore[union-attr]
        memory, place = machine.memory, machine.memory.map_anonymous(1 << 16)

        def call(name: str, prototype: str, *arguments: int) -> int:
            address = compiled.lookup(name)
            assert address is not None
            result = machine.call(address, prototype, *arguments)
            assert isinstance(result, int)
            return result

        for _ in range(60):
            size, source, dest = (
                rng.choice((0, 1, 7, 8, 9, 31, 63, 200, 2047, 2048, 5000)),
                *rng.choices(range(64), k=2),
            )
            model = bytearray(rng.randbytes(8192))
            memory.write(place, bytes(model))
            moved = call("memmove", "size_t(size_t, size_t, size_t)", place + dest, place + source, size)
            assert moved == place + dest
            model[dest : dest + size] = model[source : source + size]
            assert memory.read(place, 8192) == model
            assert call("memset", "size_t(size_t, int, size_t)", place + dest, 0x1A5, size) == place + dest
            model[dest : dest + size] = b"\xa5" * size
            assert memory.read(place, 8192) == model
            text = bytes(rng.choices(range(1, 256), k=size))
            other = bytearray(text + b"\0")
            if size:
                other[rng.randrange(size)] = rng.randrange(256)
            a, b = place + source, place + 16384 + dest
            memory.write(a, text + b"\0")
            memory.write(b, bytes(other))
            seen = bytes(other).partition(b"\0")[0]
            order = (text > seen) - (text < seen)
            assert _sign(call("strcmp", "int(size_t, size_t)", a, b)) == order
            assert _sign(call("strncmp", "int(size_t, size_t, size_t)", a, b, size + 1)) == order
            assert _sign(call("memcmp", "int(size_t, size_t, size_t)", a, b, size)) == (text > other[:size]) - (
                text < other[:size]
            )
            assert call("strlen", "size_t(size_t)", a) == size
            assert call("strnlen", "size_t(size_t, size_t)", a, size // 2) == size // 2
            found = text.find(b"\x41")
            assert call("strchr", "size_t(size_t, int)", a, 0x141) == (a + found if found >= 0 else 0)
            found = text.rfind(b"\x41")
            assert call("strrchr", "size_t(size_t, int)", a, 0x41) == (a + found if found >= 0 else 0)
            assert call("strcpy", "size_t(size_t, size_t)", place + 32768 + dest, a) == place + 32768 + dest
            assert memory.read(place + 32768 + dest, size + 1) == text + b"\0"


@pytest.mark.parametrize("arch", ISAS)
def test_spans_of_bytes(arch: str) -> None:
    rng = random.Random(arch)
    with Machine(arch) as machine:
        compiled: CompiledLibrary = machine.linker.resolver.after[-1].compiled  # type: ignore[union-attr]
        place = machine.memory.map_anonymous(1 << 14)

        def call(name: str, text: int, members: int) -> object:
            address = compiled.lookup(name)
            assert address is not None
            return machine.call(address, "size_t(size_t, size_t)", text, members)

        for size in (0, 1, 7, 64, 255, 256, 257, 5000):
            text = bytes(rng.choices((0x41, 0x42, 0xC3, 0xFF), k=size))
            a, b = place + rng.randrange(8), place + 8192 + rng.randrange(8)
            machine.memory.write(a, text + b"\0")
            for members in (b"", b"A", bytes(range(128, 256)), b"AB\xc3\xff"):
                machine.memory.write(b, members + b"\0")
                accepted = size - len(text.lstrip(members)) if members else 0
                refused = next((i for i, byte in enumerate(text) if byte in members), size)
                assert call("strspn", a, b) == accepted
                assert call("strcspn", a, b) == refused
                assert call("strpbrk", a, b) == (a + refused if refused < size else 0)


def _sign(value: int) -> int:
    value = ctypes.c_int(value).value
    return (value > 0) - (value < 0)


@pytest.mark.parametrize("arch", ISAS)
def test_patterns_and_wide_strings(arch: str) -> None:
    pathname, period, casefold, extended = 1, 4, 16, 32
    matches = {
        (b"a*[ch]?", b"abc.", 0): True, (b"*.c", b"d/x.c", 0): True, (b"*.c", b"d/x.c", pathname): False,
        (b"*", b".x", period): False, (b"[[:alpha:]-]*", b"-", 0): True, (b"A[!b]", b"ac", casefold): True,
        (b"x*y*z", b"xaybzq", 0): False, (b"a\\", b"a\\", 0): False, (b"[a", b"[a", 0): True,
        (b"+(a|b)", b"abba", 0): False, (b"+(a|b)", b"abba", extended): True, (b"+(a|b)", b"", extended): False,
        (b"*(ab)c", b"ababc", extended): True, (b"?(a)b", b"aab", extended): False,
        (b"@(x|y*)z", b"yyz", extended): True, (b"!(a*).c", b"bc.c", extended): True,
        (b"!(a*).c", b"a.c", extended): False, (b"!(a)", b".x", extended | period): False,
        (b"+([[:digit:]]|@(p|q))", b"1q2", extended): True,
        (b"*(a|b)/c", b"ab/c", extended | pathname): True,
        (b"+(a", b"+(a", extended): True, (b"*(*(a)b)", b"aabab", extended): True,
    }  # fmt: skip
    with Machine(arch) as machine:
        compiled: CompiledLibrary = machine.linker.resolver.after[-1].compiled  # type: ignore[union-attr]

        def call(name: str, prototype: str, *arguments: object) -> int:
            address = compiled.lookup(name)
            assert address is not None
            return int(machine.call(address, prototype, *arguments))

        for (pattern, text, flags), matched in matches.items():
            found = call("fnmatch", "int(const char *, const char *, int)", pattern, text, flags)
            assert found == (not matched), (pattern, text, flags)
        place = machine.heap.malloc(256)
        machine.memory.write(place, " -42x".encode("utf-32-le") + bytes(4))
        assert call("wcstol", "long(void *, void *, int)", place, place + 64, 0) == -42
        assert machine.memory.read_uint(place + 64, machine.memory.architecture.word_size) == place + 16
        assert call("wcscspn", "size_t(void *, void *)", place, place + 8) == 2
        assert [call("wcwidth", "int(int)", c) for c in (0, 65, 0x301, 0x65E5, 7)] == [0, 1, 0, 2, -1]


@pytest.mark.parametrize("target", TARGETS)
def test_a_bad_pointer_is_a_fault_that_names_the_function(target: str) -> None:
    with Machine(arch_of(target)) as machine:
        compiled: CompiledLibrary = machine.linker.resolver.after[-1].compiled  # type: ignore[union-attr]
        address = compiled.lookup("memcpy")
        assert address is not None
        with pytest.raises(GuestFault, match=r"unmapped memory at 0x[8-f],.*memcpy.*libc strings"):
            machine.call(address, "size_t(size_t, size_t, size_t)", 4096, 8, 8)


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_cpu_model_is_there_without_a_constructor_having_run(target: str) -> None:
    assert _driver(target)[1].function("supports_sse2", "int(void)")() == 1


def test_every_variant_has_an_index_that_names_what_is_there() -> None:
    for variant in VARIANTS:
        names = index(variant)
        assert {"memcpy", "strlen", "__mulsc3"} <= names.keys(), variant
