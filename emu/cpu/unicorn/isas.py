"""Unicorn's data for each of its six ISAs: mode, CPU model, register names, exception numbers.

Pure data: Unicorn's constants are given by name (the part after `UC_<PREFIX>_`), and `emu.cpu.unicorn.api`, the
one file that imports the engine, looks them up. Register names are the psABI's; widths are bytes.

CPU models: on x86 Haswell runs SSE4.2, BMI and all between, and Unicorn's CPUID leaves out the AVX it cannot
run (ifunc resolvers read CPUID); the models without AVX report SSSE3 and do not run it. AArch64 and Arm
take MAX, the only AArch64 model with LSE atomics. RISC-V's default model has IMAFDC.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial

from emu.cpu.on_demand import OnDemand
from emu.cpu.protocol import StopReason
from relink.errors import AddressSpaceError
from relink.records import dataclass, field, replace

#: i386 has no register for the thread pointer: %gs selects this GDT entry, whose base is the thread pointer. The
#: table has a separate page, above all addresses of a Linux i386 process (3 GiB), in the kernel's part of the
#: address space.
CPSR_IT = 0x0600_FC00  #: CPSR[26:25] and [15:10], the state of a Thumb IT block
GDT_PAGE = 0xFFFF_E000
GDT_CODE = 1  #: the entry for code, where software may load CS
GDT_FLAT = 2  #: the entry for the other data segments; of user code, for the stack's
GDT_TLS = 6  #: GDT_ENTRY_TLS_MIN of the Linux kernel on i386, so the selector is the familiar 0x33
GDT_USER = 15  #: GDT_ENTRY_DEFAULT_USER_DS of the same, for user code's data segments


#: The access bytes of segments, present and accessed: data that can be written, code that can be read.
DATA, CODE = 0x93, 0x9B


def gdt_entry(base: int, privilege: int, kind: int = DATA) -> bytes:
    """A 4 GiB segment at `base` (Intel SDM volume 3, "Segment Descriptors")."""
    limit, access, flags = 0xFFFFF, kind | privilege << 5, 0xC  # 4 KiB granules, 32-bit code or stack
    entry = (
        limit & 0xFFFF
        | (base & 0xFFFFFF) << 16
        | access << 40
        | (limit >> 16) << 48
        | flags << 52
        | (base >> 24 & 0xFF) << 56
    )
    return entry.to_bytes(8, "little")


#: The numbers of RISC-V's ecall and QEMU's Arm exceptions in Unicorn's interrupt hook.
_X86_EXCEPTIONS = {
    0: StopReason.ARITHMETIC,  # #DE
    1: StopReason.BREAKPOINT,  # #DB
    3: StopReason.BREAKPOINT,  # #BP, int3
    4: StopReason.ARITHMETIC,  # #OF, into
    6: StopReason.INVALID_INSTRUCTION,  # #UD
    16: StopReason.ARITHMETIC,  # #MF, an unmasked x87 exception
    17: StopReason.UNALIGNED,  # #AC
    19: StopReason.ARITHMETIC,  # #XM, an unmasked SSE exception
    0x80: StopReason.SYSCALL,
}
#: QEMU's target/arm/cpu.h, EXCP_*.
_ARM_EXCEPTIONS = {
    1: StopReason.INVALID_INSTRUCTION,  # EXCP_UDEF
    2: StopReason.SYSCALL,  # EXCP_SWI
    3: StopReason.UNALIGNED,  # EXCP_PREFETCH_ABORT; without an MMU only misalignment aborts
    4: StopReason.UNALIGNED,  # EXCP_DATA_ABORT
    7: StopReason.BREAKPOINT,  # EXCP_BKPT
    13: StopReason.INVALID_INSTRUCTION,  # EXCP_SMC: there is no secure monitor
}
#: The mcause codes of the RISC-V privileged specification, table "Machine cause register values".
_RISCV_EXCEPTIONS = {
    0: StopReason.UNALIGNED,  # instruction address misaligned
    2: StopReason.INVALID_INSTRUCTION,
    3: StopReason.BREAKPOINT,
    4: StopReason.UNALIGNED,  # load address misaligned
    6: StopReason.UNALIGNED,  # store or AMO address misaligned
    8: StopReason.SYSCALL,  # ecall from U, S and M mode
    9: StopReason.SYSCALL,
    11: StopReason.SYSCALL,
}


def _x86_overshoot(number: int, before: bytes, thumb: bool) -> int:
    """Software interrupts and syscall leave pc after the instruction, as on hardware; other exceptions do not."""
    if before in (b"\x0f\x05", b"\x0f\x34", bytes((0xCD, number))):  # syscall, sysenter, int n
        return 2
    return int(before[-1:] in {1: (b"\xf1",), 3: (b"\xcc",), 4: (b"\xce",)}.get(number, ()))  # int1 int3 into


def _arm_overshoot(number: int, before: bytes, thumb: bool) -> int:
    """The preferred return address of SVC and SMC is the next instruction."""
    return 4 if number == 13 else 2 if thumb else 4


_AFTER_CALLS = (2, 13)


def _riscv_overshoot(number: int, before: bytes, thumb: bool) -> int:
    """After an exception with a hook, Unicorn advances pc by 4 bytes, regardless of the instruction's size."""
    return 4


