"""The words an architecture's page is written in.

A page (`x86_64.py`, `riscv.py`, …) is data: which `e_machine` it answers to, where images go by default,
how thread-local storage is laid out, and one table of relocations that reads like the psABI's:

    8: Reloc("RELATIVE", "B + A", word64, Role.RELATIVE),

The formula is text in the psABI's own letters. It is compiled once (`Formula`) into plain integer
arithmetic that works on Python ints and on numpy arrays alike, and the same text appears in error messages
and in the generated documentation.

    S   value of the symbol: its address, or for a TLS symbol its offset in its module's block
    A   the addend
    P   the address of the place being relocated
    B   the load bias of the image (guest address minus link-time address)
    M   the TLS module id of the symbol's module
    T   the offset of that module's block from the thread pointer (negative for variant II)
    Z   the size of the symbol
    DTV the psABI's dtv bias (what `__tls_get_addr` adds back)

and for relocatable objects, whose GOT and stubs this linker makes itself:

    GOT the address of the global offset table
    G   the offset of the symbol's slot in it; the row says which kind of slot
    V   what the place holds already (sums built up entry by entry)

`Page(x)` is x with its low 12 bits cleared. Where a psABI writes L (the symbol's PLT entry) a row says S and has
the role BRANCH: the call goes straight to the symbol where that is in reach, else through a stub.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from types import CodeType
from typing import Protocol

from relink.arch.fields import Field
from relink.arrays import I64, U8, U64, Bools
from relink.records import dataclass, field

LETTERS = frozenset({"S", "A", "P", "B", "M", "T", "Z", "DTV", "GOT", "G", "V"})


class Formula:
    """A psABI formula: its text, the letters it uses and the arithmetic it means.

    Evaluation is ordinary integer arithmetic on whatever is passed in. numpy uint64 arrays wrap modulo
    2^64, which is what every psABI means; the field then checks or cuts the result.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.letters = frozenset(re.findall(r"\b[A-Z]+\b", text))
        if unknown := self.letters - LETTERS:
            raise ValueError(f"formula {text!r} uses unknown letters {sorted(unknown)}")

    @cached_property
    def code(self) -> CodeType:
        """The compiled expression; evaluate it with the letters as names."""
        return compile(self.text, f"<formula {self.text}>", "eval")

    def __repr__(self) -> str:
        return f"Formula({self.text!r})"


class Role(enum.Enum):
    """What the linker has to do besides computing a formula."""

    NONE = "nothing to do"
    DATA = "compute and store"
    RELATIVE = "rebase"
    JUMP_SLOT = "bind a PLT slot"
    COPY = "copy the symbol's initial data"
    IRELATIVE = "call the resolver"
    TLSDESC = "fill a TLS descriptor"
    REFUSED = "refuse, saying why"
    # Relocatable objects only:
    BRANCH = "reach the symbol, through a stub if need be"
    HIGH = "the high part that a low part names by its address"
    LOW = "the low part of the high part at S"
    ALIGN = "align what follows"
    SET = "begin a sum"
    ADD = "add to what is there"
    ULEB = "add to a ULEB128"
    STACK = "a step of the relocation stack machine"


class Slot(enum.Enum):
    """What a symbol's entry in the global offset table holds."""

    ADDRESS = "its address"
    TLS_GD = "its module and its offset there"
    TLS_LD = "the image's own module and 0"
    TLS_IE = "its offset from the thread pointer"
    TLS_DESC = "its descriptor"

    @property
    def words(self) -> int:
        """How many words it takes."""
        return 1 if self in (Slot.ADDRESS, Slot.TLS_IE) else 2


class Sites(Protocol):
    """The places of one batch of entries, for the few types a formula cannot describe. Arrays of n elements."""

    @property
    def buffer(self) -> U8:
        """The image's bytes."""

    @property
    def where(self) -> I64:
        """Index of each place in `buffer`."""

    @property
    def letters(self) -> Mapping[str, U64]:
        """What the row's formula names, beside B and DTV."""

    @property
    def function(self) -> Bools:
        """Whether S is that of a function (STT_FUNC, STT_GNU_IFUNC) or stub: on Arm, has a state in bit 0."""


