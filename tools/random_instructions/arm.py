"""Arm and Thumb, by the encoding groups of the Arm ARM, F3 and F4."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

from tools.random_instructions.compare import Bench
from tools.random_instructions.layout import (
    DATA,
    GENERAL,
    MEMORY,
    STACK,
    VECTORS,
    Field,
    Layout,
    fill_memory,
    integer,
    put,
    vector,
)
from tools.random_instructions.patterns import rows, width, words

#: r12 holds the data page while registers are loaded; r1 and r2 an address and an index; r13 and r15 stay.
_FREE = [*range(12), 14]
_POOLS = {
    "g": _FREE,
    "b": [1],
    "x": [2],
    "t": [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14],
    "w": [13, 15, 2],
    "c": [14, 14, 14, *range(14)],
    "i": [0, 3, 4, 5, 6, 7],
    "j": [1],
    "k": [2],
}
_STATUS, _SCR = GENERAL + 0x50, GENERAL + 0x54
_FIELDS = (
    *(Field(f"r{n}", GENERAL + 4 * n, 4) for n in (*_FREE, 13)),
    Field("cpsr", _STATUS, 4, ~0xF80F0000 & 0xFFFFFFFF),
    Field("fpscr", _SCR, 4, 1 << 19),
    *(Field(f"d{n}", VECTORS + 8 * n, 8) for n in range(32)),
)
_VECTOR_ROWS = rows("""
neon three registers      | 1111001 . 0 .*23
neon three registers      | 1111001 . 0 .*23
neon two registers, shift | 1111001 . 1 .*23
neon two registers, shift | 1111001 . 1 .*23
neon load, store          | 1111 0100 . . . 0 b4 .*8 .*4 w4
crypto, dot, complex      | 1111 110 .*3 .. .*8 1 . 0 . .*8
vfp v8                    | 1111 11101 .*11 101 . .*8
bf16, i8mm                | 1111 110 .*13 1100 .*8
bf16, i8mm                | 1111 110 .*13 1101 .*8
""")
_VFP_ROWS = rows("""
vfp                      | c4 1110 0.*3 .*8 101. .. . 0 .*4
vfp                      | c4 1110 0 ... .*8 101. ...0 .*4
vfp                      | c4 1110 1 . 11 .*8 101. ...0 .*4
vfp                      | c4 1110 1 . 00 .*8 101. ...0 .*4
vfp half                 | c4 1110 .*4 .*8 1001 ...0 .*4
vfp move                 | c4 1110 0 ... .*4 g4 1011 ... 1 0000
vfp move                 | c4 1110 000 . .*4 g4 1010 .001 0000
vfp move                 | c4 1100 010 . g4 g4 101. 00.1 .*4
vfp move                 | c4 1110 1 ..0 .*4 g4 1011 .0.1 0000
vfp load, store          | c4 1101 .. 0 . b4 .*4 101. .*8
vfp load, store          | c4 1101 .. 0 . b4 .*4 101. .*8
vfp load, store multiple | c4 1100 1 . . . b4 .*4 101. 000.*5
vfp status               | c4 1110 1110 0001 g4 1010 0001 0000
vfp status               | c4 1110 1111 0001 g4 1010 0001 0000
""")
ARM = (
    rows("""