@dataclass(frozen=True)
class UnicornIsa:
    """Unicorn's data for one ISA."""

    constants: str  #: module of register constants, also part of their names: x86, arm64, arm, riscv
    engine: str  #: UC_ARCH_*
    mode: str  #: UC_MODE_*
    word: int  #: bytes in an integer register
    model: str | None  #: UC_CPU_*; None: Unicorn's default
    names: Mapping[str, tuple[str, int]]  #: register name -> (constant, bytes)
    printed: tuple[str, ...]  #: registers to print for a fault; pc last
    result: str  #: the register in which functions return integers
    thread_pointer: str | None  #: register of the thread pointer; None: through the GDT
    exceptions: Mapping[int, StopReason]  #: exception numbers of the interrupt hook
    #: (exception number, the two bytes before pc, in Thumb state) -> distance of pc from the faulting instruction
    overshoot: Callable[[int, bytes, bool], int]
    overshooting: Container[int]  #: the exceptions for which there may be a distance
    halts: tuple[bytes, ...]  #: instructions that stop the engine without an error
    #: hints at which the engine stops with UC_ERR_INSN_INVALID and pc after them
    pauses: tuple[bytes, ...] = ()
    #: number of bits of a faulting data address that the engine keeps; canonical addresses are sign-extended
    address_bits: int = 64
    refused: StopReason = StopReason.INVALID_INSTRUCTION  #: the meaning of UC_ERR_INSN_INVALID
    setup: Mapping[str, int] = field(default_factory=dict)  #: bits to set in registers after a reset
    initial: Mapping[str, int] = field(default_factory=dict)  #: values of registers after a reset
    syscalls: tuple[str, ...] = ()  #: UC_*_INS_* that enter the kernel without raising an exception
    #: Exceptions after which another one is a double or a triple fault, which the engine remembers for ever.
    contributory: Container[int] = ()

    def check_reach(self, address: int, size: int) -> None:
        """Raise AddressSpaceError for memory whose addresses the engine would truncate in data accesses."""
        if address + size > 1 << self.address_bits:
            mode = f"{self.engine} in {self.mode}-bit mode"
            problem = f"Unicorn ({mode}) keeps {self.address_bits} bits of data addresses"
            raise AddressSpaceError(problem, address=address, size=size)

    def full_address(self, address: int | None) -> int | None:
        """A faulting address with the bits that the engine dropped."""
        if address is None or self.address_bits == 64 or not address >> (self.address_bits - 1):
            return address
        return address | (1 << 64) - (1 << self.address_bits)


def _plain(names: Iterable[str], size: int) -> dict[str, tuple[str, int]]:
    """Entries for registers whose constant is their name in capitals."""
    return {name: (name.upper(), size) for name in names}


def _numbered(prefix: str, count: int, size: int, constant: str | None = None) -> dict[str, tuple[str, int]]:
    return {f"{prefix}{n}": (f"{constant or prefix.upper()}{n}", size) for n in range(count)}


def _x86(word: int, general: tuple[str, ...], flags: str, vectors: int, thread_pointer: str | None) -> UnicornIsa:
    pc, sp = ("rip", "rsp") if word == 8 else ("eip", "esp")
    names = {
        **_plain((*general, pc, flags), word),
        "pc": (pc.upper(), word),
        "sp": (sp.upper(), word),
        **_numbered("xmm", vectors, 16),
        **_numbered("st", 8, 10),
        "mxcsr": ("MXCSR", 4),
        "fpcw": ("FPCW", 2),
        "fpsw": ("FPSW", 2),  # with fptag: the registers for pushing or popping an x87 result
        "fptag": ("FPTAG", 2),
    }
    if thread_pointer:
        names |= _plain(("fs_base", "gs_base"), word)
    return UnicornIsa(
        "x86",
        "X86",
        "64" if word == 8 else "32",
        word,
        "X86_HASWELL",
        names,
        (*general, flags, pc),
        general[0],
        thread_pointer,
        _X86_EXCEPTIONS,
        _x86_overshoot,
        range(256),
        halts=(b"\xf4",),
        # What a Linux process starts with: interrupts on, exceptions masked, 64-bit significands, an empty stack.
        setup={"fpcw": 0x37F, "fptag": 0xFFFF, "mxcsr": 0x1F80, flags: 0x200},
        address_bits=52 if word == 8 else 64,
        syscalls=("X86_INS_SYSCALL", "X86_INS_SYSENTER"),
        contributory=frozenset({0, 8, *range(10, 15)}),
    )


