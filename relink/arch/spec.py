"""The data types of an architecture's page.

A page (`x86_64.py`, `riscv.py`, …) is data: its `e_machine`, the default address of images, the layout of
thread-local storage, and a table of relocations in the notation of the psABI:

    8: Reloc("RELATIVE", "B + A", word64, Role.RELATIVE),

The formula is text with the psABI's letters. It is compiled once (`Formula`) into integer arithmetic for Python
ints and numpy arrays. The same text appears in error messages and in the generated documentation.

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

`Page(x)` is x with its low 12 bits cleared. Where a psABI uses L (the symbol's PLT entry), the row has S and the
role BRANCH: the call goes to the symbol directly when it is in range, else through a stub.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Protocol

from relink.arch.fields import Field
from relink.arrays import I64, U8, U64, Bools
from relink.records import cached_property, dataclass, field

LETTERS = frozenset({"S", "A", "P", "B", "M", "T", "Z", "DTV", "GOT", "G", "V"})


class Formula:
    """A psABI formula: its text, the letters in it and the compiled expression.

    It is evaluated with the integer arithmetic of its operands. numpy uint64 arrays wrap modulo 2^64, as every
    psABI requires; the field then checks or truncates the result.
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
    """The action of a relocation besides computing its formula."""

    NONE = "nothing to do"
    DATA = "compute and store"
    RELATIVE = "rebase"
    JUMP_SLOT = "bind a PLT slot"
    COPY = "copy the symbol's initial data"
    IRELATIVE = "call the resolver"
    TLSDESC = "fill a TLS descriptor"
    REFUSED = "refuse, saying why"
    # Relocatable objects only:
    BRANCH = "branch to the symbol, through a stub if it is out of range"
    HIGH = "the high part that a low part refers to by its address"
    LOW = "the low part of the high part at S"
    ALIGN = "align what follows"
    SET = "begin a sum"
    ADD = "add to the value at the place"
    ULEB = "add to a ULEB128"
    STACK = "a step of the relocation stack machine"


class Slot(enum.Enum):
    """The content of a symbol's slot in the global offset table."""

    ADDRESS = "its address"
    TLS_GD = "its module and its offset there"
    TLS_LD = "the image's own module and 0"
    TLS_IE = "its offset from the thread pointer"
    TLS_DESC = "its descriptor"

    @property
    def words(self) -> int:
        """The size of the slot in words."""
        return 1 if self in (Slot.ADDRESS, Slot.TLS_IE) else 2


class Sites(Protocol):
    """The places of one batch of entries, for the few types whose formula depends on the instruction. Arrays of n
    elements.
    """

    @property
    def buffer(self) -> U8:
        """The image's bytes."""

    @property
    def where(self) -> I64:
        """Index of each place in `buffer`."""

    @property
    def letters(self) -> Mapping[str, U64]:
        """The values of the formula's letters, except B and DTV."""

    @property
    def function(self) -> Bools:
        """Whether S is the address of a function (STT_FUNC, STT_GNU_IFUNC) or a stub; on Arm its bit 0 is then the
        instruction set.
        """


@dataclass(frozen=True, slots=True)
class Reloc:
    """One row of a psABI's relocation table."""

    name: str  #: without the R_<ARCH>_ prefix, as the psABI spells it
    formula: Formula | None
    word: Field | None  #: the field it writes
    role: Role = Role.DATA
    reason: str = ""  #: for REFUSED: the reason
    slot: Slot | None = None  #: the kind of GOT slot that G refers to
    tls_slot: Slot | None = None  #: the kind of slot for a thread-local symbol (None: the same)
    static: bool = False  #: occurs in relocatable objects only
    #: Computes the value of a type that depends on the instruction at the place; called with the sites and the
    #: value of the formula.
    special: Callable[[Sites, U64], U64] | None = None
    entry: int = 0  #: for BRANCH: offset of the stub's entry point for this branch's instruction set


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
    """A row of the table (see `reloc`) for a type that only relocatable objects have."""
    return Reloc(name, Formula(formula), word, role, slot=slot, static=True, special=special, entry=entry)


def static_refused(name: str, reason: str) -> Reloc:
    """A row for a type of relocatable objects that is known but not supported, with the reason for the error
    message.
    """
    return Reloc(name, None, None, Role.REFUSED, reason, static=True)


def hint(name: str) -> Reloc:
    """A row for a type of relocatable objects that is a hint or mark: nothing is written."""
    return Reloc(name, None, None, Role.NONE, static=True)


def refused(name: str, reason: str) -> Reloc:
    """A row for a type that is known but not supported, with the reason for the error message."""
    return Reloc(name, None, None, Role.REFUSED, reason)


NONE = Reloc("NONE", None, None, Role.NONE)


