"""Static C libraries linked as objects and called: glibc, musl, picolibc and newlib, with libm, zlib and libgcc.

Nothing of the host's stands in: the hosted C library is off, and only what a board or a program owes its C library
is given (newlib's `_sbrk`, `main`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu import Machine
from emu.host.symbols import SymbolValue
from emu.library import Library
from relink.arch import FloatAbi
from relink.errors import UnsupportedElf
from tests.real import real_archives
from toolchains.archives import FLAVOURS

pytestmark = pytest.mark.real

FUNCTIONS = ("strlen", "qsort", "snprintf", "strtod", "sin")
_HEAP = 1 << 20  #: bytes
SOFT = ("thumb-v6m", "thumb-v7m", "riscv32-imac")


@dataclass(frozen=True)
class Stack:
    """A C library and what it is linked with. `beside` are its start files, found in its folder."""

    libraries: tuple[str, ...]
    beside: tuple[str, ...] = ()


STACKS: Mapping[str, Stack] = {
    "glibc": Stack(("libc.a", "libm.a", "libgcc.a", "libgcc_eh.a", "libz.a"), ("crt1.o", "crti.o", "crtn.o")),
    "musl": Stack(("musl libc.a", "libgcc.a", "libgcc_eh.a", "libz.a")),
    "picolibc": Stack(("libc.a", "libm.a", "libgcc.a")),
    "newlib": Stack(("newlib libc.a", "newlib libm.a", "libgcc.a")),
}


#: glibc's start-up computes it from cpuid before any ifunc resolver runs; at 0 memcpy thinks every copy huge.
_TUNABLE = "__x86_shared_non_temporal_threshold"


def _flavours(stack: str) -> list[str]:
    wanted = STACKS[stack].libraries
    bare = stack in ("picolibc", "newlib")
    return [
        name
        for name, row in FLAVOURS.items()
        if set(wanted) <= set(row.files) and bare == ("libz.a" not in row.files)
    ]


CASES = [
    pytest.param((flavour, stack), id=f"{stack}-{flavour}") for stack in STACKS for flavour in _flavours(stack)
]


def _float_abi(flavour: str) -> FloatAbi | None:
    return FloatAbi.SOFT if flavour in SOFT else None


def _files(flavour: str, stack: Stack) -> list[Path]:
    found = [path for name in stack.libraries for path in real_archives(flavour, name)]
    return [*(found[0].parent / name for name in stack.beside), *found]


def _load(machine: Machine, files: Sequence[Path], undefined: Sequence[str]) -> Library:
    heap = machine.memory.map_anonymous(_HEAP, name="newlib's heap")

    def sbrk(size: int) -> int:
        nonlocal heap
        heap += size
        return heap - size

    services: dict[str, SymbolValue] = {"main": lambda: 0, "_sbrk": (sbrk, "unsigned long(long)")}
    newlib = any("newlib" in str(file) for file in files)
    # Of newlib's other system calls (_write, _kill, …) none may be reached.
    return machine.load(files, undefined=undefined, symbols=services, name="static", allow_unresolved=newlib)


@pytest.fixture(scope="module", params=CASES)
def linked(request: pytest.FixtureRequest) -> Iterator[tuple[Machine, Library]]:
    flavour, stack = request.param
    files = _files(flavour, STACKS[stack])
    undefined = (*FUNCTIONS, *(("crc32",) if "libz.a" in STACKS[stack].libraries else ()))
    tuned = (stack, flavour) == ("glibc", "x86_64")
    with Machine(FLAVOURS[flavour].arch, hosted_libc=False, float_abi=_float_abi(flavour)) as machine:
        library = _load(machine, files, (*undefined, *((_TUNABLE,) if tuned else ())))
        if tuned:
            library.symbols[_TUNABLE].write(0xC0000, "long")
        yield machine, library


def test_strlen(linked: tuple[Machine, Library]) -> None:
    strlen = linked[1].function("strlen", "unsigned long(const char *)")
    assert [strlen("x" * length) for length in (0, 1, 7, 8, 9, 63, 300)] == [0, 1, 7, 8, 9, 63, 300]


def test_qsort_with_a_comparison_of_the_host_s(linked: tuple[Machine, Library]) -> None:
    machine, library = linked
    values = [(n * 7919) % 1009 for n in range(200)]
    array = bytearray(struct.pack("<200i", *values))

    def compare(a: int, b: int) -> int:
        return machine.memory.read_uint(a, 4) - machine.memory.read_uint(b, 4)

    order = machine.define("compare", (compare, "int(unsigned long, unsigned long)"))
    qsort = library.function("qsort", "void(void *, unsigned long, unsigned long, unsigned long)")
    qsort(array, len(values), 4, order)
    assert list(struct.unpack("<200i", array)) == sorted(values)


def test_snprintf(linked: tuple[Machine, Library]) -> None:
    snprintf = linked[1].function("snprintf", "int(char *, unsigned long, const char *, ...)")
    out = bytearray(64)
    written = snprintf(out, 64, "%d|%-6s|%08.3f|%x|%g|%c", -42, "str", 3.14159, 0xBEEF, 1e-10, ord("z"))
    expected = b"-42|str   |0003.142|beef|1e-10|z"
    assert written == len(expected)
    assert out[: len(expected) + 1] == expected + b"\0"


def test_strtod(linked: tuple[Machine, Library]) -> None:
    strtod = linked[1].function("strtod", "double(const char *, void *)")
    texts = ("0", "-1.25e3", "0x1.8p3", "0.1", "1e308", "2.2250738585072014e-308")
    assert [strtod(text, 0) for text in texts] == [0.0, -1250.0, 12.0, 0.1, 1e308, 2.2250738585072014e-308]


def test_sin(linked: tuple[Machine, Library]) -> None:
    sin = linked[1].function("sin", "double(double)")
    for x in (0.0, 0.5, 1.0, -2.5, 100.0, 1e5):
        result = sin(x)
        assert result == pytest.approx(math.sin(x), rel=1e-15, abs=1e-300), x


def test_crc32(linked: tuple[Machine, Library]) -> None:
    library = linked[1]
    if "crc32" not in library.symbols:
        pytest.skip("Debian has no zlib for bare metal")
    crc32 = library.function("crc32", "unsigned long(unsigned long, const char *, unsigned)")
    assert crc32(0, "123456789", 9) == 0xCBF4_3926


@pytest.mark.parametrize("flavour", SOFT)
def test_code_for_another_float_abi_links_but_is_not_called(flavour: str) -> None:
    """Its numbers would be looked for where they are not."""
    files = _files(flavour, STACKS["picolibc"])
    with Machine(FLAVOURS[flavour].arch, hosted_libc=False) as machine:
        with pytest.raises(UnsupportedElf, match=r"makes soft-float calls, this machine makes hard-float calls"):
            machine.load(files, undefined=["strtod"], name="static")
        assert not machine.linker.images
