"""Floating point where Unicorn runs it wrong leaves what hardware leaves, or is refused."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from emu import Machine
from emu.cpu.create import create_cpu
from emu.cpu.protocol import Protection, StopReason
from emu.cpu.unicorn.replaced import replace_functions
from emu.errors import GuestFault
from tests.objects.build import compiled

from .guests import page_buffer

X86 = """
.globl least, rounded, reciprocal, truncated, decimal, compared, undefined, controlled, environment, floor
.globl restored, sse_added, x87_added, stored
sse_added: movl $0x1f80, -8(%rsp)
 ldmxcsr -8(%rsp)
 movsd (%rdi), %xmm0
 addsd 8(%rdi), %xmm0
 stmxcsr -8(%rsp)
 mov -8(%rsp), %eax
 and $0x3f, %eax
 ret
x87_added: fninit
 fldt (%rdi)
 fldt 16(%rdi)
 faddp
 jmp 1f
1: fnstsw %ax
 fninit
 and $0x3f, %eax
 ret
stored: fninit
 fldt (%rdi)
 fstl (%rdi)
 fstps 8(%rdi)
 fnstsw %ax
 fninit
 and $0x3f, %eax
 ret
least: ldmxcsr 32(%rdi)
 movups (%rdi), %xmm0
 minps 16(%rdi), %xmm0
 movups %xmm0, (%rdi)
 stmxcsr 32(%rdi)
 movl $0x1f80, 36(%rdi)
 ldmxcsr 36(%rdi)
 ret
rounded: ldmxcsr 32(%rdi)
 roundps $8, (%rdi), %xmm0
 movups %xmm0, (%rdi)
 stmxcsr 32(%rdi)
 ret
reciprocal: ldmxcsr 32(%rdi)
 rcpps (%rdi), %xmm0
 movups %xmm0, (%rdi)
 stmxcsr 32(%rdi)
 ret
.globl integral
integral: fldt (%rdi)
 frndint
 fstpt (%rdi)
 ret
truncated: fninit
 fldl (%rdi)
 fisttpl (%rdi)
 fnstsw %ax
 fninit
 movzwl %ax, %eax
 ret
decimal: fldt (%rdi)
 fbstp (%rdi)
 ret
compared: fldz
 fld1
 xor %eax, %eax
 mov $0x7fffffff, %ecx
 add $1, %ecx
 fcomip %st(1), %st
 pushfq
 pop %rax
 fstp %st(0)
 and $0x8d5, %eax
 ret
undefined: fninit
 fldz
 fdivs (%rdi)
 fnstsw %ax
 fninit
 movzwl %ax, %eax
 ret
controlled: fldcw (%rdi)
 ret
environment: fldenv (%rdi)
 ret
restored: mov %esi, %eax
 xor %edx, %edx
 xrstor (%rdi)
 fnstcw -8(%rsp)
 movzwl -8(%rsp), %eax
 fninit
 ret
floor: emms  # environments of zeros make all registers full
 fnstcw -8(%rsp)
 fldcw (%rdi)
 fldl 8(%rdi)
 fistpll -16(%rsp)
 fldcw -8(%rsp)
 mov -16(%rsp), %rax
 ret