class TlsVariant(enum.Enum):
    """The layout of static TLS (Drepper, "ELF Handling For Thread-Local Storage", section 3.4)."""

    I = 1  # noqa: E741  (the name in the literature) blocks above the thread pointer
    II = 2  #: blocks below the thread pointer, which points at itself


@dataclass(frozen=True, slots=True)
class Tls:
    """Thread-local storage of an ISA. Sizes and offsets in bytes."""

    variant: TlsVariant
    tcb_size: int  #: variant I: reserved between the thread pointer and the first block
    #: The code of a static TLS descriptor, whose argument is an offset from the thread pointer. It follows the
    #: ISA's descriptor convention: all other registers are preserved.
    descriptor_stub: bytes
    #: The same for an undefined weak symbol: returns the argument minus the thread pointer, so that the symbol's
    #: address evaluates to the addend.
    undefined_descriptor_stub: bytes
    #: The register in which a descriptor's function receives the descriptor's address and returns the offset from
    #: the thread pointer; all other registers are preserved.
    descriptor_register: str
    descriptor_link: str | None  #: the register with the function's return address; None: on the stack
    dtv_bias: int = 0  #: TLS_DTV_OFFSET: subtracted from stored offsets, added back by __tls_get_addr
    #: Index of the descriptor's word that holds the argument (the other one holds the function).
    descriptor_argument: int = 1
    #: REL entries: whether the argument word of a descriptor with a symbol holds the symbol's index, for a lazy
    #: resolver, instead of an addend.
    descriptor_holds_index: bool = False


class SlotNamed(enum.Enum):
    """How a PLT header identifies the jump slot to the resolver."""

    BY_ADDRESS = "the slot's own address"
    BY_ENTRY = "the number of its entry in DT_JMPREL"


@dataclass(frozen=True, slots=True)
class Plt:
    """The interface between a procedure linkage table, made by the static linker, and the dynamic linker."""

    link_map_word: int = 1  #: index of the DT_PLTGOT word that identifies the image (link map)
    resolver_word: int = 2  #: index of the DT_PLTGOT word with the resolver's address
    named: SlotNamed = SlotNamed.BY_ENTRY
    #: Location of the slot's number or address: a register, or an offset in bytes from the stack pointer.
    at: str | int = 0
    divisor: int = 1  #: factor by which the entry's number is multiplied
    pushed: int = 0  #: bytes that the header pushed on the stack, to be dropped
    #: (register, offset from the stack pointer) of a register that the header saves and overwrites.
    saved: tuple[str, int] | None = None
    #: Bits of st_other that mark functions with another calling convention, which ld.so binds at once.
    bound_at_once: int = 0


@dataclass(frozen=True, slots=True)
class Stub:
    """Code that jumps to an address stored in it and changes only the registers that a PLT entry may change."""

    code: bytes
    address_at: int  #: offset in `code` of the address, a word of the ISA
    align: int


