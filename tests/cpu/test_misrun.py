"""Instructions Unicorn runs wrong are computed as hardware does, or refused where they stand; never run.

The expected values are those of an x86-64 processor.
"""

from __future__ import annotations

import random
import struct

import pytest

from emu import Machine
from emu.cpu.corrections.finders import FINDERS
from emu.cpu.protocol import Protection
from emu.errors import GuestFault
from tests.objects.build import compiled

X86 = """
.globl moved, added, evex, xop, popped, andn_, shifted, looped, mixed
moved: vmovd %edi, %xmm1
 ret
added: mov $3, %eax
 movd %eax, %xmm0
 add $1, %eax
 vpaddd %xmm0, %xmm1, %xmm2
 ret
xop: vprotd $3, %xmm1, %xmm0
 ret
popped: push %rdi
 sub $8, %rsp
 add $8, %rsp
 popq -16(%rsp)
 mov -16(%rsp), %rax
 ret
evex: .byte 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc1
 ret
andn_: andn %esi, %edi, %eax
 ret
shifted: shlx %esi, %edi, %eax
 ret
looped: xor %eax, %eax
1: add $1, %eax
 cmp $1000, %eax
 jne 1b
 jmp 2f
 .balign 64
2: vzeroupper
 ret
mixed: mov $0xc5c462, %eax
 movaps %xmm5, %xmm0
 ret
"""
RISCV = """
.globl zero_extend, negate, load_byte, nothing, jump_zero, hint, tick
.option push
zero_extend: .short 0x9d61
 ret
negate: .short 0x9d75
 ret
load_byte: .short 0x8000
 ret
nothing: .short 0
 ret
jump_zero: .short 0x8002
 ret
hint: .short 0x0001
 li a0, 7
 ret
tick: rdtime a1
1: rdtime a0
 bgeu a1, a0, 1b
 sub a0, a0, a1
 snez a0, a0
 ret
"""
#: Instruction, st0 and st1 -> st0 afterwards, as (sign and exponent, mantissa).
X87 = {
    "fyl2x": [((0xBFFF, 1 << 63), (0x3FFF, 1 << 63), (0xFFFF, 0xC000_0000_0000_0000)),
              ((0x4000, 0xC000_0000_0000_0000), (0x3FFF, 1 << 63), (0x3FFF, 0xCAE0_0D1C_FDEB_43D0))],
    "f2xm1": [((0x3FBC, 0xBCE5_0864_9211_1AEB), (0, 0), (0x3FBC, 0x82EE_8A7A_B553_1436)),
              ((0x3FFD, 0x9999_9999_9999_999A), (0, 0), (0x3FFC, 0xECB1_1EFF_E0CA_3870))],
    "fpatan": [((0x4000, 0xC000_0000_0000_0000), (0x3FFF, 1 << 63), (0x3FFD, 0xA4BC_7D19_34F7_0924))],
    "fyl2xp1": [((0x3FBC, 0xBCE5_0864_9211_1AEB), (0x3FFF, 1 << 63), (0x3FBD, 0x8842_39C7_2956_C9B3))],
    "fsin": [((0x4000, 0xC000_0000_0000_0000), (0, 0), (0x3FFC, 0x9081_C36D_B6AA_DA79))],
    "fcos": [((0x4000, 0xC000_0000_0000_0000), (0, 0), (0xBFFE, 0xFD70_25F4_2F2E_9308))],
}  # fmt: skip
X87_CODE = """
.globl run_{name}
run_{name}:
 {load}
 fldt 16({base})
 fldt ({base})
 {name}
 fstpt 32({base})
 fninit
 ret
.globl again_{name}
again_{name}: {load}
 fldt 16({base})
 fldt ({base})
1: fprem
 fnstsw %ax
 test $0x400, %ax
 jnz 1b
 fstpt 32({base})
 fninit
 ret
"""


@pytest.mark.parametrize("name", ["moved", "added", "evex", "xop", "looped"])
def test_vex_and_evex_codes_are_refused_where_they_stand(name: str) -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", X86, language="assembler"))
        function = library.function(name, f"int {name}(int)")
        for _ in range(3):
            with pytest.raises(GuestFault, match="invalid instruction") as caught:
                function(1)
        if name == "added":
            assert caught.value.pc == function.address + 12
            assert caught.value.registers["rax"] == 4, "what lies before it has run, once"
            assert "vpaddd" in caught.value.report()