"""


@pytest.fixture(scope="module")
def x86() -> Path:
    return compiled("x86_64", X86, language="assembler")


@pytest.mark.parametrize(("name", "operands", "mxcsr", "results", "flags"), [
    ("least", (1e-40, 2.0, -1e-40, 5.0, 1.0, 1.0, 1.0, 7.0), 0x1FC0, (0.0, 1.0, -0.0, 5.0), 0),
    ("least", (1e-40, 2.0, -1e-40, 5.0, 1.0, 1.0, 1.0, 7.0), 0x1F80, (1e-40, 1.0, -1e-40, 5.0), 2),
    ("rounded", (1.5, 2.5, -0.3, 9.0) * 2, 0x1F80, (2.0, 2.0, -0.0, 9.0), 0),
    ("reciprocal", (1e-40, 4.0, -2.0, 1.0) * 2, 0x1F80, (float("inf"), 0.25, -0.5, 1.0), 0),
])  # fmt: skip
def test_sse_at_its_limits(
    x86: Path, name: str, operands: tuple[float, ...], mxcsr: int, results: tuple[float, ...], flags: int
) -> None:
    with Machine("x86_64") as machine:
        place = machine.memory.map_anonymous(4096)
        machine.memory.write(place, struct.pack("<8fI", *operands, mxcsr))
        machine.load(x86).function(name, f"void {name}(void *)")(place)
        assert machine.memory.read(place, 16) == struct.pack("<4f", *results)
        assert machine.memory.read_uint(place + 32, 4) & ~2 == mxcsr | flags & ~2, "denormals aside"


def test_x87_at_its_limits(x86: Path) -> None:
    with Machine("x86_64") as machine:
        library, place = machine.load(x86), machine.memory.map_anonymous(4096)
        truncated = library.function("truncated", "int truncated(void *)")
        for value, integer, flags in ((-3.7, -3, 0x20), (3e9, -(2**31), 1), (float("nan"), -(2**31), 1)):
            machine.memory.write(place, struct.pack("<d", value))
            assert truncated(place) & 0x3F == flags
            assert struct.unpack("<i", machine.memory.read(place, 4)) == (integer,)
        for number, digits in (((0, 0x8000), 1 << 79), ((0xC0 << 56, 0xFFFF), 0xFFFFC << 60)):
            machine.memory.write(place, struct.pack("<QH", *number))
            library.function("decimal", "void decimal(void *)")(place)
            assert int.from_bytes(machine.memory.read(place, 10), "little") == digits
        assert library.function("compared", "int compared(void)")() == 0, "OF, SF and AF are cleared"
        machine.memory.write(place, bytes(4))
        assert library.function("undefined", "int undefined(void *)")(place) & 0x3F == 1, "0/0 divides no number"


def test_x87_control_words_that_unmask_exceptions_are_refused(x86: Path) -> None:
    with Machine("x86_64") as machine:
        library, place = machine.load(x86), machine.memory.map_anonymous(4096)
        for name, size in (("controlled", 2), ("environment", 28)):
            load = library.function(name, f"void {name}(void *)")
            for control, refused in ((0x37F, False), (0x27F, False), (0x37B, True), (0x340, True), (0x37F, False)):
                machine.memory.write(place, struct.pack("<H26s", control, bytes(26))[:size].ljust(28, b"\xff"))
                if refused:
                    with pytest.raises(GuestFault, match="invalid instruction"):
                        load(place)
                else:
                    load(place)
        for control, integer in ((0x77F, -4), (0xB7F, -3), (0x37F, -4)):
            machine.memory.write(place, struct.pack("<Q", control) + struct.pack("<d", -3.7))
            assert library.function("floor", "long floor(void *)")(place) == integer


def test_xrstor_is_refused_where_it_unmasks_exceptions(x86: Path) -> None:
    """eax selects the components to restore, XSTATE_BV says which of them the area has; MXCSR is always in it."""
    with Machine("x86_64") as machine:
        restored = machine.load(x86).function("restored", "int restored(void *, int)")
        area = machine.heap.aligned_alloc(64, 4096)
        for wanted, saved, control, mxcsr, result in (
            (3, 3, 0x27F, 0x1F80, 0x27F), (3, 3, 0x37B, 0x1F80, None), (3, 3, 0x37F, 0x1D80, None),
            (1, 3, 0x37F, 0x1D80, 0x37F), (2, 3, 0x37B, 0x1F80, 0x37F), (3, 2, 0x27B, 0x1F80, 0x37F),
            (3, 0, 0x37F, 0x1D80, None),
        ):  # fmt: skip
            content = struct.pack("<HHB19xII480xQ56x", control, 0, 0xFF, mxcsr, 0xFFFF, saved)
            machine.memory.write(area, content)
            if result is None:
                with pytest.raises(GuestFault, match="invalid instruction"):
                    restored(area, wanted)
            else:
                assert restored(area, wanted) == result, (wanted, saved)


def test_denormal_operands_are_flagged_but_beside_a_nan(x86: Path) -> None:
    tiny, nan = 5e-324, float("nan")
    with Machine("x86_64") as machine:
        library, place = machine.load(x86), machine.heap.malloc(32)
        by_sse = library.function("sse_added", "int f(void *)")
        for one, other, flags in ((tiny, 1.0, 0x22), (0.0, -tiny, 2), (tiny, nan, 0), (1.0, 2.0, 0)):
            machine.memory.write(place, struct.pack("<2d", one, other))
            assert by_sse(place) == flags, (one, other)
        by_x87, exponent_nan = library.function("x87_added", "int f(void *)"), (3 << 62, 0x7FFF)
        for values, flags in (((1, 0, 0, 0), 2), ((1, 0, 1 << 63, 0x3FFF), 0x22), ((1, 0, *exponent_nan), 0)):
            machine.memory.write(place, struct.pack("<QH6xQH6x", *values))
            assert by_x87(place) == flags, values


def test_a_signalling_nan_of_80_bits_is_stored_as_a_quiet_one(x86: Path) -> None:
    with Machine("x86_64") as machine:
        library, place = machine.load(x86), machine.heap.malloc(32)
        stored = library.function("stored", "int f(void *)")
        for fraction, double, single in ((1, 0xFFF8 << 48, 0xFFC0_0000), (3 << 60, 0xFFFE << 48, 0xFFF0_0000)):
            machine.memory.write(place, struct.pack("<QH6x", 1 << 63 | fraction, 0xFFFF))
            assert stored(place) == 1
            assert struct.unpack("<QI", machine.memory.read(place, 12)) == (double, single)


def test_integral_values_of_80_bits_at_every_exponent(x86: Path) -> None:
    """frndint of 1.5 * 2**n and of the smallest numbers, of which one is a pseudo-denormal."""
    with Machine("x86_64") as machine:
        library, place = machine.load(x86), machine.heap.malloc(16)
        integral = library.function("integral", "void f(void *)")

        def rounded(significand: int, top: int) -> float:
            machine.memory.write(place, struct.pack("<QH", significand, top))
            integral(place)
            significand, top = struct.unpack("<QH", machine.memory.read(place, 10))
            return math.ldexp(significand, (top & 0x7FFF) - 16446) * (-1 if top >> 15 else 1)

        for power in range(-20, 60):
            assert rounded(3 << 62, 16383 + power) == round(1.5 * 2**power), power
            assert rounded(3 << 62, 0x8000 | 16383 + power) == -round(1.5 * 2**power), power
        assert rounded(1 << 63, 0) == rounded(1, 0) == rounded(3 << 62, 1) == 0


RISCV = """
.globl boxed, unboxed, extreme
boxed: fadd.s fa2, fa0, fa1
 fneg.s fa3, fa0
 fabs.s fa4, fa3
 fmv.w.x fa5, zero
 fcvt.s.w ft0, zero
 fsgnjn.s ft1, fa0, fa1
 fsgnjx.s ft2, fa0, fa3
 fmin.s ft3, fa0, fa1
 j 1f
