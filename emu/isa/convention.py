"""Calling conventions as data: the places of arguments and results, the C types, how a function returns.

`emu.calls.assign` computes the places of a prototype's parameters, `emu.calls.plan` moves the values. One
algorithm serves all conventions, since every psABI counts the same three things (the next integer register, the
next floating-point register, the next stacked argument); the fields here are the differences. Fields have no
defaults: a page that omits one fails at import.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from relink.arch import FloatAbi
from relink.records import dataclass, field, replace
from relink.records.tuples import NamedTuple


class FloatFormat(NamedTuple):
    """A binary floating-point interchange format. Widths in bits, the fraction without its leading bit."""

    exponent: int
    fraction: int
    explicit_one: bool = False  #: whether the leading bit is stored (x87)

    @property
    def size(self) -> int:
        """Size in bytes without padding."""
        return (1 + self.exponent + self.explicit_one + self.fraction) // 8


BINARY16 = FloatFormat(5, 10)
BINARY32 = FloatFormat(8, 23)
BINARY64 = FloatFormat(11, 52)
X87 = FloatFormat(15, 63, explicit_one=True)
BINARY128 = FloatFormat(15, 112)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataModel:
    """The basic C types. Sizes and alignments in bytes."""

    pointer_size: int  #: size of `long`, `size_t` and pointers: ILP32 or LP64
    char_signed: bool
    wchar_signed: bool
    long_double: FloatFormat
    long_double_size: int  #: sizeof(long double)
    time_size: int  #: sizeof(time_t) and sizeof(off_t), as glibc without _TIME_BITS or _FILE_OFFSET_BITS
    maximum_alignment: int  #: the largest alignment of a basic type in memory
    vector_alignment: int  #: no vector is aligned more
    unnamed_fields_align: bool  #: a bit-field without a name counts for the alignment of its structure
    has_float16: bool  #: whether compilers have _Float16
    has_float128: bool  #: whether compilers have _Float128
    extended_float_t: bool  #: float_t and double_t of <math.h> are long double (FLT_EVAL_METHOD 2)


class VariadicRule(enum.Enum):
    """How a variadic call differs from a call with the same named arguments."""

    SAME = "not at all"
    EXTRAS_AS_INTEGERS = "floating-point arguments that match the ellipsis are passed like integers"
    ARGUMENTS_AS_INTEGERS = "all floating-point arguments go where integers go"
    ALL_AS_INTEGERS = "all floating-point arguments and the result are passed like integers"


class PairAlignment(enum.Enum):
    """When a value of two registers that is aligned to its size must start at an even-numbered register."""

    NEVER = "never"
    ALWAYS = "always"
    VARIADIC = "when it matches the ellipsis"


class Aggregates(enum.Enum):
    """How a structure, union or complex number that is passed by value finds its registers."""

    STACK = "never: it goes on the stack"
    EIGHTBYTES = "each 8 bytes have a class, by what lies in them, and go to a register of its bank"
    HOMOGENEOUS = "up to four members, all of one floating-point or vector type, go to a register each"
    FLATTENED = "one or two floating-point members, or one and an integer, go to a register each"


class Statics(enum.Enum):
    """How compilers pass arguments to a static function that only its own unit calls."""

    SAME = "as to others"
    MORE_REGISTERS = "in further registers, instead of on the stack"
    OWN = "in other registers, and so is the result"


class SaveArea(NamedTuple):
    """The save area of one register bank in a `va_list`. Offsets and sizes are in bytes."""

    offset_at: int  #: field with the 32-bit signed offset of the next saved register from the base
    base_at: int  #: field with the base address
    limit: int  #: the offset after the bank's last register
    step: int  #: size of one saved register


class VaListStruct(NamedTuple):
    """A `va_list` that is a structure; not used where it is a pointer to the next argument."""

    overflow_at: int  #: field with the address of the next argument on the stack
    integers: SaveArea
    floats: SaveArea


class X87Stack(NamedTuple):
    """Names of the registers for floating-point results on the x87 stack."""

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
    float_abi: FloatAbi  #: its floating-point calling convention
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
    #: Sizes of vectors that are passed like integers, large ones as their address. Others are refused.
    integer_vectors: frozenset[int]
    aggregates: Aggregates
    aggregate_limit: int | None  #: bytes; what is larger, and in no register of its own, is passed as its address
    result_limit: int  #: bytes; a larger structure is returned in memory, unless its members have registers
    complex_result_limit: int  #: the same for a complex number
    result_pointer: str | None  #: holds the address a result is wanted at; None: it is a first argument
    pops_result_pointer: bool  #: the callee takes that argument off the stack
    argument_alignment: int  #: bytes; no argument is aligned more on the stack
    vectors_in_aggregates: bool  #: whether compilers agree on how structures with vectors are passed; else refused
    #: Whether compilers agree on homogeneous aggregates that are packed or of halves, and on packed structures
    #: with bit-fields of types wider than a word; else those are refused.
    odd_aggregates: bool
    natural_alignment: bool  #: of a structure what its members have counts, not attributes of the whole
    x87: X87Stack | None  #: floating-point results without a register are returned on the x87 stack
    preserved_integers: tuple[str, ...]  #: registers that a callee preserves, besides sp and the link register
    preserved_floats: tuple[str, ...]  #: floating-point registers of 8 bytes that a callee preserves
    link_register: str | None  #: holds the return address; None: it is pushed on the stack
    stack_alignment: int  #: alignment of sp at the call instruction, in bytes
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
    pair_split: bool  #: a pair may be split between the last register and the stack
    registers_reopen: bool  #: after an argument that did not fit the registers left, a smaller one may use them
    statics: Statics  #: the calls of static functions (LLVM's fastcc, GCC's regparm)
    sign_extends_words: bool  #: 32-bit integers, unsigned ones too, are sign-extended to 64 bits

    @property
    def word_size(self) -> int:
        """Bytes of an integer register, of a stack slot and of a pointer."""
        return self.data.pointer_size

    @property
    def first_argument(self) -> str | None:
        """The register of a first pointer argument; None when it is passed on the stack."""
        return next(iter(self.integer_arguments), None)

    def passes_by_reference(self, size: int) -> bool:
        """Whether a floating-point value of `size` bytes is passed as its address (RISC-V: over two words)."""
        return self.aggregate_limit is not None and size > self.aggregate_limit


def float_variants(page: CallingConvention, *abis: FloatAbi) -> tuple[CallingConvention, ...]:
    """Variants of a convention with fewer floating-point types in floating-point registers: other types are passed
    and returned like integers. Named "<arch>:<float ABI>".
    """
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
            integer_vectors=page.integer_vectors | page.vector_arguments.keys(),
        )
        for abi in abis
    )


def numbered(prefix: str, count: int, first: int = 0) -> tuple[str, ...]:
    """`count` register names: the prefix with numbers from `first`."""
    return tuple(f"{prefix}{number}" for number in range(first, first + count))
