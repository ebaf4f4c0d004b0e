"""Debug information wherever it lies: compressed, in type units, in files of their own; or an error that names it.

Inputs are made by the host's GCC and binutils; what a host lacks is skipped by name.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from relink import HostMemory, Linker
from relink.elf import decode
from relink.elf.dwarf import prototype
from relink.errors import DebugInfoError, ElfError

SOURCE = """
enum sign { MINUS = -1, PLUS };
struct pair { int x; };
double half(double a, struct pair *p) { return a / 2; }
double renamed(double, struct pair *) __attribute__((alias("half")));
static double hidden_one(double a) { return a * 4; }
double visible(double) __attribute__((alias("hidden_one")));
int sign_of(enum sign s) { return s; }
float unprototyped(a, b) float a; int b; { return a + b; }
"""
OTHER = """struct pair { int x; }; enum sign { MINUS = -1, PLUS };
int both(struct pair *p, enum sign s) { return s; }"""
HALF = "double half(double a, struct pair *p)"


def run(*command: str | Path, cwd: Path) -> None:
    tool = str(command[0])
    if platform.machine() != "x86_64" or shutil.which(tool) is None:
        pytest.skip(f"needs an x86-64 host with {tool}")
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode and "unrecognized" in done.stderr + done.stdout:
        pytest.skip(f"this {tool} lacks one of {command}")
    assert done.returncode == 0, done.stderr


def library(folder: Path, *flags: str, sources: Sequence[str] = (SOURCE,)) -> Path:
    """A shared object of the sources."""
    names = []
    for number, text in enumerate(sources):
        names.append(folder / f"source{number}.c")
        names[-1].write_text(text)
    run("gcc", "-shared", "-fPIC", "-O1", "-w", "-std=gnu11", *flags, *names, "-o", "lib.so", cwd=folder)
    return folder / "lib.so"


def at(path: Path, name: str) -> str | None:
    """The prototype of a symbol, by its address."""
    image = decode(path)
    index = int(image.symbols.find(name)[0])
    return prototype(image, name, int(image.symbols.value[index]))


@pytest.mark.parametrize(
    "flags",
    [
        ("-g",), ("-gdwarf-2", "-gstrict-dwarf"), ("-gdwarf-4", "-fdebug-types-section"),
        ("-gdwarf-5", "-fdebug-types-section"), ("-g", "-gz=zlib"), ("-g", "-gz=zlib-gnu"),
        ("-g", "-Wl,--compress-debug-sections=zstd"), ("-gdwarf64", "-gdwarf-5"),
        ("-gdwarf-4", "-gsplit-dwarf"), ("-gdwarf-5", "-gsplit-dwarf"), ("-g3", "-O2", "-flto"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_functions_are_found_by_address_whatever_their_symbol(tmp_path: Path, flags: tuple[str, ...]) -> None:
    path = library(tmp_path, *flags)
    assert at(path, "half") == HALF
    assert at(path, "renamed") == HALF.replace("half", "renamed")
    assert at(path, "visible") == "double visible(double a)"
    assert at(path, "sign_of") in ("int sign_of(int s)", "int sign_of(int32_t s)"), "a member is negative"
    assert at(path, "unprototyped") == "float unprototyped(double a, int b)"
    assert at(path, "_init" if decode(path).symbols.find("_init").size else "half") in (None, HALF)


def test_objects_with_debug_sections_of_any_compression_link_and_tell(tmp_path: Path) -> None:
    (tmp_path / "source.c").write_text(SOURCE)
    run("gcc", "-g", "-O1", "-w", "-std=gnu11", "-c", "source.c", "-o", "plain.o", cwd=tmp_path)
    for kind in ("none", "zlib", "zlib-gnu", "zstd"):
        run("objcopy", f"--compress-debug-sections={kind}", "plain.o", f"{kind}.o", cwd=tmp_path)
        image = Linker(HostMemory("x86_64")).load(tmp_path / f"{kind}.o")
        symbol = image.symbol("renamed")
        text = prototype(image.decoded, "renamed", symbol.address - image.bias)
        assert text == HALF.replace("half", "renamed"), kind


def test_damaged_debug_relocations_do_not_stop_a_link(tmp_path: Path) -> None:
    (tmp_path / "source.c").write_text(SOURCE)
    run("gcc", "-g", "-O1", "-w", "-std=gnu11", "-c", "source.c", "-o", "plain.o", cwd=tmp_path)
    content = bytearray((tmp_path / "plain.o").read_bytes())
    table = decode(tmp_path / "plain.o").section(".rela.debug_info")
    assert table is not None
    content[table.offset + 7] = 0x7F  # the offset of its first entry
    image = Linker(HostMemory("x86_64")).load(bytes(content))
    with pytest.raises(DebugInfoError, match=r"half.*\.rela\.debug_info: relocation 0 is at offset 0x7f"):
        prototype(image.decoded, "half", image.symbol("half").address - image.bias)


def test_a_missing_split_file_is_named(tmp_path: Path) -> None:
    path = library(tmp_path, "-gdwarf-5", "-gsplit-dwarf")
    moved = [file.rename(tmp_path / "elsewhere") for file in tmp_path.glob("*.dwo")]
    assert moved
    with pytest.raises(DebugInfoError, match=r"half: split debug information: .*source0\.dwo was not found"):
        at(path, "half")


def test_a_package_beside_the_image_stands_for_its_split_files(tmp_path: Path) -> None:
    path = library(tmp_path, "-gdwarf-4", "-gsplit-dwarf", sources=(SOURCE, OTHER))
    dwos = sorted(file.name for file in tmp_path.glob("*.dwo"))
    run("dwp", *dwos, "-o", "lib.so.dwp", cwd=tmp_path)
    for name in dwos:
        (tmp_path / name).unlink()
    assert at(path, "half") == HALF
    assert at(path, "both") == "int both(struct pair *p, int s)"


def test_an_alternate_file_is_followed_or_named(tmp_path: Path) -> None:
    first = library(tmp_path, "-g", sources=(SOURCE, OTHER))
    second = Path(shutil.copy(first, tmp_path / "second.so"))
    run("dwz", "-m", "common.debug", "lib.so", "second.so", cwd=tmp_path)
    assert at(first, "both") == at(second, "both") == "int both(struct pair *p, int s)"
    (tmp_path / "common.debug").unlink()
    with pytest.raises(DebugInfoError, match=r"common\.debug is not there"):
        at(first, "both")


def test_a_stripped_library_has_its_debug_file_beside_it_or_none_covers_it(tmp_path: Path) -> None:
    path = library(tmp_path, "-g")
    run("objcopy", "--only-keep-debug", "lib.so", "lib.debug", cwd=tmp_path)
    run("objcopy", "-g", "--add-gnu-debuglink=lib.debug", "lib.so", cwd=tmp_path)
    assert at(path, "half") == HALF
    (tmp_path / "lib.debug").write_bytes(b"another file")
    assert at(path, "half") is None


@pytest.mark.parametrize("file", ["so", "exe"])
def test_a_file_of_symbols_only_is_refused(tmp_path: Path, file: str) -> None:
    library(tmp_path)
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    run("gcc", "main.c", "-o", "lib.exe", cwd=tmp_path)
    run("objcopy", "--extract-symbol", f"lib.{file}", "symbols", cwd=tmp_path)
    with pytest.raises(ElfError, match="symbols: has the symbols of a library or program whose code"):
        Linker(HostMemory("x86_64")).load(tmp_path / "symbols")


@pytest.mark.parametrize(
    ("parameter", "refused"),
    [
        ("_Complex double z", "complex"), ("_Complex float z", "complex"), ("__float128 q", "_Float128"),
        ("_Float16 h", "_Float16"), ("_Decimal64 d", "_Decimal64"), ("v4 v", "vector of int"),
    ],
)  # fmt: skip
def test_what_a_call_cannot_pass_is_refused_by_name(tmp_path: Path, parameter: str, refused: str) -> None:
    vector = "typedef int v4 __attribute__((vector_size(16)));\n"
    kind = parameter.rpartition(" ")[0]
    text = f"int takes({parameter}) {{ return 1; }} {kind} *gives(void) {{ return 0; }}"
    path = library(tmp_path, "-g", sources=(vector + text,))
    with pytest.raises(DebugInfoError, match=f"takes: .*{refused}"):
        at(path, "takes")
    assert at(path, "gives") == "void *gives(void)", "behind a pointer it is an address"


def test_assembly_and_copies_the_compiler_made_have_no_prototype(tmp_path: Path) -> None:
    (tmp_path / "code.s").write_text(".globl f\n.type f,@function\nf: lea (%rdi,%rsi),%rax\n ret\n.size f,.-f\n")
    run("gcc", "-g", "-shared", "code.s", "-o", "lib.so", cwd=tmp_path)
    assert at(tmp_path / "lib.so", "f") is None


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("-g1", None),
        ("-g -g1", None),
        ("-ggdb1 -gdwarf-4", None),
        ("-g1 -g", "int f(void)"),
        ("-gdwarf-4", "int f(void)"),
        ("-g3 -g", "int f(void)"),
    ],
)
def test_functions_of_which_only_the_lines_are_described_have_no_prototype(
    flags: str, text: str | None, tmp_path: Path
) -> None:
    """GCC's -g1 leaves functions without results and parameters, as if all were `void f(void)`."""
    (tmp_path / "a.c").write_text("int f(void) { return 42; }")
    run("gcc", "-O1", "-fPIC", "-shared", *flags.split(), "a.c", "-o", "lib.so", cwd=tmp_path)
    assert at(tmp_path / "lib.so", "f") == text


