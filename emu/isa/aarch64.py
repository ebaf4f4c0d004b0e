"""AArch64 (LP64), as Linux uses it.

Procedure Call Standard for the Arm 64-bit Architecture (AAPCS64, 2024Q3), section 6.8 "Parameter passing",
section 10.1.5 "Data types" and appendix B "Variable argument lists".

Peculiarities: `char` is unsigned, and so is `wchar_t`. A narrow argument is extended by the callee. Once an
argument is on the stack, no later one gets a register of that bank. `long double` is binary128 in a whole vector
register. `va_list` is a structure with two save areas whose offsets count up to zero; it is passed by reference,
being larger than 16 bytes. An ifunc resolver gets AT_HWCAP with bit 62 set, which announces a second argument
(glibc, sysdeps/aarch64/sys/ifunc.h).

Structures (6.8.2, stages B and C): homogeneous aggregates (5.9.5: one to four members of one floating-point or
short vector type) take a vector register each, or go to the stack together; others of up to 16 bytes take x
registers, from an even one if they are aligned to 16; larger ones are passed as the address of a copy. Results
(6.9) likewise, and in memory at x8.
"""

from __future__ import annotations

import struct

from emu.isa.arm_signals import AARCH64_SIGNALS
from emu.isa.convention import (
    BINARY128,
    Aggregates,
    CallingConvention,
    DataModel,
    PairAlignment,
    SaveArea,
    Statics,
    VaListStruct,
    VariadicRule,
    numbered,
)
from emu.isa.spec import (
    DwarfRegisters,
    FloatEnvironment,
    FrameTables,
    Gdb,
    Helpers,
    Ifunc,
    IfuncArgument,
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

#: FP ASIMD AES PMULL SHA1 SHA2 CRC32 ATOMICS (Linux, arch/arm64/include/uapi/asm/hwcap.h).
HWCAP = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8
IFUNC_ARG_HWCAP = 1 << 62

_SINGLES, _DOUBLES, _VECTORS = (numbered(prefix, 8) for prefix in "sdv")

AARCH64 = Isa(
    name="aarch64",
    triples=("aarch64-linux-gnu", "aarch64-linux-gnu"),
    convention=CallingConvention(
        arch="aarch64",
        document="AAPCS64 2024Q3, section 6.8",
        float_abi=FloatAbi.HARD,
        data=DataModel(
            pointer_size=8,
            char_signed=False,
            wchar_signed=False,
            long_double=BINARY128,
            long_double_size=16,
            time_size=8,
            maximum_alignment=16,
            vector_alignment=16,
            unnamed_fields_align=True,
            has_float16=True,
            has_float128=True,
            extended_float_t=False,
        ),
        integer_arguments=numbered("x", 8),
        integer_results=("x0", "x1"),
        float_arguments={2: _SINGLES, 4: _SINGLES, 8: _DOUBLES, 16: _VECTORS},
        float_results={2: _SINGLES[:4], 4: _SINGLES[:4], 8: _DOUBLES[:4], 16: _VECTORS[:4]},
        vector_arguments={8: _DOUBLES, 16: _VECTORS},
        vector_results={8: _DOUBLES[:4], 16: _VECTORS[:4]},
        integer_vectors=frozenset({32, 64}),
        aggregates=Aggregates.HOMOGENEOUS,
        aggregate_limit=16,
        result_limit=16,
        complex_result_limit=16,
        result_pointer="x8",
        pops_result_pointer=False,
        argument_alignment=16,
        vectors_in_aggregates=True,
        odd_aggregates=True,
        natural_alignment=True,
        x87=None,
        preserved_integers=numbered("x", 11, 19),
        preserved_floats=numbered("d", 8, 8),
        link_register="x30",
        stack_alignment=16,
        red_zone=0,
        float_backfill=False,
        floats_spill_to_integers=False,
        float_boxed=False,
        variadic=VariadicRule.SAME,
        vector_count_register=None,
        va_list=VaListStruct(
            overflow_at=0,
            integers=SaveArea(offset_at=24, base_at=8, limit=0, step=8),
            floats=SaveArea(offset_at=28, base_at=16, limit=0, step=16),
        ),
        pair_alignment=PairAlignment.ALWAYS,
        pair_split=False,
        registers_reopen=False,
        statics=Statics.SAME,
        sign_extends_words=False,
    ),
    variants=(),
    instruction_sets=(
        InstructionSet(
            # DWARF for the Arm 64-bit Architecture, section 4.1.
            dwarf=DwarfRegisters(
                names=(*numbered("x", 31), "sp"),
                sp=31,
                fp=29,
                link=30,
                word=8,
                frame_records=((0, 8),),
                code_bits=0,
                arguments={
                    **dwarf_numbers(numbered("x", 9), 0),
                    **dwarf_numbers(_SINGLES, 64),
                    **dwarf_numbers(_DOUBLES, 64),
                    **dwarf_numbers(_VECTORS, 64),
                },
            ),
            capstone=("ARM64", ("ARM",)),
            keystone=("ARM64", "LITTLE_ENDIAN"),
            shortest=4,
            system_call=4,
        ),
    ),
    return_instruction=bytes.fromhex("c0035fd6"),  # ret
    unwinding=Unwinding(tables=FrameTables.DWARF, data_base=False, reads_code=False, entry=None),
    start=ProgramStart(
        hwcap=HWCAP,
        hwcap2=0,
        exit_function="x0",
        global_pointer=None,
        ifunc=Ifunc(
            prototype="void *(unsigned long, void *)",
            parameters=(HWCAP | IFUNC_ARG_HWCAP, IfuncArgument.BLOCK),
            block=struct.pack("<3Q", 24, HWCAP, 0),  # __ifunc_arg_t: its size, AT_HWCAP, AT_HWCAP2
        ),
    ),
    kernel=KernelAbi(
        machine="aarch64",
        number="x8",
        arguments=numbered("x", 6),
        result="x0",
        table=SyscallTable.GENERIC_64,
        own_calls={},
        absent_calls=frozenset(),
        pairs_aligned=False,
        sigaction_restorer=True,
        user_page=None,
        vsyscalls={},
        signals=AARCH64_SIGNALS,
    ),
    libc=LibcAbi(
        sonames=("ld-linux-aarch64.so.1", "libc.musl-aarch64.so.1"),
        stat={"": GENERIC, "64": GENERIC},
        directory_flag=0o40000,
        ilogb_minimum=False,
        tls_get_addr_register=None,
        helpers=frozenset({Helpers.OUTLINE_ATOMICS}),
        compiled="aarch64",
        allocation=("x0", "x16"),
        float_environment=FloatEnvironment(
            rounding=(("fpcr", 0),),
            modes=(0x000000, 0xC00000, 0x400000, 0x800000),
            rounding_mask=0xC00000,
            flags=("fpsr",),
            flags_mask=0x1F,
            flag_bits=(1, 2, 4, 8, 16),
            registers=(
                "fpcr",
                "fpsr",
            ),
        ),
    ),
    tcb=Tcb(self_pointers=(), stack_guard=None),
    gdb=Gdb(
        "aarch64",
        {
            "org.gnu.gdb.aarch64.core": (
                *gdb_registers(numbered("x", 31), 64),
                *gdb_registers("sp", 64, "data_ptr"),
                *gdb_registers("pc", 64, "code_ptr"),
                *gdb_registers("cpsr", 32, cpu="pstate"),
            ),
            "org.gnu.gdb.aarch64.fpu": (
                *gdb_registers(numbered("v", 32), 128, "uint128"),
                *gdb_registers("fpsr fpcr", 32),
            ),
        },
    ),
)