@dataclass(frozen=True, slots=True)
class Reloc:
    """One row of a psABI's relocation table."""

    name: str  #: without the R_<ARCH>_ prefix, as the psABI spells it
    formula: Formula | None
    word: Field | None  #: the field it writes
    role: Role = Role.DATA
    reason: str = ""  #: for REFUSED: why
    slot: Slot | None = None  #: the kind of GOT slot that G means
    tls_slot: Slot | None = None  #: the same where the symbol is thread-local (None: no other)
    static: bool = False  #: only relocatable objects have it
    #: A named function that computes the value where the formula depends on the instruction at the place; it
    #: gets the sites and what the formula alone yields.
    special: Callable[[Sites, U64], U64] | None = None
    entry: int = 0  #: for BRANCH: what to add to a stub's address, where another instruction set enters elsewhere


def reloc(name: str, formula: str, word: Field, role: Role = Role.DATA) -> Reloc:
    """A row that stores `formula` into `word`."""
    return Reloc(name, Formula(formula), word, role)


def static(
    name: str,
    formula: str,
    word: Field,
    role: Role = Role.DATA,
    *,
    slot: Slot | None = None,
    special: Callable[[Sites, U64], U64] | None = None,
    entry: int = 0,
) -> Reloc:
    """The same for a type that only relocatable objects have."""
    return Reloc(name, Formula(formula), word, role, slot=slot, static=True, special=special, entry=entry)


def static_refused(name: str, reason: str) -> Reloc:
    """A type of relocatable objects this linker knows and will not apply, with the reason a user reads."""
    return Reloc(name, None, None, Role.REFUSED, reason, static=True)


def hint(name: str) -> Reloc:
    """A type of relocatable objects that only allows or marks something: nothing has to be done."""
    return Reloc(name, None, None, Role.NONE, static=True)


def refused(name: str, reason: str) -> Reloc:
    """A row for a type this linker knows and will not apply, with the reason a user reads."""
    return Reloc(name, None, None, Role.REFUSED, reason)


NONE = Reloc("NONE", None, None, Role.NONE)


class TlsVariant(enum.Enum):
    """Where static TLS lies (Drepper, "ELF Handling For Thread-Local Storage", section 3.4)."""

    I = 1  # noqa: E741  (the name in the literature) blocks above the thread pointer
    II = 2  #: blocks below the thread pointer, which points at itself


@dataclass(frozen=True, slots=True)
class Tls:
    """Thread-local storage of an ISA. Sizes and offsets in bytes."""

    variant: TlsVariant
    tcb_size: int  #: variant I: reserved between the thread pointer and the first block
    #: The code of a static TLS descriptor (one whose argument is already an offset from the thread
    #: pointer), following the ISA's descriptor convention: every other register is kept.
    descriptor_stub: bytes
    #: The same for an undefined weak symbol: the offset from the thread pointer to the address that is the
    #: argument, so that taking the symbol's address yields the addend alone.
    undefined_descriptor_stub: bytes
    #: The register a descriptor's function finds the descriptor's address in, and leaves the offset from the
    #: thread pointer in; every other one it keeps.
    descriptor_register: str
    descriptor_link: str | None  #: the register that holds its return address; None: on the stack
    dtv_bias: int = 0  #: TLS_DTV_OFFSET: subtracted from stored offsets, added back by __tls_get_addr
    #: Index of the descriptor's word that holds the argument (the other one holds the function).
    descriptor_argument: int = 1
    #: REL entries: whether the argument word of a descriptor with a symbol holds the symbol's index (for a lazy
    #: resolver), and so no addend.
    descriptor_holds_index: bool = False


class SlotNamed(enum.Enum):
    """How a PLT's header tells the resolver which jump slot it comes from."""

    BY_ADDRESS = "the slot's own address"
    BY_ENTRY = "the number of its entry in DT_JMPREL"


