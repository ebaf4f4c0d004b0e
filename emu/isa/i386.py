"""i386, System V (ILP32).

System V Application Binary Interface, Intel386 Architecture Processor Supplement, version 1.1, section 2.2
"Function Calling Sequence".

What is odd: everything is passed on the stack, in words of 4 bytes, and no basic type is aligned to more
than that, not even a 64-bit integer or a double. The stack is 16-byte aligned at the call all the same. A
floating-point result of any width is pushed on the x87 stack, and the caller must pop it: forgotten eight
times, the stack overflows. 64-bit integers come back in edx:eax.
"""

from __future__ import annotations

from emu.isa.spec import X87, CallingConvention, DataModel, X87Stack
from emu.isa.x86_64 import HWCAP

I386 = CallingConvention(
    arch="i386",
    document="Intel386 psABI 1.1, section 2.2",
    data=DataModel(
        pointer_size=4, char_signed=True, wchar_signed=True, long_double=X87, long_double_size=12,
        time_size=4, maximum_alignment=4,
    ),
    integer_arguments=(),
    integer_results=("eax", "edx"),
    float_arguments={},
    float_results={},
    stack_alignment=16,
    link_register=None,
    x87=X87Stack("st0", "fpsw", "fptag"),
    hwcap=HWCAP,
    start_register="edx",
    frame_pointer="ebp",
)  # fmt: skip