def test_an_object_of_intermediate_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source.c").write_text("int f(void) { return 1; }")
    run("gcc", "-flto", "-fno-fat-lto-objects", "-c", "source.c", "-o", "slim.o", cwd=tmp_path)
    with pytest.raises(ElfError, match=r"slim\.o: .*no machine code"):
        Linker(HostMemory("x86_64")).load(tmp_path / "slim.o")
    run("gcc", "-flto", "-ffat-lto-objects", "-c", "source.c", "-o", "fat.o", cwd=tmp_path)
    assert Linker(HostMemory("x86_64")).load(tmp_path / "fat.o").symbol("f").is_function


FORTRAN = """
integer function addi(a, b)
 integer :: a, b
 addi = a + b
end function
real(8) function half(x)
 real(8) :: x
 half = x / 2
end function
integer function total(v, n)
 integer :: n, v(n)
 total = sum(v)
end function
integer function lengths(s, t)
 character(len=*) :: s, t
 lengths = len(s) * 100 + len(t)
end function
integer function shaped(v)
 integer :: v(:)
 shaped = size(v)
end function
complex(8) function turned(x)
 real(8), value :: x
 turned = cmplx(x, 1d0, 8)
end function
module inside
contains
real(8) function halved(x)
 real(8), value :: x
 halved = x / 2
end function
subroutine swap(a, b)
 integer(8) :: a
 real(4) :: b
 a = int(b, 8)
end subroutine
end module
"""


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2"])
@pytest.mark.parametrize("version", ["-gdwarf-4", "-gdwarf-5"])
def test_fortran_passes_by_reference_what_is_not_value(tmp_path: Path, level: str, version: str) -> None:
    (tmp_path / "source.f90").write_text(FORTRAN)
    run("gfortran", version, level, "-shared", "-fPIC", "source.f90", "-o", "lib.so", cwd=tmp_path)
    path = tmp_path / "lib.so"
    assert at(path, "addi_") == "int32_t addi_(int32_t &a, int32_t &b)"
    assert at(path, "half_") == "double half_(double &x)"
    assert at(path, "total_") == "int32_t total_(int32_t *v, int32_t &n)"
    assert at(path, "lengths_") == "int32_t lengths_(char *s, char *t, const int64_t _s, const int64_t)"
    assert at(path, "__inside_MOD_halved") == "double __inside_MOD_halved(double x)"
    assert at(path, "__inside_MOD_swap") == "void __inside_MOD_swap(int64_t &a, float &b)"
    for name, why in (("shaped_", "descriptor"), ("turned_", "complex")):
        with pytest.raises(DebugInfoError, match=f"{name}: .*{why}"):
            at(path, name)
