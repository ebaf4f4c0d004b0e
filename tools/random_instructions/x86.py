"""x86-64 and i386: every opcode of the maps without VEX, with each mandatory prefix."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

import capstone

from tools.random_instructions import x87
from tools.random_instructions.compare import Bench, Here
from tools.random_instructions.layout import (
    DATA,
    GENERAL,
    MEMORY,
    STACK,
    VECTORS,
    Field,
    Fill,
    Layout,
    fill_memory,
    integer,
    number,
    put,
    vector,
)

_WIDE = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_NARROW = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
_FLAGS_AT, _SCRATCH = 0x180, DATA + 0x1C0
_STATUS = 0x8D5  #: CF, PF, AF, ZF, SF, OF


def _stub(names: tuple[str, ...], wide: bool) -> str:
    suffix, sp, first = ("q", "%rsp", "%rax") if wide else ("l", "%esp", "%eax")
    size = 8 if wide else 4
    places = {name: DATA + GENERAL + size * index for index, name in enumerate(names)}
    load = [f" mov {at:#x}, %{name}" for name, at in places.items()]
    store = [f" mov %{name}, {at:#x}" for name, at in places.items()]
    return "\n".join(
        (
            f".globl slot\n fxrstor {DATA + VECTORS:#x}\n mov ${_SCRATCH:#x}, {sp}",
            f" push{suffix} {DATA + _FLAGS_AT:#x}\n popf{suffix}",
            *load,
            "slot: .fill 16, 1, 0x90",
            *store,
            f" mov ${_SCRATCH:#x}, {sp}\n pushf{suffix}\n pop{suffix} {DATA + _FLAGS_AT:#x}",
            f" fxsave {DATA + VECTORS:#x}\n cld\n mov ${STACK:#x}, {sp}\n mov {DATA:#x}, {first}\n jmp *{first}\n",
        )
    )


def _fields(names: tuple[str, ...], size: int) -> tuple[Field, ...]:
    fields = [Field(name, GENERAL + size * index, size) for index, name in enumerate(names)]
    fields.append(Field("flags", _FLAGS_AT, size, ~_STATUS & (1 << 8 * size) - 1))
    fields += [Field("fpcw", VECTORS, 2), Field("fpsw", VECTORS + 2, 2), Field("fptag", VECTORS + 4, 1)]
    fields.append(Field("mxcsr", VECTORS + 24, 4))
    fields += [Field(f"st{n}", VECTORS + 32 + 16 * n, 10) for n in range(8)]
    fields += [Field(f"xmm{n}", VECTORS + 160 + 16 * n, 16) for n in range(16 if size == 8 else 8)]
    return tuple(fields)


def _extended(rng: Random) -> int:
    """A pattern of 80 bits."""
    if rng.random() < 0.3:
        one = 1 << 63
        return rng.choice(
            (
                0,
                1 << 79,
                0x3FFF << 64 | one,
                0xBFFF << 64 | one,
                0x7FFF << 64 | one,
                0xFFFF << 64 | one,
                0x7FFF << 64 | 3 << 62,
                0x7FFF << 64 | one | 1,
                1,
                one - 1,
                0x7FFE << 64 | (one << 1) - 1,
                1 << 64 | one,
                0x403E << 64 | one,
                0xC03E << 64 | one,
                0x4000 << 64 | 5 << 61,
            )
        )
    mantissa = 1 << 63 | rng.getrandbits(63)
    if rng.random() < 0.4:
        mantissa &= ~((1 << rng.randrange(63)) - 1)
    exponent = 0x3FFF + rng.randrange(-70, 70) if rng.random() < 0.8 else rng.randrange(1, 0x7FFF)
    return rng.getrandbits(1) << 79 | exponent << 64 | mantissa


def _fill(names: tuple[str, ...], size: int) -> Fill:
    def fill(rng: Random, data: bytearray, code: bytes) -> None:
        for index, name in enumerate(names):
            value = integer(rng, 8 * size)
            if name[1:] in ("si", "di", "bp"):
                value = MEMORY
            elif name[1:] == "sp":
                value = MEMORY + 0x100
            elif name[1:] == "cx" and rng.random() < 0.8:
                value = rng.randrange(8)
            put(data, GENERAL + size * index, size, value)
        put(data, _FLAGS_AT, size, rng.getrandbits(12) & _STATUS | 0x202)
        put(data, VECTORS, 2, 0x37F & ~0x300 | rng.choice((3, 3, 3, 2, 0)) << 8 | rng.randrange(4) << 10)
        top = rng.randrange(8)  # the first four of the stack are in use
        put(data, VECTORS + 2, 2, top << 11 | rng.getrandbits(16) & 0x4700)
        put(data, VECTORS + 4, 1, sum(1 << (top + n & 7) for n in range(4)))
        control = rng.choice((0, 0, 0, 0x8040, 0x8000, 0x40)) | rng.randrange(4) << 13
        put(data, VECTORS + 24, 4, 0x1F80 | control | rng.choice((0, 0, 0x3D)))
        put(data, VECTORS + 28, 4, 0xFFFF)
        for n in range(8):
            put(data, VECTORS + 32 + 16 * n, 10, _extended(rng))
        for n in range(16):
            data[VECTORS + 160 + 16 * n : VECTORS + 176 + 16 * n] = vector(rng, 16)
        fill_memory(rng, data)
        if x87.is_sequence(code):
            x87.fill(rng, data, MEMORY - DATA)
        elif rng.random() < 0.3:
            put(data, MEMORY - DATA, 10, _extended(rng))
        elif rng.random() < 0.3:
            put(data, MEMORY - DATA, 8, number(rng, 64))

    return fill


def _layout(name: str, triple: str, names: tuple[str, ...], size: int, mode: str) -> Layout:
    return Layout(
        name,
        name,
        triple,
        (),
        _fields(names, size),
        _stub(names, size == 8),
        _fill(names, size),
        ("X86", (mode,)),
        b"\x90",
    )


LAYOUTS = (
    _layout("x86_64", "x86_64-linux-musl", _WIDE, 8, "64"),
    _layout("i386", "x86-linux-musl", _NARROW, 4, "32"),
)

#: Not tried: what leads elsewhere, changes segments, is privileged, or gives what no two machines agree on.
_LEFT_OUT = {
    "": {
        *range(0x06, 0x40, 8),
        *range(0x07, 0x40, 8),
        0x0F,
        0x26,
        0x2E,
        0x36,
        0x3E,
        *range(0x64, 0x68),
        0x62,
        *range(0x6C, 0x80),
        0x8C,
        0x8E,
        0x8F,
        0x9A,
        0x9D,
        *range(0xA0, 0xA4),
        0xC2,
        0xC3,
        0xC4,
        0xC5,
        0xC8,
        0xC9,
        0xCA,
        0xCB,
        0xCC,
        0xCD,
        0xCE,
        0xCF,
        *range(0xE0, 0xF5),
        0xFA,
        0xFB,
        0xFF,
        0xC6,
        0xC7,
        0x61,
        0x5C,
        0x9B,
        0xD6,
        0xF1,
    },
    "0f": {
        *range(0x10),
        0x20,
        0x21,
        0x22,
        0x23,
        0x24,
        0x25,
        0x26,
        0x27,
        *range(0x30, 0x40),
        0x78,
        0x79,
        *range(0x80, 0x90),
        0xA0,
        0xA1,
        0xA2,
        0xA8,
        0xA9,
        0xAA,
        0xAE,
        0xB2,
        0xB4,
        0xB5,
        0xFF,
        0x1A,
        0x1B,
        0x1E,
        0x36,
        0x37,
        0xB9,
        0xA6,
        0xA7,
    },
    "0f38": {0x80, 0x81, 0x82, 0xF5, 0xF6} - {0xF6},
    "0f3a": set(),
}
_SEQUENCES = 0.1  #: of the tests are sequences of x87 instructions
_PREFIXES = (b"", b"\x66", b"\xf3", b"\xf2")


def codes(rng: Random, bits: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(set, code), the operands in registers or at MEMORY; behind it there are bytes for an immediate."""
    maps = [(map_, opcode) for map_ in _LEFT_OUT for opcode in range(256) if opcode not in _LEFT_OUT[map_]]
    if bits == 64:
        maps = [
            each for each in maps if each[0] or each[1] not in (*range(0x40, 0x50), 0x60, 0x27, 0x2F, 0x37, 0x3F)
        ]
    weights = [1 if map_ == "" else 3 for map_, _ in maps]
    for map_, opcode in rng.choices(maps, weights, k=count):
        prefix = rng.choice(_PREFIXES)
        if not map_ and prefix in (b"\xf2", b"\xf3") and not 0xA4 <= opcode < 0xB0:
            prefix = b""
        rex = (
            bytes((rng.choice((0x40, 0x48, 0x48, 0x44, 0x41, 0x4D)),))
            if bits == 64 and rng.random() < 0.4
            else b""
        )
        register = rng.randrange(8)
        while map_ == "" and opcode in (0x80, 0x81, 0x83, 0xC0, 0xC1) and register == 4:
            register = rng.randrange(8)
        if rng.random() < 0.5 and not rex.startswith((b"\x41", b"\x4d")):
            operand = bytes((0x40 | register << 3 | 6, rng.choice((0, 0, 16, 32))))
        else:
            stack = not map_ and 0xD8 <= opcode < 0xE0
            other = rng.randrange(4 if stack else 8)
            same = map_ and rng.random() < 0.2
            operand = bytes((0xC0 | register << 3 | (register if same else other),))
        if map_ == "0f" and opcode == 0xC7:  # cmpxchg8b, cmpxchg16b; not rdrand and its like
            operand = bytes((0x4E, 0))
        yield map_ or "1", prefix + rex + bytes.fromhex(map_) + bytes((opcode,)) + operand + rng.randbytes(5)


