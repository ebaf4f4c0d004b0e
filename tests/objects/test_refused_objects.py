"""Objects no linker can take, or not with what they are given: each is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
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


@pytest.mark.parametrize(
    ("start", "name"), [(b"\0asm", "WebAssembly"), (b"\xcf\xfa\xed\xfe", "Mach-O"), (b"MZ\x90\0", "PE")]
)
def test_other_formats_are_called_by_name(start: bytes, name: str) -> None:
    with Machine("x86_64") as machine, pytest.raises(NotElf, match=name):
        machine.load(start + bytes(100))


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
