"""Every byte of every fixture after a load, against an engine written a second time the plain way."""

from __future__ import annotations

import zlib

import pytest

from relink.errors import LinkErrors, UnsupportedElf
from relink.link import Linker, LoadOptions
from relink.memory import HostMemory
from relink.search import SearchPath
from tests.fixtures import all_fixtures, arch_of, fixture
from tests.linker.helpers import folders_of
from tests.linker.reference import Object, expected, read_object

#: Fixtures made to be refused, and as what.
REFUSED = {"deps/needs_missing": LinkErrors, "exe/copy": UnsupportedElf}


def stand_in(name: str) -> int:
    """An address for what nobody defines: anything, as long as both engines say the same."""
    return zlib.crc32(name.encode()) & 0x3FFFFFF0


@pytest.mark.parametrize(("target", "name"), all_fixtures(), ids=lambda value: value)
def test_every_byte_is_what_the_reference_says(target: str, name: str) -> None:
    path = fixture(target, name)
    search = SearchPath({"librenamed.so.1": fixture(target, "deps/renamed_file")}, folders_of(path, target))
    linker = Linker(HostMemory(arch_of(target)), search=search)
    options = LoadOptions(unresolved=lambda image, symbol: stand_in(symbol))
    if path.suffix in {".o", ".a"}:
        pytest.skip("a relocatable object: not for this engine")
    if name in REFUSED:
        with pytest.raises(REFUSED[name]):
            linker.load(path, options=options)
        return
    linker.load(path, options=options)
    objects: dict[object, Object] = {}
    for image in linker.images:
        assert image.decoded.path is not None
        objects[image] = read_object(image, image.decoded.path)
    stub = next((r.address for r in linker.memory.regions if r.name == "TLS descriptor stubs"), 0)  # type: ignore[attr-defined]
    for image in linker.images:
        scope = [objects[member] for member in linker.global_scope]
        for vaddr, memory in expected(objects[image], scope, stand_in, (stub, stub + 64)).items():
            assert linker.memory.read(image.address_of(vaddr), len(memory)) == memory, (image.name, hex(vaddr))