def tests(rng: Random, bench: Bench, count: int, only: str) -> Iterator[tuple[str, bytes]]:
    """Codes that the disassembler knows, cut to size."""
    bits, left = (64 if bench.layout.name == "x86_64" else 32), count
    sequences = x87.codes(rng, lambda code: bool(bench.decoded(code)[0]))
    if only and only in x87.GROUP:
        for code in islice(sequences, count):
            yield x87.GROUP, code
        return
    while left:
        for group, code in codes(rng, bits, 4 * left):
            size, mnemonic, _ = bench.decoded(code)
            if left and not only and rng.random() < _SEQUENCES:
                left -= 1
                yield x87.GROUP, next(sequences)
            if size and left and only in group and not mnemonic.startswith(_NOT_COMPARED):
                left -= 1
                yield group, code[:size]


#: x87's transcendental functions (right, but not always hardware's last bit), and its partial remainders; what
#: depends on the machine.
_NOT_COMPARED = (
    "fsin",
    "fcos",
    "fptan",
    "fpatan",
    "f2xm1",
    "fyl2x",
    "fprem",
    "sys",
    "rd",
    "cpuid",
    "xgetbv",
    "hlt",
    "fnsave",
    "fnstenv",
    "int",
    "ud",
    "in ",
    "out",
    "ret",
    "leave",
)


