"""What the tests of the linker share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from relink import (
    DefinedSymbols,
    HostMemory,
    Image,
    Linker,
    LoadOptions,
    Pages,
    Policy,
    Protection,
    SearchPath,
    Source,
    decode,
)
from relink.memory.placement import fill, region_size
from tests.fixtures import arch_of, fixture
from tests.linker.craft import Library

__all__ = ["built", "folders_of", "lay", "linker_for", "load", "snapshot", "word_at"]


def linker_for(
    arch: str, *libraries: Library, library_path: tuple[Path, ...] = (), policy: Policy | None = None
) -> Linker:
    """A linker into fresh host memory that finds `libraries` by their SONAMEs."""
    found: Mapping[str, Source] = {library.soname or "": library.image() for library in libraries}
    return Linker(HostMemory(arch), search=SearchPath(found, library_path), policy=policy)


def load(library: Library, *others: Library, defined: Mapping[str, int] | None = None, **options: object) -> Image:
    """Load `library` into fresh memory; `others` answer by SONAME, `defined` are host addresses."""
    linker = linker_for(library.arch, *others)
    sources = (DefinedSymbols(defined),) if defined else ()
    return linker.load(library.image(), options=LoadOptions(sources=sources, **options))  # type: ignore[arg-type]


def memory_of(linker: Linker) -> HostMemory:
    assert isinstance(linker.memory, HostMemory)
    return linker.memory


def word_at(linker_or_image: Linker | Image, address: int, size: int) -> int:
    """An unsigned little-endian word; `address` is a guest address, or a link-time one of an image."""
    if isinstance(linker_or_image, Image):
        image = linker_or_image
        where = address - int(image.low)
        return int.from_bytes(image.region.buffer[where : where + size].tobytes(), "little")
    return int.from_bytes(linker_or_image.memory.read(address, size), "little")


def built(target: str, name: str, **keywords: object) -> tuple[Linker, Image]:
    """A fixture, loaded with its neighbours in reach."""
    path = fixture(target, name)
    linker = Linker(HostMemory(arch_of(target)), search=SearchPath(library_path=folders_of(path, target)))
    return linker, linker.load(path, options=LoadOptions(**keywords))  # type: ignore[arg-type]


def folders_of(path: Path, target: str) -> list[Path]:
    """Where a fixture's neighbours lie."""
    root = next(parent for parent in path.parents if parent.name == target)
    return [path.parent, root, *(root / name for name in ("deps", "startup", "rpath/lib", "versions/v3"))]


def snapshot(linker: Linker) -> object:
    """All that a failed load must leave alone."""
    return (
        [(region.address, region.size, region.name, region.pages) for region in memory_of(linker).regions],
        list(linker.images),
        list(linker.global_scope),
        dict(linker.tls.modules),
        dict(linker.resolver.unique),
        {
            image: (image.references, image.stage, list(image.dependencies), set(image.names))
            for image in linker.images
        },
        {image: bytes(image.region.buffer) for image in linker.images},
    )


def lay(memory: HostMemory, content: bytes, address: int) -> None:
    """Put an image's segments into memory at an address, not relocated."""
    decoded = decode(content)
    region = memory.reserve(region_size(decoded), at=address, name="firmware")
    fill(region, decoded)
    memory.publish(region, [Pages(0, region.size, Protection.R | Protection.W | Protection.X)])
