"""What a page says of an ISA: all that `emu` knows of it, besides its engine's own terms (`emu.cpu`).

What the linker knows of it is in `relink.arch`. No field of a record has a default: a page that leaves one out
fails when it is imported.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from emu.isa.convention import BINARY128, CallingConvention, DataModel
from emu.isa.struct_stat import StructStat
from relink.records import dataclass


class DwarfRegisters(NamedTuple):
    """How a psABI numbers registers for DWARF, and what a frame looks like without unwind tables."""

    names: tuple[str, ...]  #: by number; those that a frame can save and unwinding needs
    sp: int
    fp: int  #: links frames in code built with frame pointers
    link: int | None  #: the return-address register; None: on the stack
    word: int  #: bytes
    #: (where the caller's frame pointer, where the return address is saved), bytes from the frame pointer, in
    #: the order worth trying.
    frame_records: tuple[tuple[int, int], ...]
    code_bits: int  #: low bits of a return address that are not part of it (Thumb's)


class InstructionSet(NamedTuple):
    """One of an ISA's instruction sets, as debuggers, assemblers and the kernel's entry see it."""

    dwarf: DwarfRegisters
    capstone: tuple[str, tuple[str, ...]] | None  #: CS_ARCH_* and CS_MODE_*s; None: capstone 5 does not know it
    keystone: tuple[str, str] | None  #: KS_ARCH_* and KS_MODE_*; None: keystone does not know it
    shortest: int  #: bytes of the shortest instruction
    system_call: int  #: bytes of the instruction that enters the kernel


class FrameTables(enum.Enum):
    """The tables that unwinders read."""

    DWARF = ".eh_frame, found by PT_GNU_EH_FRAME"
    EXIDX = ".ARM.exidx, found by PT_ARM_EXIDX (Exception Handling ABI for the Arm Architecture)"


class StackEntry(NamedTuple):
    """Code that calls a function with its one argument on the stack, where arguments are not in registers."""

    code: bytes  #: up to the 32-bit distance from the code's end to the function
    register: str  #: holds the argument
    stack: int  #: bytes the code puts on the stack


class Unwinding(NamedTuple):
    """What C++ unwinders (libgcc_s, libunwind) rely on."""

    tables: FrameTables
    data_base: bool  #: struct dl_find_object has dlfo_eh_dbase (glibc, bits/dl_find_object.h)
    reads_code: bool  #: they read the code at return addresses, for the kernel's signal trampolines
    entry: StackEntry | None  #: enters `_Unwind_Resume`; None: its argument is in a register


class IfuncArgument(enum.Enum):
    """Arguments of an IFUNC resolver that a page cannot write down as numbers."""

    BLOCK = "the address of a guest copy of `Ifunc.block`"


class Ifunc(NamedTuple):
    """How glibc's ld.so calls the resolver of an IFUNC."""

    prototype: str
    parameters: tuple[int | IfuncArgument, ...]
    block: bytes  #: what `IfuncArgument.BLOCK` points at (8-byte aligned)

    def arguments(self, block: int = 0) -> tuple[int, ...]:
        """The arguments for `prototype`; `block` is the guest address `block` was copied to."""
        return tuple(block if value is IfuncArgument.BLOCK else int(value) for value in self.parameters)


class ProgramStart(NamedTuple):
    """What a program and its C library find when they start."""

    hwcap: int  #: AT_HWCAP of the CPU that is emulated
    hwcap2: int  #: AT_HWCAP2
    #: Holds, at a program's entry, the function to call at its exit (psABI, "Process Initialization"; glibc,
    #: sysdeps/*/dl-machine.h and start.S).
    exit_function: str
    #: A register that an executable's code addresses its small data by, and the symbol with its value.
    global_pointer: tuple[str, str] | None
    ifunc: Ifunc


class SyscallTable(enum.IntEnum):
    """Linux's tables of system calls: columns of `emu.linux.syscalls.table`."""

    X86_64 = 1
    I386 = 2
    ARM = 3
    GENERIC_64 = 4  #: include/uapi/asm-generic/unistd.h
    GENERIC_32 = 5


class KernelAbi(NamedTuple):
    """How a program enters the Linux kernel."""

    machine: str  #: utsname.machine
    number: str  #: the register with the call's number
    arguments: tuple[str, ...]
    result: str  #: the register of the result, or minus an errno
    table: SyscallTable
    own_calls: Mapping[str, int]  #: calls of this ISA alone, by name
    absent_calls: frozenset[str]  #: calls of the table that this ISA's kernel never had
    pairs_aligned: bool  #: an argument of two registers starts at an even one
    sigaction_restorer: bool  #: struct sigaction has sa_restorer
    user_page: tuple[int, bytes] | None  #: address and content of a page every process has
    #: Address -> system call of what every process can call without a system-call instruction.
    vsyscalls: Mapping[int, str]


