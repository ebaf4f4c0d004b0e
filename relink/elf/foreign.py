"""Names for files that compilers write and that cannot be linked: other formats, and objects without machine
code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from relink.arrays import U8

_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")  #: LLVM, "Bitcode Magic Number" and "Bitcode Wrapper Format"
_LTO = "an object for link-time optimisation: it holds no machine code; compile it without -flto"
_KINDS: Sequence[tuple[bytes, str]] = (
    *((magic, f"is LLVM bitcode, {_LTO}") for magic in _BITCODE),
    (b"\0asm", "is WebAssembly, not ELF"),
    (b"\xce\xfa\xed\xfe", "is a Mach-O file, not ELF"),
    (b"\xcf\xfa\xed\xfe", "is a Mach-O file, not ELF"),
    (b"\xca\xfe\xba\xbe", "is a Mach-O file of several architectures or a Java class, not ELF"),
    (b"MZ", "is a Windows program or library (PE), not ELF"),
)
LTO_SECTION = ".gnu.lto_.lto."
_SLIM_AT = 4  #: gcc/lto-streamer.h, `struct lto_section`: two 16-bit versions, then whether the object is slim


def foreign_kind(start: bytes) -> str | None:
    """The kind of file that begins with these bytes, for errors; None when it is not known."""
    return next((kind for magic, kind in _KINDS if start.startswith(magic)), None)


def is_bitcode(start: bytes) -> bool:
    """Whether a file that begins with these bytes is LLVM bitcode."""
    return start.startswith(_BITCODE)


def lto_problem(sections: Iterable[int], content: Callable[[int], U8]) -> str | None:
    """The reason when a relocatable object has only GCC's LTO bytecode (-flto without -ffat-lto-objects), else
    None. `sections` are those whose names begin with `LTO_SECTION`.
    """
    for number in sections:
        header = content(number)
        if len(header) > _SLIM_AT and header[_SLIM_AT]:
            return f"is {_LTO}, or with -ffat-lto-objects"
    return None
