"""Which stub an Arm object's core can run, told by its build attributes."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_SH_TYPE_ARM
from hypothesis import given
from hypothesis import strategies as st

from relink.arch.arm_attributes import SHT_ARM_ATTRIBUTES, lacks_thumb2
from tests.objects.build import run, zig

#: `-march` → whether it has only 16-bit Thumb.
CORES = {
    "armv4t": True, "armv5te": True, "armv6": True, "armv6k": True, "armv6-m": True, "armv8-m.base": True,
    "armv6t2": False, "armv7-a": False, "armv7-m": False, "armv7e-m": False, "armv8-a": False,
    "armv8-m.main": False, "armv8.1-m.main": False,
}  # fmt: skip


@pytest.mark.parametrize(("core", "expected"), CORES.items())
def test_the_core_an_object_was_built_for_is_read(core: str, expected: bool, tmp_path: Path) -> None:
    source, built = tmp_path / "t.c", tmp_path / "t.o"
    source.write_text("int f(void) { return 1; }")
    flags = ["-target", "arm-none-eabi", f"-march={core}", "-mthumb", "-c"]
    run([zig(), "clang", *flags, source, "-o", built])
    with built.open("rb") as file:
        (section,) = ELFFile(file).iter_sections("SHT_ARM_ATTRIBUTES")
        assert lacks_thumb2(section.data()) is expected
    assert ENUM_SH_TYPE_ARM["SHT_ARM_ATTRIBUTES"] == SHT_ARM_ATTRIBUTES


@given(section=st.binary(max_size=64))
def test_any_bytes_are_answered(section: bytes) -> None:
    assert lacks_thumb2(b"A" + section) in (True, False)
    assert lacks_thumb2(section) in (True, False)