data processing               | c4 000 .*4 . g4 g4 .*5 .. 0 g4
data processing               | c4 000 .*4 . g4 g4 g4 0 .. 1 g4
data processing               | c4 001 .*4 . g4 g4 .*12
multiply                      | c4 0000 .*4 g4 g4 g4 1001 g4
saturating, halfword multiply | c4 00010 .. 0 g4 g4 g4 1 .. 0 g4
saturating, halfword multiply | c4 00010 .. 0 g4 g4 0000 0101 g4
clz, crc32                    | c4 00010110 1111 g4 1111 0001 g4
clz, crc32                    | 1110 00010 .. 0 g4 g4 00.0 0100 g4
move wide                     | c4 0011 0 . 00 .*4 g4 .*12
media                         | c4 01100 ... g4 g4 1111 ... 1 g4
media                         | c4 01101 ... g4 g4 .*2 00 0111 g4
media                         | c4 01101 ... g4 g4 .*5 .01 g4
media                         | c4 01101 ... 1111 g4 1111 .011 g4
multiply                      | c4 01110 ... g4 g4 g4 .. . 1 g4
multiply                      | c4 01110 ... g4 1111 g4 .. . 1 g4
bitfield                      | c4 01111 ... .*4 g4 .*5 .01 g4
bitfield                      | c4 01111 10 . .*4 g4 .*5 001 1111
load, store                   | c4 010 . . . . . b4 t4 0000 .*8
load, store                   | c4 011 . . . . . b4 t4 00000 .. 0 x4
load, store                   | c4 000 . . 0 . . b4 t4 0000 1 .. 1 x4
load, store                   | c4 000 . . 1 . . b4 t4 .*4 1 .. 1 .*4
load, store multiple          | c4 100 .. 0 . . b4 0.00 .*12
exclusive                     | c4 0001 1 ... b4 t4 11.. 1001 t4
exclusive                     | c4 0001 0 .00 b4 t4 0000 1001 t4
""")
    + _VECTOR_ROWS
    + _VFP_ROWS
)
THUMB = (
    rows("""
16-bit               | 000 .*13
16-bit               | 001 .*13
16-bit               | 010000 .*10
16-bit               | 01000100 0 .*4 .*3
16-bit               | 01000101 . .*7
16-bit               | 01000110 0 .*4 .*3
16-bit load, store   | 0101 ... k3 j3 i3
16-bit load, store   | 011 .. .*4 . j3 i3
16-bit load, store   | 1000 . .*5 j3 i3
16-bit load, store   | 1001 . .*3 .*8
16-bit               | 1010 . .*3 .*8
16-bit               | 1011 0000 . .*7
16-bit               | 1011 0010 .*8
16-bit               | 1011 1010 .*8
16-bit load, store   | 1011 .10 0 .*8
16-bit load, store   | 1100 . 001 .*8
data processing      | 11101 01 .*4 . g4 0 .*3 g4 .. .. g4
data processing      | 11110 . 0 .*4 . g4 0 .*3 g4 .*8
data processing      | 11110 . 1 ..0 . 0 g4 0 .*3 g4 .*8
bitfield             | 11110 0 11 .*3 0 g4 0 .*3 g4 .. 0 .*5
data processing      | 11111 010 0 .*3 g4 1111 g4 0000 g4
media                | 11111 010 0 .*3 g4 1111 g4 1 . .. g4
media                | 11111 010 1 .*3 g4 1111 g4 .*4 g4
multiply             | 11111 0110 .*3 g4 g4 g4 .*4 g4
multiply             | 11111 0110 .*3 g4 1111 g4 .*4 g4
multiply             | 11111 0111 .*3 g4 g4 g4 .*4 g4
multiply             | 11111 0111 .*3 g4 1111 g4 1111 g4
load, store          | 11111 00 . 1 .. . b4 t4 0000 .*8
load, store          | 11111 00 . 0 .. . b4 t4 1 .*3 .*8
load, store          | 11111 00 . 0 .. . b4 t4 000000 .. x4
load, store          | 11101 00 . . 1 . . b4 t4 t4 .*8
load, store multiple | 11101 00 .. 0 . . b4 0.00 .*12
exclusive            | 11101 00 0110 . b4 t4 t4 .*4 t4
""")
    + tuple((group, pattern.replace("c4", "1110", 1)) for group, pattern in _VFP_ROWS)
    + rows("""