def test_vex_codes_of_general_registers_and_their_bytes_elsewhere_run() -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", X86, language="assembler"))
        assert library.function("andn_", "int andn_(int, int)")(5, 7) == 2
        assert library.function("shifted", "int shifted(int, int)")(5, 3) == 40
        assert library.function("popped", "long popped(long)")(77) == 77
        assert library.function("mixed", "int mixed(void)")() == 0xC5C462


@pytest.mark.parametrize("arch", ["riscv64", "riscv32"])
def test_reserved_16_bit_codes_are_refused_and_hints_and_rdtime_run(arch: str) -> None:
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, RISCV, language="assembler"))
        for name in ("zero_extend", "negate", "load_byte", "nothing", "jump_zero"):
            with pytest.raises(GuestFault, match="invalid instruction"):
                library.function(name, f"int {name}(int)")(1)
        assert library.function("hint", "int hint(void)")() == 7
        assert library.function("tick", "int tick(void)")() == 1


@pytest.mark.parametrize("bits", [32, 64])
def test_every_16_bit_code_is_reserved_or_not_as_the_manual_says(bits: int) -> None:
    """Counts of reserved codes by quadrant, and the codes of Zcb among them."""
    find = FINDERS[f"riscv{bits}"]
    reserved = [half for half in range(1 << 16) if half & 3 != 3 and any(find(half.to_bytes(2, "little"), 0))]
    zcb = [0x8000, 0x8400, 0x8440, 0x8800, 0x8C00, 0x9C61, 0x9C65, 0x9C69, 0x9C6D, 0x9C75, 0x9C41]
    assert set(zcb) <= set(reserved)
    assert all(half not in reserved for half in (0x0001, 0x0005, 0x8082, 0x9002, 0x4501, 0x852E))
    assert (0x9C01 in reserved) is (bits == 32), "c.subw"


@pytest.mark.parametrize(("arch", "base", "load"), [("x86_64", "%rdi", ""), ("i386", "%edx", "mov 4(%esp), %edx")])
@pytest.mark.parametrize("name", list(X87))
def test_x87_computes_in_64_bits(arch: str, base: str, load: str, name: str) -> None:
    code = X87_CODE.format(name=name, base=base, load=load)
    with Machine(arch) as machine:
        library = machine.load(compiled(arch, code, language="assembler"))
        for x, y, right in X87[name]:
            assert _x87(library, f"run_{name}", x, y) == right
        huge, small = (0x405C, 0x813F_3978_F894_0984), (0x4001, 0xA800_0000_0000_0000)
        assert _x87(library, f"again_{name}", huge, small) == (0x4000, 0xF000_0000_0000_0000), "1e28 mod 5.25"


def _x87(library: object, function: str, x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    block = bytearray(48)
    for at, (top, mantissa) in ((0, x), (16, y)):
        block[at : at + 10] = (top << 64 | mantissa).to_bytes(10, "little")
    library.function(function, f"void {function}(void *)")(block)  # type: ignore[attr-defined]
    value = int.from_bytes(block[32:42], "little")
    return value >> 64, value & (1 << 64) - 1


COMPARE = """
.globl compare
compare: movdqu (%rdi), %xmm1
 pcmpistri $0x0c, (%rsi), %xmm1
 mov %ecx, %eax
 ret
"""


@pytest.mark.parametrize(("needle", "text", "index"), [
    (b"ab", b"xxxxxxxxxxxxxxxa", 15), (b"ab", b"xxabxxxxxxxxxxxx", 2), (b"ab", b"xa\0bxxxxxxxxxxxx", 16),
])  # fmt: skip
def test_a_string_comparison_sees_a_partial_match_at_the_end(needle: bytes, text: bytes, index: int) -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", COMPARE, language="assembler"))
        place = machine.memory.map_anonymous(4096)
        machine.memory.write(place, needle.ljust(16, b"\0") + text)
        assert library.function("compare", "int compare(void *, void *)")(place, place + 16) == index


MXCSR = """
.globl stored, saved, extended, loaded, unmasked, far
stored: ldmxcsr (%rdi)
 movsd 8(%rdi), %xmm0
 {operation} 16(%rdi), %xmm0
 stmxcsr (%rdi)
 mov (%rdi), %eax
 ret
saved: ldmxcsr (%rdi)
 movsd 8(%rdi), %xmm0
 {operation} 16(%rdi), %xmm0
 fxsave 64(%rdi)
 mov 64+24(%rdi), %eax
 ret
loaded: movsd 8(%rdi), %xmm0
 {operation} 16(%rdi), %xmm0
 ldmxcsr (%rdi)
 stmxcsr 4(%rdi)
 mov 4(%rdi), %eax
 ret
far: stmxcsr 8
 ret
"""
#: Operation and operands -> the flags: invalid 1, division by zero 4, overflow 8, underflow 16, inexact 32.
RAISED = [
    ("divsd", 1.0, 0.0, 4), ("divsd", 1.0, 3.0, 32), ("mulsd", 1e308, 1e308, 40), ("mulsd", 1e-308, 1e-300, 50),
    ("subsd", float("inf"), float("inf"), 1), ("addsd", 1.0, 2.0, 0), ("sqrtsd", 0.0, -1.0, 1),
    ("ucomisd", 0.0, float("nan"), 0), ("comisd", 0.0, float("nan"), 1), ("cvtsd2si", 0.0, 1e300, 1),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "first", "second", "flags"), RAISED)
