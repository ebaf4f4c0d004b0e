"""x86-64, System V (LP64).

System V Application Binary Interface, AMD64 Architecture Processor Supplement, version 1.0, section 3.2
"Function Calling Sequence" and 3.5.7 "Variable Argument Lists".

What is odd: the return address is pushed, so sp is 8 below a multiple of 16 at a function's first
instruction. A variadic call tells in al how many vector registers it used, because the callee saves them
only then. An argument that does not fit the registers left does not close them for later ones. `long
double` is the 80-bit x87 format, goes through memory and comes back on the x87 stack. 128 bytes below sp
belong to the function running there. Bits of a register above a narrow argument are undefined by the text,
but compilers rely on extension to 32 bits.
"""

from __future__ import annotations

from emu.isa.spec import (
    X87,
    CallingConvention,
    DataModel,
    SaveArea,
    VaListStruct,
    VariadicRule,
    X87Stack,
    numbered,
)

_XMM = numbered("xmm", 8)
#: CPUID.1:EDX, which is AT_HWCAP on x86 (Linux, arch/x86/include/asm/elf.h, ELF_HWCAP), of the emulated CPU.
HWCAP = 0x078B_FBFD

X86_64 = CallingConvention(
    arch="x86_64",
    document="AMD64 psABI 1.0, section 3.2",
    data=DataModel(
        pointer_size=8, char_signed=True, wchar_signed=True, long_double=X87, long_double_size=16, time_size=8
    ),
    integer_arguments=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
    integer_results=("rax", "rdx"),
    float_arguments={4: _XMM, 8: _XMM},
    float_results={4: "xmm0", 8: "xmm0"},
    stack_alignment=16,
    link_register=None,
    variadic=VariadicRule.SAME,
    vector_count_register="rax",
    registers_reopen=True,
    red_zone=128,
    va_list=VaListStruct(
        overflow_at=8,
        integers=SaveArea(offset_at=0, base_at=16, limit=48, step=8),
        floats=SaveArea(offset_at=4, base_at=16, limit=176, step=16),
    ),
    x87=X87Stack("st0", "fpsw", "fptag"),
    hwcap=HWCAP,
    start_register="rdx",
    frame_pointer="rbp",
)
