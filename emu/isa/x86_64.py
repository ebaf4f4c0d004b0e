"""x86-64, System V (LP64).

System V Application Binary Interface, AMD64 Architecture Processor Supplement, version 1.0, section 3.2
"Function Calling Sequence" and 3.5.7 "Variable Argument Lists".

Peculiarities: the return address is pushed, so sp is 8 below a multiple of 16 at a function's first instruction. A
variadic call tells in al how many vector registers it used, because the callee saves them only then. After an
argument that does not fit the remaining registers, later arguments may still use them. `long double` is the 80-bit
x87 format, goes through memory and comes back on the x87 stack. A function may use 128 bytes below sp. The psABI
leaves the register bits above a narrow argument undefined, but compilers rely on extension to 32 bits.

Structures (3.2.3 "Parameter Passing"): every 8 bytes have a class, merged from those of the scalars in them:
INTEGER, SSE (with SSEUP: a vector of 16 bytes), X87 and X87UP, COMPLEX_X87, MEMORY. MEMORY are more than 16
bytes, unaligned members, and as arguments all of x87. A structure has registers for all its parts, or is on the
stack. A result of class MEMORY is stored at the address in rdi, which comes back in rax.
"""

from __future__ import annotations

from emu.isa.convention import (
    X87,
    Aggregates,
    CallingConvention,
    DataModel,
    PairAlignment,
    SaveArea,
    Statics,
    VaListStruct,
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
    SyscallTable,
    Tcb,
    Unwinding,
    dwarf_numbers,
    gdb_registers,
)
from emu.isa.struct_stat import GENERIC
from emu.isa.x86_signals import SIGNALS_64
from relink.arch import FloatAbi

_XMM = numbered("xmm", 8)
#: CPUID.1:EDX, which is AT_HWCAP on x86 (Linux, arch/x86/include/asm/elf.h, ELF_HWCAP), of the emulated CPU.
HWCAP = 0x078B_FBFD
STAT = GENERIC._replace(
    nlink=(16, 8), mode=(24, 4), uid=(28, 4), gid=(32, 4), rdev=(40, 8), blksize=(56, 8), bytes=144
)

#: The vsyscall page (Linux, arch/x86/entry/vsyscall/vsyscall_64.c), which old statically linked programs call.
VSYSCALLS = {
    0xFFFF_FFFF_FF60_0000: "gettimeofday",
    0xFFFF_FFFF_FF60_0400: "time",
    0xFFFF_FFFF_FF60_0800: "getcpu",
}