def _aarch64() -> UnicornIsa:
    general = tuple(f"x{n}" for n in range(31))
    names = {
        **_plain((*general, "sp", "pc", "tpidr_el0"), 8),
        "fp": ("X29", 8),
        "lr": ("X30", 8),
        **_plain(("pstate", "nzcv", "fpcr", "fpsr"), 4),
        **_numbered("v", 32, 16),
        **_numbered("d", 32, 8),
        **_numbered("s", 32, 4),
    }
    return UnicornIsa(
        "arm64",
        "ARM64",
        "ARM",
        8,
        "ARM64_MAX",
        names,
        (*general, "pstate", "sp", "pc"),
        "x0",
        "tpidr_el0",
        _ARM_EXCEPTIONS,
        _arm_overshoot,
        _AFTER_CALLS,
        halts=(bytes.fromhex("7f2003d5"),),
    )


#: Hints in Thumb code, narrow and wide.
_YIELD, _WFE, _WFI = ((bytes((hint << 4, 0xBF)), bytes((0xAF, 0xF3, hint, 0x80))) for hint in (1, 2, 3))


def _a32(hint: int) -> tuple[bytes, ...]:
    """A hint in A32 code, with each condition."""
    return tuple(bytes((hint, 0xF0, 0x20, condition << 4 | 3)) for condition in range(15))


def _arm() -> UnicornIsa:
    general = tuple(f"r{n}" for n in range(13))
    names = {
        **_numbered("r", 16, 4),
        **_plain(("sp", "lr", "pc", "cpsr", "fpexc"), 4),
        "fpscr": ("FPSCR", 4),
        "cpacr": ("C1_C0_2", 4),
        "tpidruro": ("C13_C0_3", 4),
        **_numbered("s", 32, 4),
        **_numbered("d", 32, 8),
    }
    return UnicornIsa(
        "arm", "ARM", "ARM", 4, "ARM_MAX", names, (*general, "sp", "lr", "cpsr", "pc"), "r0", "tpidruro",
        _ARM_EXCEPTIONS, _arm_overshoot, _AFTER_CALLS, halts=(*_a32(3), *_WFI),
        pauses=(*_a32(1), *_a32(2), *_YIELD, *_WFE),
        setup={"cpacr": 0xF << 20, "fpexc": 1 << 30},  # full access to cp10 and cp11; FPEXC.EN
        initial={"cpsr": 0x10},  # user mode
    )  # fmt: skip


#: The exceptions of M-profile CPUs. Fetches fault with 3 where code must not run (the system's addresses), and at
#: EXC_RETURN, with 8 on v8-M. 17 is a coprocessor that does not exist.
_CORTEX_M_EXCEPTIONS = {
    1: StopReason.INVALID_INSTRUCTION,
    2: StopReason.SYSCALL,
    3: StopReason.FETCH_PROTECTED,
    4: StopReason.UNALIGNED,
    7: StopReason.BREAKPOINT,
    8: StopReason.FETCH_PROTECTED,
    17: StopReason.INVALID_INSTRUCTION,
}


def _cortex_m(model: str) -> UnicornIsa:
    """A CPU of Arm's M profile. UC_MODE_MCLASS is not used: with it Unicorn 2.1.4 takes every model for an M33."""
    arm = _arm()
    names = {name: row for name, row in arm.names.items() if name not in ("fpexc", "cpacr")}
    names |= _plain(("xpsr", "ipsr", "msp", "psp", "control", "primask", "basepri", "faultmask"), 4)
    return UnicornIsa(
        "arm", "ARM", "THUMB", 4, f"ARM_CORTEX_{model}", names, (*arm.printed[:-2], "xpsr", "pc"), arm.result,
        "tpidruro", _CORTEX_M_EXCEPTIONS, _arm_overshoot, _AFTER_CALLS, halts=(*_WFI, *_WFE), pauses=_YIELD,
        setup={"xpsr": 1 << 24},  # Thumb
    )  # fmt: skip


