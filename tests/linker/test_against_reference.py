"""Every byte after a load, against an engine written a second time the plain way: of every fixture, and of
libraries nobody would write."""

from __future__ import annotations

import random
import zlib

import pytest

from relink import HostMemory, Linker, LinkErrors, LoadOptions, SearchPath
from tests.fixtures import ARCHES, all_fixtures, arch_of, fixture
from tests.grouping import by, each
from tests.linker.craft import ABS, DATA, GLOBAL, LOCAL, PROTECTED, WEAK, Library, Rel, Sym
from tests.linker.helpers import folders_of
from tests.linker.numbers import SYMBOLIC
from tests.linker.reference import RELATIVE, Object, expected, read_object

#: Fixtures made to be refused, and as what.
REFUSED = {"deps/needs_missing": LinkErrors}


def stand_in(name: str) -> int:
    """An address for what nobody defines: anything, as long as both engines say the same."""
    return zlib.crc32(name.encode()) & 0x3FFFFFF0


@by(("target", "name"), all_fixtures(), ids=lambda value: value, sample=60)
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
        objects[image] = read_object(image, image.decoded.path.read_bytes())
    stub = next((r.address for r in linker.memory.regions if r.name == "TLS descriptor stubs"), 0)  # type: ignore[attr-defined]
    for image in linker.images:
        scope = [objects[member] for member in linker.global_scope]
        for vaddr, memory in expected(objects[image], scope, stand_in, (stub, stub + 64)).items():
            assert linker.memory.read(image.address_of(vaddr), len(memory)) == memory, (image.name, hex(vaddr))


# ---------------------------------------------------------------- libraries at random

NAMES, VERSIONS = ("a", "b", "c", "d"), ("V1", "V2", "V3")
SIZE = 0x800


def random_symbol(dice: random.Random, place: int, versions: list[str]) -> Sym:
    version = dice.choice([None, *versions])
    return Sym(
        dice.choice(NAMES),
        dice.choice([place, place, place, 0]),
        section=dice.choice([0, 0, 1, 1, 1, ABS]),
        bind=dice.choice([LOCAL, GLOBAL, GLOBAL, GLOBAL, WEAK]),
        type=dice.choice([0, 1, 1, 2, 3]),
        visibility=dice.choice([0, 0, 0, 0, 1, 2, PROTECTED]),
        size=dice.randrange(32),
        version=version,
        hidden=version is not None and dice.random() < 0.3,
    )


def random_library(dice: random.Random, arch: str, number: int, count: int) -> Library:
    defines = list(VERSIONS[: dice.randrange(4)])
    others = [version for version in VERSIONS if version not in defines and dice.random() < 0.5]
    needs = [(f"lib{dice.randrange(count)}.so", version, 2) for version in others]
    versions = defines + [version for _, version, _ in needs]
    symbols = [random_symbol(dice, DATA + 0x400 + 8 * n, versions) for n in range(dice.randrange(1, 9))]
    types = [SYMBOLIC[arch], SYMBOLIC[arch], RELATIVE[arch], *WHOLE_WORDS[arch]]
    relocations = []
    for slot in range(dice.randrange(40)):
        number_ = dice.choice(types)
        symbol = None if number_ == RELATIVE[arch] else dice.choice(symbols)
        place = DATA + 16 * slot + dice.choice([0, 0, 0, 3])
        relocations.append(Rel(place, number_, symbol, dice.randrange(-64, 64)))
    return Library(
        arch,
        f"lib{number}.so",
        [f"lib{dice.randrange(count)}.so" for _ in range(dice.randrange(3))],
        symbols=symbols,
        relocations=relocations,
        relr=sorted({DATA + 0x600 + 8 * dice.randrange(32) for _ in range(dice.randrange(4))}),
        defines=defines,
        needs=needs,
        data=dice.randbytes(SIZE),
        bss=dice.randrange(0x2000),
        hashes=dice.choice([("gnu",), ("sysv",), ("gnu", "sysv")]),
        flags=dice.choice([0, 0, 0, 2]),
        explicit=dice.choice([None, True, False]),
    )


#: GLOB_DAT, JUMP_SLOT and PC-relative types as wide as an address.
WHOLE_WORDS = {
    "x86_64": (6, 7, 24, 33),
    "i386": (2, 6, 7, 38),
    "aarch64": (1025, 1026, 260),
    "arm": (3, 21, 22),
    "riscv64": (5,),
    "riscv32": (5, 57),
    "loongarch64": (5, 109),
}


@pytest.mark.sample(2)
@each("seed", range(60))
@pytest.mark.parametrize("arch", ARCHES)
def test_random_libraries_link_as_the_reference_says(arch: str, seed: int) -> None:
    dice = random.Random(f"{arch} {seed}")
    count = dice.randrange(1, 6)
    files = {f"lib{n}.so": random_library(dice, arch, n, count).image() for n in range(count)}
    linker = Linker(HostMemory(arch), search=SearchPath(files))
    options = LoadOptions(unresolved=lambda image, symbol: stand_in(symbol))
    linker.load("lib0.so", options=options)
    objects = {image: read_object(image, files[image.soname or ""]) for image in linker.images}
    scope = [objects[image] for image in linker.global_scope]
    for image in linker.images:
        for vaddr, memory in expected(objects[image], scope, stand_in, (0, 0)).items():
            assert linker.memory.read(image.address_of(vaddr), len(memory)) == memory, image.name
