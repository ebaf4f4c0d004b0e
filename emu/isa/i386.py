"""i386, System V (ILP32).

System V Application Binary Interface, Intel386 Architecture Processor Supplement, version 1.1, section 2.2
"Function Calling Sequence".

Peculiarities: everything is passed on the stack in words of 4 bytes, and no basic type has a larger alignment, not
even a 64-bit integer or a double. The stack is nevertheless 16-byte aligned at the call. A floating-point result
of any width is pushed on the x87 stack, and the caller must pop it: without that the stack overflows after eight
calls. 64-bit integers come back in edx:eax.

Structures (2.2): all have class MEMORY, arguments are copied to the stack; a result is stored at the address in
the first stacked word, which the callee pops and returns in eax. `_Complex float` comes back in edx:eax, as by
GCC and clang.
"""

from __future__ import annotations

from emu.isa.convention import (
    X87,
    Aggregates,
    CallingConvention,
    DataModel,
    PairAlignment,
    Statics,
    VariadicRule,
    X87Stack,
    numbered,
)
from emu.isa.spec import (
    DwarfRegisters,
    FloatEnvironment,
    FrameTables,
    Gdb,
    Helpers,
    Ifunc,
    InstructionSet,
    Isa,
    KernelAbi,
    LibcAbi,
    ProgramStart,
    StackEntry,
    SyscallTable,
    Tcb,
    Unwinding,
    dwarf_numbers,
    gdb_registers,
)
from emu.isa.struct_stat import OLD_32, time64
from emu.isa.x86_64 import HWCAP
from emu.isa.x86_signals import SIGNALS_32
from relink.arch import FloatAbi

STAT64 = OLD_32._replace(ino=(88, 8), size=(44, 8), blksize=(52, 4), blocks=(56, 8), times=(64, 4), bytes=96)

I386 = Isa(
    name="i386",
    triples=("i686-linux-gnu", "x86-linux-gnu"),
    convention=CallingConvention(
        arch="i386",
        document="Intel386 psABI 1.1, section 2.2",
        float_abi=FloatAbi.HARD,
        data=DataModel(
            pointer_size=4,
            char_signed=True,
            wchar_signed=True,
            long_double=X87,
            long_double_size=12,
            time_size=4,
            maximum_alignment=4,
            vector_alignment=64,
            unnamed_fields_align=False,
            has_float16=True,
            has_float128=True,
            extended_float_t=True,
        ),
        integer_arguments=(),
        integer_results=("eax", "edx"),
        float_arguments={},
        float_results={2: ("xmm0",)},
        vector_arguments={16: numbered("xmm", 3)},
        vector_results={16: ("xmm0",)},
        integer_vectors=frozenset(),
        aggregates=Aggregates.STACK,
        aggregate_limit=None,
        result_limit=0,
        complex_result_limit=8,
        result_pointer=None,
        pops_result_pointer=True,
        argument_alignment=4,
        vectors_in_aggregates=False,
        odd_aggregates=True,
        natural_alignment=False,
        x87=X87Stack("st0", "fpsw", "fptag"),
        preserved_integers=("ebx", "esi", "edi", "ebp"),
        preserved_floats=(),
        link_register=None,
        stack_alignment=16,
        red_zone=0,
        float_backfill=False,
        floats_spill_to_integers=False,
        float_boxed=False,
        variadic=VariadicRule.ARGUMENTS_AS_INTEGERS,
        vector_count_register=None,
        va_list=None,
        pair_alignment=PairAlignment.NEVER,
        pair_split=False,
        registers_reopen=False,
        statics=Statics.OWN,
        sign_extends_words=False,
    ),
    variants=(),
    instruction_sets=(
        InstructionSet(
            # Intel386 psABI, table 2.14 "DWARF Register Number Mapping".
            dwarf=DwarfRegisters(
                names=("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "pc"),
                sp=4,
                fp=5,
                link=None,
                word=4,
                frame_records=((0, 4),),
                code_bits=0,
                arguments={
                    **dwarf_numbers(("eax", "ecx", "edx"), 0),
                    **dwarf_numbers(numbered("xmm", 8), 21),
                },
            ),
            capstone=("X86", ("32",)),
            keystone=("X86", "32"),
            shortest=1,
            system_call=2,
        ),
    ),
    return_instruction=b"\xc3",
    unwinding=Unwinding(
        tables=FrameTables.DWARF,
        data_base=True,
        reads_code=True,
        entry=StackEntry(bytes.fromhex("83ec0850e8"), "eax", stack=16),  # sub esp, 8; push eax; call
    ),
    start=ProgramStart(
        hwcap=HWCAP,
        hwcap2=0,
        exit_function="edx",
        global_pointer=None,
        ifunc=Ifunc("void *(void)", (), b""),
    ),
    kernel=KernelAbi(
        machine="i686",
        number="eax",
        arguments=("ebx", "ecx", "edx", "esi", "edi", "ebp"),
        result="eax",
        table=SyscallTable.I386,
        own_calls={},
        absent_calls=frozenset(),
        pairs_aligned=False,
        sigaction_restorer=True,
        user_page=None,
        vsyscalls={},
        signals=SIGNALS_32,
    ),
    libc=LibcAbi(
        sonames=("ld-linux.so.2", "libc.musl-x86.so.1"),
        stat={"": OLD_32, "64": STAT64, "64_time64": time64(alignment=4)},
        directory_flag=0o200000,
        nan_is_negative=True,
        ilogb_minimum=True,
        tls_get_addr_register="eax",
        helpers=frozenset({Helpers.FLOAT128}),
        compiled="i386",
        allocation=("ecx", "eax"),
        # SSE and SSE2: EDX of CPUID's leaf 1 (Intel SDM, volume 2), as glibc 2.36 to 2.41 keep what is usable.
        # Without SSE the <fenv.h> of libm leaves MXCSR as it is.
        processor_data=((0x78, 1 << 25 | 1 << 26),),
        float_environment=FloatEnvironment(
            rounding=(("mxcsr", 3), ("fpcw", 0)),  # read from the x87, as by glibc
            modes=(0x000, 0xC00, 0x800, 0x400),
            rounding_mask=0xC00,
            flags=("mxcsr", "fpsw"),  # MXCSR first: it brings both up to date
            flags_mask=0x3D,
            flag_bits=(1, 4, 8, 16, 32),
            registers=("fpcw", "fpsw", "mxcsr"),
        ),
    ),
    # The head of glibc's tcbhead_t (sysdeps/i386/nptl/tls.h).
    tcb=Tcb(self_pointers=(0x0, 0x8), stack_guard=0x14),
    gdb=Gdb(
        "i386",
        {
            "org.gnu.gdb.i386.core": (
                *gdb_registers("eax ecx edx ebx", 32),
                *gdb_registers("esp ebp", 32, "data_ptr"),
                *gdb_registers("esi edi", 32),
                *gdb_registers("eip", 32, "code_ptr", "pc"),
                *gdb_registers("eflags", 32),
                *gdb_registers("cs ss ds es fs gs", 32, cpu=None),
                *gdb_registers(numbered("st", 8), 80, "i387_ext"),
                *gdb_registers("fctrl fstat ftag", 32, cpu="fpcw fpsw fptag"),
                *gdb_registers("fiseg fioff foseg fooff fop", 32, cpu=None),
            ),
            "org.gnu.gdb.i386.sse": (
                *gdb_registers(numbered("xmm", 8), 128, "uint128"),
                *gdb_registers("mxcsr", 32),
            ),
            "org.gnu.gdb.i386.linux": gdb_registers("orig_eax", 32, cpu=None),
        },
    ),
)
