"""Constants of the gABI and its GNU and Android extensions, under the specification's names.

Sources: System V gABI (draft of 2013-06-10) chapters 4 and 5; `elf.h` of glibc for the GNU and Sun ranges;
Android's bionic `linker` for the DT_ANDROID_* tags.
"""

from __future__ import annotations

import enum

ELF_MAGIC = b"\x7fELF"
ELFCLASS32, ELFCLASS64 = 1, 2
ELFDATA2LSB, ELFDATA2MSB = 1, 2
EV_CURRENT = 1
PAGE = 4096  #: the smallest page size of all targets; p_offset and p_vaddr must be congruent modulo it


class FileType(enum.IntEnum):
    """e_type."""

    NONE = 0
    REL = 1
    EXEC = 2
    DYN = 3
    CORE = 4


class SegmentType(enum.IntEnum):
    """p_type."""

    NULL = 0
    LOAD = 1
    DYNAMIC = 2
    INTERP = 3
    NOTE = 4
    SHLIB = 5
    PHDR = 6
    TLS = 7
    GNU_EH_FRAME = 0x6474E550
    GNU_STACK = 0x6474E551
    GNU_RELRO = 0x6474E552
    GNU_PROPERTY = 0x6474E553


class DynamicTag(enum.IntEnum):
    """d_tag."""

    NULL = 0
    NEEDED = 1
    PLTRELSZ = 2
    PLTGOT = 3
    HASH = 4
    STRTAB = 5
    SYMTAB = 6
    RELA = 7
    RELASZ = 8
    RELAENT = 9
    STRSZ = 10
    SYMENT = 11
    INIT = 12
    FINI = 13
    SONAME = 14
    RPATH = 15
    SYMBOLIC = 16
    REL = 17
    RELSZ = 18
    RELENT = 19
    PLTREL = 20
    DEBUG = 21
    TEXTREL = 22
    JMPREL = 23
    BIND_NOW = 24
    INIT_ARRAY = 25
    FINI_ARRAY = 26
    INIT_ARRAYSZ = 27
    FINI_ARRAYSZ = 28
    RUNPATH = 29
    FLAGS = 30
    PREINIT_ARRAY = 32
    PREINIT_ARRAYSZ = 33
    SYMTAB_SHNDX = 34
    RELRSZ = 35
    RELR = 36
    RELRENT = 37
    ANDROID_REL = 0x6000000F
    ANDROID_RELSZ = 0x60000010
    ANDROID_RELA = 0x60000011
    ANDROID_RELASZ = 0x60000012
    ANDROID_RELR = 0x6FFFE000
    ANDROID_RELRSZ = 0x6FFFE001
    ANDROID_RELRENT = 0x6FFFE003
    GNU_HASH = 0x6FFFFEF5
    TLSDESC_PLT = 0x6FFFFEF6
    TLSDESC_GOT = 0x6FFFFEF7
    VERSYM = 0x6FFFFFF0
    RELACOUNT = 0x6FFFFFF9
    RELCOUNT = 0x6FFFFFFA
    FLAGS_1 = 0x6FFFFFFB
    VERDEF = 0x6FFFFFFC
    VERDEFNUM = 0x6FFFFFFD
    VERNEED = 0x6FFFFFFE
    VERNEEDNUM = 0x6FFFFFFF
    AUXILIARY = 0x7FFFFFFD
    FILTER = 0x7FFFFFFF


#: Tags whose value is an address, which a loader may have rebased in memory.
ADDRESS_TAGS = frozenset({
    DynamicTag.PLTGOT, DynamicTag.HASH, DynamicTag.STRTAB, DynamicTag.SYMTAB, DynamicTag.RELA,
    DynamicTag.INIT, DynamicTag.FINI, DynamicTag.REL, DynamicTag.JMPREL, DynamicTag.INIT_ARRAY,
    DynamicTag.FINI_ARRAY, DynamicTag.PREINIT_ARRAY, DynamicTag.SYMTAB_SHNDX, DynamicTag.RELR,
    DynamicTag.ANDROID_REL, DynamicTag.ANDROID_RELA, DynamicTag.ANDROID_RELR, DynamicTag.GNU_HASH,
    DynamicTag.TLSDESC_PLT, DynamicTag.TLSDESC_GOT, DynamicTag.VERSYM, DynamicTag.VERDEF,
    DynamicTag.VERNEED,
})  # fmt: skip