def _series(prefix: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{n}" for n in range(first, last + 1))


#: x0…x31 and f0…f31 under their psABI names (riscv-elf-psabi-doc, "Register Convention").
_RISCV_X = (
    "zero", "ra", "sp", "gp", "tp", *_series("t", 0, 2), *_series("s", 0, 1), *_series("a", 0, 7),
    *_series("s", 2, 11), *_series("t", 3, 6),
)  # fmt: skip
_RISCV_F = (
    *_series("ft", 0, 7),
    *_series("fs", 0, 1),
    *_series("fa", 0, 7),
    *_series("fs", 2, 11),
    *_series("ft", 8, 11),
)


def _riscv(word: int) -> UnicornIsa:
    names = {
        **_numbered("x", 32, word),
        **{name: (f"X{n}", word) for n, name in enumerate(_RISCV_X)},
        "fp": ("X8", word),
        "pc": ("PC", word),
        **_numbered("f", 32, 8),
        **{name: (f"F{n}", 8) for n, name in enumerate(_RISCV_F)},
        **_plain(("fcsr", "mstatus"), word),
    }
    return UnicornIsa(
        "riscv",
        "RISCV",
        f"RISCV{8 * word}",
        word,
        None,
        names,
        (*_RISCV_X[1:], "pc"),
        "a0",
        "tp",
        _RISCV_EXCEPTIONS,
        _riscv_overshoot,
        range(64),
        halts=(bytes.fromhex("73005010"),),
        # Illegal instructions are exception 2; UC_ERR_INSN_INVALID is ebreak.
        refused=StopReason.BREAKPOINT,
        setup={"mstatus": 0x6000},  # FS = Dirty: floating point does not trap
    )


def _x86_64() -> UnicornIsa:
    general = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)))
    return _x86(8, general, "rflags", 16, "fs_base")


def _i386() -> UnicornIsa:
    return _x86(4, ("eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp"), "eflags", 8, None)


ISAS: Mapping[str, UnicornIsa] = OnDemand(
    {
        "x86_64": _x86_64,
        "i386": _i386,
        "aarch64": _aarch64,
        "arm": _arm,
        "riscv64": partial(_riscv, 8),
        "riscv32": partial(_riscv, 4),
    }
)


def _privileged_aarch64(model: str) -> UnicornIsa:
    """AArch64 with the registers of EL1."""
    plain = _aarch64()
    registers = _plain(("vbar_el1", "elr_el1", "esr_el1", "far_el1", "sp_el0", "sp_el1"), 8)
    return replace(plain, names={**plain.names, **registers}, model=f"ARM64_{model}")


def _privileged_arm(model: str) -> UnicornIsa:
    """A CPU of Arm's A or R profile."""
    plain = _arm()
    return replace(plain, names={**plain.names, **_plain(("spsr",), 4)}, model=f"ARM_CORTEX_{model}")


def _protected_i386() -> UnicornIsa:
    """i386 with segments and control registers, whose interrupts are the board's."""
    plain = ISAS["i386"]
    segments = _plain(("cs", "ss", "ds", "es", "fs", "gs"), 2)
    names = {**plain.names, **segments, **_plain(("cr0", "cr2", "cr3", "cr4"), 4)}
    exceptions = {**plain.exceptions, 0x80: StopReason.EXCEPTION, 8: StopReason.EXCEPTION}
    return replace(
        plain, names=names, exceptions=exceptions, overshooting=(), syscalls=(), setup={**plain.setup, "eflags": 0}
    )


_MACHINE_CSRS = ("mtvec", "mepc", "mcause", "mtval", "mie", "mip", "mscratch", "priv")


def _riscv_machine(word: int) -> UnicornIsa:
    """RISC-V with the registers of machine mode. In other modes the engine hides them, also from outside."""
    plain = _riscv(word)
    return replace(plain, names={**plain.names, **_plain(_MACHINE_CSRS, word)})


def _named(
    arch: str, make: Callable[[str], UnicornIsa], models: Iterable[str]
) -> dict[tuple[str, str], Callable[[], UnicornIsa]]:
    return {(arch, f"cortex-{model.lower()}"): partial(make, model) for model in models}


#: Further CPU models, by (ISA, name).
MODELS: Mapping[tuple[str, str], UnicornIsa] = OnDemand(
    {
        ("i386", "protected"): _protected_i386,
        ("riscv32", "machine"): partial(_riscv_machine, 4),
        ("riscv64", "machine"): partial(_riscv_machine, 8),
        **_named("arm", _cortex_m, ("M0", "M3", "M4", "M7", "M33")),
        **_named("aarch64", _privileged_aarch64, ("A53", "A57", "A72")),
        **_named("arm", _privileged_arm, ("A7", "A8", "A9", "A15", "R5", "R5F")),
    }
)
