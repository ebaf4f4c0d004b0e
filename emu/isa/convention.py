"""Calling conventions as data: where arguments and results go, what the C types are, how a function returns.

`emu.calls.assign` computes places for a prototype's parameters from it, `emu.calls.plan` moves the values. One
algorithm serves all conventions, since every psABI counts the same three things (the next integer register, the
next floating-point register, the next stacked argument); the fields here say where they differ.

Fields have no defaults: a page that leaves one out fails when it is imported.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from relink.arch import FloatAbi
from relink.records import dataclass, field, replace


class FloatFormat(NamedTuple):
    """A binary floating-point interchange format. Widths in bits, the fraction without its leading bit."""

    exponent: int
    fraction: int
    explicit_one: bool = False  #: the leading bit is stored (x87)

    @property
    def size(self) -> int:
        """Bytes that carry the value (without padding)."""
        return (1 + self.exponent + self.explicit_one + self.fraction) // 8


BINARY16 = FloatFormat(5, 10)
BINARY32 = FloatFormat(8, 23)
BINARY64 = FloatFormat(11, 52)
X87 = FloatFormat(15, 63, explicit_one=True)
BINARY128 = FloatFormat(15, 112)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataModel:
    """What the basic C types are. Sizes and alignments in bytes."""

    pointer_size: int  #: of `long`, `size_t` and pointers too: ILP32 or LP64
    char_signed: bool
    wchar_signed: bool
    long_double: FloatFormat
    long_double_size: int  #: sizeof(long double)
    time_size: int  #: sizeof(time_t) and sizeof(off_t), as glibc without _TIME_BITS or _FILE_OFFSET_BITS
    maximum_alignment: int  #: no basic type is aligned more in memory
    vector_alignment: int  #: no vector is aligned more
    unnamed_fields_align: bool  #: a bit-field without a name counts for the alignment of its structure
    has_float16: bool  #: whether compilers have _Float16
    has_float128: bool  #: whether compilers have _Float128
    extended_float_t: bool  #: float_t and double_t of <math.h> are long double (FLT_EVAL_METHOD 2)


class VariadicRule(enum.Enum):
    """How a variadic call differs from one with the same arguments named."""

    SAME = "not at all"
    EXTRAS_AS_INTEGERS = "floating-point arguments that match the ellipsis go where integers go"
    ARGUMENTS_AS_INTEGERS = "all floating-point arguments go where integers go"
    ALL_AS_INTEGERS = "all floating-point arguments and the result go where integers go"


class PairAlignment(enum.Enum):
    """When a value of two registers, aligned to its size, starts at an even-numbered one."""

    NEVER = "never"
    ALWAYS = "always"
    VARIADIC = "when it matches the ellipsis"


class Aggregates(enum.Enum):
    """How a structure, union or complex number that is passed by value finds its registers."""

    STACK = "never: it goes on the stack"
    EIGHTBYTES = "each 8 bytes have a class, by what lies in them, and go to a register of its bank"
    HOMOGENEOUS = "up to four members, all of one floating-point or vector type, go to a register each"
    FLATTENED = "one or two floating-point members, or one and an integer, go to a register each"


class SaveArea(NamedTuple):
    """Where a `va_list` keeps saved registers of one bank. All but `base_at`'s contents are in bytes."""

    offset_at: int  #: field with the 32-bit signed offset of the next saved register from the base
    base_at: int  #: field with the base address
    limit: int  #: the offset behind the bank's last register
    step: int  #: one saved register


class VaListStruct(NamedTuple):
    """A `va_list` that is a structure (where it is just a pointer to the next argument, there is none)."""

    overflow_at: int  #: field with the address of the next argument on the stack
    integers: SaveArea
    floats: SaveArea