#: The tags that glibc rebases in memory (elf/get-dynamic-info.h, ADJUST_DYN_INFO).
REBASED_TAGS = (
    DynamicTag.HASH, DynamicTag.PLTGOT, DynamicTag.STRTAB, DynamicTag.SYMTAB, DynamicTag.RELA, DynamicTag.REL,
    DynamicTag.RELR, DynamicTag.JMPREL, DynamicTag.VERSYM, DynamicTag.GNU_HASH,
)  # fmt: skip


class DynamicFlag(enum.IntFlag):
    """DT_FLAGS."""

    ORIGIN = 1
    SYMBOLIC = 2
    TEXTREL = 4
    BIND_NOW = 8
    STATIC_TLS = 16


class DynamicFlag1(enum.IntFlag):
    """DT_FLAGS_1: the bits that this project acts on."""

    NOW = 1
    NODELETE = 8
    INITFIRST = 0x20
    NOOPEN = 0x40
    ORIGIN = 0x80
    INTERPOSE = 0x400
    NODEFLIB = 0x800
    PIE = 0x08000000


class SymbolBind(enum.IntEnum):
    """The high half of st_info."""

    LOCAL = 0
    GLOBAL = 1
    WEAK = 2
    GNU_UNIQUE = 10


class SymbolType(enum.IntEnum):
    """The low half of st_info."""

    NOTYPE = 0
    OBJECT = 1
    FUNC = 2
    SECTION = 3
    FILE = 4
    COMMON = 5
    TLS = 6
    GNU_IFUNC = 10


#: Types of symbols that other files can refer to.
LINKABLE_TYPES = (
    SymbolType.NOTYPE, SymbolType.OBJECT, SymbolType.FUNC, SymbolType.COMMON, SymbolType.TLS, SymbolType.GNU_IFUNC,
)  # fmt: skip


class Visibility(enum.IntEnum):
    """The low two bits of st_other."""

    DEFAULT = 0
    INTERNAL = 1
    HIDDEN = 2
    PROTECTED = 3


class SectionType(enum.IntEnum):
    """sh_type: the values of the gABI, GNU, LLVM, Android and the psABIs that object files use."""

    NULL = 0
    PROGBITS = 1
    SYMTAB = 2
    STRTAB = 3
    RELA = 4
    HASH = 5
    DYNAMIC = 6
    NOTE = 7
    NOBITS = 8
    REL = 9
    DYNSYM = 11
    INIT_ARRAY = 14
    FINI_ARRAY = 15
    PREINIT_ARRAY = 16
    GROUP = 17
    SYMTAB_SHNDX = 18
    RELR = 19
    CREL = 0x40000014  #: compact relocations (generic-abi list, 2024); the number LLVM uses until one is assigned
    ANDROID_REL = 0x60000001
    ANDROID_RELA = 0x60000002
    LLVM_ADDRSIG = 0x6FFF4C03
    X86_64_UNWIND = 0x70000001
    ARM_EXIDX = 0x70000001
    ARM_ATTRIBUTES = 0x70000003
    RISCV_ATTRIBUTES = 0x70000003


SHT_LOOS = 0x60000000  #: the first sh_type that means something to an operating system or a processor only


class SectionFlag(enum.IntFlag):
    """sh_flags."""

    WRITE = 1
    ALLOC = 2
    EXECINSTR = 4
    MERGE = 0x10
    STRINGS = 0x20
    INFO_LINK = 0x40
    LINK_ORDER = 0x80
    OS_NONCONFORMING = 0x100
    GROUP = 0x200
    TLS = 0x400
    COMPRESSED = 0x800
    GNU_RETAIN = 0x200000
    EXCLUDE = 0x80000000


class Compression(enum.IntEnum):
    """ch_type of a section with SHF_COMPRESSED."""

    ZLIB = 1
    ZSTD = 2


GRP_COMDAT = 1  #: flag word of a SHT_GROUP section: a link keeps one group per signature


SHN_UNDEF = 0
SHN_LORESERVE = 0xFF00
SHN_ABS = 0xFFF1
SHN_COMMON = 0xFFF2
SHN_XINDEX = 0xFFFF

VER_NDX_LOCAL, VER_NDX_GLOBAL = 0, 1
VERSYM_HIDDEN, VERSYM_INDEX = 0x8000, 0x7FFF
VER_FLG_BASE, VER_FLG_WEAK = 1, 2