def test_mxcsr_has_the_flags_that_sse_arithmetic_raised(
    operation: str, first: float, second: float, flags: int
) -> None:
    code = MXCSR.format(operation=operation)
    code = code.replace("cvtsd2si 16(%rdi), %xmm0", "cvtsd2si 16(%rdi), %ecx")
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", code, language="assembler"))
        place = machine.memory.map_anonymous(4096)

        def called(name: str, mxcsr: int) -> int:
            machine.memory.write(place, struct.pack("<IIdd", mxcsr, 0, first, second))
            return int(library.function(name, f"unsigned {name}(void *)")(place))

        assert called("stored", 0x1F80) == called("saved", 0x1F80) == 0x1F80 | flags
        assert called("stored", 0x1F82) == 0x1F82 | flags, "flags stay until they are cleared"
        assert called("loaded", 0x1F80) == 0x1F80, "cleared"
        with pytest.raises(GuestFault, match="invalid instruction"):
            called("stored", 0x1F80 & ~0x200)  # division by zero is to trap, which the engine would not
        with pytest.raises(GuestFault, match="unmapped"):
            library.function("far", "void far(void)")()


FLOATING = """
.globl product, status, sums, sums32, saturated, far_exchange, near_exchange, quotient
product: ldmxcsr (%rdi)
 movsd 8(%rdi), %xmm0
 mulsd 16(%rdi), %xmm0
 stmxcsr (%rdi)
 ret
status: fnclex
 fldl 8(%rdi)
 fdivl 16(%rdi)
 fstp %st(0)
 xor %eax, %eax
 fnstsw %ax
 and $0x3f, %eax
 ret
sums: movdqu (%rdi), %xmm9
 phaddw %xmm9, %xmm9
 movdqu %xmm9, (%rdi)
 ret
sums32: movdqu (%rdi), %xmm2
 phsubd %xmm2, %xmm2
 movdqu %xmm2, (%rdi)
 ret
saturated: movdqu (%rdi), %xmm2
 phaddsw %xmm2, %xmm2
 movdqu %xmm2, (%rdi)
 ret
near_exchange: mov $5, %eax
 mov %rdi, %rcx
 cmpxchg %esi, %ecx
 mov %rcx, %rax
 ret
"""


def test_flush_to_zero_and_the_flags_of_x87_are_kept() -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", FLOATING, language="assembler"))
        place = machine.memory.map_anonymous(4096)
        product = library.function("product", "double product(void *)")
        for mxcsr, result, flags in ((0x1F80, 1e-320, 0x30), (0x9F80, 0.0, 0x30), (0x1F80, 1e-320, 0x30)):
            machine.memory.write(place, struct.pack("<IIdd", mxcsr, 0, 1e-160, 1e-160))
            assert product(place) == result
            assert machine.memory.read_uint(place, 4) == mxcsr | flags
        status = library.function("status", "int status(void *)")
        for first, second, flags in ((1.0, 3.0, 0x20), (1.0, 0.0, 4), (1.0, 2.0, 0)):
            machine.memory.write(place + 8, struct.pack("<dd", first, second))
            assert status(place) == flags


