"""The records of an ISA's page: all that `emu` knows of the ISA, except data for its engine (`emu.cpu`).

The linker's data is in `relink.arch`. No field has a default: a page that omits one fails at import.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from emu.isa.convention import BINARY128, CallingConvention, DataModel
from emu.isa.signal_abi import SignalAbi
from emu.isa.struct_stat import StructStat
from relink.records import dataclass
from relink.records.tuples import NamedTuple


@dataclass(frozen=True)
class DwarfRegisters:
    """A psABI's DWARF register numbers, and the layout of frames without unwind tables."""

    names: tuple[str, ...]  #: names by number: the registers that a frame can save and unwinding needs
    sp: int
    fp: int  #: the frame pointer, which links frames
    link: int | None  #: the return-address register; None: on the stack
    word: int  #: bytes
    #: (offset of the caller's frame pointer, offset of the return address) from the frame pointer in bytes, in the
    #: order to try.
    frame_records: tuple[tuple[int, int], ...]
    code_bits: int  #: low bits of a return address that are not part of it (the Thumb bit)
    #: Names of the registers that pass arguments and results (see `emu.isa.convention`) -> their numbers.
    arguments: Mapping[str, tuple[int, ...]]


def dwarf_numbers(names: Iterable[str], first: int) -> dict[str, tuple[int, ...]]:
    """DWARF numbers of registers that are numbered in order, from `first`."""
    return {name: (first + number,) for number, name in enumerate(names)}


@dataclass(frozen=True)
class InstructionSet:
    """One of an ISA's instruction sets: data for disassembler, assembler and system calls."""

    dwarf: DwarfRegisters
    capstone: tuple[str, tuple[str, ...]] | None  #: CS_ARCH_* and CS_MODE_*s; None: not supported by capstone 5
    keystone: tuple[str, str] | None  #: KS_ARCH_* and KS_MODE_*; None: not supported by keystone
    shortest: int  #: size of the shortest instruction in bytes
    system_call: int  #: size in bytes of the instruction that enters the kernel
    #: The module that names instructions capstone does not: `instruction(word, address)`, and `short(half)` where
    #: there are instructions of 16 bits; each gives text or None.
    names: str | None = None


class FrameTables(enum.Enum):
    """The kind of unwind tables."""

    DWARF = ".eh_frame, found by PT_GNU_EH_FRAME"
    EXIDX = ".ARM.exidx, found by PT_ARM_EXIDX (Exception Handling ABI for the Arm Architecture)"


@dataclass(frozen=True)
class StackEntry:
    """Code that calls a function with one argument on the stack, for ISAs that do not pass arguments in
    registers.
    """

    code: bytes  #: the code before the 32-bit distance from its end to the function
    register: str  #: the register with the argument
    stack: int  #: bytes that the code pushes


@dataclass(frozen=True)
class Unwinding:
    """Data for C++ unwinders (libgcc_s, libunwind)."""

    tables: FrameTables
    data_base: bool  #: struct dl_find_object has dlfo_eh_dbase (glibc, bits/dl_find_object.h)
    reads_code: bool  #: whether they read the code at return addresses, to find the kernel's signal trampolines
    entry: StackEntry | None  #: calls `_Unwind_Resume`; None: its argument is passed in a register


class IfuncArgument(enum.Enum):
    """Arguments of an IFUNC resolver that are not constants."""

    BLOCK = "the address of a guest copy of `Ifunc.block`"


@dataclass(frozen=True)
class Ifunc:
    """How glibc's ld.so calls an IFUNC resolver."""

    prototype: str
    parameters: tuple[int | IfuncArgument, ...]
    block: bytes  #: the data for `IfuncArgument.BLOCK` (8-byte aligned)

    def arguments(self, block: int = 0) -> tuple[int, ...]:
        """The arguments for `prototype`; `block` is the guest address of the copied data."""
        return tuple(block if value is IfuncArgument.BLOCK else int(value) for value in self.parameters)


@dataclass(frozen=True)
class ProgramStart:
    """The initial state of a program."""

    hwcap: int  #: AT_HWCAP of the emulated CPU
    hwcap2: int  #: AT_HWCAP2
    #: The register that has the exit function at a program's entry (psABI, "Process Initialization"; glibc,
    #: sysdeps/*/dl-machine.h and start.S).
    exit_function: str
    #: The register for addressing an executable's small data, and the symbol with its value.
    global_pointer: tuple[str, str] | None
    ifunc: Ifunc


class SyscallTable(enum.IntEnum):
    """Linux's tables of system calls: columns of `emu.linux.syscalls.table`."""

    X86_64 = 1
    I386 = 2
    ARM = 3
    GENERIC_64 = 4  #: include/uapi/asm-generic/unistd.h
    GENERIC_32 = 5


@dataclass(frozen=True)
class KernelAbi:
    """The system call interface of Linux."""

    machine: str  #: utsname.machine
    number: str  #: the register of the system call number
    arguments: tuple[str, ...]
    result: str  #: the register of the result or negative errno
    table: SyscallTable
    own_calls: Mapping[str, int]  #: system calls of this ISA only, by name
    absent_calls: frozenset[str]  #: system calls of the table that this ISA's kernel does not have
    pairs_aligned: bool  #: whether an argument of two registers starts at an even register
    sigaction_restorer: bool  #: whether struct sigaction has sa_restorer
    user_page: tuple[int, bytes] | None  #: address and content of a page in every process
    #: Address -> system call for the vsyscall functions in every process.
    vsyscalls: Mapping[int, str]
    signals: SignalAbi


class Helpers(enum.Enum):
    """Families of compiler helper functions that only some ISAs' libraries have."""

    AEABI = "__aeabi_* of Arm's run-time ABI; floats are in integer registers, those of libgcc's helpers too"
    OUTLINE_ATOMICS = "__aarch64_*, the outline atomics"
    FLOAT128 = "strtof128 and its like: __float128 is another type than long double"


