"""Names for files that cannot be linked: other formats, compressed files, and objects without machine code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from relink.arrays import U8

_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")  #: LLVM, "Bitcode Magic Number" and "Bitcode Wrapper Format"
_LTO = "an object for link-time optimisation: it holds no machine code; compile it without -flto"
_MACH_O = (b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbf")
_PACKED: Sequence[tuple[bytes, str]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
)
_KINDS: Sequence[tuple[bytes, str]] = (
    *((magic, f"is LLVM bitcode, {_LTO}") for magic in _BITCODE),
    (b"\0asm", "is WebAssembly, not ELF"),
    *((magic, "is a Mach-O file, not ELF") for magic in _MACH_O),
    (b"\xca\xfe\xba\xbe", "is a Mach-O file of several architectures or a Java class, not ELF"),
    (b"MZ", "is a Windows program or library (PE), not ELF"),
    (b"\0\0\xff\xff", "is a Windows object or a member of an import library (COFF), not ELF"),
    (b"\x01\xdf", "is an AIX object (XCOFF), not ELF"),
    (b"\x01\xf7", "is an AIX object (XCOFF), not ELF"),
    (b"<bigaf>\n", "is an archive for AIX; only archives of ELF objects can be linked"),
    (b"<aiaff>\n", "is an archive for AIX; only archives of ELF objects can be linked"),
    (b"PK\3\4", "is a zip file: the library has to be unpacked first"),
    *((magic, f"is compressed with {how}: it has to be decompressed first") for magic, how in _PACKED),
)
#: COFF (Microsoft's "PE Format"): the 16-bit machine at the start; objects have no optional header, whose size is
#: at offset 16.
_COFF_MACHINES: Mapping[int, str] = {
    0x14C: "80386", 0x1C0: "Arm", 0x1C4: "Arm", 0x8664: "x86-64", 0xAA64: "AArch64", 0xA641: "AArch64",
    0x5064: "RISC-V",
}  # fmt: skip
_COFF_OPTIONAL = slice(16, 18)
LTO_SECTION = ".gnu.lto_.lto."
_SLIM_AT = 4  #: gcc/lto-streamer.h, `struct lto_section`: two 16-bit versions, then whether the object is slim


def foreign_kind(start: bytes) -> str | None:
    """The kind of file that begins with these bytes, for errors; None when it is not known."""
    found = next((kind for magic, kind in _KINDS if start.startswith(magic)), None)
    if start.startswith(b"#") and b"libtool library file" in start:
        return "is a libtool file (.la), text that describes a library: give that library"
    machine = _COFF_MACHINES.get(int.from_bytes(start[:2], "little"))
    if found is None and machine is not None and start[_COFF_OPTIONAL] == bytes(2):
        return f"is a Windows object (COFF) for {machine}, not ELF"
    return found


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
