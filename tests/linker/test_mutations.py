"""Any bytes at all link or are refused with a RelinkError, in bounded time and memory, and leave nothing behind.

Quick by default; RELINK_FUZZ_SECONDS=600 goes on for as long as that, from a seed of its own.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relink import BindMode, HostMemory, Image, Linker, LoadOptions, RelinkError, SearchPath, decode
from relink.load.plan import constructors, destructors
from relink.relocate.lazy import LazySlots
from tests.fixtures import TARGETS, all_fixtures, arch_of, fixture
from tests.linker.craft import DATA, WEAK, Library, Rel, undefined
from tests.linker.helpers import folders_of
from tests.linker.numbers import SYMBOLIC
from tests.sampling import examples

#: What any file may cost, over what its size explains: processor seconds, and bytes of Python's memory.
TIME, MEMORY, MEMORY_PER_BYTE = 5.0, 32 << 20, 128
INTERESTING = (
    0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0xFFF, 0x1000, 0x7FFF, 0x8000, 0xFFF1, 0xFFFF, 0x7FFFFFFF, 0x80000000,
    0xFFFFFFF0, 0xFFFFFFFF, 1 << 60, (1 << 63), (1 << 64) - 8, (1 << 64) - 1,
)  # fmt: skip


@cache
def originals() -> list[tuple[str, Path]]:
    paths = [(target, fixture(target, name)) for target, name in all_fixtures()]
    return [(target, path) for target, path in paths if path.stat().st_size < 64 << 10 and path.suffix == ".so"]


@cache
def spots(path: Path) -> list[tuple[int, int]]:
    """(offset, size) of what a linker reads: headers, and whatever the dynamic section names."""
    decoded = decode(path)
    found = [(0, 64), (decoded.header.phoff, decoded.header.phnum * decoded.header.layout.program_header.size)]
    for section in decoded.sections:
        if section.flags & 2 and section.size and section.type not in (1, 8):
            found.append((section.offset, section.size))
    found += [(s.offset, s.filesz) for s in decoded.program_headers if s.type == 2] * 3
    return [(offset, size) for offset, size in found if size]


def mutate(content: bytearray, path: Path, dice: random.Random) -> None:
    where = spots(path)
    for _ in range(dice.randint(1, 4)):
        start, size = dice.choice(where)
        width = dice.choice((1, 2, 4, 8))
        offset = min(start + dice.randrange(size), len(content) - 1)
        if dice.random() < 0.7:
            offset &= -width
        value = dice.choice((dice.choice(INTERESTING), dice.getrandbits(64), dice.randrange(len(content))))
        old = int.from_bytes(content[offset : offset + width], "little")
        value = dice.choice((value, old + dice.choice((-8, -1, 1, 8, 16)), old ^ 1 << dice.randrange(8 * width)))
        content[offset : offset + width] = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    if dice.random() < 0.1:
        del content[dice.randrange(len(content)) :]


def mutated(seed: int) -> tuple[str, Path, bytes]:
    dice = random.Random(seed)
    target, path = dice.choice(originals())
    content = bytearray(path.read_bytes())
    mutate(content, path, dice)
    return target, path, bytes(content)


@cache
def client(target: str, path: Path) -> bytes:
    """A sound image that wants all sorts of symbols, with and without versions, of `path`'s mutant."""
    arch, decoded = arch_of(target), decode(path)
    names = sorted({name for name in decoded.symbols.names.texts() if name})[:20]
    versions = [definition.name for definition in decoded.versions.defined[1:]]
    symbols = [undefined(name, WEAK, version) for name in names for version in [None, *versions]]
    relocations = [Rel(DATA + 8 * n, SYMBOLIC[arch], symbol) for n, symbol in enumerate(symbols[:100])]
    needs = [("libmutant.so", version, 2) for version in versions]
    return Library(arch, None, ["libmutant.so"], symbols, relocations, needs=needs).image()


class Traps:
    """A `relink.relocate.lazy.LazyHost` whose traps nobody reaches."""

    def slot_traps(self, slots: LazySlots) -> tuple[int, int]:
        return 0x2000, 16

    def resolver_words(self, slots: LazySlots) -> tuple[int, int]:
        return 1, 0x3000

    def settle(self) -> None: ...


def bind_all(linker: Linker, image: Image) -> None:
    """What the first calls through every slot that waits would do."""
    for slot in range(0 if image.relocated.lazy is None else min(len(image.relocated.lazy), 50)):
        with suppress(RelinkError):
            linker.bind_slot(image, slot)


def link(
    target: str, path: Path, content: bytes, as_dependency: bool = False, binding: BindMode = BindMode.NOW
) -> bool:
    """Whether it linked. Only RelinkErrors pass, quickly, and a failure leaves nothing mapped."""
    memory = HostMemory(arch_of(target))
    linker = Linker(memory, search=SearchPath({"libmutant.so": content}, folders_of(path, target)))
    linker.lazy_host = Traps()
    source = client(target, path) if as_dependency else content
    begin = time.process_time()
    options = LoadOptions(unresolved=lambda image, symbol: 0x1000, binding=binding)
    try:
        with linker.begin(source, options=options) as load:
            load.run_to("publish")
            for image in load.plan.initialise:
                _ = list(constructors(image)), list(destructors(image)), image.exports, image.symbol_at(image.base)
                bind_all(linker, image)
                _ = [*image.bindings()]
            load.commit()
        linked = True
    except RelinkError as error:
        linked = not str(error)
    assert time.process_time() - begin < TIME
    if linked:
        linker.close()
    assert not memory.regions
    assert not linker.images
    assert not linker.global_scope
    assert not linker.tls.modules
    return linked


@settings(max_examples=examples(500), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, (1 << 64) - 1))
def test_a_mutated_fixture_links_or_is_refused(seed: int) -> None:
    link(*mutated(seed), binding=[*BindMode][seed % 3])


@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, (1 << 64) - 1))
def test_a_mutated_dependency_links_or_is_refused(seed: int) -> None:
    link(*mutated(seed), as_dependency=True, binding=[*BindMode][seed % 3])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, (1 << 64) - 1))
def test_a_mutated_fixture_costs_a_small_multiple_of_its_size(seed: int) -> None:
    target, path, content = mutated(seed)
    tracemalloc.start()
    try:
        link(target, path, content)
        assert tracemalloc.get_traced_memory()[1] < MEMORY + MEMORY_PER_BYTE * len(content)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("target", TARGETS)
def test_every_truncation_links_or_is_refused(target: str) -> None:
    path = fixture(target, "datarel")
    content = path.read_bytes()
    for end in range(0, len(content), max(1, len(content) // 60)):
        link(target, path, content[:end])


def test_mutations_for_as_long_as_asked() -> None:
    seconds = float(os.environ.get("RELINK_FUZZ_SECONDS", "0"))
    if not seconds:
        pytest.skip("set RELINK_FUZZ_SECONDS to fuzz for longer")
    seed = int(os.environ.get("RELINK_FUZZ_SEED", time.time_ns()))
    end, count, linked = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        try:
            binding = [*BindMode][count % 4 % 3]
            linked += link(*mutated(seed + count), as_dependency=count % 3 == 0, binding=binding)
        except Exception as error:
            error.add_note(f"RELINK_FUZZ_SEED={seed + count}")
            raise
        count += 1
    print(f"{count} mutants in {seconds} s, {linked} of them linked")