def ignored(bench: Here, code: bytes) -> dict[str, int]:
    """Flags that the manual leaves undefined."""
    instruction = next(bench.disassembler.disasm(code, 0, 1), None)
    if instruction is None:
        return {}
    mask = 0
    for name, bit in (("OF", 0x800), ("SF", 0x80), ("ZF", 0x40), ("AF", 0x10), ("PF", 4), ("CF", 1)):
        if instruction.eflags & getattr(capstone.x86, f"X86_EFLAGS_UNDEFINED_{name}", 0):
            mask |= bit
    mnemonic = instruction.mnemonic
    if mnemonic in ("shld", "shrd") and 0x66 in code[:2]:
        return dict.fromkeys(("flags", "memory", *_WIDE, *_NARROW), -1)  # undefined by more than 16
    if mnemonic in ("shl", "shr", "sar", "rol", "ror", "rcl", "rcr", "shld", "shrd", "sal"):
        mask |= 0x810  # OF unless by 1, AF
    elif mnemonic in ("mul", "imul"):
        mask |= 0xD4
    elif mnemonic in ("div", "idiv", "bsf", "bsr", "aad", "aam", "bt", "bts", "btr", "btc"):
        mask |= 0x8D5 & ~(0x40 if mnemonic.startswith("bs") else 1 if mnemonic.startswith("bt") else 0)
    elif mnemonic in ("and", "or", "xor", "test", "andn", "bextr", "blsi", "blsr", "blsmsk", "bzhi", "popcnt"):
        mask |= 0x10
    if mnemonic.startswith(("rcp", "rsqrt")):  # 12 bits on hardware
        return {"flags": mask, instruction.op_str.partition(",")[0]: (1 << 128) - 1}
    return {"flags": mask}
