"""What other loaders of relocatable objects get wrong, each as an object that is linked and called here.

elf_loader (Rust), CLE, Zephyr's llext, unidbg and chomper: where each fails is said beside its test.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink.arch import architecture
from relink.elf.objects import decode_object
from relink.errors import RelinkError, RelocationOverflow
from relink.linker import Linker
from relink.memory.address_space import HostMemory
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, compiled

EACH = pytest.mark.parametrize("target", TARGETS)
RISCV = pytest.mark.parametrize("target", ["riscv64", "riscv32"])


def types_of(target: str, path: Path) -> set[str]:
    """Names of an object's relocation types, without the prefix."""
    page = architecture(arch_of(target))
    tables = decode_object(path).relocations
    return {page.relocation_name(int(n)).removeprefix(page.prefix) for table in tables for n in table.type}


@EACH
def test_objects_with_debug_information_load(target: str) -> None:
    """elf_loader applies the debug sections' relocations to the image and fails."""
    source = "int counter = 41; int f(void) { return ++counter; }\n"
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, source, "-g", "-gdwarf-5"))
        assert lib.function("f")() == 42


@EACH
def test_constructors_are_read_after_relocation(target: str) -> None:
    """elf_loader reads the array before, when it holds zeros."""
    source = "int ready; __attribute__((constructor)) static void start(void) { ready = 42; }\n"
    for flags in ((), ("-fPIC",)):
        with Machine(arch_of(target)) as machine:
            assert machine.load(compiled(target, source, *flags)).symbols["ready"].read("int") == 42


def test_relaxable_got_entries_of_position_independent_x86_code() -> None:
    """elf_loader has no R_X86_64_REX_GOTPCRELX."""
    source = """
        extern int datum; extern int host(int);
        int get(void) { return datum; } int *address(void) { return &datum; }
        int call(int v) { return host(v) + 1; } int (*pointer(void))(int) { return host; }
        """
    arguments = (source, "-fPIC", "-fno-plt")
    assert {"REX_GOTPCRELX", "GOTPCRELX"} <= types_of("x86_64", compiled("x86_64", *arguments))
    with Machine("x86_64") as machine:
        lib = machine.load(
            [compiled("x86_64", *arguments), compiled("x86_64", "int datum = 7;\n", "-fPIC")],
            symbols={"host": lambda value: value * 2},
        )
        assert lib.function("get", "int()")() == 7
        assert lib.function("address", "uintptr_t()")() == lib.symbols["datum"].address
        assert lib.function("call", "int(int)")(4) == 9


@pytest.mark.parametrize(("target", "flags"), [("x86_64", ("-fPIC", "-mcmodel=large")), ("i386", ("-fPIC",))])
def test_the_global_offset_table_has_a_name(target: str, flags: tuple[str, ...]) -> None:
    """elf_loader does not define _GLOBAL_OFFSET_TABLE_."""
    source = "extern int datum; static int own = 2; int f(void) { return datum + own++; }\n"
    assert {"GOTPC64", "GOTPC"} & types_of(target, compiled(target, source, *flags))
    with Machine(target) as machine:
        lib = machine.load([compiled(target, source, *flags), compiled(target, "int datum = 40;\n", *flags)])
        assert [lib.function("f", "int()")() for _ in range(2)] == [42, 43]


@EACH
def test_floating_point_arguments_survive_the_way_to_a_variadic_function(target: str) -> None:
    """elf_loader's lazy trampoline spoils AL, which counts vector arguments; a stub may not either."""
    source = """
        extern int snprintf(char *, __SIZE_TYPE__, const char *, ...);
        int f(char *to, double x, int n) { return snprintf(to, 40, "%.3f %d %.1f", x, n, x * 2); }
        """
    with Machine(arch_of(target)) as machine:
        text = bytearray(40)
        lib = machine.load(compiled(target, source, "-fno-builtin"))
        assert lib.function("f", "int(char *, double, int)")(text, 3.14159, 42) == 12
        assert text.startswith(b"3.142 42 6.3\0")


def test_a_truncated_address_is_an_error() -> None:
    """CLE cuts R_X86_64_32 in silence."""
    texts = (".data\n.globl place\nplace: .long far\n", ".globl far\n.set far, 0x123456789\n")
    with pytest.raises(RelocationOverflow, match="R_X86_64_32 against far"):
        Linker(HostMemory("x86_64")).load([compiled("x86_64", text, language="assembler") for text in texts])


@EACH
def test_addends_in_place_and_beside_count(target: str) -> None:
    """chomper drops the addend of ABS64, and never applies Arm's REL entries."""
    source = """
        struct { char pad[100]; int field; } static whole = {.field = 42};
        int *pointer = &whole.field; int *before = (int *)((char *)&whole - 8);
        int f(void) { return *pointer; }
        """
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, source, "-fPIC"))
        assert lib.function("f", "int()")() == 42
        size = machine.arch.word_size
        field = machine.memory.read_uint(lib.symbols["pointer"].address, size)
        assert machine.memory.read_uint(lib.symbols["before"].address, size) == field - 108