@dataclass(frozen=True, slots=True)
class Plt:
    """What the code of a procedure linkage table, which static linkers make, expects of the dynamic linker."""

    link_map_word: int = 1  #: index in DT_PLTGOT's words of what names the image
    resolver_word: int = 2  #: and of the resolver's address
    named: SlotNamed = SlotNamed.BY_ENTRY
    #: Where the resolver finds that: a register, or an offset in bytes from the stack pointer.
    at: str | int = 0
    divisor: int = 1  #: what an entry's number has been multiplied by
    pushed: int = 0  #: bytes the header has put on the stack, to be dropped
    #: (register, offset from the stack pointer) of a register the header has saved and used.
    saved: tuple[str, int] | None = None
    #: Bits of st_other that mark functions of another calling convention, where ld.so binds those at once.
    bound_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Stub:
    """Code that jumps to an address it carries, clobbering only what a PLT entry may."""

    code: bytes
    address_at: int  #: where in `code` the address lies, a word of the ISA
    align: int


@dataclass(frozen=True, slots=True)
class Detour:
    """How a function's first bytes become a jump elsewhere, in one of the ISA's instruction sets."""

    near: bytes  #: the shortest jump that is worth it
    word: Field  #: takes its distance
    word_at: int  #: where in `near` the field lies
    bias: int  #: from the field to where the program counter counts
    far: Stub  #: reaches any address, laid over the function itself
    nop: bytes = b""  #: aligns `far` where it has to be
    entry: int = 0  #: where `Architecture.stub` is entered from here
    #: Landing pads that indirect calls may have to find at the function's start, and what is kept in their place:
    #: a pad that does something besides must not do it twice.
    pads: Mapping[bytes, bytes] = field(default_factory=dict)
    #: What assemblers put behind a function to align the next one to `unit` bytes: a regular expression.
    padding: bytes = b""
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a relocation of Role.ALIGN asks for padding; `Architecture.nops` fill what stays."""

    #: Given addend and symbol index: (alignment, bytes of padding there, most padding worth it).
    request: Callable[[int, int], tuple[int, int, int]]


class FloatAbi(enum.Enum):
    """How a procedure call standard passes floating-point values: the widest kind that goes in registers of
    its own. One image cannot call another whose answer differs."""

    SOFT = "soft-float"  #: none
    SINGLE = "single-float"
    HARD = "hard-float"  #: doubles
    QUAD = "quad-float"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One ISA as the linker sees it. Compare by identity; there is one object per ISA."""

    name: str  #: canonical: x86_64 i386 aarch64 arm riscv64 riscv32 loongarch64
    title: str  #: for people
    psabi: str  #: title and version of the document the page follows
    machine: int  #: e_machine
    bits: int  #: ELF class: 32 or 64
    prefix: str  #: of relocation names, e.g. "R_X86_64_"
    dwarf_stack_pointer: int  #: DWARF number of the stack pointer
    elftools_name: str  #: of the table in elftools.elf.enums with all types: ENUM_RELOC_TYPE_<name>; "" for none
    relocations: Mapping[int, Reloc] = field(repr=False)
    tls: Tls
    image_base: int  #: where the first image goes when nobody chooses
    library_names: tuple[str, ...]  #: what $LIB means, most specific first, and default folders under a sysroot
    multiarch: str  #: Debian's triplet
    aliases: tuple[str, ...] = ()
    page_size: int = 4096  #: the smallest page the ISA's kernels use
    platform: str = ""  #: $PLATFORM
    #: Whether DT_INIT and DT_FINI are run: the newer ports have only the arrays (glibc's ELF_INITFINI).
    runs_init_fini: bool = True
    #: Whether ld.so adds the load bias to the addresses in PT_DYNAMIC (glibc: unless DL_RO_DYN_SECTION).
    rebases_dynamic_section: bool = True
    #: Whether a file without PT_GNU_STACK asks for an executable stack (glibc's DEFAULT_STACK_PERMS).
    executable_stack: bool = False
    code_address_bits: int = 0  #: low bits of a function's address that are not part of it (Thumb's)
    #: Names, without prefix, of types only a static linker meets, where pyelftools knows none.
    static_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    plt: Plt = Plt()
    stub: Stub | None = None  #: reaches any address; None: every branch of the ISA does
    #: The same, entered the same way, for cores that lack an instruction of `stub`.
    baseline_stub: Stub | None = None
    #: Given an object's build attributes (its section of type SHT_LOPROC + 3), whether it is for such a core.
    is_baseline: Callable[[bytes], bool] = lambda attributes: False
    attributes_section: int = 0  #: sh_type of the build attributes `is_baseline` and `float_abi` read
    #: How functions are patched: those whose address has no `code_address_bits`, and those that have.
    detours: tuple[Detour, ...] = ()
    branch_reach: int = 1 << 31  #: bytes the shortest call reaches: how far apart stubs may lie
    #: The addend of a branch to the symbol itself, by the first three letters of the row's name ("": other rows):
    #: from the place to where the program counter counts.
    branch_bias: Mapping[str, int] = field(default_factory=dict)
    #: Instructions that do nothing, longest first; on Arm the last is Thumb's.
    nops: tuple[bytes, ...] = ()
    alignment: Alignment | None = None  #: where the table has rows of Role.ALIGN
    #: The letters that follow `$` in mapping symbols of objects: a: A32, t: Thumb, x: other code, d: data.
    mapping_symbols: bytes = b""
    mapping_names_isa: bool = False  #: `$x` may be followed by the name of an ISA: `$xrv64imafdc`
    #: Names of what the processor supplement adds to the gABI, for people who read a file.
    tag_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    segment_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    #: Properties of NT_GNU_PROPERTY_TYPE_0: name, and the names of its bits from bit 0 on.
    property_names: Mapping[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    separate_float128: bool = False  #: __float128 is another type than long double
    large_common: int | None = None  #: a second section index that means SHN_COMMON
    got_header: int = 0  #: words at the start of the GOT that belong to the dynamic linker
    #: Given e_flags, why an image of that ABI cannot join (None: it can).
    flags_problem: Callable[[int], str | None] = lambda flags: None
    #: Given e_flags and an object's build attributes (empty: none), how it passes floating-point values (None: it
    #: passes none, or the ISA has one way only).
    float_abi: Callable[[int, bytes], FloatAbi | None] = lambda flags, attributes: None

    @property
    def word_size(self) -> int:
        """Bytes in an address."""
        return self.bits // 8

    @property
    def address_mask(self) -> int:
        """The greatest address."""
        return (1 << self.bits) - 1

    def fill(self, size: int) -> bytes:
        """`size` bytes of instructions that do nothing; fewer where no instruction is that short."""
        content = b""
        for nop in self.nops:
            content += nop * ((size - len(content)) // len(nop))
        return content

    @property
    def code_address_mask(self) -> int:
        """What an address of code keeps of a function pointer."""
        return self.address_mask & ~self.code_address_bits

    def relocation_name(self, number: int) -> str:
        """The psABI's full name of a type, or "type N" for one that is not in the table."""
        row = self.relocations.get(number)
        if row is not None:
            return self.prefix + row.name
        return self._other_name(number) or f"{self.prefix}type {number}"

    def is_known(self, number: int) -> bool:
        """Whether the psABI (or binutils) has a name for the type, supported or not."""
        return number in self.relocations or self._other_name(number) is not None

    def _other_name(self, number: int) -> str | None:
        if number in self.static_names:
            return self.prefix + self.static_names[number]
        return _name_from_elftools(self.elftools_name, number)

    def bias_of_branch(self, row: Reloc) -> int:
        """The addend with which a branch of this type reaches the symbol itself (see `branch_bias`)."""
        return self.branch_bias.get(row.name[:3], self.branch_bias.get("", 0))


def _name_from_elftools(table: str, number: int) -> str | None:
    """Names of types no page has a row for: only error messages want them, so the import is lazy."""
    from elftools.elf import enums

    names = getattr(enums, f"ENUM_RELOC_TYPE_{table}", {})
    return next((name for name, value in names.items() if value == number and isinstance(name, str)), None)
