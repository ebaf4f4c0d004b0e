"""Arm, hard-float (armhf), A32 and Thumb.

Procedure Call Standard for the Arm Architecture (AAPCS32, 2024Q3), section 6.5 "Parameter passing" and 7.1
"The standard variants" (VFP).

Peculiarities: s0…s15 are the halves of d0…d7, and a float takes the lowest single register that is still free,
behind a double already placed (back-filling), until the first value is on the stack. A variadic function uses no
floating-point registers: its named arguments and its result too are passed by the base standard, in r0…r3. Values
of 8 bytes start at an even register and an 8-aligned stack address, and are never split. `char` and `wchar_t` are
unsigned; `long double` is a double. `va_list` is a structure of one pointer, which is passed just like the
pointer. The return address carries the Thumb bit of the caller.

Structures: co-processor register candidates (7.1: homogeneous aggregates of one to four floats, doubles or
vectors of 8 or 16 bytes) take VFP registers; all others (6.5, stages B and C) are words in r0...r3 and on the
stack, split between them only if nothing is stacked yet. A result of up to 4 bytes is in r0, a larger one in
memory at the address in r0.
"""

from __future__ import annotations

from emu.isa import arm_kernel_page
from emu.isa.arm_signals import ARM_SIGNALS
from emu.isa.convention import (
    BINARY64,
    Aggregates,
    CallingConvention,
    DataModel,
    PairAlignment,
    Statics,
    VariadicRule,
    float_variants,
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
from emu.isa.struct_stat import GENERIC, OLD_32, time64
from relink.arch import FloatAbi
from relink.records import replace

#: HALF THUMB FAST_MULT VFP EDSP NEON VFPv3 TLS VFPv4 IDIVA IDIVT VFPD32 (Linux,
#: arch/arm/include/uapi/asm/hwcap.h).
HWCAP = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 12 | 1 << 13 | 1 << 15 | 0xF << 16

STAT64 = GENERIC._replace(ino=(96, 8), times=(72, 4), bytes=104)

_SINGLES, _DOUBLES = numbered("s", 16), numbered("d", 8)
_QUADS = ("d0:d1", "d2:d3", "d4:d5", "d6:d7")

#: DWARF for the Arm Architecture, section 4.1. Frame records are clang's {fp, lr}, then GCC's, which leaves fp at
#: the upper word. clang gives single registers as halves of double ones, GCC double ones as pairs of single ones.
_DWARF = DwarfRegisters(
    names=numbered("r", 16),
    sp=13,
    fp=11,
    link=14,
    word=4,
    frame_records=((0, 4), (-4, 0)),
    code_bits=1,
    arguments={
        **dwarf_numbers(numbered("r", 4), 0),
        **{name: (64 + number, 256 + number // 2) for number, name in enumerate(_SINGLES)},
        **{name: (256 + number, 64 + 2 * number, 65 + 2 * number) for number, name in enumerate(_DOUBLES)},
    },
)

_CONVENTION = CallingConvention(
    arch="arm",
    document="AAPCS32 2024Q3, sections 6.5 and 7.1",
    float_abi=FloatAbi.HARD,
    data=DataModel(
        pointer_size=4,
        char_signed=False,
        wchar_signed=False,
        long_double=BINARY64,
        long_double_size=8,
        time_size=4,
        maximum_alignment=8,
        vector_alignment=8,
        unnamed_fields_align=True,
        has_float16=True,
        has_float128=False,
        extended_float_t=False,
    ),
    integer_arguments=("r0", "r1", "r2", "r3"),
    integer_results=("r0", "r1", "r2", "r3"),
    float_arguments={2: _SINGLES, 4: _SINGLES, 8: _DOUBLES},
    float_results={2: _SINGLES[:4], 4: _SINGLES[:4], 8: _DOUBLES[:4]},
    vector_arguments={8: _DOUBLES, 16: _QUADS},
    vector_results={8: _DOUBLES[:4], 16: _QUADS},
    integer_vectors=frozenset(),
    aggregates=Aggregates.HOMOGENEOUS,
    aggregate_limit=None,
    result_limit=4,
    complex_result_limit=4,
    result_pointer=None,
    pops_result_pointer=False,
    argument_alignment=8,
    vectors_in_aggregates=True,
    odd_aggregates=False,
    natural_alignment=True,
    x87=None,
    preserved_integers=numbered("r", 8, 4),
    preserved_floats=numbered("d", 8, 8),
    link_register="lr",
    stack_alignment=8,
    red_zone=0,
    float_backfill=True,
    floats_spill_to_integers=False,
    float_boxed=False,
    variadic=VariadicRule.ALL_AS_INTEGERS,
    vector_count_register=None,
    va_list=None,
    pair_alignment=PairAlignment.ALWAYS,
    pair_split=True,
    registers_reopen=False,
    statics=Statics.SAME,
    sign_extends_words=False,
)

ARM = Isa(
    name="arm",
    triples=("arm-linux-gnueabihf", "arm-linux-gnueabihf"),
    convention=_CONVENTION,
    # clang passes floats in VFP registers, if there are any, where nobody else calls (fastcc).
    variants=float_variants(replace(_CONVENTION, statics=Statics.OWN), FloatAbi.SOFT),
    instruction_sets=(
        InstructionSet(_DWARF, capstone=("ARM", ("ARM",)), keystone=("ARM", "ARM"), shortest=4, system_call=4),
        InstructionSet(
            replace(_DWARF, fp=7),
            capstone=("ARM", ("THUMB",)),
            keystone=("ARM", "THUMB"),
            shortest=2,
            system_call=2,
        ),
    ),
    return_instruction=bytes.fromhex("1eff2fe1"),  # bx lr
    unwinding=Unwinding(tables=FrameTables.EXIDX, data_base=False, reads_code=False, entry=None),
    start=ProgramStart(
        hwcap=HWCAP,
        hwcap2=0,
        exit_function="r0",
        global_pointer=None,
        ifunc=Ifunc("void *(unsigned long)", (HWCAP,), b""),
    ),
    kernel=KernelAbi(
        machine="armv7l",
        number="r7",
        arguments=numbered("r", 6),
        result="r0",
        table=SyscallTable.ARM,
        # Linux, arch/arm/include/uapi/asm/unistd.h, __ARM_NR_*.
        own_calls={"arm_cacheflush": 0xF0002, "arm_set_tls": 0xF0005},
        absent_calls=frozenset(),
        pairs_aligned=True,
        sigaction_restorer=True,
        user_page=(arm_kernel_page.ADDRESS, arm_kernel_page.content()),
        vsyscalls={},
        signals=ARM_SIGNALS,
    ),
    libc=LibcAbi(
        sonames=("ld-linux-armhf.so.3", "ld-linux.so.3", "libc.musl-armhf.so.1", "libc.musl-armv7.so.1"),
        stat={"": OLD_32, "64": STAT64, "64_time64": time64(alignment=8)},
        directory_flag=0o40000,
        ilogb_minimum=False,
        tls_get_addr_register=None,
        helpers=frozenset({Helpers.AEABI}),
        compiled="arm",
        allocation=("r0", "r3"),
        float_environment=FloatEnvironment(
            rounding=(("fpscr", 0),),
            modes=(0x000000, 0xC00000, 0x400000, 0x800000),
            rounding_mask=0xC00000,
            flags=("fpscr",),
            flags_mask=0x1F,
            flag_bits=(1, 2, 4, 8, 16),
            registers=("fpscr",),
        ),
    ),
    tcb=Tcb(self_pointers=(), stack_guard=None),
    gdb=Gdb(
        "arm",
        {
            "org.gnu.gdb.arm.core": (
                *gdb_registers(numbered("r", 13), 32, "uint32"),
                *gdb_registers("sp", 32, "data_ptr"),
                *gdb_registers("lr", 32),
                *gdb_registers("pc", 32, "code_ptr"),
                *gdb_registers("cpsr", 32),
            ),
            "org.gnu.gdb.arm.vfp": (
                *gdb_registers(numbered("d", 32), 64, "ieee_double"),
                *gdb_registers("fpscr", 32),
            ),
        },
    ),
)
