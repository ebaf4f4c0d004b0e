"""Android's packed tables, which pyelftools does not read, against llvm-readobj."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from relink.elf import decode
from tests.fixtures import TARGETS, fixture
from tests.grouping import each


@pytest.mark.skipif(shutil.which("llvm-readobj") is None, reason="llvm-readobj is not installed")
@each("name", ["android", "android_relr"])
@pytest.mark.parametrize("target", TARGETS)
def test_packed_relocations_unpack_as_llvm_unpacks_them(target: str, name: str) -> None:
    path = fixture(target, name)
    told = subprocess.run(
        ["llvm-readobj", "-r", "--expand-relocs", str(path)], capture_output=True, text=True, check=True
    ).stdout
    offsets = [int(found, 16) for found in re.findall(r"Offset: (0x[0-9A-Fa-f]+)", told)]
    numbers = [int(found) for found in re.findall(r"Type: .*\((\d+)\)", told)]
    assert len(offsets) > 100
    decoded = decode(path)
    rows = [
        row
        for table in decoded.relocations
        for row in zip(table.offset.tolist(), table.type.tolist(), strict=True)
    ]
    # RELR entries have no type of their own; llvm-readobj prints the target's relative one.
    told_rows = sorted(zip(offsets, numbers, strict=True))
    relr = set(decoded.relr.tolist())
    assert sorted(rows) == [row for row in told_rows if row[0] not in relr]
    assert sorted(relr) == [row[0] for row in told_rows if row[0] in relr]
    if all(table.addend is not None for table in decoded.relocations) and not relr:
        addends = [int(found, 16) for found in re.findall(r"Addend: (0x[0-9A-Fa-f]+)", told)]
        ours = [
            a & ((1 << 64) - 1) for t in decoded.relocations if t.addend is not None for a in t.addend.tolist()
        ]
        assert sorted(addends) == sorted(ours)
