"""LoongArch64 with double-precision registers (lp64d).

Procedure Call Standard for the LoongArch Architecture (lapcs, release 2.40).

What is odd: nearly everything is as on RISC-V (floating-point arguments spill to integer registers, those
that match an ellipsis always go there, 32-bit integers are sign-extended, unsigned ones too), but a float
is not NaN-boxed and `char` is signed. `long double` is binary128 in two integer registers.
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

#: CPUCFG LAM UAL FPU LSX (Linux, arch/loongarch/include/uapi/asm/hwcap.h).
HWCAP = 0b1_1111

_FLOATS = numbered("fa", 8)

LOONGARCH64 = CallingConvention(
    arch="loongarch64",
    document="LoongArch procedure call standard 2.40",
    data=DataModel(
        pointer_size=8, char_signed=True, wchar_signed=True, long_double=BINARY128, long_double_size=16,
        time_size=8,
    ),
    integer_arguments=numbered("a", 8),
    integer_results=("a0", "a1"),
    float_arguments={4: _FLOATS, 8: _FLOATS},
    float_results={4: "fa0", 8: "fa0"},
    stack_alignment=16,
    link_register="ra",
    floats_spill_to_integers=True,
    variadic=VariadicRule.EXTRAS_AS_INTEGERS,
    pair_alignment=PairAlignment.VARIADIC,
    pair_split=True,
    sign_extends_words=True,
    start_register="a0",
    frame_pointer="fp",
    preserved_floats=tuple(f"f{n}" for n in range(24, 32)),
    hwcap=HWCAP,
    ifunc_prototype="void *(unsigned long)",
    ifunc_parameters=(HWCAP,),
)  # fmt: skip

VARIANTS = float_variants(LOONGARCH64, FloatAbi.SOFT, FloatAbi.SINGLE)
