"""What a link by a script, and a file of device memory, cost: each part the same among many as among few."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from relink import HostMemory, Linker, LinkScript, LoadOptions, MemoryRegion
from relink.export import chunks
from relink.export.chunks import Chunk
from relink.export.formats import Firmware, read_firmware_bytes, to_bytes
from tests.counting import per_item, python_lines
from tests.elf.build_object import Sec, Sym, rela, simple_object

FLASH = MemoryRegion("flash", 0x10000, 1 << 24)


def functions(names: list[str]) -> bytes:
    """An object with a function in each section of these names, and a word for each of as many symbols."""
    symbols = [Sym(f"f{n}", bind=1, type=2, section=4 + n) for n in range(len(names))]
    asked = [Sym(f"a{n}", bind=1) for n in range(len(names))]
    words = rela(*[(8 * n % 16, 1, 1 + len(names) + n, 0) for n in range(len(names))])
    sections = [Sec(name, data=bytes(16), flags=6, align=16) for name in names]
    return simple_object([*symbols, *asked], [*sections, words])


def outputs_with_symbols(count: int) -> tuple[list[str], LinkScript]:
    names = [f".s{n}" for n in range(count)]
    symbols = {f"a{n}": f".s{n}.start" for n in range(count)}
    return names, LinkScript.of({".text": FLASH, **dict.fromkeys(names, FLASH)}, symbols=symbols)


def of_patterns(count: int) -> tuple[list[str], LinkScript]:
    discard, keep = [f".no{n}.*" for n in range(count)], [f"*(.text.f{n})" for n in range(count)]
    symbols = {f"a{n}": n for n in range(count)}
    script = LinkScript.of({".text": FLASH}, discard=discard, keep=keep, gc=True, symbols=symbols)
    return [f".text.f{n}" for n in range(count)], script


def orphans(name: str, count: int) -> tuple[list[str], LinkScript]:
    symbols = {f"a{n}": n for n in range(count)}
    return [name.format(n) for n in range(count)], LinkScript.of({".text": FLASH}, symbols=symbols)


@pytest.mark.parametrize(
    "made",
    [outputs_with_symbols, of_patterns, partial(orphans, "own{}"), partial(orphans, "same")],
    ids=["outputs", "patterns", "orphans", "orphans of one name"],
)
def test_a_part_of_a_script_costs_the_same_among_many(
    made: Callable[[int], tuple[list[str], LinkScript]],
) -> None:
    def cost(count: int) -> int:
        names, script = made(count)
        content, linker = functions(names), Linker(HostMemory("x86_64"))
        return python_lines(lambda: linker.load(content, options=LoadOptions(script=script)))

    cost(50)  # what is made once
    per_item(cost, 100)


def test_regions_and_output_sections_are_checked_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    regions = [MemoryRegion(Name(f"r{n}"), n << 12, 1 << 12) for n in range(300)]
    LinkScript.of({Name(f".s{n}"): region for n, region in enumerate(regions)})
    assert compared < 30 * 300


@pytest.mark.parametrize("gap", [0, 256])
@pytest.mark.parametrize("format", ["hex", "srec", "uf2"])
def test_a_piece_of_a_file_costs_the_same_among_many(
    format: str, gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in bytes that are copied to join what is adjacent."""
    copied = 0

    def counted(address: int, data: bytes) -> Chunk:
        nonlocal copied
        copied += len(data)
        return Chunk(address, data)

    def pieces(count: int) -> Firmware:
        parts = [Chunk(0x1000 + (256 + gap) * n, bytes([n % 251]) * 256) for n in range(count)]
        return Firmware(chunks.joined("x", format, parts))

    def write(count: int) -> int:
        return python_lines(lambda: to_bytes("x", pieces(count), format))

    def read(count: int) -> int:
        nonlocal copied
        content, copied = to_bytes("x", pieces(count), format), 0
        with monkeypatch.context() as patch:
            patch.setattr(chunks, "Chunk", counted)
            return python_lines(lambda: read_firmware_bytes("x", content, format)) + copied

    write(10), read(10)  # what is made once
    per_item(write, 100)
    per_item(read, 100)
