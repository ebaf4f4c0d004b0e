"""Every object of the fixtures, placed in flash and RAM: the same sections, addresses and bytes as before.

`python -m tests.devices.test_golden` writes the file anew; `test_placement` compares with other linkers.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import pytest

from relink import HostMemory, Linker, LinkError, LinkScript, LoadOptions, MemoryRegion, RelinkError
from relink.export.image_file import ImageFile
from tests.fixtures import arch_of
from toolchains.build import BUILT
from toolchains.targets import VARIANTS

GOLDEN = Path(__file__).with_name("golden.json")
#: So that what is not defined is in reach of code in flash.
_ELSEWHERE = 0x0803_F000


def placed(target: str, path: Path) -> str:
    """One line: section@address<load address+size …, and a hash of all bytes; or the error."""
    flash, ram = MemoryRegion("flash", 0x0800_0000, 0x40000, "rx"), MemoryRegion("ram", 0x2000_0000, 0x40000, "rw")
    options = LoadOptions(script=LinkScript.of(regions=[flash, ram]), unresolved=lambda image, symbol: _ELSEWHERE)
    try:
        image = Linker(HostMemory(arch_of(target))).load(path, options=options)
        parts, hashed = [], hashlib.sha256()
        assert image.objects is not None
        assert image.objects.placed is not None
        for section in image.objects.placed.sections:
            stored = f"<{section.load_address:x}" if section.load_address != section.address else ""
            parts.append(f"{section.name}@{section.address:x}{stored}+{section.size:x}")
            if section.bits:
                hashed.update(ImageFile(image, image.relocated)._bytes(section))
        return " ".join([*parts, hashed.hexdigest()[:12]])
    except LinkError as error:
        return type(error).__name__
    except RelinkError as error:
        return f"{type(error).__name__}: {error}"


def found(target: str) -> dict[str, str]:
    folder = BUILT / VARIANTS[target].name / "objects"
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".o", ".a"))
    return {path.relative_to(folder).as_posix(): placed(target, path) for path in paths}


@cache
def golden() -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text())
    return read


@pytest.mark.parametrize("target", VARIANTS)
def test_objects_are_placed_as_before(target: str) -> None:
    assert found(target) == golden()[VARIANTS[target].name]


def write() -> None:
    """Write the golden file."""
    every = {VARIANTS[target].name: found(target) for target in VARIANTS}
    GOLDEN.write_text(json.dumps(every, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    write()