@pytest.mark.parametrize(("name", "format", "before", "after"), [
    ("sums", "<8h", (1, 2, 30000, 30000, -1, 5, 7, 8), (3, -5536, 4, 15)),
    ("sums32", "<4i", (1, 2, -(2**31), 1), (-1, 2**31 - 1)),
    ("saturated", "<8h", (1, 2, 30000, 30000, -30000, -30000, 7, 8), (3, 32767, -32768, 15)),
])  # fmt: skip
def test_horizontal_sums_of_a_register_with_itself(
    name: str, format: str, before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", FLOATING, language="assembler"))
        place = machine.memory.map_anonymous(4096)
        machine.memory.write(place, struct.pack(format, *before))
        library.function(name, f"void {name}(void *)")(place)
        assert struct.unpack(format, machine.memory.read(place, 16)) == after + after


def test_an_exchange_with_a_register_keeps_its_upper_half() -> None:
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", FLOATING, language="assembler"))
        exchange = library.function("near_exchange", "unsigned long near_exchange(unsigned long, int)")
        assert [exchange(value, 9) for value in (5, 6, 1 << 40 | 5, 1 << 40 | 6)] == [9, 6, 9, 1 << 40 | 6]


@pytest.mark.parametrize("name", ["ldsmax", "ldsmin"])
@pytest.mark.parametrize("suffix", ["", "h", "b", "alh", "ab", "l"])
def test_signed_extremes_in_memory(name: str, suffix: str) -> None:
    bits = 8 if suffix.endswith("b") else 16 if suffix.endswith("h") else 32
    code = f".arch armv8.1-a\n.globl extreme\nextreme: {name}{suffix} w1, w0, [x0]\n ret\n"
    choose = max if name == "ldsmax" else min
    with Machine("aarch64") as machine:
        library = machine.load(compiled("aarch64", code, language="assembler"))
        place = machine.memory.map_anonymous(4096)
        extreme = library.function("extreme", "unsigned extreme(void *, int)")
        for one, other in ((1, -1), (-1, 1), (-5, -3), (7, 9), (-(1 << bits - 1), 0)):
            machine.memory.write(place, (one & 0xFFFF_FFFF).to_bytes(4, "little"))
            assert extreme(place, other) == one & (1 << bits) - 1
            assert machine.memory.read_uint(place, bits // 8) == choose(one, other) & (1 << bits) - 1


@pytest.mark.parametrize("arch", list(FINDERS))
def test_a_finder_takes_any_bytes(arch: str) -> None:
    rng, likely = random.Random(1), bytes.fromhex("0faec7383a48669fdfe0ddd9c4c5628f01b190f0ff")
    for number in range(2000):
        size = rng.randrange(20)
        code = rng.randbytes(size) if number % 2 else bytes(rng.choice(likely) for _ in range(size))
        for found in [*FINDERS[arch](code, 0), *FINDERS[arch](code, 0, to_branch=True)]:
            assert 0 <= found.address < size


#: `write` stores `vaddps %xmm1, %xmm1, %xmm0; ret` over `target`, which is five bytes of nop and ret before.
CHANGED = """
.globl target, write, both, fall, middle, loop
write: movabs $0x909090c3c158f0c5, %rax
 mov %rax, target(%rip)
 ret
both: call target
 call write
 call target
 ret
fall: movabs $0x909090c3c158f0c5, %rax
 mov %rax, 1f(%rip)
1: .byte 0x90, 0x90, 0x90, 0x90, 0xc3, 0x90, 0x90, 0x90
middle: .byte 0xb8, 0xc5, 0xf0, 0x58, 0xc1, 0xeb, 0xfa, 0xc3
loop: mov $6, %ecx
2: call target
 cmp $3, %ecx
 jne 3f
 call write
3: dec %ecx
 jnz 2b
 ret
 .balign 4096
 .fill 4093, 1, 0x90
target: .byte 0x90, 0x90, 0x90, 0x90, 0xc3, 0x90, 0x90, 0x90
"""


@pytest.mark.parametrize("calls", [("both",), ("fall",), ("middle",), ("loop",), ("target", "write", "target")])
def test_code_that_changes_or_overlaps_is_looked_at_again(calls: tuple[str, ...]) -> None:
    """The changed instruction lies across two pages; `middle` jumps into its own first instruction."""
    with Machine("x86_64") as machine:
        library = machine.load(compiled("x86_64", CHANGED, language="assembler"))
        start, end = (library.symbols[name].address & ~0xFFF for name in ("write", "target"))
        machine.memory.protect_pages(start, end + 0x2000 - start, Protection.R | Protection.W | Protection.X)
        functions = [library.function(name, f"void {name}(void)") for name in calls]
        for function in functions[:-1]:
            function()
        with pytest.raises(GuestFault, match="invalid instruction") as caught:
            functions[-1]()
        assert "vaddps" in next(line for line in caught.value.disassembly if line.startswith("=>"))
