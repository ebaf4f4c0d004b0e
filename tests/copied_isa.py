"""An eighth ISA for tests: riscv64's pages under another name and e_machine, added the way a new ISA is.

As a pytest plug-in (`-p tests.copied_isa`) it makes the copy take riscv64's place: the target `riscv64` is for
the ISA `copied64`, files of riscv64 are read as files of that ISA, and riscv64 does not exist. What knows an ISA
by name or e_machine, outside its pages, its engine's row and the registry's row, then fails.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Self

import pytest

import emu.isa
import relink.arch
from emu.cpu import instruction_sizes
from emu.cpu.unicorn import isas as unicorn_isas
from relink.elf import headers
from toolchains import targets

ORIGINAL, COPY = "riscv64", "copied64"
MACHINE = 0x7123  #: an e_machine that nobody has


def copy_pages(folder: Path) -> None:
    """Add the pages and the rows of the copy."""
    for package in (relink.arch, emu.isa):
        source = Path(package.__path__[0], "riscv.py").read_text()
        for old, new in (
            (f'"{ORIGINAL}"', f'"{COPY}"'),
            (ORIGINAL.upper(), COPY.upper()),
            ("machine=243", f"machine={MACHINE}"),
        ):
            source = source.replace(old, new)
        place = folder / package.__name__
        place.mkdir()
        (place / f"{COPY}_page.py").write_text(source)
        package.__path__.append(str(place))
    relink.arch._PAGES[COPY] = (f"{COPY}_page", MACHINE, 64)
    isas = dict(unicorn_isas.ISAS)
    unicorn_isas.ISAS = {**isas, COPY: isas[ORIGINAL]}
    sizes = instruction_sizes.SIZES
    assert isinstance(sizes, dict)
    sizes[COPY] = sizes[ORIGINAL]


class CopiedHeader(headers.Header):
    """A file's header in which the copy's e_machine is read for the original's."""

    def __new__(cls, bits: int, machine: int, *fields: int) -> Self:
        is_original = (bits, machine) == (64, 243)
        return super().__new__(cls, bits, MACHINE if is_original else machine, *fields)


def take_the_place() -> None:
    """Let the copy be what files and targets of the original are for; the original goes."""
    headers.Header = CopiedHeader  # type: ignore[misc, assignment]
    del relink.arch._PAGES[ORIGINAL]
    rows, variants = targets.TARGETS, targets.VARIANTS
    assert isinstance(rows, dict)
    assert isinstance(variants, dict)
    rows[ORIGINAL] = replace(rows[ORIGINAL], arch=COPY)
    craft = import_module("tests.linker.craft")  # it makes files: their e_flags are fixtures too
    craft.FLAGS[COPY] = craft.FLAGS[ORIGINAL]
    variants |= {name: replace(row, target=rows[row.target.name]) for name, row in variants.items()}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before the first test module asks which targets there are."""
    folder = tempfile.TemporaryDirectory()
    early_config.add_cleanup(folder.cleanup)
    copy_pages(Path(folder.name))
    take_the_place()