neon three registers      | 111 . 11110 .*23
neon two registers, shift | 111 . 11111 .*23
neon load, store          | 1111 1001 . . . 0 b4 .*8 .*4 w4
""")
    + _VECTOR_ROWS[5:]
)


def _stub(thumb: bool) -> str:
    page = [f" movw r12, #{DATA & 0xFFFF}", f" movt r12, #{DATA >> 16}"]
    kept = [*range(12), 14]

    def vectors(operation: str) -> list[str]:
        return [
            f" add r12, r12, #{VECTORS}",
            f" {operation} r12!, {{d0-d15}}",
            f" {operation} r12, {{d16-d31}}",
            *page,
        ]

    load = [*vectors("vldmia"), f" ldr r0, [r12, #{_SCR}]", " vmsr fpscr, r0", f" ldr r0, [r12, #{_STATUS}]"]
    load += [" msr APSR_nzcvqg, r0", f" ldr sp, [r12, #{GENERAL + 52}]"]
    load += [f" ldr r{n}, [r12, #{GENERAL + 4 * n}]" for n in kept]
    store = [f" str r{n}, [r12, #{GENERAL + 4 * n}]" for n in kept]
    store += [f" str sp, [r12, #{GENERAL + 52}]", " mrs r0, APSR", f" str r0, [r12, #{_STATUS}]"]
    store += [" vmrs r0, fpscr", f" str r0, [r12, #{_SCR}]", " mov r0, #0", " vmsr fpscr, r0", *vectors("vstmia")]
    leave = [
        f" movw r0, #{STACK & 0xFFFF}",
        f" movt r0, #{STACK >> 16}",
        " mov sp, r0",
        " ldr r0, [r12]",
        " bx r0",
    ]
    state, count = (".thumb", 8) if thumb else (".arm", 4)
    return "\n".join(
        (
            ".syntax unified\n.arch armv8-a\n.fpu crypto-neon-fp-armv8\n.globl slot",
            state,
            *page,
            *load,
            f"slot: .rept {count}\n nop\n .endr",
            *page,
            *store,
            *leave,
            "",
        )
    )


def _fill(rng: Random, data: bytearray, code: bytes) -> None:
    for n in range(15):
        put(data, GENERAL + 4 * n, 4, integer(rng, 32))
    put(data, GENERAL + 4, 4, MEMORY)
    put(data, GENERAL + 8, 4, rng.randrange(-4, 5) * 16)
    put(data, GENERAL + 52, 4, MEMORY)
    put(data, _STATUS, 4, rng.getrandbits(5) << 27 | rng.getrandbits(4) << 16)
    put(
        data,
        _SCR,
        4,
        rng.choice((0, 0, 1 << 24, 1 << 25, 3 << 24)) | rng.randrange(4) << 22 | rng.choice((0, 0, 0x9F)),
    )
    for n in range(0, 32, 2):
        data[VECTORS + 8 * n : VECTORS + 8 * n + 16] = vector(rng, 16, halves=True)
    fill_memory(rng, data, halves=True)


def _layout(name: str, thumb: bool) -> Layout:
    return Layout(
        name,
        "arm",
        f"{'thumb' if thumb else 'arm'}-linux-musleabihf",
        ("qemu-arm", "-cpu", "max"),
        _FIELDS,
        _stub(thumb),
        _fill,
        ("ARM", ("THUMB" if thumb else "ARM", "V8")),
        bytes.fromhex("00bf" if thumb else "00f020e3"),
        ("-mcpu=cortex_a53",),
        thumb,
    )


LAYOUTS = (_layout("arm", False), _layout("thumb", True))


def _tests(
    table: Sequence[tuple[str, str]], thumb: bool
) -> Callable[[Random, Bench, int, str], Iterator[tuple[str, bytes]]]:
    short = {pattern for _, pattern in table if width(pattern) == 16}

    def tests(rng: Random, bench: Bench, count: int, only: str) -> Iterator[tuple[str, bytes]]:
        rows = [row for row in table if only in row[0]]
        for row in rng.choices(rows, k=count):
            group, word = next(words([row], _POOLS, rng, 1, ""))
            if row[1] in short:
                code = word.to_bytes(2, "little")
            elif thumb:
                code = (word >> 16).to_bytes(2, "little") + (word & 0xFFFF).to_bytes(2, "little")
            else:
                code = word.to_bytes(4, "little")
            yield group, code

    return tests


arm_tests, thumb_tests = _tests(ARM, False), _tests(THUMB, True)