X86_64 = Isa(
    name="x86_64",
    triples=("x86_64-linux-gnu", "x86_64-linux-gnu"),
    convention=CallingConvention(
        arch="x86_64",
        document="AMD64 psABI 1.0, section 3.2",
        float_abi=FloatAbi.HARD,
        data=DataModel(
            pointer_size=8,
            char_signed=True,
            wchar_signed=True,
            long_double=X87,
            long_double_size=16,
            time_size=8,
            maximum_alignment=16,
            vector_alignment=64,
            unnamed_fields_align=False,
            has_float16=True,
            has_float128=True,
            extended_float_t=False,
        ),
        integer_arguments=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
        integer_results=("rax", "rdx"),
        float_arguments={2: _XMM, 4: _XMM, 8: _XMM},
        float_results={2: _XMM[:2], 4: _XMM[:2], 8: _XMM[:2]},
        vector_arguments={8: _XMM, 16: _XMM},
        vector_results={8: _XMM[:2], 16: _XMM[:2]},
        integer_vectors=frozenset(),
        aggregates=Aggregates.EIGHTBYTES,
        aggregate_limit=None,
        result_limit=16,
        complex_result_limit=16,
        result_pointer=None,
        pops_result_pointer=False,
        argument_alignment=64,
        vectors_in_aggregates=True,
        odd_aggregates=True,
        natural_alignment=False,
        x87=X87Stack("st0", "fpsw", "fptag"),
        preserved_integers=("rbx", "rbp", "r12", "r13", "r14", "r15"),
        preserved_floats=(),
        link_register=None,
        stack_alignment=16,
        red_zone=128,
        float_backfill=False,
        floats_spill_to_integers=False,
        float_boxed=False,
        variadic=VariadicRule.SAME,
        vector_count_register="rax",
        va_list=VaListStruct(
            overflow_at=8,
            integers=SaveArea(offset_at=0, base_at=16, limit=48, step=8),
            floats=SaveArea(offset_at=4, base_at=16, limit=176, step=16),
        ),
        pair_alignment=PairAlignment.NEVER,
        pair_split=False,
        registers_reopen=True,
        statics=Statics.SAME,
        sign_extends_words=False,
    ),
    variants=(),
    instruction_sets=(
        InstructionSet(
            # AMD64 psABI, table 3.36 "DWARF Register Number Mapping".
            dwarf=DwarfRegisters(
                names=("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *numbered("r", 8, 8), "pc"),
                sp=7,
                fp=6,
                link=None,
                word=8,
                frame_records=((0, 8),),
                code_bits=0,
                arguments={
                    **dwarf_numbers(("rax", "rdx", "rcx", "rbx", "rsi", "rdi"), 0),
                    **dwarf_numbers(("r8", "r9"), 8),
                    **dwarf_numbers(_XMM, 17),
                },
            ),
            capstone=("X86", ("64",)),
            keystone=("X86", "64"),
            shortest=1,
            system_call=2,
        ),
    ),
    return_instruction=b"\xc3",
    unwinding=Unwinding(tables=FrameTables.DWARF, data_base=False, reads_code=False, entry=None),
    start=ProgramStart(
        hwcap=HWCAP,
        hwcap2=0,
        exit_function="rdx",
        global_pointer=None,
        ifunc=Ifunc("void *(void)", (), b""),
    ),
    kernel=KernelAbi(
        machine="x86_64",
        number="rax",
        arguments=("rdi", "rsi", "rdx", "r10", "r8", "r9"),
        result="rax",
        table=SyscallTable.X86_64,
        own_calls={},
        absent_calls=frozenset(),
        pairs_aligned=False,
        sigaction_restorer=True,
        user_page=None,
        vsyscalls=VSYSCALLS,
        signals=SIGNALS_64,
    ),
    libc=LibcAbi(
        sonames=("ld-linux-x86-64.so.2", "libc.musl-x86_64.so.1"),
        stat={"": STAT, "64": STAT},
        directory_flag=0o200000,
        nan_is_negative=True,
        ilogb_minimum=True,
        tls_get_addr_register=None,
        helpers=frozenset({Helpers.FLOAT128}),
        compiled="x86_64",
        allocation=("rdi", "rax"),
        float_environment=FloatEnvironment(
            rounding=(("fpcw", 0), ("mxcsr", 3)),
            modes=(0x000, 0xC00, 0x800, 0x400),
            rounding_mask=0xC00,
            flags=("mxcsr", "fpsw"),  # MXCSR first: it brings both up to date
            flags_mask=0x3D,
            flag_bits=(1, 4, 8, 16, 32),
            registers=("fpcw", "fpsw", "mxcsr"),
        ),
    ),
    # The head of glibc's tcbhead_t (sysdeps/x86_64/nptl/tls.h).
    tcb=Tcb(self_pointers=(0x0, 0x10), stack_guard=0x28),
    gdb=Gdb(
        "i386:x86-64",
        {
            "org.gnu.gdb.i386.core": (
                *gdb_registers("rax rbx rcx rdx rsi rdi", 64),
                *gdb_registers("rbp rsp", 64, "data_ptr"),
                *gdb_registers(numbered("r", 8, 8), 64),
                *gdb_registers("rip", 64, "code_ptr", "pc"),
                *gdb_registers("eflags", 32, cpu="rflags"),
                *gdb_registers("cs ss ds es fs gs", 32, cpu=None),
                *gdb_registers(numbered("st", 8), 80, "i387_ext"),
                *gdb_registers("fctrl fstat ftag", 32, cpu="fpcw fpsw fptag"),
                *gdb_registers("fiseg fioff foseg fooff fop", 32, cpu=None),
            ),
            "org.gnu.gdb.i386.sse": (
                *gdb_registers(numbered("xmm", 16), 128, "uint128"),
                *gdb_registers("mxcsr", 32),
            ),
            "org.gnu.gdb.i386.linux": gdb_registers("orig_rax", 64, cpu=None),
            "org.gnu.gdb.i386.segments": gdb_registers("fs_base gs_base", 64, cpu=("fs_base", "gs_base")),
        },
    ),
)