@dataclass(frozen=True, slots=True)
class Detour:
    """How the first bytes of a function are replaced by a jump, in one of the ISA's instruction sets."""

    near: bytes  #: the shortest jump to use
    word: Field  #: the field for its distance
    word_at: int  #: offset of the field in `near`
    bias: int  #: distance from the field to the address that the jump is relative to
    far: Stub  #: reaches any address; written over the start of the function
    nop: bytes = b""  #: aligns `far` when it must be aligned
    entry: int = 0  #: offset of the entry point in `Architecture.stub` for this instruction set
    #: Landing pads (such as ENDBR or BTI) at the function's start that indirect calls may require, and the
    #: instruction kept in their place: a pad with another effect must not take effect twice.
    pads: Mapping[bytes, bytes] = field(default_factory=dict)
    #: The padding that assemblers insert to align the next function to `unit` bytes: a regular expression.
    padding: bytes = b""
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a Role.ALIGN relocation requests padding; remaining padding is filled with `Architecture.nops`."""

    #: (addend, symbol index) -> (alignment, bytes of padding present, maximum padding).
    request: Callable[[int, int], tuple[int, int, int]]


class FloatAbi(enum.Enum):
    """The floating-point calling convention: the widest type that is passed in floating-point registers.

    Images with different conventions cannot call each other.
    """

    SOFT = "soft-float"  #: none
    SINGLE = "single-float"
    HARD = "hard-float"  #: doubles
    QUAD = "quad-float"


def one_float_abi(flags: int, attributes: bytes) -> None:
    """`Architecture.float_abi` of an ISA that has only one convention."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that the linker knows of an ISA. There is one object per ISA, compared by identity."""

    name: str  #: canonical: x86_64 i386 aarch64 arm riscv64 riscv32 loongarch64
    title: str  #: display name
    psabi: str  #: title and version of the psABI that the page follows
    machine: int  #: e_machine
    bits: int  #: ELF class: 32 or 64
    prefix: str  #: prefix of relocation names, e.g. "R_X86_64_"
    dwarf_stack_pointer: int  #: DWARF number of the stack pointer
    elftools_name: str  #: of the table in elftools.elf.enums with all types: ENUM_RELOC_TYPE_<name>; "" for none
    relocations: Mapping[int, Reloc] = field(repr=False)
    tls: Tls
    image_base: int  #: default address of the first image
    #: values of $LIB, most specific first; also the default folders under a sysroot
    library_names: tuple[str, ...]
    multiarch: str  #: Debian's triplet
    aliases: tuple[str, ...] = ()
    page_size: int = 4096  #: the smallest page the ISA's kernels use
    platform: str = ""  #: $PLATFORM
    #: Whether DT_INIT and DT_FINI are run: newer ports use only the arrays (glibc's ELF_INITFINI).
    runs_init_fini: bool = True
    #: Whether ld.so adds the load bias to the addresses in PT_DYNAMIC (glibc: unless DL_RO_DYN_SECTION).
    rebases_dynamic_section: bool = True
    #: Whether a file without PT_GNU_STACK asks for an executable stack (glibc's DEFAULT_STACK_PERMS).
    executable_stack: bool = False
    code_address_bits: int = 0  #: low bits of a function pointer that are not part of the address (the Thumb bit)
    #: Names, without prefix, of types that only static linkers use and that pyelftools does not have.
    static_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    plt: Plt = Plt()
    stub: Stub | None = None  #: stub that reaches any address; None: every branch of the ISA does
    #: The same with the same entry points, for cores that lack an instruction of `stub`.
    baseline_stub: Stub | None = None
    #: Whether an object is for such a core, given its build attributes (the section of type SHT_LOPROC + 3).
    is_baseline: Callable[[bytes], bool] = lambda attributes: False
    attributes_section: int = 0  #: sh_type of the build attributes `is_baseline` and `float_abi` read
    #: How functions are patched: those whose address has no `code_address_bits` set, and those that have.
    detours: tuple[Detour, ...] = ()
    branch_reach: int = 1 << 31  #: range of the shortest call in bytes: the maximum distance between stubs
    #: The addend of a branch to the symbol itself, by the first three letters of the row's name ("": other rows).
    #: It is the distance from the place to the address that the branch is relative to.
    branch_bias: Mapping[str, int] = field(default_factory=dict)
    #: NOP instructions, longest first; on Arm the last is a Thumb instruction.
    nops: tuple[bytes, ...] = ()
    alignment: Alignment | None = None  #: for tables with rows of Role.ALIGN
    #: The letters after `$` in mapping symbols of objects: a: A32, t: Thumb, x: other code, d: data.
    mapping_symbols: bytes = b""
    mapping_names_isa: bool = False  #: `$x` may be followed by an ISA string: `$xrv64imafdc`
    #: Names of the psABI's additions to the gABI, for displaying a file.
    tag_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    segment_names: Mapping[int, str] = field(default_factory=dict, repr=False)
    #: Properties of NT_GNU_PROPERTY_TYPE_0: name, and the names of its bits from bit 0 on.
    property_names: Mapping[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)
    separate_float128: bool = False  #: __float128 is another type than long double
    large_common: int | None = None  #: a second section index that means SHN_COMMON
    got_header: int = 0  #: reserved words at the start of the GOT, for the dynamic linker
    #: Why an image with these e_flags cannot be linked (None: it can).
    flags_problem: Callable[[int], str | None] = lambda flags: None
    plain_flags: int = 0  #: e_flags for code of which nothing is known: those of the usual ABI
    #: The floating-point convention for e_flags and an object's build attributes (empty: none); None: any.
    float_abi: Callable[[int, bytes], FloatAbi | None] = one_float_abi

    word_size: int = field(init=False, repr=False)  #: size of an address in bytes
    address_mask: int = field(init=False, repr=False)  #: the highest address

    def __post_init__(self) -> None:
        object.__setattr__(self, "word_size", self.bits // 8)
        object.__setattr__(self, "address_mask", (1 << self.bits) - 1)

    def fill(self, size: int) -> bytes:
        """`size` bytes of NOP instructions; fewer when no NOP fits the rest."""
        content = b""
        for nop in self.nops:
            content += nop * ((size - len(content)) // len(nop))
        return content

    @property
    def code_address_mask(self) -> int:
        """The mask that turns a function pointer into an address."""
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
    """The name of a type that no page has a row for. Only error messages need it, so the import is lazy."""
    from elftools.elf import enums

    names = getattr(enums, f"ENUM_RELOC_TYPE_{table}", {})
    return next((name for name, value in names.items() if value == number and isinstance(name, str)), None)
