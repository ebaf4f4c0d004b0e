"""RISC-V with double-precision registers: lp64d and ilp32d.

RISC-V ABIs Specification (riscv-elf-psabi-doc, version 1.0), chapter 2 "Procedure Calling Convention".

What is odd: a floating-point argument that finds no fa register left goes where an integer would go, and so
does every one that matches an ellipsis. A pair of registers need not start at an even one, except for what
matches an ellipsis; it may be split between a7 and the stack. 32-bit integers are sign-extended in 64-bit
registers, unsigned ones too. A float in an fa register is NaN-boxed: all bits above it are ones. `char` is
unsigned, `wchar_t` is signed. 32-bit glibc has had a 64-bit `time_t` from its beginning. `long double` is
binary128; on ilp32d, where it is wider than two registers, it is passed by reference, which is refused here.
A resolver gets the 64-bit AT_HWCAP, `__riscv_hwprobe` (null, as under glibc before 2.40) and null.
"""

from __future__ import annotations

from emu.isa.spec import (
    BINARY128,
    CallingConvention,
    DataModel,
    PairAlignment,
    VariadicRule,
    float_variants,
    numbered,
)
from relink.arch import FloatAbi

#: One bit a letter (Linux, arch/riscv/include/uapi/asm/hwcap.h).
HWCAP = sum(1 << ord(letter) - ord("A") for letter in "IMAFDC")

_FLOATS = numbered("fa", 8)


def _page(arch: str, word_size: int) -> CallingConvention:
    return CallingConvention(
        arch=arch,
        document="RISC-V ABIs Specification 1.0, chapter 2",
        data=DataModel(
            pointer_size=word_size, char_signed=False, wchar_signed=True, long_double=BINARY128,
            long_double_size=16, time_size=8,
        ),
        integer_arguments=numbered("a", 8),
        integer_results=("a0", "a1"),
        float_arguments={4: _FLOATS, 8: _FLOATS},
        float_results={4: "fa0", 8: "fa0"},
        stack_alignment=16,
        link_register="ra",
        floats_spill_to_integers=True,
        float_boxed=True,
        variadic=VariadicRule.EXTRAS_AS_INTEGERS,
        pair_alignment=PairAlignment.VARIADIC,
        pair_split=True,
        sign_extends_words=True,
        global_pointer=("gp", "__global_pointer$"),
        start_register="a0",
        frame_pointer="s0",
        preserved_floats=tuple(f"f{n}" for n in (8, 9, *range(18, 28))),
        hwcap=HWCAP,
        ifunc_prototype="void *(unsigned long long, void *, void *)",
        ifunc_parameters=(HWCAP, 0, 0),
    )  # fmt: skip


RISCV64 = _page("riscv64", 8)
RISCV32 = _page("riscv32", 4)

VARIANTS = tuple(
    variant for page in (RISCV64, RISCV32) for variant in float_variants(page, FloatAbi.SOFT, FloatAbi.SINGLE)
)