class Helpers(enum.Enum):
    """Functions that compilers call, of which only some ISAs' libraries have each family."""

    AEABI = "__aeabi_* of Arm's run-time ABI; floats are in integer registers, those of libgcc's helpers too"
    OUTLINE_ATOMICS = "__aarch64_*, the outline atomics"
    FLOAT128 = "strtof128 and its like: __float128 is another type than long double"


class FloatEnvironment(NamedTuple):
    """Where <fenv.h>'s rounding mode and exception flags are; values are those of glibc's bits/fenv.h."""

    rounding: tuple[tuple[str, int], ...]  #: registers, and how far FE_* are shifted left in each
    modes: tuple[int, int, int, int]  #: FE_TONEAREST, FE_TOWARDZERO, FE_UPWARD, FE_DOWNWARD
    rounding_mask: int
    flags: tuple[str, ...]  #: registers that have flags, where FE_* are
    flags_mask: int  #: FE_ALL_EXCEPT
    #: FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT
    flag_bits: tuple[int, int, int, int, int]
    registers: tuple[str, ...]  #: what a fenv_t holds


class LibcAbi(NamedTuple):
    """What glibc's headers and library have of their own on an ISA."""

    sonames: tuple[str, ...]  #: of glibc's dynamic linkers, for each float ABI, and of musl's C library
    #: Layout of struct stat by the end of a function's name: "" (stat), "64" (stat64) and, where time_t has 32
    #: bits, "64_time64".
    stat: Mapping[str, StructStat]
    directory_flag: int  #: O_DIRECTORY
    ilogb_minimum: bool  #: FP_ILOGB0 and FP_ILOGBNAN both are INT_MIN (glibc, bits/fp-logb.h)
    tls_get_addr_register: str | None  #: `___tls_get_addr` takes its argument in it (Drepper, section 4.1.1)
    helpers: frozenset[Helpers]
    compiled: str  #: folder of the hosted C library's compiled functions (`emu.libc.compiled`)
    float_environment: FloatEnvironment


class Tcb(NamedTuple):
    """Words from the thread pointer on that compilers read by themselves. Offsets in bytes."""

    self_pointers: tuple[int, ...]  #: hold the thread pointer
    stack_guard: int | None  #: of -fstack-protector; None: the guard is a variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Isa:
    """One ISA as `emu` sees it. Compare by identity; there is one object for each.

    Register names are those of `emu.cpu.protocol.Cpu`.
    """

    name: str  #: the canonical name, as in `relink.arch`
    convention: CallingConvention  #: the usual one
    variants: tuple[CallingConvention, ...]  #: those that pass floating-point values otherwise
    #: For code whose address has no `Architecture.code_address_bits`, and for code whose address has them.
    instruction_sets: tuple[InstructionSet, ...]
    return_instruction: bytes  #: to the address in the link register, or on the stack
    unwinding: Unwinding
    start: ProgramStart
    kernel: KernelAbi
    libc: LibcAbi
    tcb: Tcb

    @property
    def data(self) -> DataModel:
        """The basic C types."""
        return self.convention.data

    @property
    def wide(self) -> bool:
        """Whether registers have 64 bits: pairs of them carry 128-bit integers."""
        return self.convention.word_size == 8

    @property
    def long_double_by_value(self) -> bool:
        """Whether a long double is passed by value, and not as its address."""
        return not self.convention.passes_by_reference(self.data.long_double_size)

    @property
    def quad_in_integers(self) -> bool:
        """Whether a long double is a binary128 that goes in integer registers."""
        in_vectors = self.data.long_double_size in self.convention.float_arguments
        return self.data.long_double == BINARY128 and not in_vectors and self.long_double_by_value

    @property
    def dwarf(self) -> DwarfRegisters:
        """The numbering of registers, the same for all instruction sets but for the frame pointer."""
        return self.instruction_sets[0].dwarf

    @property
    def frame_pointer(self) -> str:
        """The register that links frames in code built with frame pointers."""
        return self.dwarf.names[self.dwarf.fp]

    def instruction_set(self, address: int) -> InstructionSet:
        """The instruction set of code at an address, as a function pointer or the register pc has it."""
        return self.instruction_sets[address & len(self.instruction_sets) - 1]
