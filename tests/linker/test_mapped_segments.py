"""Segments that are mapped from their file, together or one by one, or read where relocation writes all over."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink import ElfError, HostMemory, Image, Linker, LoadOptions
from relink.elf.source import COPIED, FileMode
from relink.memory import host_pages, mapped_segments, placement
from relink.memory.address_space import PAGE
from tests.elf.build import Segment, with_segments
from tests.linker.craft import DATA, Library, Rel

R_X86_64_RELATIVE = 8


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_segments_of_a_mapped_file_are_the_same_together_and_one_by_one(random: Random) -> None:
    """Each begins where the one before ends, or some pages on, in memory and in the file; few have bss."""
    segments, vaddr, offset = list[Segment](), 0, 0
    for _ in range(random.randint(1, 5)):
        lead, filesz = random.choice((0, 0, 0x123)), random.choice((0x800, PAGE, PAGE + 1))
        bss = random.choice((0, 0, 0, 1, 3 * PAGE))
        segments.append(Segment(offset=offset + lead, vaddr=vaddr + lead, filesz=filesz, memsz=filesz + bss))
        vaddr += -(-(lead + filesz + bss) // PAGE) * PAGE + random.choice((0, 0, PAGE))
        offset += -(-(lead + filesz) // PAGE) * PAGE + random.choice((0, 0, PAGE))
    content = with_segments(segments)[:0x400].ljust(offset, b"\xee")
    content += random.randbytes(random.randint(0, 0x800))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "odd.so"
        path.write_bytes(content)
        options = LoadOptions(mapping=FileMode.FILE)
        together = Linker(HostMemory("x86_64")).load(path, options=options)
        patch.setattr(placement, "map_apart", lambda *arguments: False)
        alone = Linker(HostMemory("x86_64")).load(path, options=options)
        copied = Linker(HostMemory("x86_64")).load(content)
    assert together.region.buffer.tobytes() == alone.region.buffer.tobytes() == copied.region.buffer.tobytes()


def test_segments_side_by_side_are_mapped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [Segment(offset=at, vaddr=at, filesz=0x800, memsz=0x800) for at in (0, 0x1000, 0x2000, 0x4000)]
    path, mapped, map_ = tmp_path / "lib.so", [], host_pages.mapped_at
    path.write_bytes(with_segments(segments, size=0x5000))

    def mapped_at(address: int, size: int, descriptor: int, offset: int) -> bool:
        mapped.append((offset, size))
        return map_(address, size, descriptor, offset)

    monkeypatch.setattr(host_pages, "mapped_at", mapped_at)
    Linker(HostMemory("x86_64")).load(path, options=LoadOptions(mapping=FileMode.FILE))
    assert mapped == [(0, 0x2800), (0x4000, 0x800)]


class TestSegmentsThatRelocationWritesAllOver:
    """Such a segment is read, not mapped: its bytes, and what follows them in the last page, are the same."""

    def library(self, folder: Path, words: int, every: int) -> Path:
        relocations = [Rel(DATA + every * word, R_X86_64_RELATIVE, addend=word) for word in range(words)]
        data = bytes(number % 251 for number in range(every * words)) + b"the end"
        path = folder / "lib.so"
        path.write_bytes(Library("x86_64", "lib.so", data=data, relocations=relocations).image())
        assert path.stat().st_size > COPIED
        return path

    def loaded(self, path: Path) -> tuple[Image, bytes]:
        linker = Linker(HostMemory("x86_64"))
        image = linker.load(path)
        return image, image.region.buffer.tobytes()

    @pytest.mark.parametrize("every", [64, 2048])
    def test_the_content_is_that_of_a_mapping(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
    ) -> None:
        path = self.library(tmp_path, (1 << 21) // every, every)
        image, content = self.loaded(path)
        assert image.region.has_file
        dense = every < PAGE / 16
        with monkeypatch.context() as patch:
            patch.setattr(mapped_segments, "is_written", lambda decoded, segment: not dense)
            assert self.loaded(path)[1] == content
        assert mapped_segments.is_written(image.decoded, image.decoded.segments[1]) == dense

    def test_a_file_that_changed_is_not_read(self, tmp_path: Path) -> None:
        path = self.library(tmp_path, 1 << 15, 64)
        linker = Linker(HostMemory("x86_64"))
        with linker.begin(path) as load:
            load.run_to("open")
            path.write_bytes(bytes(path.stat().st_size))
            with pytest.raises(ElfError, match="has been changed"):
                load.finish()

    def test_a_short_read_is_gone_on_with(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.library(tmp_path, 1 << 15, 64)
        content = self.loaded(path)[1]
        whole = os.preadv

        def short(descriptor: int, buffers: list[memoryview], offset: int) -> int:
            return whole(descriptor, [buffers[0][:100_003]], offset)

        monkeypatch.setattr(os, "preadv", short)
        assert self.loaded(path)[1] == content

        def fails(descriptor: int, buffers: list[memoryview], offset: int) -> int:
            raise OSError("not now")

        monkeypatch.setattr(os, "preadv", fails)
        assert self.loaded(path)[1] == content