1: fsd fa2, 0(a0)
 fsd fa3, 8(a0)
 fsd fa4, 16(a0)
 fsd fa5, 24(a0)
 fsd ft0, 32(a0)
 fsd ft1, 40(a0)
 fsd ft2, 48(a0)
 fsd ft3, 56(a0)
 ret
unboxed: fadd.d fa0, fa2, fa3
 j 1f
1: fsgnj.s fa1, fa0, fa0
 fsd fa1, 0(a0)
 fadd.s fa1, fa0, fa0
 fsd fa1, 8(a0)
 fsgnjn.s fa1, fa4, fa0
 fsd fa1, 16(a0)
 fcvt.d.s fa1, fa0
 fsd fa1, 24(a0)
 fsd fa0, 32(a0)
 fsgnj.s fa0, fa0, fa0
 fsd fa0, 40(a0)
 ret
extreme: fsflags x0
 fmv.w.x fa0, a0
 fmv.w.x fa1, a1
 fmin.s fa0, fa0, fa1
 fmv.x.w a0, fa0
 frflags a1
 sw a1, (a2)
 ret
"""


@pytest.mark.parametrize("arch", ["riscv64", "riscv32"])
def test_riscv_boxes_single_precision_and_extremes_skip_a_signalling_nan(arch: str) -> None:
    code = compiled(arch, RISCV, language="assembler")
    quiet = 0xFFFF_FFFF_7FC0_0000
    singles = [
        struct.unpack("<I", struct.pack("<f", value))[0] for value in (1.5, -1.0, 1.0, 0, 0, -1.0, -1.0, 0.5)
    ]
    with Machine(arch) as machine:
        library, place = machine.load(code), machine.memory.map_anonymous(4096)
        library.function("boxed", "void boxed(void *, float, float)")(place, 1.0, 0.5)
        assert [machine.memory.read_uint(place + 8 * at, 8) for at in range(8)] == [
            0xFFFF_FFFF_0000_0000 | single for single in singles
        ]
        library.function("unboxed", "void unboxed(void *, double, double, double, double, float)")(
            place, 0, 0, 1.0, 2.0, 1.0
        )
        found = [machine.memory.read_uint(place + 8 * at, 8) for at in range(6)]
        three = 0x4008 << 48  # what is read as a single-precision number is none, but stays what it is
        assert found == [quiet, quiet, 0xFFFF_FFFF_BF80_0000, 0x7FF8 << 48, three, quiet]
        extreme = library.function("extreme", "unsigned extreme(unsigned, unsigned, unsigned *)")
        for number, flags in ((0x7FA0_0000, 0x10), (0x7FC0_0000, 0)):
            assert extreme(number, 0x4000_0000, place) == 0x4000_0000
            assert machine.memory.read_uint(place, 4) == flags


@pytest.mark.parametrize("replacement", [0x0000_0013, 0x28B5_1553, 0x28B5_3553, 0x2CB5_0553])
def test_other_code_in_place_of_an_extreme_runs_or_is_refused(replacement: int) -> None:
    """A nop, fmax.s, an invalid code and fmin.h in place of an fmin of a signalling NaN, which is looked at."""
    cpu = create_cpu("riscv64")
    cpu.map(0x1000, 4096, Protection.R | Protection.W | Protection.X, page_buffer())
    cpu.set_trap_range(0x7000_0000, 0x1000)
    cpu.write_register("ra", 0x7000_0000)
    for word in (0x28B5_0553, 0x2AB5_0553, replacement):  # fmin.s, fmin.d
        cpu.write(0x1000, struct.pack("<II", word, 0x0000_8067))
        cpu.write_registers({"f10": 0xFFFF_FFFF_7FA0_0000, "f11": 0})
        stop = cpu.run(0x1000, timeout=20.0)
    valid = replacement in (0x0000_0013, 0x28B5_1553)
    assert stop.reason is (StopReason.TRAP if valid else StopReason.INVALID_INSTRUCTION)
    cpu.close()


ARM = """
.fpu neon
.globl fixed, conditional
{state}
fixed: vmsr fpscr, r1
 vmov s0, r0
 vcvt.f32.s32 s0, s0, #4
 vmov r0, s0
 mov r1, #0
 vmsr fpscr, r1
 bx lr
