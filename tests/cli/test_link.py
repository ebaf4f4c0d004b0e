"""`link`: objects linked for a device, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from relink import read_firmware
from tests.devices.firmware import FAR, firmware, linked_for, script

from .conftest import RunCommand

REGIONS = ("--region", "flash=0x8000000,64K,rx", "--region", "ram=0x20000000,16K,rw")


def test_objects_become_a_file_for_a_device(relink_emu: RunCommand, tmp_path: Path) -> None:
    objects = firmware("thumb")
    path = tmp_path / "app.hex"
    shown = relink_emu("link", *objects, *REGIONS, "-e", "reset", "--gc-sections", "-o", path)
    assert shown.status == 0, shown.err
    assert ".data        0x200000" in shown.out
    assert "stored at 0x080001" in shown.out
    assert f"wrote {path}" in shown.out
    facts = relink_emu("link", *objects, *REGIONS, "-e", "reset", "--gc-sections", "-o", path, "--json").json
    assert {region["name"] for region in facts["regions"]} == {"flash", "ram"}
    assert facts["sections"][0]["name"] == ".isr_vector"
    used = facts["regions"][0]["used"]
    (tmp_path / "app.elf").write_bytes(read_firmware(path, "arm"))
    with (tmp_path / "app.elf").open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_entry"] == int(facts["entry"], 0)
        assert sum(segment["p_filesz"] for segment in elf.iter_segments()) <= used


def test_a_script_file_and_options_say_the_same_as_the_interface(relink_emu: RunCommand, tmp_path: Path) -> None:
    objects = firmware("riscv32")
    rules = script(FAR)
    lines = [f'entry = "reset"\ndiscard = {list(rules.discard)}']
    for region in rules.regions:
        lines.append(f"[regions.{region.name}]\norigin = {region.origin}\nlength = {region.length}")
    for output in rules.outputs:
        stored = f'\nload_in = "{output.load_in.name}"' if output.load_in else ""
        lines.append(f'[[sections]]\nname = "{output.name}"\nregion = "{output.region.name}"{stored}')
    path = tmp_path / "board.toml"
    path.write_text("\n".join(lines))
    assert relink_emu("link", *objects, "--script", path, "-o", tmp_path / "app.bin").status == 0
    linked_for("riscv32", objects, rules).export(tmp_path / "other.bin")
    assert (tmp_path / "app.bin").read_bytes() == (tmp_path / "other.bin").read_bytes()


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        ((), 2, "give either a script or regions"),
        ((*REGIONS, "--script", "x.toml"), 2, "give either a script or regions"),
        ((*REGIONS, "-D", "name"), 2, "is not of the form NAME=VALUE"),
        (("--region", "flash=12"), 1, "is not NAME=ORIGIN,LENGTH"),
        ((*REGIONS, "-e", "nothing"), 1, "the script's entry nothing is not defined"),
        ((*REGIONS, "--format", "pdf"), 1, "is not an export format"),
        (("--region", "flash=0x8000000,64,rx", "--region", "ram=0x20000000,16K,rw"), 1, "region flash overflows"),
        (("--script", "missing.toml"), 1, "error: missing.toml: No such file or directory\n"),
    ],
)
def test_what_cannot_be_linked_is_told(
    relink_emu: RunCommand, tmp_path: Path, words: tuple[str, ...], status: int, problem: str
) -> None:
    path = tmp_path / "app.elf"
    result = relink_emu("link", *firmware("thumb"), *words, "-o", path)
    assert result.status == status, result.err
    assert problem in result.err
    assert not path.exists()
