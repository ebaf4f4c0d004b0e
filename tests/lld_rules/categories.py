"""What of LLVM's linker tests does not concern a linker that links into memory, by category; and where this linker
differs on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: (category, words in the test's path).
TESTS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "other targets",
        ("mips", "ppc", "powerpc", "hexagon", "amdgpu", "amdgcn", "avr", "msp430", "sparc", "systemz", "s390x"),
    ),
    ("linker scripts", ("linkerscript/", "lds", "script", "sectionstart", "section-align", "phdrs")),
    ("LTO and bitcode", ("lto", "bitcode", "^opt-")),
    (
        "folding, collection and ordering of sections",
        ("icf", "^gc-", "-gc", "gc-sections", "cgprofile", "call-graph", "symbol-ordering", "shuffle"),
    ),
    ("relocatable output, --emit-relocs", ("^relocatable", "emit-reloc", "^partial", "-r\\.s")),
    (
        "reports (map, trace, --reproduce, --verbose)",
        ("map-file", "^trace", "reproduce", "^print-", "verbose", "^driver", "cref", "time-trace", "archname",
         "color-diag", "^version\\.test", "silent", "help"),
    ),
    (
        "debug sections made by the linker",
        ("gdb-?index", "debug-names", "compress-debug", "build-id", "debug-gnu-pub"),
    ),
    (
        "header and notes of the output",
        ("gnustack", "^note", "note-", "eh-?frame-hdr", "gnu-property", "^partition", "-feature-", "emulation",
         "os_?abi", "basic-block", "retain", "sysroot", "dynamic-linker", "interp"),
    ),
    (
        "errata of CPUs, execute-only, split stacks, CMSE",
        ("errat", "843419", "657417", "execute-only", "split-stack", "cmse", "cortex"),
    ),
    (
        "layout of the output",
        ("image-base", "omagic", "nmagic", "ttext", "separate-code", "rosegment", "page-size", "pack-dyn", "relr",
         "z-rel", "zrel",
         "hash-?style", "relro", "strip", "basic\\d*\\.s", "fill", "trap", "chroot", "section-name",
         "oformat", "arm-sbrel32", "aarch64-prel", "x86-64-reloc-range\\."),
    ),
    (
        "versions and export lists of the output",
        ("version-script", "version-exclude", "dynamic-list", "exclude-libs", "export-dynamic", "retain-symbols",
         "verdef", "verneed"),
    ),
)  # fmt: skip
#: (category, options).
OPTIONS: Sequence[tuple[str, Sequence[str]]] = (
    ("linker scripts", ("T", "script", "dT", "default-script")),
    (
        "folding, collection and ordering of sections",
        ("icf", "gc-sections", "symbol-ordering-file", "call-graph", "shuffle", "sort-section"),
    ),
    ("relocatable output, --emit-relocs", ("r$", "q$", "relocatable", "emit-relocs")),
    (
        "reports (map, trace, --reproduce, --verbose)",
        ("M$", "v$", "V$", "y", "t$", "Map", "cref", "print-", "trace", "reproduce", "verbose", "version$", "help",
         "time"),
    ),
    (
        "layout of the output",
        ("N$", "n$", "Ttext", "Tdata", "Tbss", "section-start", "image-base", "oformat", "omagic", "nmagic"),
    ),
    (
        "versions and export lists of the output",
        ("version-script", "dynamic-list", "exclude-libs", "retain-symbols"),
    ),
    (
        "policies about errors",
        ("noinhibit-exec", "unresolved-symbols", "warn-", "allow-multiple", "error-limit", "fatal-warnings",
         "no-allow-shlib", "no-demangle", "allow-shlib", "just-symbols", "chroot"),
    ),
    ("big-endian, binary files", ("EB", "be8", "format", "b$")),
)  # fmt: skip
#: (category, words of ld.lld's error).
REFUSALS: Sequence[tuple[str, Sequence[str]]] = (
    (
        "merging of equal strings and constants",
        ("null terminated", "SHF_MERGE", "outside the section", "non-regular"),
    ),
    ("rewriting of .eh_frame", ("eh_frame", "CIE")),
    ("debug sections (read on demand)", ("debug_", "DWARF")),
    (
        "position-independent output",
        ("recompile with -fPI", "cannot be used with -shared", "attempted static link", "cannot refer to absolute",
         "cannot be used against", "can't create dynamic relocation", "cannot preempt"),
    ),
    (
        "command line",
        ("unknown (argument|option|emulation|-z)", "cannot open", "unable to find", "missing arg",
         "invalid (argument|option|--)", "no input files", "expected", "unknown --", ": number expected",
         "is not supported", "incompatible", "can't be used", "may not be used", "cannot find",
         "mutually exclusive", " nest"),
    ),
)  # fmt: skip
#: (test, reason why this linker does something else).
ON_PURPOSE: Sequence[tuple[str, str]] = (
    ("arm-(thumb-)?undefined-weak", "as GNU ld: the address 0, also for a PC-relative reference to a weak symbol"),
    ("arm-tag-vfp-args", "as GNU ld: no Tag_ABI_VFP_args is the base standard"),
    ("comdat-linkonce", "as GNU ld: a link-once section and a COMDAT group exclude each other"),
    ("ctors_dtors_priority", "as GNU ld: .ctors is part of .init_array, last word first"),
    ("exclude-discarded-error2", "as GNU ld: a definition in an excluded section is none"),
    ("tls-mismatch", "as GNU ld: a symbol is thread-local everywhere, or nowhere"),
    ("copy-relocation-zero-nonabs", "as ld.so: a dynamic symbol of value 0 is undefined"),
    ("copy-rel-corrupted", "nothing is copied: objects use a library's data where it is"),
    ("invalid/multiple-relocations-sections", "several relocation sections for one section are applied"),
    ("relocation-b-aarch64", "as GNU ld: a branch's relocation writes the immediate, not the opcode"),
    ("i386-linkonce", "a reference to a section that is not loaded is refused"),
    ("incompatible-section-types2", "sections that are not loaded may have any type"),
    (
        "aarch64-tlsdesc|tls-two-relocs|(invalid/)?x86-64-tlsdesc-gd",
        "undefined thread-local variables are refused, by name",
    ),
    ("deplibs", "refused, by the symbols' names: .deplibs (SHT_LLVM_DEPENDENT_LIBRARIES) is not read"),
    ("sht-group-gold-r", "cannot be compared: lld places a section of the size 0 elsewhere"),
)  # fmt: skip


def by_name(test: str) -> str | None:
    """The category by which a test is left out, given its path below the folder of tests."""
    return _first(TESTS, [test], r"(?:{})")


def by_options(options: Sequence[str]) -> str | None:
    """The category by which a link is left out."""
    if "muldefs" in options:
        return "policies about errors"
    return _first(OPTIONS, options, r"^--?(?:{})")


def by_refusal(message: str) -> str | None:
    """The category of an error of ld.lld that is about its output or its command line."""
    return _first(REFUSALS, [message], r"(?:{})")


def on_purpose(test: str) -> str | None:
    """Why this linker does something else than ld.lld."""
    return next((reason for pattern, reason in ON_PURPOSE if re.match(pattern, test)), None)


def _first(table: Sequence[tuple[str, Sequence[str]]], texts: Sequence[str], pattern: str) -> str | None:
    for name, words in table:
        searched = re.compile(pattern.format("|".join(words)))
        if any(searched.search(text) for text in texts):
            return name
    return None