conditional: vmsr fpscr, r1
 cmp r0, #0
 vmov s0, r0
{it}
 vcvtne.f32.s32 s0, s0, #4
 vmov r0, s0
 mov r1, #0
 vmsr fpscr, r1
 bx lr
"""


@pytest.mark.parametrize("arch", ["arm", "thumb"])
def test_arm_converts_fixed_point_to_nearest_in_every_mode(arch: str) -> None:
    state, it = ("", "") if arch == "arm" else (".thumb\n.thumb_func\n.type conditional, %function", " it ne")
    code = compiled(arch, ARM.format(state=state, it=it), language="assembler")
    with Machine("arm") as machine:
        library = machine.load(code)
        fixed = library.function("fixed", "unsigned fixed(int, int)")
        conditional = library.function("conditional", "unsigned conditional(int, int)")
        for mode in range(4):
            assert fixed(0x0100_0001, mode << 22) == 0x4980_0000
            assert fixed(-0x0100_0003, mode << 22) == 0xC980_0002
            if arch == "arm" or not mode:
                assert conditional(0, mode << 22) == 0, "the condition does not hold"
        if arch == "arm":
            assert conditional(0x0100_0001, 2 << 22) == 0x4980_0000
        else:
            with pytest.raises(GuestFault, match="invalid instruction"):
                conditional(0x0100_0001, 2 << 22)


#: A32 codes of NEON that are reserved, and the neighbours as which Unicorn runs them.
RESERVED = {
    "dot product": (0xFD2E_3DAD, 0xFC22_0D44),
    "multiplication": (0xF323_6D99, 0xF300_0D92),
    "long multiplication": (0xF39B_4D85, 0xF29B_4D85),
}


@pytest.mark.parametrize("arch", ["arm", "thumb"])
def test_arm_refuses_reserved_codes_of_neon(arch: str) -> None:
    def coded(word: int) -> str:
        if arch == "arm":
            return f".inst {word:#x}"
        top = word >> 24 if word >> 25 != 0x79 else 0xEF | (word >> 24 & 1) << 4  # F2, F3 -> EF, FF
        return f".inst.w {top << 24 | word & 0xFF_FFFF:#x}"

    rows = enumerate(word for pair in RESERVED.values() for word in pair)
    mark = ".thumb\n.thumb_func\n" if arch == "thumb" else ""
    code = "".join(f"{mark}.globl f{n}\n.type f{n}, %function\nf{n}: {coded(word)}\n bx lr\n" for n, word in rows)
    with Machine("arm") as machine:
        library = machine.load(compiled(arch, ".syntax unified\n.fpu neon\n" + code, language="assembler"))
        for n in range(len(RESERVED)):
            with pytest.raises(GuestFault, match="invalid instruction"):
                library.function(f"f{2 * n}", f"void f{2 * n}(void)")()
            library.function(f"f{2 * n + 1}", f"void f{2 * n + 1}(void)")()


def test_a_unicorn_without_the_functions_to_be_replaced_is_told_of_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert replace_functions("denormal_operands", "_no_such_isa", "a loss") is None
    monkeypatch.setattr("emu.cpu.hooks.linkage.Linkage.of_function", lambda *given: iter(()))  # called directly
    assert replace_functions("denormal_operands", "_x86_64", "a loss") is None
    assert [record.getMessage().startswith("a loss: ") for record in caplog.records] == [True, True]
