"""The float ABI on the command line: that of the file, objects and archive members included, or the one named."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import Machine
from relink.arch import FloatAbi
from tests.fixtures import arch_of, fixture
from tests.objects.build import archived, compiled, linked
from tests.objects.test_float_abi import CASES, FLAGS, USUAL

from .conftest import RunCommand

SOURCE = "double half(double x) { return x / 2; }\n"
CALL = "double half(double)(5.0)"


def files(target: str, abi: FloatAbi, folder: Path) -> dict[str, Path]:
    """The same code as an object, an archive (behind a member without code) and a shared library."""
    code = compiled(target, SOURCE, *FLAGS[target, abi])
    silent = compiled(target, "int silent;\n", *FLAGS[target, abi])
    shared = linked(target, [code], "-shared", "-soname", "libhalf.so")
    found = {"object": code, "archive": archived(folder / "half.a", [silent, code])}
    (folder / "libhalf.so").write_bytes(shared.read_bytes())
    return found | {"shared": folder / "libhalf.so"}


@pytest.mark.sample(2)
@pytest.mark.parametrize(("target", "abi"), CASES)
def test_the_files_own_is_taken(relink_emu: RunCommand, target: str, abi: FloatAbi, tmp_path: Path) -> None:
    built = files(target, abi, tmp_path)
    for kind, path in built.items():
        assert relink_emu("call", path, CALL).out == "2.5\n", kind
        assert relink_emu("load", path).status == relink_emu("map", path).status == 0, kind
        with Machine.for_file(path) as machine:
            assert machine.load(path).function("half", "double(double)")(5.0) == 2.5
    searched = ("--arch", arch_of(target), "-L", tmp_path, "libhalf.so")
    assert relink_emu("call", *searched, CALL).out == "2.5\n"


@pytest.mark.parametrize(("target", "abi"), CASES)
def test_a_clash_names_the_option(relink_emu: RunCommand, target: str, abi: FloatAbi) -> None:
    path = compiled(target, SOURCE, *FLAGS[target, abi])
    clash = f"makes {abi.value} calls, this machine makes hard-float calls: give --float-abi {abi.value}"
    result = relink_emu("call", path, "--float-abi", "hard-float", CALL)
    assert result.status == 1
    assert clash in result.err
    assert "Machine(" not in result.err
    error = relink_emu("load", path, "--float-abi", "hard-float", "--json").json["error"]
    assert (error["type"], error["theirs"], error["ours"]) == ("FloatAbiMismatch", abi.value, "hard-float")
    assert clash in error["message"]
    assert relink_emu("call", path, "--float-abi", abi.value, CALL).out == "2.5\n"


@pytest.mark.parametrize("target", USUAL)
def test_hard_float_needs_no_option(relink_emu: RunCommand, target: str) -> None:
    assert relink_emu("call", compiled(target, SOURCE), CALL).out == "2.5\n"


@pytest.mark.parametrize(
    ("arch", "name"), [("x86_64", "soft-float"), ("arm", "single-float"), ("riscv64", "mushy")]
)
def test_one_the_architecture_does_not_have_is_a_wrong_command_line(
    relink_emu: RunCommand, arch: str, name: str
) -> None:
    result = relink_emu("load", fixture(arch, "basic"), "--float-abi", name)
    assert result.status == 2
    assert "--float-abi" in result.err
    assert "hard-float" in result.err
