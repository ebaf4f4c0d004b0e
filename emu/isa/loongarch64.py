"""LoongArch64 with double-precision registers (lp64d).

Procedure Call Standard for the LoongArch Architecture (lapcs, release 2.40).

Peculiarities: nearly everything is as on RISC-V (floating-point arguments spill to integer registers, those that
match an ellipsis always go there, 32-bit integers are sign-extended, unsigned ones too), but a float is not
NaN-boxed and `char` is signed. `long double` is binary128 in two integer registers.

Structures: those of one floating-point member, of two, or of one and an integer take a register for each, while
both banks have one; others of up to 16 bytes take a registers, from an even one if they are aligned to 16 and
match an ellipsis; larger ones are passed by reference.
"""

from __future__ import annotations

from emu.isa.convention import (
    BINARY128,
    Aggregates,
    CallingConvention,
    DataModel,
    PairAlignment,
    Statics,
    VariadicRule,
    float_variants,
    numbered,
)
from emu.isa.loongarch64_signals import SIGNALS
from emu.isa.spec import (
    DwarfRegisters,
    FloatEnvironment,
    FrameTables,
    Gdb,
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
from relink.arch import FloatAbi

#: CPUCFG LAM UAL FPU LSX (Linux, arch/loongarch/include/uapi/asm/hwcap.h).
HWCAP = 0b1_1111

_FLOATS = numbered("fa", 8)

_CONVENTION = CallingConvention(
    arch="loongarch64",
    document="LoongArch procedure call standard 2.40",
    float_abi=FloatAbi.HARD,
    data=DataModel(
        pointer_size=8,
        char_signed=True,
        wchar_signed=True,
        long_double=BINARY128,
        long_double_size=16,
        time_size=8,
        maximum_alignment=16,
        vector_alignment=64,
        unnamed_fields_align=False,
        has_float16=True,
        has_float128=True,
        extended_float_t=False,
    ),
    integer_arguments=numbered("a", 8),
    integer_results=("a0", "a1"),
    float_arguments={2: _FLOATS, 4: _FLOATS, 8: _FLOATS},
    float_results={2: _FLOATS[:2], 4: _FLOATS[:2], 8: _FLOATS[:2]},
    vector_arguments={},
    vector_results={},
    integer_vectors=frozenset({8, 16}),
    aggregates=Aggregates.FLATTENED,
    aggregate_limit=16,
    result_limit=16,
    complex_result_limit=16,
    result_pointer=None,
    pops_result_pointer=False,
    argument_alignment=16,
    vectors_in_aggregates=True,
    odd_aggregates=True,
    natural_alignment=False,
    x87=None,
    preserved_integers=("r21", "fp", *numbered("s", 9)),
    preserved_floats=numbered("f", 8, 24),
    link_register="ra",
    stack_alignment=16,
    red_zone=0,
    float_backfill=False,
    floats_spill_to_integers=True,
    float_boxed=False,
    variadic=VariadicRule.EXTRAS_AS_INTEGERS,
    vector_count_register=None,
    va_list=None,
    pair_alignment=PairAlignment.VARIADIC,
    pair_split=True,
    registers_reopen=False,
    statics=Statics.SAME,
    sign_extends_words=True,
)

LOONGARCH64 = Isa(
    name="loongarch64",
    triples=("loongarch64-linux-gnu", "loongarch64-linux-gnu"),
    convention=_CONVENTION,
    variants=float_variants(_CONVENTION, FloatAbi.SOFT, FloatAbi.SINGLE),
    instruction_sets=(
        InstructionSet(
            dwarf=DwarfRegisters(
                names=numbered("r", 32),
                sp=3,
                fp=22,
                link=1,
                word=8,
                frame_records=((-16, -8),),
                code_bits=0,
                arguments={**dwarf_numbers(numbered("a", 8), 4), **dwarf_numbers(_FLOATS, 32)},
            ),
            capstone=None,
            keystone=None,
            shortest=4,
            system_call=4,
            names="emu.cpu.loongarch64.names",
        ),
    ),
    return_instruction=bytes.fromhex("2000004c"),  # jr $ra
    unwinding=Unwinding(tables=FrameTables.DWARF, data_base=False, reads_code=False, entry=None),
    start=ProgramStart(
        hwcap=HWCAP,
        hwcap2=0,
        exit_function="a0",
        global_pointer=None,
        ifunc=Ifunc("void *(unsigned long)", (HWCAP,), b""),
    ),
    kernel=KernelAbi(
        machine="loongarch64",
        number="a7",
        arguments=numbered("a", 6),
        result="a0",
        table=SyscallTable.GENERIC_64,
        own_calls={},
        absent_calls=frozenset({"getrlimit"}),  # the port is younger than prlimit64
        pairs_aligned=False,
        sigaction_restorer=False,
        user_page=None,
        vsyscalls={},
        signals=SIGNALS,
    ),
    libc=LibcAbi(
        sonames=("ld-linux-loongarch-lp64d.so.1", "ld-linux-loongarch-lp64s.so.1", "libc.musl-loongarch64.so.1"),
        stat={"": GENERIC, "64": GENERIC},
        directory_flag=0o200000,
        ilogb_minimum=False,
        tls_get_addr_register=None,
        helpers=frozenset(),
        compiled="loongarch64",
        allocation=("a0", "t0"),
        float_environment=FloatEnvironment(
            rounding=(("fcsr", 0),),
            modes=(0x000, 0x100, 0x200, 0x300),
            rounding_mask=0x300,
            flags=("fcsr",),
            flags_mask=0x1F0000,
            flag_bits=(0x100000, 0x80000, 0x40000, 0x20000, 0x10000),
            registers=("fcsr",),
        ),
    ),
    tcb=Tcb(self_pointers=(), stack_guard=None),
    gdb=Gdb(
        "loongarch64",
        {
            "org.gnu.gdb.loongarch.base": (
                *gdb_registers(numbered("r", 32), 64, "uint64"),
                *gdb_registers("orig_a0", 64, "uint64", None),
                *gdb_registers("pc", 64, "code_ptr"),
                *gdb_registers("badv", 64, "code_ptr", None),
            ),
            "org.gnu.gdb.loongarch.fpu": (
                *gdb_registers(numbered("f", 32), 64, "ieee_double"),
                *gdb_registers(numbered("fcc", 8), 8, "uint8"),
                *gdb_registers("fcsr", 32, "uint32"),
            ),
        },
    ),
)