# ---------------------------------------------------------------- Zephyr's llext


@RISCV
def test_six_bit_sums_use_all_six_bits(target: str) -> None:
    """llext masks SET6 and SUB6 with 0x1F."""
    text = ".data\n.globl place\nplace: .byte 0xC0\n.reloc place, R_RISCV_SET6, end\n"
    text += ".reloc place, R_RISCV_SUB6, start\nstart: .skip 42\nend:\n"
    image = Linker(HostMemory(target)).load(compiled(target, text, language="assembler"))
    at = image.symbol("place").address - image.region.address
    assert int(image.region.buffer[at]) == 0xC0 | 42


@RISCV
def test_jal_reaches_one_mebibyte_and_no_more(target: str) -> None:
    """llext lets 2 GiB pass."""
    text = f".option norelax\n.option norvc\n.text\n.skip {1 << 20}\nf: .reloc ., R_RISCV_JAL, far\n.long 0x6f\n"
    for distance, reaches in (((1 << 20) - 2, True), (1 << 20, False)):
        far = f"{text}.skip {distance - 4}\nfar: nop\n.skip {1 << 20}\n"
        path = compiled(target, far, language="assembler")
        if reaches:
            Linker(HostMemory(target)).load(path)
        else:
            with pytest.raises(RelocationOverflow, match="R_RISCV_JAL"):
                Linker(HostMemory(target)).load(path)


def test_moves_of_signed_halves_become_movn_or_movz() -> None:
    """llext has the two the wrong way round."""
    values = {"plus": 0x1234, "minus": -0x1235, "zero": 0, "one": -1}
    code = names = ""
    for name, value in values.items():
        for move in ("movz", "movn"):
            code += f".globl {name}_{move}\n{name}_{move}: {move} x0, #:abs_g0_s:v_{name}\nret\n"
        names += f".globl v_{name}\n.set v_{name}, {value}\n"
    with Machine("aarch64") as machine:
        lib = machine.load([compiled("aarch64", text, language="assembler") for text in (code, names)])
        for name, value in values.items():
            for move in ("movz", "movn"):
                assert lib.function(f"{name}_{move}", "long()")() == value


@RISCV
def test_position_independent_risc_v_code(target: str) -> None:
    """llext knows no GOT_HI20, no TLS and no ALIGN; elf_loader has none of them for RISC-V 32."""
    source = """
        extern int datum; extern __thread int local; static __thread int own = 3;
        __attribute__((aligned(64))) int f(int v) { return datum + local + own + v; }
        """
    other = "int datum = 4; __thread int local = 5;\n"
    assert {"GOT_HI20", "TLS_GD_HI20", "PCREL_LO12_I"} <= types_of(target, compiled(target, source, "-fPIC"))
    with Machine(target) as machine:
        lib = machine.load([compiled(target, source, "-fPIC"), compiled(target, other, "-fPIC")])
        assert lib.function("f", "int(int)")(30) == 42
        assert lib.symbols["f"].address % 64 == 0


@EACH
def test_errno_of_the_c_library_by_initial_exec(target: str) -> None:
    """Nobody covers TLS by initial or local exec in objects; errno is in every libc."""
    source = """
        extern __thread int errno __attribute__((tls_model("initial-exec")));
        int set(int value) { errno = value; return errno; }
        """
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, source, "-fPIC"))
        assert lib.function("set", "int(int)")(42) == 42
        assert machine.memory.read_uint(machine.libc.errno_address, 4) == 42


# ---------------------------------------------------------------- unwind tables


@EACH
def test_exception_tables_load(target: str) -> None:
    """Tables about code refer to it by distances, type information and personality through pointers in data."""
    source = """
        extern "C" void risky(int); struct Guard { int &n; ~Guard() { n++; } };
        extern "C" int f(int v) {
            int n = 0;
            { Guard g{n}; try { risky(v); } catch (int) { n += 100; } }
            return n;
        }
        """
    path = compiled(target, source, "-fexceptions", language="c++")
    with Machine(arch_of(target)) as machine:
        lib = machine.load(path, symbols={"risky": lambda value: None}, allow_unresolved=True)
        assert lib.function("f", "int(int)")(1) == 1


@EACH
def test_a_failed_load_changes_nothing(target: str) -> None:
    """Unresolved symbols are found before anything of the object runs."""
    source = """
        extern int nobody(void); int ran; __attribute__((constructor)) static void start(void) { ran = nobody(); }
        __thread int t; int *f(void) { return &t; }
        """
    with Machine(arch_of(target)) as machine:
        traps, modules, regions = len(machine.traps), len(machine.linker.tls.modules), len(machine.memory.regions)
        with pytest.raises(RelinkError, match="nobody"):
            machine.load(compiled(target, source), symbols={"unused": lambda: 0})
        assert len(machine.linker.tls.modules) == modules
        assert len(machine.traps) <= traps + 1  # __tls_get_addr's, which stays
        assert len(machine.memory.regions) == regions
        assert not machine.linker.images
