"""x87's status and control words, and flags of comparisons: what an x86-64 processor leaves."""

from __future__ import annotations

import struct

import pytest

from emu import Machine
from emu.errors import GuestFault
from tests.objects.build import compiled

C1, INEXACT, DENORMAL, INVALID = 0x200, 0x20, 2, 1
#: Code after fninit, with 64 bytes to use from {m} on, and the bits of the status word among these.
STATUS: dict[str, tuple[str, int]] = {
    "rounded_up": ("fldpi\nfldl2t\nfaddp\nfld1\nfdivp\nfld1\nfldl2t\nfdivrp", C1 | INEXACT),
    "rounded_down": ("fld1\nfldpi\nfdivrp\nfstps {m}", INEXACT),
    "cleared_by_load": ("fldpi\nfsts {m}\nfld1", INEXACT),
    "square_root": ("fldpi\nfsqrt", INEXACT),
    "to_integer": ("fldpi\nfldl2t\nfistpl {m}\nfaddp %st, %st(0)", INEXACT),
    "denormal_in_memory": ("movl $1, {m}\nfld1\nfadds {m}", DENORMAL | INEXACT),
    "denormal_in_memory_and_nan": ("movl $1, {m}\nfldz\nfldz\nfdivrp\nfadds {m}", INVALID),
    "zero_by_zero": ("fldz\nfldz\nfdivrp", INVALID),
    "exact": ("fld1\nfld1\nfaddp", 0),
}
#: Control words loaded, and read.
CONTROL = {0x37F: 0x37F, 0xFFFF: 0x1F7F, 0x3F: 0x7F, 0xE0BF: 0x7F, 0x1C3F: 0x1C7F}


def _source(arch: str) -> str:
    wide = arch == "x86_64"
    place, base = ("-64(%rsp)", "%rdi") if wide else ("-64(%esp)", "%edx")
    load = "" if wide else "mov 4(%esp), %edx\n"
    functions = [
        f"{name}: {load}fninit\n{code.format(m=place)}\nfnstsw ({base})\nfninit\nret"
        for name, (code, _) in STATUS.items()
    ]
    control = f"{load}fldcw ({base})\nfnstcw ({base})\nfnstenv 2({base})\nfninit\nret"
    converted = f"{load}fldpi\nfldcw ({base})\nfistpl {place}\nfninit\nret"
    environment = f"{load}fldenv ({base})\nfnstenv ({base})\nfninit\nret"
    flags = "push %rax\npopf\nfldpi\nfldpi\nfcomip\njmp 1f\n1: pushf\npop %rax\nfninit\nret"
    flags = "mov $0x8d5, %eax\n" + (flags if wide else flags.replace("%rax", "%eax"))
    named = {"control": control, "converted": converted, "environment": environment, "flags": flags}
    functions += [f"{name}: {code}" for name, code in named.items()]
    return "\n".join(f".globl {text.partition(':')[0]}\n{text}" for text in functions) + "\n"


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_status_control_and_flags_are_those_of_hardware(arch: str) -> None:
    with Machine(arch) as machine:
        library, area = machine.load(compiled(arch, _source(arch), language="assembler")), machine.heap.malloc(64)
        for name, (_, expected) in STATUS.items():
            library.function(name, f"void {name}(void *)")(area)
            (status,) = struct.unpack("<H", machine.memory.read(area, 2))
            assert (name, status & (C1 | 0x3F)) == (name, expected)
        control = library.function("control", "void control(void *)")
        environment = library.function("environment", "void environment(void *)")
        for loaded, read in CONTROL.items():
            machine.memory.write(area, struct.pack("<H", loaded))
            control(area)
            assert struct.unpack("<HH", machine.memory.read(area, 4)) == (read, read)
            machine.memory.write(area, struct.pack("<IIIIIII", loaded, 0xC7BD, 0xFFFF, 0, 0, 0, 0))
            environment(area)
            words = struct.unpack("<IIIIIII", machine.memory.read(area, 28))
            assert (words[0] & 0xFFFF, words[1] & 0xFFFF) == (read, 0x473D)
        assert library.function("flags", "int flags()")() & 0x8D5 == 0x40


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_exceptions_that_would_trap_are_refused_where_they_are_unmasked(arch: str) -> None:
    for name in ("control", "converted", "environment"):
        with Machine(arch) as machine:
            library = machine.load(compiled(arch, _source(arch), language="assembler"))
            area = machine.heap.malloc(64)
            machine.memory.write(area, struct.pack("<IIIIIII", 0x33F & ~4, 0, 0xFFFF, 0, 0, 0, 0))
            with pytest.raises(GuestFault, match=f"invalid instruction.*{name}"):
                library.function(name, f"void {name}(void *)")(area)
