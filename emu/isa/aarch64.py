"""AArch64 (LP64), as Linux uses it.

Procedure Call Standard for the Arm 64-bit Architecture (AAPCS64, 2024Q3), section 6.8 "Parameter passing",
section 10.1.5 "Data types" and appendix B "Variable argument lists".

What is odd: `char` is unsigned, and so is `wchar_t`. Extending a narrow argument is the callee's business.
Once an argument has gone to the stack, no later one gets a register of that bank. `long double` is binary128
in a whole vector register. `va_list` is a structure with two save areas whose offsets count up to zero; it
is passed by reference, being larger than 16 bytes. A resolver gets AT_HWCAP with bit 62 set to say that a
second argument follows (glibc, sysdeps/aarch64/sys/ifunc.h).
"""

from __future__ import annotations

import struct

from emu.isa.spec import (
    BINARY128,
    CallingConvention,
    DataModel,
    IfuncArgument,
    PairAlignment,
    SaveArea,
    VaListStruct,
    numbered,
)

#: FP ASIMD AES PMULL SHA1 SHA2 CRC32 ATOMICS (Linux, arch/arm64/include/uapi/asm/hwcap.h).
HWCAP = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8
IFUNC_ARG_HWCAP = 1 << 62

AARCH64 = CallingConvention(
    arch="aarch64",
    document="AAPCS64 2024Q3, section 6.8",
    data=DataModel(
        pointer_size=8, char_signed=False, wchar_signed=False, long_double=BINARY128, long_double_size=16,
        time_size=8,
    ),
    integer_arguments=numbered("x", 8),
    integer_results=("x0", "x1"),
    float_arguments={4: numbered("s", 8), 8: numbered("d", 8), 16: numbered("v", 8)},
    float_results={4: "s0", 8: "d0", 16: "v0"},
    stack_alignment=16,
    link_register="x30",
    pair_alignment=PairAlignment.ALWAYS,
    va_list=VaListStruct(
        overflow_at=0,
        integers=SaveArea(offset_at=24, base_at=8, limit=0, step=8),
        floats=SaveArea(offset_at=28, base_at=16, limit=0, step=16),
    ),
    start_register="x0",
    frame_pointer="x29",
    preserved_floats=tuple(f"d{n}" for n in range(8, 16)),
    hwcap=HWCAP,
    ifunc_prototype="void *(unsigned long, void *)",
    ifunc_parameters=(HWCAP | IFUNC_ARG_HWCAP, IfuncArgument.BLOCK),
    ifunc_block=struct.pack("<3Q", 24, HWCAP, 0),  # __ifunc_arg_t: its size, AT_HWCAP, AT_HWCAP2
)  # fmt: skip
