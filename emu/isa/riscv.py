"""RISC-V with double-precision registers: lp64d and ilp32d.

RISC-V ABIs Specification (riscv-elf-psabi-doc, version 1.0), chapter 2 "Procedure Calling Convention".

Peculiarities: a floating-point argument for which no fa register is left is passed like an integer, and so is
every one that matches an ellipsis. A pair of registers need not start at an even one, except for what matches
an ellipsis; it may be split between a7 and the stack. 32-bit integers are sign-extended in 64-bit registers,
unsigned ones too. A float in an fa register is NaN-boxed: all bits above it are ones. `char` is unsigned,
`wchar_t` is signed. 32-bit glibc has had a 64-bit `time_t` from its beginning. `long double` is binary128, on
ilp32d passed by reference. A resolver gets the 64-bit AT_HWCAP, `__riscv_hwprobe` (null, as under glibc before
2.40) and null.

Structures ("Hardware Floating-point Calling Convention"): flattened, those of one floating-point member, of
two, or of one and an integer take a register for each, while both banks have one. Others ("Integer Calling
Convention") of up to two words take a registers, from an even one only where they match an ellipsis; larger
ones, and results, are in memory.
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
from emu.isa.riscv_signals import signals
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

#: One bit a letter (Linux, arch/riscv/include/uapi/asm/hwcap.h).
HWCAP = sum(1 << ord(letter) - ord("A") for letter in "IMAFDC")

_FLOATS = numbered("fa", 8)


def _data(word: int) -> DataModel:
    return DataModel(
        pointer_size=word,
        char_signed=False,
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
    )


def _convention(arch: str, word: int) -> CallingConvention:
    return CallingConvention(
        arch=arch,
        document="RISC-V ABIs Specification 1.0, chapter 2",
        float_abi=FloatAbi.HARD,
        data=_data(word),
        integer_arguments=numbered("a", 8),
        integer_results=("a0", "a1"),
        float_arguments={2: _FLOATS, 4: _FLOATS, 8: _FLOATS},
        float_results={2: _FLOATS[:2], 4: _FLOATS[:2], 8: _FLOATS[:2]},
        vector_arguments={},
        vector_results={},
        integer_vectors=frozenset({2, 4, 8, 16}),
        aggregates=Aggregates.FLATTENED,
        aggregate_limit=2 * word,
        result_limit=2 * word,
        complex_result_limit=2 * word,
        result_pointer=None,
        pops_result_pointer=False,
        argument_alignment=16,
        vectors_in_aggregates=True,
        odd_aggregates=True,
        natural_alignment=False,
        x87=None,
        preserved_integers=numbered("s", 12),
        preserved_floats=("f8", "f9", *numbered("f", 10, 18)),
        link_register="ra",
        stack_alignment=16,
        red_zone=0,
        float_backfill=False,
        floats_spill_to_integers=True,
        float_boxed=True,
        variadic=VariadicRule.EXTRAS_AS_INTEGERS,
        vector_count_register=None,
        va_list=None,
        pair_alignment=PairAlignment.VARIADIC,
        pair_split=True,
        registers_reopen=False,
        statics=Statics.MORE_REGISTERS,
        sign_extends_words=True,
    )


def _kernel(arch: str, word: int, table: SyscallTable) -> KernelAbi:
    return KernelAbi(
        machine=arch,
        number="a7",
        arguments=numbered("a", 6),
        result="a0",
        table=table,
        # Linux, arch/riscv/kernel/sys_riscv.c; from 244 on, numbers of the generic table are the ISA's.
        own_calls={"riscv_hwprobe": 258, "riscv_flush_icache": 259},
        absent_calls=frozenset(),
        pairs_aligned=False,
        sigaction_restorer=False,
        user_page=None,
        vsyscalls={},
        signals=signals(word),
    )


def _instruction_set(word: int) -> InstructionSet:
    return InstructionSet(
        # RISC-V DWARF Specification, "DWARF Register Numbers".
        dwarf=DwarfRegisters(
            names=numbered("x", 32),
            sp=2,
            fp=8,
            link=1,
            word=word,
            frame_records=((-2 * word, -word),),
            code_bits=0,
            arguments={**dwarf_numbers(numbered("a", 8), 10), **dwarf_numbers(_FLOATS, 42)},
        ),
        capstone=("RISCV", (f"RISCV{8 * word}", "RISCVC")),
        keystone=None,
        shortest=2,
        system_call=4,
        names="emu.debug.riscv_names",
    )


#: The psABI's names of the floating-point registers, in the order of their numbers.
_GDB_FLOATS = (*numbered("ft", 8), "fs0", "fs1", *numbered("fa", 8), *numbered("fs", 10, 2), *numbered("ft", 4, 8))


def _gdb(word: int) -> Gdb:
    return Gdb(
        f"riscv:rv{8 * word}",
        {
            "org.gnu.gdb.riscv.cpu": (
                *gdb_registers("zero", 8 * word),
                *gdb_registers("ra", 8 * word, "code_ptr"),
                *gdb_registers("sp gp tp", 8 * word, "data_ptr"),
                *gdb_registers("t0 t1 t2 fp s1", 8 * word, cpu="t0 t1 t2 s0 s1"),
                *gdb_registers((*numbered("a", 8), *numbered("s", 10, 2), *numbered("t", 4, 3)), 8 * word),
                *gdb_registers("pc", 8 * word, "code_ptr"),
            ),
            "org.gnu.gdb.riscv.fpu": (
                *gdb_registers(_GDB_FLOATS, 64, "ieee_double", numbered("f", 32)),
                *gdb_registers("fflags frm", 32, cpu=None),
                *gdb_registers("fcsr", 32),
            ),
        },
    )


def _isa(arch: str, word: int, table: SyscallTable, sonames: tuple[str, ...]) -> Isa:
    convention = _convention(arch, word)
    return Isa(
        name=arch,
        triples=(f"{arch}-linux-gnu", f"{arch}-linux-gnu"),
        convention=convention,
        variants=float_variants(convention, FloatAbi.SOFT, FloatAbi.SINGLE),
        instruction_sets=(_instruction_set(word),),
        return_instruction=bytes.fromhex("67800000"),  # ret
        unwinding=Unwinding(tables=FrameTables.DWARF, data_base=False, reads_code=False, entry=None),
        start=ProgramStart(
            hwcap=HWCAP,
            hwcap2=0,
            exit_function="a0",
            global_pointer=("gp", "__global_pointer$"),
            ifunc=Ifunc("void *(unsigned long long, void *, void *)", (HWCAP, 0, 0), b""),
        ),
        kernel=_kernel(arch, word, table),
        libc=LibcAbi(
            sonames=sonames,
            stat={"": GENERIC, "64": GENERIC},
            directory_flag=0o200000,
            ilogb_minimum=False,
            tls_get_addr_register=None,
            helpers=frozenset(),
            compiled=f"riscv{8 * word}",
            allocation=("a0", "t1"),
            float_environment=FloatEnvironment(
                rounding=(("fcsr", 5),),
                modes=(0, 1, 3, 2),
                rounding_mask=7,
                flags=("fcsr",),
                flags_mask=0x1F,
                flag_bits=(16, 8, 4, 2, 1),
                registers=("fcsr",),
            ),
        ),
        tcb=Tcb(self_pointers=(), stack_guard=None),
        gdb=_gdb(word),
    )


RISCV64 = _isa(
    "riscv64",
    8,
    SyscallTable.GENERIC_64,
    ("ld-linux-riscv64-lp64d.so.1", "ld-linux-riscv64-lp64.so.1", "libc.musl-riscv64.so.1"),
)
RISCV32 = _isa(
    "riscv32",
    4,
    SyscallTable.GENERIC_32,
    ("ld-linux-riscv32-ilp32d.so.1", "ld-linux-riscv32-ilp32.so.1", "libc.musl-riscv32.so.1"),
)
