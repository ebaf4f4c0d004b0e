"""x87's stack, when it is read empty or pushed onto full: what an x86-64 processor leaves."""

from __future__ import annotations

import struct

import pytest

from emu import Machine
from emu.cpu.corrections.finders import FINDERS
from emu.errors import CallError
from tests.objects.build import compiled

INDEFINITE = 0xFFFF_C000_0000_0000_0000
#: Code after fninit, the status word but for C0, C2 and C3, the number of registers in use, and st0.
CASES: dict[str, tuple[str, int, int, int | None]] = {
    "push_onto_full": ("fld1\n" * 9, 0x3A41, 8, INDEFINITE),
    "pushes_in_a_loop": ("mov $9, %ecx\n1: fldpi\ndec %ecx\njnz 1b", 0x3A41, 8, INDEFINITE),
    "load_after_mmx": ("movd %ecx, %mm0\njmp 1f\n1: fld1", 0x3A41, 8, INDEFINITE),
    "load_after_mmx_and_emms": ("movd %ecx, %mm0\nemms\njmp 1f\n1: fld1", 0x3800, 1, 0x3FFF << 64 | 1 << 63),
    "written_by_mmx": (
        "fldpi\nmov $5, %ecx\nmovd %ecx, %mm0\npsllq $1, %mm0\njmp 1f\n1:",
        0,
        8,
        0xFFFF << 64 | 10,
    ),
    "read_by_mmx": ("fldpi\nmovd %mm7, %eax\nmovd %eax, %mm0\nfdecstp", 0x3800, 8, 0x4000_C90F_DAA2_2168_C235),
    "written_by_mmx_before_and_after_x87": (
        "mov $5, %ecx\nmovd %ecx, %mm7\nemms\nfldpi\nmovd %ecx, %mm7\nfdecstp",
        0x3800,
        8,
        0xFFFF << 64 | 5,
    ),
    "pop_of_empty": ("fstp %st(0)", 0x0841, 0, None),
    "add_to_empty": ("fld1\njmp 1f\n1: faddp", 0x41, 1, INDEFINITE),
    "compare_with_empty": ("fld1\nfucom %st(1)", 0x3841, 1, 0x3FFF << 64 | 1 << 63),
    "exchange_with_empty": ("fldpi\nfxch %st(3)", 0x3841, 2, INDEFINITE),
    "copy_to_empty": ("fldpi\nfst %st(5)", 0x3800, 2, 0x4000_C90F_DAA2_2168_C235),
    "integer_of_empty": ("fistpl {below}\nfildl {below}", 0x41, 1, 0xC01E_8000_0000_0000_0000),
    "sine_of_empty": ("fsin", 0x41, 1, INDEFINITE),
    "two_results_onto_full": ("fldpi\n" * 8 + "fsincos", 0x3A41, 8, INDEFINITE),
    "after_ffree": ("fld1\nfldpi\nffree %st(1)\nfaddp", 0x3841, 1, INDEFINITE),
    "eight_as_ever": ("fld1\nfldpi\n" * 4 + "fstp %st(0)\nfldz", 0, 8, 0),
}


def _source(arch: str) -> str:
    below, load, base = (
        ("-16(%rsp)", "", "%rdi") if arch == "x86_64" else ("-16(%esp)", "mov 4(%esp), %edx", "%edx")
    )
    return "".join(
        f".globl {name}\n{name}: fninit\n{code.format(below=below)}\n{load}\nfnsave ({base})\nfninit\nret\n"
        for name, (code, *_) in CASES.items()
    )


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_stack_faults_leave_what_hardware_leaves(arch: str) -> None:
    with Machine(arch) as machine:
        library, area = machine.load(compiled(arch, _source(arch), language="assembler")), machine.heap.malloc(108)
        for name, (_, status, used, top) in CASES.items():
            function = library.function(name, f"void {name}(void *)")
            for _ in range(2):
                function(area)
                saved = machine.memory.read(area, 108)
                found, tags = struct.unpack_from("<4xH2xH", saved)
                full = [tags >> 2 * ((found >> 11) + n & 7) & 3 != 3 for n in range(8)]
                st0 = int.from_bytes(saved[28:38], "little") if full[0] else None
                assert (hex(found & ~0x4500), sum(full), st0) == (hex(status), used, top), name


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_a_stack_fault_is_found_under_an_instruction_limit(arch: str) -> None:
    with Machine(arch) as machine:
        library, area = machine.load(compiled(arch, _source(arch), language="assembler")), machine.heap.malloc(108)
        function = library.function("pushes_in_a_loop", "void f(void *)")
        for limit in (1000, 40):
            function(area, max_instructions=limit)
            assert machine.memory.read(area + 4, 2) == b"\x41\x3a"


def test_a_function_that_leaves_no_floating_point_result_has_returned_none() -> None:
    with Machine("i386") as machine:
        library = machine.load(compiled("i386", "int f(int a) { return a; }\n"))
        with pytest.raises(CallError, match="left no value on the x87 stack"):
            library.function("f", "double f(int)")(1)
        assert library.function("f", "int f(int)")(7) == 7


@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_mmx_code_stops_only_where_a_block_first_writes_a_register(arch: str) -> None:
    paddd_0, paddd_1 = b"\x0f\xfe\xc2", b"\x0f\xfe\xca"  # mm0 and mm1, plus mm2
    fldz, fxrstor = b"\xd9\xee", b"\x0f\xae\x08"
    pieces = [paddd_0, paddd_0, paddd_1, paddd_0, fldz, paddd_1, paddd_1, fxrstor, paddd_1]
    starts = [sum(map(len, pieces[:n])) for n in range(len(pieces))]
    found = [each.address for each in FINDERS[arch](b"".join(pieces), 0) if each.guard is not None]
    assert found == [starts[n] for n in (0, 2, 5, 8)]
