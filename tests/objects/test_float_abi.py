"""The ways to pass floating-point values: told apart, never mixed, and each called both ways."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from emu import Machine
from emu.isa.registry import float_convention
from relink import HostMemory, Linker
from relink.arch import FloatAbi, architecture
from relink.errors import LinkError, UnsupportedElf
from tests.fixtures import arch_of
from tests.objects.build import archived, compiled

SOURCE = """
extern double host(float narrow, double wide, int number);
double second(float a, double b, int n, double c) { return n ? b : c; }
float first(float a, double b) { return a; }
double relay(float a, double b) { return host(a, b, 7); }
"""
SOFT, SINGLE, HARD = FloatAbi.SOFT, FloatAbi.SINGLE, FloatAbi.HARD
#: clang's flags for each ABI that is not a target's usual one.
FLAGS = {
    ("arm", SOFT): ("-mfloat-abi=soft",),
    ("thumb", SOFT): ("-mfloat-abi=soft",),
    ("riscv64", SOFT): ("-march=rv64imac", "-mabi=lp64"),
    ("riscv64", SINGLE): ("-march=rv64imafc", "-mabi=lp64f"),
    ("riscv32", SOFT): ("-march=rv32imac", "-mabi=ilp32"),
    ("riscv32", SINGLE): ("-march=rv32imafc", "-mabi=ilp32f"),
    ("loongarch64", SOFT): ("-mabi=lp64s",),
    ("loongarch64", SINGLE): ("-msingle-float", "-mabi=lp64f"),
}
CASES = [pytest.param(*case, id=f"{case[0]}-{case[1].value}") for case in FLAGS]
USUAL = ("arm", "thumb", "riscv64", "riscv32", "loongarch64")


def _call_each(target: str, abi: FloatAbi, flags: Sequence[str]) -> None:
    with Machine(arch_of(target), float_abi=abi) as machine:
        host = (lambda narrow, wide, number: narrow * 100 + wide * 10 + number, "double(float, double, int)")
        lib = machine.load(compiled(target, SOURCE, *flags), symbols={"host": host})
        assert lib.image.float_abi is abi
        second = lib.function("second", "double(float, double, int, double)")
        assert (second(1.5, -2.25, 1, 4.5), second(1.5, -2.25, 0, 4.5)) == (-2.25, 4.5)
        assert lib.function("first", "float(float, double)")(0.5, 2.0) == 0.5
        assert lib.function("relay", "double(float, double)")(1.5, 0.25) == 159.5


@pytest.mark.parametrize(("target", "abi"), CASES)
def test_arguments_and_results_arrive_both_ways(target: str, abi: FloatAbi) -> None:
    _call_each(target, abi, FLAGS[target, abi])


@pytest.mark.parametrize("target", USUAL)
def test_hard_float_is_the_usual_way(target: str) -> None:
    _call_each(target, HARD, ())


@pytest.mark.parametrize(("target", "abi"), CASES)
def test_a_machine_of_the_usual_way_refuses_other_code_and_is_as_before(target: str, abi: FloatAbi) -> None:
    with Machine(arch_of(target)) as machine:
        with pytest.raises(UnsupportedElf, match=rf"makes {abi.value} calls, this machine makes hard-float calls"):
            machine.load(compiled(target, SOURCE, *FLAGS[target, abi]), allow_unresolved=True)
        assert not machine.linker.images


@pytest.mark.parametrize(("target", "abi"), CASES)
def test_objects_of_two_ways_are_not_linked_together(target: str, abi: FloatAbi) -> None:
    provider = "double host(float a, double b, int n) { return b; }"
    usual, other = compiled(target, SOURCE), compiled(target, provider, *FLAGS[target, abi])
    linker = Linker(HostMemory(arch_of(target)))
    with pytest.raises(LinkError, match=rf"makes {abi.value} calls, .* makes hard-float calls"):
        linker.load([usual, other])
    assert linker.load([other]).float_abi is abi


@pytest.mark.parametrize("target", ["arm", "thumb"])
def test_arm_code_without_floating_point_goes_with_either(target: str) -> None:
    nothing = compiled(target, ".text\n.globl nothing\nnothing: bx lr\n", language="assembler")
    image = Linker(HostMemory("arm")).load(nothing)
    assert image.float_abi is None


def test_where_the_header_says_it() -> None:
    arm, riscv, loongarch = (architecture(name).float_abi for name in ("arm", "riscv64", "loongarch64"))
    assert [arm(0x0500_0000 | flags, b"") for flags in (0x200, 0x400, 0)] == [SOFT, HARD, None]
    assert [riscv(flags, b"") for flags in (0, 2, 4, 6, 5)] == [SOFT, SINGLE, HARD, FloatAbi.QUAD, HARD]
    assert [loongarch(flags, b"") for flags in (0x41, 0x42, 0x43)] == [SOFT, SINGLE, HARD]


def test_an_abi_an_isa_does_not_have() -> None:
    assert float_convention("x86_64", SOFT) is None
    with pytest.raises(UnsupportedElf, match="no calling convention 'soft-float'"):
        Machine("x86_64", float_abi="soft-float")
    with pytest.raises(UnsupportedElf, match="no calling convention 'mushy'"):
        Machine("arm", float_abi="mushy")


@pytest.mark.parametrize(("target", "abi"), CASES)
def test_an_archive_of_both_ways_is_taken_only_where_one_is_named(
    target: str, abi: FloatAbi, tmp_path: Path
) -> None:
    other = compiled(target, "double twice(double a) { return a + a; }", *FLAGS[target, abi])
    archive = archived(tmp_path / "both.a", [other, compiled(target, SOURCE)])
    with pytest.raises(UnsupportedElf, match=rf"makes {abi.value} calls, .* hard-float calls: "):
        Machine.for_file(archive)
    with Machine.for_file(archive, float_abi=abi) as machine:
        assert machine.load(archive, undefined=["twice"]).function("twice", "double(double)")(2.5) == 5.0


@pytest.mark.parametrize("target", ["arm", "riscv64", "riscv32", "loongarch64"])
def test_data_without_e_flags_is_of_any_abi(target: str, tmp_path: Path) -> None:
    """What `objcopy -I binary` makes of a file, on every machine."""
    data = bytearray(compiled(target, ".data\n.globl blob\nblob: .byte 42\n", language="assembler").read_bytes())
    struct.pack_into("<I", data, 48 if data[4] == 2 else 36, 0)
    blob = tmp_path / "blob.o"
    blob.write_bytes(data)
    user = compiled(target, "extern unsigned char blob[]; double get(void) { return blob[0]; }", "-fPIC")
    for objects in ([blob, user], [user, blob]):
        with Machine(arch_of(target)) as machine:
            assert machine.load(objects).function("get", "double()")() == 42.0
    with Machine.for_file(blob) as machine:
        assert machine.load(blob).symbols["blob"].read("unsigned char") == 42