@dataclass(frozen=True)
class FloatEnvironment:
    """The location of <fenv.h>'s rounding mode and exception flags; values are those of glibc's bits/fenv.h."""

    #: Registers of the rounding mode, and the left shift of FE_* in each; the mode is read from the last.
    rounding: tuple[tuple[str, int], ...]
    modes: tuple[int, int, int, int]  #: FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD
    rounding_mask: int
    flags: tuple[str, ...]  #: registers with the exception flags, at the bits of FE_*
    flags_mask: int  #: FE_ALL_EXCEPT
    #: FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT
    flag_bits: tuple[int, int, int, int, int]
    registers: tuple[str, ...]  #: the content of a fenv_t


@dataclass(frozen=True)
class LibcAbi:
    """The ISA-specific parts of glibc's headers and library."""

    sonames: tuple[str, ...]  #: SONAMEs of glibc's dynamic linkers, for each float ABI, and of musl's C library
    #: Layout of struct stat by the end of a function's name: "" (stat), "64" (stat64) and, where time_t has 32
    #: bits, "64_time64".
    stat: Mapping[str, StructStat]
    directory_flag: int  #: O_DIRECTORY
    ilogb_minimum: bool  #: whether FP_ILOGB0 and FP_ILOGBNAN are both INT_MIN (glibc, bits/fp-logb.h)
    tls_get_addr_register: str | None  #: the register of `___tls_get_addr`'s argument (Drepper, section 4.1.1)
    helpers: frozenset[Helpers]
    compiled: str  #: folder of the hosted C library's compiled functions (`emu.libc.compiled`)
    float_environment: FloatEnvironment
    #: registers of the argument and of the result in the compiled malloc (src/allocation.c); None: it has none
    allocation: tuple[str, str] | None = None
    nan_is_negative: bool = False  #: whether a NaN that arithmetic makes is
    #: (offset, word of 4 bytes) of the processor data in glibc's `_rtld_global_ro` (zero: its libm takes the
    #: baseline).
    processor_data: tuple[tuple[int, int], ...] = ()


class GdbRegister(NamedTuple):
    """A register of GDB's."""

    name: str
    bits: int
    type: str  #: in GDB's target descriptions
    cpu: str | None  #: the CPU's name of it; None: the CPU does not have it, and it reads as zero


def gdb_registers(
    names: str | Iterable[str], bits: int, type: str = "int", cpu: str | Iterable[str] | None = ""
) -> tuple[GdbRegister, ...]:
    """Registers of one size and type. `cpu` are the CPU's names: "" for the same, None for none."""
    names = names.split() if isinstance(names, str) else list(names)
    if cpu is None:
        known: Iterable[str | None] = [None] * len(names)
    else:
        known = (cpu.split() if isinstance(cpu, str) else list(cpu)) or names
    return tuple(GdbRegister(name, bits, type, own) for name, own in zip(names, known, strict=True))


@dataclass(frozen=True)
class Gdb:
    """What GDB is told of the ISA: GDB manual, appendix "Target Descriptions", "Standard Target Features"."""

    architecture: str  #: GDB's name
    features: Mapping[str, tuple[GdbRegister, ...]]  #: registers by feature, in the order of their numbers


@dataclass(frozen=True)
class Tcb:
    """Words at the thread pointer that compiled code reads directly. Offsets in bytes."""

    self_pointers: tuple[int, ...]  #: offsets of words with the thread pointer
    stack_guard: int | None  #: offset of the guard of -fstack-protector; None: the guard is a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Isa:
    """All that `emu` knows of an ISA. There is one object per ISA, compared by identity. Register names are those
    of `emu.cpu.protocol.Cpu`.
    """

    name: str  #: the canonical name, as in `relink.arch`
    triples: tuple[str, str]  #: the target in the terms of GNU's compilers (and clang), and of zig
    convention: CallingConvention  #: the default convention
    variants: tuple[CallingConvention, ...]  #: conventions with other floating-point ABIs
    #: Instruction sets of code whose address has no `Architecture.code_address_bits` set, and of code whose
    #: address has.
    instruction_sets: tuple[InstructionSet, ...]
    return_instruction: bytes  #: returns to the address in the link register or on the stack
    unwinding: Unwinding
    start: ProgramStart
    kernel: KernelAbi
    libc: LibcAbi
    tcb: Tcb
    gdb: Gdb

    @property
    def data(self) -> DataModel:
        """The basic C types."""
        return self.convention.data

    @property
    def wide(self) -> bool:
        """Whether registers have 64 bits, so that pairs of them hold 128-bit integers."""
        return self.convention.word_size == 8

    @property
    def long_double_by_value(self) -> bool:
        """Whether a long double is passed by value, not by reference."""
        return not self.convention.passes_by_reference(self.data.long_double_size)

    @property
    def quad_in_integers(self) -> bool:
        """Whether a long double is a binary128 passed in integer registers."""
        in_vectors = self.data.long_double_size in self.convention.float_arguments
        return self.data.long_double == BINARY128 and not in_vectors and self.long_double_by_value

    @property
    def dwarf(self) -> DwarfRegisters:
        """The DWARF registers, the same for all instruction sets except for the frame pointer."""
        return self.instruction_sets[0].dwarf

    @property
    def frame_pointer(self) -> str:
        """The register that links frames in code built with frame pointers."""
        return self.dwarf.names[self.dwarf.fp]

    def instruction_set(self, address: int) -> InstructionSet:
        """The instruction set of code at an address, given as a function pointer or value of pc."""
        return self.instruction_sets[address & len(self.instruction_sets) - 1]