class X87Stack(NamedTuple):
    """Names of the registers a floating-point result on the x87 stack concerns."""

    top: str
    status: str  #: TOP is bits 11..13
    tags: str  #: 16 bits, two for each physical register: 3 is empty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CallingConvention:
    """One procedure call standard. Compare by identity; there is one object for each.

    Register names are those of `emu.cpu.protocol.Cpu`.
    """

    arch: str  #: the architecture's canonical name; for a variant with ":" and its float ABI ("arm:soft-float")
    document: str  #: title and section of the standard
    float_abi: FloatAbi  #: which of an ISA's ways to pass floating-point values this is
    data: DataModel
    integer_arguments: tuple[str, ...]
    integer_results: tuple[str, ...]  #: low word first
    #: Size in bytes of a floating-point type -> the registers that pass it. Registers at the same index of
    #: two sizes are the same register, unless `float_backfill`.
    float_arguments: Mapping[int, tuple[str, ...]] = field(repr=False)
    #: Size -> the registers that return it; a size that is missing is returned like an integer.
    float_results: Mapping[int, tuple[str, ...]] = field(repr=False)
    #: Size of a vector -> the registers that pass it (of the same bank; "a:b" are two registers, the lower first).
    vector_arguments: Mapping[int, tuple[str, ...]] = field(repr=False)
    vector_results: Mapping[int, tuple[str, ...]] = field(repr=False)
    vectors_as_integers: bool  #: a vector without such a register is passed like an integer; else it is refused
    aggregates: Aggregates
    aggregate_limit: int | None  #: bytes; what is larger, and in no register of its own, is passed as its address
    result_limit: int  #: bytes; a larger structure is returned in memory, unless its members have registers
    complex_result_limit: int  #: the same for a complex number
    result_pointer: str | None  #: holds the address a result is wanted at; None: it is a first argument
    pops_result_pointer: bool  #: the callee takes that argument off the stack
    argument_alignment: int  #: bytes; no argument is aligned more on the stack
    vectors_in_aggregates: bool  #: whether compilers agree on how structures with vectors are passed; else refused
    #: Whether compilers agree on homogeneous aggregates that are packed or of halves; else those are refused.
    odd_homogeneous: bool
    natural_alignment: bool  #: of a structure what its members have counts, not attributes of the whole
    x87: X87Stack | None  #: floating-point results without a register are returned on the x87 stack
    preserved_integers: tuple[str, ...]  #: registers a callee keeps, besides sp and the link register
    preserved_floats: tuple[str, ...]  #: floating-point registers of 8 bytes a callee keeps
    link_register: str | None  #: holds the return address; None: it is pushed on the stack
    stack_alignment: int  #: bytes, of sp at the call instruction
    red_zone: int  #: bytes below sp that a function may use without moving sp
    #: Arm: two 4-byte registers make one of 8, and a float takes the lowest one still free.
    float_backfill: bool
    #: With no floating-point register left, a floating-point value is passed like an integer.
    floats_spill_to_integers: bool
    float_boxed: bool  #: a float in a register has all bits above it set (RISC-V NaN boxing)
    variadic: VariadicRule
    #: Set by a variadic call to (at least) the number of floating-point registers used.
    vector_count_register: str | None
    va_list: VaListStruct | None  #: None: a pointer to the next argument
    pair_alignment: PairAlignment
    pair_split: bool  #: a pair may lie half in the last register, half on the stack
    registers_reopen: bool  #: after an argument that did not fit the registers left, a smaller one may use them
    sign_extends_words: bool  #: 32-bit integers, unsigned ones too, are sign-extended to 64 bits

    @property
    def word_size(self) -> int:
        """Bytes of an integer register, of a stack slot and of a pointer."""
        return self.data.pointer_size

    @property
    def first_argument(self) -> str | None:
        """The register a first pointer argument is passed in; None where it is on the stack."""
        return next(iter(self.integer_arguments), None)

    def passes_by_reference(self, size: int) -> bool:
        """Whether a floating-point value of `size` bytes is passed as its address (RISC-V: over two words)."""
        return self.aggregate_limit is not None and size > self.aggregate_limit


def float_variants(page: CallingConvention, *abis: FloatAbi) -> tuple[CallingConvention, ...]:
    """The same convention with fewer floating-point values in floating-point registers: the others, and results,
    are passed like integers. Named "<arch>:<float ABI>"."""
    kept = {FloatAbi.SOFT: (), FloatAbi.SINGLE: (2, 4)}
    return tuple(
        replace(
            page,
            arch=f"{page.arch}:{abi.value}",
            float_abi=abi,
            floats_spill_to_integers=True,
            float_arguments={size: page.float_arguments[size] for size in kept[abi]},
            float_results={size: page.float_results[size] for size in kept[abi]},
            vector_arguments={},
            vector_results={},
            vectors_as_integers=True,
        )
        for abi in abis
    )


def numbered(prefix: str, count: int, first: int = 0) -> tuple[str, ...]:
    """`count` register names: the prefix with numbers from `first`."""
    return tuple(f"{prefix}{number}" for number in range(first, first + count))
