"""Objects no linker can take, or not with what they are given: each is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink.elf.layout import ELF32, ELF64, Layout
from relink.errors import NotElf, RelinkError, RelocationOverflow, UnresolvedSymbol, UnsupportedElf
from tests.elf.build_object import Sec, Sym, rela, simple_object
from tests.fixtures import arch_of
from tests.objects.build import TARGETS, archived, compiled, linked

EACH = pytest.mark.parametrize("target", TARGETS)
_QUIET = "-Wno-pointer-bool-conversion"


# ---------------------------------------------------------------- no machine code


@EACH
def test_llvm_bitcode_is_refused_by_name(target: str, tmp_path: Path) -> None:
    bitcode = compiled(target, "int f(void) { return 1; }\n", "-flto")
    user = compiled(target, "int f(void); int run(void) { return f(); }\n")
    archive = archived(tmp_path / "lib.a", [bitcode])
    for sources in ([bitcode], [user, bitcode], [user, archive], [archive]):
        with (
            Machine(arch_of(target)) as machine,
            pytest.raises(NotElf, match="is LLVM bitcode, an object for link-t"),
        ):
            machine.load(sources)


@pytest.mark.parametrize(("slim", "refused"), [(1, True), (0, False)])
def test_gcc_objects_that_are_all_intermediate_code_are_refused_by_name(slim: int, *, refused: bool) -> None:
    section = Sec(".gnu.lto_.lto.4333a72f475da9ed", data=bytes([12, 0, 0, 0, slim, 0, 1, 0]), flags=0x80000000)
    content = simple_object([Sym("f", bind=1, section=1)], [section])
    with Machine("x86_64") as machine:
        if refused:
            with pytest.raises(UnsupportedElf, match="-ffat-lto-objects"):
                machine.load(content)
        else:
            assert "f" in machine.load(content).image.exports


FORMATS = {
    "WebAssembly": b"\0asm",
    "Mach-O": b"\xcf\xfa\xed\xfe",
    "Mach-O file, not": b"\xfe\xed\xfa\xce",
    "PE": b"MZ\x90\0",
    r"Windows object \(COFF\) for x86-64": b"\x64\x86\3\0",
    r"Windows object \(COFF\) for AArch64": b"\x64\xaa\3\0",
    "member of an import library": b"\0\0\xff\xff",
    "AIX object": b"\1\xf7",
    "archive for AIX": b"<bigaf>\n",
    "compressed with gzip: it has to be decompressed": b"\x1f\x8b\x08",
    "compressed with xz": b"\xfd7zXZ\0",
    "compressed with zstd": b"\x28\xb5\x2f\xfd",
    "zip file": b"PK\3\4",
    "libtool file": b"# libz.la - a libtool library file\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_called_by_name(name: str) -> None:
    with Machine("x86_64") as machine, pytest.raises(NotElf, match=name):
        machine.load(FORMATS[name] + bytes(100))


def test_text_that_begins_like_a_windows_object_is_not_called_one() -> None:
    with Machine("x86_64") as machine, pytest.raises(NotElf, match="not an ELF file"):
        machine.load(b"L\x01 is no object for i386, but text of some length\n")


MACHINES = {
    (8, ELF32): "MIPS, which is not supported",
    (21, ELF64): "PowerPC64, which",
    (22, ELF64): "s390x, which",
    (62, ELF32): r"x86-64 with 32-bit pointers \(x32\), which",
    (183, ELF32): r"AArch64 with 32-bit pointers \(ILP32\), which",
    (258, ELF32): "LoongArch32, which",
    (3, ELF64): "machine 3 in a 64-bit file, which",
}


@pytest.mark.parametrize("given", MACHINES, ids=lambda given: f"{given[0]}-{given[1].bits}")
def test_machines_are_called_by_name(given: tuple[int, Layout], tmp_path: Path) -> None:
    number, layout = given
    content = simple_object([Sym("f", bind=1, section=1)], layout=layout, machine=number)
    (tmp_path / "a.o").write_bytes(content)
    with pytest.raises(UnsupportedElf, match=f"is for {MACHINES[given]}"):
        Machine.for_file(tmp_path / "a.o")
    named = MACHINES[given].removesuffix(" is not supported").removesuffix(", which")
    with Machine("x86_64") as machine, pytest.raises(UnsupportedElf, match=f"is for {named}, not x86_64"):
        machine.load(content)


@pytest.mark.parametrize(("number", "name"), [(8, "MIPS"), (40, "Arm"), (20, "PowerPC"), (999, "machine 999")])
def test_the_machine_of_a_big_endian_file_is_named(number: int, name: str) -> None:
    content = b"\x7fELF\1\2\1".ljust(16, b"\0") + bytes([0, 1]) + number.to_bytes(2, "big") + bytes(80)
    with Machine("arm") as machine, pytest.raises(UnsupportedElf, match=f"big-endian file .* for {name}[; ]"):
        machine.load(content)


def test_an_archive_of_other_objects_says_what_the_first_is(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_bytes(b"\xcf\xfa\xed\xfe" + bytes(100))
    archive = archived(tmp_path / "lib.a", [tmp_path / "a.obj"])
    with pytest.raises(UnsupportedElf, match=r"without relocatable objects; its first member a.obj: is a Mach-O"):
        Machine.for_file(archive)


def test_a_riscv_e_object_is_refused_by_name(tmp_path: Path) -> None:
    content = bytearray(simple_object(machine=243))
    content[48] = 8  # e_flags: EF_RISCV_RVE
    (tmp_path / "e.o").write_bytes(content)
    with (
        Machine("riscv64") as machine,
        pytest.raises(UnsupportedElf, match="is for RV32E or RV64E, whose calling"),
    ):
        machine.load(tmp_path / "e.o")


# ---------------------------------------------------------------- hidden references


@EACH
@pytest.mark.parametrize("visibility", ["hidden", "internal", "protected"])
def test_a_hidden_reference_binds_to_no_other_image(target: str, visibility: str) -> None:
    """GNU ld and lld refuse it; what is weak is 0."""
    library = linked(target, [compiled(target, "int get(void) { return 1; }\n", "-fPIC")])
    source = f"""
        extern int get(void) __attribute__((visibility("{visibility}") ATTRIBUTE));
        int run(void) {{ return get ? get() : 5; }}
        """
    strong, weak = source.replace(" ATTRIBUTE", ""), source.replace(" ATTRIBUTE", ", weak")
    with Machine(arch_of(target)) as machine:
        machine.load(library)
        with pytest.raises(UnresolvedSymbol, match=r"get .hidden: only the same image can define it"):
            machine.load(compiled(target, strong, "-fPIC", _QUIET))
        assert machine.load(compiled(target, weak, "-fPIC", _QUIET)).function("run", "int()")() == 5
        answered = machine.load(compiled(target, strong, "-fPIC", _QUIET), symbols={"get": lambda: 7})
        assert answered.function("run", "int()")() == 7
        other = compiled(target, "int get(void) { return 9; }\n")
        assert machine.load([compiled(target, strong, "-fPIC", _QUIET), other]).function("run", "int()")() == 9


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("value", [0x12345678, 0xFFFFFFFF, 0x1_2345_6789])
def test_a_number_is_its_value_wherever_it_is_stored(value: int) -> None:
    """No stub stands for it: what does not fit overflows, and names it (R_X86_64_32, R_X86_64_64)."""
    words = rela((0, 10, 1, 0), target=1, link=2)
    content = simple_object([Sym("X", bind=1)], [words])
    with Machine("x86_64") as machine:
        if value > 0xFFFFFFFF:
            with pytest.raises(RelocationOverflow, match="against X"):
                machine.load(content, symbols={"X": value})
        else:
            lib = machine.load(content, symbols={"X": value})
            assert machine.memory.read(lib.image.section(".text").address, 4) == value.to_bytes(4, "little")


@EACH
def test_a_number_of_unknown_kind_is_absolute_on_every_isa(target: str) -> None:
    source = "extern char X[]; unsigned long run(void) { return (unsigned long)X; } void *table = X;\n"
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, source, "-fPIC"), symbols={"X": 0x1234_5678})
        assert lib.function("run", "unsigned long()")() == 0x1234_5678
        assert lib.symbols["table"].read("unsigned long") == 0x1234_5678


@EACH
def test_a_host_function_still_gets_a_stub(target: str) -> None:
    source = "int host(int); int run(int x) { return host(x); } int (*address(void))(int) { return host; }\n"
    with Machine(arch_of(target)) as machine:
        lib = machine.load(compiled(target, source), symbols={"host": (lambda x: x + 1, "int(int)")})
        assert lib.function("run", "int(int)")(4) == 5
        try:
            address = int(lib.function("address", "void *()")() or 0)
        except RelinkError as error:  # pragma: no cover - shown with the failure
            raise AssertionError from error
        assert machine.call(address, "int(int)", 6) == 7
