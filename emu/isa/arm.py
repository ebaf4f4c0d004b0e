"""Arm, hard-float (armhf), A32 and Thumb alike.

Procedure Call Standard for the Arm Architecture (AAPCS32, 2024Q3), section 6.5 "Parameter passing" and 7.1
"The standard variants" (VFP).

What is odd: s0…s15 are the halves of d0…d7, and a float takes the lowest single register that is still
free, behind a double already placed (back-filling), until the first value goes to the stack. A variadic
function knows no floating-point registers at all: its named arguments and its result too go by the base
standard, in r0…r3. Values of 8 bytes start at an even register and an 8-aligned stack address, and are never
split. `char` and `wchar_t` are unsigned; `long double` is a double. `va_list` is a structure of one pointer,
which is passed just like the pointer. The return address carries the Thumb bit of the caller.
"""

from __future__ import annotations

from emu.isa.spec import (
    BINARY64,
    CallingConvention,
    DataModel,
    PairAlignment,
    VariadicRule,
    float_variants,
    numbered,
)
from relink.arch import FloatAbi

#: HALF THUMB FAST_MULT VFP EDSP NEON VFPv3 TLS VFPv4 IDIVA IDIVT VFPD32 (Linux,
#: arch/arm/include/uapi/asm/hwcap.h).
HWCAP = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 15 | 0xF << 16

ARM = CallingConvention(
    arch="arm",
    document="AAPCS32 2024Q3, sections 6.5 and 7.1",
    data=DataModel(
        pointer_size=4, char_signed=False, wchar_signed=False, long_double=BINARY64, long_double_size=8,
        time_size=4, maximum_alignment=8,
    ),
    integer_arguments=("r0", "r1", "r2", "r3"),
    integer_results=("r0", "r1"),
    float_arguments={4: numbered("s", 16), 8: numbered("d", 8)},
    float_results={4: "s0", 8: "d0"},
    stack_alignment=8,
    link_register="lr",
    float_backfill=True,
    variadic=VariadicRule.ALL_AS_INTEGERS,
    pair_alignment=PairAlignment.ALWAYS,
    start_register="r0",
    frame_pointer="r11",
    preserved_floats=tuple(f"d{n}" for n in range(8, 16)),
    hwcap=HWCAP,
    ifunc_prototype="void *(unsigned long)",
    ifunc_parameters=(HWCAP,),
)  # fmt: skip

VARIANTS = float_variants(ARM, FloatAbi.SOFT)
